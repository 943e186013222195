"""Drawing the validation part anew with each seed, so that a claim is not about one split."""

from __future__ import annotations

import attrs
import numpy as np

from zoo.data import splits
from zoo.data.dataset import Dataset, Split
from zoo.data.splits import Indices
from zoo.spec import DataSpec

_PURPOSE = 0x53504C54
"""Keeps the stream of splits apart from others of the same seed."""


def as_trained_on(dataset: Dataset, data: DataSpec, seed: int) -> Dataset:
    """Return a data set as a run with this seed is trained on it.

    It is the same for all seeds, unless `data.resplit` asks for a validation part of the seed's own. That is drawn from
    the seed alone, so that all specs have the same with one seed; it takes a copy of the training images.

    Raises:
        DataError: a class would have no image in one of the two parts.
    """
    if not data.resplit:
        return dataset
    labels = dataset.train.labels.cpu().numpy()
    taken = splits.drawn(
        labels, dataset.classes, dataset.groups.get("train"), data.validation, "validation", dataset.title,
        seed=_random_state(seed),
    )  # fmt: skip
    return attrs.evolve(dataset, train=_part(dataset.train, ~taken), validation=_part(dataset.train, taken))


def _random_state(seed: int) -> int:
    return int(np.random.SeedSequence([_PURPOSE, seed]).generate_state(1)[0])


def _part(split: Split, chosen: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Split:
    import torch

    indices: Indices = np.flatnonzero(chosen)
    places = torch.from_numpy(indices).to(split.labels.device)
    return Split(split.images.index_select(0, places), split.labels.index_select(0, places))
