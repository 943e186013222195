"""The folder of what was downloaded and decoded. An entry is a folder of .npy files that processes share by mapping.

An entry appears by a rename when it is complete, so that a killed process, or two at once, leave no half of one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import attrs
import numpy as np
import platformdirs

from zoo.data.prepare import Prepared, content_digest
from zoo.errors import DataError, near_misses

CACHE_VARIABLE = "ZOO_CACHE"
_INDEX = "entry.json"
_ABOUT = "images.json"
DAMAGED = "damaged.txt"
"""The file of an entry that lists what was left out because it cannot be read."""
_SCRATCH = ".new-"
_LEFT_OVER_AFTER = 24 * 3600.0
_ENTRY = re.compile(r"(?P<variant>.+)-[0-9a-f]{32}(?:-.+)?")
"""The name of an entry's folder: a data set's variant, a digest, and perhaps the share held out for validation."""


def cache_dir() -> Path:
    """Return the cache: ZOO_CACHE where it is set, else the user's cache folder. It may not exist yet."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("zoo")).expanduser().absolute()


def data_dir() -> Path:
    """Return the folder below the cache that holds downloads, in one folder for each data set's variant."""
    return cache_dir() / "downloads"


def size_on_disk(variant: str) -> int:
    """Return how many bytes a data set's variant takes in the cache: what was downloaded, and what was decoded."""
    return sum(_bytes(folder) for folder in [data_dir() / variant, *_entries().glob(f"{variant}-*")])


@attrs.frozen
class Holding:
    """A folder of the cache.

    Attributes:
        path: the folder.
        dataset: the data set as it was named, such as "folder:/x/y"; only "folder" where that is not known.
        content: "downloaded" or "decoded".
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
        *sorted((_holding(folder) for folder in _folders(_entries())), key=lambda held: (held.dataset, held.path)),
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
    return sorted(folder for folder in parent.iterdir() if folder.is_dir() and not folder.name.startswith(_SCRATCH))


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


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


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, which is made if need be; what is left of it is removed at the end.

    Raises:
        DataError: it cannot be written; this holds for every OSError of the body, too.
    """
    folder = parent / (_SCRATCH + uuid4().hex)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(parent)
        folder.mkdir()
        yield folder
    except OSError as error:
        raise _unusable("write to", parent, error, "Make room there, or set") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unusable(how: str, folder: Path, error: OSError, remedy: str) -> DataError:
    why = f"{error.strerror or error}. {remedy} {CACHE_VARIABLE} to another folder."
    return DataError(f"cannot {how} the cache folder {folder}: {why}")


def cached(key: str, make: Callable[[], Prepared], *, name: str) -> Prepared:
    """Return the entry under `key`, memory-mapped; where there is none, or a damaged one, `make` it first.

    `name` is the data set's, for `holdings`. That an entry was damaged is told by `was_damaged`.

    The maps are copy-on-write: writing to the arrays changes neither the files nor what other processes see.

    Raises:
        DataError: the cache cannot be read or written.
    """
    folder = _entries() / key
    try:
        folder.exists()
    except OSError as error:  # as where its name is too long
        raise _unusable("read", folder.parent, error, "Set") from error
    found = _read(folder)
    if found is not None:
        with suppress(OSError):  # another user's cache
            os.utime(folder / _INDEX)
        return found
    was_damaged = folder.exists()
    made = make()
    with scratch(folder.parent) as new:
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
    return _entries() / key


def by_content(digest: str) -> Prepared | None:
    """Return the entry whose content has this digest, memory-mapped, whatever it was made from; None where none has."""
    for index in _entries().glob(f"*/{_INDEX}"):
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # a damaged one
            if json.loads(index.read_text(encoding="utf-8"))["digest"] == digest:
                found = _read(index.parent)
                if found is not None:
                    return found
    return None


def _entries() -> Path:
    return cache_dir() / "datasets"


def _write(prepared: Prepared, folder: Path, name: str) -> None:
    for part, (images, labels) in prepared.parts.items():
        np.save(folder / f"{part}_images.npy", images)
        np.save(folder / f"{part}_labels.npy", labels)
    about = {"names": prepared.names, "groups": prepared.groups, "damaged": prepared.damaged}
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
        if content_digest(found.parts, found.classes, found.share) != found.digest:
            return False
        _whole.add(seen)
    return True


def _remove_leftovers(parent: Path) -> None:
    """Remove scratch folders that killed processes left, once they are too old to be in use."""
    for folder in parent.glob(_SCRATCH + "*"):
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _LEFT_OVER_AFTER:
                shutil.rmtree(folder, ignore_errors=True)
