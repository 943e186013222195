"""The folder of what was downloaded and decoded. An entry is a folder of .npy files that processes share by mapping.

An entry appears by a rename when it is complete, so that a killed process, or two at once, leave no half of one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import attrs
import numpy as np

from zoo.data import room
from zoo.data.folders import UNFINISHED, cache_dir, entries_dir, scratch, unfinished, unusable
from zoo.data.prepare import Prepared, content_digest
from zoo.data.room import room_in
from zoo.errors import DataError, near_misses

_INDEX = "entry.json"
_ABOUT = "images.json"
DAMAGED = "damaged.txt"
"""The file of an entry that lists what was left out because it cannot be read."""
_ENTRY = re.compile(r"(?P<variant>.+)-[0-9a-f]{32}(?:-.+)?")
"""The name of an entry's folder: a data set's variant, a digest, and perhaps the share held out for validation."""


def data_dir() -> Path:
    """Return the folder below the cache that holds downloads, in one folder for each data set's variant."""
    return cache_dir() / "downloads"


def size_on_disk(variant: str) -> int:
    """Return how many bytes a data set's variant takes in the cache: what was downloaded, and what was decoded."""
    decoded = [*entries_dir().glob(f"{variant}-*"), *entries_dir().glob(f"{UNFINISHED}{variant}-*")]
    return sum(_bytes(folder) for folder in [data_dir() / variant, *decoded])


@attrs.frozen
class Holding:
    """A folder of the cache.

    Attributes:
        path: the folder.
        dataset: the data set as it was named, such as "folder:/x/y"; only "folder" where that is not known.
        content: "downloaded", "decoded", or "unfinished": what was decoded when a process was stopped.
        bytes: how much room it takes.
        last_used: in seconds since 1970; None where that is not known.
        digest: that of the images, as runs have it; None for a download.
        shape: of an image, (channels, height, width), as it was brought to a size; None where that is not known.
        share: of the training images that is held out for validation; None likewise.
    """

    path: Path
    dataset: str
    content: str
    bytes: int
    last_used: float | None
    digest: str | None
    shape: tuple[int, ...] | None = None
    share: float | None = None


def holdings() -> list[Holding]:
    """Return what the cache holds: first what was downloaded, then what was decoded, by name."""
    return [
        *(Holding(folder, folder.name, "downloaded", _bytes(folder), None, None) for folder in _folders(data_dir())),
        *sorted((_holding(folder) for folder in _folders(entries_dir())), key=lambda held: (held.dataset, held.path)),
        *(_unfinished(folder) for folder in sorted(entries_dir().glob(f"{UNFINISHED}*"))),
    ]


def named(names: Sequence[str]) -> list[Holding]:
    """Return what the cache holds of data sets; `folder` stands for every `folder:PATH`.

    Raises:
        DataError: it holds nothing of one of them.
    """
    held = holdings()
    found = []
    for name in names:
        of_it = [holding for holding in held if name in (holding.dataset, holding.dataset.partition(":")[0])]
        if not of_it:
            known = sorted({holding.dataset for holding in held})
            what = f"It holds {', '.join(known)}." if known else "It is empty."
            raise DataError(f"the cache {cache_dir()} holds nothing of {name!r}{near_misses(name, known)} {what}")
        found += [holding for holding in of_it if holding not in found]
    return found


