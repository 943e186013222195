"""Simulated studies that choose, and studies that tune."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
from _made_up import BLOCK, BY_NAME, CHANGES, CLASSES, OWN, Recalls, Row, evaluation, judged_alone

from zoo.registry import Registry, default_registry
from zoo.spec import Spec
from zoo.statistics.paired import compare, estimate
from zoo.statistics.sequential import share
from zoo.statistics.verdicts import ROUNDING, judge
from zoo.study.arms import ArmTable, TrainedArm
from zoo.study.conduct import ArmPair, judge_pairs
from zoo.study.confirm import confirm
from zoo.study.definition import Cell, Study, read_study
from zoo.study.designs import Outcome, search
from zoo.study.rivals import RivalArms
from zoo.study.settings import Sampler, Setting
from zoo.study.tuning import tune_further, tuned_specs, tuning_seeds
from zoo.train.run import EpochRecord, Run, RunKey


def confirmations(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Arms that are all alike: what is said on test of the one that was chosen, and of where simpler designs arrive."""
    changes = {name: {path: value} for name, path, value in CHANGES}
    for design, count, seeds in (("one-at-a-time", 4, 3), ("one-at-a-time", 4, 5), ("factorial", 4, 5)):
        stated = {"base": "starter/default", "design": design, "changes": dict(list(changes.items())[:count])}
        study = read_study(stated, registry=default_registry(), name="made-up")
        helps = reused = facts = told = 0
        bias, reused_bias = [], []
        for _ in range(tables):
            made = MadeArms(study, generator, range(seeds))
            confirmed = confirm(made.table, Outcome(), str(seeds))
            base, chosen = made.table.arms[study.base_cell], confirmed.chosen
            if confirmed.comparison:
                before = compare({"": made.table.differences(chosen, base, "test")}, step=made.table.image_step())[""]
                reused += before.verdict == "helps"
                helps += confirmed.comparison.verdict == "helps"
                bias.append(confirmed.comparison.difference)
                reused_bias.append(before.difference)
            facts += any(each.arm != chosen.name for each in confirmed.found_by)
            told += any(
                each.comparison and each.comparison.verdict in ("helps", "hurts") for each in confirmed.found_by
            )
        about = f"{len(made.table.arms)} equal arms, {design}, {seeds} seeds"
        yield Row(about=f"what was chosen of {about}", figure='"helps" on test', wanted="at most 0.05",
                  otherwise=reused / tables, zoo=helps / tables)  # fmt: skip
        yield Row(about=f"what was chosen of {about}", figure="mean difference on test", wanted="0",
                  otherwise=float(np.mean(reused_bias)), zoo=float(np.mean(bias)))  # fmt: skip
        if design == "factorial":
            yield Row(about=f"simpler designs in place of {about}", figure="said to find less, or more",
                      wanted="at most 0.05", otherwise=facts / tables, zoo=told / tables)  # fmt: skip


