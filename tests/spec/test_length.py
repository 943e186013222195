"""How long a run is, by counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.spec import TrainingSpec, structure
from zoo.spec.length import Length, in_words, planned_epochs, read_epochs
from zoo.spec.resolve import resolve


def training(**stated):
    return TrainingSpec(**{"batch_size": 10, **stated})


@pytest.mark.parametrize(
    ("stated", "steps", "epochs", "last"),
    [
        ({"epochs": 3}, 30, 3, 95),
        ({"epochs": 9.9}, 99, 10, 90),
        ({"epochs": 0.15}, 2, 1, 20),
        ({"epochs": 1.01}, 11, 2, 10),
        ({"epochs": 9.9, "accumulate": 3}, 40, 10, 95),
        ({"epochs": 1.5, "accumulate": 4}, 5, 2, 80),
        ({"steps": 13}, 13, 2, 30),
        ({"steps": 20}, 20, 2, 95),
        ({"steps": 1, "batch_size": 200}, 1, 1, 95),
        ({"epochs": 9.9, "drop_last": True}, 90, 10, 90),
        ({"epochs": 2, "accumulate": 2, "drop_last": True}, 8, 2, 80),
        ({"epochs": 2, "repeats": 5}, 96, 2, 475),
        ({"epochs": 0.5, "repeats": 2, "drop_last": True}, 10, 1, 100),
    ],
    ids=str,
)
def test_steps_and_epochs_of_95_images(stated, steps, epochs, last):
    length = Length.of(training(**stated), 95)
    assert (length.steps, length.epochs, length.images_of(length.epochs)) == (steps, epochs, last)


@given(
    images=st.integers(1, 60),
    batch=st.integers(1, 20),
    accumulate=st.integers(1, 3),
    epochs=st.floats(0.01, 5),
)
def test_all_steps_are_in_an_epoch(images, batch, accumulate, epochs):
    accumulate = min(accumulate, -(-images // batch))
    length = Length.of(training(epochs=epochs, batch_size=batch, accumulate=accumulate), images)
    parts = range(1, length.epochs + 1)
    assert sum(length.steps_of(epoch) for epoch in parts) == length.steps
    assert sum(length.images_of(epoch) for epoch in parts) == length.images_in_all
    assert all(length.steps_of(epoch) == length.steps_per_epoch for epoch in parts[:-1])
    assert 0 < length.images_of(length.epochs) <= images


def test_a_step_takes_no_more_batches_than_an_epoch_has():
    assert Length.of(training(epochs=1, accumulate=10), 95).steps == 1
    message = "accumulate = 11 batches make a step, and an epoch of 95 images has 10 of 10; accumulate at most these"
    with pytest.raises(ValueError, match=message):
        Length.of(training(epochs=1, accumulate=11), 95)


@pytest.mark.parametrize(
    ("epochs", "steps", "planned", "words"),
    [(1, None, 1, "1 epoch"), (10, None, 10, "10 epochs"), (9.9, None, 10, "9.9 epochs"), (None, 1, None, "1 step")],
)
def test_length_in_words(epochs, steps, planned, words):
    tree = {"epochs": epochs, "steps": steps}
    assert (planned_epochs(tree), in_words(tree)) == (planned, words)


def test_a_whole_number_of_epochs_is_one_however_it_is_written(registry):
    tree = {"network": {"features": []}, "data": {"dataset": "digits"}}
    read = [structure({**tree, "training": {"epochs": epochs}}, "a", registry) for epochs in (10, 10.0)]
    assert read[0].identity == read[1].identity
    assert str(read[1].training.epochs) == "10"


def test_a_reference_says_of_how_many_epochs_it_is(registry):
    base = {"base": "starter/default", "reference": {"source": "someone"}}
    assert resolve({**base, "set": {"training.epochs": 9.9}}, registry=registry).reference.epochs == 9.9
    assert resolve({**base, "set": {"training.steps": 9}}, registry=registry).reference.epochs is None


@pytest.mark.parametrize(
    ("given", "read"), [(3, 3), ("9.9", 9.9), ("20", 20), (2.0, 2), (0, None), ("-1", None), ("inf", None),
                        ("nan", None), ("many", None), (True, None), (None, None)]
)  # fmt: skip
def test_a_number_of_epochs_is_whole_where_it_can_be(given, read):
    assert (read_epochs(given), type(read_epochs(given))) == (read, type(read))
