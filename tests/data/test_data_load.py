from __future__ import annotations

import numpy as np
import pytest
import torch
from data_fakes import FakeSource, arrays

from zoo.data import Options, load
from zoo.errors import DataError
from zoo.registry import Registry


def test_a_data_set_is_what_was_decoded(fake: FakeSource, registry: Registry) -> None:
    content = fake.content = arrays(notes=("said",))
    data = load("fake:as given", registry)
    assert (data.name, data.title, data.classes, data.notes) == (
        "fake:as given",
        "Fake",
        ("ant", "bee", "cat"),
        ("said",),
    )
    assert data.shape == (1, 4, 5)
    assert data.validation is None
    for split, images, labels in (
        (data.train, content.train_images, content.train_labels),
        (data.test, content.test_images, content.test_labels),
    ):
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        assert split.images.is_contiguous()
        assert len(split) == len(labels)
        np.testing.assert_array_equal(split.images, images)
        np.testing.assert_array_equal(split.labels, labels)


def test_tensors_are_put_on_the_device(fake: FakeSource, registry: Registry) -> None:
    data = load("fake", registry, Options(validation=0.25), device="meta")
    assert data.validation
    for split in (data.train, data.test, data.validation):
        assert split.images.device.type == split.labels.device.type == "meta"


def test_images_in_any_memory_layout_become_contiguous(fake: FakeSource, registry: Registry) -> None:
    last = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 1), np.uint8)
    last.flags.writeable = False
    fake.content = arrays(train_images=last.transpose(0, 3, 1, 2))
    data = load("fake", registry)
    assert data.train.images.is_contiguous()
    np.testing.assert_array_equal(data.train.images.permute(0, 2, 3, 1), last)


def test_resizing_comes_before_the_validation_part(fake: FakeSource, registry: Registry) -> None:
    data = load("fake", registry, Options(resize=6, validation=0.25))
    assert data.shape == (1, 6, 6)
    assert data.validation
    assert (len(data.train), len(data.validation), len(data.test)) == (9, 3, 6)
    whole = load("fake", registry, Options(resize=6))
    both = torch.cat([data.train.images, data.validation.images]).flatten(1)
    assert sorted(both.tolist()) == sorted(whole.train.images.flatten(1).tolist())


@pytest.mark.parametrize(
    ("labels", "is_sorted"),
    [([0, 0, 1, 1, 2, 2], True), ([2, 2, 0, 0, 1, 1], True), ([0, 1, 2, 0, 1, 2], False), ([0, 0, 1, 2, 2, 1], False)],
)
def test_order_by_class_is_told(labels: list[int], is_sorted: bool, fake: FakeSource, registry: Registry) -> None:
    fake.content = arrays(train_images=np.zeros((6, 1, 4, 5), np.uint8), train_labels=np.array(labels))
    assert load("fake", registry).sorted_by_class is is_sorted


def test_classes_that_differ_much_in_size_are_said(fake: FakeSource, registry: Registry) -> None:
    labels = np.array([0] * 8 + [1] * 2 + [2] * 2)
    fake.content = arrays(train_labels=labels)
    assert load("fake", registry).notes == ()
    labels[8] = 0
    fake.content, fake.version = arrays(train_labels=labels), "2"
    assert load("fake", registry).notes == (
        "classes have from 1 ('bee') to 9 ('ant') training images, and recall is macro: each counts the same; "
        "training.sampling, or class_weights of the loss, lets each count the same in training, too",
    )


def test_what_is_missing_is_said(fake: FakeSource, registry: Registry) -> None:
    fake.reason = "it is on the moon"
    with pytest.raises(DataError) as error:
        load("fake", registry)
    assert str(error.value) == "the data set fake is not at hand: it is on the moon"


def test_a_file_that_cannot_be_read_is_named(fake: FakeSource, registry: Registry) -> None:
    fake.content = PermissionError(13, "Permission denied", "/x/y")
    with pytest.raises(DataError) as error:
        load("fake", registry)
    assert str(error.value) == "the data set fake cannot be read: [Errno 13] Permission denied: '/x/y'"


def test_too_little_memory_is_said(fake: FakeSource, registry: Registry) -> None:
    fake.content = MemoryError("Unable to allocate 193. GiB")
    with pytest.raises(DataError) as error:
        load("fake", registry)
    assert str(error.value) == (
        "the data set fake does not fit into memory: Unable to allocate 193. GiB. A smaller data.resize may do."
    )


def test_arguments_are_checked(fake: FakeSource, registry: Registry) -> None:
    with pytest.raises(DataError, match="resize must be a positive number of pixels, got 0"):
        load("fake", registry, Options(resize=0))
    with pytest.raises(DataError, match="validation must be a share from 0 up to, but not including, 1, got 1"):
        load("fake", registry, Options(validation=1.0))
