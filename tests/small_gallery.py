"""A ledger of small runs with several activations, and a registry that has few variants besides."""

from __future__ import annotations

from pathlib import Path

from small_runs import PLUGIN, TREE

from zoo.lab.lab import Lab
from zoo.registry import Registry

MANY = ("architectures", "torchvision_models", "datasets", "augmentations", "trivial_augment", "recent_optimizers")
SEEDS = 4


def few() -> Registry:
    """Return a registry without the plugins that have many variants which no run needs."""
    return Registry(block=[f"zoo_plugins.{name}" for name in MANY], files=[PLUGIN])


def trained(folder: Path, registry: Registry) -> Path:
    """Train a network with three activations, and an optimizer at two rates, and return the ledger."""
    lab = Lab(folder / "zoo.sqlite", registry=registry, jobs=1, project=None)
    tree = {**TREE, "training": {**TREE["training"], "epochs": 6}}
    activations = {"activation": ["relu", "mish", "leaky_relu"]}
    optimizers = {"training.optimizer": ["sgd", {"name": "adam", "learning_rate": 0.003}, "adam"]}
    for vary in (activations, optimizers):
        lab.benchmark(tree, vary=vary, seeds=SEEDS)
    return folder / "zoo.sqlite"
