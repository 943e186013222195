"""What a study will cost and what it can show, before anything is spent on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations as combinations_of

import attrs
import numpy as np

from zoo.benchmark import Plan
from zoo.data import Dataset
from zoo.ledger import Ledger
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.statistics.paired import detectable
from zoo.study import designs
from zoo.study.definition import Study
from zoo.study.measure import counted_recall
from zoo.train.run import Run

_BYTES = 4


@attrs.frozen(kw_only=True, repr=False)
class StudyPlan:
    """What a study will do.

    Attributes:
        plan: of the runs that are known beforehand.
        combinations: how many are trained, at most.
        runs: how many there are, at most, those that the ledger holds included.
        is_most: a search may stop before it has tried all of them.
        seconds: estimated for what is missing, at most.
        memory: bytes that the largest run takes beside the data set, about.
        claims: how many verdicts there will be, at most.
        deviation: of paired differences, as runs in the ledger suggest; None where there are none.
        detectable: the smallest true difference that is likely (80%) to be found, by what it is about; in recall where
            `deviation` is known, else in standard deviations of a paired difference.
    """

    plan: Plan
    combinations: int
    runs: int
    is_most: bool
    seconds: float
    memory: int
    claims: int
    deviation: float | None
    detectable: dict[str, float]

    def __repr__(self) -> str:
        most = "at most " if self.is_most else ""
        return (
            f"StudyPlan({most}{self.combinations} combinations, {self.runs} runs, {len(self.plan.missing)} to train: "
            f"{most}about {self.seconds:.0f} s)"
        )


def study_plan(
    study: Study, seeds: Sequence[int], plan: Plan, *, dataset: Dataset, registry: Registry, ledger: Ledger
) -> StudyPlan:
    """Complete the plan of the runs that a design asks for first.

    Args:
        study: what is asked.
        seeds: with which.
        plan: of the combinations that `first_specs` returns, with these seeds.
        dataset: that the base is trained on.
        registry: where variants are looked up.
        ledger: whose runs suggest how much differences scatter.
    """
    combinations = designs.most_cells(study)
    known = [run for run in plan.runs if run not in plan.missing]
    by_spec: dict[str, dict[int, Run]] = {}
    for run in known:
        stored = ledger.find(run.key)
        if stored:
            by_spec.setdefault(run.key.spec, {})[run.key.seed] = stored
    found = deviation(study, by_spec, study.base.identity, len(dataset.classes))
    claims = _claims(study)
    return StudyPlan(
        plan=plan,
        combinations=combinations,
        runs=combinations * len(seeds),
        is_most=designs.is_adaptive(study),
        seconds=seconds_with(study, plan, seeds),
        memory=max((_memory(spec, dataset, registry) for spec in first_specs(study, registry)), default=0),
        claims=claims,
        deviation=found,
        detectable=_detectable(study, len(seeds), claims=claims, deviation=found or 1.0),
    )


def seconds_with(study: Study, plan: Plan, seeds: Sequence[int]) -> float:
    """Return the estimated time of what is missing with some of a plan's seeds, at most.

    What a search may come to beyond what is known beforehand is taken to be as long as the longest that is.
    """
    known = len({run.key.spec for run in plan.runs})
    further = max(designs.most_cells(study) - known, 0) * len(seeds)
    longest = max(plan.costs.values(), default=0.0)
    return plan.estimate_of(run for run in plan.missing if run.key.seed in seeds) + further * longest / plan.at_once


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
        return len(designs.aliases(study, designs.fraction(study)))
    if designs.is_factorial(study):
        return sum(levels) + sum(a * b for a, b in combinations_of(levels, 2))
    return max(designs.most_cells(study) - 1, 1) if designs.is_adaptive(study) else sum(levels)


def _detectable(study: Study, seeds: int, *, claims: int, deviation: float) -> dict[str, float]:
    """Return the smallest differences that are likely to be found, by what they are about."""
    if not designs.is_factorial(study):
        return {"a change": detectable(seeds, claims=claims, deviation=deviation)}
    # A seed's estimate of an effect scatters as a paired difference does, at most: as if the change did more with one
    # seed than with another, which means over other changes do not lessen. An interaction is a difference of two.
    found = {"a main effect": detectable(seeds, claims=claims, deviation=deviation)}
    if claims > sum(len(factor.levels) for factor in study.factors):
        found["an interaction"] = detectable(seeds, claims=claims, deviation=deviation * math.sqrt(2))
    return found


def _memory(spec: Spec, dataset: Dataset, registry: Registry) -> int:
    """Return bytes for a batch's activations and their gradients, the parameters, their gradients and momenta."""
    built = construct(spec, dataset.shape, len(dataset.classes), seed=0, registry=registry)
    activations = sum(math.prod(layer.output_shape) for layer in built.layers)
    return _BYTES * (2 * spec.training.batch_size * activations + 3 * built.parameters)


def deviation(study: Study, ledger_runs: Mapping[str, Mapping[int, Run]], base: str, classes: int) -> float | None:
    """Return the standard deviation of paired differences that earlier runs suggest; None where there are too few.

    Args:
        study: whose part is selected on.
        ledger_runs: ended runs by spec identity and seed.
        base: identity of the base.
        classes: how many there are.
    """
    part = study.design.select

    def recalls(runs: Mapping[int, Run]) -> dict[int, float]:
        found = {seed: counted_recall(run, part, classes) for seed, run in runs.items()}
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
