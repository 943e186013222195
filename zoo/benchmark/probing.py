"""Trying out a spec before it is trained: whether it can be, and about how long it takes."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

import attrs

from zoo.errors import BuildError, is_interruption
from zoo.execution.processes import begin_worker, how_ended, start
from zoo.registry import Registry
from zoo.registry.source import plugins_used
from zoo.spec import Spec, structure, unstructure
from zoo.train import lost
from zoo.train.engines.choice import ENGINES, Wanted, decide
from zoo.train.engines.gate import one_line
from zoo.train.execute import dataset, in_order
from zoo.train.kept import kept_states, rates_depend, usable_state
from zoo.train.run import RunKey
from zoo.train.training import Training

LONGEST = 60.0
"""Seconds that trying out a spec in another process may take; one that takes longer is estimated at that."""

_Found = tuple[dict[RunKey, float], str]


@attrs.define
class Prober:
    """Tries out specs, one after another; what plugins that are not zoo's own do is done in another process.

    It is a context: the process ends with it.

    Attributes:
        registry: where variants are looked up.
        device: where they will be trained.
        checkpoints: where kept states are.
        engine: by which runs will be trained.
        apart: whether processes may be started.
    """

    registry: Registry
    device: str
    checkpoints: Path
    engine: Wanted
    apart: bool
    _elsewhere: _Elsewhere | None = attrs.field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._elsewhere is not None:
            self._elsewhere.stop()

    def __call__(self, spec: Spec, keys: Sequence[RunKey]) -> _Found:
        """Return the seconds that each run will take, and a note; see `seconds`.

        Raises:
            BuildError: the spec cannot be trained on its data set, or has ended the process that tried it out.
        """
        if self.apart and self._is_foreign(spec):
            if self._elsewhere is None:
                self._elsewhere = _Elsewhere(self)
            if (found := self._elsewhere.try_out(spec, keys)) is not None:
                return found
        return seconds(spec, keys, self.registry, self.device, self.checkpoints, self.engine)

    def _is_foreign(self, spec: Spec) -> bool:
        own = self.registry.variant("executor", "here").plugin.distribution
        return any(plugin.distribution != own for plugin in plugins_used(spec, self.registry))


class _Elsewhere:
    """The process that specs are tried out in; another one follows where one ends or hangs."""

    def __init__(self, prober: Prober) -> None:
        others = (prober.device, prober.checkpoints, prober.engine)
        self._device = prober.device
        self._arguments = (dict(os.environ), dict(prober.registry.arguments), others)
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def try_out(self, spec: Spec, keys: Sequence[RunKey]) -> _Found | None:
        """Try a spec out; None where no process can be started.

        Raises:
            BuildError: the spec cannot be trained on its data set, or has ended the process.
        """
        connection = self._connection or self._start()
        if connection is None or self._process is None:
            return None
        try:
            connection.send((unstructure(spec), spec.name, tuple(keys)))
            if not connection.poll(LONGEST):
                self.stop()
                note = (
                    f"{spec.name}: a few steps took more than {LONGEST:g} s, so a run of it takes longer than estimated"
                )
                return dict.fromkeys(keys, LONGEST), note
            found: _Found | BuildError = connection.recv()
        except (EOFError, OSError):
            self._process.join()
            how = how_ended(self._process)
            self.stop()
            raise BuildError(
                f"{spec.name}: building it and trying a few steps cost a process its life: it {how}"
            ) from None
        if isinstance(found, BuildError):
            raise found
        return found

    def _start(self) -> Connection | None:
        ours, theirs = multiprocessing.Pipe()
        try:
            self._process = start(self._device, _probe, (theirs, *self._arguments))
            self._connection = ours
            theirs.close()  # so that the process's death is the end of the connection
            ours.recv()  # that it has begun
        except (EOFError, OSError):
            theirs.close()
            self.stop()
        return self._connection

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def _probe(
    connection: Connection,
    environment: Mapping[str, str],
    registry: Mapping[str, Any],
    others: tuple[str, Path, Wanted],
) -> None:
    """Try out the specs that arrive, and send what came of each, until the connection ends."""
    begin_worker(connection, environment)
    loaded = Registry(**registry)
    while True:
        try:
            tree, name, keys = connection.recv()
            found: object
            try:
                found = seconds(structure(tree, name, loaded), keys, loaded, *others)
            except BuildError as error:
                found = BuildError(str(error))
            connection.send(found)
        except (EOFError, OSError):
            return


def seconds(
    spec: Spec, keys: Sequence[RunKey], registry: Registry, device: str, checkpoints: Path, engine: Wanted
) -> _Found:
    """Estimate the time of each run of a spec, and note whether some go on from kept states.

    The time is 0 where a plugin raises: the run itself will fail, and say so under its own name.

    Raises:
        BuildError: the spec cannot be trained on its data set.
        DeviceLostError: what it does on the device has cost this process the device.
    """
    first = keys[0]
    try:
        data = dataset(spec, registry, device)
        with in_order(device, first.precision):
            kind = ENGINES[decide(engine, spec, first, data, device=device, registry=registry).engine]
            training = kind(spec, first.seed, data, device=device, registry=registry, precision=first.precision)
            estimate = training.estimate()
        behind = {key: usable_state(training, checkpoints, key) for key in keys}
    except BuildError:
        raise
    except BaseException as error:  # a plugin may also call sys.exit
        if is_interruption(error):
            raise
        if lost.why_lost(device):
            raise lost.DeviceLostError(
                f"{device} does nothing more for this process since {spec.name} was tried out there "
                f"({one_line(error)}): leave it out, or mend it; with CUDA_LAUNCH_BLOCKING=1 in the environment the "
                "message is of the kernel that failed"
            ) from error
        return dict.fromkeys(keys, 0.0), ""
    epochs = training.length.epochs
    costs = {key: estimate * (epochs - behind[key]) / epochs for key in keys}
    notes = [f"{spec.name} starts from {training.starting}"] if training.starting else []
    kept = _kept_note(training, behind, checkpoints)
    return costs, "; ".join([*notes, *([kept] if kept else [])])


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _kept_note(training: Training, behind: Mapping[RunKey, int], checkpoints: Path) -> str:
    """Say which runs of a spec go on from kept states, after how many epochs; or why none does."""
    spec = training.spec
    using = Counter(epochs for epochs in behind.values() if epochs)
    if len(using) == 1 and using.total() == len(behind):
        return f"{spec.name} goes on from the states that were kept after {_epochs(next(iter(using)))}"
    if using:
        parts = [f"{count} after {_epochs(epochs)}" for epochs, count in sorted(using.items(), reverse=True)]
        return f"{spec.name}: {using.total()} of {len(behind)} runs go on from kept states ({', '.join(parts)})"
    kept = {epochs: file for key in behind for epochs, file in kept_states(checkpoints, spec, key)}
    if not kept:
        return ""
    longest = max(kept)
    found = f"{spec.name}: states after {_epochs(longest)} are kept, but "
    if training.begins_like(longest):
        return f"{found}they are damaged or of another version of zoo or torch or another device, so it begins anew"
    return f"{found}{rates_depend(spec)}, so it begins anew"
