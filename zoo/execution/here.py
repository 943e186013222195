"""Training in this process, one run after another, on the first of the devices."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.execution.contract import Work
from zoo.execution.events import Ended, EpochFinished, Event, Started
from zoo.train.execute import execute
from zoo.train.lost import DeviceLostError
from zoo.train.run import Run


def here(work: Work) -> Iterator[Event]:
    """Train the runs one after another, and tell what happens."""
    for run in work.runs:
        yield Started(run)
        try:
            for outcome in execute(run, work.registry, work.devices[0], work.checkpoints, engine=work.engine):
                yield Ended(outcome) if isinstance(outcome, Run) else EpochFinished(run, outcome)
        except DeviceLostError as error:
            if error.ended:
                yield Ended(error.ended)
            raise
