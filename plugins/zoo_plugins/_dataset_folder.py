"""Images as files in one folder for each class."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import attrs
import numpy as np

from zoo.data import (
    Arrays,
    ImageFile,
    OwnFiles,
    dead_link,
    decode_files,
    files_fingerprint,
    is_dead_link,
    is_image,
    one_spelling,
    spelling_notes,
)
from zoo.errors import DataError

_VALIDATION = ("val", "valid", "validation")
_NAMES = {"train": "train", "test": "test", **dict.fromkeys(_VALIDATION, "validation")}
"""The part that a folder of each name holds."""
_LAYOUT = "images are read from train/<class>/* and test/<class>/*, or from <class>/*"


class _ImageFile(NamedTuple):
    """An image's file. Sorting orders by file name first, so that `<index>.jpg` gives the original order."""

    name: str
    label: int
    path: str


class _Found(NamedTuple):
    """What one part of the folder holds: images by class, files that are none, and files in folders of a class."""

    images: dict[str, list[str]]
    others: list[str]
    below: list[str]


@attrs.frozen
class Folder(OwnFiles):
    """A folder with train/<class>/* and test/<class>/*, perhaps val/<class>/*; or with <class>/*, to be split.

    Classes are numbered in alphabetical order. Images are ordered by file name across classes; where that puts each
    class's images together, as cat_1.jpg and dog_1.jpg do, the classes take turns instead. Every image becomes
    8-bit grey, if all are grey, or else RGB, and is turned as its camera's orientation tag says. Files that are no
    images by their ending are skipped, and so is what lies elsewhere in the folder; notes say so.
    """

    path: str

    @property
    def title(self) -> str:
        """The name as it is written in a spec."""
        return f"folder:{self.path}"

    def missing(self) -> str | None:
        """Say which folder is not there."""
        if not Path(self.path).is_dir():
            return f"there is no folder {self.path} ({_LAYOUT})"
        for name in _NAMES:
            if is_dead_link(link := os.path.join(self.path, name)):
                return dead_link(link)
        if not self._is_parted() or Path(self.path, "train").is_dir():
            return None
        return f"there is no folder {Path(self.path, 'train')} ({_LAYOUT})"

    @property
    def has_validation(self) -> bool:
        """Whether there is a folder val, valid or validation."""
        return "validation" in self._parts()

    def _is_parted(self) -> bool:
        return any(Path(self.path, name).is_dir() for name in ("train", "test"))

    def _parts(self) -> dict[str, str]:
        """Return the folder of each part; where there is none for training and none for test, all is for training.

        Raises:
            DataError: two folders are for validation.
        """
        if not self._is_parted():
            return {"train": self.path}
        found: dict[str, str] = {}
        for name, part in _NAMES.items():
            folder = os.path.join(self.path, name)
            if not os.path.isdir(folder):
                continue
            if part in found:
                raise DataError(f"{self.path}: both {found[part]} and {folder} hold validation images; keep one")
            found[part] = folder
        return found

    def fingerprint(self) -> str:
        """Return a digest of the paths, sizes and times of all files and folders of classes."""
        roots = [glob.escape(folder) for folder in self._parts().values()]
        patterns = [os.path.join(root, *below) for root in roots for below in (["*"], ["*", "*"])]
        paths = sorted(path for p in patterns for path in glob.iglob(p, include_hidden=True))
        return files_fingerprint([*self._elsewhere(), *paths])

    def decode(
        self,
        resize: int | None = None,
        *,
        fit: Literal["stretch", "pad", "crop"] = "stretch",
        skip_damaged: bool = False,
    ) -> Arrays:
        """Read all images.

        Raises:
            DataError: a class is empty or not in every part, an image cannot be read, or images differ in size and
                `resize` is not given; names the folder or file.
        """
        folders = self._parts()
        found = {part: _find(folder) for part, folder in folders.items()}
        spelled = one_spelling(name for part in found.values() for name in part.images)
        found = {part: _with_one_spelling(of_part, spelled) for part, of_part in found.items()}
        self._check_classes(folders, found)
        classes = sorted(found["train"].images)
        by_name = {part: _ordered(of_part, classes) for part, of_part in found.items()}
        files = {part: _in_turns(of_part) for part, of_part in by_name.items()}
        every = [file for of_part in files.values() for file in of_part]
        decoded = decode_files(
            [ImageFile(file.path, file.path) for file in every],
            len(every),
            resize=resize,
            fit=fit,
            skip_damaged=skip_damaged,
        )
        labels = np.array([file.label for file in every], np.int64)[decoded.kept]
        names = [os.path.relpath(file.path, self.path) for file, kept in zip(every, decoded.kept, strict=True) if kept]
        notes = [*decoded.notes, *_left_out(list(found.values()), self._elsewhere(), tuple(folders))]
        notes += spelling_notes(spelled.values())
        if files != by_name:
            notes.append("sorted by file name, each class's images stand together, so that classes take turns instead")
        places, start, done = {}, 0, 0
        for part, of_part in files.items():
            kept = int(decoded.kept[start : start + len(of_part)].sum())
            places[part] = slice(done, done + kept)
            start, done = start + len(of_part), done + kept
        train, test = places["train"], places.get("test", slice(0, 0))
        validation = places.get("validation")
        return Arrays(
            decoded.images[train],
            labels[train],
            decoded.images[test],
            labels[test],
            tuple(classes),
            tuple(notes),
            validation_images=None if validation is None else decoded.images[validation],
            validation_labels=None if validation is None else labels[validation],
            names={part: tuple(names[place]) for part, place in places.items()},
            damaged=decoded.damaged,
        )

    def _elsewhere(self) -> list[str]:
        """Return the folders beside those of the parts, in which nothing is looked for."""
        if not self._is_parted():
            return []
        with os.scandir(self.path) as entries:
            return sorted(e.path for e in entries if e.name not in _NAMES and not e.name.startswith(".") and e.is_dir())

    def _check_classes(self, folders: Mapping[str, str], found: Mapping[str, _Found]) -> None:
        for part, folder in folders.items():
            if not found[part].images:
                raise DataError(f"{folder} holds no folder; images are read from {folder}/<class>/*")
            for name, files in sorted(found[part].images.items()):
                if not files:
                    every = "train and in test" if len(folders) > 1 else "the folder"
                    inside = _below(found[part], os.path.join(folder, name))
                    raise DataError(f"{Path(folder, name)} holds no image; every class needs one in {every}{inside}")
        classes = found["train"].images.keys()
        for part in [part for part in folders if part != "train"]:
            for name in sorted(found[part].images.keys() - classes):
                raise DataError(f"{self.path}: {part} has the class {name!r}, which train does not have")
            for name in sorted(classes - found[part].images.keys()):
                raise DataError(
                    f"{self.path}: {part} has no image of the class {name!r}, so its recall would be undefined"
                )


