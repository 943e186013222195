"""`zoo time`: the table in its formats, what is said below it, and what is wrong with a command line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
from click.testing import Result

from zoo.registry import Registry
from zoo.report import layout
from zoo.spec.resolve import resolve

Zoo = Callable[..., Result]

FEW = ("--rounds", "40", "--device", "cpu")
PACE = ("milliseconds", "images_per_second", "ratio", "low", "high")


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does nothing else."""
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))


def test_two_specs_are_compared(zoo: Zoo) -> None:
    result = zoo("time", "starter/default", "starter/4a1", *FEW)
    assert result.exit_code == 0, result.output
    heading, _, titles, _, default, larger = result.stdout.splitlines()
    assert heading.startswith("digits, ")
    assert heading.endswith(", fp32; 40 rounds; ratios to starter/default: geometric mean [95% interval]")
    assert titles.split() == [
        "spec", "training", "ms/step", "images/s", "evaluation", "ms/batch", "evaluated/s"
    ]  # fmt: skip
    assert default.split()[:2] == ["starter/default", "1"]
    name, ratio, low, high, *_ = larger.split()
    assert name == "starter/4a1"
    assert 1 < float(low.strip("[,")) < float(ratio) < float(high.strip("]")), "it has seven times the FLOPs"
    assert result.stderr == ""


