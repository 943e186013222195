"""Small specs on the images of the misbehaving plugin, which train in a few hundredths of a second."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.execution.contract import Work
from zoo.registry import Registry
from zoo.registry.options import Choice
from zoo.registry.source import source_digest
from zoo.spec import Spec, paths, structure, unstructure
from zoo.spec.reading import read_choice
from zoo.train.execute import dataset
from zoo.train.run import Run, RunKey

PLUGIN = Path(__file__).with_name("misbehaving_plugin.py")
TREE = {
    "network": {
        "features": [{"filters": 3, "filter": {"name": "conv", "size": 3, "padding": "same"}, "pooling": "max"}],
        "classifier": [{"units": 5}],
    },
    "training": {
        "epochs": 2,
        "batch_size": 5,
        "shuffle": False,
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    },
    "data": {"dataset": "squares"},
}
DRAWING = {
    "network.features.0.dropout": "dropout",
    "network.classifier.0.dropout": {"name": "dropout", "always_on": True},
    "training.augmentation": ["horizontal_flip"],
}
"""Changes that make a run draw random numbers for everything that there is to draw for."""


def small(registry: Registry, name: str = "small", sets: dict[str, object] | None = None) -> Spec:
    """Return a spec of one convolution and one dense layer, with `sets` set; it may have some of them already."""
    spec = structure(TREE, name, registry)
    for path, value in (sets or {}).items():
        with suppress(paths.NoChangeError):
            spec = paths.apply(spec, {path: value}, registry)
    return spec


def planned_run(spec: Spec, registry: Registry, seed: int = 0) -> Run:
    """Return a run as it is planned."""
    digest = dataset(spec, registry, "cpu").digest
    key = RunKey(spec.identity, seed, digest, source_digest(spec, registry), "fp32")
    return Run(key, spec.name, unstructure(spec), spec.data.dataset)


def work(runs: Iterable[Run], registry: Registry, **others: Any) -> Work:
    """Return what an executor is given to train the runs."""
    return Work(runs=iter(runs), registry=registry, **others)


def figures(epochs: object) -> list[object]:
    """Return all of the epochs' records but the times."""
    return [(epoch.epoch, epoch.loss, epoch.evaluations) for epoch in epochs]  # type: ignore[attr-defined]


def executor(name: str, registry: Registry) -> Choice:
    """Return an executor with its default options."""
    return read_choice("executor", name, "executor", registry)
