"""The cache's folder, and folders in it to work in: who works in one holds its lock, which ends with the process."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import platformdirs

from zoo.errors import DataError

CACHE_VARIABLE = "ZOO_CACHE"
SCRATCH = ".scratch-"
UNFINISHED = ".unfinished-"
"""What the name of a folder begins with that holds what was decoded so far; what follows is the entry's key."""
_BEING_MADE = ".making-"
_WITHOUT_LOCKS = ".new-"
"""Scratch folders of earlier versions."""
_LEFT_OVER_AFTER = 24 * 3600.0
_GIVEN_UP_AFTER = 7 * 24 * 3600.0


def cache_dir() -> Path:
    """Return the cache: ZOO_CACHE where it is set, else the user's cache folder. It may not exist yet."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("zoo")).expanduser().absolute()


def entries_dir() -> Path:
    """Return the folder below the cache that holds what was decoded, in one folder for each entry."""
    return cache_dir() / "datasets"


def unusable(how: str, folder: Path, error: OSError, remedy: str) -> DataError:
    """Return the error that says why the cache cannot be used."""
    why = f"{error.strerror or error}. {remedy} {CACHE_VARIABLE} to another folder."
    return DataError(f"cannot {how} the cache folder {folder}: {why}")


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, which is made if need be; what is left of it is removed at the end.

    Raises:
        DataError: it cannot be written; this holds for every OSError of the body, too.
    """
    name = uuid4().hex
    folder = parent / (SCRATCH + name)
    lock = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(parent)
        # It gets its name when it is locked, so that nobody finds it without an owner.
        being_made = parent / (_BEING_MADE + name)
        being_made.mkdir()
        lock = _lock(being_made)
        being_made.rename(folder)
        yield folder
    except OSError as error:
        raise unusable("write to", parent, error, "Make room there, or set") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unlock(lock)


@contextmanager
def unfinished(parent: Path, key: str) -> Iterator[Path | None]:
    """Yield the folder of what was decoded so far for an entry; None where another process works there, or may.

    It is removed at the end, also after an error, which no second try mends; it stays where the process is stopped.

    Raises:
        DataError: it cannot be made.
    """
    folder = parent / (UNFINISHED + key)
    if not _can_lock():
        yield None
        return
    try:
        parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(parent)
        folder.mkdir(exist_ok=True)
        lock = _lock(folder)
    except OSError as error:
        raise unusable("write to", parent, error, "Make room there, or set") from error
    if lock is None:
        yield None
        return
    try:
        yield folder
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        _unlock(lock)


def remove_leftovers(parent: Path) -> None:
    """Remove what killed processes left: scratch folders at once, what they have decoded once it is a week old.

    Where the system cannot tell whether an owner lives, a scratch folder is left over after a day.
    """
    for folder in parent.glob(".*-*"):
        with suppress(OSError):
            age = time.time() - folder.stat().st_mtime
            if folder.name.startswith(SCRATCH):
                _remove(folder, has_lock=True, is_old=age > _LEFT_OVER_AFTER)
            elif folder.name.startswith((_BEING_MADE, _WITHOUT_LOCKS)):
                _remove(folder, has_lock=False, is_old=age > _LEFT_OVER_AFTER)
            elif folder.name.startswith(UNFINISHED) and age > _GIVEN_UP_AFTER:
                _remove(folder, has_lock=True, is_old=True)


def _remove(folder: Path, *, has_lock: bool, is_old: bool) -> None:
    """Remove a folder that nobody works in."""
    if not has_lock or not _can_lock():
        if is_old:
            shutil.rmtree(folder, ignore_errors=True)
        return
    lock = _lock(folder)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        _unlock(lock)


def _can_lock() -> bool:
    try:
        import fcntl  # noqa: F401
    except ImportError:  # Windows
        return False
    return True


def _lock(folder: Path) -> int | None:
    """Lock a folder for this process; None where another has, it is gone, or the system has no locks of folders."""
    if not _can_lock():
        return None
    import fcntl

    try:
        lock = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.stat(folder)):  # and not one that was removed meanwhile
            return lock
    except OSError:  # locked, or a network's file system without locks of folders
        pass
    os.close(lock)
    return None


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
