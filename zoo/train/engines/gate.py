"""The gate: an engine trains a spec only after a few steps in float64 have shown that it trains as `Training` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import attrs
import torch
from torch import Tensor

from zoo.data import Dataset, as_trained_on
from zoo.errors import described
from zoo.registry import Registry
from zoo.spec import Spec, TrainingSpec
from zoo.train import lost, streams
from zoo.train.engines.captured import CapturedTraining
from zoo.train.training import Training

LIMIT = 1e-9
"""Largest difference that float64 leaves room for; relative to the value where that is above 1."""
CHAIN = 2
EPOCHS = 3
"""In the third epoch every recording, that of an incomplete last batch too, is replayed with numbers of its own."""

_UNTIL, _AFTER = 1 / EPOCHS, 2 / EPOCHS

CHECKED = partial(CapturedTraining, chain=CHAIN, warm_up=1)


def gate(
    spec: Spec,
    dataset: Dataset,
    *,
    device: str,
    registry: Registry,
    engine: Callable[..., Training] = CHECKED,
    done: str = "recorded",
) -> str:
    """Train a few steps with the engine and one by one; return why the engine must not be used, or "".

    Each of three epochs has a chain of two whole batches, a single one, and the incomplete last one where the data set
    has one. Compared are each epoch's loss, and parameters, buffers and averages after it. The images are the first of
    the data set's; the batch size is the spec's own. `done` is what the engine does to steps, for messages.

    Raises:
        OutOfMemoryError: the device's memory does not suffice.
        Whatever else `Training` raises for this spec.
    """
    few = _few(as_trained_on(dataset, spec.data, 0), spec.training)
    # The few are of a split already.
    data = attrs.evolve(spec.data, resplit=False)
    shortened = attrs.evolve(spec, data=data, training=shortened_training(spec.training))

    def made(kind: Callable[..., Training]) -> Training:
        return kind(shortened, 0, few, device=device, registry=registry, precision="float64")

    reference = made(Training)
    with _float64_state():
        expected = [_state(reference, reference.train_epoch(epoch)) for epoch in range(1, EPOCHS + 1)]
    try:
        candidate = made(engine)
        with _float64_state():
            for epoch, states in enumerate(expected, start=1):
                difference = _largest_difference(states, _state(candidate, candidate.train_epoch(epoch)))
                if difference > LIMIT:
                    return f"in epoch {epoch} of a check in float64 it is off by {difference:.1e}"
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        if lost.why_lost(device):  # which says nothing of the engine
            raise
        return f"its steps cannot be {done} ({one_line(error)})"
    return ""


def shortened_training(training: TrainingSpec) -> TrainingSpec:
    """Return the training of the check, in which each group of parameters is frozen and is not."""
    groups = tuple(
        attrs.evolve(
            group,
            frozen_until=None if group.frozen_until is None else _UNTIL,
            frozen_after=None if group.frozen_after is None else _AFTER,
        )
        for group in training.groups
    )
    return attrs.evolve(training, epochs=EPOCHS, steps=None, minutes=None, groups=groups)


def one_line(error: BaseException) -> str:
    """Return what was raised, in one line that is not too long."""
    return described(error)[:200]


def _few(dataset: Dataset, training: TrainingSpec) -> Dataset:
    """Return the data set with as many training images as the steps of an epoch of the check need."""
    count, size = len(dataset.train.labels), training.images_per_step
    chosen = min(count, ((CHAIN + 1) * size + count * training.repeats % size) // training.repeats)
    train = dataset.train
    weights = None if train.weights is None else train.weights[:chosen]
    if weights is not None and not weights.any():  # the few must be drawn by something
        weights = torch.ones_like(weights)
    return attrs.evolve(
        dataset,
        train=attrs.evolve(train, images=train.images[:chosen], labels=train.labels[:chosen], weights=weights),
    )


@contextmanager
def _float64_state() -> Iterator[None]:
    """Let optimizers keep their counters of steps in float64, too: torch makes those of the default type."""
    with streams.exclusive:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def _state(training: Training, loss: float) -> list[Tensor]:
    tensors = (*training.network.state_dict().values(), *training.beside.values())
    return [torch.tensor(loss, dtype=torch.float64), *(t.detach().to("cpu", torch.float64, copy=True) for t in tensors)]


def _largest_difference(expected: list[Tensor], found: list[Tensor]) -> float:
    """Return the largest difference; infinite where only one of two numbers is finite."""
    largest = 0.0
    for one, other in zip(expected, found, strict=True):
        same = (one == other) | (one.isnan() & other.isnan())
        relative = ((one - other).abs() / one.abs().clamp_min(1)).nan_to_num(nan=torch.inf)
        largest = max(largest, relative.masked_fill(same, 0).max().item() if one.numel() else 0.0)
    return largest
