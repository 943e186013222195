"""Training that ends by time, with the seconds of its epochs made up, so that they decide."""

from __future__ import annotations

from functools import partial

import attrs
import pytest
from loops_by_hand import DATA, REGISTRY, make
from small_runs import figures

from zoo.errors import BuildError
from zoo.spec import TrainingSpec
from zoo.spec.length import Length, ends_early, in_words
from zoo.train.checkpoint import restore, save
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.gate import gate

SETS = {"training.epochs": 20, "training.minutes": 1, "training.batch_size": 5, "training.schedule": "cosine"}
SECONDS = [30.0, 11.0, 12.0, 12.0]
"""Of five steps each: after the first epoch there is time for five more, after the second for eight, then for two."""
CAPTURED = partial(CapturedTraining, chain=2, warm_up=1)


@pytest.mark.parametrize(
    ("taken", "steps", "epochs", "last"),
    [
        ([], 300, 30, 10),
        ([6.0], 100, 10, 10),
        ([8.0], 75, 8, 5),
        ([8.0, 4.0], 140, 14, 10),
        ([8.0, 30.0], 27, 3, 7),
        ([8.0, 30.0, 25.0], 27, 3, 7),
        ([60.0], 10, 1, 10),
        ([55.0], 20, 2, 10),
        ([55.0, 1.0], 60, 6, 10),
        ([55.0, 1.0, 3.5], 31, 4, 1),
        ([99.0], 10, 1, 10),
        ([0.0], 300, 30, 10),
        ([1e-9], 300, 30, 10),
    ],
    ids=str,
)
def test_a_run_is_as_long_as_the_pace_of_its_last_epoch_lets_it(taken, steps, epochs, last):
    length = Length.of(TrainingSpec(epochs=30, batch_size=10), 100).within(60, taken)
    assert (length.steps, length.epochs, length.steps_of(length.epochs)) == (steps, epochs, last)


def test_the_run_ends_by_time_and_its_schedule_with_it():
    training = make(SETS)
    factors = []
    records = []
    for record in training.epochs(taken=SECONDS):
        records.append(record)
        factors.append(training._factors(training.length.first_step(record.epoch + 1) - 1, training.length.steps)[0])
    assert [record.epoch for record in records] == [1, 2, 3, 4]
    assert (training.length.steps, training.length.steps_of(4)) == (17, 2)
    assert factors[:3] == sorted(factors[:3], reverse=True)
    assert training._factors(16, 17)[0] < 0.02
    assert [bool(record.evaluations) for record in records] == [True] * 4
    assert "train" in records[-1].evaluations


def test_the_seconds_of_the_epochs_decide_all_figures():
    first, again = (list(make(SETS).epochs(taken=SECONDS)) for _ in range(2))
    assert figures(first) == figures(again)
    assert figures(first) == figures(make(SETS, CAPTURED).epochs(taken=SECONDS))
    assert figures(first)[1:] != figures(make(SETS).epochs(taken=[20.0, *SECONDS[1:]]))[1:]


def test_an_evaluation_of_the_last_epoch_only_is_of_the_one_that_time_makes_the_last():
    records = list(make(SETS | {"evaluation.every": 0}).epochs(taken=SECONDS))
    assert [bool(record.evaluations) for record in records] == [False, False, False, True]


def test_it_goes_on_from_a_checkpoint_with_the_time_that_is_behind(tmp_path):
    whole, file, records = make(SETS), tmp_path / "run.safetensors", []
    for record in whole.epochs(taken=SECONDS):
        records.append(attrs.evolve(record, seconds_training=SECONDS[record.epoch - 1]))
        if record.epoch == 2:
            save(file, whole, records)
    resumed = make(SETS)
    behind = restore(file, resumed)
    assert resumed.length.steps == 10 + 8
    assert figures([*behind, *resumed.epochs(first=3, taken=SECONDS)]) == figures(records)


def test_real_time_ends_a_run():
    training = make(SETS | {"training.epochs": 100_000, "training.minutes": 0.002})
    assert 1 < training.estimate() / 0.12 < 100
    records = list(make(SETS | {"training.epochs": 100_000, "training.minutes": 0.002}).epochs())
    assert 1 <= len(records) < 1000


def test_the_gate_does_not_look_at_the_time():
    training = make(SETS)
    assert gate(training.spec, DATA, device="cpu", registry=REGISTRY) == ""


def test_what_asks_how_many_steps_there_are_is_refused():
    with pytest.raises(BuildError) as error:
        make(SETS | {"training.averaging": "swa"})
    assert str(error.value).startswith("small: training.averaging: swa ")
    assert str(error.value).endswith(
        "asks how many steps the run has, and training.minutes leaves that open: leave out one of the two"
    )


def test_no_longer_run_goes_on_from_it():
    training = make(SETS | {"training.schedule": "constant"})
    assert not training.begins_like(1)


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"epochs": 20, "steps": None, "minutes": 5}, "20 epochs, 5 minutes"),
        ({"epochs": None, "steps": 1, "minutes": 1}, "1 step, 1 minute"),
    ],
)
def test_in_words(training, words):
    assert in_words(training) == words
    assert ends_early({"training": training, "evaluation": {}})
    assert not ends_early({"training": {}, "evaluation": {"stop": None}})
