"""A small network in float64, and its training written out by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from small_runs import PLUGIN, figures, small
from torch import nn
from torch.nn import functional as F

from zoo.data import Dataset, Split
from zoo.registry import Registry
from zoo.train import streams
from zoo.train.engines.captured import CapturedTraining
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
