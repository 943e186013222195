"""The digits that scikit-learn embeds."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import attrs
import numpy as np

from zoo.data import Arrays

_BRIGHTEST = 16


@attrs.frozen
class Digits:
    """1,797 grey images of 8x8, of which every fifth of each class is a test image."""

    title: str = "digits"

    def missing(self) -> str | None:
        """Return None: they come with scikit-learn."""
        return None

    def get(self, report: Callable[[int, int], None]) -> None:
        """Do nothing."""

    def fingerprint(self) -> str:
        """Return the version of scikit-learn."""
        return version("scikit-learn")

    def decode(self, resize: int | None = None) -> Arrays:
        """Read the images, whose pixels go from 0 to 16, and split them."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / _BRIGHTEST)).astype(np.uint8)[:, np.newaxis]
        labels = digits.target.astype(np.int64)
        test = np.zeros(len(labels), bool)
        for label in range(len(digits.target_names)):
            test[np.flatnonzero(labels == label)[4::5]] = True
        classes = tuple(str(name) for name in digits.target_names)
        return Arrays(images[~test], labels[~test], images[test], labels[test], classes)
