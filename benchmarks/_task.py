"""What every contestant is given: the same images, the same batches, the same starting weights."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from sklearn.metrics import recall_score
from torch import Tensor, nn

from zoo.data.sources import Images, Labels
from zoo.network.builder import build
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.train.execute import dataset

BATCH = 64
LEARNING_RATE = 0.001
MOMENTUM = 0.9


@attrs.frozen(eq=False)
class Part:
    """Images (images, channels, height, width) of uint8 and labels (images,), in memory."""

    images: Images
    labels: Labels

    def normalized(self) -> Tensor:
        """Return all images as floats, normalized as the study did: (x / 255 - 0.5) / 1."""
        return torch.from_numpy(self.images.astype(np.float32)).div_(255).sub_(0.5)


@attrs.frozen(eq=False)
class Task:
    """The study's default configuration on a data set of 32x32 images."""

    spec: Spec
    registry: Registry
    device: str
    train: Part
    test: Part
    classes: int

    @classmethod
    def of(cls, spec: Spec, registry: Registry, device: str) -> Task:
        """Read the data that the spec names."""
        data = dataset(spec, registry, "cpu")
        train, test = (Part(part.images.numpy(), part.labels.numpy()) for part in (data.train, data.test))
        return cls(spec, registry, device, train, test, len(data.classes))

    @property
    def epochs(self) -> int:
        """How many epochs to train."""
        return self.spec.training.epochs

    def network(self, seed: int) -> nn.Sequential:
        """Return the study's default network, written out in plain PyTorch, with zoo's starting weights of the seed.

        It ends in a softmax, and the study's loss is the cross-entropy of that: `nn.CrossEntropyLoss` takes another.
        """
        channels, height, width = self.train.images.shape[1:]
        network = nn.Sequential(
            nn.Conv2d(channels, 24, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 96, 3), nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(384, 512), nn.ReLU(),
            nn.Linear(512, self.classes), nn.Softmax(dim=1),
        )  # fmt: skip
        start = build(self.spec, (channels, height, width), self.classes, seed=seed, registry=self.registry)
        with torch.no_grad():
            for own, theirs in zip(network.parameters(), start.parameters(), strict=True):
                own.copy_(theirs)
        return network

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return the study's optimizer."""
        return torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

    @torch.inference_mode()
    def test_recall(self, network: nn.Module) -> float:
        """Return a trained network's macro recall on the test images."""
        network.to(self.device).eval()
        batches = torch.split(self.test.normalized(), 1000)
        predicted = torch.cat([network(batch.to(self.device)).argmax(1).cpu() for batch in batches])
        return float(recall_score(self.test.labels, predicted.numpy(), average="macro", zero_division=0))
