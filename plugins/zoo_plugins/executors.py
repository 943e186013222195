"""Executors: where runs are trained. What they do is in `zoo.execution`, which needs torch and is imported late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zoo import Register, hookimpl

if TYPE_CHECKING:
    from zoo.execution.contract import Work
    from zoo.execution.events import Event


@hookimpl
def zoo_register_executors(register: Register) -> None:
    """Register the executors."""
    register("here", here)
    register("processes", processes)
    register("streams", streams)


def here(work: Work) -> Iterator[Event]:
    """Trains in this process, one run after another, on the first device."""
    from zoo.execution.here import here as train

    return train(work)


def processes(work: Work) -> Iterator[Event]:
    """Trains in worker processes, one run at a time in each; with several GPUs each has one of them."""
    from zoo.execution.processes import processes as train

    return train(work)


def streams(work: Work) -> Iterator[Event]:
    """Trains several runs at once in threads of this process; on GPUs each has a CUDA stream of its own."""
    from zoo.execution.streams import streams as train

    return train(work)
