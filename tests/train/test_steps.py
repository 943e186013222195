"""Steps as the best recipes make them, against loops by hand with torch alone, in float64."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from small_runs import PLUGIN, figures, small
from torch import nn
from torch.nn import functional as F

from zoo.data import Dataset, Split
from zoo.registry import Registry
from zoo.train import streams
from zoo.train.checkpoint import restore, save
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.gate import gate
from zoo.train.kept import why_useless
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
CAPTURED = partial(CapturedTraining, chain=2, warm_up=1)
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def made_data(images=23, validation=0):
    generator = np.random.default_rng(0)

    def part(count):
        pixels = torch.from_numpy(generator.integers(0, 256, (count, 1, 6, 6), dtype=np.uint8))
        return Split(pixels, torch.from_numpy(generator.permutation(np.arange(count) % 4)))

    held_out = part(validation) if validation else None
    return Dataset("made", "Made", ("a", "b", "c", "d"), part(images), part(8), held_out, "digest", (), False)


DATA = made_data()


def make(sets=None, kind=Training, *, on=DATA, registry=REGISTRY, precision="float64"):
    spec = small(registry, sets={"training.shuffle": True, **(sets or {})})
    return kind(spec, 0, on, device="cpu", registry=registry, precision=precision)


def weights(training):
    return torch.cat([p.detach().flatten() for p in training.network.parameters()])


def by_hand(training, optimizer, *, steps=20, before_step=lambda parameters, step: None, set_rates=lambda step: None):
    """Train with torch alone, from the training's own start; return the loss of each epoch and the last weights."""
    spec, data = training.spec.training, training.dataset.train
    net = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(27, 5), nn.ReLU(), nn.Linear(5, 4)),
    ).double()
    net.load_state_dict(dict(zip(net.state_dict(), training.network.state_dict().values(), strict=True)))
    names = [name for name, _ in training.network.named_parameters()]
    made = optimizer(dict(zip(names, net.parameters(), strict=True)))
    count, step, losses, epoch = len(data.labels), 0, [], 0
    while step < steps:
        epoch += 1
        order = torch.randperm(count, generator=streams.generator("cpu", training.seed, "order", epoch))
        total = seen = 0
        for of_step in torch.split(order, spec.batch_size * spec.accumulate):
            if step == steps:
                break
            set_rates(made, step)
            made.zero_grad()
            for chosen in torch.split(of_step, spec.batch_size):
                logits = net(data.images[chosen].double() / 255 - 0.5)
                loss = F.cross_entropy(logits, data.labels[chosen], reduction="sum")
                (loss / len(of_step)).backward()
                total += loss.item()
            before_step(list(net.parameters()), step)
            made.step()
            step, seen = step + 1, seen + len(of_step)
        losses.append(total / seen)
    return losses, torch.cat([p.detach().flatten() for p in net.parameters()])


def sgd(parameters, **options):
    return torch.optim.SGD(parameters.values(), **{"lr": 0.1, "momentum": 0.9, **options})


def assert_by_hand(sets, optimizer=sgd, *, steps, **others):
    """Train as a spec says with both engines, and by hand."""
    training = make(sets)
    losses, expected = by_hand(training, optimizer, steps=steps, **others)
    records = list(training.epochs())
    np.testing.assert_allclose([record.loss for record in records], losses, rtol=1e-12)
    torch.testing.assert_close(weights(training), expected, **EXACT)
    assert_engines_agree(sets)
    return records


def assert_engines_agree(sets, on=DATA):
    one, other = make(sets, on=on), make(sets, CAPTURED, on=on)
    assert figures(one.epochs()) == figures(other.epochs())
    assert torch.equal(weights(one), weights(other))


def fixed(optimizer, step):
    pass


# Gradients of several batches, and their norm


@pytest.mark.parametrize("norm", [0.05, 100.0], ids=["scaled", "never reached"])
def test_a_gradient_is_scaled_down_to_the_norm(norm):
    def clip(parameters, step):
        nn.utils.clip_grad_norm_(parameters, norm)

    sets = {"training.epochs": 4, "training.clip_norm": norm}
    assert_by_hand(sets, steps=4 * 5, before_step=clip, set_rates=fixed)


@pytest.mark.parametrize("accumulate", [2, 3, 9])
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
