"""Steps of several batches, gradients of a limited norm, runs that end within an epoch: as written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loops_by_hand import DATA, EXACT, REGISTRY, assert_by_hand, fixed, make, weights
from small_runs import figures, small
from torch import nn

from zoo.train.checkpoint import restore, save
from zoo.train.engines.gate import gate
from zoo.train.kept import why_useless


@pytest.mark.parametrize("norm", [0.05, 100.0], ids=["scaled", "never reached"])
def test_a_gradient_is_scaled_down_to_the_norm(norm):
    def clip(parameters, step):
        nn.utils.clip_grad_norm_(parameters, norm)

    sets = {"training.epochs": 4, "training.clip_norm": norm}
    assert_by_hand(sets, steps=4 * 5, before_step=clip, set_rates=fixed)


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_a_step_is_made_from_the_mean_over_the_images_of_its_batches(accumulate):
    """The last step of an epoch has 3 of 23 images, or 8, or all of them, and counts them all the same."""
    steps = 4 * -(-23 // (5 * accumulate))
    sets = {"training.epochs": 4, "training.accumulate": accumulate, "training.schedule": "cosine"}

    def cosine(optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 + np.cos(np.pi * step / steps)) / 2

    assert_by_hand(sets, steps=steps, set_rates=cosine)


def test_accumulated_batches_without_normalization_are_one_large_batch():
    whole, parted = make({"training.batch_size": 10}), make({"training.accumulate": 2})
    for training in (whole, parted):
        list(training.epochs())
    torch.testing.assert_close(weights(parted), weights(whole), **EXACT)


@pytest.mark.parametrize("sets", [{"training.accumulate": 2}, {"training.clip_norm": 0.1}], ids=str)
def test_recorded_steps_pass_the_gate(sets):
    assert gate(small(REGISTRY, sets=sets), DATA, device="cpu", registry=REGISTRY) == ""


def test_an_estimate_is_of_whole_steps():
    assert make({"training.accumulate": 2, "training.clip_norm": 1.0}).estimate() > 0


# Runs that end within an epoch


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("length", [{"training.epochs": 3.5}, {"training.steps": 13}], ids=str)
def test_a_run_that_ends_within_an_epoch(length, accumulate):
    """The schedule is that of all steps, and the last record that of the images which were seen."""
    sets = {**length, "training.accumulate": accumulate, "training.schedule": "cosine", "evaluation.every": 0}
    steps = make(sets).length.steps
    assert steps == (13 if "training.steps" in length else {1: 18, 2: 11}[accumulate])

    def cosine(optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 + np.cos(np.pi * step / steps)) / 2

    records = assert_by_hand(sets, steps=steps, set_rates=cosine)
    assert [bool(record.evaluations) for record in records] == [*[False] * (len(records) - 1), True]


def test_a_run_of_steps_goes_on_from_its_checkpoint(tmp_path):
    whole, records = make({"training.steps": 13}), []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 2:
            save(tmp_path / "run", whole, records)
    resumed = make({"training.steps": 13})
    behind = restore(tmp_path / "run", resumed)
    assert figures([*behind, *resumed.epochs(first=3)]) == figures(records)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("length", [{"training.epochs": 1.5}, {"training.steps": 5}], ids=str)
def test_only_whole_epochs_are_gone_on_with(length):
    assert why_useless(make(length), REGISTRY) == "only a run of a number of whole epochs is gone on with"
