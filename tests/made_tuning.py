"""Studies that tune, carried out with a trainer that makes recalls up, so that what is found is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from made_results import _confusion, _run

from zoo.registry import Registry
from zoo.spec import Spec
from zoo.study.definition import Study, read_study
from zoo.train.run import EpochRecord, Evaluation, Run

CHANGES: dict[str, Any] = {"leaky": {"activation": "leaky_relu"}, "bn": {"network.features.*.normalization": "batch"}}
RATES = (0.01, 0.05, 0.1)
"""The second is the base's own."""
Truth = Mapping[str, tuple[float, ...]]
"""By arm, the true recall at each of the rates."""
FLAT: Truth = {"base": (0.8, 0.8, 0.8), "leaky": (0.8, 0.8, 0.8), "bn": (0.8, 0.8, 0.8)}


def tuned_study(registry: Registry, name: str = "s", **stated: Any) -> Study:
    tree = {"base": "starter/default", "changes": CHANGES, "tune": {"learning_rate": list(RATES)}, **stated}
    return read_study(tree, registry=registry, name=name)


class Trainer:
    """Makes runs whose recall is the truth of their arm at their rate, and a little of each seed's own."""

    def __init__(
        self,
        truth: Truth,
        noise: float = 0.002,
        spoil: Callable[[Run], Run | None] = lambda run: run,
        rates: Sequence[float] = RATES,
    ) -> None:
        self.truth, self.noise, self.spoil, self.rates = truth, noise, spoil, rates
        self.trained: dict[tuple[str, int], Run] = {}
        self._like: dict[str, Run] = {}

    def __call__(self, specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        runs = [self._run(spec, seed) for spec in specs for seed in seeds]
        return [run for run in runs if run is not None]

    def _run(self, spec: Spec, seed: int) -> Run | None:
        changes = set(spec.name.partition("[")[2].rstrip("]").split(", "))
        arm = next((name for name in ("leaky", "bn") if name in changes), "base")
        rate = spec.training.optimizer.values()["learning_rate"]
        recall = self.truth[arm][self.rates.index(rate)]
        own = np.random.default_rng([seed, *map(ord, spec.name)]).normal(0, self.noise)
        common = np.random.default_rng(seed).normal(0, 0.01)
        run = self.spoil(self._made(spec, seed, recall + own + common))
        if run is not None:
            self.trained[spec.name, seed] = run
        return run

    def _made(self, spec: Spec, seed: int, recall: float) -> Run:
        """Return a run of one epoch that reaches about this recall on all parts."""
        if spec.name not in self._like:
            self._like[spec.name] = _run(spec, 0, 0.5, seconds=1.0, parameters=1000)
        like = self._like[spec.name]
        generator = np.random.default_rng([seed, int(1e6 * recall)])
        parts = {part: Evaluation(_confusion(recall, 300, generator)) for part in ("train", "validation", "test")}
        epochs = (EpochRecord(1, 0.5, 1.0, 0.02, parts),)
        return attrs.evolve(like, key=attrs.evolve(like.key, seed=seed), epochs=epochs)

    def seeds_of(self, name: str) -> list[int]:
        """Return the seeds that a spec was trained with."""
        return sorted(seed for spec, seed in self.trained if spec == name)
