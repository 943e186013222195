from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.data import Options, has_validation, load, source
from zoo.errors import DataError
from zoo.registry import Registry

TRAIN = np.random.default_rng(0).integers(0, 256, (6, 4, 5), np.uint8)
SOUND: dict[str, Any] = {
    "train_images": TRAIN,
    "train_labels": np.arange(6) % 2,
    "test_images": 255 - TRAIN[:2],
    "test_labels": np.arange(2),
}


def save(folder: Path, **changes: Any) -> str:
    file = folder / "data.npz"
    np.savez(file, **{name: array for name, array in {**SOUND, **changes}.items() if array is not None})
    return f"npz:{file}"


def test_grey_images_need_no_channel(tmp_path: Path, registry: Registry) -> None:
    data = load(save(tmp_path), registry)
    assert (data.shape, data.classes, data.notes) == ((1, 4, 5), ("0", "1"), ())
    np.testing.assert_array_equal(data.train.images[:, 0], TRAIN)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_come_second_or_last(channels: int, tmp_path: Path, registry: Registry) -> None:
    last = np.random.default_rng(0).integers(0, 256, (6, 4, 5, channels), np.uint8)
    first = np.ascontiguousarray(last.transpose(0, 3, 1, 2))
    digests = set()
    for images in (first, last):
        data = load(save(tmp_path, train_images=images, test_images=255 - images[:2]), registry)
        np.testing.assert_array_equal(data.train.images, first)
        digests.add(data.digest)
    assert len(digests) == 1


def test_classes_columns_of_labels_and_unused_arrays(tmp_path: Path, registry: Registry) -> None:
    labels = (np.arange(6) % 2).astype(np.uint8)[:, None]
    name = save(tmp_path, train_labels=labels, classes=np.array(["no", "yes"]), extra=TRAIN)
    data = load(name, registry)
    assert data.classes == ("no", "yes")
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.notes == ("not used: extra",)


def test_a_validation_part_of_its_own_is_used_and_a_test_part_may_be_split_off(
    tmp_path: Path, registry: Registry
) -> None:
    name = save(tmp_path, val_images=TRAIN[:2] // 2, val_labels=np.arange(2), test_images=None, test_labels=None)
    assert has_validation(name, registry)
    data = load(name, registry, Options(test=0.34))
    assert data.validation
    np.testing.assert_array_equal(data.validation.images[:, 0], TRAIN[:2] // 2)
    assert (len(data.train), len(data.test)) == (3, 3)
    assert data.notes == (
        "its own validation part is used: 2 images",
        "3 of 6 training images became the test part, by class in equal shares",
    )
    assert not has_validation(save(tmp_path), registry)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"test_labels": None},
            "{path}: it has no array 'test_labels'; it has train_images, train_labels, test_images",
        ),
        (
            {"train_images": TRAIN / 255},
            "npz:{path}: train_images must be uint8, pixels from 0 to 255, got float64",
        ),
        (
            {"train_images": TRAIN.reshape(6, 20)},
            "{path}: train_images must be (images, height, width), or 4-dimensional with the channels, 1 or 3, either "
            "second or last, got shape (6, 20)",
        ),
        (
            {"test_images": np.zeros((2, 3, 5, 3), np.uint8)},
            "{path}: test_images must be (images, height, width), or 4-dimensional with the channels, 1 or 3, either "
            "second or last, got shape (2, 3, 5, 3)",
        ),
        (
            {"train_images": np.zeros((6, 4, 5, 4), np.uint8)},
            "{path}: train_images must be (images, height, width), or 4-dimensional with the channels, 1 or 3, either "
            "second or last, got shape (6, 4, 5, 4)",
        ),
        (
            {"train_labels": np.arange(6) % 2 / 2},
            "{path}: train_labels must be one integer for each image, got float64 of shape (6,)",
        ),
        (
            {"test_labels": np.eye(2, dtype=int)},
            "{path}: test_labels must be one integer for each image, got int64 of shape (2, 2)",
        ),
        (
            {"train_labels": np.array([0, 1, 0, 1, 0, 10**9])},
            "{path}: train_labels go up to 1000000000, but there are 6 of them; labels number the classes from 0, and "
            "each class needs an image",
        ),
        ({"train_labels": np.arange(5) % 2}, "npz:{path}: there are 6 train_images, but 5 train_labels"),
        ({"test_labels": np.array([0, 2])}, "npz:{path}: test_labels[1] is 2; with 2 classes, labels go from 0 to 1"),
        (
            {"train_labels": np.array([0, 1, 0, 1, 0, -1])},
            "npz:{path}: train_labels[5] is -1; with 2 classes, labels go from 0 to 1",
        ),
        ({"classes": np.array([1, 2])}, "{path}: classes must be a list of names, got int64 of shape (2,)"),
        ({"train_images": TRAIN[:0], "train_labels": np.arange(0)}, "npz:{path}: classification needs at least 2"),
        (
            {"train_labels": np.array([0, 1, 0, 1, 0, None])},
            "{path}: the array 'train_labels' cannot be read: Object arrays cannot be loaded when allow_pickle=False",
        ),
    ],
)
def test_unusable_files_are_refused(changes: dict[str, Any], text: str, tmp_path: Path, registry: Registry) -> None:
    name = save(tmp_path, **changes)
    with pytest.raises(DataError) as error:
        load(name, registry)
    assert str(error.value).startswith(text.format(path=tmp_path / "data.npz"))


def test_what_is_no_npz_file_is_refused(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "data.npz"
    save(tmp_path)
    whole = file.read_bytes()
    single = tmp_path / "single.npy"
    np.save(single, TRAIN)
    for content in (b"", b"not at all", whole[: len(whole) // 2], single.read_bytes()):
        file.write_bytes(content)
        with pytest.raises(DataError) as error:
            load(f"npz:{file}", registry)
        assert str(error.value) == f"{file} is not a .npz file as numpy.savez writes it"


def test_a_corrupt_array_is_named(tmp_path: Path, registry: Registry) -> None:
    name = save(tmp_path)
    file = tmp_path / "data.npz"
    content = bytearray(file.read_bytes())
    place = bytes(content).index(TRAIN.tobytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz: the array 'train_images' cannot be read: Bad CRC-32"):
        load(name, registry)


def test_what_numpy_did_not_write_or_is_encrypted_is_named(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "data.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for name in SOUND:
            archive.writestr(f"{name}.npy", b"hello")
    with pytest.raises(DataError, match=r"the array 'train_images' cannot be read: it is not one that numpy wrote$"):
        load(f"npz:{file}", registry)
    save(tmp_path)
    content = bytearray(file.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of encryption in each header
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + at] |= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"the array 'train_images' cannot be read: .*encrypted"):
        load(f"npz:{file}", registry)


def test_a_missing_file_is_named(tmp_path: Path, registry: Registry) -> None:
    origin = source(f"npz:{tmp_path}/no.npz", registry)
    assert origin.missing() == f"there is no file {tmp_path}/no.npz"
    with pytest.raises(DataError) as error:
        origin.get(lambda done, total: None)
    assert str(error.value) == f"npz:{tmp_path}/no.npz: there is no file {tmp_path}/no.npz; zoo cannot download it"
    source(save(tmp_path), registry).get(lambda done, total: None)


def test_an_edited_file_is_read_again(tmp_path: Path, registry: Registry) -> None:
    first = load(save(tmp_path), registry).digest
    assert load(save(tmp_path, train_images=255 - TRAIN), registry).digest != first
    assert load(save(tmp_path), registry).digest == first
