"""The arms of a study while they are trained: what was asked for, and the runs so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from zoo.registry import Registry
from zoo.spec import Spec
from zoo.statistics.losses import Counted
from zoo.statistics.ranking import blocked_means
from zoo.study.definition import Cell, Part, Study
from zoo.study.measure import counted_recall, image_step, is_lost, learned_recall, training_overlap
from zoo.train.run import Run

Train = Callable[[Sequence[Spec], Sequence[int]], list[Run]]
"""Trains specs with seeds, and returns the runs that ended."""


@attrs.define
class TrainedArm:
    """An arm while runs are added to it: those that selection is by, and those with fresh seeds, which confirm it."""

    name: str
    cell: Cell | None
    spec: Spec
    runs: dict[int, Run] = attrs.field(factory=dict)
    fresh: dict[int, Run] = attrs.field(factory=dict)

    def recalls(self, part: str, classes: int, *, fresh: bool = False) -> dict[int, float]:
        """Return the recall that each seed counts with on a part of the data; failed runs have none."""
        runs = sorted((self.fresh if fresh else self.runs).items())
        found = ((seed, counted_recall(run, part, classes)) for seed, run in runs)
        return {seed: recall for seed, recall in found if recall is not None}

    def learned(self, part: str, *, fresh: bool = False) -> dict[int, float]:
        """Return the recall of each seed whose run was neither lost nor failed, which verdicts are about."""
        runs = sorted((self.fresh if fresh else self.runs).items())
        found = ((seed, learned_recall(run, part)) for seed, run in runs)
        return {seed: recall for seed, recall in found if recall is not None}

    def lost(self, part: str) -> dict[int, bool]:
        """Return of each seed whose run ended whether it was lost; failed runs say nothing."""
        return {seed: is_lost(run, part) for seed, run in sorted(self.runs.items()) if run.status != "failed"}


class ArmTable:
    """The arms of a study and their runs so far."""

    def __init__(self, study: Study, train: Train, classes: int, registry: Registry) -> None:
        self.study, self.classes, self.registry = study, classes, registry
        self._train = train
        self.arms: dict[Cell, TrainedArm] = {}
        self.others: list[TrainedArm] = []

    @property
    def all(self) -> list[TrainedArm]:
        """Every arm: the combinations, then the bases that were widened."""
        return [*self.arms.values(), *self.others]

    @property
    def size(self) -> int:
        """How many runs there are."""
        return sum(len(arm.runs) for arm in self.all)

    def missing(self, looks: Sequence[Sequence[int]], fits: Callable[[Spec], bool]) -> int:
        """Return how many runs are lacking.

        Args:
            looks: the seeds of each look; an arm that has more than those of one is to have those of the next.
            fits: says of a spec that has no run whether it could be trained.
        """
        needed = (arm for arm in self.all if arm.runs or fits(arm.spec))
        return sum(min(len(seeds) for seeds in looks if set(arm.runs) <= set(seeds)) - len(arm.runs) for arm in needed)

    def named(self, name: str) -> TrainedArm:
        """Return the arm of this name."""
        return next(arm for arm in self.all if arm.name == name)

    def add(self, cells: Iterable[Cell], seeds: Sequence[int]) -> None:
        """Train the combinations with those of the seeds that they were not trained with."""
        for cell in cells:
            if cell not in self.arms:
                self.arms[cell] = TrainedArm(self.study.arm_name(cell), cell, self.study.spec(cell, self.registry))
        self.train([self.arms[cell] for cell in cells], seeds)

    def train(self, arms: Iterable[TrainedArm], seeds: Sequence[int]) -> None:
        """Train each of the arms with those of the seeds that it was not trained with."""
        lacking: dict[tuple[int, ...], dict[str, TrainedArm]] = {}
        for arm in arms:
            missing = tuple(seed for seed in seeds if seed not in arm.runs)
            if missing:
                lacking.setdefault(missing, {})[arm.spec.identity] = arm
        for missing, new in lacking.items():
            for run in self._train([arm.spec for arm in new.values()], missing):
                new[run.key.spec].runs[run.key.seed] = run

    def train_fresh(self, arms: Iterable[TrainedArm], seeds: Sequence[int]) -> None:
        """Train each of the arms with fresh seeds; these runs take no part in selection."""
        by_spec = {arm.spec.identity: arm for arm in arms}
        for run in self._train([arm.spec for arm in by_spec.values()], seeds):
            by_spec[run.key.spec].fresh[run.key.seed] = run

    def means(self) -> dict[Cell, float]:
        """Return each combination's mean recall on the part that is selected on; -inf where no run counts."""
        by_name = self.means_of_all()
        return {cell: by_name[arm.name] for cell, arm in self.arms.items()}

    def means_of_all(self) -> dict[str, float]:
        """Return the same of every arm, by name: `blocked_means`, as arms may have different seeds."""
        return blocked_means({arm.name: self.recalls(arm) for arm in self.all})

    def recalls(self, arm: TrainedArm, part: Part | None = None) -> dict[int, float]:
        """Return an arm's recall by seed, on the part that is selected on unless another is named."""
        return arm.recalls(part or self.study.design.select, self.classes)

    def image_step(self, part: Part | None = None) -> float:
        """Return what a single image changes in recall, on the part that is selected on unless another is named."""
        runs = (run for arm in self.all for run in arm.runs.values())
        return image_step(runs, part or self.study.design.select)

    def overlap(self, part: Part | None = None) -> float:
        """Return how much seeds share of training images, on the part that is selected on unless another is named."""
        return training_overlap(attrs.asdict(self.study.base.data), part or self.study.design.select)

    def differences(
        self,
        treatment: TrainedArm,
        control: TrainedArm,
        part: Part | None = None,
        *,
        fresh: bool = False,
        within: Sequence[int] | None = None,
    ) -> list[float]:
        """Return treatment minus control for each seed that both have learned with, of some seeds where stated."""
        part = part or self.study.design.select
        ours, theirs = (arm.learned(part, fresh=fresh) for arm in (treatment, control))
        return [ours[seed] - theirs[seed] for seed in ours if seed in theirs and (within is None or seed in within)]

    def losses(self, treatments: Iterable[TrainedArm], controls: Iterable[TrainedArm]) -> tuple[Counted, Counted]:
        """Return how many seeds have a lost run, of how many, with a change and without it."""
        sides = []
        for arms in (treatments, controls):
            by_seed: dict[int, bool] = {}
            for arm in arms:
                for seed, lost in arm.lost(self.study.design.select).items():
                    by_seed[seed] = by_seed.get(seed, False) or lost
            sides.append((sum(by_seed.values()), len(by_seed)))
        return sides[0], sides[1]
