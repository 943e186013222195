"""Each script, carried out at a small size."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import overhead
import pytest
import scaling
import study
import vs_plain_loop
from click.testing import CliRunner
from vs_plain_loop import Turn

SCRIPTS = Path(__file__).parents[2] / "benchmarks"

# torch's data loader, Lightning and skorch warn of their own matters.
pytestmark = pytest.mark.filterwarnings("default")


def carry_out(script, tmp_path, *arguments):
    """Return what a script printed, and what it wrote."""
    path = tmp_path / "result.json"
    result = CliRunner().invoke(script.main, [*arguments, "--json", str(path), "--device", "cpu"])
    if result.exception:
        raise result.exception
    return result.output, json.loads(path.read_text())


@pytest.mark.parametrize("name", ["vs_plain_loop", "study", "overhead", "scaling"])
def test_help(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in ("--epochs", "--seeds", "--data", "--images", "--device", "--json"):
        assert option in text, f"{name}.py --help does not name {option}"


def test_vs_plain_loop(tmp_path):
    pytest.importorskip("lightning")
    pytest.importorskip("skorch")
    output, written = carry_out(vs_plain_loop, tmp_path, "--images", "100", "--seeds", "2")
    contestants = {row["name"]: row for row in written["contestants"]}
    assert list(contestants) == [
        "zoo, one run",
        "zoo, two at once",
        "study's loop",
        "tuned loop",
        "resident loop",
        "PyTorch Lightning",
        "skorch",
    ]
    for name, row in contestants.items():
        assert len(row["seconds_per_run_epoch"]) == 2
        assert min(row["seconds_per_run_epoch"]) > 0
        assert row["largest_recall_difference"] < 0.02, f"{name} did not train what zoo trained"
        assert f"{name}: {row['does']}." in output
    assert contestants["zoo, one run"]["ratios"]["zoo, one run"] == [1, 1]
    assert "equal recalls say little" in output


def row_of(name, recalls, seconds=(2.0, 2.0, 4.0)):
    taken = {
        "zoo, one run": [Turn(1.0, 0.5), Turn(2.0, 0.52), Turn(4.0, 0.54)],
        "other": [Turn(*turn) for turn in zip(seconds, recalls, strict=True)],
    }
    contestant = vs_plain_loop.Contestant(name, "this", lambda task, seed: lambda: 0.0)
    return vs_plain_loop.figures(contestant, taken, 10)


def test_ratios_are_of_turns_in_the_same_round():
    assert row_of("other", (0.5, 0.52, 0.54))["ratios"] == {"zoo, one run": (2.0, 1.0, 1.0)}


@pytest.mark.parametrize(("recalls", "same"), [((0.5, 0.53, 0.54), True), ((0.6, 0.62, 0.64), False)])
def test_a_ratio_counts_only_with_the_same_recall(recalls, same):
    row = row_of("other", recalls)
    assert row["same_recall"] is same
    surroundings = vs_plain_loop.environment("cpu")
    settings = {"data": "x", "train_images": 1, "test_images": 1, "epochs": 1, "repetitions": 3}
    text = vs_plain_loop.report(surroundings, settings, [row])
    assert ("NO: other recall" in text) is not same


def test_study(tmp_path):
    output, written = carry_out(study, tmp_path, "--images", "100", "--jobs", "1", "--peak", "0.1")
    rows = written["configurations"]
    assert [row["configuration"] for row in rows] == study.CONFIGURATIONS
    for row in rows:
        assert row["seconds_training_per_epoch"] > 0
        assert row["study_seconds"] > 300 * row["seconds_training_per_epoch"]
        # Both are the same FLOPs, over the time measured and over the time at the peak.
        times = row["study_seconds_training"] / row["limit_seconds_training"]
        assert times == pytest.approx(0.1 / row["tflops"])
    whole = written["whole"]
    shares = [whole[f"share_{share}"] for share in ("training", "evaluation", "setup", "rest")]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0
    assert "eq2425/4a1" in output


def test_overhead(tmp_path, monkeypatch):
    monkeypatch.setattr(overhead, "ROWS", 20)
    _, written = carry_out(overhead, tmp_path, "--images", "100", "--seeds", "1", "--runs", "250")
    times = {row["what"]: row["milliseconds"] for row in written["measurements"]}
    assert len(times) == 13
    bare, zoo, added = (
        times[f"one run: {what}"][0] for what in ("a bare loop", "zoo, in this process, with ledger", "added by zoo")
    )
    assert added == pytest.approx(zoo - bare)
    assert times["one command: zoo --help"][0] < times["one command: zoo results, one run"][0]


def test_scaling(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "JOBS", (1, 2))
    monkeypatch.setattr(scaling, "RUNS_FOR_JOBS", 2)
    _, written = carry_out(scaling, tmp_path, "--images", "400", "--seeds", "1", "--epochs", "1")
    axes = {axis["axis"]: axis for axis in written["axes"]}
    assert list(axes) == ["specs", "seeds", "image side, pixels", "training images", "jobs"]
    assert axes["training images"]["sizes"] == [50, 100, 200, 400]
    for axis in axes.values():
        assert len(axis["seconds"]) == len(axis["sizes"])
        assert min(map(min, axis["seconds"])) > 0
    assert axes["specs"]["exponent"] > 0


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 2.0])
def test_the_exponent_of_a_power_is_found(exponent):
    seconds = {size: scaling.Spread((3 * size**exponent,) * 2) for size in (1, 2, 4, 8)}
    slope, error = scaling.fitted_exponent(seconds)
    assert slope == pytest.approx(exponent)
    assert error == pytest.approx(0, abs=1e-6)
