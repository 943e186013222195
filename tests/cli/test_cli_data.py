from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from zoo.data import Options, load
from zoo.registry import Registry

Zoo = Callable[..., Result]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds digits, and what a download has left."""
    path = tmp_path / "cache"
    monkeypatch.setenv("ZOO_CACHE", str(path))
    return path


@pytest.fixture
def filled(zoo: Zoo, cache: Path) -> Path:
    zoo("data", "get", "digits")
    download = cache / "downloads" / "mnist"
    download.mkdir(parents=True)
    (download / "images").write_bytes(bytes(1000))
    return cache


def test_an_empty_cache(zoo: Zoo, cache: Path) -> None:
    assert zoo("data", "info").stdout == f"{cache}: 0 B\n"
    assert json.loads(zoo("data", "info", "--json").stdout) == []
    assert zoo("data", "remove", "--all").stdout == "The cache is empty.\n"
    result = zoo("data", "remove", "digits")
    assert result.exit_code == 2
    assert f"the cache {cache} holds nothing of 'digits'. It is empty." in result.stderr


def test_info(zoo: Zoo, filled: Path) -> None:
    lines = zoo("data", "info").stdout.splitlines()
    assert lines[0] == f"{filled}: 131 kB"
    assert lines[2].split() == ["data", "set", "content", "images", "size", "last", "used"]
    assert [line.split()[:5] for line in lines[4:]] == [
        ["mnist", "downloaded", "1", "kB"],
        ["digits", "decoded", "1x8x8", "130", "kB"],
    ]
    download, decoded = json.loads(zoo("data", "info", "--json").stdout)
    assert (download["bytes"], download["last_used"], download["runs"]) == (1000, None, None)
    assert decoded["path"].startswith(str(filled))
    assert decoded["last_used"] is not None


def test_rows_of_one_data_set_say_what_differs(zoo: Zoo, filled: Path, registry: Registry) -> None:
    for form in ({"resize": 9}, {"validation": 0.25}):
        load("digits", registry, Options(**form))
    (entry,) = (filled / "datasets").glob("digits-*-0.25")
    index = json.loads((entry / "entry.json").read_text())
    edited = shutil.copytree(entry, filled / "datasets" / f"digits-{'0' * 32}")  # the files were others
    (edited / "entry.json").write_text(json.dumps({**index, "digest": "f" * 64}))
    lines = zoo("data", "info").stdout.splitlines()[5:]
    shown = [line.partition("decoded")[2].split(" kB")[0].rsplit(maxsplit=1)[0].strip() for line in lines]
    held_out = [f"1x8x8, 0.25 held out #{digest}" for digest in (index["digest"][:7], "fffffff")]
    assert sorted(shown) == sorted(["1x8x8", "1x9x9", *held_out])
    records = json.loads(zoo("data", "info", "--json").stdout)[1:]
    forms = {(*record["shape"], record["validation"]) for record in records}
    assert forms == {(1, 8, 8, 0), (1, 9, 9, 0), (1, 8, 8, 0.25)}


def test_runs_of_the_ledger_are_counted(zoo: Zoo, filled: Path, ledger: Path) -> None:
    records = json.loads(zoo("data", "info", "--json").stdout)
    assert [record["runs"] for record in records] == [None, 4]
    assert zoo("data", "info").stdout.splitlines()[-1].split()[-1] == "4"
    missing = zoo("data", "info", "--ledger", "none.sqlite")
    assert missing.exit_code == 1
    assert "there is no ledger none.sqlite" in missing.stderr


def test_data_sets_are_removed_after_a_question(zoo: Zoo, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = zoo("data", "remove", "digits")
    assert nobody.exit_code == 2
    assert nobody.stderr == "Error: nothing was removed: there is no terminal to ask on; say --yes to remove it\n"
    monkeypatch.setattr("zoo.cli.asking.interactive", lambda: True)
    assert "digits" in zoo("data", "remove", "digits", "--dry-run").stdout
    no = zoo("data", "remove", "digits", input="n\n")
    assert no.exit_code == 0
    assert no.stderr == "Remove 1 folder, 130 kB, from the cache? [y/N]: n\nNothing was removed.\n"
    assert len(json.loads(zoo("data", "info", "--json").stdout)) == 2
    assert zoo("data", "remove", "digits", "--yes").stdout.endswith("Removed 130 kB.\n")
    assert [held["dataset"] for held in json.loads(zoo("data", "info", "--json").stdout)] == ["mnist"]
    assert zoo("data", "remove", "--all", "--yes").exit_code == 0
    assert json.loads(zoo("data", "info", "--json").stdout) == []
    assert zoo("data", "get", "digits").exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["digits", "--all"]])
def test_what_to_remove_must_be_said(zoo: Zoo, filled: Path, arguments: list[str]) -> None:
    result = zoo("data", "remove", *arguments)
    assert result.exit_code == 2
    assert "give either names of data sets or --all" in result.stderr


def test_an_unknown_name_removes_nothing(zoo: Zoo, filled: Path) -> None:
    result = zoo("data", "remove", "digits", "digit", "--yes")
    assert result.exit_code == 2
    assert "holds nothing of 'digit'; did you mean digits? It holds digits, mnist." in result.stderr
    assert len(json.loads(zoo("data", "info", "--json").stdout)) == 2


@pytest.fixture
def leaking(folder: Path) -> Path:
    """Two classes of grey images; one test image is a training image, and another is one of another brightness."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 100, (30, 9, 12), np.uint8)
    pixels[25] = pixels[3]
    pixels[26] = pixels[4] + 100
    for index, image in enumerate(pixels):
        file = folder / "pictures" / ("train", "test")[index // 20] / ("ant", "bee")[index % 2] / f"{index:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return folder / "pictures"


CHANGE = ("--base", "starter/default", "--change", "wide:network.features.0.filters=8")


@pytest.mark.parametrize(
    "command",
    [
        ("data", "get", "folder:pictures"),
        ("data", "show", "folder:pictures"),
        ("benchmark", "starter/default", "--data", "folder:pictures", "--set", "resize=8", "--plan"),
        ("study", "plan", *CHANGE, "--data", "folder:pictures", "--set", "resize=8"),
        ("show", "starter/default", "--data", "folder:pictures", "--set", "resize=8"),
    ],
)
def test_damaged_files_are_left_out_where_that_is_said(zoo: Zoo, leaking: Path, command: tuple[str, ...]) -> None:
    damaged = leaking / "train" / "ant" / "00.png"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    refused = zoo(*command)
    assert refused.exit_code != 0
    assert "00.png cannot be read as an image" in refused.stderr + refused.stdout
    result = zoo(*command, "--skip-damaged")
    assert result.exit_code == 0, result.stderr
    twice = zoo(*command, "--skip-damaged", "--set", "data.skip_damaged=true")
    assert "data.skip_damaged is set twice" in twice.stderr


def test_a_data_set_is_shown_with_its_duplicates(zoo: Zoo, leaking: Path) -> None:
    result = zoo("data", "show", "folder:pictures", "--images", "sheet.png")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (
        "folder:pictures: images of 1x9x12 (channels, height, width), 2 classes\n\n"
        "class      train    test\n"
        "-------  -------  ------\n"
        "ant           10       5\n"
        "bee           10       5\n"
        "in all        20      10\n\n"
        "Images of other parts that are training images, too, pixel for pixel: 1\n"
        "  test/bee/25.png = train/bee/03.png\n\n"
        "Images of other parts that look like a training image (hashes of 64 bits that differ in at most 3): 1\n"
        "  test/ant/26.png = train/ant/04.png\n"
    )
    with Image.open("sheet.png") as sheet:
        # Each image three times as large: two rows of ten, beside the names.
        assert (sheet.height, sheet.width) == (2 * (27 + 4) + 4, 3 * 7 + 8 + 10 * (36 + 4))
        np.testing.assert_array_equal(
            np.asarray(sheet)[4:31:3, 29:65:3, 0], np.asarray(Image.open(leaking / "train/ant/00.png"))
        )
    record = json.loads(zoo("data", "show", "folder:pictures", "--json").stdout)
    assert record["images"] == {"train": 20, "test": 10}
    assert record["duplicates"] == [
        {"part": "test", "image": "test/bee/25.png", "training_image": "train/bee/03.png", "same_class": True}
    ]
    result = zoo("data", "show", "folder:pictures", "--images", "no/sheet.png")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: no/sheet.png cannot be written: No such file or directory\n",
    )


