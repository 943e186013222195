"""Training in this process, one run after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from zoo.execution.events import Ended, EpochFinished, Event, Started
from zoo.registry import Registry
from zoo.train.engines.choice import Wanted
from zoo.train.execute import execute
from zoo.train.machine import make_deterministic
from zoo.train.run import Run


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
