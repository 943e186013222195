"""skorch as a contestant."""

from __future__ import annotations

import logging

import torch
from _task import BATCH, LEARNING_RATE, MOMENTUM, Task
from skorch import NeuralNetClassifier  # type: ignore[import-untyped]
from skorch.callbacks import EpochScoring  # type: ignore[import-untyped]
from skorch.dataset import Dataset  # type: ignore[import-untyped]
from skorch.helper import predefined_split  # type: ignore[import-untyped]
from torch import nn

log = logging.getLogger("benchmarks")


def train(task: Task, seed: int) -> nn.Module:
    """Train with `NeuralNetClassifier.fit` on arrays, its own data loader, and recall by its `EpochScoring`."""
    images, test_images = task.train.normalized().numpy(), task.test.normalized().numpy()
    classifier = NeuralNetClassifier(
        task.network(seed),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__lr=LEARNING_RATE,
        optimizer__momentum=MOMENTUM,
        batch_size=BATCH,
        max_epochs=task.epochs,
        train_split=predefined_split(Dataset(test_images, task.test.labels)),
        callbacks=[
            # The predictions of the training pass are made while the network changes: those are not asked for.
            ("train_recall", EpochScoring("recall_macro", name="train_recall", on_train=True, use_caching=False)),
            ("valid_recall", EpochScoring("recall_macro", name="valid_recall")),
        ],
        callbacks__valid_acc=None,
        callbacks__print_log=None,
        device=task.device,
        warm_start=False,
        verbose=0,
    )
    classifier.fit(images, task.train.labels)
    for row in classifier.history:
        log.info("skorch: %s", {key: value for key, value in row.items() if key != "batches"})
    network: nn.Module = classifier.module_
    return network
