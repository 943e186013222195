"""The first images of a data set as a data set of their own, for quick runs and for sizes to compare."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import numpy as np

from zoo.data import Options, cache_dir, load
from zoo.registry import Registry


@attrs.frozen
class Shelf:
    """A temporary folder of data sets, each the first images of one that is at hand."""

    folder: Path
    registry: Registry

    def first(self, name: str, train: int | None, test: int | None, *, side: int | None = None) -> str:
        """Return the name of a data set with the first images of each part of the named one.

        Args:
            name: a data set as `zoo benchmark --data` takes it.
            train: how many training images; None takes all.
            test: how many test images; None takes all.
            side: what images are resized to, in pixels; None leaves them as they are.

        Returns:
            `name` itself where that is the same.

        Raises:
            DataError: the data set is not at hand, or a class has no image among the first.
        """
        data = load(name, self.registry)
        resized = side is not None and data.shape[1:] != (side, side)
        if resized:
            data = load(name, self.registry, Options(resize=side))
        all_taken = (train is None or train >= len(data.train)) and (test is None or test >= len(data.test))
        if all_taken and not resized:
            return name
        path = self.folder / f"first-{train}-{test}-side-{side}.npz"
        np.savez(
            path,
            train_images=data.train.images[:train].numpy(),
            train_labels=data.train.labels[:train].numpy(),
            test_images=data.test.images[:test].numpy(),
            test_labels=data.test.labels[:test].numpy(),
            classes=np.array(data.classes),
        )
        shortened = f"npz:{path}"
        load(shortened, self.registry)
        return shortened


@contextmanager
def shelf(registry: Registry) -> Iterator[Shelf]:
    """Yield a shelf; at the end it is removed, with what zoo's cache holds of it."""
    entries = cache_dir() / "datasets"
    before = set(entries.glob("npz-*"))
    with TemporaryDirectory(prefix="zoo-benchmark-") as folder:
        try:
            yield Shelf(Path(folder), registry)
        finally:
            for entry in set(entries.glob("npz-*")) - before:
                shutil.rmtree(entry, ignore_errors=True)
