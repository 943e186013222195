"""Frames whose columns are found by their earlier names, too."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd

EARLIER = {
    "recall": "test_recall",
    "seconds": "seconds_training",
    "device": "device_name",
    "recall.test": "test_recall",
    "recall.train": "train_recall",
    "recall.validation": "validation_recall",
}
"""Names of columns by those that they had before."""


class Frame(pd.DataFrame):
    """A frame that gives a column by its earlier name, with a warning."""

    @property
    def _constructor(self) -> type[Frame]:
        return Frame

    def __getitem__(self, key: Any) -> Any:
        now = EARLIER.get(key) if isinstance(key, str) else None
        if now is not None and key not in self.columns and now in self.columns:
            warnings.warn(f"the column {key!r} is now called {now!r}", DeprecationWarning, stacklevel=2)
            key = now
        return super().__getitem__(key)
