"""Several runs at once on one GPU: a thread and a CUDA stream for each, so that small kernels run side by side.

What a run computes does not depend on its company: only memory is shared. What draws from torch's global generators,
and recording, is done by one thread at a time (`zoo.train.streams.exclusive`). On the CPU the same threads take turns,
which is what the tests use; the streams have not yet been run on a GPU.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from queue import SimpleQueue

import torch

from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.registry import Registry
from zoo.train.engines.choice import Wanted, release_memory
from zoo.train.execute import execute
from zoo.train.machine import make_deterministic
from zoo.train.run import EpochRecord, Run


def concurrent(
    runs: Iterable[Run],
    registry: Registry,
    device: str,
    jobs: int,
    checkpoints: Path | None = None,
    *,
    engine: Wanted = "sequential",
) -> Iterator[Event]:
    """Train up to `jobs` runs at once in this process, and tell what happens in all of them.

    A run for which the device's memory does not suffice begins anew, from its last checkpoint, when half as many are
    trained at once; one that is alone then has failed.
    """
    waiting = deque(runs)
    told: SimpleQueue[tuple[Run, EpochRecord | Run | BaseException]] = SimpleQueue()
    stop = threading.Event()
    active: list[threading.Thread] = []
    training = 0

    def train(run: Run, alone: bool) -> None:
        try:
            make_deterministic(device)
            outcomes = execute(run, registry, device, checkpoints, engine=engine, alone=alone)
            with own_stream(device), closing(outcomes):  # type: ignore[type-var]
                for outcome in outcomes:
                    if stop.is_set():
                        return
                    told.put((run, outcome))
        except BaseException as error:  # told to the thread that waits for it
            told.put((run, error.with_traceback(None) if isinstance(error, torch.OutOfMemoryError) else error))

    try:
        while waiting or training:
            while waiting and training < jobs:
                run = waiting.popleft()
                yield Started(run)
                active.append(threading.Thread(target=train, args=(run, jobs == 1), name=run.name, daemon=True))
                active[-1].start()
                training += 1
            run, outcome = told.get()
            if isinstance(outcome, EpochRecord):
                yield EpochFinished(run, outcome)
                continue
            training -= 1
            if isinstance(outcome, Run):
                yield Ended(outcome)
            elif isinstance(outcome, torch.OutOfMemoryError):
                together = training + 1
                jobs = min(jobs, max(1, together // 2))
                release_memory(device)
                yield Lost(run, f"the memory of {device} does not suffice for {together} at once, now {jobs}")
                waiting.appendleft(run)
            else:
                raise outcome
    finally:
        stop.set()
        for thread in active:
            thread.join()


def own_stream(device: str) -> AbstractContextManager[object]:
    """Return the context of a stream of this thread's own, which begins after what was copied to the device."""
    if device != "cuda":
        return nullcontext()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.default_stream())
    return torch.cuda.stream(stream)
