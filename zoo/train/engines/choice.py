"""Engines: how a run's steps are made, and which engine is used for a run.

"sequential" is `Training`, which always works; "captured" is `CapturedTraining`. An engine is used for a spec only
after it has passed the gate, and "auto" only where it is faster, too. Both are found out once for each network, batch
size, device and set of versions, and kept in the cache folder.

What is for CUDA here has not yet been run on a GPU.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import attrs
import torch

from zoo import __version__
from zoo.data import Dataset, Split, cache_dir
from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.spec import Spec, canonical_json
from zoo.train import streams
from zoo.train.engines.captured import CHAIN, CapturedTraining
from zoo.train.engines.gate import gate, one_line
from zoo.train.run import RunKey
from zoo.train.training import Training

Engine = Literal["sequential", "captured"]
Wanted = Literal["auto", "sequential", "captured"]
ENGINES: dict[Engine, type[Training]] = {"sequential": Training, "captured": CapturedTraining}
PROBE_EPOCHS = 3
"""The first warms up and records; the fastest of the others counts."""


@attrs.frozen
class Decision:
    """Which engine is used for a run, and in one line why it is not a faster one, where one was hoped for."""

    engine: Engine
    why_not: str = ""

    @property
    def provenance(self) -> dict[str, str]:
        """Return what is recorded with the run."""
        return {"engine": self.engine, **({"engine_why_not": self.why_not} if self.why_not else {})}


@attrs.frozen
class Verdict:
    """What was found out about the captured engine: why it must not be used, or seconds of an epoch of the probe."""

    why_not: str = ""
    seconds: dict[Engine, float] = attrs.field(factory=dict)


def check_engine(wanted: Wanted, device: str) -> None:
    """Refuse an engine that the device has no use for.

    Raises:
        ZooError: there is no such engine, or it is "captured" on another device than CUDA.
    """
    if wanted not in get_args(Wanted):
        raise ZooError(f"--engine {wanted}: there is no such engine; it is {', '.join(get_args(Wanted))}")
    if wanted == "captured" and not device.startswith("cuda"):
        raise ZooError(f"--engine captured: only NVIDIA GPUs record steps, not {device}; use auto or sequential")


def decide(wanted: Wanted, spec: Spec, key: RunKey, dataset: Dataset, *, device: str, registry: Registry) -> Decision:
    """Return the engine for a run.

    Raises:
        Whatever `Training` raises for this spec.
    """
    if wanted == "sequential" or (wanted == "auto" and not device.startswith("cuda")):
        return Decision("sequential")
    try:
        with streams.exclusive:  # so that of several runs of one network at once, the first finds out
            verdict = examine(spec, key, dataset, device=device, registry=registry)
    except torch.OutOfMemoryError:  # not remembered: another time there may be more
        verdict = Verdict("the device's memory does not suffice to record its steps")
    if verdict.why_not:
        return Decision("sequential", f"{spec.name} is trained one step at a time: {verdict.why_not}")
    if wanted == "auto" and verdict.seconds["sequential"] <= verdict.seconds["captured"]:
        return Decision("sequential")
    return Decision("captured")


def examine(spec: Spec, key: RunKey, dataset: Dataset, *, device: str, registry: Registry) -> Verdict:
    """Pass the captured engine through the gate and time it beside the sequential one, or remember what came of it.

    Raises:
        Whatever `Training` raises for this spec.
    """
    # The whole spec but the number of epochs, which neither the gate nor the probe depends on.
    spec = attrs.evolve(spec, training=attrs.evolve(spec.training, epochs=PROBE_EPOCHS))
    file = _file(spec, key, dataset, device)
    with suppress(OSError, ValueError, TypeError):
        return Verdict(**json.loads(file.read_text(encoding="utf-8")))
    try:
        verdict = Verdict(gate(spec, dataset, device=device, registry=registry))
        if not verdict.why_not:
            verdict = _probed(spec, key, dataset, device=device, registry=registry)
    finally:
        release_memory(device)
    new = file.with_suffix(f".{os.getpid()}.new")
    with suppress(OSError):  # without it, the next command finds out anew
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(attrs.asdict(verdict)), encoding="utf-8")
        os.replace(new, file)
    return verdict


def release_memory(device: str) -> None:
    """Give back what ended trainings held on the device, recordings included."""
    gc.collect()
    if device.startswith("cuda"):
        with streams.exclusive:  # not while another run records
            torch.cuda.empty_cache()


def _probed(spec: Spec, key: RunKey, dataset: Dataset, *, device: str, registry: Registry) -> Verdict:
    """Time an epoch of two chains of steps with each engine, as the run will make them."""
    images = min(len(dataset.train.labels), 2 * CHAIN * spec.training.batch_size)
    few = attrs.evolve(dataset, train=Split(dataset.train.images[:images], dataset.train.labels[:images]))
    seconds: dict[Engine, float] = {}
    for name, engine in ENGINES.items():
        try:
            training = engine(spec, key.seed, few, device=device, registry=registry, precision=key.precision)
            times = []
            for epoch in range(1, PROBE_EPOCHS + 1):
                start = time.perf_counter()
                training.train_epoch(epoch)  # which waits for the device
                times.append(time.perf_counter() - start)
            seconds[name] = min(times[1:])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if name == "sequential":
                raise
            return Verdict(f"its steps cannot be recorded ({one_line(error)})")
    return Verdict(seconds=seconds)


def _file(spec: Spec, key: RunKey, dataset: Dataset, device: str) -> Path:
    facts: dict[str, Any] = {
        "spec": spec.identity,
        "source": key.source,
        "precision": key.precision,
        "images": [*dataset.shape, len(dataset.classes), len(dataset.train.labels)],
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "versions": [__version__, torch.__version__, torch.version.cuda or ""],
    }
    return cache_dir() / "engines" / f"{hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:32]}.json"
