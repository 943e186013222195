"""From decoded images to those that are trained on: checked, resized, a validation part held out, and their digest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping

import attrs
import numpy as np

from zoo.data.sources import Arrays, Images, Labels
from zoo.errors import DataError, setting

_VALIDATION_SEED = 0
_RESIZED_AT_ONCE = 1000


@attrs.frozen(eq=False)
class Prepared:
    """Data as it is trained on.

    Attributes:
        parts: images (images, channels, height, width) and labels (images,) of "train", "test" and maybe "validation".
        classes: the name of each class, by label.
        notes: what was found and handled, for people.
        digest: SHA-256 of the parts, the classes and the share held out for validation.
        share: that was held out for validation.
        was_damaged: the cache had a damaged copy, which this has taken the place of.
    """

    parts: Mapping[str, tuple[Images, Labels]]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    digest: str
    share: float = 0.0
    was_damaged: bool = False


def prepare(arrays: Arrays, title: str, resize: int | None) -> Prepared:
    """Check what was decoded, and bring it to `resize` x `resize` pixels.

    Raises:
        DataError: types, shapes or labels are not what `Arrays` says, there are fewer than two classes, or one of
            them has no image in train or test.
    """
    parts = {
        "train": (arrays.train_images, arrays.train_labels),
        "test": (arrays.test_images, arrays.test_labels),
    }
    _check_classes(arrays.classes, title)
    for part, (images, labels) in parts.items():
        _check_part(part, images, labels, arrays.classes, title)
    train_shape, test_shape = (images.shape[1:] for images, _ in parts.values())
    if train_shape != test_shape and (resize is None or train_shape[0] != test_shape[0]):
        raise DataError(
            f"{title}: images must have one shape (channels, height, width), but train has {train_shape} and test "
            f"{test_shape}; `{setting('data.resize', 32)}` brings all to 32x32 pixels, but not to the same channels"
        )
    return _prepared(
        {
            part: (
                np.require(images if resize is None else resized(images, resize), requirements=("C", "W")),
                labels.astype("<i8"),
            )
            for part, (images, labels) in parts.items()
        },
        arrays.classes,
        arrays.notes,
        share=0.0,
    )


def resized(images: Images, side: int) -> Images:
    """Return images (images, channels, height, width) at `side` x `side` pixels: bilinear, antialiased, rounded.

    Every image is resized by itself: the result does not depend on what else is in the batch.
    """
    if images.shape[2:] == (side, side):
        return images
    import torch
    from torch.nn.functional import interpolate

    result = np.empty((*images.shape[:2], side, side), np.uint8)
    for start in range(0, len(images), _RESIZED_AT_ONCE):
        batch = torch.from_numpy(np.require(images[start : start + _RESIZED_AT_ONCE], requirements=("C", "W")))
        small = interpolate(batch, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        result[start : start + _RESIZED_AT_ONCE] = small.numpy()
    return result


def hold_out(prepared: Prepared, share: float, title: str) -> Prepared:
    """Move a share of the training images to "validation": stratified by class, the same for every run, order kept.

    Raises:
        DataError: a class would have no image in one of the two parts.
    """
    from sklearn.model_selection import train_test_split

    images, labels = prepared.parts["train"]
    counts = np.bincount(labels, minlength=len(prepared.classes))
    try:
        indices = train_test_split(
            np.arange(len(labels)), test_size=share, stratify=labels, random_state=_VALIDATION_SEED
        )
    except ValueError as error:
        raise _too_few(prepared, counts, int(counts.argmin()), share, title) from error
    kept, held_out = (np.sort(part) for part in indices)
    for part in (kept, held_out):
        empty = np.flatnonzero(np.bincount(labels[part], minlength=len(counts)) == 0)
        if len(empty):
            raise _too_few(prepared, counts, int(empty[0]), share, title)
    parts = {
        "train": (images[kept], labels[kept]),
        "test": prepared.parts["test"],
        "validation": (images[held_out], labels[held_out]),
    }
    return _prepared(parts, prepared.classes, prepared.notes, share)


def _check_classes(classes: tuple[str, ...], title: str) -> None:
    if len(classes) < 2:
        raise DataError(f"{title}: classification needs at least 2 classes, got {len(classes)}")
    twice = sorted(name for name, count in Counter(classes).items() if count > 1)
    if twice:
        raise DataError(f"{title}: two classes are called {twice[0]!r}")


def _check_part(part: str, images: Images, labels: Labels, classes: tuple[str, ...], title: str) -> None:
    if images.dtype != np.uint8:
        raise DataError(f"{title}: {part}_images must be uint8, pixels from 0 to 255, got {images.dtype}")
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise DataError(
            f"{title}: {part}_images must be (images, channels, height, width), none 0, got shape {images.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"{title}: {part}_labels must be one integer for each image, got {labels.dtype} of shape {labels.shape}"
        )
    if len(images) != len(labels):
        raise DataError(f"{title}: there are {len(images)} {part}_images, but {len(labels)} {part}_labels")
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        raise DataError(
            f"{title}: {part}_labels[{wrong[0]}] is {labels[wrong[0]]}; with {len(classes)} classes, labels go from 0 "
            f"to {len(classes) - 1}"
        )
    empty = np.flatnonzero(np.bincount(labels.astype(np.int64), minlength=len(classes)) == 0)
    if len(empty):
        raise DataError(
            f"{title}: the class {classes[empty[0]]!r} (label {empty[0]}) has no {part} image; each needs one"
        )


def _too_few(prepared: Prepared, counts: Labels, label: int, share: float, title: str) -> DataError:
    return DataError(
        f"{title}: a validation share of {share} cannot be held out: the class {prepared.classes[label]!r} has "
        f"{counts[label]} training images, and some must go to either part; set another data.validation, or 0"
    )


def _prepared(
    parts: Mapping[str, tuple[Images, Labels]], classes: tuple[str, ...], notes: tuple[str, ...], share: float
) -> Prepared:
    return Prepared(parts, classes, notes, content_digest(parts, classes, share), share)


def content_digest(parts: Mapping[str, tuple[Images, Labels]], classes: tuple[str, ...], share: float) -> str:
    """Return the SHA-256 of the parts, the classes and the share held out for validation."""
    described = {part: images.shape for part, (images, _) in parts.items()}
    digest = hashlib.sha256(json.dumps([classes, share, described]).encode())
    for images, labels in parts.values():
        digest.update(np.ascontiguousarray(images).data)
        digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
