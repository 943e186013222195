"""The machine that runs are trained on: which device, in what state torch is, what is recorded of it."""

from __future__ import annotations

import ctypes
import platform
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path

import torch

from zoo import __version__
from zoo.errors import ZooError, option


def devices(name: str) -> tuple[str, ...]:
    """Return the devices that a name stands for: "cpu", "mps", or GPUs by their numbers, such as "cuda:0".

    Args:
        name: "auto" (all GPUs where there are some), "cpu", "mps", "cuda" (all GPUs), or one of them as "cuda:1".

    Raises:
        ZooError: there is no such device here, or the name is none.
    """
    gpus = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))
    here = {"cuda": gpus, "mps": ("mps",) if torch.backends.mps.is_available() else (), "cpu": ("cpu",)}
    if name == "auto":
        return next(found for found in here.values() if found)
    found = here.get(name, (name,) if name in gpus else ())
    if found:
        return found
    if re.fullmatch(r"cuda:\d+", name) and gpus:
        raise ZooError(f"{option('device', name)}: there {_counted(len(gpus))} here; what there is: {', '.join(gpus)}")
    if name not in here and not re.fullmatch(r"cuda:\d+", name):
        raise ZooError(
            f"{option('device', name)}: there is no such device; it is auto, cpu, cuda, mps, or one GPU as in cuda:1"
        )
    there = ", ".join(device for found in here.values() for device in found)
    raise ZooError(f"{option('device', name)}: there is none here; what there is: {there}")


def _counted(gpus: int) -> str:
    return "is 1 GPU" if gpus == 1 else f"are {gpus} GPUs"


def choose_device(name: str) -> str:
    """Return the first of the devices that a name stands for.

    Raises:
        ZooError: there is no such device here, or the name is none.
    """
    return devices(name)[0]


def on_device(device: str) -> AbstractContextManager[object]:
    """Return the context in which what is created on "cuda", without a number, is created on this GPU."""
    return torch.cuda.device(device) if device.startswith("cuda") else nullcontext()


def make_deterministic(device: str) -> None:
    """Make the process give the same figures each time: one thread, one set of kernels. And keep its memory."""
    torch.set_num_threads(_THREADS)
    if device == "cpu":
        _keep_memory()
    if device.startswith("cuda"):
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


_THREADS = 1


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
    """Return what figures may depend on besides a run's key: versions, hardware and engine.

    Which one of several GPUs it was is left out.
    """
    on_gpu = device.startswith("cuda")
    return {
        "zoo": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.device(device).type,
        "device_name": torch.cuda.get_device_name(device) if on_gpu else _processor(),
        "engine": "sequential",
        "threads": str(_THREADS),
    }


def _processor() -> str:
    """Return the processor's name as its maker gives it, where the system tells."""
    with suppress(OSError):  # only Linux has this file, and not on all processors this line
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
