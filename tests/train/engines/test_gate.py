"""The gate lets through what trains as torch.optim does, and nothing else."""

from __future__ import annotations

import re
from functools import partial

import attrs
import pytest
import torch
from made_images import on_made_images, registered_specs
from small_runs import DRAWING, PLUGIN, small
from tape import TapedTraining
from torch import nn

from zoo.errors import BuildError
from zoo.registry import Registry
from zoo.spec.paths import apply
from zoo.train import lost
from zoo.train.engines import gate as gate_module
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.gate import gate
from zoo.train.execute import dataset

REGISTRY = Registry(files=[PLUGIN]).require_sound()
TAPED = partial(TapedTraining, chain=2, warm_up=1)


def verdict(sets=None, **engine):
    spec = small(REGISTRY, sets=sets)
    return gate(spec, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY, **engine)


class Counts(nn.Module):
    """Keeps a counter in Python, which a recording never advances."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        return x * (1 + 0.01 * self.calls)


class CountsOnTheDevice(nn.Module):
    """Keeps its counter in a buffer that stays where it is, as a layer must."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        if self.training:
            self.calls.add_(1)
        return x * (1 + 0.01 * self.calls)


class Reassigns(nn.Module):
    """Replaces its buffer with a new tensor, so that the recording goes on with the old one."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        if self.training:
            self.calls = self.calls + 1
        return x * (1 + 0.01 * self.calls)


@pytest.fixture
def both(monkeypatch):
    """Put a layer into the reference and the engine alike; return the verdict."""

    def both(layer):
        def within(training):
            def make(*arguments, **keywords):
                made = training(*arguments, **keywords)
                made.network.features[0].append(layer())
                return made

            return make

        monkeypatch.setattr(gate_module, "Training", within(gate_module.Training))
        return verdict(engine=within(TAPED))

    return both


def test_a_recording_is_really_replayed(both):
    assert both(nn.Identity) == "", "the tape itself must be right"
    assert both(CountsOnTheDevice) == ""


@pytest.mark.parametrize("layer", [Counts, Reassigns])
def test_what_a_layer_keeps_in_python_is_found_out(both, layer):
    assert both(layer).startswith("in epoch 2 of a check in float64 it is off by ")


def test_a_tape_of_everything_that_draws_passes():
    assert verdict(DRAWING | {"training.shuffle": True}, engine=TAPED) == ""


@pytest.mark.parametrize("sets", [{}, DRAWING | {"training.shuffle": True, "training.schedule": "cosine"}], ids=str)
@pytest.mark.parametrize("batch", [1, 5, 9, 40])
def test_the_engine_passes(sets, batch):
    assert verdict({**sets, "training.batch_size": batch}) == ""


def test_images_that_are_drawn_by_weights_pass_whatever_the_first_few_have():
    """The check takes the first few images, of which a table that is sorted may weigh none."""
    spec = small(REGISTRY, sets={"training.sampling": "weighted", "training.shuffle": True})
    data = dataset(spec, REGISTRY, "cpu")
    last = torch.zeros(len(data.train.labels), dtype=torch.float64)
    last[-1] = 1.0
    data = attrs.evolve(data, train=attrs.evolve(data.train, weights=last))
    assert gate(spec, data, device="cpu", registry=REGISTRY) == ""


@pytest.mark.parametrize("name", registered_specs())
def test_every_registered_spec_passes(registry, name):
    spec, data = on_made_images(name, registry)
    assert gate(spec, data, device="cpu", registry=registry) == ""


@pytest.mark.parametrize("name", ["small/resnet", "small/vit"])
def test_architectures_with_replaced_layers_are_recorded(registry, name):
    spec, data = on_made_images(name, registry)
    # A tape holds a learning rate for good, and Adam's number of the step.
    steady = {"training.schedule": "constant", "training.warmup": 0.0, "training.optimizer": {"name": "sgd"}}
    replaced = {"activation": "prelu", "normalization": {"name": "group", "groups": 4}}
    spec = attrs.evolve(spec, training=attrs.evolve(spec.training, batch_size=4))
    assert gate(apply(spec, steady | replaced, registry), data, device="cpu", registry=registry, engine=TAPED) == ""


class Slips(CapturedTraining):
    """Is wrong in the tenth digit, after the first epoch."""

    size = 1e-8

    def train_epoch(self, epoch):
        loss = super().train_epoch(epoch)
        with torch.no_grad():
            next(self.network.parameters()).view(-1)[0].add_(self.size * (epoch == 2))
        return loss


class SlipsUnseen(Slips):
    size = 1e-13


class TurnsNan(Slips):
    size = float("nan")


@pytest.mark.parametrize(
    ("engine", "said"),
    [(Slips, "in epoch 2 of a check in float64 it is off by 1.0e-08"), (TurnsNan, "in epoch 1 of .* is off by inf")],
)
def test_a_small_difference_is_too_much(engine, said):
    assert re.fullmatch(said, verdict(engine=engine))


def test_rounding_is_not():
    assert verdict(engine=SlipsUnseen) == ""


def test_a_training_that_diverges_in_both_passes():
    assert verdict({"training.optimizer": {"name": "sgd", "learning_rate": 1e200}}) == ""


def raising(error):
    class Raises(CapturedTraining):
        def record(self, work):
            raise error

    return partial(Raises, chain=2, warm_up=1)


def test_what_recording_raises_is_a_reason():
    said = verdict(engine=raising(RuntimeError("operation not\npermitted")))
    assert said == "its steps cannot be recorded (RuntimeError: operation not permitted)"


def test_too_little_memory_is_no_verdict():
    with pytest.raises(torch.OutOfMemoryError):
        verdict(engine=raising(torch.OutOfMemoryError("CUDA")))


def test_a_device_that_is_lost_is_no_verdict(monkeypatch):
    monkeypatch.setattr(lost, "why_lost", lambda device: "CUDA error: assert")
    with pytest.raises(RuntimeError, match="CUDA error"):
        verdict(engine=raising(RuntimeError("CUDA error: device-side assert triggered")))


def test_what_the_reference_raises_is_raised():
    with pytest.raises(BuildError, match="does not fit its input"):
        verdict({"network.features.0.filter": {"name": "conv", "size": 9, "padding": "valid"}})


def test_the_default_type_and_the_global_generator_are_left_as_they_were():
    state = torch.get_rng_state()
    verdict(DRAWING)
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.get_rng_state(), state)
