"""Drawing the validation part anew with each seed, so that a claim is not about one split.

It is drawn at random, or it is one fold of a partition, each fold in turn; then comes the next partition.
"""

from __future__ import annotations

import attrs
import numpy as np

from zoo.data import splits
from zoo.data.dataset import Dataset, Split
from zoo.data.options import fold_count
from zoo.data.splits import Indices
from zoo.spec import DataSpec

_PURPOSE, _FOLDS = 0x53504C54, 0x464F4C44
"""Keep the streams of splits, and of partitions, apart from others of the same seed."""


def as_trained_on(dataset: Dataset, data: DataSpec, seed: int) -> Dataset:
    """Return a data set as a run with this seed is trained on it.

    It is the same for all seeds, unless `data.resplit` asks for a validation part of the seed's own. That is drawn from
    the seed alone, so that all specs have the same with one seed; it takes a copy of the training images. Of k folds,
    seed s has the fold s mod k of the partition s div k.

    Raises:
        DataError: a class would have no image in one of the two parts.
    """
    if not data.resplit:
        return dataset
    labels = dataset.train.labels.cpu().numpy()
    groups, title = dataset.groups.get("train"), dataset.title
    if data.resplit == "folds":
        partition, fold = divmod(seed, fold_count(data.validation))
        state = _random_state(_FOLDS, partition)
        taken = splits.folds(labels, dataset.classes, groups, data.validation, title, seed=state)[fold]
    else:
        state = _random_state(_PURPOSE, seed)
        taken = splits.drawn(labels, dataset.classes, groups, data.validation, "validation", title, seed=state)
    return attrs.evolve(dataset, train=_part(dataset.train, ~taken), validation=_part(dataset.train, taken))


def _random_state(purpose: int, number: int) -> int:
    return int(np.random.SeedSequence([purpose, number]).generate_state(1)[0])


def _part(split: Split, chosen: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Split:
    import torch

    indices: Indices = np.flatnonzero(chosen)
    places = torch.from_numpy(indices)
    images, labels = (each.index_select(0, places.to(each.device)) for each in (split.images, split.labels))
    return Split(images, labels, weights=None if split.weights is None else split.weights[places])
