"""Simulated studies whose seeds have validation parts of their own: are their claims about images like these?

Recalls are real ones of quick classifiers. A population is made of scikit-learn's digits, each mirrored or not by a
coin, so that its left halves are distributed as its right halves are: a classifier of the one is as good as that of the
other on average over sets of images, and not on each set. That difference of a set is what its splits share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Self

import attrs
import numpy as np
import torch
from _made_up import Recalls, Row, judged_alone
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from zoo.data import Dataset, as_trained_on
from zoo.data.dataset import Split
from zoo.registry import default_registry
from zoo.spec import Spec
from zoo.statistics.paired import estimate
from zoo.statistics.sequential import share
from zoo.statistics.verdicts import judge
from zoo.study.arms import ArmTable, TrainedArm
from zoo.study.conduct import ArmPair, judge_pairs
from zoo.study.definition import Study, read_study
from zoo.study.rivals import RivalArms
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

Labels = NDArray[np.int64]
Classifier = Callable[[Recalls, Labels, Recalls, int], Labels]
"""Takes training images and labels, other images and a seed; returns the labels of the others."""

IMAGES, CLASSES, SIDE = 300, 10, 8
SEEDS = (5, 20)
WAYS: dict[str, dict[str, Any]] = {
    "a quarter, anew with each seed": {"resplit": True},
    "each of 4 folds in turn": {"folds": 4},
    "each of 10 folds in turn": {"folds": 10},
}


def least_squares(images: Recalls, labels: Labels, others: Recalls, seed: int) -> Labels:
    """Ridge regression on the classes."""
    known, new = (np.column_stack([each, np.ones(len(each))]) for each in (images, others))
    weights = np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T @ np.eye(CLASSES)[labels])
    found: Labels = (new @ weights).argmax(axis=1)
    return found


def random_features(images: Recalls, labels: Labels, others: Recalls, seed: int) -> Labels:
    """The same on 60 random features: a network of which the last layer is trained, that begins with a seed."""
    generator = np.random.default_rng(seed)
    weights, biases = generator.normal(0, 0.5, (images.shape[1], 60)), generator.normal(size=60)
    return least_squares(np.tanh(images @ weights + biases), labels, np.tanh(others @ weights + biases), seed)


def nearest_neighbour(images: Recalls, labels: Labels, others: Recalls, seed: int) -> Labels:
    """The label of the nearest image."""
    found: Labels = labels[cdist(others, images, "sqeuclidean").argmin(axis=1)]
    return found


CLASSIFIERS: tuple[Classifier, ...] = (least_squares, random_features, nearest_neighbour)


def splits(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Changes that do nothing for images like these; otherwise, as if seeds shared no training images."""
    for way, sets in WAYS.items():
        made = MadeSplits.read(**sets)
        keys = [(classifier, seeds) for classifier in CLASSIFIERS for seeds in SEEDS]
        false, false_otherwise = (dict.fromkeys(keys, 0) for _ in range(2))
        for _ in range(tables):
            dealt = made.dealt(drawn_images(generator), max(SEEDS))
            for classifier in CLASSIFIERS:
                made.train(classifier, dealt)
                for seeds in SEEDS:
                    said, said_otherwise = made.verdicts(seeds)
                    false[classifier, seeds] += said in ("helps", "hurts")
                    false_otherwise[classifier, seeds] += said_otherwise in ("helps", "hurts")
        for classifier, seeds in keys:
            name = classifier.__name__.replace("_", " ")
            yield Row(about=f"{IMAGES} images, {way}; {name}, no effect on average over images; {seeds} seeds",
                      figure='"helps" or "hurts"', wanted="at most 0.04",
                      otherwise=false_otherwise[classifier, seeds] / tables,
                      zoo=false[classifier, seeds] / tables)  # fmt: skip


@cache
def _digits() -> tuple[Recalls, Labels]:
    found = load_digits()
    return found.images / 16, found.target


def drawn_images(generator: np.random.Generator) -> Dataset:
    """Draw a set of images from the population."""
    images, labels = _digits()
    chosen = generator.choice(len(labels), IMAGES, replace=False)
    is_mirrored = generator.random(IMAGES)[:, None, None] < 0.5
    shown = np.where(is_mirrored, images[chosen][:, :, ::-1], images[chosen])
    part = Split(torch.from_numpy(shown[:, None]), torch.from_numpy(labels[chosen]))
    return Dataset(
        name="made up", title="made up", classes=tuple(map(str, range(CLASSES))), train=part, test=part,
        validation=None, digest="", notes=(), sorted_by_class=False,
    )  # fmt: skip


@attrs.define
class MadeSplits:
    """A study of one change: its base is a classifier that sees left halves, the change lets it see right halves."""

    study: Study
    specs: dict[str, Spec]
    runs: dict[tuple[str, int], Run] = attrs.field(factory=dict)

    @classmethod
    def read(cls, **sets: Any) -> Self:
        """Return the study with what is set besides."""
        registry = default_registry()
        tree = {"base": "starter/default", "changes": {"a": {"activation": "leaky_relu"}}, **sets}
        study = read_study(tree, registry=registry, name="made-up")
        cells = (study.base_cell, *study.single_changes())
        return cls(study, {study.arm_name(cell): study.spec(cell, registry) for cell in cells})

    def dealt(self, images: Dataset, seeds: int) -> list[Dataset]:
        """Return the images as each seed has them."""
        return [as_trained_on(images, self.study.base.data, seed) for seed in range(seeds)]

    def train(self, classifier: Classifier, dealt: Sequence[Dataset]) -> None:
        """Train both arms with each seed's images."""
        for seed, dataset in enumerate(dealt):
            assert dataset.validation
            images, others = (part.images.numpy()[:, 0] for part in (dataset.train, dataset.validation))
            labels, truth = (part.labels.numpy() for part in (dataset.train, dataset.validation))
            for spec, half in zip(self.specs.values(), (slice(SIDE // 2), slice(SIDE // 2, SIDE)), strict=True):
                known, new = (each[:, :, half].reshape(len(each), -1) for each in (images, others))
                confusion = np.zeros((CLASSES, CLASSES), int)
                np.add.at(confusion, (truth, classifier(known, labels, new, seed)), 1)
                evaluation = Evaluation(tuple(map(tuple, confusion.tolist())))
                self.runs[spec.name, seed] = Run(
                    key=RunKey(spec.identity, seed, "", "", "fp32"),
                    name=spec.name,
                    spec={"evaluation": {"measure": "final"}, "data": {"validation": spec.data.validation}},
                    dataset="made up",
                    status="finished",
                    epochs=(EpochRecord(1, 0.1, 1.0, 0.1, {"validation": evaluation}),),
                )

    def verdicts(self, seeds: int) -> tuple[str, str]:
        """Return the verdict on the change, and what it would be if seeds shared no training images."""
        table = ArmTable(self.study, self._trained, CLASSES, default_registry())
        cells = (self.study.base_cell, *self.study.single_changes())
        for cell, (name, spec) in zip(cells, self.specs.items(), strict=True):
            table.arms[cell] = TrainedArm(name, cell, spec)
        table.train(table.all, range(seeds))
        control, treatment = table.all
        pair = ArmPair("a", treatment, control)
        with judged_alone():
            (claim,), _ = judge_pairs(self.study, [pair], table, range(seeds), None, [str(seeds)], RivalArms(table))
        (plain,) = judge([estimate(table.differences(treatment, control), table.image_step())], level=share(1))
        return claim.comparison.verdict, plain.verdict

    def _trained(self, specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        return [self.runs[spec.name, seed] for spec in specs for seed in seeds]
