"""The machine that runs are trained on: which device, in what state torch is, what is recorded of it."""

from __future__ import annotations

import ctypes
import platform
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch

from zoo import __version__
from zoo.errors import ZooError


def choose_device(name: str) -> str:
    """Return the device for "auto" (a GPU where there is one), or the named one.

    Raises:
        ZooError: there is no such device here.
    """
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if here[device])
    if not here[name]:
        there = ", ".join(device for device, available in here.items() if available)
        raise ZooError(f"--device {name}: there is none here; what there is: {there}")
    return name


def make_deterministic(device: str) -> None:
    """Make the process give the same figures each time: one thread, one set of kernels. And keep its memory."""
    torch.set_num_threads(1)
    if device == "cpu":
        _keep_memory()
    if device == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


@lru_cache
def _keep_memory() -> None:
    """Make the C library keep memory that is freed, for the next step needs as much again.

    Otherwise each tensor of more than some 100 kB is returned to the system and its pages are faulted in anew, which
    is a fifth of a training step of the study's network and a quarter of an evaluation. Only glibc can be told.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library, or none that can be asked
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@lru_cache
def provenance(device: str) -> dict[str, str]:
    """Return what figures may depend on besides a run's key: versions, hardware, engine and command."""
    return {
        "zoo": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "device_name": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "engine": "sequential",
        "threads": str(torch.get_num_threads()),
        "command": " ".join(sys.argv),
    }


def _processor() -> str:
    """Return the processor's name as its maker gives it, where the system tells."""
    with suppress(OSError):  # only Linux has this file, and not on all processors this line
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
