"""Figures of a classifier, each from the counts of images by true class (row) and predicted class (column).

They are scikit-learn's (`recall_score`, `precision_score`, `f1_score` with `average="macro"` and `zero_division=0`,
`accuracy_score`): a macro figure is the mean over the classes that occur among the labels or the predictions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.train.run import Confusion

Counts = NDArray[np.int64]
Figures = NDArray[np.float64]


def recall_per_class(confusion: Confusion | Counts) -> Figures:
    """Return each class's recall, (classes,): the share of its images that were predicted to be of it.

    It is 0 for a class that was predicted but has no image, and nan for one that was not predicted either.

    Raises:
        DataError: there is no image.
    """
    tally = _tally(confusion)
    return np.where(tally.occurs, tally.recall, np.nan)


def macro_recall(confusion: Confusion | Counts) -> float:
    """Return the mean recall over the classes that occur.

    Raises:
        DataError: there is no image.
    """
    tally = _tally(confusion)
    return float(_macro(tally.recall, tally))


def macro_precision(confusion: Confusion | Counts) -> float:
    """Return the mean precision over the classes that occur; that of a class never predicted is 0.

    Raises:
        DataError: there is no image.
    """
    tally = _tally(confusion)
    return float(_macro(_share(tally.right, tally.predicted), tally))


def macro_f1(confusion: Confusion | Counts) -> float:
    """Return the mean over the classes that occur of F1, the harmonic mean of precision and recall.

    Raises:
        DataError: there is no image.
    """
    tally = _tally(confusion)
    return float(_macro(_share(2 * tally.right, tally.true + tally.predicted), tally))


def accuracy(confusion: Confusion | Counts) -> float:
    """Return the share of images that were predicted right (top-1 accuracy).

    Raises:
        DataError: there is no image.
    """
    tally = _tally(confusion)
    return float(tally.right.sum() / tally.true.sum())


def batch_recalls(confusions: Counts) -> Figures:
    """Return each batch's macro recall, over the classes that occur in that batch.

    Args:
        confusions: one confusion matrix for each batch, (batches, classes, classes).

    Returns:
        (batches,)

    Raises:
        DataError: a batch has no image.
    """
    tally = _tally(confusions)
    return _macro(tally.recall, tally)


def measure_of(spec: Mapping[str, Any]) -> str:
    """Return of what the recall of a spec's runs is, a spec as plain data: a name of `recall_over_epochs`."""
    evaluation = spec.get("evaluation")
    if not isinstance(evaluation, Mapping):  # a ledger may hold anything
        return "final"
    named = evaluation.get("measure")
    # What runs of earlier versions do not say is the default.
    return "best" if evaluation.get("keep") == "best" else named if isinstance(named, str) else "final"


def best_epoch(recalls: Mapping[int, float]) -> int | None:
    """Return the first epoch of the highest recall, of those that were evaluated; None where none was."""
    return max(recalls, key=lambda epoch: (recalls[epoch], -epoch), default=None)


def epochs_that_count(measure: str, evaluated: Sequence[int], best: int | None = None) -> list[int]:
    """Return the epochs over which a run's recall on a part of the data is the mean.

    Args:
        measure: "final" counts the last epoch, "best" the one that was best on the validation part, "last_quarter" the
            last quarter of the run's epochs (of 10 the last 3), and "eq2425" all, of each the mean over batches of each
            batch's macro recall.
        evaluated: the epochs after which the part was evaluated, in order.
        best: the epoch that was best on the validation part.
    """
    if measure == "best":
        return [epoch for epoch in evaluated if epoch == best]
    if measure == "last_quarter" and evaluated:
        last = evaluated[-1]
        return [epoch for epoch in evaluated if epoch > last - math.ceil(last / 4)]
    return list(evaluated if measure == "eq2425" else evaluated[-1:])


def mean_recall(recalls: Sequence[float]) -> float:
    """Return the mean over the epochs that count; NaN of none."""
    return math.fsum(recalls) / len(recalls) if recalls else math.nan


class _Tally(NamedTuple):
    """What all figures come from, (..., classes): images by class, predicted right, in truth and as predicted."""

    right: Counts
    true: Counts
    predicted: Counts

    @property
    def occurs(self) -> NDArray[np.bool_]:
        return self.true + self.predicted > 0

    @property
    def recall(self) -> Figures:
        return _share(self.right, self.true)


def _tally(confusion: Confusion | Counts) -> _Tally:
    """Tally one confusion matrix, or a stack of them, each of which must hold an image."""
    counts = np.asarray(confusion, dtype=np.int64)
    tally = _Tally(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2))
    if not tally.occurs.any(-1).all():
        raise DataError("a confusion matrix counts no image, so there is no recall; give that part of the data images")
    return tally


def _share(part: Counts, whole: Counts) -> Figures:
    """Return part / whole, and 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)


def _macro(figures: Figures, tally: _Tally) -> Figures:
    """Return the mean of a figure over the classes that occur, (..., classes) to (...)."""
    return np.asarray(np.mean(figures, axis=-1, where=tally.occurs))
