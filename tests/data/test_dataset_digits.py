from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from zoo.data import load, source
from zoo.registry import Registry


def test_digits_are_scikit_learns_in_file_order(registry: Registry) -> None:
    data = load("digits", registry)
    assert data.shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    assert not data.sorted_by_class
    digits = load_digits()
    test = np.zeros(1797, bool)
    for label in range(10):
        test[np.flatnonzero(digits.target == label)[4::5]] = True
    for split, mine in ((data.train, ~test), (data.test, test)):
        np.testing.assert_array_equal(split.labels, digits.target[mine])
        difference = np.abs(split.images[:, 0].numpy() - digits.images[mine] * 255 / 16)
        assert difference.max() <= 0.5
    assert data.train.images.max() == 255


def test_the_test_part_is_a_fifth_of_each_class(registry: Registry) -> None:
    data = load("digits", registry)
    assert (len(data.train), len(data.test)) == (1442, 355)
    shares = data.test.labels.bincount() / (data.train.labels.bincount() + data.test.labels.bincount())
    assert shares.min() > 0.19
    assert shares.max() <= 0.2


def test_digits_are_always_at_hand(registry: Registry) -> None:
    digits = source("digits", registry)
    assert digits.missing() is None
    digits.get(lambda done, total: None)
