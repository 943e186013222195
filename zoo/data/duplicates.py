"""Images that stand in two parts of a data set, by which recall on new images looks better than it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo.data import room
from zoo.data.prepare import LEAK, Prepared
from zoo.data.resizing import resized
from zoo.data.sources import Images, Labels

_HASH_SIDE = 8
NEAR = 3
"""In how many of their 64 bits the hashes of images that look alike differ at most; one less than there are bands."""
TELLING_SIDE = 32
"""From which height and width on images that look alike are told as a leak: of smaller ones, different ones do, too."""


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

    Two images look alike where their difference hashes differ in `NEAR` bits at most: 64 bits that say of each of 8x8
    places whether the next to the right is brighter (Krawetz, 2013, Kind of like that). Each is paired with the
    training image that it is closest to. An image without any contrast looks like none.
    """
    images, labels = parts["train"]
    hashes, has_contrast = _difference_hashes(images)
    places = np.flatnonzero(has_contrast)
    found = []
    for part in ("test", "validation"):
        if part not in parts:
            continue
        others, other_labels = parts[part]
        other_hashes, is_wanted = _difference_hashes(others)
        closest = _closest(hashes[places], other_hashes)
        for index in np.flatnonzero(is_wanted & (closest >= 0)).tolist():
            train = int(places[closest[index]])
            found.append(Twins(part, index, train, bool(other_labels[index] == labels[train])))
    return found


def said(prepared: Prepared) -> list[str]:
    """Say how many images of test and validation are training images, or look like one; nothing where none does."""
    same = exact(prepared.parts)
    notes = [
        f"{LEAK}{counts} are training images, too, pixel for pixel{labelled}, so that {part} recall is not that of new "
        "images"
        for part, counts, labelled in _counted(same, prepared)
    ]
    if min(prepared.parts["train"][0].shape[2:]) >= TELLING_SIDE:
        notes += [
            f"{LEAK}{counts} look like a training image without being the same{labelled}: `zoo data show` lists them; "
            f"where they are copies, {part} recall is not that of new images"
            for part, counts, labelled in _counted(apart(alike(prepared.parts), same), prepared)
        ]
    return notes


def apart(similar: Sequence[Twins], same: Sequence[Twins]) -> list[Twins]:
    """Return those of the images that look alike which are not the same as a training image."""
    known = {(twins.part, twins.index) for twins in same}
    return [twins for twins in similar if (twins.part, twins.index) not in known]


def _counted(found: Sequence[Twins], prepared: Prepared) -> Iterator[tuple[str, str, str]]:
    """Yield of each part that has some its name, how many they are, and how many have another label."""
    for part, (_, labels) in prepared.parts.items():
        twins = [one for one in found if one.part == part]
        if twins:
            other = sum(not one.same_label for one in twins)
            yield (
                part,
                f"{len(twins):,} of {len(labels):,} {part} images",
                (f", {other:,} of them with another label" if other else ""),
            )


def _twins(parts: Mapping[str, tuple[Images, Labels]], keys: Callable[[Images], Sequence[bytes]]) -> list[Twins]:
    images, labels = parts["train"]
    first: dict[bytes, int] = {}
    for index, key in enumerate(keys(images)):
        first.setdefault(key, index)
    found = []
    for part in ("test", "validation"):
        if part not in parts:
            continue
        others, other_labels = parts[part]
        for index, key in enumerate(keys(others)):
            train = first.get(key)
            if train is not None:
                found.append(Twins(part, index, train, bool(other_labels[index] == labels[train])))
    return found


def _contents(images: Images) -> list[bytes]:
    return [
        hashlib.sha256(np.ascontiguousarray(image).data).digest()
        for some in room.chunks(len(images), images)
        for image in images[some]
    ]


def _difference_hashes(images: Images) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the hash of each image, and whether it has any contrast."""
    size = (_HASH_SIDE, _HASH_SIDE + 1)
    small = np.concatenate([resized(images[some], size) for some in room.chunks(len(images), images)]).mean(axis=1)
    bits = (small[:, :, 1:] > small[:, :, :-1]).reshape(len(images), -1)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0], bits.any(1)


def _closest(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return for each of the others the place of the hash, the first one, that it is closest to; -1 where none is near.

    Two that differ in fewer bits than there are bands are equal in one band, so that few need be compared.
    """
    nearest = np.full(len(others), NEAR + 1)
    closest = np.full(len(others), -1)
    bands, other_bands = (each.view(np.uint16).reshape(-1, NEAR + 1) for each in (hashes, others))
    for band, wanted in zip(bands.T, other_bands.T, strict=True):
        order = np.argsort(band, kind="stable")
        begin, end = (np.searchsorted(band[order], wanted, side) for side in ("left", "right"))
        for index in np.flatnonzero(end > begin).tolist():
            candidates = order[begin[index] : end[index]]
            differing = (hashes[candidates] ^ others[index]).view(np.uint8).reshape(-1, 8)
            distances = np.unpackbits(differing, axis=1).sum(axis=1)
            best = int(distances.argmin())
            if (distances[best], candidates[best]) < (nearest[index], closest[index]):
                nearest[index], closest[index] = distances[best], candidates[best]
    return closest
