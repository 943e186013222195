"""Where runs are trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from zoo.registry import Registry
from zoo.train.engines import Wanted
from zoo.train.execute import execute, make_deterministic
from zoo.train.run import EpochRecord, Run


@attrs.frozen
class Started:
    """A run begins."""

    run: Run


@attrs.frozen
class EpochFinished:
    """An epoch of a run is trained and evaluated."""

    run: Run
    record: EpochRecord


@attrs.frozen
class Ended:
    """A run has ended: finished, diverged or failed. Its epochs were told one by one."""

    run: Run


@attrs.frozen
class Lost:
    """The process that trained a run is gone, or its memory, and the run with it; it begins anew."""

    run: Run
    reason: str


Event = Started | EpochFinished | Ended | Lost


def here(
    runs: Iterable[Run],
    registry: Registry,
    device: str,
    checkpoints: Path | None = None,
    *,
    engine: Wanted = "sequential",
) -> Iterator[Event]:
    """Train the runs in this process, one after another, and tell what happens."""
    make_deterministic(device)
    for run in runs:
        yield Started(run)
        for outcome in execute(run, registry, device, checkpoints, engine=engine):
            yield Ended(outcome) if isinstance(outcome, Run) else EpochFinished(run, outcome)
