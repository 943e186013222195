"""Several runs at once in this process: a thread and, on a GPU, a CUDA stream for each, so that kernels overlap.

What a run computes does not depend on its company: only memory is shared. What draws from torch's global generators,
and recording, is done by one thread at a time (`zoo.train.streams.exclusive`), on all GPUs together: with steps that
are not recorded the threads take turns, and processes are faster. On the CPU they take turns, too, which is what the
tests use.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue

import attrs
import torch

from zoo.execution.contract import Work
from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.train.engines.choice import release_memory
from zoo.train.execute import execute
from zoo.train.lost import DeviceLostError
from zoo.train.run import EpochRecord, Run

MOST_STREAMS = 32
"""On one GPU. torch hands out no more, then the same ones again: two runs on one stream would spoil a recording."""


@attrs.define(eq=False)
class _Place:
    """A device, how many runs it may train at once, how many it trains, and its streams that no run uses."""

    device: str
    most: int
    training: int = 0
    free_streams: deque[torch.cuda.Stream] = attrs.field(factory=deque)

    @property
    def is_free(self) -> bool:
        return self.training < self.most


Told = tuple[_Place, Run, EpochRecord | Run | BaseException]


def streams(work: Work) -> Iterator[Event]:
    """Train up to `jobs` runs at once, spread evenly over the devices, and tell what happens in all of them.

    A run for which a device's memory does not suffice begins anew, from its last checkpoint, when half as many are
    trained at once there; one that is alone then has failed.
    """
    jobs = len(work.devices) if work.jobs is None else work.jobs
    most = -(-jobs // len(work.devices))
    if work.devices[0].startswith("cuda") and most > MOST_STREAMS:
        work.say(f"no more than {MOST_STREAMS} runs at once on each GPU in this process; --executor processes has more")
        most = MOST_STREAMS
    places = [_Place(device, most) for device in work.devices]
    told: SimpleQueue[Told] = SimpleQueue()
    stop = threading.Event()
    threads: list[threading.Thread] = []
    again: deque[Run] = deque()
    try:
        while True:
            while place := _free(places, jobs):
                run = again.popleft() if again else next(work.runs, None)
                if run is None:
                    break
                yield Started(run)
                threads = [thread for thread in threads if thread.is_alive()]
                arguments = (work, place, run, place.most == 1, told, stop)
                # With the context of this one, which says how messages are written.
                train = partial(copy_context().run, _train, *arguments)
                threads.append(threading.Thread(target=train, name=run.name, daemon=True))
                threads[-1].start()
                place.training += 1
            if not any(place.training for place in places):
                return
            place, run, outcome = told.get()
            if isinstance(outcome, EpochRecord):
                yield EpochFinished(run, outcome)
                continue
            place.training -= 1
            if isinstance(outcome, Run):
                yield Ended(outcome)
            elif isinstance(outcome, torch.OutOfMemoryError):
                together = place.training + 1
                place.most = min(place.most, max(1, together // 2))
                release_memory(place.device)
                yield Lost(
                    run, f"the memory of {place.device} does not suffice for {together} at once, now {place.most}"
                )
                again.appendleft(run)
            else:
                if isinstance(outcome, DeviceLostError) and outcome.ended:
                    yield Ended(outcome.ended)
                raise outcome
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _free(places: list[_Place], jobs: int) -> _Place | None:
    """Return the place that trains fewest, if one more run may begin at all."""
    free = [place for place in places if place.is_free]
    if not free or sum(place.training for place in places) >= jobs:
        return None
    return min(free, key=lambda place: place.training)


def _train(work: Work, place: _Place, run: Run, alone: bool, told: SimpleQueue[Told], stop: threading.Event) -> None:
    """Train a run until it has ended, or all shall stop after the epoch under way."""
    device = place.device
    try:
        outcomes = execute(run, work.registry, device, work.checkpoints, engine=work.engine, alone=alone)
        with own_stream(device, place.free_streams), closing(outcomes):  # type: ignore[type-var]
            for outcome in outcomes:
                if stop.is_set():
                    return
                told.put((place, run, outcome))
    except BaseException as error:  # told to the thread that waits for it
        told.put((place, run, error.with_traceback(None) if isinstance(error, torch.OutOfMemoryError) else error))


@contextmanager
def own_stream(device: str, free: deque[torch.cuda.Stream]) -> Iterator[None]:
    """Let this thread use a stream that no other uses, one of the free or a new one; begun after the default stream."""
    if not device.startswith("cuda"):
        yield
        return
    stream = free.pop() if free else torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.default_stream(device))
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        free.append(stream)
