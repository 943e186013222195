"""What an executor tells: events, in the order in which they happen to each run."""

from __future__ import annotations

import attrs

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
    """What trained a run is gone: its process, its machine, or the memory for it. It begins anew with `Started`."""

    run: Run
    reason: str


Event = Started | EpochFinished | Ended | Lost
