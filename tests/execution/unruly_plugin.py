"""A single-file plugin for the tests on Ray: layers that end their worker, or wait in it."""

from __future__ import annotations

import os
import signal
import time
from itertools import count
from pathlib import Path

from zoo import hookimpl
from zoo.registry.options import NonNegativeInt, PositiveInt


@hookimpl
def zoo_register_activations(register):
    """Register the layers."""
    register("kills_worker", kills_worker)
    register("waits_in_worker", waits_in_worker)


def kills_worker(*, spare: NonNegativeInt = 0, counter: str = "", times: PositiveInt = 1, step: NonNegativeInt = 0):
    """End the process by SIGKILL in a training step (from 0), in its first `times` lives, counted by a file."""
    steps = count()

    def kill(x):
        lives = Path(counter)
        if os.getpid() != spare and next(steps) == step and len(lives.read_text()) < times:
            with lives.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    return _layer(kill)


def waits_in_worker(*, spare: NonNegativeInt = 0, folder: str = "", step: NonNegativeInt = 0):
    """Make a file in `folder` named by the process, in a training step (from 0), and wait for one named go."""
    steps = count()

    def wait(x):
        if os.getpid() != spare and next(steps) == step:
            Path(folder, str(os.getpid())).touch()
            while not Path(folder, "go").exists():
                time.sleep(0.02)
        return x

    return _layer(wait)


def _layer(training):
    from torch import nn

    class Layer(nn.Module):
        def forward(self, x):
            return training(x) if self.training else x

    return Layer()
