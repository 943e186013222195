"""Pages of mapped files: asked for before they are read, and given back afterwards.

What is given back is this process's hold on them: the system keeps what they hold as far as it has room, so that the
process stays small whatever the size of its files. No figure depends on it.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def map_of(array: NDArray[Any]) -> np.memmap[Any, Any] | None:
    """Return the map of a file that an array lies in; None where it lies in none, or numpy has not made it."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) else None


def ask_for(address: int, size: int) -> None:
    """Tell the system that so many bytes will be read, so that the disk reads them before they are asked for."""
    _advise(address, size, getattr(mmap, "MADV_WILLNEED", None))


def give_back(address: int, size: int) -> None:
    """Give back the pages of so many bytes, which must lie in a mapped file.

    Where the map is copy-on-write, what was written to is again as in the file.
    """
    # Elsewhere than on Linux this advice means something else.
    _advise(address, size, mmap.MADV_DONTNEED if sys.platform == "linux" else None)


def _advise(address: int, size: int, advice: int | None) -> None:
    advise = _madvise()
    if advise is not None and advice is not None and size:
        first = address - address % mmap.PAGESIZE
        advise(first, address + size - first, advice)


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """Return the system's function of that name; None where there is none."""
    try:
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError, TypeError):
        return None
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    advise.restype = ctypes.c_int
    found: Callable[[int, int, int], int] = advise
    return found
