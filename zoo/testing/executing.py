"""Checks of executors: what is told of runs, and what becomes of them, whatever they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.testing import made_runs
from zoo.testing.check import FailedError, SkippedError, raised, require
from zoo.testing.subject import ExecutorSubject
from zoo.testing.trial_runs import (
    dying,
    events_of,
    figures,
    mixed,
    planned,
    reference,
    threads_kept,
    trained,
    trained_here,
)
from zoo.train.run import Run

_PATIENCE = 120.0
"""Seconds after which a process that trains a few small runs is taken to hang."""
_DEADLINE = 10.0
"""Seconds within which what trained is gone."""
_SUBPROCESS = """
import json, sys
given = json.load(sys.stdin)
sys.path[:] = given.pop("path")
from zoo.testing.trial_runs import tell_of_the_dying
tell_of_the_dying(**given)
"""


def events_in_order(subject: ExecutorSubject) -> None:
    """Each run is told as Started, its epochs from 1 on, and Ended, once and in this order.

    Why: the ledger stores what is told as it comes: a run that never ends stays open, and an epoch that is left out is
    missing from every table.

    Mend: yield `zoo.Started(run)`, then pass on what `zoo.execute` yields: each record in a `zoo.EpochFinished`, and
    the run, which comes last, in a `zoo.Ended`.
    """
    runs, told = mixed(subject)
    if told.raised is not None:
        raise FailedError(raised(told.raised)) from told.raised
    known = {run.key for run in runs}
    for event in told.events:
        require(isinstance(event, Started | EpochFinished | Ended | Lost), f"it told {event!r}, which is no event")
        require(event.run.key in known, f"it told of a run that it was not given: {event.run.name}")
    for run in runs:
        _require_in_order(run, told.of(run))


def _require_in_order(run: Run, events: list[Event]) -> None:
    names = ", ".join(_named(event) for event in events) or "nothing"
    state, epochs = "waiting", 0
    for event in events:
        wrong = f"of {run.name} it told {names}"
        if isinstance(event, Started):
            require(state == "waiting", wrong)
            state, epochs = "training", 0
        elif isinstance(event, Lost):
            require(state == "training", wrong)
            state = "waiting"
        elif isinstance(event, EpochFinished):
            epochs += 1
            require(state == "training" and event.record.epoch == epochs, wrong)
        else:
            require(state == "training", wrong)
            require(event.run.status != "finished" or epochs == run.spec["training"]["epochs"], wrong)
            state = "ended"
    require(state == "ended", f"of {run.name} it told {names}")


def _named(event: Event) -> str:
    return f"epoch {event.record.epoch}" if isinstance(event, EpochFinished) else type(event).__name__


def figures_equal(subject: ExecutorSubject) -> None:
    """A run has the figures, bit for bit, that it has where it is trained alone in this process.

    Why: runs of all executors lie in one ledger and are compared; a run's key does not say who trained it.

    Mend: train with `zoo.execute`, on the device that `work.devices` names; do not touch torch's settings.
    """
    runs, told = mixed(subject)
    compared = 0
    for run, expected in zip(runs, reference(subject), strict=True):
        if expected.status == "finished" and any(isinstance(event, Ended) for event in told.of(run)):
            compared += 1
            require(figures(told.of(run)) == expected.figures, f"{run.name} has other figures")
    if not compared:
        raise SkippedError("no run ended; see events_in_order")


def failures_told(subject: ExecutorSubject) -> None:
    """A run that fails or diverges ends with that status and a reason, and the other runs end as they would without it.

    Why: one faulty variant must not cost a study its other runs.

    Mend: `zoo.execute` says in the last run that it yields how it ended, and raises nothing for it; pass that run on in
    `zoo.Ended`.
    """
    runs, told = mixed(subject)
    for run, expected in zip(runs, reference(subject), strict=True):
        for event in told.of(run):
            if isinstance(event, Ended):
                found = f"{run.name} should have {expected.status}, and is told to have {event.run.status}"
                require(event.run.status == expected.status, found)
                require(
                    bool(event.run.reason) == bool(expected.reason), f"{run.name}: its reason is {event.run.reason!r}"
                )


def pulls_lazily(subject: ExecutorSubject) -> None:
    """A run is pulled when it can begin: never more than `jobs` have been pulled and not ended.

    Why: to pull a run is to claim it. What is pulled early is kept from other commands and machines, and is begun by
    nobody.

    Mend: keep `work.runs` an iterator: `next(work.runs, None)` when there is room for one more run, in the thread that
    iterates, and not before the first event is asked for.
    """
    runs, together = mixed(subject)
    alone = trained(subject, runs[:3], jobs=1)
    for jobs, told in ((1, alone), (2, together)):
        require(told.beforehand == 0, f"{told.beforehand} runs were pulled before an event was asked for")
        require(not told.elsewhere, "a run was pulled in another thread than the one that iterates")
        require(told.at_once <= jobs, f"with jobs = {jobs}, {told.at_once} runs were pulled and had not ended")


def names_kept(subject: ExecutorSubject) -> None:
    """Each run keeps its name and key, whatever letters the name has.

    Why: a run is found in the ledger by its key, and shown by its name, which is that of a file or of a study's change.

    Mend: hand runs on whole, by pickle or as UTF-8.
    """
    runs, told = mixed(subject)
    names = {run.key: run.name for run in runs}
    for event in told.events:
        expected = names.get(event.run.key)
        require(expected in (event.run.name, None), f"{expected!r} became {event.run.name!r}")
    lost = set(names) - {event.run.key for event in told.events}
    if lost and told.raised is not None:
        raise SkippedError("not every run was told of; see events_in_order")
    require(not lost, f"of {len(lost)} runs nothing was told under their keys")


def without_runs(subject: ExecutorSubject) -> None:
    """Where there is nothing to train, nothing is told, and nothing is raised.

    Why: another command may have claimed all runs meanwhile.

    Mend: `next(work.runs, None)`, and return where it gives None and nothing is being trained.
    """
    told = trained(subject, [], jobs=2)
    if told.raised is not None:
        raise FailedError(raised(told.raised)) from told.raised
    require(not told.events, f"it told {', '.join(map(_named, told.events))}")


def stops_when_closed(subject: ExecutorSubject) -> None:
    """When the iterator is closed, no run is trained any longer, and the processes and threads that did are gone.

    Why: Ctrl-C, a budget and an error in the middle close it. What goes on keeps the machine busy, and may write a
    checkpoint that the next command reads.

    Mend: a `finally` around the loop that stops what was begun, and waits until it has stopped.
    """
    with TemporaryDirectory() as folder, threads_kept():
        beats = Path(folder, "beats")
        beats.touch()
        activation = {"name": "check_beats", "file": str(beats)}
        runs = [planned(subject, f"slow {index}", activation, seed=index, epochs=60) for index in range(2)]
        before = {thread.native_id for thread in threading.enumerate()}
        mixed(subject)  # which says why where it cannot be used
        with closing(events_of(subject, iter(runs), jobs=2)) as events:
            if not any(isinstance(event, EpochFinished) for event in events):
                raise SkippedError("no epoch was told; see events_in_order")
        seen = beats.stat().st_size
        time.sleep(0.3)
        require(beats.stat().st_size == seen, "runs were still being trained after it was closed")
        who = {tuple(map(int, line.split())) for line in beats.read_text(encoding="utf-8").splitlines()}
        _require_gone(lambda: {pid for pid, _ in who if pid != os.getpid() and _alive(pid)}, "processes")
        own = {thread for pid, thread in who if pid == os.getpid()} - before
        _require_gone(lambda: own & {thread.native_id for thread in threading.enumerate()}, "threads")


def _require_gone(left: Callable[[], set[int]], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while left() and time.monotonic() < deadline:
        time.sleep(0.05)
    require(not left(), f"{len(left())} of the {what} that trained are there {_DEADLINE:.0f} s after it was closed")


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not. Only POSIX can be asked."""
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:  # no Linux
        return True
    return state not in "ZX"


