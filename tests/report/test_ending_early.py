"""What is said of runs that end before their epochs are over: by patience, or by time."""

from __future__ import annotations

import attrs
import pytest
from small_runs import PLUGIN, planned_run, small

from zoo.registry import Registry
from zoo.report.table import render
from zoo.report.text import lengths_in_words
from zoo.report.verdict import judged, verdicts
from zoo.train.run import EpochRecord, Evaluation

REGISTRY = Registry(files=[PLUGIN]).require_sound()
BY_TIME = (
    "Training ended by time (training.minutes): how far a run came depends on the machine, and on what else that did "
    "meanwhile, so the figures are of this machine."
)
TIMED = {"training.epochs": 30, "training.minutes": 0.5}
STOPPED = {"training.epochs": 30, "evaluation.stop": {"patience": 2}, "data.validation": 0.25}
PLAIN = {"training.epochs": 3}


def made(name, seed, epochs, sets, device="A Processor"):
    """Return a run that has finished."""
    right = {"test": Evaluation(((9 - seed, 1), (1, 9)))}
    records = tuple(EpochRecord(epoch + 1, 0.5, 1.0, 0.1, right) for epoch in range(epochs))
    run = planned_run(small(REGISTRY, name, sets), REGISTRY, seed)
    return attrs.evolve(run, status="finished", epochs=records, provenance={"device_name": device})


def group(name, sets, *epochs, **options):
    return [made(name, seed, count, sets, **options) for seed, count in enumerate(epochs)]


@pytest.mark.parametrize("sets", [TIMED, STOPPED], ids=["by time", "by patience"])
def test_the_table_says_how_many_epochs_there_were(sets):
    text = render([*group("one", sets, 12, 9, 11), *group("two", sets | {"training.batch_size": 4}, 7, 7, 7)])
    assert "3 seeds (0 to 2), at most 30 epochs\n" in text
    assert "\nEpochs that were trained: one 9 to 12, two 7.\n" in text + "\n"
    assert (BY_TIME in text) == (sets is TIMED)


def test_of_whole_runs_nothing_is_said():
    text = render(group("one", PLAIN, 3, 3))
    assert "2 seeds (0, 1), 3 epochs\n" in text
    assert "Epochs that were trained" not in text
    assert BY_TIME not in text


def test_a_verdict_says_that_it_is_about_this_machine():
    runs = [*group("one", TIMED, 12, 9, 11), *group("two", TIMED | {"training.batch_size": 4}, 7, 7, 7)]
    assert verdicts(judged(runs, [["one", "two"]]))[-1] == BY_TIME
    assert BY_TIME not in verdicts(judged([*group("one", PLAIN, 3), *group("two", PLAIN, 3)], [["one", "two"]]))


@pytest.mark.parametrize(("sets", "compared"), [(TIMED, False), (PLAIN, True)], ids=["by time", "by epochs"])
def test_runs_of_two_machines_are_not_compared_where_time_ended_them(sets, compared):
    others = group("two", sets | {"training.batch_size": 4}, 3, 3, 3, device="Another")
    lines = verdicts(judged([*group("one", sets, 3, 3, 3), *others], [["one", "two"]]))
    assert any("machine A Processor and Another" in line for line in lines) != compared


def test_lengths_in_words():
    def told(*sets):
        return lengths_in_words([planned_run(small(REGISTRY, sets=one), REGISTRY).spec for one in sets])

    assert told(PLAIN, PLAIN) == "3 epochs"
    assert told(PLAIN, {"training.epochs": 9.9}) == "3 to 9.9 epochs"
    assert told({"training.steps": 7}) == "7 steps"
    assert told(PLAIN, {"training.steps": 7}) == "3 epochs or 7 steps"
    assert told(STOPPED) == "at most 30 epochs"
    assert told(TIMED) == "at most 30 epochs, 0.5 minutes"
