"""Training in worker processes, one run at a time in each: on a CPU the fastest way for many small runs.

A worker that dies costs its run only: the run is tried once more, then recorded as failed. With several GPUs each
worker has one of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

from zoo.errors import WORK_FAILED, ZooError, hear_no_interruption, option
from zoo.execution.contract import Work
from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.registry import Registry
from zoo.train.engines.choice import Wanted
from zoo.train.execute import execute
from zoo.train.lost import DeviceLostError
from zoo.train.machine import provenance
from zoo.train.run import EpochRecord, Run, RunKey

_TRIES = 3
"""How often a worker is tried to be started: the process that workers are forked from may have been killed."""


BEGUN = "begun"
"""What a worker sends first: it has imported the script that commands it."""


@attrs.frozen
class Spent:
    """What a worker sends in place of the end of its last run: it can train nothing more, and another must."""

    run: Run


class NoWorkersError(ZooError):
    """No worker process can be started."""

    exit_code = WORK_FAILED


class UnguardedScriptError(NoWorkersError):
    """A script works when it is imported, so that its workers never begin. A script that ends by it prints its text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        if not isinstance(sys.excepthook, _Untraced):
            sys.excepthook = _Untraced(sys.excepthook)


class _Untraced:
    """A hook for uncaught exceptions, which prints of this one no more than its text, and leaves all else as it was."""

    def __init__(self, otherwise: Callable[..., object]) -> None:
        self._otherwise = otherwise

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> object:
        if isinstance(error, UnguardedScriptError):
            return print(f"Error: {error}", file=sys.stderr)
        return self._otherwise(kind, error, trace)


def warm_up() -> None:
    """Let the process that workers are forked from begin to import torch, while this one plans."""
    context = _context("cpu")
    if isinstance(context, ForkServerContext):
        from multiprocessing.forkserver import ensure_running

        with _own_imports(), _ctrl_c_waits(), suppress(OSError):  # which the start of the first worker tells
            ensure_running()


def processes(work: Work) -> Iterator[Event]:
    """Train up to `jobs` runs at once, each in a process, and tell what happens in all of them.

    Left to itself it trains as many at once as there are cores, and one on each GPU. No more processes are started
    than there are runs.
    """
    jobs = work.jobs or (available_cores() if work.devices[0] == "cpu" else len(work.devices))
    lost: set[RunKey] = set()
    pool: list[_Worker] = []
    try:
        while True:
            while sum(worker.run is not None for worker in pool) < jobs and (run := next(work.runs, None)):
                worker = next((worker for worker in pool if worker.run is None), None)
                if worker is None:
                    worker = _Worker(work, _least_used(work.devices, pool))
                    pool.append(worker)
                yield worker.begin(run)
            busy = {worker.connection: worker for worker in pool if worker.run is not None}
            if not busy:
                return
            for ready in wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                run = worker.run
                assert run is not None
                outcome = worker.receive()
                if outcome is None:
                    continue
                if isinstance(outcome, EpochRecord):
                    yield EpochFinished(run, outcome)
                elif isinstance(outcome, Run):
                    yield Ended(outcome)
                elif isinstance(outcome, Spent):
                    pool.remove(worker)
                    worker.stop()
                    yield Ended(outcome.run)
                else:
                    pool.remove(worker)
                    worker.stop()
                    if run.key in lost:
                        failure = f"{outcome}, twice"
                        told = provenance(worker.device)
                        yield Ended(attrs.evolve(run, status="failed", reason=failure, provenance=told))
                        continue
                    lost.add(run.key)
                    yield Lost(run, outcome)
                    worker = _Worker(work, worker.device)
                    pool.append(worker)
                    yield worker.begin(run)
    finally:
        for worker in pool:
            worker.stop()


def _least_used(devices: tuple[str, ...], pool: list[_Worker]) -> str:
    used = Counter(worker.device for worker in pool)
    return min(dict.fromkeys(devices), key=lambda device: used[device])


