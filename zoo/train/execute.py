"""Carrying out one run: from what is planned to what came of it, whatever happens on the way."""

from __future__ import annotations

import os
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import attrs
import torch

from zoo.data import Dataset, load
from zoo.errors import DataError, ZooError
from zoo.registry import Plugin, Registry
from zoo.registry.source import source_files
from zoo.spec import Spec, structure
from zoo.train.checkpoint import checkpoint_file, restore, save
from zoo.train.engines.choice import ENGINES, Decision, Wanted, decide, release_memory
from zoo.train.engines.gate import one_line
from zoo.train.machine import provenance
from zoo.train.precision import set_policy
from zoo.train.run import EpochRecord, Run
from zoo.train.training import DivergedError, Training

CHECKPOINT_VARIABLE = "ZOO_CHECKPOINT_EVERY"


def execute(
    run: Run,
    registry: Registry,
    device: str,
    checkpoints: Path | None = None,
    *,
    engine: Wanted = "sequential",
    alone: bool = True,
) -> Iterator[EpochRecord | Run]:
    """Train a planned run: yield a record for each epoch, and last the run as it ended, without its epochs.

    Where `checkpoints` names a folder, the run's state is saved there once a minute, and a run that was killed goes on
    from it; the records of the epochs before are yielded again.

    What another engine than the sequential one raises does not fail the run: it goes on from its last checkpoint with
    the sequential one. Where the run is not `alone` on the device, running out of the device's memory is raised, and
    the checkpoint kept, since the run may go on when fewer are trained at once.

    Nothing that the run does wrong is raised: a run that diverges or fails says so in its status and reason. The first
    line of a reason is for people; a traceback may follow.
    """
    run = attrs.evolve(run, provenance={**provenance(device), "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    set_policy(run.key.precision)
    file = checkpoint_file(checkpoints, run.key) if checkpoints else None
    try:
        spec = structure(run.spec, run.name, registry)
        data = dataset(spec, registry, device)
        if data.digest != run.key.dataset:
            raise DataError(f"the data set {run.dataset} has changed since the run was planned: run the command again")
        decision = decide(engine, spec, run.key, data, device=device, registry=registry)
        told = 0
        training: Training | None = None
        while True:
            try:
                training = ENGINES[decision.engine](
                    spec, run.key.seed, data, device=device, registry=registry, precision=run.key.precision
                )
                run = attrs.evolve(
                    run,
                    seconds_setup=training.seconds_setup,
                    parameters=training.parameters,
                    flops=training.flops,
                    provenance={**run.provenance, **decision.provenance},
                )
                for record in _epochs(training, file):
                    if record.epoch > told:
                        told = record.epoch
                        yield record
                break
            except (DivergedError, ZooError):
                raise
            except Exception as error:
                out_of_memory = isinstance(error, torch.OutOfMemoryError)
                if decision.engine == "sequential" or (out_of_memory and not alone):
                    raise
                why = "the device's memory does not suffice to record its steps" if out_of_memory else one_line(error)
                decision = Decision("sequential", f"{spec.name} goes on one step at a time: {why}")
            training = None  # its memory is needed
            release_memory(device)
    except DivergedError as error:
        run = attrs.evolve(run, status="diverged", reason=str(error))
    except ZooError as error:
        run = attrs.evolve(run, status="failed", reason=str(error))
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except torch.OutOfMemoryError as error:
        if not alone:
            raise
        run = attrs.evolve(run, status="failed", reason=f"the memory of {device} does not suffice: {one_line(error)}")
    except BaseException as error:  # a plugin may also call sys.exit
        run = attrs.evolve(run, status="failed", reason=f"{_explain(error, spec, registry)}\n{traceback.format_exc()}")
    else:
        run = attrs.evolve(run, status="finished")
    if device.startswith("cuda"):
        run = attrs.evolve(run, peak_memory=torch.cuda.max_memory_allocated())
    if file:
        with suppress(OSError):
            file.unlink()
    yield run


def _epochs(training: Training, file: Path | None) -> Iterator[EpochRecord]:
    """Train what the checkpoint does not hold yet, saving one from time to time."""
    records = restore(file, training) if file else []
    yield from records
    every = float(os.environ.get(CHECKPOINT_VARIABLE, "60"))
    saved = time.monotonic()
    for record in training.epochs(first=len(records) + 1):
        records.append(record)
        yield record
        if file and time.monotonic() - saved >= every:
            with suppress(OSError):  # without a checkpoint a killed run takes longer to repeat, and no more
                save(file, training, records)
            saved = time.monotonic()


def _explain(error: BaseException, spec: Spec, registry: Registry) -> str:
    """Say in one line what was raised, and in whose code if the traceback tells."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    plugins = {registry.variant(choice.kind, choice.name).plugin for choice in spec.choices()}
    users: dict[str, list[Plugin]] = defaultdict(list)
    for plugin in plugins:
        for file in source_files(plugin):
            users[str(file)].append(plugin)
    # A plugin's own file is its, also where other plugins import from it.
    users |= {plugin.file: [plugin] for plugin in plugins}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if len(users[frame.filename]) == 1:
            return f"plugin {users[frame.filename][0]} raised {what} (line {frame.lineno} of {frame.filename})"
    return what


def dataset(spec: Spec, registry: Registry, device: str) -> Dataset:
    """Return the data set that a spec names, on the device; the last few stay loaded.

    Raises:
        DataError: it is not at hand or cannot be read.
    """
    return _dataset(spec.data.dataset, spec.data.resize, spec.data.validation, registry, device)


@lru_cache(maxsize=4)
def _dataset(name: str, resize: int | None, validation: float, registry: Registry, device: str) -> Dataset:
    return load(name, registry, resize=resize, validation=validation, device=device)
