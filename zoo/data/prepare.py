"""From what was decoded to images that can be trained on: checked, resized, and their digest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from zoo.data import room
from zoo.data.names import one_spelling
from zoo.data.resizing import Fit, resized
from zoo.data.sources import Arrays, Images, Labels
from zoo.errors import DataError, setting

LEAK = "leak: "
"""What a note begins with that says that images stand in two parts."""


@attrs.frozen(eq=False)
class Prepared:
    """Data as it is trained on.

    Attributes:
        parts: images (images, channels, height, width) and labels (images,) of "train", "test" and maybe "validation";
            "test" is not there before it was split off.
        classes: the name of each class, by label.
        notes: what was found and handled, for people.
        digest: SHA-256 of the parts, the classes, the share held out for validation, and the training images' weights.
        share: that was held out for validation.
        was_damaged: the cache had a damaged copy, which this has taken the place of.
        names: of each part the name of each image's file, where images are files.
        groups: of each part the group of each image, where groups are kept together.
        damaged: of each file that was left out because it cannot be read, why.
        leaks: what is said of images that stand in two parts.
        weights: of each part the weight of each image, where images have weights.
    """

    parts: Mapping[str, tuple[Images, Labels]]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    digest: str
    share: float = 0.0
    was_damaged: bool = False
    names: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    groups: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    damaged: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    weights: Mapping[str, tuple[float, ...]] = attrs.field(factory=dict)


def prepare(arrays: Arrays, title: str, resize: int | None, fit: Fit = "stretch") -> Prepared:
    """Check what was decoded, and bring it to `resize` x `resize` pixels.

    Raises:
        DataError: types, shapes or labels are not what `Arrays` says, there are fewer than two classes, or one of
            them has no image in a part.
    """
    parts = _parts(arrays)
    _check_classes(arrays.classes, title)
    for part, (images, labels) in parts.items():
        _check_part(part, images, labels, arrays.classes, title)
        for what, known in (("names", arrays.names), ("groups", arrays.groups), ("weights", arrays.weights)):
            if part in known and len(known[part]) != len(labels):
                raise DataError(
                    f"{title}: there are {len(labels)} {part} images, but {len(known[part])} {what} of them"
                )
    train_shape = arrays.train_images.shape[1:]
    for part, (images, _) in parts.items():
        shape = images.shape[1:]
        if shape != train_shape and (resize is None or shape[0] != train_shape[0]):
            raise DataError(
                f"{title}: images must have one shape (channels, height, width), but train has {train_shape} and "
                f"{part} {shape}; `{setting('data.resize', 32)}` brings all to 32x32 pixels, but not to the same "
                "channels"
            )
    resized_parts = {
        part: (
            np.require(images if resize is None else _resized(images, resize, fit), requirements=("C", "W")),
            labels.astype("<i8"),
        )
        for part, (images, labels) in parts.items()
    }
    own = [f"its own validation part is used: {len(parts['validation'][1])} images"] if "validation" in parts else []
    return Prepared(
        resized_parts,
        arrays.classes,
        (*arrays.notes, *own),
        content_digest(resized_parts, arrays.classes, 0.0, arrays.weights),
        names=arrays.names,
        groups=arrays.groups,
        damaged=arrays.damaged,
        weights=arrays.weights,
    )


def _resized(images: Images, side: int, fit: Fit) -> Images:
    if images.shape[2:] == (side, side):
        return images
    result = room.empty((*images.shape[:2], side, side))
    for part in room.chunks(len(images), images, result):
        result[part] = resized(images[part], side, fit)
    return result


def _parts(arrays: Arrays) -> dict[str, tuple[Images, Labels]]:
    """Return the parts that there are; training images always are."""
    parts = {"train": (arrays.train_images, arrays.train_labels)}
    if len(arrays.test_images) or len(arrays.test_labels):
        parts["test"] = (arrays.test_images, arrays.test_labels)
    if arrays.validation_images is not None and arrays.validation_labels is not None:
        parts["validation"] = (arrays.validation_images, arrays.validation_labels)
    return parts


def _check_classes(classes: tuple[str, ...], title: str) -> None:
    if len(classes) < 2:
        raise DataError(f"{title}: classification needs at least 2 classes, got {len(classes)}")
    twice = sorted(name for name, count in Counter(classes).items() if count > 1)
    if twice:
        raise DataError(f"{title}: two classes are called {twice[0]!r}")
    if alike := sorted(one_spelling(classes).values()):
        raise DataError(f"{title}: two classes are called {alike[0]!r}, in two spellings of Unicode that look the same")


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


def content_digest(
    parts: Mapping[str, tuple[Images, Labels]],
    classes: tuple[str, ...],
    share: float,
    weights: Mapping[str, Sequence[float]],
) -> str:
    """Return the SHA-256 of the parts, the classes, the share held out for validation, and the training weights."""
    described = {part: images.shape for part, (images, _) in parts.items()}
    digest = hashlib.sha256(json.dumps([classes, share, described]).encode())
    for images, labels in parts.values():
        for some in room.chunks(len(images), images):
            digest.update(np.ascontiguousarray(images[some]).data)
        digest.update(np.ascontiguousarray(labels).data)
    if "train" in weights:
        digest.update(np.asarray(weights["train"], "<f8").data)
    return digest.hexdigest()
