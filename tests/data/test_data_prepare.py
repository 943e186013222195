from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from data_fakes import FakeSource, arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as some_array
from PIL import Image

from zoo.data import Options, load, resized
from zoo.data.prepare import prepare
from zoo.data.splits import split_off
from zoo.errors import DataError
from zoo.registry import Registry

LABELS = np.arange(12) % 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"train_images": np.zeros((12, 1, 4, 5), np.float32)},
            "Fake: train_images must be uint8, pixels from 0 to 255, got float32",
        ),
        (
            {"test_images": np.zeros((6, 4, 5), np.uint8)},
            "Fake: test_images must be (images, channels, height, width), none 0, got shape (6, 4, 5)",
        ),
        (
            {"train_images": np.zeros((12, 1, 0, 5), np.uint8)},
            "Fake: train_images must be (images, channels, height, width), none 0, got shape (12, 1, 0, 5)",
        ),
        (
            {"train_labels": LABELS * 1.0},
            "Fake: train_labels must be one integer for each image, got float64 of shape (12,)",
        ),
        (
            {"train_labels": LABELS[:, None]},
            "Fake: train_labels must be one integer for each image, got int64 of shape (12, 1)",
        ),
        ({"train_labels": LABELS[:11]}, "Fake: there are 12 train_images, but 11 train_labels"),
        ({"train_labels": LABELS + 1}, "Fake: train_labels[2] is 3; with 3 classes, labels go from 0 to 2"),
        ({"train_labels": LABELS - 1}, "Fake: train_labels[0] is -1; with 3 classes, labels go from 0 to 2"),
        (
            {"test_labels": np.arange(6) % 2},
            "Fake: the class 'cat' (label 2) has no test image; each needs one",
        ),
        ({"classes": ("ant",)}, "Fake: classification needs at least 2 classes, got 1"),
        ({"classes": ("ant", "bee", "bee")}, "Fake: two classes are called 'bee'"),
        (
            {"test_images": np.zeros((6, 1, 5, 5), np.uint8)},
            "Fake: images must have one shape (channels, height, width), but train has (1, 4, 5) and test (1, 5, 5); "
            "`sets={'data.resize': 32}` brings all to 32x32 pixels, but not to the same channels",
        ),
    ],
)
def test_unusable_arrays_are_refused(changes: dict[str, Any], text: str, fake: FakeSource, registry: Registry) -> None:
    fake.content = arrays(**changes)
    with pytest.raises(DataError) as error:
        load("fake", registry)
    assert str(error.value) == text


def test_resizing_makes_train_and_test_of_different_sizes_equal() -> None:
    different = arrays(test_images=np.zeros((6, 1, 7, 9), np.uint8))
    assert [images.shape for images, _ in prepare(different, "Fake", 6).parts.values()] == [(12, 1, 6, 6), (6, 1, 6, 6)]
    with pytest.raises(DataError, match="one shape"):
        prepare(arrays(test_images=np.zeros((6, 3, 7, 9), np.uint8)), "Fake", 6)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_resizing_is_pillows_bilinear_filter(data: st.DataObject) -> None:
    height, width, side = (data.draw(st.integers(1, 20)) for _ in range(3))
    images = data.draw(some_array(np.uint8, (3, 2, height, width)))
    result = resized(images, side)
    expected = [
        [Image.fromarray(channel).resize((side, side), Image.Resampling.BILINEAR) for channel in image]
        for image in images
    ]
    difference = np.abs(result.astype(int) - np.array([[np.asarray(c) for c in image] for image in expected]))
    assert difference.max() <= 1, "rounding may differ by 1, the filter may not"


def test_resizing_one_image_does_not_depend_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 9, 8), np.uint8)
    together = resized(images, 5)
    np.testing.assert_array_equal(together, np.concatenate([resized(image[None], 5) for image in images]))
    monkeypatch.setattr("zoo.data.resizing._RESIZED_AT_ONCE", 3)
    np.testing.assert_array_equal(together, resized(images, 5))


def test_what_becomes_of_another_shape() -> None:
    images = np.arange(2 * 6, dtype=np.uint8).reshape(1, 1, 2, 6) * 20
    np.testing.assert_array_equal(resized(images, 2, "crop"), images[:, :, :, 2:4])
    padded = resized(images, 6, "pad")
    np.testing.assert_array_equal(padded[:, :, 2:4], images)
    assert padded[:, :, [0, 1, 4, 5]].sum() == 0
    np.testing.assert_array_equal(resized(images, (4, 6), "pad")[:, :, 1:3], images)
    np.testing.assert_array_equal(resized(images, (1, 3), "crop"), resized(images, (1, 3)))
    for fit in ("stretch", "pad", "crop"):
        assert resized(images, (3, 5), fit).shape == (1, 1, 3, 5)
        np.testing.assert_array_equal(resized(images, (2, 6), fit), images)
    tall = np.ascontiguousarray(images.transpose(0, 1, 3, 2))
    np.testing.assert_array_equal(resized(tall, 6, "pad"), padded.transpose(0, 1, 3, 2))


def test_images_that_a_source_leaves_alone_are_cropped_afterwards(fake: FakeSource, registry: Registry) -> None:
    content = fake.content = arrays()
    data = load("fake", registry, Options(resize=4, fit="crop"))
    np.testing.assert_array_equal(data.test.images, content.test_images[:, :, :, :4])
    with pytest.raises(DataError, match=r"data.fit = pad says how images are resized, so that data.resize is needed"):
        Options(fit="pad")
    with pytest.raises(DataError, match=r"Fake: it is not read file by file, so that data.skip_damaged has no meaning"):
        load("fake", registry, Options(skip_damaged=True))
    with pytest.raises(DataError, match=r"Fake: it has neither columns nor files, so that data.group_by names nothing"):
        load("fake", registry, Options(group_by="x"))


