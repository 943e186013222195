"""What a study will cost and what it can show, before anything is spent on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs

from zoo.benchmark import Plan
from zoo.data import Dataset
from zoo.errors import SpecError, option
from zoo.ledger import Ledger
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec import Spec, canonical_json, unstructure
from zoo.statistics.paired import power_of_equivalence
from zoo.statistics.sequential import share
from zoo.study import designs
from zoo.study.confirm import most_confirming_runs
from zoo.study.definition import Study
from zoo.study.prices import Price, claims_of, detectable_of, deviations_of, overlap_of, prices
from zoo.study.scatter import deviation
from zoo.study.settings import Round, Sampler, runs_of
from zoo.study.tuning import tuned_specs, tuning_rounds
from zoo.train.run import Run

_BYTES = 4


@attrs.frozen(kw_only=True)
class TuningPlan:
    """What it takes to tune every arm, and to judge what is chosen.

    Attributes:
        plan: of the runs that settings are chosen by, as far as they are known beforehand.
        arms: how many are tuned.
        settings: how many each of them is trained at.
        rounds: how many of these with how many seeds.
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
    rounds: tuple[Round, ...]
    sampler: Sampler | None = None

    @property
    def runs(self) -> int:
        """How many runs settings are chosen by, those that the ledger holds included."""
        return self.arms * runs_of(self.rounds)

    @property
    def later(self) -> int:
        """How many of them depend on what was found in a round before."""
        return self.runs - self.arms * runs_of(self.rounds[:1])

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
        rounds=tuning_rounds(study),
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
        deviations: how much what verdicts are about varies from seed to seed, by what it is; in recall where
            `deviation` is known, else in standard deviations of a paired difference.
        detectable: the smallest true difference of which the verdict is likely (80%) to be that it helps, by what it is
            about; in recall where `deviation` is known, else in standard deviations of a paired difference.
        equivalence: how likely the verdict on a change without effect is that it makes no practical difference, by what
            it is about; empty where `deviation` is not known.
        find: the difference that `prices` say the cost of finding of; in recall where `deviation` is known, else in
            standard deviations of a paired difference.
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
    deviations: dict[str, float]
    detectable: dict[str, float]
    equivalence: dict[str, float]
    find: float
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
    find: float | None = None,
) -> StudyPlan:
    """Complete the plan of the runs that a design asks for first.

    Args:
        study: what is asked.
        seeds: with which.
        plan: of the combinations that `first_specs` returns, with these seeds; all of them can be trained.
        dataset: that the base is trained on.
        registry: where variants are looked up.
        ledger: whose runs suggest how much differences scatter.
        tuning: what tuning takes.
        confirms: whether what is chosen is confirmed with fresh seeds.
        find: a difference in recall, of which is said what it takes to find it; twice the margin when left out.

    Raises:
        SpecError: a difference that is to be found lies within the margin.
    """
    margin = study.design.margin
    if find is not None and find <= margin:
        raise SpecError(
            f"{option('find')}: expected a difference above the margin of {margin:g}, got {find:g}: one that is shown "
            "to lie within it makes no practical difference"
        )
    combinations = designs.most_cells(study)
    known = [run for run in plan.runs if run not in plan.missing]
    by_spec: dict[str, dict[int, Run]] = {}
    for run in known:
        stored = ledger.find(run.key)
        if stored:
            by_spec.setdefault(run.key.spec, {})[run.key.seed] = stored
    found = deviation(study, by_spec, registry)
    claims, deviations = claims_of(study), deviations_of(study, by_spec, registry)
    find = (find or 2 * margin) if found else 1.0
    costs = list(plan.costs.values()) or [_seconds(run) for own in by_spec.values() for run in own.values()]
    each = sum(costs) / len(costs) / plan.at_once if costs else math.nan
    return StudyPlan(
        plan=plan,
        combinations=combinations,
        runs=combinations * len(seeds),
        confirming=most_confirming_runs(study, len(seeds)) if confirms else 0,
        is_most=designs.is_adaptive(study),
        seconds=seconds_with(study, plan, seeds, tuning, confirms=confirms),
        memory=_most_memory(first_specs(study, registry), dataset, registry),
        claims=claims,
        deviation=found,
        deviations=deviations,
        detectable=detectable_of(study, len(seeds), deviations, is_known=found is not None),
        equivalence={
            what: power_of_equivalence(
                len(seeds),
                claims=claims,
                deviation=own,
                margin=margin,
                level=share(1),
                overlap=overlap_of(study),
            )
            for what, own in deviations.items()
            if found
        },
        find=find,
        prices=()
        if tuning
        else tuple(prices(study, len(seeds), each=each, find=find, stored=by_spec, registry=registry)),
        tuning=tuning,
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
    further += tuning.judged(len(seeds)) + tuning.most_added + tuning.later if tuning else 0
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


def _seconds(run: Run) -> float:
    return sum(epoch.seconds_training + epoch.seconds_evaluation for epoch in run.epochs)


def _most_memory(specs: Iterable[Spec], dataset: Dataset, registry: Registry) -> int:
    """Return the bytes that the largest network takes; of specs with one network and batch size, one is built."""
    distinct: dict[str, Spec] = {}
    for spec in specs:
        distinct.setdefault(canonical_json([unstructure(spec.network), spec.training.batch_size]), spec)
    return max((_memory(spec, dataset, registry) for spec in distinct.values()), default=0)


def _memory(spec: Spec, dataset: Dataset, registry: Registry) -> int:
    """Return bytes for a batch's activations and their gradients, the parameters, their gradients and momenta."""
    built = construct(spec, dataset.shape, len(dataset.classes), seed=0, registry=registry)
    activations = sum(math.prod(layer.output_shape) for layer in built.layers)
    return _BYTES * (2 * spec.training.batch_size * activations + 3 * built.parameters)
