"""Each script, carried out at a small size."""

from __future__ import annotations

import json
import os
import runpy
import sys
from functools import cache
from pathlib import Path

import by_seed
import executors
import gallery_times
import gpu
import overhead
import precision
import pytest
import ray_overhead
import scaling
import scatter
import steps
import study
import times
import torchvision_models
import vs_plain_loop
from _zoo import changed, train
from click.testing import CliRunner
from vs_plain_loop import Turn

import zoo
from zoo.errors import ZooError
from zoo.ledger import Ledger
from zoo.registry import default_registry
from zoo.spec.resolve import resolve
from zoo.train.run import Run, RunKey

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


@pytest.mark.parametrize(
    "name",
    [
        "vs_plain_loop",
        "study",
        "overhead",
        "scaling",
        "precision",
        "gpu",
        "executors",
        "ray_overhead",
        "times",
        "scatter",
        "steps",
        "by_seed",
    ],
)
def test_help(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in ("--epochs", "--seeds", "--data", "--images", "--device", "--json"):
        assert option in text, f"{name}.py --help does not name {option}"


def test_torchvision_models(tmp_path):
    path = tmp_path / "models.json"
    result = CliRunner().invoke(torchvision_models.main, ["squeezenet1_1", "--json", str(path)], catch_exceptions=False)
    (row,) = json.loads(path.read_text())["models"]
    assert row["parameters"] == row["published_parameters"] == 1_235_496
    assert row["flops"] == pytest.approx(row["published_flops"], abs=torchvision_models.ROUNDING)
    assert row["kinds"]["activation"] == {
        "places": {"ReLU": 26}, "functions": 0, "shared": 0, "kept": 52, "equal": True
    }  # fmt: skip
    assert row["kinds"]["normalization"] == {"refused": "squeezenet1_1 has no normalization"}
    line = next(line for line in result.output.splitlines() if line.startswith("squeezenet1_1 "))
    assert line.split() == ["squeezenet1_1", "1,235,496", "equal", "0.698", "equal", "26", "none", "1", "26", "3"]


def test_torchvision_models_start_from_files():
    result = CliRunner().invoke(torchvision_models.main, ["squeezenet1_1", "--start"], catch_exceptions=False)
    line = next(line for line in result.output.splitlines() if line.startswith("squeezenet1_1  "))
    assert line.split() == ["squeezenet1_1", "26", "50", "50", "classifier.1.weight,", "classifier.1.bias"]


def test_precision(tmp_path):
    output, written = carry_out(
        precision, tmp_path, "starter/4e", "starter/default", "--images", "150", "--epochs", "2", "--seeds", "3"
    )
    for name in ("starter/4e", "starter/default"):
        fp32, bf16 = (written["recalls"][name][kind] for kind in ("fp32", "bf16"))
        mean = sum(b - a for a, b in zip(fp32, bf16, strict=True)) / 3
        assert written["verdicts"][name]["difference"] == pytest.approx(mean)
        assert name in output
    assert "margin 0.005; bf16 minus fp32" in output


def test_by_seed(tmp_path):
    changes = ("--change", "elu:activation=elu", "--change", "mixed:training.shuffle=true")
    output, written = carry_out(
        by_seed, tmp_path, "starter/4e", *changes, "--images", "300", "--epochs", "3", "--seeds", "3"
    )
    assert [row["effect"] for row in written["rows"]] == ["elu", "mixed", "elu x mixed"]
    first = written["rows"][0]
    assert (first["freedom_one_variance"], first["freedom_by_seed"]) == (4 * 3 - 3 - 3, 2)
    assert f"| elu | {first['difference']:+.4f} | {first['error_one_variance']:.4f} |" in spaced(output)
    assert f"| {first['error_by_seed']:.4f} |" in spaced(output)


def test_scatter(tmp_path):
    arguments = ("starter/4e", "--change", "activation=mish", "--images", "150", "--epochs", "2", "--seeds", "3")
    output, written = carry_out(scatter, tmp_path, *arguments)
    assert len(written["rows"]) == len(scatter.WAYS) * len(scatter.FIGURES)
    first = written["rows"][0]
    assert f"| {first['difference']:+.4f} ± {first['half_interval']:.4f} | {first['deviation']:.4f}" in spaced(output)
    needed, low, high = first["seeds"]
    assert low < needed < high


def spaced(table):
    return " ".join(table.split())


def test_times(tmp_path):
    output, written = carry_out(times, tmp_path, "--images", "100", "--seeds", "1", "--copies", "2", "--rounds", "40")
    assert written["rounds"] == 40
    for kind in ("training", "evaluation"):
        ((ratio, low, high),) = written[kind]["intervals"]
        assert low < ratio < high
        assert written[kind]["leave_out_1"] == (not low <= 1 <= high)
        assert f"{written[kind]['leave_out_1']} of 1" in output


def test_vs_plain_loop(tmp_path):
    pytest.importorskip("lightning")
    pytest.importorskip("skorch")
    output, written = carry_out(vs_plain_loop, tmp_path, "--images", "100", "--seeds", "1")
    contestants = {row["name"]: row for row in written["contestants"]}
    assert list(contestants) == [
        "zoo, one run",
        "zoo, two at once",
        "zoo, two at once, bf16",
        "study's loop",
        "tuned loop",
        "resident loop",
        "PyTorch Lightning",
        "skorch",
    ]
    for name, row in contestants.items():
        assert len(row["seconds_per_run_epoch"]) == 1
        assert row["seconds_per_run_epoch"][0] > 0
        assert row["same_recall"] is None
        allowed = 0.1 if "bf16" in name else 0.02
        assert row["largest_recall_difference"] < allowed, f"{name} did not train what zoo trained"
        assert f"{name}: {row['does']}." in output
    assert contestants["zoo, one run"]["ratios"]["zoo, one run"] == [1]
    assert "equal recalls say little" in output
    assert "not judged: one seed" in output


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


def test_study_says_that_the_command_failed(capfd):
    with pytest.raises(ZooError, match="zoo benchmark ended with exit code 2; what it said stands above"):
        study.benchmark("digit", epochs=1, seeds=1, device="cpu", jobs=1)
    assert "did you mean digits?" in capfd.readouterr().err


def test_study_says_that_runs_are_missing(monkeypatch):
    monkeypatch.setattr(study, "CONFIGURATIONS", ["starter/default"] * 2)
    with pytest.raises(ZooError, match="2 runs were asked for, and the ledger holds 1"):
        study.benchmark("digits", epochs=1, seeds=1, device="cpu", jobs=1)


def test_study_says_that_nothing_was_trained():
    run = Run(RunKey("", 0, "", "", ""), "eq2425/4b", {}, "digits", status="failed", reason="out of memory")
    with pytest.raises(ZooError, match="eq2425/4b: no epoch was trained: failed: out of memory"):
        study.row([run], 100, None)


def starter():
    registry = default_registry()
    spec = changed(resolve("starter/default", registry=registry), registry, training__epochs=1)
    return spec, registry


def test_overhead_compares_only_what_does_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(overhead, "bare_run", lambda *_, **__: 1.0)
    message = r"zoo's run \(finished, recall 0\.\d{4}\) and the bare loop \(recall 1\.0000\) did not do the same"
    with pytest.raises(ZooError, match=message):
        overhead.cost_of_a_run(*starter(), "cpu", 1, tmp_path)


def test_overhead_says_that_the_large_ledger_is_not_as_it_should_be(tmp_path, monkeypatch):
    spec, registry = starter()
    (example,) = train([spec], [0], registry=registry, device="cpu")
    monkeypatch.setattr(overhead, "multiply", lambda path, runs: None)
    with pytest.raises(ZooError, match="the large ledger knows 1 of 500 keys"):
        overhead.cost_of_a_large_ledger(example, tmp_path, 1000, 1)


def test_overhead_says_which_command_failed():
    command = [sys.executable, "-c", "raise SystemExit('no luck')"]
    with pytest.raises(ZooError, match="ended with exit code 1: no luck"):
        overhead._seconds_of(command)


def test_the_large_ledger_holds_whole_runs(tmp_path):
    spec, registry = starter()
    (example,) = train([spec], [0], registry=registry, device="cpu")
    path = tmp_path / "large.sqlite"
    overhead.store(example, path)
    overhead.multiply(path, 250)
    with Ledger(path) as ledger:
        runs = ledger.runs()
    assert [run.key.seed for run in runs] == list(range(250))
    assert sum(run.name == "spec-1" for run in runs) == 100
    for run in runs:
        assert run.epochs == example.epochs


def test_overhead(tmp_path, monkeypatch):
    monkeypatch.setattr(overhead, "ROWS", 20)
    # Starting torch takes seconds: each command is carried out once.
    once = cache(overhead._seconds_of)
    monkeypatch.setattr(overhead, "_seconds_of", lambda command: once(tuple(command)))
    _, written = carry_out(overhead, tmp_path, "--images", "100", "--seeds", "1", "--runs", "250")
    times = {row["what"]: row["milliseconds"] for row in written["measurements"]}
    assert len(times) == 13
    bare, zoo, added = (
        times[f"one run: {what}"][0] for what in ("a bare loop", "zoo, in this process, with ledger", "added by zoo")
    )
    assert added == pytest.approx(zoo - bare)
    assert times["one command: zoo --help"][0] < times["one command: zoo results, one run"][0]


def test_gallery_times(tmp_path):
    lab = zoo.Lab(tmp_path / "lab.sqlite", device="cpu", jobs=1, project=None)
    lab.benchmark("starter/default", vary={"activation": ["relu", "tanh"]}, seeds=1, epochs=1)
    result = CliRunner().invoke(gallery_times.main, [str(tmp_path), "--rounds", "40"], catch_exceptions=False)
    assert result.output.startswith("digits, ")
    timed = json.loads((tmp_path / "times" / "lab-activation-0.json").read_text())
    with Ledger(tmp_path / "lab.sqlite") as ledger:
        identities = {run.name: run.key.spec for run in ledger.runs()}
    assert {one["spec"]: one["identity"] for one in timed} == {
        name.removeprefix("starter/default[activation=").removesuffix("]"): identity
        for name, identity in identities.items()
    }


def test_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "SIZES", (50,))
    text, written = carry_out(steps, tmp_path, "--images", "100", "--epochs", "3")
    (row,) = written["steps"]
    assert all(len(row[name]) == 3 and min(row[name]) > 0 for name in ("by_hand", "zoo", "processor", "wall"))
    assert row["processor"] == pytest.approx([zoo / hand for zoo, hand in zip(row["zoo"], row["by_hand"], strict=True)])
    assert f"{sorted(row['processor'])[1]:.3f} [{min(row['processor']):.3f}, " in text


