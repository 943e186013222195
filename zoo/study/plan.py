"""What a study will cost and what it can show, before anything is spent on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations as combinations_of

import attrs
import numpy as np

from zoo.benchmark import Plan
from zoo.data import Dataset
from zoo.errors import SpecError
from zoo.ledger import Ledger
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.statistics.fractions import aliases
from zoo.statistics.paired import detectable, power_of_equivalence
from zoo.statistics.sequential import share
from zoo.study import designs
from zoo.study.conduct import FIRST_SEEDS, MOST_SEEDS
from zoo.study.confirm import most_confirming_runs
from zoo.study.definition import DesignName, Study, check
from zoo.study.measure import learned_recall, training_overlap
from zoo.study.settings import Sampler
from zoo.study.tuning import tuned_specs
from zoo.train.run import Run

_BYTES = 4


@attrs.frozen(kw_only=True)
class Price:
    """What a design would cost for the same question, all runs trained anew, and what it could show.

    Attributes:
        design: its name.
        seeds: how many; with "auto" from the first to the second.
        combinations: how many are trained.
        runs: how many; with "auto" from the first to the second.
        seconds: estimated, for each of `runs`; NaN where the plan has no run to estimate from.
        detectable: as of the plan, with the most seeds.
    """

    design: DesignName
    seeds: tuple[int, int]
    combinations: int
    runs: tuple[int, int]
    seconds: tuple[float, float]
    detectable: dict[str, float]


@attrs.frozen(kw_only=True)
class TuningPlan:
    """What it takes to tune every arm, and to judge what is chosen.

    Attributes:
        plan: of the runs that settings are chosen by.
        arms: how many are tuned.
        settings: how many each of them is trained at.
        most_settings: how many there may be in the end, where others are suggested, or an arm chooses the outermost.
        sampler: what suggests them; None where nothing does.
        seeds: those that the settings are chosen by.
        others: how many arms at settings other than the shared one there are at most.
    """

    plan: Plan
    arms: int
    settings: int
    most_settings: int
    seeds: tuple[int, ...]
    others: int
    sampler: Sampler | None = None

    @property
    def runs(self) -> int:
        """How many runs settings are chosen by, those that the ledger holds included."""
        return self.arms * self.settings * len(self.seeds)

    @property
    def most_added(self) -> int:
        """How many runs there may be besides, at settings that are added."""
        return self.arms * (self.most_settings - self.settings) * len(self.seeds)

    def judged(self, seeds: int) -> int:
        """Return how many runs verdicts from so many seeds take at most, besides those at the shared setting."""
        return self.others * seeds


def tuning_plan(study: Study, plan: Plan, seeds: Sequence[int], *, registry: Registry) -> TuningPlan | None:
    """Complete the plan of the runs that settings are chosen by; None where nothing is tuned."""
    if study.tune is None:
        return None
    specs = tuned_specs(study, registry)
    return TuningPlan(
        plan=plan,
        arms=len(specs),
        settings=len(study.tune.settings),
        most_settings=study.most_settings,
        sampler=study.design.tune_sampler,
        seeds=tuple(seeds),
        others=sum(spec.identity != study.spec(cell, registry).identity for cell, own in specs.items() for spec in own)
        + len(specs) * (study.most_settings - len(study.tune.settings)),
    )


@attrs.frozen(kw_only=True, repr=False)
class StudyPlan:
    """What a study will do.

    Attributes:
        plan: of the runs that are known beforehand.
        combinations: how many are trained, at most.
        runs: how many there are, at most, those that the ledger holds included.
        confirming: how many runs with fresh seeds confirm what was chosen, at most.
        is_most: a search may stop before it has tried all of them.
        seconds: estimated for what is missing, at most; with the confirmation.
        memory: bytes that the largest run takes beside the data set, about.
        claims: how many verdicts there will be, at most.
        deviation: of paired differences, as runs in the ledger suggest; None where there are none.
        detectable: the smallest true difference of which the verdict is likely (80%) to be that it helps, by what it is
            about; in recall where `deviation` is known, else in standard deviations of a paired difference.
        equivalence: how likely the verdict on a change without effect is that it makes no practical difference, by what
            it is about; empty where `deviation` is not known.
        prices: what other designs over the same changes would cost, to choose the cheapest that shows enough; none of a
            study that tunes.
        tuning: of a study that tunes, what that takes; `runs` are those at the shared setting.
    """

    plan: Plan
    combinations: int
    runs: int
    confirming: int
    is_most: bool
    seconds: float
    memory: int
    claims: int
    deviation: float | None
    detectable: dict[str, float]
    equivalence: dict[str, float]
    prices: tuple[Price, ...]
    tuning: TuningPlan | None = None

    def __repr__(self) -> str:
        most = "at most " if self.is_most else ""
        return (
            f"StudyPlan({most}{self.combinations} combinations, {self.runs} runs, {len(self.plan.missing)} to train: "
            f"{most}about {self.seconds:.0f} s)"
        )


def study_plan(
    study: Study,
    seeds: Sequence[int],
    plan: Plan,
    *,
    dataset: Dataset,
    registry: Registry,
    ledger: Ledger,
    tuning: TuningPlan | None = None,
    confirms: bool = True,
) -> StudyPlan:
    """Complete the plan of the runs that a design asks for first.

    Args:
        study: what is asked.
        seeds: with which.
        plan: of the combinations that `first_specs` returns, with these seeds.
        dataset: that the base is trained on.
        registry: where variants are looked up.
        ledger: whose runs suggest how much differences scatter.
        tuning: what tuning takes.
        confirms: whether what is chosen is confirmed with fresh seeds.
    """
    combinations = designs.most_cells(study)
    known = [run for run in plan.runs if run not in plan.missing]
    by_spec: dict[str, dict[int, Run]] = {}
    for run in known:
        stored = ledger.find(run.key)
        if stored:
            by_spec.setdefault(run.key.spec, {})[run.key.seed] = stored
    found = deviation(study, by_spec, study.base.identity)
    claims = _claims(study)
    return StudyPlan(
        plan=plan,
        combinations=combinations,
        runs=combinations * len(seeds),
        confirming=most_confirming_runs(study, len(seeds)) if confirms else 0,
        is_most=designs.is_adaptive(study),
        seconds=seconds_with(study, plan, seeds, tuning, confirms=confirms),
        memory=max((_memory(spec, dataset, registry) for spec in first_specs(study, registry)), default=0),
        claims=claims,
        deviation=found,
        detectable=_detectable(study, len(seeds), claims=claims, deviation=found),
        equivalence={
            what: power_of_equivalence(
                len(seeds),
                claims=claims,
                deviation=found * scale,
                margin=study.design.margin,
                level=share(1),
                overlap=_overlap(study),
            )
            for what, scale in _judged(study, claims).items()
            if found
        },
        prices=() if tuning else tuple(_prices(study, len(seeds), plan, found, registry)),
        tuning=tuning,
    )


def _prices(study: Study, seeds: int, plan: Plan, deviation: float | None, registry: Registry) -> Iterator[Price]:
    """Yield what each design costs that the changes suit, and one at a time with seeds that are added."""
    each = float(np.mean(list(plan.costs.values()))) / plan.at_once if plan.costs else math.nan
    designs_: tuple[tuple[DesignName, tuple[int, int]], ...] = (
        ("one-at-a-time", (seeds, seeds)),
        ("one-at-a-time", (FIRST_SEEDS, MOST_SEEDS)),
        ("fractional", (seeds, seeds)),
        ("factorial", (seeds, seeds)),
    )
    for name, (least, most) in designs_:
        other = attrs.evolve(study, design=attrs.evolve(study.design, design=name))
        try:
            check(other, registry)
        except SpecError:
            continue
        count = designs.most_cells(other)
        yield Price(
            design=name,
            seeds=(least, most),
            combinations=count,
            runs=(count * least, count * most),
            seconds=(count * least * each, count * most * each),
            detectable=_detectable(other, most, claims=_claims(other), deviation=deviation),
        )


def seconds_with(
    study: Study, plan: Plan, seeds: Sequence[int], tuning: TuningPlan | None = None, *, confirms: bool = True
) -> float:
    """Return the estimated time of what is missing with some of a plan's seeds, at most.

    What a search may come to beyond what is known beforehand, what confirms the choice, and verdicts after tuning are
    taken to be as long as the longest that is.
    """
    known = len({run.key.spec for run in plan.runs})
    further = max(designs.most_cells(study) - known, 0) * len(seeds)
    further += most_confirming_runs(study, len(seeds)) if confirms else 0
    costs = [*plan.costs.values(), *(tuning.plan.costs.values() if tuning else ())]
    further += tuning.judged(len(seeds)) + tuning.most_added if tuning else 0
    wanted = set(seeds)
    known_seconds = plan.estimate_of(run for run in plan.missing if run.key.seed in wanted)
    return known_seconds + (tuning.plan.estimate if tuning else 0.0) + further * max(costs, default=0.0) / plan.at_once


def first_specs(study: Study, registry: Registry) -> list[Spec]:
    """Return the specs that are known beforehand: all of a design, or what a search can try first.

    Raises:
        SpecError: a change is not valid in one of the combinations.
    """
    cells = next(designs.search(study))
    if designs.is_adaptive(study):
        cells = [study.base_cell, *study.single_changes()]
    return [study.spec(cell, registry) for cell in cells]


def _claims(study: Study) -> int:
    levels = [len(factor.levels) for factor in study.factors]
    if study.design.design == "fractional":
        return len(aliases(next(designs.search(study))))
    if designs.is_factorial(study):
        return sum(levels) + sum(a * b for a, b in combinations_of(levels, 2))
    return max(designs.most_cells(study) - 1, 1) if designs.is_adaptive(study) else sum(levels)


def _detectable(study: Study, seeds: int, *, claims: int, deviation: float | None) -> dict[str, float]:
    """Return the smallest differences that are likely to be found, by what they are about."""
    return {
        what: detectable(
            seeds,
            claims=claims,
            deviation=(deviation or 1.0) * scale,
            margin=study.design.margin if deviation else 0.0,
            level=share(1),
            overlap=_overlap(study),
        )
        for what, scale in _judged(study, claims).items()
    }


def _overlap(study: Study) -> float:
    return training_overlap(attrs.asdict(study.base.data), study.design.select)


def _judged(study: Study, claims: int) -> dict[str, float]:
    """Return what verdicts are about, with how much it scatters where 1 is a paired difference."""
    if not designs.is_factorial(study):
        return {"a change": 1.0}
    # A seed's estimate of an effect scatters as a paired difference does, at most: as if the change did more with one
    # seed than with another, which means over other changes do not lessen. An interaction is a difference of two.
    has_interactions = claims > sum(len(factor.levels) for factor in study.factors)
    return {"a main effect": 1.0, **({"an interaction": math.sqrt(2)} if has_interactions else {})}


def _memory(spec: Spec, dataset: Dataset, registry: Registry) -> int:
    """Return bytes for a batch's activations and their gradients, the parameters, their gradients and momenta."""
    built = construct(spec, dataset.shape, len(dataset.classes), seed=0, registry=registry)
    activations = sum(math.prod(layer.output_shape) for layer in built.layers)
    return _BYTES * (2 * spec.training.batch_size * activations + 3 * built.parameters)


def deviation(study: Study, ledger_runs: Mapping[str, Mapping[int, Run]], base: str) -> float | None:
    """Return the standard deviation of paired differences that earlier runs suggest; None where there are too few.

    Args:
        study: whose part is selected on.
        ledger_runs: ended runs by spec identity and seed.
        base: identity of the base.
    """
    part = study.design.select

    def recalls(runs: Mapping[int, Run]) -> dict[int, float]:
        found = {seed: learned_recall(run, part) for seed, run in runs.items()}
        return {seed: recall for seed, recall in found.items() if recall is not None}

    own = recalls(ledger_runs.get(base, {}))
    squares, degrees = 0.0, 0
    for identity, runs in ledger_runs.items():
        theirs = recalls(runs)
        differences = [theirs[seed] - own[seed] for seed in theirs if seed in own]
        if identity != base and len(differences) > 1:
            squares += float(np.var(differences, ddof=1)) * (len(differences) - 1)
            degrees += len(differences) - 1
    return math.sqrt(squares / degrees) if degrees else None
