"""The side that trains: an actor in a process of its own, on any machine, that is given one run at a time."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import attrs
import torch

from zoo import __version__
from zoo.data import Dataset
from zoo.data.cache import by_content, cached
from zoo.data.dataset import on_device
from zoo.data.prepare import Prepared, content_digest
from zoo.errors import DataError, PluginError, ZooError
from zoo.execution.cluster.connection import Kind, import_ray
from zoo.execution.processes import Spent
from zoo.execution.shipping import Shipment, unpack, zoo_digest
from zoo.network import starting
from zoo.registry.source import plugins_used, source_digest
from zoo.spec import Spec, structure
from zoo.train.engines.choice import Wanted
from zoo.train.execute import CHECKPOINT_VARIABLE, execute
from zoo.train.lost import DeviceLostError
from zoo.train.machine import make_deterministic, provenance
from zoo.train.placing import DataIn, placed
from zoo.train.run import EpochRecord, Run

_DATASETS = 4
"""How many data sets a worker keeps loaded."""


@attrs.frozen
class Setup:
    """What every worker is told once.

    Attributes:
        shipment: the plugins.
        kind: of device.
        engine: how steps are made.
        checkpoints: a file in the folder of checkpoints, which a worker uses if it sees the file.
        checkpoint_every: what the environment says here of how often one is saved.
        data_in: where images are while networks are trained.
    """

    shipment: Shipment
    kind: Kind
    engine: Wanted
    checkpoints: Path | None
    checkpoint_every: str | None
    data_in: DataIn = "auto"


@attrs.frozen
class Facts:
    """What a worker is: its process, and on what figures depend there."""

    host: str
    pid: int
    zoo: str
    zoo_digest: str
    torch: str
    device_name: str


@attrs.frozen
class Absent:
    """What a worker answers where it does not have the images of a run."""


class Trainer:
    """The actor: lives in a process of its own, on any machine, and trains a run at a time."""

    def __init__(self, setup: Setup) -> None:
        if setup.checkpoint_every is not None:
            os.environ[CHECKPOINT_VARIABLE] = setup.checkpoint_every
        make_deterministic(setup.kind)
        importlib.import_module("torch._dynamo")  # what the first optimizer imports, for seconds: before a run begins
        self._setup = setup
        self._registry = unpack(setup.shipment)
        self._datasets: dict[str, Dataset] = {}

    def facts(self) -> Facts:
        """Say what this is."""
        return _facts(self._setup.kind)

    def train(self, run: Run, images: list[Any]) -> Iterator[EpochRecord | Run | Absent | Spent]:
        """Train a run, as `execute` does; `images` holds a reference to them where they have been absent."""
        host = {"host": socket.gethostname()}
        try:
            for outcome in self._outcomes(run, images):
                if isinstance(outcome, Run):
                    outcome = attrs.evolve(outcome, provenance={**outcome.provenance, **host})
                yield outcome
        except DeviceLostError as error:
            if error.ended is None:  # it did not even work for the first run
                os._exit(1)
            yield Spent(attrs.evolve(error.ended, provenance={**error.ended.provenance, **host}))
        except KeyboardInterrupt:  # of a plugin, for nobody types here; Ray would take it for a wish to cancel
            os._exit(1)

    def _outcomes(self, run: Run, images: list[Any]) -> Iterator[EpochRecord | Run | Absent]:
        setup = self._setup
        try:
            spec = self._spec(run)
            data = self._data(run, spec, images)
        except ZooError as error:
            reason = f"{socket.gethostname()}: {error}"
            yield attrs.evolve(run, status="failed", reason=reason, provenance=provenance(setup.kind))
            return
        if data is None:
            yield Absent()
            return
        shared = setup.checkpoints is not None and setup.checkpoints.exists()
        folder = setup.checkpoints.parent if setup.checkpoints is not None and shared else None
        yield from execute(run, self._registry, setup.kind, folder, engine=setup.engine, data=data)

    def _spec(self, run: Run) -> Spec:
        """Return the run's spec, whose source and starting weights here must be those that it was planned with."""
        failures = "".join(f"\n{failure}" for failure in self._registry.failures)
        try:
            spec = structure(run.spec, run.name, self._registry)
        except ZooError as error:
            raise ZooError(f"{error}{failures}") from error
        digest = source_digest(spec, self._registry)
        if digest == run.key.source:
            if spec.network.weights is not None:
                starting.find(spec, self._registry)  # files with weights are not sent: each machine must have its own
            return spec
        used = {plugin.distribution for plugin in plugins_used(spec, self._registry)}
        sent = {distribution.name: distribution.version for distribution in self._setup.shipment.distributions}
        versions = "; ".join(
            f"{name} is {_version(name)} here and {sent.get(name, 'the file that was sent')} where the run was planned"
            for name in sorted(used)
        )
        raise PluginError(
            f"the source of what {run.name} uses is not that which it was planned with: its digest is {digest[:12]} "
            f"here and was {run.key.source[:12]} ({versions}). If a file was edited meanwhile, give the command again; "
            f"otherwise install the same versions on all machines{failures}"
        )

    def _data(self, run: Run, spec: Spec, images: list[Any]) -> Dataset | None:
        """Return the run's data set by its content: the last ones, from the cache, or from what was sent."""
        digest = run.key.dataset
        if digest not in self._datasets:
            prepared = by_content(digest)
            if prepared is None:
                if not images:
                    return None
                prepared = _received(import_ray().get(images[0]), run, spec)
            if len(self._datasets) == _DATASETS:
                del self._datasets[next(iter(self._datasets))]
            loaded = on_device(prepared, run.dataset, run.dataset, "cpu")
            self._datasets[digest] = placed(loaded, self._setup.kind, self._setup.data_in)
        return self._datasets[digest]


def _received(prepared: Prepared, run: Run, spec: Spec) -> Prepared:
    """Check images that were sent, and keep them in the cache of this machine."""
    held_out = 0.0 if spec.data.resplit else float(spec.data.validation)
    digest = content_digest(prepared.parts, prepared.classes, held_out, prepared.weights)
    if digest != run.key.dataset:
        raise DataError(
            f"the images of {run.dataset} did not arrive as they were sent: their digest is {digest[:12]} and not "
            f"{run.key.dataset[:12]}. Give the command again"
        )
    return cached(f"{run.dataset.partition(':')[0]}-{digest[:32]}", lambda: prepared, name=run.dataset)


def _version(distribution: str) -> str:
    with suppress(PackageNotFoundError):
        return version(distribution)
    return "not installed"


def _facts(kind: Kind) -> Facts:
    name = torch.cuda.get_device_name() if kind == "cuda" else provenance("cpu")["device_name"]
    return Facts(socket.gethostname(), os.getpid(), __version__, zoo_digest(), torch.__version__, name)
