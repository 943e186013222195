"""The side that commands: workers on all nodes are given runs one by one, and what they answer is told.

Workers are actors that Ray neither restarts nor asks twice: what is tried again is decided here, so that no run is
trained twice at once. They send every epoch as it ends and never see the ledger.
"""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import numpy as np
import torch

from zoo import __version__
from zoo.data.cache import by_content
from zoo.errors import DataError, ZooError
from zoo.execution.cluster.connection import Kind, connection, import_ray, runs
from zoo.execution.cluster.trainer import Absent, Facts, Setup, Trainer
from zoo.execution.contract import Work
from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.execution.processes import Spent
from zoo.execution.shipping import pack, zoo_digest
from zoo.train.execute import CHECKPOINT_VARIABLE
from zoo.train.machine import provenance
from zoo.train.placing import data_wanted
from zoo.train.run import EpochRecord, Run, RunKey

NODES_EVERY = 2.0
"""Seconds after which the cluster is asked again which nodes it has."""
START_PATIENCE = 30.0
"""Seconds that the first worker waits for the others, before it is decided on which type of device to train."""
DEATH_PATIENCE = 5.0
"""Seconds that the cluster is given to find out how a worker went: on a loaded machine it learns of that late."""
STARTS = 2
"""How many workers in a row may fail to start on a node before it is left out."""
_RESOURCES: Mapping[Kind, str] = {"cpu": "CPU", "cuda": "GPU"}


def ray_executor(work: Work, *, address: str = "") -> Generator[Event]:
    """Train on a Ray cluster, and tell what happens.

    `work.jobs` limits the workers; None is one for each GPU or CPU core that the cluster has, which may change on the
    way. Of `work.devices` only the kind counts on a cluster: Ray says which GPU a worker has.

    Args:
        work: what to train.
        address: of the cluster: "auto", or the host and port of its head. "" starts Ray on this machine, and stops it
            at the end.

    Raises:
        ZooError: Ray is not installed, there is no cluster at the address, or it has nothing that can be used.
    """
    return _train(import_ray(), work, address)


def _train(ray: Any, work: Work, address: str) -> Generator[Event]:
    kind = _kind(work.devices)
    with connection(ray, address, work, kind), _marked(work.checkpoints) as mark:
        setup = Setup(
            shipment=pack(work.registry),
            kind=kind,
            engine=work.engine,
            checkpoints=mark,
            checkpoint_every=os.environ.get(CHECKPOINT_VARIABLE),
            data_in=data_wanted(),
        )
        pool = _Pool(ray, work, kind, setup)
        try:
            yield from pool.events()
        finally:
            pool.close()


def _kind(devices: tuple[str, ...]) -> Kind:
    kinds = {device.partition(":")[0] for device in devices}
    for kind in _RESOURCES:
        if kinds == {kind}:
            return kind
    raise ZooError(f"the executor ray trains on cpu or on cuda, not on {', '.join(devices)}; use another executor")


class _Worker:
    """An actor as it is seen from here: its node, what it is, and the run that it trains."""

    def __init__(self, ray: Any, actor: Any, node: str) -> None:
        self._ray = ray
        self.actor = actor
        self.node = node
        self.facts: Facts | None = None
        self.run: Run | None = None
        # What it is asked for: its facts at first, then the outcomes of a run.
        self.asked: Any = actor.facts.remote()

    def begin(self, run: Run, images: list[Any]) -> None:
        self.run = run
        self.asked = self.actor.train.remote(run, images)

    def answer(self) -> Any:
        """Return what it answered.

        Raises:
            RayError: it is gone.
        """
        if self.run is None:
            answer = self._ray.get(self.asked)
            self.asked = None
            return answer
        answer = self._ray.get(next(self.asked))
        if isinstance(answer, Run):
            self.run = self.asked = None
        return answer

    def why_gone(self, error: Exception) -> Exception:
        """Return what the cluster says of a worker that is gone, once it knows more than that it is out of reach."""
        deadline = time.monotonic() + DEATH_PATIENCE
        while isinstance(error, self._ray.exceptions.ActorUnavailableError) and time.monotonic() < deadline:
            time.sleep(0.02)
            try:
                self._ray.get(self.actor.facts.remote(), timeout=1)
            except self._ray.exceptions.GetTimeoutError:
                continue
            except self._ray.exceptions.RayError as found:
                error = found
            else:  # it is there again, but what it had to tell is lost
                break
        return error

    def kill(self) -> None:
        with suppress(Exception):  # it is dead already, or the whole cluster is
            self._ray.kill(self.actor)


