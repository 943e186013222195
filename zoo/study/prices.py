"""What each design over the same changes would cost and show, so that the cheapest can be taken."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import attrs

from zoo.errors import SpecError
from zoo.registry import Registry
from zoo.statistics.fractions import aliases
from zoo.statistics.paired import detectable, pairs_to_find
from zoo.statistics.sequential import added_seeds_to_find, share
from zoo.study import designs
from zoo.study.conduct import FIRST_SEEDS, MOST_SEEDS, SEED_BATCH
from zoo.study.definition import DesignName, Study, check
from zoo.study.measure import training_overlap
from zoo.study.scatter import Stored, deviation, effect_deviations

MOST_TO_FIND = 500
"""Seeds beyond which a design is said not to find a difference."""


@attrs.frozen(kw_only=True)
class Effort:
    """What it takes to find a difference with a power of 80%: on average, and at most where seeds are added.

    Attributes:
        seeds, most_seeds: how many.
        runs, most_runs: how many, all trained anew.
        seconds, most_seconds: estimated; NaN where nothing is known of a run.
    """

    seeds: float
    most_seeds: int
    runs: float
    most_runs: int
    seconds: float
    most_seconds: float


@attrs.frozen(kw_only=True)
class Price:
    """What a design would cost for the same question, all runs trained anew, and what it could show.

    Attributes:
        design: its name.
        is_auto: whether seeds are added where a claim is undecided.
        seeds: how many; with "auto" from the first to the second.
        combinations: how many are trained.
        runs: how many; with "auto" from the first to the second.
        seconds: estimated, for each of `runs`; NaN where nothing is known of a run.
        detectable: as of the plan, with the most seeds.
        effort: what it takes to find the difference that is asked for, of a change alone or as a main effect; None
            where more than `MOST_TO_FIND` seeds do not find it.
    """

    design: DesignName
    is_auto: bool
    seeds: tuple[int, int]
    combinations: int
    runs: tuple[int, int]
    seconds: tuple[float, float]
    detectable: dict[str, float]
    effort: Effort | None


def prices(
    study: Study, seeds: int, *, each: float, find: float, stored: Stored, registry: Registry
) -> Iterator[Price]:
    """Yield what each design costs that the changes suit, and one at a time with seeds that are added.

    Args:
        study: what is asked.
        seeds: of designs whose number of seeds is stated.
        each: seconds that a run takes, as far as runs at once go; NaN where nothing is known.
        find: the difference that is to be found; in standard deviations of a paired difference where nothing is stored.
        stored: runs that say how much differences scatter.
        registry: where variants are looked up.
    """
    designs_: tuple[tuple[DesignName, bool], ...] = (
        ("one-at-a-time", False),
        ("one-at-a-time", True),
        ("fractional", False),
        ("factorial", False),
    )
    is_known = deviation(study, stored, registry) is not None
    for name, is_auto in designs_:
        other = attrs.evolve(study, design=attrs.evolve(study.design, design=name))
        try:
            check(other, registry)
        except SpecError:
            continue
        least, most = (FIRST_SEEDS, MOST_SEEDS) if is_auto else (seeds, seeds)
        count = designs.most_cells(other)
        deviations = deviations_of(other, stored, registry)
        yield Price(
            design=name,
            is_auto=is_auto,
            seeds=(least, most),
            combinations=count,
            runs=(count * least, count * most),
            seconds=(count * least * each, count * most * each),
            detectable=detectable_of(other, most, deviations, is_known=is_known),
            effort=_effort(other, find, next(iter(deviations.values())), is_auto=is_auto, each=each),
        )


def _effort(study: Study, find: float, scatter: float, *, is_auto: bool, each: float) -> Effort | None:
    claims, overlap = claims_of(study), overlap_of(study)
    found: tuple[float, int] | None
    if is_auto:
        found = added_seeds_to_find(
            find, claims=claims, deviation=scatter, first=FIRST_SEEDS, batch=SEED_BATCH, most=MOST_TO_FIND,
            level=share(1), overlap=overlap,
        )  # fmt: skip
    else:
        pairs = pairs_to_find(
            find, claims=claims, deviation=scatter, level=share(1), overlap=overlap, most=MOST_TO_FIND
        )
        found = pairs and (pairs, pairs)  # type: ignore[assignment]
    if not found:
        return None
    (seeds, most), count = found, designs.most_cells(study)
    return Effort(
        seeds=seeds, most_seeds=most, runs=count * seeds, most_runs=count * most,
        seconds=count * seeds * each, most_seconds=count * most * each,
    )  # fmt: skip


def claims_of(study: Study) -> int:
    """Return how many verdicts a study has, at most."""
    levels = [len(factor.levels) for factor in study.factors]
    if study.design.design == "fractional":
        return len(aliases(next(designs.search(study))))
    if designs.is_factorial(study):
        return sum(levels) + sum(a * b for a, b in combinations(levels, 2))
    return max(designs.most_cells(study) - 1, 1) if designs.is_adaptive(study) else sum(levels)


def deviations_of(study: Study, stored: Stored, registry: Registry) -> dict[str, float]:
    """Return how much what verdicts are about varies from seed to seed, by what it is.

    In standard deviations of a paired difference where nothing is stored that says how large that is.
    """
    pairs = deviation(study, stored, registry) or 1.0
    if not designs.is_factorial(study):
        return {"a change": pairs}
    # A seed's estimate of an effect scatters as a paired difference does, at most: as if the change did more with one
    # seed than with another, which means over other changes do not lessen. An interaction is a difference of two.
    expected = {"a main effect": pairs}
    if claims_of(study) > sum(len(factor.levels) for factor in study.factors):
        expected["an interaction"] = pairs * math.sqrt(2)
    known = effect_deviations(study, stored, registry)
    return {what: known.get(what, own) for what, own in expected.items()}


def detectable_of(study: Study, seeds: int, deviations: dict[str, float], *, is_known: bool) -> dict[str, float]:
    """Return the smallest differences that are likely to be found, by what they are about."""
    return {
        what: detectable(
            seeds,
            claims=claims_of(study),
            deviation=own,
            margin=study.design.margin if is_known else 0.0,
            level=share(1),
            overlap=overlap_of(study),
        )
        for what, own in deviations.items()
    }


def overlap_of(study: Study) -> float:
    """Return how much seeds share of training images."""
    return training_overlap(attrs.asdict(study.base.data), study.design.select)
