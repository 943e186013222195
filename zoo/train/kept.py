"""Final states that are kept: a finished run is gone on with for more epochs, with the figures of a run in one go.

That is possible where the longer run begins as the shorter one did: where its learning rates are the same so far. A
constant schedule without warm-up allows it; one that depends on the share of the run that is over does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import attrs

from zoo.registry import Registry
from zoo.spec import Spec
from zoo.train.checkpoint import restore, usable
from zoo.train.places import kept_file
from zoo.train.run import EpochRecord, RunKey
from zoo.train.training import Training


def kept_states(folder: Path, spec: Spec, key: RunKey) -> Iterator[tuple[int, Path]]:
    """Yield the kept states of the same run with fewer epochs: after how many, and the file; the longest run first."""
    planned = spec.training.epochs
    if planned is None or not folder.is_dir():
        return
    for epochs in range(math.ceil(planned) - 1, 0, -1):
        shorter = attrs.evolve(spec, training=attrs.evolve(spec.training, epochs=epochs))
        file = kept_file(folder, attrs.evolve(key, spec=shorter.identity))
        if file.exists():
            yield epochs, file


def usable_state(training: Training, folder: Path, key: RunKey) -> int:
    """Return how many epochs the longest kept state has that a training can go on from, 0 where there is none.

    Only what the files say of themselves is read: one that is damaged counts, and is found out by `go_on`.
    """
    return next(
        (epochs for epochs, file in kept_states(folder, training.spec, key) if _may_go_on(training, file, epochs)), 0
    )


def go_on(training: Training, folder: Path, key: RunKey) -> list[EpochRecord]:
    """Bring a new training to the longest kept state that it can go on from, and return the epochs behind it.

    There are none where no state is kept that the training would have come to itself.
    """
    for epochs, file in kept_states(folder, training.spec, key):
        if _may_go_on(training, file, epochs) and (records := restore(file, training, epochs)):
            return [training.as_asked(record) for record in records]
    return []


def why_useless(training: Training, registry: Registry) -> str:
    """Say why no longer run can go on from the final state of a training; empty where one can.

    Asked are one epoch more and twice as many: learning rates that differ for both depend on how long a run is.
    """
    spec = training.spec
    epochs = spec.training.epochs
    if spec.training.minutes is not None:
        return rates_depend(spec)
    if not isinstance(epochs, int):
        return "only a run of a number of whole epochs is gone on with"
    for more in (epochs + 1, 2 * epochs):
        longer = Training(
            attrs.evolve(spec, training=attrs.evolve(spec.training, epochs=more)),
            training.seed,
            training.dataset,
            device=str(training.device),
            registry=registry,
            precision=training.precision,
        )
        if longer.begins_like(epochs):
            return ""
    return f"{rates_depend(spec)}, and no longer run begins as it did"


def rates_depend(spec: Spec) -> str:
    """Say that the learning rates of a spec depend on the number of epochs, and through what."""
    if spec.training.minutes is not None:
        return "how far a run comes in its time depends on the machine (training.minutes)"
    schedule, warmup, averaging = spec.training.schedule, spec.training.warmup, spec.training.averaging
    if spec.evaluation.keep == "best" and spec.evaluation.every != 1:
        return "which epoch is the best depends on how long a run is (evaluation.every is not 1)"
    own = ", groups of parameters" if spec.training.groups else ""
    if averaging.name != "none":
        return (
            "its learning rates or its averages depend on how long a run is "
            f"(schedule {schedule}, warm-up {warmup:g}{own}, averaging {averaging})"
        )
    return f"its learning rates depend on how long a run is (schedule {schedule}, warm-up {warmup:g}{own})"


def _may_go_on(training: Training, file: Path, epochs: int) -> bool:
    return usable(file, training, epochs) and training.begins_like(epochs)