def test_steps_compares_only_what_does_the_same(monkeypatch):
    monkeypatch.setattr(steps.BareLoop, "train_epoch", lambda self: 0.0)
    with pytest.raises(ZooError, match="zoo and the loop by hand did not do the same: losses"):
        steps.compared(*starter(), "cpu", seed=0)


def test_scaling(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "COUNTS", (1, 2))
    monkeypatch.setattr(scaling, "JOBS", (1, 2))
    monkeypatch.setattr(scaling, "RUNS_FOR_JOBS", 2)
    _, written = carry_out(scaling, tmp_path, "--images", "400", "--seeds", "1", "--epochs", "1")
    axes = {axis["axis"]: axis for axis in written["axes"]}
    assert list(axes) == ["specs", "seeds", "image side, pixels", "training images", "jobs"]
    assert axes["training images"]["sizes"] == [50, 100, 200, 400]
    for axis in axes.values():
        assert len(axis["seconds"]) == len(axis["sizes"])
        assert min(map(min, axis["seconds"])) > 0


@pytest.mark.parametrize("exponent", [-1.0, 0.1, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(exponent):
    seconds = {size: scaling.Spread((3 * size**exponent,) * 2) for size in (1, 2, 4, 8)}
    slope, error = scaling.fitted_exponent(seconds)
    assert slope == pytest.approx(exponent)
    assert error == pytest.approx(0, abs=1e-6)


@pytest.mark.skipif("ZOO_SLOW" not in os.environ, reason="takes half a minute; set ZOO_SLOW to run it")
def test_ray_overhead(tmp_path):
    pytest.importorskip("ray")
    output, written = carry_out(
        ray_overhead, tmp_path, "--images", "100", "--epochs", "1", "--seeds", "1", "--runs", "2"
    )
    times = {row["what"]: row["milliseconds"] for row in written["measurements"]}
    assert len(times) == 12
    assert min(map(min, times.values())) > 0
    assert written["environment"]["ray"]
    assert "the figures of all runs are equal" in output


def test_ray_overhead_is_for_a_cpu():
    with pytest.raises(ZooError, match="--device mps: this benchmark compares workers on a CPU; leave the option out"):
        ray_overhead.main.callback(1, 1, "digits", None, "mps", None, 2, 2)


def test_gpu(tmp_path):
    output, written = carry_out(
        gpu, tmp_path, "--spec", "starter/default", "--images", "100", "--epochs", "1", "--seeds", "1", "--most", "2"
    )
    ways = ["step by step", "recorded, 1 at once", "recorded, 8 at once", "recorded, 16 at once"]
    assert [(row["precision"], row["way"]) for row in written["alone"]] == [
        (precision, way) for precision in ("fp32", "bf16") for way in ways
    ]
    assert [(row["precision"], row["runs"]) for row in written["together"]] == [
        (precision, runs) for precision in ("fp32", "bf16") for runs in (1, 2)
    ]
    for row in (*written["alone"], *written["together"]):
        assert all(microseconds > 0 for microseconds in row["microseconds"])
    assert written["steps"] == 2
    assert "us a step, all runs' steps counted" in output


def test_gpu_names_what_a_run_raised():
    def fails():
        raise ZooError("no such network")

    with pytest.raises(ZooError, match="no such network"):
        gpu._side_by_side([fails, fails], "cpu", "fp32", 1, 1)


def test_executors(tmp_path):
    output, written = carry_out(
        executors, tmp_path, "--spec", "starter/default", "--images", "100", "--epochs", "6", "--at-once", "1,2",
        "--executors", "streams",
    )  # fmt: skip
    assert [(row["executor"], row["at_once"]) for row in written["ways"]] == [("streams", 1), ("streams", 2)]
    assert all(value > 0 for row in written["ways"] for value in row["milliseconds"])
    assert "ms a run and epoch (sequential)" in output


def test_executors_refuses_too_few_epochs():
    with pytest.raises(ZooError, match="--epochs 3: the first 2 and the last are not counted; take more"):
        executors.main.callback(3, 1, "digits", None, "cpu", None, "starter/default", "here", "1", "fp32", "auto")
