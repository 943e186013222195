"""Registered specs, shortened, and a few random images of the form that each is made for."""

from __future__ import annotations

import os

import attrs
import torch

from zoo.data import Dataset, Split
from zoo.registry import Registry, default_registry
from zoo.spec import Spec
from zoo.spec.resolve import resolve

CLASSES = tuple("abcdefghij")
_SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28)}


def registered_specs() -> list[str]:
    """Return the names of all registered specs; without ZOO_SLOW not those of large networks, but for one."""
    names = list(default_registry().specs)
    large = [name for name in names if name.startswith("cifar/") and name != "cifar/resnet20"]
    return [name for name in names if "ZOO_SLOW" in os.environ or name not in large]


def on_made_images(name: str, registry: Registry, *, epochs: int = 2, device: str = "cpu") -> tuple[Spec, Dataset]:
    """Return a registered spec with batches of 3, and 11 images to train it on: the last batch has 2."""
    spec = resolve(name, registry=registry)
    spec = attrs.evolve(spec, training=attrs.evolve(spec.training, batch_size=3, epochs=epochs))
    generator = torch.Generator().manual_seed(0)
    channels, height, width = _SHAPES.get(spec.data.dataset.partition(":")[0], (3, 32, 32))
    shape = (channels, spec.data.resize or height, spec.data.resize or width)

    def part(count: int) -> Split:
        images = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
        return Split(images.to(device), (torch.arange(count) % len(CLASSES)).to(device))

    return spec, Dataset("made", "Made", CLASSES, part(11), part(10), None, "digest", (), False)
