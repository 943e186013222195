"""A single-file plugin for the tests: small made-up images, and layers that do what a layer must not do."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np

from zoo import hookimpl
from zoo.data import Arrays
from zoo.registry.options import NonNegativeInt, PositiveFloat, PositiveInt


@hookimpl
def zoo_register_datasets(register):
    """Register the images."""
    register("squares", Squares)
    register("sorted_squares", SortedSquares)
    register("absent", Absent)


@hookimpl
def zoo_register_activations(register):
    """Register the layers."""
    for factory in (raises, raises_in_backward, exits, gives_up, interrupts, shrinks, kills, hangs, explodes, draws):
        register(factory.__name__, factory)
    for factory in (
        loses_the_device,
        reads_out_of_range,
        twice,
        counts_steps,
        counts_in_buffer,
        averages,
        keeps_a_generator,
        grows,
        expands,
    ):
        register(factory.__name__, factory)


@hookimpl
def zoo_register_optimizers(register):
    """Register optimizers that keep state where torch's own do not."""
    for factory in (counts_in_group, normalizes, accumulates_in_double, keeps_a_list, counts_in_attribute):
        register(factory.__name__, factory)


class Squares:
    """Noise with a bright square, whose corner of the image is the class."""

    title = "Squares"
    _order = staticmethod(np.asarray)

    def missing(self):
        """Nothing is."""

    def get(self, report):
        """Fetch nothing."""

    def fingerprint(self):
        """Return a constant: the images never change."""
        return "1"

    def decode(self, resize=None):
        """Make the images."""
        generator = np.random.default_rng(0)

        def part(size):
            labels = self._order(np.arange(size) % 4)
            images = generator.integers(0, 120, (size, 1, 6, 6), dtype=np.uint8)
            for image, label in zip(images, labels, strict=True):
                row, column = 3 * (label // 2), 3 * (label % 2)
                image[0, row : row + 3, column : column + 3] += 100
            return images, labels

        return Arrays(*part(27), *part(13), classes=("a", "b", "c", "d"), notes=("one was upside down",))


class SortedSquares(Squares):
    """The same, class by class."""

    _order = staticmethod(np.sort)

    def fingerprint(self):
        """Return a constant: the images never change."""
        return "2"


class Absent(Squares):
    """Images that are not at hand."""

    title = "Absent"

    def missing(self):
        """Say so."""
        return "nobody has them"


def raises():
    """Raise in training."""
    return _layer(training=_raise)


def raises_in_backward():
    """Raise in the backward pass."""
    import torch

    class Identity(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            _raise(gradient)

    return _layer(training=Identity.apply)


def exits():
    """End the process politely."""
    return _layer(training=lambda x: sys.exit(3))


class GivesUpError(BaseException):
    """No Exception, as KeyboardInterrupt is none."""


def gives_up():
    """Raise something that is no Exception."""

    def give_up(x):
        raise GivesUpError("no more")

    return _layer(training=give_up)


def interrupts():
    """Raise what Ctrl-C raises."""

    def interrupt(x):
        raise KeyboardInterrupt

    return _layer(training=interrupt)


def shrinks():
    """Give another shape in training than in evaluation."""
    return _layer(training=lambda x: x[:, :-1])


def explodes(*, step: NonNegativeInt = 0):
    """Make all infinite from a training step (from 0) on."""
    steps = count()
    return _layer(training=lambda x: x * math.inf if next(steps) >= step else x)


def kills(*, counter: str = "", times: PositiveInt = 1, step: NonNegativeInt = 0, code: NonNegativeInt = 0):
    """End a worker process in a training step (from 0), in its first `times` lives, which the file `counter` counts.

    By SIGKILL, or with an exit code where one is given. A process that is no worker is left alone.
    """
    import multiprocessing

    steps = count()

    def kill(x):
        lives = Path(counter)
        if multiprocessing.parent_process() and next(steps) == step and len(lives.read_text()) < times:
            with lives.open("a") as file:
                file.write("x")
            if code:
                os._exit(code)
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    return _layer(training=kill)


def hangs(*, folder: str = ""):
    """Wait in a worker process for ever, after making a file in `folder` that is named by the process."""
    import multiprocessing

    def hang(x):
        if multiprocessing.parent_process():
            Path(folder, str(os.getpid())).touch()
            time.sleep(3600)
        return x

    return _layer(training=hang)


def loses_the_device():
    """Raise as torch does after a fault in a kernel on a GPU, and so from then on in this process."""
    from zoo.train import lost

    def lose(x):
        lost.why_lost = lambda device: LOST
        raise RuntimeError(LOST)

    return _layer(training=lose)


def reads_out_of_range():
    """Look a value up that is not there, which on a GPU is a fault in a kernel."""
    import torch

    return _layer(training=lambda x: x + x.flatten()[torch.full((1,), x.numel(), device=x.device)])


LOST = "CUDA error: device-side assert triggered"


def draws():
    """Draw from torch's generator in training and evaluation, as a layer may."""
    import torch

    return _layer(training=torch.rand_like, evaluation=lambda x: x + 0 * torch.rand_like(x))


def twice(shape):
    """Apply one dense layer twice."""
    from torch import nn

    layer = nn.Linear(shape[-1], shape[-1])
    return nn.Sequential(layer, nn.ReLU(), layer)


def counts_steps():
    """Let less through with each step, counted in an attribute."""

    def count_step(layer, x):
        layer.steps = getattr(layer, "steps", 0) + 1
        return _leaky(x, layer.steps)

    return _remembering(count_step)


def counts_in_buffer():
    """Let less through with each step, counted in a buffer that is no part of the state_dict."""
    import torch

    def count_step(layer, x):
        layer.steps += 1
        return _leaky(x, layer.steps)

    layer = _remembering(count_step)
    layer.register_buffer("steps", torch.zeros(()), persistent=False)
    return layer


def averages():
    """Subtract an average that is a plain tensor, in an attribute with others."""

    def subtract(layer, x):
        mean = x.detach().mean()
        layer.past = {"means": [mean, *getattr(layer, "past", {"means": []})["means"]][:3], "last": (mean, 1)}
        return x - sum(layer.past["means"])

    return _remembering(subtract)


def keeps_a_generator():
    """Draw from a generator of its own, which goes on from epoch to epoch."""
    generator = np.random.default_rng(0)
    layer = _remembering(lambda layer, x: x * layer.generator.random())
    layer.generator = generator
    return layer


def grows():
    """Append to a buffer with each step."""
    import torch

    def grow(layer, x):
        layer.means = torch.cat([layer.means, x.detach().mean()[None]])
        return x - layer.means.mean()

    layer = _remembering(grow)
    layer.register_buffer("means", torch.zeros(1))
    return layer


def expands():
    """Add a buffer whose numbers are one in memory."""
    import torch

    layer = _remembering(lambda layer, x: x + layer.shift.sum())
    layer.register_buffer("shift", torch.ones(1).expand(3))
    return layer


def _leaky(x, steps):
    import torch

    return torch.where(x > 0, x, x / (1 + steps))


def _remembering(training):
    from torch import nn

    class Layer(nn.Module):
        def forward(self, x):
            return training(self, x) if self.training else x

    return Layer()


def counts_in_group(parameters, *, learning_rate: PositiveFloat = 0.1):
    """Step less far with each step, counted in its group."""

    def begin(group):
        group["steps"] += 1
        return group["lr"] / group["steps"]

    return _descent(parameters, {"lr": learning_rate, "steps": 0}, begin=begin)


def normalizes(parameters, *, learning_rate: PositiveFloat = 0.1):
    """Divide the momentum by its norm, whose last digits depend on the order in memory."""
    import torch

    def direction(state, parameter):
        momentum = state.setdefault("momentum", torch.zeros_like(parameter)).mul_(0.9).add_(parameter.grad)
        return momentum / (momentum.norm() + 1e-3)

    return _descent(parameters, {"lr": learning_rate}, direction=direction)


def accumulates_in_double(parameters, *, learning_rate: PositiveFloat = 0.1):
    """Keep the momentum in float64."""
    import torch

    def direction(state, parameter):
        zeros = torch.zeros_like(parameter, dtype=torch.float64)
        return state.setdefault("momentum", zeros).mul_(0.9).add_(parameter.grad.double()).float()

    return _descent(parameters, {"lr": learning_rate}, direction=direction)


def keeps_a_list(parameters, *, learning_rate: PositiveFloat = 0.1):
    """Follow the last three gradients, which it keeps in a list."""

    def direction(state, parameter):
        state["last"] = [*state.get("last", []), parameter.grad][-3:]
        return sum(state["last"])

    return _descent(parameters, {"lr": learning_rate}, direction=direction)


def counts_in_attribute(parameters, *, learning_rate: PositiveFloat = 0.1):
    """Step less far with each step, counted in an attribute."""

    def begin(group):
        optimizer.steps += 1
        return group["lr"] / optimizer.steps

    optimizer = _descent(parameters, {"lr": learning_rate}, begin=begin)
    optimizer.steps = 0
    return optimizer


def _descent(
    parameters, defaults, *, begin=lambda group: group["lr"], direction=lambda state, parameter: parameter.grad
):
    import torch

    class Descent(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                rate = begin(group)
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.sub_(rate * direction(self.state[parameter], parameter))

    return Descent(parameters, defaults)


def _raise(x):
    raise KeyError("no such\nkey")


def _layer(training, evaluation=lambda x: x):
    from torch import nn

    class Layer(nn.Module):
        def forward(self, x):
            return training(x) if self.training else evaluation(x)

    return Layer()
