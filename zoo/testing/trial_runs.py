"""Runs that an executor is given to be checked, and what it told of them."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import attrs
import torch

from zoo.data.folders import CACHE_VARIABLE
from zoo.errors import SpecError, ZooError
from zoo.execution.contract import Work
from zoo.execution.events import Ended, EpochFinished, Event, Started
from zoo.execution.here import here
from zoo.registry import Registry
from zoo.registry.source import source_digest
from zoo.spec import structure, unstructure
from zoo.testing import made_runs
from zoo.testing.check import SkippedError
from zoo.testing.subject import ExecutorSubject
from zoo.train.execute import dataset
from zoo.train.run import EpochRecord, Run, RunKey

_EPOCHS = 2
Figures = list[tuple[Any, ...]]


@attrs.frozen
class Told:
    """What an executor told of some runs, in order, and how it pulled them.

    Attributes:
        events: what was told, until it raised or was done.
        raised: what it raised.
        at_once: the most runs that were pulled and had not ended.
        beforehand: how many were pulled before an event was asked for.
        elsewhere: whether a run was pulled in another thread than the one that iterates.
    """

    events: list[Event]
    raised: Exception | None = None
    at_once: int = 0
    beforehand: int = 0
    elsewhere: bool = False

    def of(self, run: Run) -> list[Event]:
        """Return what was told of a run."""
        return [event for event in self.events if event.run.key == run.key]


@contextmanager
def own_cache() -> Iterator[None]:
    """Let what is trained meanwhile, in other processes too, keep nothing in the user's cache."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = _own_cache()
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before


@cache
def _own_cache() -> str:
    """Make a folder that stays as long as this process, for its files are mapped to memory."""
    folder, owner = tempfile.mkdtemp(prefix="zoo-check-"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # and not a process that was forked from it
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


@attrs.frozen
class Expected:
    """What came of a run that was trained here."""

    status: str
    reason: str
    figures: Figures


@lru_cache(maxsize=4)
def _with_made_runs(subject: ExecutorSubject) -> ExecutorSubject:
    """Return the same executor in a registry that has what the runs are made of, too."""
    arguments = subject.registry.arguments
    registry = Registry(**{**arguments, "files": (*arguments["files"], Path(made_runs.__file__))})
    return ExecutorSubject(registry.require_sound().variant("executor", subject.name), registry)


def planned(subject: ExecutorSubject, name: str, activation: Any, *, seed: int = 0, epochs: int = _EPOCHS) -> Run:
    """Plan a run of a small network.

    Raises:
        SkippedError: what the network needs besides is not registered.
    """
    registry = _with_made_runs(subject).registry
    block = {"filters": 3, "filter": {"name": "conv", "padding": "same"}, "pooling": "max", "activation": activation}
    tree = {
        "network": {"features": [block]},
        "training": {"epochs": epochs, "batch_size": 5, "optimizer": {"name": "sgd", "learning_rate": 0.1}},
        "data": {"dataset": "check_corners"},
    }
    try:
        spec = structure(tree, name, registry)
    except SpecError as error:
        raise SkippedError(f"there is no valid spec to train: {error}") from error
    digest = dataset(spec, registry, "cpu").digest
    key = RunKey(spec.identity, seed, digest, source_digest(spec, registry), "fp32")
    return Run(key, name, unstructure(spec), "check_corners")


@lru_cache(maxsize=4)
def mixed(subject: ExecutorSubject) -> tuple[list[Run], Told]:
    """Train two at a time runs that finish, fail and diverge, and return what was told of them."""
    runs = [
        planned(subject, "Ł/鸟🦢[ß=½]", "check_draws"),
        planned(subject, "raises", "check_raises"),
        planned(subject, "exits", "check_exits"),
        planned(subject, "diverges", "check_explodes"),
        planned(subject, "plain", "check_draws", seed=1),
    ]
    return runs, trained(subject, runs, jobs=2)


@lru_cache(maxsize=4)
def reference(subject: ExecutorSubject) -> tuple[Expected, ...]:
    """Return what comes of the runs of `mixed` where each is trained alone in this process."""
    with threads_kept():
        return tuple(trained_here(subject, run) for run in mixed(subject)[0])


def trained_here(subject: ExecutorSubject, run: Run) -> Expected:
    """Return what comes of a run that is trained in this process."""
    events = list(here(Work(runs=iter([run]), registry=_with_made_runs(subject).registry)))
    ended = events[-1].run
    return Expected(ended.status, ended.reason, figures(events))


def events_of(subject: ExecutorSubject, runs: Iterator[Run], jobs: int) -> Any:
    """Return the iterator of what the executor tells of runs."""
    own = _with_made_runs(subject)
    return own.events(Work(runs=runs, registry=own.registry, jobs=jobs))


def trained(subject: ExecutorSubject, runs: Iterable[Run], jobs: int) -> Told:
    """Let the executor train runs, and watch it."""
    thread = threading.get_ident()
    pulled: list[int] = []
    told: list[Event] = []
    most = [0]

    def pull() -> Iterator[Run]:
        for run in runs:
            pulled.append(threading.get_ident())
            most.append(len(pulled) - sum(isinstance(event, Ended) for event in told))
            yield run

    beforehand, error = 0, None
    with threads_kept():
        try:
            events = iter(events_of(subject, pull(), jobs))
            beforehand = len(pulled)
            for event in events:
                told.append(event)
        except SkippedError:
            raise
        except Exception as found:
            if isinstance(found, ZooError) and not told:  # what it needs is not installed, or not at hand
                raise SkippedError(f"it cannot be used here: {found}") from found
            error = found
    return Told(told, error, max(most), beforehand, any(other != thread for other in pulled))


@contextmanager
def threads_kept() -> Iterator[None]:
    """Let torch compute with as many threads afterwards as before; runs are trained with one."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def figures(events: list[Event]) -> Figures:
    """Return the figures of a run's last attempt."""
    figures: Figures = []
    for event in events:
        if isinstance(event, Started):
            figures = []
        elif isinstance(event, EpochFinished):
            figures.append(figures_of(event.record))
    return figures


def figures_of(record: EpochRecord) -> tuple[Any, ...]:
    """Return all of an epoch's record but the times."""
    return record.epoch, record.loss, {part: attrs.astuple(found) for part, found in record.evaluations.items()}


def tell_of_the_dying(registry: Mapping[str, Any], name: str, folder: str) -> None:
    """Train runs that end their process, and print what was told of them; in a process of its own."""
    loaded = Registry(**{**registry, "files": tuple(map(Path, registry["files"]))})
    subject = ExecutorSubject(loaded.variant("executor", name), loaded)
    told: dict[str, list[Any]] = defaultdict(list)
    runs = dying(subject, Path(folder))
    for event in events_of(subject, iter(runs), jobs=2):
        if isinstance(event, EpochFinished):
            told[event.run.name].append((event.record.epoch, figures_of(event.record)))
        else:
            what = event.run.status if isinstance(event, Ended) else type(event).__name__
            told[event.run.name].append((what, None))
    print("\n" + json.dumps(told))


def dying(subject: ExecutorSubject, folder: Path) -> list[Run]:
    """Plan runs that end their process never, once and twice; files in the folder count how often they did."""
    runs = []
    for name, times in (("plain", 0), ("dies once", 1), ("dies twice", 2)):
        counter = folder / name
        counter.touch()
        runs.append(planned(subject, name, {"name": "check_dies", "counter": str(counter), "times": times}))
    return runs
