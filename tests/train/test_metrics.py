"""Every figure against scikit-learn, on labels and predictions that leave classes out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from zoo.errors import DataError
from zoo.train import metrics

CLASSES = 5
pairs = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=30)
"""A true class and a predicted one for each image; with few images, classes are absent from either or both."""


def confusion(pairs, classes=CLASSES):
    return sklearn_metrics.confusion_matrix(*zip(*pairs, strict=True), labels=range(classes))


def assert_parity(pairs, figure, score, **options):
    expected = score(*zip(*pairs, strict=True), **options)
    matrix = confusion(pairs)
    for given_as in (matrix, tuple(map(tuple, matrix.tolist()))):
        result = figure(given_as)
        assert type(result) is float
        assert result == pytest.approx(expected, abs=1e-12)


macro = pytest.mark.parametrize(
    ("figure", "score"),
    [
        (metrics.macro_recall, sklearn_metrics.recall_score),
        (metrics.macro_precision, sklearn_metrics.precision_score),
        (metrics.macro_f1, sklearn_metrics.f1_score),
    ],
)


@macro
@given(pairs)
@example([(2, 2)])  # a single class
@example([(1, 3)])  # one true and never predicted, one predicted and never true
def test_macro_figures_are_scikit_learns(figure, score, pairs):
    assert_parity(pairs, figure, score, average="macro", zero_division=0)


@given(pairs)
def test_accuracy_is_scikit_learns(pairs):
    assert_parity(pairs, metrics.accuracy, sklearn_metrics.accuracy_score)


@given(pairs)
def test_recall_per_class_is_scikit_learns(pairs):
    occurring = sorted({c for pair in pairs for c in pair})
    expected = np.full(CLASSES, np.nan)
    expected[occurring] = sklearn_metrics.recall_score(*zip(*pairs, strict=True), average=None, zero_division=0)
    np.testing.assert_allclose(metrics.recall_per_class(confusion(pairs)), expected, atol=1e-12)


@given(st.lists(pairs, min_size=1, max_size=4))
def test_batch_recalls_are_each_batchs_macro_recall(batches):
    expected = [
        sklearn_metrics.recall_score(*zip(*batch, strict=True), average="macro", zero_division=0) for batch in batches
    ]
    result = metrics.batch_recalls(np.stack([confusion(batch) for batch in batches]))
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_a_class_that_is_only_predicted_counts_as_zero_and_an_absent_one_not_at_all():
    matrix = ((3, 1, 0), (0, 0, 0), (0, 0, 0))
    np.testing.assert_array_equal(metrics.recall_per_class(matrix), [0.75, 0, np.nan])
    assert metrics.macro_recall(matrix) == 0.375


FIGURES = [metrics.recall_per_class, metrics.macro_recall, metrics.macro_precision, metrics.macro_f1, metrics.accuracy]
NO_IMAGE = r"^a confusion matrix counts no image, so there is no recall; give that part of the data images$"


@pytest.mark.parametrize("figure", FIGURES)
def test_without_an_image_there_is_no_figure(figure):
    with pytest.raises(DataError, match=NO_IMAGE):
        figure(((0, 0), (0, 0)))


def test_a_batch_without_an_image_has_no_recall():
    with pytest.raises(DataError, match=NO_IMAGE):
        metrics.batch_recalls(np.stack([np.eye(2, dtype=np.int64), np.zeros((2, 2), dtype=np.int64)]))


@pytest.mark.parametrize(
    ("measure", "evaluated", "expected"),
    [
        ("final", [1, 2, 3], [3]),
        ("best", [1, 2, 3], [2]),
        ("best", [1, 3], []),
        ("eq2425", [1, 2, 3], [1, 2, 3]),
        ("last_quarter", list(range(1, 11)), [8, 9, 10]),
        ("last_quarter", [4, 8, 10], [8, 10]),
        ("last_quarter", [1], [1]),
        ("last_quarter", [], []),
        ("final", [], []),
    ],
)
def test_the_epochs_that_count(measure: str, evaluated: list[int], expected: list[int]) -> None:
    assert metrics.epochs_that_count(measure, evaluated, best=2) == expected


def test_the_mean_over_no_epoch_is_no_number() -> None:
    assert metrics.mean_recall([0.25, 0.5]) == 0.375
    assert math.isnan(metrics.mean_recall([]))
