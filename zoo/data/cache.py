"""The folder of what was downloaded and decoded. An entry is a folder of .npy files that processes share by mapping.

An entry appears by a rename when it is complete, so that a killed process, or two at once, leave no half of one.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import platformdirs

from zoo.data.prepare import Prepared
from zoo.errors import DataError

CACHE_VARIABLE = "ZOO_CACHE"
_INDEX = "entry.json"
_SCRATCH = ".new-"
_LEFT_OVER_AFTER = 24 * 3600.0


def cache_dir() -> Path:
    """Return the cache: ZOO_CACHE where it is set, else the user's cache folder. It may not exist yet."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("zoo")).expanduser().absolute()


def data_dir() -> Path:
    """Return the folder below the cache that holds downloads, in one folder for each data set's variant."""
    return cache_dir() / "downloads"


def size_on_disk(variant: str) -> int:
    """Return how many bytes a data set's variant takes in the cache: what was downloaded, and what was decoded."""
    folders = [data_dir() / variant, *_entries().glob(f"{variant}-*")]
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())


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
        raise DataError(
            f"cannot write to the cache folder {parent}: {error.strerror or error}. Make room there, or set "
            f"{CACHE_VARIABLE} to another folder."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cached(key: str, make: Callable[[], Prepared]) -> Prepared:
    """Return the entry under `key`, memory-mapped; where there is none, or a damaged one, `make` it first.

    The maps are copy-on-write: writing to the arrays changes neither the files nor what other processes see.

    Raises:
        DataError: the cache cannot be written.
    """
    folder = _entries() / key
    found = _read(folder)
    if found is not None:
        return found
    made = make()
    with scratch(folder.parent) as new:
        complete = new / "complete"
        complete.mkdir()
        _write(made, complete)
        # After that write, only another process that stores the same entry makes a rename fail, which is as good.
        with suppress(OSError):
            if folder.exists() and _read(folder) is None:
                folder.rename(new / "damaged")
            complete.rename(folder)
    return _read(folder) or made


def _entries() -> Path:
    return cache_dir() / "datasets"


def _write(prepared: Prepared, folder: Path) -> None:
    for part, (images, labels) in prepared.parts.items():
        np.save(folder / f"{part}_images.npy", images)
        np.save(folder / f"{part}_labels.npy", labels)
    index = {
        "parts": list(prepared.parts),
        "sizes": {file.name: file.stat().st_size for file in folder.iterdir()},
        "classes": prepared.classes,
        "notes": prepared.notes,
        "digest": prepared.digest,
    }
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")


def _read(folder: Path) -> Prepared | None:
    """Return an entry, or None where it is absent or not as it was written (told by the sizes of its files)."""
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
        return Prepared(parts, tuple(index["classes"]), tuple(index["notes"]), index["digest"])
    except (OSError, ValueError, KeyError):
        return None


def _remove_leftovers(parent: Path) -> None:
    """Remove scratch folders that killed processes left, once they are too old to be in use."""
    for folder in parent.glob(_SCRATCH + "*"):
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _LEFT_OVER_AFTER:
                shutil.rmtree(folder, ignore_errors=True)
