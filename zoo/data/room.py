"""Room for more images than fit into memory: while an entry of the cache is made, they are mapped files."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo.data import pages
from zoo.data.folders import entries_dir, unusable

Images = NDArray[np.uint8]
_Map = np.memmap[tuple[int, ...], np.dtype[np.uint8]]
Report = Callable[[int, int], None]
"""Is told how many files are decoded, and how many there are."""

_AT_ONCE = 64 * 2**20
"""Bytes that are copied at once."""
_SAVED_EVERY = 10.0
"""Seconds of decoding that are lost at most where a process is killed."""


class _Room:
    """A folder for arrays, which are numbered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count()

    def path(self, what: str) -> Path:
        return self.folder / f"{what}-{next(self._numbers)}.npy"


_current: ContextVar[_Room | None] = ContextVar("room", default=None)
_report: ContextVar[Report | None] = ContextVar("report", default=None)


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Let arrays that are made meanwhile be files of a folder."""
    token = _current.set(_Room(folder))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def decoding_told(report: Report) -> Iterator[None]:
    """Let `report` be told meanwhile how far the decoding of files is."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def empty(shape: tuple[int, ...]) -> Images:
    """Return an array for images, mapped from a file where there is a folder for it.

    Raises:
        DataError: the disk has no room for it.
    """
    room = _current.get()
    return np.empty(shape, np.uint8) if room is None else _room_for(room.path("images"), shape)


def taken(images: Images, places: NDArray[np.int64], *, channels: int | None = None) -> Images:
    """Return some of the images, in the order of their places, and the first of their channels if so many are wanted.

    What lies together is not copied.
    """
    channels = images.shape[1] if channels is None else channels
    if channels == images.shape[1] and len(places) and np.array_equal(places, np.arange(len(places)) + places[0]):
        return images[places[0] : places[0] + len(places)]
    result = empty((len(places), channels, *images.shape[2:]))
    for part in chunks(len(places), images, result):
        result[part] = images[places[part], :channels]
    return result


def chunks(number: int, *images: Images) -> Iterator[slice]:
    """Yield the parts in which a number of images like the first are worked on, so that few are in memory.

    Of those that lie in mapped files, the pages are given back after each part.
    """
    size = max(1, _AT_ONCE // max(1, int(np.prod(images[0].shape[1:]))))
    for start in range(0, number, size):
        yield slice(start, min(start + size, number))
        for each in images:
            give_back(each)


def give_back(images: Images) -> None:
    """Give back the pages of images that lie in a mapped file, if no change of them could be lost."""
    its_map = pages.map_of(images)
    if its_map is not None and (its_map.mode != "c" or is_of_entry(images)) and images.flags.c_contiguous:
        pages.give_back(images.ctypes.data, images.nbytes)


def is_of_entry(images: Images) -> bool:
    """Tell whether images are mapped from a file of the cache, to which nobody writes."""
    its_map = pages.map_of(images)
    return its_map is not None and Path(str(its_map.filename)).parent.parent == entries_dir().resolve()


def save(path: Path, images: Images) -> None:
    """Write images to a .npy file.

    Raises:
        OSError: it cannot be written, as where the disk has no room for it.
    """
    written = _mapped(path, images.shape)
    for part in chunks(len(images), images, written):
        written[part] = images[part]
    written.flush()


def _mapped(path: Path, shape: tuple[int, ...]) -> _Map:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    # A full disk is an error here; when a page is written to, the process would be killed.
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _room_for(path: Path, shape: tuple[int, ...]) -> _Map:
    try:
        return _mapped(path, shape)
    except OSError as error:
        raise unusable("write to", path.parent.parent, error, "Make room there, or set") from error


@attrs.define(eq=False)
class Decoding:
    """How far the decoding of files is; where there is a folder for it, it is kept there and gone on with.

    Attributes:
        count: how many files there are.
        done: how many of them are decoded, from the first.
        images: (files, channels, height, width); None before the first was decoded.
        first: the name of the first file that could be read.
        damaged: why each file that cannot be read is left out, by its place.
        facts: how many files have what was found and handled.
    """

    count: int
    done: int = 0
    images: Images | None = None
    first: str = ""
    damaged: dict[int, str] = attrs.field(factory=dict)
    facts: Counter[str] = attrs.field(factory=Counter)
    _file: Path | None = None
    _saved: float = attrs.field(factory=time.monotonic)

    @classmethod
    def of(cls, files: int) -> Decoding:
        """Return that of so many files: what was kept, or a new one."""
        room = _current.get()
        if room is None:
            return cls(files)
        file = room.path("decoded")
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or a damaged one
            return cls._read(file, files)
        return cls(files, file=file)

    @classmethod
    def _read(cls, file: Path, files: int) -> Decoding:
        kept = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        images = np.load(file, mmap_mode="r+") if kept["first"] else None
        if kept["count"] != files or (images is not None and (images.dtype != np.uint8 or len(images) != files)):
            raise ValueError("it is of other files")
        damaged = {int(place): str(why) for place, why in kept["damaged"].items()}
        return cls(files, int(kept["done"]), images, kept["first"], damaged, Counter(kept["facts"]), file)

    def begin(self, shape: tuple[int, ...], first: str) -> None:
        """Make room for all images, when the shape of the first is known."""
        whole = (self.count, *shape)
        self.images = np.empty(whole, np.uint8) if self._file is None else _room_for(self._file, whole)
        self.first = first

    def advance(self, done: int) -> None:
        """Say that so many files are decoded."""
        self.done = done
        if self.images is not None:
            give_back(self.images)
        if time.monotonic() - self._saved > _SAVED_EVERY:
            self.save()
        if report := _report.get():
            report(done, self.count)

    def save(self) -> None:
        """Keep what is decoded, if there is a folder for it."""
        if self._file is None or not self._file.parent.is_dir():
            return
        if isinstance(self.images, np.memmap):
            self.images.flush()  # before it is said to be there
        kept = {name: getattr(self, name) for name in ("count", "done", "first", "damaged", "facts")}
        new = self._file.with_suffix(".new")
        with suppress(OSError):  # then it is decoded anew
            new.write_text(json.dumps(kept), encoding="utf-8")
            os.replace(new, self._file.with_suffix(".json"))
        self._saved = time.monotonic()
