"""Images that a table lists, each with its label and the part that it belongs to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import attrs
import numpy as np

from zoo.data import room
from zoo.data.images import ImageFile, decode_files
from zoo.data.names import one_spelling, spelling_notes
from zoo.data.resizing import Fit
from zoo.data.sources import Arrays
from zoo.errors import DataError

PARTS = {"train": "train", "test": "test", **dict.fromkeys(("val", "valid", "validation", "dev"), "validation")}
"""The part that each word means."""
_T = TypeVar("_T")
_WORD = re.compile(r"[a-z]+")


@attrs.frozen(kw_only=True)
class Listed:
    """What a table says of each image, in its order.

    Attributes:
        labels: the name of its class.
        parts: "train", "test" or "validation".
        names: its name for people.
        groups: what it belongs to, where groups are kept together.
        weights: its weight, where images have weights.
        classes: the names of all classes, by label; those that occur, in their order, where it is left out.
        notes: what was found in the table and handled.
    """

    labels: Sequence[str]
    parts: Sequence[str]
    names: Sequence[str]
    groups: Sequence[str] | None = None
    weights: Sequence[float] | None = None
    classes: tuple[str, ...] | None = None
    notes: Sequence[str] = ()


def part_of(word: str, where: str) -> str:
    """Return the part that a word means.

    Raises:
        DataError: none.
    """
    part = PARTS.get(word.strip().lower())
    if part is None:
        raise DataError(f"{where}: {word!r} is no part; it must be train, test or validation")
    return part


def weights_of(values: Iterable[object], where: Iterable[str]) -> tuple[list[float], str]:
    """Return the weights that a table's column states, and a note on them.

    Args:
        values: texts or numbers.
        where: each of them stands, for people.

    Raises:
        DataError: one is no number from 0 on.
    """
    weights = []
    for value, place in zip(values, where, strict=True):
        try:
            weight = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise DataError(f"{place}: its weight is {value!r:.40}, and not a number from 0 on")
        weights.append(weight)
    note = (
        f"weights of images: from {min(weights):g} to {max(weights):g}; training.sampling = weighted draws images by "
        "them"
    )
    return weights, note


def part_of_file(file: Path, root: Path) -> str:
    """Return the part of a file of many images: that which its name begins with, or its folder's, or else train.

    Args:
        file: such as train-00000-of-00002.parquet.
        root: where the data set is: the file itself, or a folder.
    """
    for text in (file.name, *(folder.name for folder in file.relative_to(root.parent).parents)):
        word = _WORD.match(text.lower())
        if word and word[0] in PARTS:
            return PARTS[word[0]]
    return "train"


def arrays_of(
    listed: Listed, files: Iterable[ImageFile], *, resize: int | None, fit: Fit, skip_damaged: bool
) -> Arrays:
    """Decode the files of a table, in its order.

    Raises:
        DataError: a file cannot be read.
    """
    decoded = decode_files(files, len(listed.labels), resize=resize, fit=fit, skip_damaged=skip_damaged)
    spelled = one_spelling({*listed.labels, *(listed.classes or ())})
    named = [spelled.get(label, label) for label in listed.labels]
    classes = tuple(spelled.get(name, name) for name in listed.classes or ()) or _in_order(set(named))
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[name] for name in named], np.int64)[decoded.kept]
    kept = np.flatnonzero(decoded.kept).tolist()
    parts = np.array([listed.parts[index] for index in kept])
    places = {part: np.flatnonzero(parts == part) for part in ("train", "test", "validation")}
    there = {part: place for part, place in places.items() if len(place)}

    def of_parts(values: Sequence[_T]) -> dict[str, tuple[_T, ...]]:
        return {part: tuple(values[kept[index]] for index in place) for part, place in there.items()}

    validation = there.get("validation")
    return Arrays(
        room.taken(decoded.images, places["train"]),
        labels[places["train"]],
        room.taken(decoded.images, places["test"]),
        labels[places["test"]],
        classes,
        (*decoded.notes, *listed.notes, *spelling_notes(spelled.values())),
        validation_images=None if validation is None else room.taken(decoded.images, validation),
        validation_labels=None if validation is None else labels[validation],
        names=of_parts(listed.names),
        groups={} if listed.groups is None else of_parts(listed.groups),
        damaged=decoded.damaged,
        weights={} if listed.weights is None else of_parts(listed.weights),
    )


def _in_order(labels: set[str]) -> tuple[str, ...]:
    """Return names of classes in the order of numbers, if all are, or else alphabetical."""
    if all(label.isascii() and label.isdigit() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))
