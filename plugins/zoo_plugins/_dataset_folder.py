"""Images as files in one folder for each class."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.data import Arrays, files_fingerprint, resized
from zoo.errors import DataError, setting

_PARTS = ("train", "test")
_DEEP_MODES = ("I", "F")

# What may be found in an image file and is handled, as it is said in the notes.
_GREY = "grey images made colour"
_FRAMES = "images with several frames, of which the first was taken"
_TRANSPARENT = "images with transparent parts laid on black"
_PALETTE = "palette images made colour"
_OTHER_COLOURS = "images in another colour space made RGB"
_TURNED = "images with a camera's orientation tag, left as they are stored"
_ORIENTATION = 0x0112


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
class Folder:
    """A folder with train/<class>/* and test/<class>/*.

    Classes are numbered in alphabetical order. Images are ordered by file name across classes; where that puts each
    class's images together, as cat_1.jpg and dog_1.jpg do, the classes take turns instead. Every image becomes
    8-bit grey, if all are grey, or else RGB; orientation tags of cameras are left alone. Files that are no images
    by their ending are skipped, and so is what lies elsewhere in the folder; notes say so.
    """

    path: str

    @property
    def title(self) -> str:
        """The name as it is written in a spec."""
        return f"folder:{self.path}"

    def missing(self) -> str | None:
        """Say which folder is not there."""
        for folder in (Path(self.path), *(Path(self.path, part) for part in _PARTS)):
            if not folder.is_dir():
                return f"there is no folder {folder} (images are read from train/<class>/* and test/<class>/*)"
        return None

    def get(self, report: Callable[[int, int], None]) -> None:
        """Do nothing, or raise: a user's own files cannot be downloaded."""
        reason = self.missing()
        if reason:
            raise DataError(f"{self.title}: {reason}; zoo cannot download it")

    def fingerprint(self) -> str:
        """Return a digest of the paths, sizes and times of all files and folders of classes."""
        root = glob.escape(self.path)
        patterns = [os.path.join(root, part, *below) for part in _PARTS for below in (["*"], ["*", "*"])]
        paths = sorted(path for p in patterns for path in glob.iglob(p, include_hidden=True))
        # A hidden link may lead nowhere, as an editor's lock does.
        return files_fingerprint([*self._elsewhere(), *(path for path in paths if not _is_dead(path))])

    def decode(self, resize: int | None = None) -> Arrays:
        """Read all images.

        Raises:
            DataError: a class is empty or not in both parts, an image cannot be read, or images differ in size and
                `resize` is not given; names the folder or file.
        """
        train, test = (self._find(part) for part in _PARTS)
        self._check_classes(train, test)
        classes = sorted(train.images)
        by_name = [_ordered(part, classes) for part in (train, test)]
        files = [_in_turns(part) for part in by_name]
        images, found = _read(files[0] + files[1], resize)
        labels = [np.array([file.label for file in part], np.int64) for part in files]
        split = len(files[0])
        notes = [*_notes(found, len(images)), *_left_out(train, test, self._elsewhere())]
        if files != by_name:
            notes.append("sorted by file name, each class's images stand together, so that classes take turns instead")
        return Arrays(images[:split], labels[0], images[split:], labels[1], tuple(classes), tuple(notes))

    def _elsewhere(self) -> list[str]:
        """Return the folders beside those of the parts, in which nothing is looked for."""
        with os.scandir(self.path) as entries:
            return sorted(e.path for e in entries if e.name not in _PARTS and not e.name.startswith(".") and e.is_dir())

    def _find(self, part: str) -> _Found:
        extensions = _image_extensions()
        images: dict[str, list[str]] = {}
        others, below = [], []
        for entry in os.scandir(os.path.join(self.path, part)):
            if entry.name.startswith(".") or not entry.is_dir():
                others.append(entry.path)
                continue
            images[entry.name] = []
            for file in os.scandir(entry.path):
                if not file.name.startswith(".") and file.is_dir() and (inside := _files_below(file.path)):
                    below += inside
                    continue
                is_image = not file.name.startswith(".") and os.path.splitext(file.name)[1].lower() in extensions
                (images[entry.name] if is_image and file.is_file() else others).append(file.path)
        return _Found(images, others, below)

    def _check_classes(self, train: _Found, test: _Found) -> None:
        for part, found in zip(_PARTS, (train, test), strict=True):
            folder = Path(self.path, part)
            if not found.images:
                raise DataError(f"{folder} holds no folder; images are read from {folder}/<class>/*")
            for name, files in sorted(found.images.items()):
                if not files:
                    raise DataError(f"{folder / name} holds no image; every class needs one in train and in test")
        for name in sorted(test.images.keys() - train.images):
            raise DataError(f"{self.path}: test has the class {name!r}, which train does not have")
        for name in sorted(train.images.keys() - test.images):
            raise DataError(f"{self.path}: test has no image of the class {name!r}, so its recall would be undefined")


def _image_extensions() -> set[str]:
    Image.init()
    return {extension for extension, kind in Image.EXTENSION.items() if kind in Image.OPEN}


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


def _is_dead(path: str) -> bool:
    return os.path.basename(path).startswith(".") and not os.path.exists(path)


def _read(files: Sequence[_ImageFile], resize: int | None) -> tuple[NDArray[np.uint8], Counter[str]]:
    """Decode all files to (images, channels, height, width), counting what was found in them."""
    first, _ = _pixels(files[0].path, resize)
    images = np.empty((len(files), *first.shape), np.uint8)

    def decode(index: int) -> set[str]:
        pixels, found = _pixels(files[index].path, resize)
        if pixels.shape != first.shape:
            raise DataError(
                f"images differ in size: {files[0].path} is {_size(first)} pixels, {files[index].path} is "
                f"{_size(pixels)}; `{setting('data.resize', 32)}` brings all to 32x32"
            )
        images[index] = pixels
        return found

    with ThreadPoolExecutor() as pool:
        found = Counter(fact for facts in pool.map(decode, range(len(files))) for fact in facts)
    # All three channels of a grey image are equal.
    return (np.ascontiguousarray(images[:, :1]) if found[_GREY] == len(files) else images), found


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[2]}x{pixels.shape[1]}"


def _pixels(path: str, resize: int | None) -> tuple[NDArray[np.uint8], set[str]]:
    """Decode one file to RGB, (3, height, width), with what was found in it."""
    try:
        with Image.open(path) as image:
            if image.mode.partition(";")[0] in _DEEP_MODES:
                raise DataError(f"{path} has more than 8 bits for each pixel (Pillow's mode {image.mode}): convert it")
            found = _facts(image)
            opaque = _on_black(image) if _TRANSPARENT in found else image
            pixels = np.asarray(opaque.convert("RGB")).transpose(2, 0, 1)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    return (pixels if resize is None else resized(pixels[np.newaxis], resize)[0]), found


def _on_black(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))


def _facts(image: Image.Image) -> set[str]:
    facts = {
        _GREY: image.mode in ("1", "L", "LA", "La"),
        _PALETTE: image.mode in ("P", "PA"),
        _TRANSPARENT: image.getbands()[-1] in ("A", "a") or "transparency" in image.info,
        _OTHER_COLOURS: image.mode in ("CMYK", "YCbCr", "LAB", "HSV"),
        _FRAMES: getattr(image, "is_animated", False),
        _TURNED: image.getexif().get(_ORIENTATION, 1) != 1,
    }
    return {fact for fact, holds in facts.items() if holds}


def _notes(found: Counter[str], images: int) -> list[str]:
    return [f"{fact}: {count}" for fact, count in sorted(found.items()) if fact != _GREY or count < images]


def _left_out(train: _Found, test: _Found, elsewhere: Sequence[str]) -> list[str]:
    """Say what was found and not read."""
    notes = []
    if skipped := train.others + test.others:
        notes.append(f"files skipped, being no image in a class folder: {len(skipped)}, such as {min(skipped)}")
    if below := train.below + test.below:
        notes.append(f"files skipped in folders below a class: {len(below)}, such as {min(below)}")
    for folder in elsewhere:
        notes.append(
            f"not used: the {len(_files_below(folder))} files in {folder}, for images are read from train and test only"
        )
    return notes
