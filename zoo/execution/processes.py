"""Training in worker processes, one run at a time in each: on a CPU the fastest way for many small runs.

A worker that dies costs its run only: the run is tried once more, then recorded as failed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any

import attrs

from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.registry import Registry
from zoo.train.execute import execute
from zoo.train.machine import make_deterministic, provenance
from zoo.train.run import EpochRecord, Run, RunKey


def warm_up() -> None:
    """Let the process that workers are forked from begin to import torch, while this one plans."""
    context = _context()
    if isinstance(context, ForkServerContext):
        from multiprocessing.forkserver import ensure_running

        ensure_running()


def workers(
    runs: Iterable[Run], registry: Registry, device: str, jobs: int, checkpoints: Path | None = None
) -> Iterator[Event]:
    """Train the runs in up to `jobs` processes, and tell what happens in all of them."""
    waiting = deque(runs)
    lost: set[RunKey] = set()
    context = _context()
    pool = [_Worker(context, registry.arguments, device, checkpoints) for _ in range(min(jobs, len(waiting)))]
    try:
        for worker in pool:
            yield worker.begin(waiting.popleft())
        while busy := {worker.connection: worker for worker in pool if worker.run is not None}:
            for ready in wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                run = worker.run
                assert run is not None
                outcome = worker.receive()
                if isinstance(outcome, EpochRecord):
                    yield EpochFinished(run, outcome)
                    continue
                if isinstance(outcome, Run):
                    yield Ended(outcome)
                else:
                    pool.remove(worker)
                    worker = _Worker(context, registry.arguments, device, checkpoints)
                    pool.append(worker)
                    if run.key not in lost:
                        lost.add(run.key)
                        yield Lost(run, outcome)
                        yield worker.begin(run)
                        continue
                    failure = f"{outcome}, twice"
                    yield Ended(attrs.evolve(run, status="failed", reason=failure, provenance=provenance(device)))
                if waiting:
                    yield worker.begin(waiting.popleft())
    finally:
        for worker in pool:
            worker.stop()


class _Worker:
    """A process, the connection to it, and the run that it trains."""

    def __init__(
        self,
        context: ForkServerContext | SpawnContext,
        registry: Mapping[str, Any],
        device: str,
        checkpoints: Path | None,
    ) -> None:
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, dict(registry), device, checkpoints), daemon=True)
        self._process.start()
        # Only the worker holds its end, so that its death is the end of the connection.
        theirs.close()
        self.run: Run | None = None

    def begin(self, run: Run) -> Started:
        self.run = run
        with suppress(OSError):  # it is dead already, which the next `receive` tells
            self.connection.send(run)
        return Started(run)

    def receive(self) -> EpochRecord | Run | str:
        """Return what the worker sent, or why it is gone."""
        try:
            outcome: EpochRecord | Run = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            if code >= 0:
                return f"its worker process ended with exit code {code}"
            name = signal.Signals(-code).name
            return f"its worker process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        if isinstance(outcome, Run):
            self.run = None
        return outcome

    def stop(self) -> None:
        self._process.kill()  # not terminate, which a plugin may have turned off
        self._process.join()
        self.connection.close()


def _work(connection: Connection, registry: Mapping[str, Any], device: str, checkpoints: Path | None) -> None:
    """Train the runs that arrive until the connection ends, or the process that commands this one."""
    # Ctrl-C reaches the whole group of processes; the one that commands the workers decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    make_deterministic(device)
    loaded = Registry(**registry)
    while True:
        try:
            for outcome in execute(connection.recv(), loaded, device, checkpoints):
                connection.send(outcome)
        except (EOFError, OSError):
            return


def _end_with_parent() -> None:
    """End this process as soon as its parent is gone, however that ended, and not after the epoch under way."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _context() -> ForkServerContext | SpawnContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Workers are forked from a process that has imported torch but computed nothing. The second module is what the
    # first optimizer of a process imports: half of the time that torch takes to start.
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    return context


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