def test_a_limit_keeps_some_of_each_class_in_order(fake: FakeSource, registry: Registry) -> None:
    content = fake.content = arrays()
    data = load("fake", registry, Options(limit=6))
    assert np.bincount(data.train.labels).tolist() == [2, 2, 2]
    places = [
        next(i for i in range(12) if (content.train_images[i] == image.numpy()).all()) for image in data.train.images
    ]
    assert places == sorted(places)
    assert (len(data.test), data.notes) == (6, ("limited to 6 of 12 training images, drawn by class in equal shares",))
    assert load("fake", registry, Options(limit=12)).digest == load("fake", registry).digest
    with pytest.raises(DataError, match=r"Fake: data.limit is 13, but there are 12 training images"):
        load("fake", registry, Options(limit=13))
    with pytest.raises(DataError, match=r"Fake: data.limit = 2 cannot be drawn by class from 12 training images of 3 "):
        load("fake", registry, Options(limit=2))
    with pytest.raises(
        DataError, match=r"Fake: it has a test part of its own, of 6 images, so that data.test = 0.2 has"
    ):
        load("fake", registry, Options(test=0.2))


def test_images_in_two_parts_are_said(fake: FakeSource, registry: Registry) -> None:
    sound = arrays()
    test = sound.test_images.copy()
    test[1], test[5] = sound.train_images[4], sound.train_images[3]
    fake.content = arrays(test_images=test)
    data = load("fake", registry)
    assert data.notes == (
        "leak: 2 of 6 test images are training images, too, pixel for pixel, 1 of them with another label, so that "
        "test recall is not that of new images",
    )
    assert load("fake", registry).notes == data.notes


def test_resizing_accepts_read_only_images() -> None:
    images = np.zeros((1, 1, 4, 4), np.uint8)
    images.flags.writeable = False
    assert resized(images, 2).shape == (1, 1, 2, 2)


@settings(deadline=None, max_examples=30)
@given(
    counts=st.lists(st.integers(6, 30), min_size=2, max_size=5),
    share=st.sampled_from([0.2, 0.3, 0.5]),
    order=st.randoms(use_true_random=False),
)
def test_a_held_out_part_is_a_stratified_partition_in_order(counts: list[int], share: float, order: Any) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    order.shuffle(labels)
    total, classes = len(labels), len(counts)
    # Each image is its own index, so that its place can be told.
    images = np.arange(total, dtype=np.uint8)[:, None, None, None]
    whole = prepare(
        arrays(
            train_images=images,
            train_labels=np.array(labels),
            test_images=np.zeros((classes, 1, 1, 1), np.uint8),
            test_labels=np.arange(classes),
            classes=tuple("abcde"[:classes]),
        ),
        "Fake",
        None,
    )
    parts = split_off(whole, share, "validation", "Fake").parts
    kept, held_out = (parts[part][0].ravel().tolist() for part in ("train", "validation"))
    assert sorted(kept + held_out) == list(range(total))
    assert kept == sorted(kept)
    assert held_out == sorted(held_out)
    for part in ("train", "validation"):
        np.testing.assert_array_equal(parts[part][1], np.array(labels)[parts[part][0].ravel()])
    for label, count in enumerate(counts):
        exact = len(held_out) * count / total
        assert abs(np.count_nonzero(parts["validation"][1] == label) - exact) < 1


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.95])
def test_a_share_that_leaves_a_class_out_is_refused(share: float) -> None:
    labels = np.array([0] * 40 + [1] * 40 + [2])
    whole = prepare(arrays(train_images=np.zeros((81, 1, 4, 5), np.uint8), train_labels=labels), "Fake", None)
    with pytest.raises(DataError) as error:
        split_off(whole, share, "validation", "Fake")
    assert str(error.value) == (
        f"Fake: a validation share of {share} cannot be held out: the class 'cat' has 1 training images, and some must "
        "go to either part; set another data.validation, or 0"
    )


def test_a_class_with_too_few_images_for_the_share_is_named() -> None:
    labels = np.array([0] * 40 + [1] * 40 + [2, 2])
    whole = prepare(arrays(train_images=np.zeros((82, 1, 4, 5), np.uint8), train_labels=labels), "Fake", None)
    with pytest.raises(DataError, match="the class 'cat' has 2 training images"):
        split_off(whole, 0.1, "validation", "Fake")


def test_the_digest_follows_all_that_is_trained_on() -> None:
    sound = arrays()
    images, labels = sound.test_images.copy(), sound.test_labels.copy()
    images[0, 0, 0, 0] ^= 1
    labels[[0, 1]] = labels[[1, 0]]
    changed = [
        arrays(test_images=images),
        arrays(test_labels=labels),
        arrays(classes=("ant", "bee", "dog")),
        arrays(train_images=sound.train_images.reshape(12, 1, 5, 4), test_images=sound.test_images.reshape(6, 1, 5, 4)),
    ]
    first = prepare(sound, "Fake", None)
    digests = [prepare(content, "Fake", None).digest for content in changed]
    digests += [prepare(sound, "Fake", 3).digest, split_off(first, 0.25, "validation", "Fake").digest, first.digest]
    assert len(set(digests)) == len(digests)
    assert prepare(arrays(notes=("said",), train_labels=LABELS.astype(np.uint8)), "Other", None).digest == first.digest


def test_many_classes_are_checked_in_a_moment() -> None:
    count = 100_000
    images, labels = np.zeros((count, 1, 1, 1), np.uint8), np.arange(count)
    many = arrays(
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
        classes=tuple(map(str, labels)),
    )
    before = time.process_time()
    assert len(prepare(many, "Many", None).classes) == count
    assert time.process_time() - before < 10, "comparing each class with each other takes minutes"
