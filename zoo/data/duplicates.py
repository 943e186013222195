"""Images that stand in two parts of a data set, by which recall on new images looks better than it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np

from zoo.data import room
from zoo.data.prepare import LEAK, Prepared
from zoo.data.resizing import resized
from zoo.data.sources import Images, Labels

_HASH_SIDE = 8


@attrs.frozen
class Twins:
    """An image of a part, and the first training image that is the same; both by their places.

    Attributes:
        part: "test" or "validation".
        index: of the image in that part.
        train: of the training image.
        same_label: both have one label.
    """

    part: str
    index: int
    train: int
    same_label: bool


def exact(parts: Mapping[str, tuple[Images, Labels]]) -> list[Twins]:
    """Return the images of test and validation that are training images, pixel for pixel."""
    return _twins(parts, _contents)


def alike(parts: Mapping[str, tuple[Images, Labels]]) -> list[Twins]:
    """Return the images of test and validation that look like a training image, the same ones included.

    Two images look alike where their difference hashes are equal: 64 bits that say of each of 8x8 places whether the
    next to the right is brighter (Krawetz, 2013, Kind of like that). An image without any contrast looks like none.
    """
    return _twins(parts, _difference_hashes)


def said(prepared: Prepared) -> list[str]:
    """Say how many images of test and validation are training images, for people; nothing where none is."""
    found = exact(prepared.parts)
    notes = []
    for part, (_, labels) in prepared.parts.items():
        twins = [one for one in found if one.part == part]
        if twins:
            other = sum(not one.same_label for one in twins)
            labelled = f", {other} of them with another label" if other else ""
            notes.append(
                f"{LEAK}{len(twins):,} of {len(labels):,} {part} images are training images, too, pixel for pixel"
                f"{labelled}, so that {part} recall is not that of new images"
            )
    return notes


def _twins(parts: Mapping[str, tuple[Images, Labels]], keys: Callable[[Images], Sequence[bytes | None]]) -> list[Twins]:
    images, labels = parts["train"]
    first: dict[bytes, int] = {}
    for index, key in enumerate(keys(images)):
        if key is not None:
            first.setdefault(key, index)
    found = []
    for part in ("test", "validation"):
        if part not in parts:
            continue
        others, other_labels = parts[part]
        for index, key in enumerate(keys(others)):
            train = None if key is None else first.get(key)
            if train is not None:
                found.append(Twins(part, index, train, bool(other_labels[index] == labels[train])))
    return found


def _contents(images: Images) -> list[bytes | None]:
    return [
        hashlib.sha256(np.ascontiguousarray(image).data).digest()
        for some in room.chunks(len(images), images)
        for image in images[some]
    ]


def _difference_hashes(images: Images) -> list[bytes | None]:
    parts = [images[some] for some in room.chunks(len(images), images)]
    small = np.concatenate([resized(part, (_HASH_SIDE, _HASH_SIDE + 1)) for part in parts]).mean(axis=1)
    bits = (small[:, :, 1:] > small[:, :, :-1]).reshape(len(images), -1)
    return [
        row.tobytes() if is_contrasted else None
        for row, is_contrasted in zip(np.packbits(bits, axis=1), bits.any(1), strict=True)
    ]
