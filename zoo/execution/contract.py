"""What an executor is: it is given work, trains its runs wherever it likes, and tells what happens.

An executor is a variant of the kind "executor": `factory(work, **options)` returns an iterator of events, which is a
generator. It never writes the ledger; whoever iterates does, and stops the executor by closing the iterator.

The contract:

- The next run is pulled from `work.runs` only when it can begin at once, in the thread that iterates: to pull a run is
  to claim it, so that no other command trains it meanwhile. Nothing is pulled before the first event is asked for.
- Each run that was pulled is told from `Started` to `Ended`, with an `EpochFinished` for each epoch in between, in
  order, as it happens. Runs may be told interleaved.
- A run that fails or diverges has `Ended` with that status, and the others go on; `execute` sees to that. It raises a
  `DeviceLostError` where a GPU does nothing more for the process: the run that it has as `ended`, if any, has `Ended`,
  and no other is begun in that process.
- What trained a run (a process, a machine, a device's memory) may be lost: then `Lost` is told and the run begins anew
  with `Started`, and its epochs are told again from the first. That ends: a run whose process is lost twice has `Ended`
  as failed, and so has one that has no room when it is alone on its device.
- When the iterator is closed, all that was begun is stopped before closing returns.
- A run has the same figures as `here` gives it, bit for bit on the same kind of device.

`zoo check executor:NAME` checks it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from zoo.registry import Registry
from zoo.train.engines.choice import Wanted
from zoo.train.run import Run


def _say(line: str) -> None:
    print(line, file=sys.stderr)


@attrs.frozen(kw_only=True)
class Work:
    """What an executor is given.

    Attributes:
        runs: what to train; pulled from in the thread that iterates over the executor, when a run can begin.
        registry: where variants are looked up; `registry.arguments` makes the same one in another process.
        devices: those to train on, at least one: ("cpu",), ("mps",) or GPUs such as ("cuda:0", "cuda:1").
        jobs: how many runs at once at most, on all devices together; None leaves it to the executor.
        checkpoints: the folder in which runs under way keep their state, where there is one.
        engine: how steps are made.
        say: is given a line for people, such as why a machine is not used.
    """

    runs: Iterator[Run]
    registry: Registry
    devices: tuple[str, ...] = ("cpu",)
    jobs: int | None = None
    checkpoints: Path | None = None
    engine: Wanted = "sequential"
    say: Callable[[str], None] = _say
