from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from zoo.data import Arrays


def arrays(**changes: Any) -> Arrays:
    """Return 12 training and 6 test images of 4x5 in 3 classes, with changes."""
    random = np.random.default_rng(0)
    sound = Arrays(
        train_images=random.integers(0, 256, (12, 1, 4, 5), np.uint8),
        train_labels=np.arange(12) % 3,
        test_images=random.integers(0, 256, (6, 1, 4, 5), np.uint8),
        test_labels=np.arange(6) % 3,
        classes=("ant", "bee", "cat"),
    )
    return attrs.evolve(sound, **changes)


@attrs.define
class FakeSource:
    """A source in memory, which counts how often it is decoded."""

    content: Arrays | Exception = attrs.field(factory=arrays)
    version: str = "1"
    reason: str | None = None
    title: str = "Fake"
    decoded: int = 0

    def missing(self) -> str | None:
        return self.reason

    def get(self, report: Callable[[int, int], None]) -> None:
        self.reason = None

    def fingerprint(self) -> str:
        return self.version

    def decode(self, resize: int | None = None) -> Arrays:
        self.decoded += 1
        if isinstance(self.content, Exception):
            raise self.content
        return self.content
