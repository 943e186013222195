"""What one run is: one training of one spec with one seed on one data set, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

Arithmetic = Literal["fp32", "tf32", "bf16", "fp16", "half", "float64"]
Precision = Literal[Arithmetic, "fp32+fast", "tf32+fast", "bf16+fast", "fp16+fast", "half+fast"]
"""An arithmetic, and whether cuDNN may choose kernels by time, whose figures are not the same each time."""
Status = Literal["running", "finished", "diverged", "failed"]
Confusion = tuple[tuple[int, ...], ...]
"""Counts of images by true class (row) and predicted class (column)."""


@attrs.frozen
class RunKey:
    """What decides the figures of a run: two runs with equal keys have equal figures.

    Attributes:
        spec: identity of the resolved spec.
        seed: the run's seed.
        dataset: digest of the data set as it is trained on.
        source: digest of the source of every variant that the spec uses.
        precision: see `zoo.train.precision`.
    """

    spec: str
    seed: int
    dataset: str
    source: str
    precision: Precision


@attrs.frozen
class Evaluation:
    """What was counted on one part of the data after an epoch.

    `batch_recall` is the mean over batches of each batch's macro recall; only the EQ2425 measure asks for it.
    """

    confusion: Confusion
    batch_recall: float | None = None


@attrs.frozen
class EpochRecord:
    """One epoch, counted from 1. `evaluations` (by part: "train", "test", ...) is empty where none was due.

    `loss` is the mean training loss per image; seconds are wall clock with the device synchronized.
    """

    epoch: int
    loss: float
    seconds_training: float
    seconds_evaluation: float
    evaluations: Mapping[str, Evaluation] = attrs.field(factory=dict)


@attrs.frozen
class Run:
    """A run and what came of it so far.

    Attributes:
        name: the spec's name.
        spec: the resolved spec as plain data.
        dataset: the data set's name, as given.
        reason: why a run failed or diverged; empty otherwise.
        seconds_setup: building and moving to the device.
        parameters: how many trainable numbers the network has.
        flops: floating-point operations of one image's forward pass; a multiply-add counts as two.
        peak_memory: most bytes allocated on the device; 0 where it cannot tell, or other runs shared the process.
        provenance: versions, device, command, start time.
        keep_state: of a run to be trained: whether its final state is kept, so that it can be gone on with.
    """

    key: RunKey
    name: str
    spec: Mapping[str, Any]
    dataset: str
    status: Status = "running"
    reason: str = ""
    seconds_setup: float = 0.0
    parameters: int = 0
    flops: int = 0
    peak_memory: int = 0
    provenance: Mapping[str, Any] = attrs.field(factory=dict)
    epochs: tuple[EpochRecord, ...] = ()
    keep_state: bool = attrs.field(default=False, eq=False)

    @property
    def seconds_training(self) -> float:
        """Seconds spent in training steps, all epochs together."""
        return sum(epoch.seconds_training for epoch in self.epochs)

    @property
    def seconds_evaluation(self) -> float:
        """Seconds spent in evaluation, all epochs together."""
        return sum(epoch.seconds_evaluation for epoch in self.epochs)
