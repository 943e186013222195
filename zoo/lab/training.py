"""One run, an epoch at a time, with its network and optimizer at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs
import torch
from torch import nn

from zoo.errors import ZooError
from zoo.importing import interrupted_after
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.train.evaluating import DivergedError
from zoo.train.execute import dataset, in_order
from zoo.train.machine import on_device
from zoo.train.run import Evaluation, Precision
from zoo.train.training import Training


@attrs.frozen(kw_only=True, eq=False, repr=False)
class TrainedEpoch:
    """What there is after an epoch.

    Attributes:
        epoch: counted from 1.
        loss: mean training loss per image.
        evaluations: counts by part of the data; empty where none was due.
        seconds: what training the epoch took.
        network: the module, as it is now, ready to evaluate.
        optimizer: with its state.
    """

    epoch: int
    loss: float
    evaluations: Mapping[str, Evaluation]
    seconds: float
    network: nn.Module
    optimizer: torch.optim.Optimizer

    def __repr__(self) -> str:
        recalls = "".join(f", {part} recall {self.recall(part):.4f}" for part in self.evaluations)
        return f"TrainedEpoch({self.epoch}: loss {self.loss:.4f}{recalls}, {self.seconds:.2f} s)"

    def recall(self, part: str = "test") -> float:
        """Return macro recall on a part of the data.

        Raises:
            ZooError: the part was not evaluated after this epoch.
        """
        from zoo.train.metrics import macro_recall

        if part not in self.evaluations:
            known = ", ".join(self.evaluations) or "nothing"
            raise ZooError(f"epoch {self.epoch} was not evaluated on {part!r}; it was on {known}")
        return macro_recall(self.evaluations[part].confusion)


def train(spec: Spec, seed: int, *, device: str, precision: Precision, registry: Registry) -> Iterator[TrainedEpoch]:
    """Train a spec and yield after each epoch.

    Raises:
        ZooError: the spec cannot be trained on its data, or the run diverges.
    """
    with _as_runs_are_trained(device, precision):
        data = dataset(spec, registry, device)
        training = Training(spec, seed, data, device=device, registry=registry, precision=precision)
    records = training.epochs()
    while True:
        # Between two epochs anything may happen to the process, and to the network's mode.
        with _as_runs_are_trained(device, precision):
            try:
                record = next(records, None)
            except DivergedError as error:
                raise ZooError(f"{spec.name} seed {seed}: {error}") from error
        if record is None:
            return
        if training.is_over(record.epoch):
            training.conclude()
        training.network.eval()
        yield TrainedEpoch(
            epoch=record.epoch,
            loss=record.loss,
            evaluations=record.evaluations,
            seconds=record.seconds_training,
            network=training.network,
            optimizer=training.optimizer,
        )


@contextmanager
def _as_runs_are_trained(device: str, precision: Precision) -> Iterator[None]:
    with interrupted_after(), on_device(device), in_order(device, precision):
        yield