class _Pool:
    """The workers on all nodes, and the runs that they train."""

    def __init__(self, ray: Any, work: Work, kind: Kind, setup: Setup) -> None:
        self._ray, self._work, self._kind = ray, work, kind
        # Neither restarted nor asked twice by Ray, and gone with this process.
        demand = {"num_cpus": 1} if kind == "cpu" else {"num_cpus": 0, "num_gpus": 1}
        self._actor = ray.remote(max_restarts=0, max_task_retries=0, **demand)(Trainer)
        self._setup = ray.put(setup)
        self._workers: list[_Worker] = []
        self._lost: set[RunKey] = set()
        self._again: deque[Run] = deque()
        self._images: dict[str, Any] = {}
        self._left_out: dict[str, str] = {}
        self._failed_starts: Counter[str] = Counter()
        self._device_name: str | None = None
        self._look_again_at = 0.0
        self._all_begun = False
        self._said: set[str] = set()

    def events(self) -> Iterator[Event]:
        """Train all runs, and tell what happens."""
        self._choose()
        while True:
            for worker in [worker for worker in self._workers if worker.facts and worker.run is None]:
                run = self._next()
                if run is None:
                    break
                worker.begin(run, [])
                yield Started(run)
            if self._all_begun and not self._again and not any(worker.run for worker in self._workers):
                return
            yield from self._happened()

    def close(self) -> None:
        """End all workers, and wait for that."""
        for worker in self._workers:
            worker.kill()
        with suppress(Exception):  # the cluster is gone, and they with it
            asked = [worker.actor.facts.remote() for worker in self._workers]
            self._ray.wait(asked, num_returns=len(asked), timeout=10)
        here = socket.gethostname()
        own = [worker.facts.pid for worker in self._workers if worker.facts and worker.facts.host == here]
        deadline = time.monotonic() + 10
        while any(map(runs, own)) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _next(self) -> Run | None:
        """Return a run to begin at once, if there is any left: first those that were lost."""
        if self._again:
            return self._again.popleft()
        run = None if self._all_begun else next(self._work.runs, None)
        self._all_begun = run is None
        return run

    def _choose(self) -> None:
        """Wait for the first workers, and decide on which type of device to train: that of most of them."""
        ready: list[Facts] = []
        deadline = time.monotonic() + START_PATIENCE
        while True:
            for _ in self._happened():
                raise AssertionError("no run has begun")
            if not ready:
                ready_at = time.monotonic()
            ready = [worker.facts for worker in self._workers if worker.facts]
            starting = len(self._workers) - len(ready)
            if starting == 0 and self._look_again_at == 0:  # one has gone, and none is in its place yet
                continue
            if ready and (not starting or time.monotonic() > ready_at + START_PATIENCE):
                break
            if not ready and not starting:
                why = "".join(f"\n{line}" for line in self._left_out.values())
                raise ZooError(f"the Ray cluster has no {_RESOURCES[self._kind]} that can be used{why}")
            if not ready and time.monotonic() > deadline:
                self._say_once(
                    f"waiting for the Ray cluster: no worker has started yet, for want of a free "
                    f"{_RESOURCES[self._kind]} or because a start takes long there"
                )
        counts = Counter(facts.device_name for facts in ready)
        self._device_name = min(counts, key=lambda name: (-counts[name], name))
        for worker in [worker for worker in self._workers if worker.facts]:
            self._admit(worker)
        used = [worker.facts.host for worker in self._workers if worker.facts]
        self._work.say(f"training on {len(used)} x {self._device_name} of {', '.join(sorted(set(used)))}")

    def _happened(self) -> Iterator[Event]:
        """Wait until a worker has answered, and tell what; also see to it that there are workers on all nodes."""
        if time.monotonic() >= self._look_again_at:
            self._look_again_at = time.monotonic() + NODES_EVERY
            self._hire()
        asked = {worker.asked: worker for worker in self._workers if worker.asked is not None}
        patience = max(0.01, self._look_again_at - time.monotonic())
        if not asked:
            time.sleep(patience)
            return
        ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=patience)
        if ready:  # and who else: asked once for all, so that the first of the list are not served alone
            ready, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        for worker in [asked[ref] for ref in ready]:
            yield from self._answered(worker)

    def _answered(self, worker: _Worker) -> Iterator[Event]:
        run = worker.run
        try:
            answer = worker.answer()
        except self._ray.exceptions.RayTaskError:
            raise
        except (self._ray.exceptions.RayError, StopIteration) as error:
            yield from self._gone(worker, worker.why_gone(error))
            return
        match answer:
            case Facts():
                self._failed_starts[worker.node] = 0
                worker.facts = answer
                self._admit(worker)
            case Absent():
                assert run is not None
                try:
                    worker.begin(run, [self._reference(run)])
                except DataError as error:
                    worker.run = worker.asked = None
                    yield Ended(self._failure(worker, run, str(error)))
            case EpochRecord():
                assert run is not None
                yield EpochFinished(run, answer)
            case Run():
                yield Ended(answer)
            case Spent(ended):
                worker.kill()
                self._workers.remove(worker)
                self._look_again_at = 0.0
                yield Ended(ended)

    def _gone(self, worker: _Worker, error: Exception) -> Iterator[Event]:
        """Put another worker in place of one that is gone, and tell of its run."""
        worker.kill()  # it may only be out of reach
        self._workers.remove(worker)
        self._look_again_at = 0.0
        if worker.facts is None:
            self._failed_starts[worker.node] += 1
            if self._failed_starts[worker.node] == STARTS:
                self._leave_out(worker.node, f"the node {worker.node[:12]} is left out: {_start_failure(error)}")
            return
        if (run := worker.run) is None:
            return
        reason = f"its worker on {worker.facts.host} {_loss(error)}"
        if run.key in self._lost:
            yield Ended(self._failure(worker, run, f"{reason}, twice"))
            return
        self._lost.add(run.key)
        self._again.append(run)
        yield Lost(run, reason)

    def _failure(self, worker: _Worker, run: Run, reason: str) -> Run:
        facts = worker.facts
        assert facts is not None
        there = {"device": self._kind, "device_name": facts.device_name, "host": facts.host}
        return attrs.evolve(run, status="failed", reason=reason, provenance={**provenance("cpu"), **there})

    def _reference(self, run: Run) -> Any:
        """Return a reference to the images of a run, put into the store of objects once."""
        digest = run.key.dataset
        if digest not in self._images:
            prepared = by_content(digest)
            if prepared is None:
                raise DataError(
                    f"the data set {run.dataset} has changed since the run was planned: run the command again"
                )
            parts = {part: (np.asarray(x), np.asarray(y)) for part, (x, y) in prepared.parts.items()}
            self._images[digest] = self._ray.put(attrs.evolve(prepared, parts=parts))
        return self._images[digest]

    def _hire(self) -> None:
        """Start workers where there are none yet, most first on the nodes with most left."""
        resource = _RESOURCES[self._kind]
        room = {
            node["NodeID"]: int(node["Resources"].get(resource, 0))
            for node in self._ray.nodes()
            if node["Alive"] and node["NodeID"] not in self._left_out
        }
        for worker in self._workers:
            if worker.node in room:
                room[worker.node] -= 1
        wanted = sum(room.values()) if self._work.jobs is None else self._work.jobs - len(self._workers)
        affinity = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        for _ in range(wanted):
            node = max(room, key=lambda node: room[node], default=None)
            if node is None or room[node] < 1:
                break
            room[node] -= 1
            actor = self._actor.options(scheduling_strategy=affinity(node, soft=False)).remote(self._setup)
            self._workers.append(_Worker(self._ray, actor, node))
        if not self._workers and self._device_name:
            self._say_once("no machine of the Ray cluster is left to train on; waiting for one")

    def _admit(self, worker: _Worker) -> None:
        """Leave the worker's node out if figures may differ there from those of the others, or from those here."""
        facts = worker.facts
        assert facts is not None
        if facts.zoo != __version__:
            why = f"it has zoo {facts.zoo} and this machine {__version__}; install the same version there"
        elif facts.zoo_digest != zoo_digest():
            why = (
                f"its zoo {facts.zoo} has another source than this machine's zoo {__version__}; install the same there"
            )
        elif facts.torch != torch.__version__:
            why = f"it has torch {facts.torch} and this machine {torch.__version__}; install the same version there"
        elif self._device_name not in (None, facts.device_name):
            why = f"its device is {facts.device_name}, and runs stay on {self._device_name}"
        else:
            return
        self._leave_out(worker.node, f"{facts.host} is left out: {why}")

    def _leave_out(self, node: str, line: str) -> None:
        if node not in self._left_out:
            self._left_out[node] = line
            self._say_once(line)
        for worker in [worker for worker in self._workers if worker.node == node and worker.run is None]:
            worker.kill()
            self._workers.remove(worker)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._work.say(line)


def _loss(error: Exception) -> str:
    """Say in a few words how a worker went, from what Ray says of it."""
    name = type(error).__name__
    if name == "ActorDiedError":
        return "has died (out of memory?)" if "worker process has died" in str(error) else "is gone with its machine"
    if name == "ActorUnavailableError":
        return "is out of reach, or gone with its machine"
    return f"is lost ({name})"


def _start_failure(error: Exception) -> str:
    """Return the last line of why a worker did not start, which is that of what was raised there."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"zoo does not start there: {lines[-1] if lines else type(error).__name__}"


@contextmanager
def _marked(checkpoints: Path | None) -> Iterator[Path | None]:
    """Keep a file of a name of its own in the folder of checkpoints: who sees it sees the same folder."""
    if checkpoints is None:
        yield None
        return
    mark = checkpoints / f".shared-{uuid4().hex}"
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:  # as without Ray: without checkpoints a run that is lost takes longer to repeat, and no more
        yield None
        return
    try:
        yield mark
    finally:
        with suppress(OSError):
            mark.unlink()
