"""`zoo predict`: from original files to classes, with the recall that was measured."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score

import zoo as package
from zoo.export.choice import final_recall
from zoo.ledger import Ledger

Zoo = Callable[..., Result]
CLASSES = ("eight", "nine", "seven")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits as grey files of many sizes and shapes, every third of them for testing."""
    root = tmp_path_factory.mktemp("pictures")
    digits = load_digits()
    names = {7: "seven", 8: "eight", 9: "nine"}
    chosen = [index for index, target in enumerate(digits.target) if target in names][:240]
    for place, index in enumerate(chosen):
        folder = root / ("test" if place % 3 == 0 else "train") / names[int(digits.target[index])]
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((digits.images[index] * 15).astype(np.uint8))
        image.resize((12 + place % 7, 10 + place % 5), Image.Resampling.BICUBIC).save(folder / f"{index:04}.png")
    return root


@pytest.fixture
def network(zoo: Zoo, pictures: Path, folder: Path) -> Path:
    """An exported network, beside the ledger that it came from."""
    data = ["--data", f"folder:{pictures}", "--set", "data.resize=8", "--set", "data.fit=pad"]
    assert zoo("benchmark", "starter/default", *data, "--epochs", "2", "--seeds", "1", "--jobs", "1").exit_code == 0
    result = zoo("export", "starter/default[data.resize=8, data.fit=pad]", "-o", "net")
    if result.exit_code:
        result = zoo("export", "starter/default", "-o", "net")
    assert result.exit_code == 0, result.stderr
    return folder / "net"


def test_the_recall_of_predictions_from_files_is_that_of_the_ledger(zoo: Zoo, network: Path, pictures: Path) -> None:
    with Ledger(Path("zoo.sqlite"), create=False) as ledger:
        measured = final_recall(ledger.runs()[0], "test")
    result = zoo("predict", "net", "--evaluate", f"folder:{pictures}", "--json")
    assert result.exit_code == 0, result.stderr
    evaluated = json.loads(result.stdout)
    assert (evaluated["recall"], evaluated["part"], evaluated["trained_on"]) == (measured, "test", True)
    assert evaluated["interval"][0] < measured < evaluated["interval"][1]
    files = sorted(pictures.glob("test/*/*.png"))
    predicted = package.predict("net", files)
    assert [one.file for one in predicted] == list(map(str, files))
    truth = [file.parent.name for file in files]
    recall = recall_score(truth, [one.label for one in predicted], average="macro")
    assert recall == pytest.approx(measured, abs=1e-12)
    for one in predicted:
        assert tuple(one.probabilities) == CLASSES
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert one.probability == max(one.probabilities.values())
    # A folder without parts: the same images, of which none is known to be tested on.
    whole = json.loads(zoo("predict", "net", "--evaluate", f"folder:{pictures}/test", "--json").stdout)
    assert (whole["recall"], whole["part"], whole["trained_on"]) == (measured, "all", False)

    result = zoo("predict", "net", str(pictures / "test" / "nine"))
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2 + len(list(pictures.glob("test/nine/*")))
    rows = list(csv.reader(io.StringIO(zoo("predict", "net", *map(str, files[:3]), "--csv").stdout)))
    assert rows[0] == ["file", "class", "probability", "p(eight)", "p(nine)", "p(seven)"]
    assert [row[:2] for row in rows[1:]] == [[one.file, one.label] for one in predicted[:3]]
    for row, one in zip(rows[1:], predicted, strict=False):
        # Kernels of other batch sizes round otherwise.
        assert list(map(float, row[3:])) == pytest.approx(list(one.probabilities.values()), abs=1e-5)
        assert float(row[2]) == max(map(float, row[3:]))
    (record,) = json.loads(zoo("predict", "net", str(files[0]), "--json").stdout)
    assert (record["file"], record["class"]) == (str(files[0]), predicted[0].label)
    assert record["probabilities"] == pytest.approx(predicted[0].probabilities, abs=1e-5)

    text = zoo("predict", "net", "--evaluate", f"folder:{pictures}").stdout
    head = text.splitlines()[0]
    assert head.startswith(f"recall {measured:.4f} [")
    assert head.endswith(
        f"over 3 classes; {len(files)} test images of folder:{pictures}, which it was measured on when it was trained"
    )

    colour = network.parent / "colour.png"
    Image.new("RGB", (8, 8), "red").save(colour)
    (network.parent / "text.png").write_text("no image")
    (network.parent / "empty").mkdir()
    (network.parent / "x.pt2").write_bytes(b"")
    np.savez("x.npz", test_images=np.zeros((2, 8, 8), np.uint8), test_labels=np.arange(2),
             train_images=np.ones((2, 8, 8), np.uint8), train_labels=np.arange(2))  # fmt: skip
    for arguments, code, message in (
        (["net", "colour.png"], 2, "colour.png is in colour, and starter/default"),
        (["net", "text.png"], 2, "text.png cannot be read as an image: cannot identify image file"),
        (["net", "no.png"], 2, "no.png: there is no such file"),
        (["net", "empty"], 2, "there is no image in empty"),
        (["net", "--evaluate", "npz:x.npz"], 2, "npz:x.npz: it has the class '0', and starter/default"),
        (
            ["net", "--evaluate", f"folder:{pictures}", "--part", "validation"],
            2,
            "has no validation part; it has train",
        ),
        (["no", "colour.png"], 2, "no cannot be read: "),
        (["x.pt2", "colour.png"], 2, "x.pt2: torch-export is read by unpickling"),
        (["net"], 2, "give either image files or --evaluate DATASET"),
        (["net", "a.png", "--part", "all"], 2, "--part is of --evaluate"),
        (["net", "a.png", "--json", "--csv"], 2, "give either --json or --csv"),
        (["net", "--evaluate", "digits", "--csv"], 2, "--csv is of image files; --evaluate takes --json"),
    ):
        result = zoo("predict", *arguments)
        assert message in result.stderr, result.stderr
        assert (result.exit_code, result.stdout) == (code, "")


def test_images_of_another_size_than_was_measured_are_said(zoo: Zoo, ledger: Path, folder: Path) -> None:
    assert zoo("export", "starter/4c", "-o", "small").exit_code == 0
    assert zoo("export", "starter/4c", "-o", "small.onnx").exit_code == 0
    for name, size in (("same", (8, 8)), ("other", (20, 9))):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, size, np.uint8)).save(f"{name}.png")
    result = zoo("predict", "small", "same.png", "other.png", "--json")
    assert result.exit_code == 0
    assert result.stderr == (
        "Note: images that were not 8x8, as all were that it was measured on, and were resized: 1.\n"
    )
    from_onnx = json.loads(zoo("predict", "small.onnx", "same.png", "other.png", "--json").stdout)
    for one, other in zip(json.loads(result.stdout), from_onnx, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    (folder / "broken.onnx").write_bytes(b"no")
    result = zoo("predict", "broken.onnx", "same.png")
    assert "broken.onnx is no ONNX file, or it is damaged: " in result.stderr
    result = zoo("predict", "small", "--evaluate", "digits")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2].split() == ["class", "images", "recall"]
