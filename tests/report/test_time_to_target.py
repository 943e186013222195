"""Time to a target: seconds of training until validation recall is there, with runs that never get there."""

from __future__ import annotations

import json
import math

import attrs
import pytest
from small_runs import PLUGIN, small

import zoo
from zoo.errors import BuildError
from zoo.registry import Registry
from zoo.report.table import render, rows
from zoo.spec import unstructure
from zoo.study.measure import seconds_to_target
from zoo.train.execute import dataset
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SETS = {"data.validation": 0.3, "evaluation.target": 0.75}
SPEC = unstructure(small(REGISTRY, sets=SETS))


def run(seed, *recalls, status="finished", spec=SPEC):
    """A run of one second an epoch, with so many of four validation images of a class right."""
    epochs = []
    for epoch, right in enumerate(recalls, start=1):
        evaluation = Evaluation(((right, 4 - right), (0, 4)))
        epochs.append(EpochRecord(epoch, 1.0, 1.0, 9.0, {"validation": evaluation, "test": evaluation}))
    return Run(RunKey("a", seed, "d", "s", "fp32"), "small", spec, "squares", status, epochs=tuple(epochs))


def test_the_seconds_are_those_of_training_until_the_recall_is_there():
    assert seconds_to_target(run(0, 0, 1, 2, 3)) == 3
    assert seconds_to_target(run(0, 2)) == 1
    assert seconds_to_target(run(0, 0, 1)) == math.inf
    without = unstructure(small(REGISTRY))
    assert math.isnan(seconds_to_target(run(0, 4, spec=without)))
    old = {**without, "evaluation": {"every": 1, "measure": "final"}}
    assert math.isnan(seconds_to_target(run(0, 4, spec=old))), "a run of an earlier version says nothing of it"


@pytest.mark.parametrize(
    ("runs", "seconds", "reached", "cell"),
    [
        ([run(0, 2), run(1, 0, 2), run(2, 0, 0, 2)], 2, 3, "2.00 s (3 of 3)"),
        ([run(0, 2), run(1, 0, 2), run(2, 0, 0), run(3, 0, 0)], 2, 2, "2.00 s (2 of 4)"),
        ([run(0, 2), run(1, 0, 0), run(2, 0, status="diverged")], None, 1, "- (1 of 3)"),
        ([run(0, 2), run(1, status="failed")], 1, 1, "1.00 s (1 of 1)"),
    ],
)
def test_runs_that_never_get_there_are_counted(runs, seconds, reached, cell):
    (row,) = rows(runs, lambda run: False)
    assert (row.target, row.reached) == (0.75, reached)
    assert math.isnan(row.seconds_to_target) if seconds is None else row.seconds_to_target == seconds
    (record,) = json.loads(render(runs, format_="json"))
    assert (record["target"], record["seconds_to_target"], record["reached"]) == (0.75, seconds, reached)
    text = render(runs)
    assert cell in text
    assert (
        "to target: how long training takes until half of the runs have had a validation recall of 0.75, and how many "
        "had it at all"
    ) in " ".join(text.split())
    assert "to target" not in render([attrs.evolve(each, spec=unstructure(small(REGISTRY))) for each in runs])


def test_runs_that_are_stored_are_asked_for_a_target_afterwards(tmp_path):
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, device="cpu", registry=REGISTRY, say=lambda line: None)
    lab.benchmark(small(REGISTRY, sets={"data.validation": 0.3}), seeds=2)
    spec = small(REGISTRY, sets=SETS | {"evaluation.target": 0.0})
    assert not lab.plan(spec, seeds=2).missing
    frame = lab.benchmark(spec, seeds=2).frame()
    assert frame["reached"].tolist() == [2]
    assert frame["seconds_to_target"][0] > 0


def test_a_target_needs_images_that_are_held_out():
    spec = small(REGISTRY, sets={"evaluation.target": 0.9})
    with pytest.raises(BuildError, match=r"^small: evaluation.target goes by recall on images that are held out"):
        Training(spec, 0, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY)
