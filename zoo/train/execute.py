"""Carrying out one run: from what is planned to what came of it, whatever happens on the way."""

from __future__ import annotations

import platform
import sys
import time
import traceback
from collections.abc import Iterator
from functools import lru_cache

import attrs
import torch

from zoo import __version__
from zoo.data import Dataset, load
from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.spec import Spec, structure
from zoo.train.run import EpochRecord, Run
from zoo.train.training import DivergedError, Training


def execute(run: Run, registry: Registry, device: str) -> Iterator[EpochRecord | Run]:
    """Train a planned run: yield a record for each epoch, and last the run as it ended, without its epochs.

    Nothing that the run does wrong is raised: a run that diverges or fails says so in its status and reason.
    """
    run = attrs.evolve(run, provenance={**provenance(device), "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    try:
        spec = structure(run.spec, run.name, registry)
        training = Training(spec, run.key.seed, dataset(spec, registry, device), device=device, registry=registry)
        run = attrs.evolve(
            run, seconds_setup=training.seconds_setup, parameters=training.parameters, flops=training.flops
        )
        yield from training.epochs()
    except DivergedError as error:
        run = attrs.evolve(run, status="diverged", reason=str(error))
    except ZooError as error:
        run = attrs.evolve(run, status="failed", reason=str(error))
    except Exception as error:
        run = attrs.evolve(run, status="failed", reason=f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    else:
        run = attrs.evolve(run, status="finished")
    if device.startswith("cuda"):
        run = attrs.evolve(run, peak_memory=torch.cuda.max_memory_allocated())
    yield run


def dataset(spec: Spec, registry: Registry, device: str) -> Dataset:
    """Return the data set that a spec names, on the device; the last few stay loaded.

    Raises:
        DataError: it is not at hand or cannot be read.
    """
    return _dataset(spec.data.dataset, spec.data.resize, spec.data.validation, registry, device)


@lru_cache(maxsize=4)
def _dataset(name: str, resize: int | None, validation: float, registry: Registry, device: str) -> Dataset:
    return load(name, registry, resize=resize, validation=validation, device=device)


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
    """Make the process give the same figures each time: one thread, one set of kernels, float32 as it is."""
    torch.set_num_threads(1)
    if device == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


@lru_cache
def provenance(device: str) -> dict[str, str]:
    """Return what figures may depend on besides a run's key: versions, hardware, engine and command."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {
        "zoo": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "device_name": name,
        "engine": "sequential",
        "threads": str(torch.get_num_threads()),
        "command": " ".join(sys.argv),
    }