class _Worker:
    """A process, the connection to it, and the run that it trains."""

    def __init__(self, work: Work, device: str) -> None:
        self.device = device
        self.run: Run | None = None
        self._has_begun = False
        registry = dict(work.registry.arguments)
        for left in reversed(range(_TRIES)):
            self.connection, theirs = multiprocessing.Pipe()
            arguments = (theirs, dict(os.environ), registry, device, work.checkpoints, work.engine)
            try:
                self._process = start(device, _work, arguments)
                return
            except (EOFError, OSError) as error:
                self.connection.close()
                if not left:
                    raise NoWorkersError(
                        f"no worker process can be started ({type(error).__name__}: {error}); train without them: "
                        f"{option('jobs', 1)}"
                    ) from error
                time.sleep(0.1)  # until it is known that the process that workers are forked from is gone
            finally:
                # Only the worker holds its end, so that its death is the end of the connection.
                theirs.close()

    def begin(self, run: Run) -> Started:
        self.run = run
        with suppress(OSError):  # it is dead already, which the next `receive` tells
            self.connection.send(run)
        return Started(run)

    def receive(self) -> EpochRecord | Run | Spent | str | None:
        """Return what the worker sent, or why it is gone; None where it only says that it has begun.

        Raises:
            UnguardedScriptError: it ended by itself before it had begun.
        """
        try:
            outcome: EpochRecord | Run | Spent | str = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            if code >= 0 and not self._has_begun:
                raise UnguardedScriptError(
                    f"a worker process ended with exit code {code} before its first message: it imports the script "
                    "that commands it, which must not do its work when it is imported: begin work under "
                    f'`if __name__ == "__main__":`, or take {option("jobs", 1)}'
                ) from None
            return f"its worker process {how_ended(self._process)}"
        if outcome == BEGUN:
            self._has_begun = True
            return None
        if isinstance(outcome, Run):
            self.run = None
        return outcome

    def stop(self) -> None:
        self._process.kill()  # not terminate, which a plugin may have turned off
        self._process.join()
        self.connection.close()


def _work(
    connection: Connection,
    environment: Mapping[str, str],
    registry: Mapping[str, Any],
    device: str,
    checkpoints: Path | None,
    engine: Wanted,
) -> None:
    """Train the runs that arrive until the connection ends, or the process that commands this one."""
    begin_worker(connection, environment)
    loaded = Registry(**registry)
    while True:
        try:
            run = connection.recv()
            try:
                for outcome in execute(run, loaded, device, checkpoints, engine=engine):
                    connection.send(outcome)
            except DeviceLostError as error:
                if error.ended is None:  # it did not even work for the first run
                    sys.exit(str(error))
                connection.send(Spent(error.ended))
        except (EOFError, OSError):
            return


def start(device: str, work: Callable[..., None], arguments: tuple[object, ...]) -> BaseProcess:
    """Start a process that does some work for this one.

    Raises:
        EOFError, OSError: it cannot be started.
    """
    context = _context(device)
    process = context.Process(target=work, args=arguments, daemon=True)
    with _own_imports():
        if isinstance(context, ForkServerContext):
            from multiprocessing.forkserver import ensure_running

            with _ctrl_c_waits():
                ensure_running()
            process.start()  # which may wait for seconds until the server has imported torch
        else:
            with _ctrl_c_waits():
                process.start()
    return process


def begin_worker(connection: Connection, environment: Mapping[str, str]) -> None:
    """Make this process one that works for another: tell it that it has begun, and end with it."""
    # Ctrl-C reaches the whole group of processes; the one that commands the workers decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hear_no_interruption()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError):
        connection.send(BEGUN)
    os.environ.clear()
    os.environ.update(environment)


def how_ended(process: BaseProcess) -> str:
    """Say how a process ended, to follow "its worker process"."""
    code = process.exitcode or 0
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _end_with_parent() -> None:
    """End this process as soon as its parent is gone, however that ended, and not after the epoch under way."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _context(device: str) -> ForkServerContext | SpawnContext:
    # A process that has asked CUDA for anything must not be forked, and an import may ask.
    if device.startswith("cuda") or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Workers are forked from a process that has imported torch but computed nothing. The second module is what the
    # first optimizer of a process imports: half of the time that torch takes to start.
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    return context


_starting = threading.Lock()
_SHORT_FOLDER = "/tmp"
_LONGEST_FOLDER = 70
"""Bytes that the folder for temporary files may have: a socket's path of 103, less what multiprocessing adds."""


@contextmanager
def _own_imports() -> Iterator[None]:
    """Let a process that is started meanwhile import what this one imports.

    Such a process is begun with `python -c`, which would look for modules in the working folder first, and it imports
    some before it is told where this one looks for them. What it is started with is put right in `_work`.

    And its socket has a path that is short enough.
    """
    where = os.pathsep.join(str(path) if path else os.getcwd() for path in sys.path)
    for_start = {"PYTHONSAFEPATH": "1", "PYTHONPATH": where}
    with _starting:
        before = {name: os.environ.get(name) for name in for_start}
        os.environ.update(for_start)
        folder = tempfile.gettempdir()
        if len(os.fsencode(folder)) > _LONGEST_FOLDER and os.access(_SHORT_FOLDER, os.W_OK):
            tempfile.tempdir = _SHORT_FOLDER
        try:
            yield
        finally:
            tempfile.tempdir = folder
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Hold back Ctrl-C until the end, and for good from a process that is started meanwhile.

    It reaches the whole group of processes, and would end one that still imports in a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where consoles have their own way
        yield
        return
    resource_tracker.ensure_running()  # whose own start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