def test_a_leak_is_said_in_a_plan(zoo: Zoo, leaking: Path) -> None:
    text = (
        "leak: 1 of 10 test images are training images, too, pixel for pixel, so that test recall is not that of new "
        "images"
    )
    result = zoo("data", "get", "folder:pictures")
    assert result.stdout.splitlines()[1].strip() == text
    plan = zoo("benchmark", "starter/default", "--data", "folder:pictures", "--set", "data.resize=8", "--plan")
    assert "leak: 1 of 10 test images" in " ".join(plan.stderr.split() + plan.stdout.split())


def test_how_a_data_set_is_read_may_be_set(zoo: Zoo, leaking: Path) -> None:
    result = zoo("data", "show", "folder:pictures/train", "--set", "data.test=0.2", "--set", "resize=8", "--json")
    record = json.loads(result.stdout)
    assert (record["images"], record["height"]) == ({"train": 16, "test": 4}, 8)
    got = zoo("data", "get", "folder:pictures/train", "--set", "data.test=0.2").stdout
    assert got.splitlines()[0].endswith("is at hand: 16 training and 4 test images of 1x9x12, 2 classes")
    assert zoo("data", "get", "folder:pictures/train").stdout.startswith(
        "folder:pictures/train: folder:pictures/train is at hand: 20 training images of 1x9x12, 2 classes"
    )
    wrong = zoo("data", "show", "folder:pictures", "--set", "data.tset=0.2")
    assert wrong.exit_code == 2
    assert "tset" in wrong.stderr