def survives_lost_workers(subject: ExecutorSubject) -> None:
    """A run whose process dies is told as Lost and begins anew; if that dies, too, it has failed. Others are unharmed.

    Why: a machine may run out of memory, and a layer in C++ may crash; hours of other runs must not be lost for it.

    Mend: notice the end of a process (the end of its pipe), start another and train the run once more, then end it with
    the status "failed" and a reason.
    """
    mixed(subject)  # which says why where it cannot be used
    with TemporaryDirectory() as folder:
        arguments = subject.registry.arguments
        given = {
            "path": [path or os.getcwd() for path in sys.path],
            "registry": {**arguments, "files": [str(file.resolve()) for file in arguments["files"]]},
            "name": subject.name,
            "folder": folder,
        }
        process = subprocess.run(
            [sys.executable, "-P", "-c", _SUBPROCESS],
            input=json.dumps(given),
            capture_output=True,
            encoding="utf-8",
            timeout=_PATIENCE,
        )
        if process.returncode == made_runs.DIED:
            raise SkippedError("it trains in the process that asks, which ends with the run")
        require(process.returncode == 0, f"it ended with exit code {process.returncode}: {process.stderr[-300:]}")
        told: dict[str, list[Any]] = json.loads(process.stdout.splitlines()[-1])
        runs = dying(subject, Path(folder))
        with threads_kept():
            reference = {run.name: trained_here(subject, run) for run in runs}
    plain, once, twice = (told.get(run.name, []) for run in runs)
    states = [[what for what, _ in events if not isinstance(what, int)] for events in (plain, once, twice)]
    require(states[0] == ["Started", "finished"], f"of a run that kills nothing it told {states[0]}")
    require(states[1] == ["Started", "Lost", "Started", "finished"], f"of a process that died once: {states[1]}")
    require(states[2] == ["Started", "Lost", "Started", "failed"], f"of a process that died twice: {states[2]}")
    for events, run in ((plain, runs[0]), (once, runs[1])):
        last = max(index for index, (what, _) in enumerate(events) if what == "Started")
        figures = json.dumps([record for _, record in events[last:] if record])
        require(figures == json.dumps(reference[run.name].figures), f"{run.name} has other figures")
