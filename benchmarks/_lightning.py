"""PyTorch Lightning as a contestant."""

from __future__ import annotations

import logging
import warnings

import lightning
import torch
from _task import BATCH, Part, Task
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassRecall

PARTS = ("train", "validation")
log = logging.getLogger("benchmarks")


class Study(lightning.LightningModule):
    """The study's training step, and the recall of both parts counted by torchmetrics."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__()
        self.task = task
        self.network = task.network(seed)
        self.loss_function = nn.CrossEntropyLoss()
        self.train_recall = MulticlassRecall(task.classes, average="macro")
        self.validation_recall = MulticlassRecall(task.classes, average="macro")

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        loss: Tensor = self.loss_function(self.network(images), labels)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int, dataloader_idx: int) -> None:
        images, labels = batch
        outputs = self.network(images)
        part = PARTS[dataloader_idx]
        recall: MulticlassRecall = getattr(self, f"{part}_recall")
        recall(outputs, labels)
        self.log(f"{part} recall", recall, on_step=False, on_epoch=True, add_dataloader_idx=False)
        self.log(f"{part} loss", self.loss_function(outputs, labels), batch_size=len(labels), add_dataloader_idx=False)

    def on_validation_epoch_end(self) -> None:
        log.info("Lightning, epoch %d: %s", self.current_epoch + 1, self.trainer.callback_metrics)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.task.optimizer(self.network)


def train(task: Task, seed: int) -> nn.Module:
    """Train with `lightning.Trainer`: no logger, no checkpoints, no progress bar; batches from a `DataLoader`."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that more workers of the data loader would be faster, and the like
        module = Study(task, seed)
        trainer = lightning.Trainer(
            max_epochs=task.epochs,
            accelerator="gpu" if task.device.startswith("cuda") else task.device,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, _batches(task.train), [_batches(task.train), _batches(task.test)])
    return module.network


def _batches(part: Part) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(part.normalized(), torch.from_numpy(part.labels)), BATCH)
