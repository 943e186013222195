"""Schedules that go by what was validated before."""

from __future__ import annotations

import pytest
import torch
from loops_by_hand import assert_engines_agree, made_data, make, weights
from small_runs import figures

from zoo.errors import BuildError
from zoo.train.checkpoint import restore, save
from zoo.train.kept import go_on
from zoo.train.metrics import macro_recall
from zoo.train.places import kept_file
from zoo.train.run import RunKey
from zoo_plugins.schedules import plateau

HELD_OUT = made_data(validation=9)
PLATEAU = {
    "training.epochs": 6,
    "training.schedule": {"name": "plateau", "factor": 0.5, "patience": 0},
    "training.optimizer.learning_rate": 0.5,
}


def rates_and_recalls(training, first=1):
    rates, recalls = [], []
    for record in training.epochs(first):
        rates.append(training.learning_rates(0)[0])
        recalls.append(macro_recall(record.evaluations["validation"].confusion))
    return rates, recalls


def test_a_plateau_goes_by_the_epochs_before():
    training = make(PLATEAU, on=HELD_OUT)
    assert training.learning_rates(0) == [0.5]
    rates, recalls = rates_and_recalls(training)
    expected = [0.5 * plateau(tuple(recalls[:epoch]), factor=0.5, patience=0) for epoch in range(1, 7)]
    assert rates == expected
    assert len(set(rates)) > 1, "recall must fall once for this to say something"
    assert_engines_agree(PLATEAU, on=HELD_OUT)


def test_a_plateau_of_a_run_that_goes_on_is_that_of_one_in_one_go(tmp_path):
    """Also where a shorter run had been evaluated only because it ended."""
    sets = {**PLATEAU, "evaluation.every": 2}
    whole, records = make(sets, on=HELD_OUT), []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 3:
            save(tmp_path / "run", whole, records)
    resumed = make(sets, on=HELD_OUT)
    assert figures([*restore(tmp_path / "run", resumed), *resumed.epochs(first=4)]) == figures(records)
    shorter = make({**sets, "training.epochs": 3}, on=HELD_OUT)
    spec_key = RunKey(shorter.spec.identity, 0, "digest", "source", "float64")
    save(kept_file(tmp_path, spec_key), shorter, list(shorter.epochs()))
    longer = make(sets, on=HELD_OUT)
    key = RunKey(longer.spec.identity, 0, "digest", "source", "float64")
    behind = go_on(longer, tmp_path, key)
    assert len(behind) == 3
    assert figures([*behind, *longer.epochs(first=4)]) == figures(records)
    assert torch.equal(weights(longer), weights(whole))


def test_a_plateau_needs_a_validation_part():
    with pytest.raises(BuildError) as error:
        make(PLATEAU)
    assert str(error.value) == (
        "small: training.schedule: plateau(factor=0.5, patience=0) goes by the recall on validation images, and there "
        "are none; hold some out with data.validation"
    )
