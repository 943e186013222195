"""A loop by hand that trains as zoo does, with nothing around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.network.builder import build
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.train.evaluating import pixel_statistics
from zoo.train.execute import dataset


class BareLoop:
    """Training of a spec that states no more than a network, an optimizer and batches in the data's own order."""

    def __init__(self, spec: Spec, registry: Registry, device: str, *, seed: int) -> None:
        self.data = dataset(spec, registry, device)
        network = build(spec, self.data.shape, len(self.data.classes), seed=seed, registry=registry)
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.optimizer: torch.optim.Optimizer = registry.make(
            spec.training.optimizer, parameters=list(self.network.parameters())
        )
        self._loss, self._size = nn.CrossEntropyLoss(), spec.training.batch_size
        self._mean, self._std = pixel_statistics(spec, self.data.train)

    def pixels(self, images: Tensor) -> Tensor:
        """Return images as the network takes them."""
        pixels = images.to(torch.float32, memory_format=torch.channels_last)
        return pixels.div_(255).sub_(self._mean).div_(self._std)

    def train_epoch(self) -> float:
        """Train for an epoch; return the mean loss."""
        self.network.train()
        part = self.data.train
        total = torch.zeros((), device=part.images.device)
        for images, labels in zip(
            torch.split(part.images, self._size), torch.split(part.labels, self._size), strict=True
        ):
            loss = self._loss(self.network(self.pixels(images)), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(labels)
        return total.item() / len(part.labels)
