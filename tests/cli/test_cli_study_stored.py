"""Studies of which the images are not at hand, or whose variants were edited: what is stored is shown all the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import zoo
from zoo.cli import main
from zoo.errors import DataError

Zoo = Callable[..., Result]

PLUGIN = '''
import torch
import zoo

@zoo.hookimpl
def zoo_register_activations(register):
    register("plain", plain)

def plain():
    """Passes on."""
    return torch.nn.Identity()
'''
STUDY = ("--base", "starter/default", "--change", "plain:activation=plain", "--data", "npz:images.npz", "--epochs", "1",
         "--seeds", "3")  # fmt: skip
PLUG = ("--plugin", "plain.py")


def images(seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    arrays = {}
    for part, count in (("train", 60), ("test", 30)):
        labels = np.arange(count) % 3
        pixels = random.integers(0, 80, (count, 8, 8, 1)).astype(np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[:, 2 * label : 2 * label + 2] += 120
        arrays |= {f"{part}_images": pixels, f"{part}_labels": labels}
    np.savez("images.npz", **arrays)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, environment: None) -> Path:
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("plain.py").write_text(PLUGIN, encoding="utf-8")
        images()
        arguments = [*PLUG, "study", "run", *STUDY, "--jobs", "1", "--yes"]
        result = CliRunner().invoke(main, arguments, prog_name="zoo", catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def trained(once: Path, folder: Path) -> Path:
    """A folder with the ledger of a study, its plugin and its images."""
    return Path(shutil.copytree(once, folder, dirs_exist_ok=True))


def table(result: Result) -> list[str]:
    """Return the lines on the arms."""
    lines = result.stdout.partition("\nArms\n")[2].splitlines()
    return [line for line in lines if line.startswith(("base ", "plain ", "elu "))]


def test_without_the_images(zoo: Zoo, trained: Path) -> None:
    before = zoo(*PLUG, "study", "report", *STUDY)
    Path("images.npz").unlink()
    after = zoo(*PLUG, "study", "report", *STUDY, "-o", "report.html")
    assert after.exit_code == 0, after.output
    note = (
        "npz:images.npz is not at hand (there is no file images.npz): classes go by their numbers; of each change is "
        "shown what it sets, not what it does to the network."
    )
    assert note in after.stdout
    assert after.stdout.replace(f"{note}\n", "") == before.stdout, "all else is the same"
    page = Path("report.html").read_text(encoding="utf-8")
    assert "network.features.0.activation: relu -&gt; plain" in page
    assert zoo(*PLUG, "results").stdout.startswith("npz:images.npz, 25% of training held out, ")
    for command in ("plan", "run"):
        refused = zoo(*PLUG, "study", command, *STUDY)
        assert refused.exit_code == 2
        assert "there is no file images.npz" in refused.stderr


def test_show_without_the_images(zoo: Zoo, trained: Path) -> None:
    with_them = zoo(*PLUG, "study", "show", *STUDY)
    Path("images.npz").unlink()
    result = zoo(*PLUG, "study", "show", *STUDY)
    assert result.exit_code == 0, result.output
    places = [f"  network.{place}.activation: relu -> plain" for place in (*(f"features.{i}" for i in range(3)),
              "classifier.0")]  # fmt: skip
    assert result.stdout.splitlines() == [*with_them.stdout.splitlines()[:4], *places]
    assert result.stderr == (
        "Note: npz:images.npz is not at hand (there is no file images.npz): classes go by their numbers; of each "
        "change is shown what it sets, not what it does to the network.\n"
    )
    cifar = zoo("study", "show", "--base", "eq2425/default", "--change", "leaky:activation=leaky_relu")
    assert cifar.exit_code == 0
    assert cifar.stderr == "", "what CIFAR-10 looks like is known before it is downloaded"


def test_in_python_what_needs_images_says_so(zoo: Zoo, trained: Path) -> None:
    Path("images.npz").unlink()
    lab = _lab()
    with lab.open_study(_TREE, seeds=3, epochs=1, data="npz:images.npz") as work:
        assert len(work.report().result.arms) == 2
        for act in (work.plan, work.run):
            with pytest.raises(DataError, match=r"there is no file images\.npz"):
                act()


def test_several_data_sets_of_that_name(zoo: Zoo, trained: Path) -> None:
    images(seed=1)
    assert zoo(*PLUG, "study", "run", *STUDY, "--jobs", "1", "--yes").exit_code == 0
    Path("images.npz").unlink()
    result = zoo(*PLUG, "study", "report", *STUDY)
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: npz:images.npz is not at hand (there is no file images.npz), and zoo.sqlite holds runs of "
        "starter/default on 2 data sets of that name: bring back the images that are meant, or name them otherwise by "
        "--data\n"
    )


def test_after_a_plugin_was_edited(zoo: Zoo, trained: Path) -> None:
    Path("plain.py").write_text(PLUGIN + "# edited\n", encoding="utf-8")
    result = zoo(*PLUG, "study", "report", *STUDY)
    assert result.exit_code == 0
    assert "Not finished: 3 of 6 runs are missing." in result.stdout
    assert (
        "\n3 runs of this study are stored with another version of the source of the variants, which was edited since; "
        "`zoo study run` trains with that of now.\n"
    ) in result.stdout
    plan = zoo(*PLUG, "study", "plan", *STUDY)
    assert (
        "Note: 3 of the runs are stored with another version of the source of the variants, which was edited since; "
        "they are trained anew.\n"
    ) in plan.stdout
    varied = ("benchmark", "starter/default", "--set", "data.validation=0.25", "--vary", "activation=plain")
    named = zoo(*PLUG, *varied, "--data", "npz:images.npz", "--epochs", "1", "--seeds", "1", "--plan")
    assert "Note: 1 of the runs is stored with another version" in named.stderr


def test_after_all_was_edited(zoo: Zoo, trained: Path) -> None:
    study = [word.replace("starter/default", "mine.toml") for word in STUDY]
    study[3] = "small:batch_size=16"
    Path("mine.toml").write_text('base = "starter/default"\n[set]\nactivation = "plain"\n', encoding="utf-8")
    assert zoo(*PLUG, "study", "run", *study, "--jobs", "1", "--yes").exit_code == 0
    Path("plain.py").write_text(f"{PLUGIN}# edited\n", encoding="utf-8")
    result = zoo(*PLUG, "study", "report", *study)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: study 'ad-hoc': there is no run to judge; `zoo study run` trains, with the")
    assert result.stderr.endswith(
        "runs of this study are stored with another version of the source of the variants, which was edited since; "
        "`zoo study run` trains with that of now\n"
    )


_TREE = {"base": "starter/default", "changes": {"plain": {"activation": "plain"}}}


def _lab() -> zoo.Lab:
    return zoo.Lab(plugins="plain.py", jobs=1, say=lambda line: None)


def images_with_validation() -> None:
    images()
    with np.load("images.npz") as arrays:
        own = {"val_images": arrays["test_images"], "val_labels": arrays["test_labels"]}
        np.savez("images.npz", **arrays, **own)


def test_images_with_a_validation_part_of_their_own(zoo: Zoo, folder: Path) -> None:
    images_with_validation()
    study = ("--base", "starter/default", "--change", "elu:activation=elu", "--data", "npz:images.npz", "--epochs", "1",
             "--seeds", "2")  # fmt: skip
    before = zoo("study", "run", *study, "--jobs", "1", "--yes")
    assert "its own validation part is used: 30 images" in before.stderr
    Path("images.npz").unlink()
    after = zoo("study", "report", *study)
    assert after.exit_code == 0, after.output
    assert table(after) == table(before), "the runs were stored as of no share held out"


def test_several_places_without_the_images_of_one(zoo: Zoo, folder: Path) -> None:
    images_with_validation()
    study = ("--base", "starter/default", "--change", "elu:activation=elu", "--data", "npz:images.npz", "--data",
             "digits", "--epochs", "1", "--seeds", "1")  # fmt: skip
    before = zoo("study", "run", *study, "--jobs", "1", "--yes")
    assert before.exit_code == 0, before.output
    Path("images.npz").unlink()
    after = zoo("study", "report", *study)
    assert after.exit_code == 0, after.output
    assert "npz:images.npz is not at hand" in after.stdout
    places = [result.stdout.partition("\nPlaces\n")[2].partition("\n\nmean")[0] for result in (before, after)]
    assert places[0] == places[1] != ""
    refused = zoo("study", "plan", *study)
    assert (refused.exit_code, "there is no file images.npz" in refused.stderr) == (2, True)
