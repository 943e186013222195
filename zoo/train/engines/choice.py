"""Engines: how a run's steps are made, and which engine is used for a run.

"sequential" is `Training`, which always works; "captured" is `CapturedTraining`, for NVIDIA GPUs, where it is 4 to 10
times as fast; "compiled" is `CompiledTraining`, which nobody gets who does not ask for it. Each but the first is used
for a spec only after it has passed the gate, which is found out once for each network, batch size, device and set of
versions, and kept in the cache folder.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import attrs
import torch

from zoo import __version__
from zoo.data import Dataset, cache_dir
from zoo.errors import ZooError, option
from zoo.registry import Registry
from zoo.registry.source import library_versions
from zoo.spec import Spec, canonical_json
from zoo.train import streams
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.compiled import CompiledTraining, why_no_compiler
from zoo.train.engines.gate import CHECKED, EPOCHS, gate
from zoo.train.precision import arithmetic
from zoo.train.run import RunKey
from zoo.train.training import Training

Engine = Literal["sequential", "captured", "compiled"]
Wanted = Literal["auto", "sequential", "captured", "compiled"]
ENGINES: dict[Engine, type[Training]] = {
    "sequential": Training,
    "captured": CapturedTraining,
    "compiled": CompiledTraining,
}


@attrs.frozen
class _Checked:
    """An engine that passes the gate before it is used: how it is made for that, and what it does to steps."""

    make: Callable[..., Training]
    does: tuple[str, str]


_CHECKED: dict[Engine, _Checked] = {
    "captured": _Checked(CHECKED, ("record", "recorded")),
    "compiled": _Checked(CompiledTraining, ("compile", "compiled")),
}


@attrs.frozen
class Decision:
    """Which engine is used for a run, and in one line why it is not a faster one, where one was hoped for."""

    engine: Engine
    why_not: str = ""

    @property
    def provenance(self) -> dict[str, str]:
        """Return what is recorded with the run."""
        return {"engine": self.engine, **({"engine_why_not": self.why_not} if self.why_not else {})}


def check_engine(wanted: Wanted, device: str) -> None:
    """Refuse an engine that the device has no use for.

    Raises:
        ZooError: there is no such engine, or it is it is for other devices.
    """
    if wanted not in get_args(Wanted):
        raise ZooError(f"{option('engine', wanted)}: there is no such engine; it is {', '.join(get_args(Wanted))}")
    if wanted == "captured" and not device.startswith("cuda"):
        raise ZooError(
            f"{option('engine', wanted)}: only NVIDIA GPUs record steps, not {device}; use auto or sequential"
        )
    if wanted == "compiled" and device == "mps":
        raise ZooError(f"{option('engine', wanted)}: it is for the CPU and NVIDIA GPUs, not {device}; use sequential")


def decide(wanted: Wanted, spec: Spec, key: RunKey, dataset: Dataset, *, device: str, registry: Registry) -> Decision:
    """Return the engine for a run.

    Raises:
        Whatever `Training` raises for this spec.
    """
    if wanted == "sequential" or (wanted == "auto" and not device.startswith("cuda")):
        return Decision("sequential")
    engine: Engine = "captured" if wanted == "auto" else wanted
    why_not = _why_unfit(engine, key, dataset, device)
    try:
        if not why_not:
            with streams.exclusive:  # so that of several runs of one network at once, the first finds out
                why_not = examine(engine, spec, key, dataset, device=device, registry=registry)
    except torch.OutOfMemoryError:  # not remembered: another time there may be more
        why_not = no_memory(engine)
    if why_not:
        return Decision("sequential", f"{spec.name} is trained one step at a time: {why_not}")
    return Decision(engine)


def no_memory(engine: Engine) -> str:
    """Say that a device has no room for what an engine does."""
    return f"the device's memory does not suffice to {_CHECKED[engine].does[0]} its steps"


def _why_unfit(engine: Engine, key: RunKey, dataset: Dataset, device: str) -> str:
    """Return why an engine is for no spec here, or ""; not remembered, for a compiler may be installed."""
    if engine == "compiled":
        return why_no_compiler(device)
    if dataset.images_in == "memory":
        return "its images stay in memory, and recorded steps read them from the device"
    if arithmetic(key.precision) == "fp16":
        return "in fp16 each step looks at its gradients before it is made, which cannot be recorded"
    return ""


def examine(engine: Engine, spec: Spec, key: RunKey, dataset: Dataset, *, device: str, registry: Registry) -> str:
    """Pass an engine through the gate, or remember what came of it: why it must not be used, or "".

    Raises:
        Whatever `Training` raises for this spec.
    """
    # The whole spec but its length, which the gate does not depend on.
    spec = attrs.evolve(spec, training=attrs.evolve(spec.training, epochs=EPOCHS, steps=None, minutes=None))
    file = _file(engine, spec, key, dataset, device, registry)
    with suppress(OSError, ValueError, TypeError, KeyError):
        return str(json.loads(file.read_text(encoding="utf-8"))["why_not"])
    try:
        checked = _CHECKED[engine]
        why_not = gate(spec, dataset, device=device, registry=registry, engine=checked.make, done=checked.does[1])
    finally:
        release_memory(device)
    new = file.with_suffix(f".{os.getpid()}.new")
    with suppress(OSError):  # without it, the next command finds out anew
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({"why_not": why_not}), encoding="utf-8")
        os.replace(new, file)
    return why_not


def release_memory(device: str) -> None:
    """Give back what ended trainings held on the device, recordings included."""
    gc.collect()
    if device.startswith("cuda"):
        with streams.exclusive:  # not while another run records
            torch.cuda.empty_cache()


def _file(engine: Engine, spec: Spec, key: RunKey, dataset: Dataset, device: str, registry: Registry) -> Path:
    on_gpu = device.startswith("cuda")
    facts: dict[str, Any] = {
        "engine": engine,
        "spec": spec.identity,
        "source": key.source,
        "images": [*dataset.shape, len(dataset.classes), len(dataset.train.labels)],
        "device": torch.cuda.get_device_name(device) if on_gpu else device,
        "versions": {
            **library_versions(spec, registry),
            "zoo": __version__,
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if on_gpu else None,  # type: ignore[no-untyped-call]
        },
    }
    return cache_dir() / "engines" / f"{hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:32]}.json"