def discard(holding: Holding) -> None:
    """Remove a folder of the cache. Who has mapped its files keeps what was mapped.

    Raises:
        DataError: it cannot be removed.
    """
    # Renamed first, so that nobody finds half of it.
    with scratch(holding.path.parent) as gone, suppress(FileNotFoundError):
        holding.path.rename(gone / "removed")


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(folder for folder in parent.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _unfinished(folder: Path) -> Holding:
    match = _ENTRY.fullmatch(folder.name.removeprefix(UNFINISHED))
    return Holding(folder, match["variant"] if match else folder.name, "unfinished", _bytes(folder), None, None)


def _holding(folder: Path) -> Holding:
    match = _ENTRY.fullmatch(folder.name)
    damaged = Holding(folder, match["variant"] if match else folder.name, "decoded", _bytes(folder), None, None)
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        return attrs.evolve(
            damaged,
            dataset=str(index["name"]),
            digest=str(index["digest"]),
            last_used=(folder / _INDEX).stat().st_mtime,
            shape=np.load(folder / "train_images.npy", mmap_mode="r").shape[1:],
            share=float(index["share"]),
        )
    return damaged


def cached(key: str, make: Callable[[], Prepared], *, name: str) -> Prepared:
    """Return the entry under `key`, memory-mapped; where there is none, or a damaged one, `make` it first.

    `name` is the data set's, for `holdings`. That an entry was damaged is told by `was_damaged`.

    While it is made, arrays of images are files, so that they may be more than fits into memory, and what a process has
    decoded that was stopped is gone on with.

    The maps are copy-on-write: writing to the arrays changes neither the files nor what other processes see.

    Raises:
        DataError: the cache cannot be read or written.
    """
    folder = entries_dir() / key
    try:
        folder.exists()
    except OSError as error:  # as where its name is too long
        raise unusable("read", folder.parent, error, "Set") from error
    found = _read(folder)
    if found is not None:
        with suppress(OSError):  # another user's cache
            os.utime(folder / _INDEX)
        return found
    was_damaged = folder.exists()
    with ExitStack() as working:
        so_far = working.enter_context(unfinished(folder.parent, key))
        with room_in(so_far or working.enter_context(scratch(folder.parent))):
            made = make()
        new = working.enter_context(scratch(folder.parent))
        complete = new / "complete"
        complete.mkdir()
        _write(made, complete, name)
        # After that write, only another process that stores the same entry makes a rename fail, which is as good.
        with suppress(OSError):
            if folder.exists() and _read(folder) is None:
                folder.rename(new / "damaged")
            complete.rename(folder)
        return attrs.evolve(_read(folder) or made, was_damaged=was_damaged)


def entry_folder(key: str) -> Path:
    """Return the folder of the entry under `key`."""
    return entries_dir() / key


def by_content(digest: str) -> Prepared | None:
    """Return the entry whose content has this digest, memory-mapped, whatever it was made from; None where none has."""
    for index in entries_dir().glob(f"*/{_INDEX}"):
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # a damaged one
            if json.loads(index.read_text(encoding="utf-8"))["digest"] == digest:
                found = _read(index.parent)
                if found is not None:
                    return found
    return None


def _write(prepared: Prepared, folder: Path, name: str) -> None:
    for part, (images, labels) in prepared.parts.items():
        room.save(folder / f"{part}_images.npy", images)
        np.save(folder / f"{part}_labels.npy", labels)
    about = {"names": prepared.names, "groups": prepared.groups, "damaged": prepared.damaged}
    about["weights"] = prepared.weights
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
    if prepared.damaged:
        (folder / DAMAGED).write_text("".join(f"{line}\n" for line in prepared.damaged), encoding="utf-8")
    index = {
        "name": name,
        "parts": list(prepared.parts),
        "sizes": {file.name: file.stat().st_size for file in folder.iterdir()},
        "classes": prepared.classes,
        "notes": prepared.notes,
        "leaks": prepared.leaks,
        "digest": prepared.digest,
        "share": prepared.share,
    }
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")


def _read(folder: Path) -> Prepared | None:
    """Return an entry, or None where it is absent or not as it was written: once, its content is held to its digest."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        if any((folder / name).stat().st_size != size for name, size in index["sizes"].items()):
            return None
        parts = {
            part: (
                np.load(folder / f"{part}_images.npy", mmap_mode="c"),
                np.load(folder / f"{part}_labels.npy", mmap_mode="c"),
            )
            for part in index["parts"]
        }
        classes, notes = tuple(index["classes"]), tuple(map(str, index["notes"]))
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        found = Prepared(
            parts,
            classes,
            notes,
            index["digest"],
            index["share"],
            names=_by_part(about["names"]),
            groups=_by_part(about["groups"]),
            damaged=tuple(map(str, about["damaged"])),
            leaks=tuple(map(str, index["leaks"])),
            weights={part: tuple(map(float, of_images)) for part, of_images in about["weights"].items()},
        )
        return found if _is_whole(folder, found) else None
    except Exception:  # the header of a damaged .npy file may raise anything
        return None


def _by_part(texts: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {part: tuple(map(str, of_images)) for part, of_images in texts.items()}


_whole: set[tuple[object, ...]] = set()
"""What this process has held to its digest already: the digest, and files by number, size and time."""


def _is_whole(folder: Path, found: Prepared) -> bool:
    """Whether an entry's arrays are of the types that were written, and are what its digest says."""
    if any(images.dtype != np.uint8 or labels.dtype != np.dtype("<i8") for images, labels in found.parts.values()):
        return False
    states = (file.stat() for file in sorted(folder.iterdir()) if file.suffix == ".npy")
    seen = (
        found.digest,
        found.classes,
        found.share,
        *((state.st_ino, state.st_size, state.st_mtime_ns) for state in states),
    )
    if seen not in _whole:
        if content_digest(found.parts, found.classes, found.share, found.weights) != found.digest:
            return False
        _whole.add(seen)
    return True