def test_no_difference_is_said(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.timing.ratio_interval", lambda times, reference: (1.01, 0.99, 1.03))
    result = zoo("time", "starter/default", "--vary", "activation=relu,elu,mish", *FEW)
    assert result.stderr.splitlines() == [
        f"{kind}: no difference from starter/default[activation=relu] seen for starter/default[activation=elu], "
        "starter/default[activation=mish]: the interval contains 1."
        for kind in ("Training", "Evaluation")
    ]
    assert "1.010 [0.990, 1.030]" in result.stdout


def test_one_spec_has_no_ratios(zoo: Zoo) -> None:
    result = zoo("time", "starter/default", *FEW)
    heading, _, titles, _, row = result.stdout.splitlines()
    assert heading.endswith("fp32; 40 rounds")
    assert titles.split() == ["spec", "ms/step", "images/s", "ms/batch", "evaluated/s"]
    assert len(row.split()) == 5
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", [["--json"], ["--format", "json"]])
def test_json_has_every_figure(zoo: Zoo, registry: Registry, arguments: list[str]) -> None:
    result = zoo("time", "starter/default", "starter/4c", *FEW, *arguments)
    reference, other = json.loads(result.stdout)
    about = {"dataset", "device", "device_name", "precision", "rounds", "load"}
    paces = (f"{kind}_{figure}" for kind in ("training", "evaluation") for figure in PACE)
    assert set(reference) == {"spec", "identity", *about, *paces}
    assert reference["identity"] == resolve("starter/default", registry=registry).identity != other["identity"]
    assert (reference["dataset"], reference["rounds"], reference["load"]) == ("digits", 40, 0.0)
    assert reference["training_ratio"] is None
    assert other["training_low"] <= other["training_ratio"] <= other["training_high"]


def test_csv_and_other_formats(zoo: Zoo) -> None:
    first, second = csv.DictReader(
        io.StringIO(zoo("time", "starter/default", "starter/4c", *FEW, "--format", "csv").stdout)
    )
    assert (first["training_ratio"], second["spec"]) == ("", "starter/4c")
    assert float(second["evaluation_milliseconds"]) > 0
    assert "| starter/default |" in zoo("time", "starter/default", *FEW, "--format", "github").stdout
    assert zoo("time", "starter/default", *FEW, "--format", "latex").stdout.startswith("% digits, ")


@pytest.mark.parametrize(("width", "left_out"), [(120, ""), (80, "No room for: evaluated/s")])
def test_the_table_fits_a_terminal(zoo: Zoo, monkeypatch: pytest.MonkeyPatch, width: int, left_out: str) -> None:
    monkeypatch.setattr(layout, "terminal_width", lambda: width)
    result = zoo("time", "starter/default", "--vary", "classifier.0.activation=relu,elu", *FEW)
    assert max(map(len, result.stdout.splitlines())) <= width, result.stdout
    last = result.stdout.splitlines()[-1]
    assert last.startswith(left_out)
    assert last.endswith("; --format csv has all.") is bool(left_out)


def test_specs_can_be_changed(zoo: Zoo) -> None:
    arguments = ("--set", "batch_size=16", "--data", "digits", "--vary", "filter.size=1,3", "--precision", "bf16")
    result = zoo("time", "starter/default", *FEW, *arguments, "--json")
    assert [(record["spec"], record["precision"]) for record in json.loads(result.stdout)] == [
        ("starter/default[batch_size=16, filter.size=1]", "bf16"),
        ("starter/default[batch_size=16, filter.size=3]", "bf16"),
    ]


def test_seconds_say_when_to_stop(zoo: Zoo) -> None:
    (record,) = json.loads(zoo("time", "starter/default", "--seconds", "0.1s", "--device", "cpu", "--json").stdout)
    assert record["rounds"] >= 40


@pytest.mark.parametrize(
    ("specs", "line"),
    [
        (["starter/default"], "The machine was busy when this began (load 0.8 on each core): the times do not hold."),
        (
            ["starter/default", "starter/4a1"],
            "The machine was busy when this began (load 0.8 on each core): the ratios hold, the times do not.",
        ),
    ],
)
def test_a_busy_machine_is_said(zoo: Zoo, monkeypatch: pytest.MonkeyPatch, specs: list[str], line: str) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (1.6, 0.0, 0.0))
    assert zoo("time", *specs, *FEW).stderr.splitlines()[-1] == line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'SPEC-PATTERN...'"),
        (["starter/defualt"], "no spec is called 'starter/defualt'; did you mean starter/default"),
        (["eq2425/4c"], "the data set cifar10 is not at hand: "),
        (["starter/default", "modern/residual"], "these specs are for cifar10 and digits; say --data digits"),
        (["starter/default", "--rounds", "5"], "there must be at least 40 rounds, got 5"),
        (["starter/default", "--rounds", "50", "--seconds", "5"], "--rounds and --seconds both say when to stop"),
        (
            ["starter/default", "--seconds", "soon"],
            "expected a duration above 0, such as 90s, 30m or 1h30m, got 'soon'",
        ),
        (["starter/default", "--format", "gihtub"], "no table format is called 'gihtub'; did you mean github?"),
        (["starter/default", "--set", "epochs"], "expected path=value, got 'epochs'"),
        (["starter/default", "--vary", "activation=rellu"], "no activation is called 'rellu'; did you mean relu"),
        (["starter/default", "--data", "digtis"], "no dataset is called 'digtis'; did you mean digits?"),
        (
            ["starter/default", "--device", "tpu"],
            "--device tpu: there is no such device; it is auto, cpu, cuda, mps, or one GPU as in cuda:1",
        ),
        (["starter/default", "--precision", "tf32", "--device", "cpu"], "--precision tf32: only NVIDIA GPUs have it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_gets_one_clear_message(zoo: Zoo, arguments: list[str], message: str) -> None:
    result = zoo("time", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_layer_that_raises_is_one_message(zoo: Zoo, plugin: Callable[[str, str], str], boom: str) -> None:
    file = plugin("boom.py", boom)
    result = zoo("--plugin", file, "time", "starter/default", "--set", "classifier.0.activation=boom", *FEW)
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: starter/default[classifier.0.activation=boom]: it cannot be trained: a layer raised "
        "RuntimeError: too loud\n"
    )


def test_specs_that_are_broken_are_said(zoo: Zoo, plugin: Callable[[str, str], str]) -> None:
    text = "import zoo\n@zoo.hookimpl\ndef zoo_register_specs(register):\n"
    file = plugin("mine.py", text + "    register('mine/bad', {'base': 'gone'})\n")
    result = zoo("--plugin", file, "time", "mine/*", *FEW)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: there is no valid spec\nLeft out: mine/bad: ")
    result = zoo("--plugin", file, "time", "mine/*", "starter/default", *FEW)
    assert result.exit_code == 0
    assert result.stderr.startswith("Left out: mine/bad: ")
