"""`zoo export`: from the ledger to a file and a model card, and one message for all that is in the way."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import torch
from click.testing import Result
from test_cli_completion import complete

from zoo.cli import export as command
from zoo.export.formats import FORMATS
from zoo.export.network import load_exported
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.report.text import quantity
from zoo.spec.resolve import resolve
from zoo.train.execute import dataset
from zoo.train.run import Run

Zoo = Callable[..., Result]
NAME = "starter/4c"


def stored(ledger: Path, name: str = NAME) -> list[Run]:
    with Ledger(ledger) as opened:
        return opened.runs(names=[name])


def change(ledger: Path, statement: str) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute(statement)


def test_a_network_of_the_ledger_comes_back(zoo: Zoo, ledger: Path, registry: Registry) -> None:
    result = zoo("export", NAME, "--from-ledger", "1", "-o", "net")
    assert result.exit_code == 0, result.stderr
    run = next(run for run in stored(ledger) if run.key.seed == 1)
    images = dataset(resolve(NAME, registry=registry), registry, "cpu").test
    network = load_exported("net")
    with torch.no_grad():
        predicted = network(images.images).argmax(1)
    right = sum(run.epochs[-1].evaluations["test"].confusion[label][label] for label in range(10))
    assert (predicted == images.labels).sum().item() == right
    head, _, tail = result.stdout.partition(", test recall ")
    assert head == "net/model.safetensors: starter/4c seed 1"
    assert tail.endswith("; model card: net/README.md\n")
    assert result.stderr.startswith("Training starter/4c seed 1 again: 1 epoch, about ")
    assert "Chosen among" not in result.stderr
    assert quantity(run.flops) in Path("net/README.md").read_text()


def test_the_best_is_the_default_and_choosing_by_test_recall_is_said(zoo: Zoo, ledger: Path) -> None:
    result = zoo("export", NAME, "-o", "net.pt2")
    assert result.exit_code == 0, result.stderr
    recalls = json.loads(zoo("results", NAME, "--json").stdout)[0]["test_recalls"]
    assert result.stdout.startswith(
        f"net.pt2: starter/4c seed {recalls.index(max(recalls))}, test recall {max(recalls):.4f}; "
    )
    assert (
        "Note: Chosen among 2 seeds by recall on the test images, for no validation part was held out" in result.stderr
    )
    with torch.no_grad():
        logits = torch.export.load("net.pt2").module()(torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    assert tuple(logits.shape) == (3, 10)


def test_a_run_that_is_stored_under_another_name_is_found(zoo: Zoo, folder: Path) -> None:
    common = ("--epochs", "1", "--seeds", "1", "--jobs", "1")
    assert zoo("benchmark", "starter/default", "--vary", "activation=relu", *common).exit_code == 0
    assert zoo("benchmark", "starter/default", *common).exit_code == 0, "nothing is trained: the run is there"
    # The registered spec has ten epochs, so it is another one; with its own epochs it is found by its identity.
    refused = zoo("export", "starter/default", "-o", "net")
    assert "there is no run of starter/default in zoo.sqlite" in refused.stderr
    Path("one.toml").write_text('base = "starter/default"\n[set]\n"training.epochs" = 1\n')
    change(Path("zoo.sqlite"), "UPDATE run SET name = 'starter/another'")
    result = zoo("--plugin", _registering("one.toml"), "export", "one", "-o", "net")
    assert result.exit_code == 0, result.stderr
    assert Path("net/model.safetensors").exists()


def _registering(file: str) -> str:
    Path("ones.py").write_text(
        "import zoo\nfrom pathlib import Path\n\n\n@zoo.hookimpl\ndef zoo_register_specs(register):\n"
        f"    register('one', Path({file!r}).resolve())\n"
    )
    return "ones.py"


def test_a_loaded_network_refuses_other_images(zoo: Zoo, ledger: Path) -> None:
    assert zoo("export", NAME, "--from-ledger", "1", "-o", "net").exit_code == 0
    network = load_exported("net")
    for images in (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 9, 9, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"expected uint8 images of shape \(batch, 1, 8, 8\)"):
            network(images)


def test_with_a_validation_part_there_is_nothing_to_be_said(zoo: Zoo, ledger: Path) -> None:
    arguments = ("--set", "data.validation=0.2", "--epochs", "1", "--seeds", "2", "--jobs", "1")
    assert zoo("benchmark", "starter/default", *arguments).exit_code == 0
    result = zoo("export", "starter/default", "-o", "net")
    assert result.exit_code == 1
    line = next(line for line in result.stderr.splitlines() if "20% of training held out" in line)
    identity = line.partition("--identity ")[2].partition(":")[0]
    result = zoo(
        "export", "starter/default", "--identity", identity, "--data", "digits", "--precision", "fp32", "-o", "net"
    )
    assert result.exit_code == 0, result.stderr
    assert "Chosen" not in result.stderr
    assert "the one of highest recall on the validation part" in Path("net/README.md").read_text()


def test_an_onnx_file(zoo: Zoo, ledger: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert zoo("export", NAME, "-o", "net.onnx").exit_code == 0
    session = runtime.InferenceSession("net.onnx")
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(uint8)", [1, 8, 8])
    assert isinstance(images.shape[0], str), "the batch is of any size"
    assert "zoo" in session.get_modelmeta().custom_metadata_map


def test_the_formats_of_the_command_are_those_that_are_written() -> None:
    assert tuple(FORMATS) == command.FORMATS


def test_a_variant_of_a_single_file(zoo: Zoo, folder: Path, plugin: Callable[[str, str], str], boom: str) -> None:
    file = plugin("own.py", boom)
    zoo(
        "--plugin", file, "benchmark", NAME, "--set", "activation=twice", "--epochs", "1", "--seeds", "1", "--jobs", "1"
    )
    result = zoo("--plugin", file, "export", "starter/4c[activation=twice]", "-o", "net")
    assert result.exit_code == 0, result.stderr
    assert "| needs | layer-zoo " in Path("net/README.md").read_text()
    assert "the single file own.py" in Path("net/README.md").read_text()
    assert ', registry=zoo.Registry(files=[pathlib.Path("own.py")])' in Path("net/README.md").read_text()
    result = zoo("export", "starter/4c[activation=twice]", "-o", "again")
    assert result.exit_code == 2
    assert "no activation is called 'twice'" in result.stderr


def test_a_variant_that_was_edited_since(zoo: Zoo, ledger: Path) -> None:
    change(ledger, "UPDATE run SET source_digest = 'before'")
    result = zoo("export", NAME, "-o", "net")
    assert result.exit_code == 1
    assert "the source of a variant of starter/4c is not what it was when its runs were trained" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing argument 'SPEC'"),
        ([NAME], 2, "Missing option '--output' / '-o'"),
        (
            ["starter/4q", "-o", "net"],
            2,
            "no spec is called 'starter/4q', and zoo.sqlite holds no run of that name; did",
        ),
        (
            ["starter/4e", "-o", "net"],
            1,
            "there is no run of starter/4e in zoo.sqlite: `zoo benchmark starter/4e` trains",
        ),
        (
            [NAME, "-o", "net", "--data", "cifar10"],
            1,
            "none of the runs of starter/4c in zoo.sqlite is such a one. There",
        ),
        (
            [NAME, "-o", "net", "--identity", "x"],
            1,
            "none of the runs of starter/4c in zoo.sqlite is such a one. There",
        ),
        (
            [NAME, "-o", "net", "--from-ledger", "7"],
            1,
            "no run of starter/4c with seed 7 has finished; there are seeds 0, 1",
        ),
        ([NAME, "-o", "net", "--from-ledger", "worst"], 2, "expected best, or the seed of a run, got 'worst'"),
        ([NAME, "-o", "net", "--format", "pickle"], 2, "'pickle' is not one of 'safetensors', 'onnx', 'torch-export'"),
        ([NAME, "-o", "a/b/net"], 2, "--output a/b/net: there is no folder "),
        ([NAME, "-o", "zoo.sqlite/net"], 2, "zoo.sqlite; make it first"),
        ([NAME, "-o", "net", "--ledger", "gone.sqlite"], 1, "there is no ledger gone.sqlite"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_gets_one_clear_message(
    zoo: Zoo, ledger: Path, arguments: list[str], code: int, message: str
) -> None:
    result = zoo("export", *arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not Path("net").exists()


def test_a_missing_package_is_said_before_any_work(zoo: Zoo, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = attrs.evolve(FORMATS["onnx"], packages=("surely_not_installed",))
    monkeypatch.setitem(FORMATS, "onnx", without)
    result = zoo("export", NAME, "-o", "net.onnx")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: --format onnx needs surely_not_installed, which is not installed: pip install 'layer-zoo[export]'\n"
    )


def test_a_full_disk(zoo: Zoo, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    result = zoo("export", NAME, "-o", "net.safetensors")
    assert result.exit_code == 1
    assert "cannot be written: No space left on device. Make room, or name another place with --output" in result.stderr
    assert not list(Path().glob("net*"))


def test_a_run_that_does_not_come_out_as_the_ledger_says(zoo: Zoo, ledger: Path) -> None:
    change(ledger, "UPDATE run SET seed = seed + 5, provenance = json_set(provenance, '$.torch', '1.0')")
    result = zoo("export", NAME, "-o", "net")
    assert result.exit_code == 1
    assert "trained again, does not come out as the ledger says: at least " in result.stderr
    assert "What differs: torch 1.0 then, " in result.stderr
    assert not Path("net").exists()


def test_names_are_completed(registry: Registry) -> None:
    expected = [name for name in registry.specs if name.startswith("starter/4")]
    assert complete("export", "starter/4") == expected
    assert complete("export", "--data", "digi") == ["digits"]
    assert complete("export", "--format", "torch") == ["torch-export"]
