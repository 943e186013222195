"""A single-file plugin for the checks of executors: small made images, and layers that do what ends or tells a run.

It is loaded with the plugins of the executor that is checked, in each process that trains.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import zoo

if TYPE_CHECKING:
    from torch import Tensor, nn

DIED = 71
"""The exit code of a process that a run ended."""


@zoo.hookimpl
def zoo_register_datasets(register: zoo.Register) -> None:
    """Register the images."""
    register("check_corners", Corners)


@zoo.hookimpl
def zoo_register_activations(register: zoo.Register) -> None:
    """Register the layers."""
    for factory in (check_draws, check_raises, check_exits, check_explodes, check_dies, check_beats):
        register(factory.__name__, factory)


class Corners:
    """Noise with a bright square, whose corner of the image is the class."""

    title = "corners"

    def missing(self) -> str | None:
        """Nothing is."""
        return None

    def get(self, report: Callable[[int, int], None]) -> None:
        """Fetch nothing."""

    def fingerprint(self) -> str:
        """Return a constant: the images never change."""
        return "1"

    def decode(self, resize: int | None = None) -> zoo.Arrays:
        """Make the images."""
        numbers = np.random.default_rng(0)
        return zoo.Arrays(*_part(numbers, 27), *_part(numbers, 13), classes=("a", "b", "c", "d"))


def _part(numbers: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels = np.arange(size) % 4
    images = numbers.integers(0, 120, (size, 1, 6, 6), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 3 * (label // 2), 3 * (label % 2)
        image[0, row : row + 3, column : column + 3] += 100
    return images, labels


def check_draws() -> nn.Module:
    """Draws from torch's generator in training."""
    import torch

    return _layer(lambda x: x * torch.rand_like(x))


def check_raises() -> nn.Module:
    """Raises in training."""
    return _layer(_raise)


def _raise(x: Tensor) -> Tensor:
    raise KeyError("it was told to raise")


def check_exits() -> nn.Module:
    """Ends the process politely in training."""
    return _layer(lambda x: sys.exit(3))


def check_explodes() -> nn.Module:
    """Makes everything infinite from the eighth training step on."""
    steps = count()
    return _layer(lambda x: x * math.inf if next(steps) > 7 else x)


def check_dies(*, counter: str = "", times: zoo.NonNegativeInt = 0) -> nn.Module:
    """Ends the process at once in its eighth training step, `times` times in all, which the file `counter` counts."""
    steps = count()

    def die(x: Tensor) -> Tensor:
        lives = Path(counter)
        if next(steps) == 7 and len(lives.read_bytes()) < times:
            with lives.open("ab") as file:
                file.write(b"x")
            os._exit(DIED)
        return x

    return _layer(die)


def check_beats(*, file: str = "") -> nn.Module:
    """Takes its time in training, and writes which process and thread it is into a file, step by step."""

    def beat(x: Tensor) -> Tensor:
        with Path(file).open("a", encoding="utf-8") as beats:
            beats.write(f"{os.getpid()} {threading.get_native_id()}\n")
        time.sleep(0.02)
        return x

    return _layer(beat)


def _layer(in_training: Callable[[Tensor], Any]) -> nn.Module:
    from torch import nn

    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = in_training(x) if self.training else x
            return result

    return Layer()
