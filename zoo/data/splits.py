"""Splitting a part off the training images: by class in equal shares, the same for every run, groups kept together."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo.data import room
from zoo.data.options import Options, fold_count
from zoo.data.prepare import LEAK, Prepared, content_digest
from zoo.data.sources import Labels
from zoo.errors import DataError, setting

_SEED = 0
_MOST_FOLDS = 20
"""Groups are dealt out to so many folds at most, of which some become the part; a share is met to a twentieth."""

_T = TypeVar("_T")
Indices = NDArray[np.int64]
_WHAT = {"validation": "a validation share of {} cannot be held out", "test": "a test share of {} cannot be split off"}


def split(prepared: Prepared, options: Options, title: str) -> Prepared:
    """Return data with the parts that the options say: test split off, training images limited, validation held out.

    With `resplit` nothing is held out yet: `zoo.data.as_trained_on` does it for each seed.

    Raises:
        DataError: there is a part of that name already, or too few images or groups, or no test part in the end.
    """
    if options.group_by is not None:
        prepared = _grouped(prepared, options.group_by, title)
    for part, share in (("test", options.test), ("validation", options.validation)):
        if share and part in prepared.parts:
            raise DataError(
                f"{title}: it has a {part} part of its own, of {len(prepared.parts[part][1])} images, so that "
                f"data.{part} = {share} has no meaning; leave it out"
            )
    if options.test:
        prepared = split_off(prepared, options.test, "test", title)
    if "test" not in prepared.parts:
        raise DataError(f"{title}: it has no test images; `{setting('data.test', 0.2)}` splits a fifth of all off")
    if options.limit is not None:
        prepared = limited(prepared, options.limit, title)
    if options.resplit:
        require_drawable(prepared, options, title)
        return prepared
    return split_off(prepared, options.validation, "validation", title) if options.validation else prepared


def split_off(prepared: Prepared, share: float, part: str, title: str) -> Prepared:
    """Move a share of the training images to another part: stratified by class, the same for every run, order kept.

    Groups are dealt to folds of about equal size and equal shares of the classes (scikit-learn's
    `StratifiedGroupKFold`), of which as many become the part as come closest to the share.

    Raises:
        DataError: a class would have no image in one of the two parts.
    """
    groups = prepared.groups.get("train")
    taken = drawn(prepared.parts["train"][1], prepared.classes, groups, share, part, title)
    notes = [] if part == "validation" and groups is None else [_said(taken, share, part, groups)]
    held_out = share if part == "validation" else prepared.share
    return _divided(prepared, {"train": np.flatnonzero(~taken), part: np.flatnonzero(taken)}, notes, held_out)


def drawn(
    labels: Labels,
    classes: Sequence[str],
    groups: tuple[str, ...] | None,
    share: float,
    part: str,
    title: str,
    *,
    seed: int = _SEED,
) -> NDArray[np.bool_]:
    """Tell of each training image whether it goes to another part; `split_off` says how.

    Raises:
        DataError: a class would have no image in one of the two parts.
    """
    counts = np.bincount(labels, minlength=len(classes))
    too_few = partial(_too_few, labels, classes, groups, counts, share, part, title)
    try:
        chosen = (
            _stratified(labels, share, seed) if groups is None else _by_group(labels, share, np.array(groups), seed)
        )
    except ValueError as error:
        raise too_few(int(counts.argmin())) from error
    taken = np.zeros(len(labels), bool)
    taken[chosen] = True
    _require_all(labels, taken, len(classes), too_few)
    return taken


def _require_all(labels: Labels, taken: NDArray[np.bool_], classes: int, too_few: Callable[[int], DataError]) -> None:
    """Refuse a split without an image of each class on both sides.

    Raises:
        DataError: what `too_few` makes of the class.
    """
    for side in (labels[~taken], labels[taken]):
        empty = np.flatnonzero(np.bincount(side, minlength=classes) == 0)
        if len(empty):
            raise too_few(int(empty[0]))


def folds(
    labels: Labels,
    classes: Sequence[str],
    groups: tuple[str, ...] | None,
    share: float,
    title: str,
    *,
    seed: int = _SEED,
) -> list[NDArray[np.bool_]]:
    """Deal the training images to folds of a share each, and tell of each image whether it is in the fold.

    All folds have about equal shares of the classes (scikit-learn's `StratifiedKFold`), and groups stay whole
    (`StratifiedGroupKFold`).

    Raises:
        DataError: a class would have no image in a fold, or none outside of one.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    counts = np.bincount(labels, minlength=len(classes))
    too_few = partial(_too_few, labels, classes, groups, counts, share, "validation", title)
    dealer = (StratifiedKFold if groups is None else StratifiedGroupKFold)(
        fold_count(share), shuffle=True, random_state=seed
    )
    dealt = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a class has fewer images than there are folds
            parts = [test for _, test in dealer.split(labels, labels, groups)]
    except ValueError as error:
        raise too_few(int(counts.argmin())) from error
    for part in parts:
        taken = np.zeros(len(labels), bool)
        taken[part] = True
        _require_all(labels, taken, len(classes), too_few)
        dealt.append(taken)
    return dealt


def require_drawable(prepared: Prepared, options: Options, title: str) -> None:
    """Refuse data of which no validation part can be drawn with each seed.

    Raises:
        DataError: it has a validation part of its own, or too few images or groups.
    """
    if "validation" in prepared.parts:
        raise DataError(
            f"{title}: it has a validation part of its own, of {len(prepared.parts['validation'][1])} images, which is "
            "not drawn anew with each seed; leave out data.resplit"
        )
    labels, groups = prepared.parts["train"][1], prepared.groups.get("train")
    if options.resplit == "folds":
        folds(labels, prepared.classes, groups, options.validation, title)
    else:
        drawn(labels, prepared.classes, groups, options.validation, "validation", title)


def limited(prepared: Prepared, limit: int, title: str) -> Prepared:
    """Keep so many of the training images: stratified by class, the same for every run, order kept.

    Raises:
        DataError: there are fewer, or a class would have none.
    """
    labels = prepared.parts["train"][1]
    if limit == len(labels):
        return prepared
    if limit > len(labels):
        raise DataError(f"{title}: data.limit is {limit}, but there are {len(labels)} training images")
    classes = len(prepared.classes)
    try:
        kept = np.sort(_stratified(labels, limit))
    except ValueError:
        kept = np.arange(0)
    if len(np.unique(labels[kept])) < classes:
        raise DataError(
            f"{title}: data.limit = {limit} cannot be drawn by class from {len(labels)} training images of {classes} "
            f"classes: each must keep one, and at least {classes} must be left over"
        )
    note = f"limited to {limit:,} of {len(labels):,} training images, drawn by class in equal shares"
    return _divided(prepared, {"train": kept}, [note], prepared.share)


def _stratified(labels: Labels, share: float | int, seed: int = _SEED) -> Indices:
    """Draw a share, or a number, of indices.

    Raises:
        ValueError: too few of a class.
    """
    from sklearn.model_selection import train_test_split

    drawn: Indices = train_test_split(np.arange(len(labels)), test_size=share, stratify=labels, random_state=seed)[1]
    return drawn


def _by_group(labels: Labels, share: float, groups: NDArray[np.str_], seed: int) -> Indices:
    """Draw whole groups with about a share of the images of each class.

    Raises:
        ValueError: too few groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    part = Fraction(share).limit_denominator(_MOST_FOLDS)
    wanted = max(part, Fraction(1, _MOST_FOLDS))
    if len(np.unique(groups)) < wanted.denominator:
        raise ValueError("fewer groups than folds")
    folds = StratifiedGroupKFold(wanted.denominator, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a class has fewer images than there are folds
        parts = [test for _, test in folds.split(labels, labels, groups)]
    return np.concatenate(parts[: wanted.numerator])


def _said(taken: NDArray[np.bool_], share: float, part: str, groups: tuple[str, ...] | None) -> str:
    what = f"{taken.sum():,} of {len(taken):,} training images became the {part} part"
    if groups is None:
        return f"{what}, by class in equal shares"
    among = len({group for group, is_taken in zip(groups, taken, strict=True) if is_taken})
    return f"{what}: {among} of {len(set(groups))} groups, each whole (asked for: {share:.0%})"


def _grouped(prepared: Prepared, groups: str, title: str) -> Prepared:
    """Give each image its group, from its file's name where the source has not.

    A group that stands in two parts that the data set has itself is said.
    """
    if not prepared.groups:
        prepared = attrs.evolve(prepared, groups=_from_names(prepared.names, groups, title))
    found = {part: set(of_images) for part, of_images in prepared.groups.items()}
    notes = []
    for part in ("test", "validation"):
        both = sorted(found.get(part, set()) & found["train"])
        if both:
            what = "1 group stands" if len(both) == 1 else f"{len(both)} groups stand"
            notes.append(f"{LEAK}{what} in train and in {part}, such as {both[0]}")
    return attrs.evolve(prepared, notes=(*prepared.notes, *notes))


def _from_names(names: Mapping[str, tuple[str, ...]], pattern: str, title: str) -> dict[str, tuple[str, ...]]:
    if not names:
        raise DataError(f"{title}: it has neither columns nor files, so that data.group_by names nothing")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(f"data.group_by = {pattern!r} is no regular expression: {error}") from error
    if compiled.groups != 1:
        raise DataError(
            f"data.group_by = {pattern!r} must have one pair of parentheses, around what tells groups apart, as in "
            r"'patient(\d+)_'"
        )
    groups = {}
    for part, files in names.items():
        matches = [compiled.search(file) for file in files]
        wrong = next(
            (file for file, match in zip(files, matches, strict=True) if match is None or match[1] is None), None
        )
        if wrong is not None:
            raise DataError(f"{title}: data.group_by = {pattern!r} is not found in {wrong}")
        groups[part] = tuple(match[1] for match in matches if match)
    return groups


def _divided(prepared: Prepared, indices: Mapping[str, Indices], notes: list[str], share: float) -> Prepared:
    """Return data whose parts are some of the training images each, and the other parts as they are."""
    images, labels = prepared.parts["train"]
    made = {part: (room.taken(images, chosen), labels[chosen]) for part, chosen in indices.items()}
    parts = {part: made.get(part) or prepared.parts[part] for part in _ORDER if part in made or part in prepared.parts}

    def also(known: Mapping[str, tuple[_T, ...]]) -> dict[str, tuple[_T, ...]]:
        if "train" not in known:
            return dict(known)
        return dict(known) | {part: tuple(known["train"][i] for i in chosen) for part, chosen in indices.items()}

    weights = also(prepared.weights)
    return attrs.evolve(
        prepared,
        parts=parts,
        notes=(*prepared.notes, *notes),
        digest=content_digest(parts, prepared.classes, share, weights),
        share=share,
        names=also(prepared.names),
        groups=also(prepared.groups),
        weights=weights,
    )


_ORDER = ("train", "test", "validation")


def _too_few(
    labels: Labels,
    classes: Sequence[str],
    groups: tuple[str, ...] | None,
    counts: Labels,
    share: float,
    part: str,
    title: str,
    label: int,
) -> DataError:
    what = _WHAT[part].format(share)
    if groups is not None:
        of_class = {g for g, one in zip(groups, labels, strict=True) if one == label}
        return DataError(
            f"{title}: {what}: the class {classes[label]!r} is in {len(of_class)} of "
            f"{len(set(groups))} groups, and some must go to either part; set another data.{part}, "
            "or finer data.group_by"
        )
    return DataError(
        f"{title}: {what}: the class {classes[label]!r} has {counts[label]} training images, and some must go "
        f"to either part; set another data.{part}, or 0"
    )