def _find(folder: str) -> _Found:
    images: dict[str, list[str]] = {}
    others, below = [], []
    for name, path in _entries(folder):
        if not name.startswith(".") and not is_image(name) and is_dead_link(path):
            raise DataError(dead_link(path))
        if name.startswith(".") or not os.path.isdir(path):
            others.append(path)
            continue
        images[name] = []
        for file_name, file in _entries(path):
            if not file_name.startswith(".") and os.path.isdir(file) and (inside := _files_below(file)):
                below += inside
                continue
            is_one = is_image(file) and (os.path.isfile(file) or is_dead_link(file))
            (images[name] if is_one else others).append(file)
    return _Found(images, others, below)


def _entries(folder: str) -> list[tuple[str, str]]:
    """Return the name and the path of all that lies in a folder. Of what a link to itself is, `os.DirEntry` raises."""
    return [(name, os.path.join(folder, name)) for name in os.listdir(folder)]


def _with_one_spelling(part: _Found, spelled: Mapping[str, str]) -> _Found:
    images: dict[str, list[str]] = {}
    for name, files in part.images.items():
        images.setdefault(spelled.get(name, name), []).extend(files)
    return part._replace(images=images)


def _ordered(part: _Found, classes: Sequence[str]) -> list[_ImageFile]:
    return sorted(
        _ImageFile(os.path.basename(path), label, path)
        for label, name in enumerate(classes)
        for path in part.images[name]
    )


def _in_turns(files: list[_ImageFile]) -> list[_ImageFile]:
    """Return files in an order that does not go class by class: as they are, unless each class's stand together."""
    labels = [file.label for file in files]
    counts = Counter(labels)
    if sum(one != next_ for one, next_ in pairwise(labels)) >= len(counts) or len(counts) < 2:
        return files
    behind: Counter[int] = Counter()
    places = []
    for file in files:
        places.append(((2 * behind[file.label] + 1) / counts[file.label], file.label))
        behind[file.label] += 1
    return [file for _, file in sorted(zip(places, files, strict=True))]


def _files_below(folder: str) -> list[str]:
    return [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]


def _below(part: _Found, folder: str) -> str:
    """Say what lies in folders below that of a class."""
    files = [path for path in part.below if path.startswith(os.path.join(folder, ""))]
    if not files:
        return ""
    return f", and what lies in folders below it is not read ({len(files)} files, such as {min(files)}): move it up"


def _left_out(found: Sequence[_Found], elsewhere: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Say what was found and not read."""
    notes = []
    if skipped := [path for part in found for path in part.others]:
        notes.append(f"files skipped, being no image in a class folder: {len(skipped)}, such as {min(skipped)}")
    if below := [path for part in found for path in part.below]:
        notes.append(f"files skipped in folders below a class: {len(below)}, such as {min(below)}")
    for folder in elsewhere:
        notes.append(
            f"not used: the {len(_files_below(folder))} files in {folder}, for images are read from "
            f"{' and '.join(parts)} only"
        )
    return notes