class MadeArms:
    """The arms of a study, trained by making recalls up: all alike, with the chance of their seeds.

    What chance does to a run shows on validation and on test alike, and on each a little besides.
    """

    def __init__(self, study: Study, generator: np.random.Generator, seeds: range) -> None:
        self._generator, self._blocks = generator, generator.normal(0, BLOCK, size=4000)
        self.table = ArmTable(study, self._train, CLASSES, default_registry())
        for cell in next(search(study)):
            name = study.arm_name(cell)
            if name not in BY_NAME:
                BY_NAME[name] = study.spec(cell, default_registry())
            self.table.arms[cell] = TrainedArm(name, cell, BY_NAME[name])
        self.table.train(self.table.all, seeds)

    def _train(self, specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        return [self._run(spec, seed) for spec in specs for seed in seeds]

    def _run(self, spec: Spec, seed: int) -> Run:
        recall = 0.9 + self._blocks[seed] + self._generator.normal(0, OWN)
        parts = {part: recall + self._generator.normal(0, OWN / 3) for part in ("train", "validation", "test")}
        return Run(
            key=RunKey(spec.identity, seed, "", "", "fp32"),
            name=spec.name,
            spec={"evaluation": {"measure": "final"}, "data": {"validation": 0.25}},
            dataset="made up",
            status="finished",
            epochs=(EpochRecord(1, 0.1, 1.0, 0.1, {part: evaluation(value) for part, value in parts.items()}),),
        )


def tuning(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Changes and a base, each judged at the setting that tuning chose; "otherwise" by what was chosen alone."""
    for case in TUNED:
        for seeds in (5, 20):
            yield tuned_row(case, seeds, tables, generator)


def widening(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """The same over two settings, where the best of the base lies beyond them; "otherwise" nothing is added."""
    for case in BEYOND:
        for seeds in (5, 20):
            yield from widened_rows(case, seeds, tables, generator)


def halving(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Changes and a base, tuned over six settings that are halved; "otherwise" all are trained with all seeds."""
    for case in HALVED:
        yield from halved_rows(case, tables, generator)


def sampling(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Changes and a base, tuned over settings of which most are suggested; "otherwise" by what was chosen alone."""
    yield from _sampling("optuna:tpe", tables, generator)


def sampling_gp(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """The same by Gaussian processes, each suggestion of which takes about a fifth of a second."""
    yield from _sampling("optuna:gp", tables, generator)


def _sampling(sampler: Sampler, tables: int, generator: np.random.Generator) -> Iterator[Row]:
    for name, best in SAMPLED.items():
        for seeds in (5, 20):
            yield sampled_row(name, best, seeds, tables, generator, sampler)


SAMPLED = {
    "without effect": (0.03, 0.03, 0.03),
    "that only move the best setting": (0.1, 0.005, 0.005),
}
"""The best learning rates of the base and of both changes, at which all are alike."""


def sampled_row(
    name: str,
    best: Sequence[float],
    seeds: int,
    tables: int,
    generator: np.random.Generator,
    sampler: Sampler = "optuna:tpe",
) -> Row:
    """Simulate studies that tune by suggestions, and count those with a claim that is false of the settings tried."""
    made = MadeSampling(best, generator, budget=9, sampler=sampler)
    judged = [made.judged(seeds) for _ in range(tables)]
    found, alone = (np.mean([any(map(_is_false, each[side], each[2])) for each in judged]) for side in (0, 1))
    return Row(
        about=f"2 changes {name}; 9 settings, 6 of them suggested by {sampler}; 3 tuning seeds, {seeds} seeds",
        figure='any "helps" or "hurts" that is false of the settings tried',
        wanted="at most 0.05",
        otherwise=float(alone),
        zoo=float(found),
    )


@attrs.frozen
class TunedCase:
    """Two changes that are tuned, and the true recalls of base and changes at each setting, less 0.9."""

    name: str
    base: tuple[float, ...]
    change: tuple[float, ...]
    verdicts: tuple[str, ...] = ("helps", "hurts")
    wanted: str = "at most 0.05"


_CLOSE, _APART, _MOVED = (0.0, -0.003, -0.006), (0.0, -0.006, -0.012), (0.0, -0.004, -0.012)


TUNED = (
    TunedCase("without effect, settings all alike", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    TunedCase("without effect, settings 0.003 apart", _CLOSE, _CLOSE),
    TunedCase("without effect, settings 0.006 apart", _APART, _APART),
    TunedCase("that only move the best setting", _MOVED, _MOVED[::-1]),
    TunedCase(
        "that gain the margin, settings 0.003 apart", _CLOSE, (0.005, 0.002, -0.001), ("no practical difference",)
    ),
    TunedCase("that move the best setting and gain 0.012", _MOVED, (0.0, 0.008, 0.012), wanted="often"),
)


WIDE = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)
_RISING, _WITHIN = (-0.030, -0.024, -0.018, -0.012, -0.006, 0.0), (-0.012, -0.006, 0.0, -0.006, -0.012, -0.018)
BEYOND = (
    TunedCase("without effect, the best setting beyond the largest", _RISING, _RISING),
    TunedCase("that only move the best setting from beyond the largest to the smallest", _RISING, _WITHIN),
)


HALVED = (
    TunedCase("without effect", _WITHIN, _WITHIN),
    TunedCase("that only move the best setting", _RISING, _WITHIN),
)


def widened_rows(case: TunedCase, seeds: int, tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Simulate studies that tune over two settings of `WIDE`, with others added up to twice, and with none added."""
    truth = np.array([case.base, case.change, case.change])
    said, false = [], []
    for widen in (2, 0):
        made = MadeTuning(truth, generator, rates=WIDE, stated=(0.01, 0.02), widen=widen)
        judged = [made.judged(seeds) for _ in range(tables)]
        said.append(np.mean([any(v in ("helps", "hurts") for v in verdicts) for verdicts, _, _ in judged]))
        false.append(np.mean([any(map(_is_false, verdicts, tried)) for verdicts, _, tried in judged]))
    about = f"2 changes {case.name}; 3 tuning seeds, {seeds} seeds, widened up to 2 times"
    for figure, wanted, (zoo, otherwise) in (
        ('any "helps" or "hurts" that is false of the settings tried', "at most 0.05", false),
        ('any "helps" or "hurts" of sides that are alike at their best', "seldom", said),
    ):
        yield Row(about=about, figure=figure, wanted=wanted, otherwise=float(otherwise), zoo=float(zoo))


def halved_rows(case: TunedCase, tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Simulate studies that tune with halving and without, by four tuning seeds and twenty others."""
    truth = np.array([case.base, case.change, case.change])
    false, lost, runs = [], [], []
    for is_halving in (True, False):
        made = MadeTuning(truth, generator, rates=WIDE, tune_seeds=4, is_halving=is_halving)
        judged = [made.judged(20) for _ in range(tables)]
        false.append(float(np.mean([any(map(_is_false, verdicts, tried)) for verdicts, _, tried in judged])))
        lost.append(made.lost / tables)
        runs.append(made.runs_of_each)
    about = f"2 changes {case.name}; 6 settings, 4 tuning seeds, {runs[0]} in place of {runs[1]} runs for each arm"
    yield Row(about=about, figure='any "helps" or "hurts" that is false of the settings tried, 20 seeds',
              wanted="at most 0.05", otherwise=false[1], zoo=false[0])  # fmt: skip
    yield Row(about=about, figure="recall that arms lose by not being at their best, on average", wanted="little",
              otherwise=lost[1], zoo=lost[0])  # fmt: skip


def _is_false(verdict: str, difference: float) -> bool:
    return (verdict == "helps" and difference < ROUNDING) or (verdict == "hurts" and difference > -ROUNDING)


def tuned_row(case: TunedCase, seeds: int, tables: int, generator: np.random.Generator) -> Row:
    """Simulate studies that tune, and count those in which a verdict of some kind is passed."""
    made = MadeTuning(np.array([case.base, case.change, case.change]), generator)
    judged = [made.judged(seeds) for _ in range(tables)]
    found, alone = (np.mean([any(v in case.verdicts for v in each[side]) for each in judged]) for side in (0, 1))
    return Row(
        about=f"2 changes {case.name}; 3 tuning seeds, {seeds} seeds",
        figure="any " + " or ".join(f'"{verdict}"' for verdict in case.verdicts),
        wanted=case.wanted,
        otherwise=float(alone),
        zoo=float(found),
    )


class MadeTuning:
    """A study that is tuned by made-up runs, of arms whose true recalls at each setting are given."""

    def __init__(
        self,
        truth: Recalls,
        generator: np.random.Generator,
        *,
        rates: Sequence[float] = (0.01, 0.02, 0.04),
        stated: Sequence[float] | None = None,
        widen: int = 0,
        tune_seeds: int = 3,
        is_halving: bool = False,
    ) -> None:
        self._generator, registry = generator, default_registry()
        self.lost, self.runs_of_each = 0.0, 0
        tree = {
            "base": "starter/default",
            "changes": {name: {path: value} for name, path, value in CHANGES[:2]},
            "tune": {"learning_rate": list(stated or rates)},
            "tune_widen": widen,
            "tune_seeds": tune_seeds,
            "tune_halving": is_halving,
        }
        read = read_study(tree, registry=registry, name="made-up")
        assert read.tune
        settings = tuple(KnownSetting(setting.values) for setting in read.tune.settings)
        self.study = KnownStudy(
            name=read.name, base=read.base, factors=read.factors, design=read.design,
            tune=attrs.evolve(read.tune, settings=settings),
        )  # fmt: skip
        cells = (self.study.base_cell, *self.study.single_changes())
        self._truth = {
            KnownSetting({"learning_rate": rate}).of(self.study.spec(cell, registry), registry).identity: mean
            for cell, means in zip(cells, truth.tolist(), strict=True)
            for rate, mean in zip(rates, means, strict=True)
        }

    def judged(self, seeds: int) -> tuple[list[str], list[str], list[float]]:
        """Judge both changes after tuning.

        Returns:
            The verdicts, those by what was chosen alone, and the true differences at the best of the settings tried.
        """
        self._blocks: dict[int, float] = {}
        registry = default_registry()
        study, tuned, settings = tune_further(
            self.study, self._train, seeds=tuning_seeds(self.study, range(seeds)), classes=CLASSES, registry=registry
        )
        table = ArmTable(attrs.evolve(study, settings=settings), self._train, CLASSES, registry)
        table.add([study.base_cell, *study.single_changes()], range(seeds))
        base, *changed = table.all
        pairs = [ArmPair(arm.name, arm, base) for arm in changed]
        with judged_alone():
            claims, _ = judge_pairs(table.study, pairs, table, range(seeds), None, [str(seeds)], RivalArms(table))
        step = table.image_step()
        best = [max(map(self._mean, own)) for own in tuned_specs(study, registry).values()]
        self.lost += float(np.mean([most - self._mean(arm.spec) for most, arm in zip(best, table.all, strict=True)]))
        self.runs_of_each = tuned.runs_of_each
        alone = judge([estimate(table.differences(arm, base), step) for arm in changed], level=share(1))
        return (
            [claim.comparison.verdict for claim in claims],
            [each.verdict for each in alone],
            [mean - best[0] for mean in best[1:]],
        )

    def _mean(self, spec: Spec) -> float:
        """Return a spec's true recall, less 0.9."""
        return self._truth[spec.identity]

    def _train(self, specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        return [self._run(spec, identity, seed) for spec in specs for identity in [spec.identity] for seed in seeds]

    def _run(self, spec: Spec, identity: str, seed: int) -> Run:
        block = self._blocks.setdefault(seed, self._generator.normal(0, BLOCK))
        recall = 0.9 + self._mean(spec) + block + self._generator.normal(0, OWN)
        return Run(
            key=RunKey(identity, seed, "", "", "fp32"),
            name=spec.name,
            spec={"evaluation": {"measure": "final"}, "data": {"validation": 0.25}},
            dataset="made up",
            status="finished",
            epochs=(EpochRecord(1, 0.1, 1.0, 0.1, {"validation": evaluation(recall)}),),
        )


class MadeSampling(MadeTuning):
    """The same over a range of learning rates, of which most are suggested; recall falls off beside each arm's best."""

    def __init__(
        self, best: Sequence[float], generator: np.random.Generator, *, budget: int, sampler: Sampler = "optuna:tpe"
    ) -> None:
        self._generator, registry = generator, default_registry()
        self.lost, self.runs_of_each = 0.0, 0
        tree = {
            "base": "starter/default",
            "changes": {name: {path: value} for name, path, value in CHANGES[:2]},
            "tune": {"learning_rate": {"low": 0.001, "high": 0.3, "log": True}},
            "tune_budget": budget,
            "tune_sampler": sampler,
        }
        read = read_study(tree, registry=registry, name="made-up")
        self.study = KnownStudy(
            name=read.name, base=read.base, factors=read.factors, design=read.design, tune=read.tune
        )  # fmt: skip
        self._best = dict(zip(("base", *(name for name, _, _ in CHANGES[:2])), best, strict=True))

    def _mean(self, spec: Spec) -> float:
        arm = spec.name.partition("[")[2][:1]
        rate = spec.training.optimizer.values()["learning_rate"]
        return -0.015 * abs(math.log10(rate / self._best[arm if arm in self._best else "base"]))


@attrs.frozen
class KnownSetting(Setting):
    """A setting that looks up what it has resolved before."""

    def of(self, spec: Spec, registry: Registry) -> Spec:
        """Return a spec at this setting."""
        key = f"{spec.name} with {self.label}"
        if key not in BY_NAME:
            BY_NAME[key] = super().of(spec, registry)
        return BY_NAME[key]


@attrs.frozen(kw_only=True, repr=False)
class KnownStudy(Study):
    """A study that looks up what it has resolved before."""

    def _changed(self, cell: Cell, registry: Registry) -> Spec:
        name = self.arm_name(cell)
        if name not in BY_NAME:
            BY_NAME[name] = super()._changed(cell, registry)
        return BY_NAME[name]
