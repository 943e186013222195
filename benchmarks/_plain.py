"""The loops that people write, and that need nothing but PyTorch, torchvision and scikit-learn."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import torch
from _task import BATCH, Part, Task
from PIL import Image
from sklearn.metrics import recall_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

log = logging.getLogger("benchmarks")
Batches = Iterable[tuple[Tensor, Tensor]]


class Pictures(Dataset[tuple[Tensor, int]]):
    """What `torchvision.datasets.CIFAR10` does: arrays in memory; for each item a PIL image and its transforms."""

    def __init__(self, part: Part) -> None:
        self.images = np.ascontiguousarray(part.images.transpose(0, 2, 3, 1))
        self.labels = part.labels.tolist()
        channels = self.images.shape[3]
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5,) * channels, (1.0,) * channels)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        array = self.images[index]
        image = Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])
        return self.transform(image), self.labels[index]


def study_loop(task: Task, seed: int) -> nn.Module:
    """Train as the study did: no workers, and three passes to evaluate, with scikit-learn's recall of each batch."""
    network = task.network(seed).to(task.device)
    optimizer, loss_function = task.optimizer(network), nn.CrossEntropyLoss()
    train_batches, test_batches = (DataLoader(Pictures(part), BATCH) for part in (task.train, task.test))
    for epoch in range(1, task.epochs + 1):
        train_loss = _train(network, train_batches, optimizer, loss_function, task.device)
        train_recall = _mean_recall_of_batches(network, train_batches, task.device)
        test_loss = _mean_loss(network, test_batches, loss_function, task.device)
        test_recall = _mean_recall_of_batches(network, test_batches, task.device)
        _log("study's loop", epoch, train_loss, train_recall, test_loss, test_recall)
    return network


def tuned_loop(task: Task, seed: int) -> nn.Module:
    """Train like `study_loop`, with two workers that stay, and one evaluation pass over each part."""
    network = task.network(seed).to(task.device)
    optimizer, loss_function = task.optimizer(network), nn.CrossEntropyLoss()
    train_batches, test_batches = (
        DataLoader(
            Pictures(part), BATCH, num_workers=2, persistent_workers=True, pin_memory=task.device.startswith("cuda")
        )
        for part in (task.train, task.test)
    )
    for epoch in range(1, task.epochs + 1):
        train_loss = _train(network, train_batches, optimizer, loss_function, task.device)
        _, train_recall = _evaluate(network, train_batches, loss_function, task.device)
        test_loss, test_recall = _evaluate(network, test_batches, loss_function, task.device)
        _log("tuned loop", epoch, train_loss, train_recall, test_loss, test_recall)
    return network


def resident_loop(task: Task, seed: int) -> nn.Module:
    """Train from all images as floats on the device, without a data loader."""
    network = task.network(seed).to(task.device)
    optimizer, loss_function = task.optimizer(network), nn.CrossEntropyLoss()
    parts = [
        (part.normalized().to(task.device), torch.from_numpy(part.labels).to(task.device))
        for part in (task.train, task.test)
    ]
    train_batches, train_evaluation, test_evaluation = (
        list(zip(torch.split(images, size), torch.split(labels, size), strict=True))
        for (images, labels), size in zip((parts[0], *parts), (BATCH, 1000, 1000), strict=True)
    )
    for epoch in range(1, task.epochs + 1):
        train_loss = _train(network, train_batches, optimizer, loss_function, task.device)
        _, train_recall = _evaluate(network, train_evaluation, loss_function, task.device)
        test_loss, test_recall = _evaluate(network, test_evaluation, loss_function, task.device)
        _log("resident loop", epoch, train_loss, train_recall, test_loss, test_recall)
    return network


def _train(
    network: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, loss_function: nn.Module, device: str
) -> float:
    """Train one epoch; return the mean loss of an image."""
    network.train()
    total, images = torch.zeros((), device=device), 0
    for inputs, labels in batches:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = loss_function(network(inputs), labels)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(labels)
        images += len(labels)
    return total.item() / images


@torch.inference_mode()
def _mean_recall_of_batches(network: nn.Module, batches: Batches, device: str) -> float:
    network.eval()
    recalls = []
    for inputs, labels in batches:
        predicted = network(inputs.to(device)).argmax(1).cpu()
        recalls.append(recall_score(labels.numpy(), predicted.numpy(), average="macro", zero_division=0))
    return float(np.mean(recalls))


@torch.inference_mode()
def _mean_loss(network: nn.Module, batches: Batches, loss_function: nn.Module, device: str) -> float:
    network.eval()
    return float(np.mean([loss_function(network(x.to(device)), y.to(device)).item() for x, y in batches]))


@torch.inference_mode()
def _evaluate(network: nn.Module, batches: Batches, loss_function: nn.Module, device: str) -> tuple[float, float]:
    """Return the mean loss and the macro recall of one pass, which reads results from the device once."""
    network.eval()
    losses, predicted, truth = [], [], []
    for inputs, labels in batches:
        labels = labels.to(device)
        outputs = network(inputs.to(device))
        losses.append(loss_function(outputs, labels) * len(labels))
        predicted.append(outputs.argmax(1))
        truth.append(labels)
    labels = torch.cat(truth)
    recall = recall_score(labels.cpu().numpy(), torch.cat(predicted).cpu().numpy(), average="macro", zero_division=0)
    return torch.stack(losses).sum().item() / len(labels), float(recall)


def _log(name: str, epoch: int, train_loss: float, train_recall: float, test_loss: float, test_recall: float) -> None:
    log.info(
        "%s, epoch %d: training loss %.4f, train recall %.4f, validation loss %.4f, validation recall %.4f",
        name, epoch, train_loss, train_recall, test_loss, test_recall,
    )  # fmt: skip
