"""What was chosen, tried again with fresh seeds.

The best of many looks better than it is, in the runs that it was chosen by. So what is said of it comes from runs that
selection never saw. Their seeds stand far from those of the selection: more seeds there leave these as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from zoo.statistics.paired import compare
from zoo.statistics.results import Comparison
from zoo.statistics.sequential import share
from zoo.study import designs
from zoo.study.arms import ArmTable, TrainedArm
from zoo.study.definition import Cell, DesignName, Study, changed
from zoo.study.designs import Outcome
from zoo.study.looks import looks_until
from zoo.study.result import Arrival
from zoo.study.rivals import RivalArms
from zoo.study.trials import Trial

FIRST_FRESH = 1000
LEAST_FRESH = 5
_DETOURS = 3
"""How many simpler designs a factorial one is compared with."""


@attrs.frozen(kw_only=True)
class Confirmation:
    """What fresh seeds say of what was chosen.

    Attributes:
        chosen: the arm that selection chose.
        seeds: the fresh ones; none where the study selects on test.
        comparison: recall on test of the chosen arm against the base; None where the base was chosen, and where runs
            are missing.
        found_by: of a factorial design, where simpler designs would have arrived.
        missing: how many of the runs with fresh seeds are not there.
        rivals: of a study that tunes, settings that the comparison had to hold against.
    """

    chosen: TrainedArm
    seeds: tuple[int, ...] = ()
    comparison: Comparison | None = None
    found_by: tuple[Arrival, ...] = ()
    missing: int = 0
    rivals: tuple[Trial, ...] = ()


def fresh_seeds(count: int) -> range:
    """Return the fresh seeds for a selection by so many: as many, and at least 5."""
    first = max(FIRST_FRESH, count)
    return range(first, first + max(LEAST_FRESH, count))


def most_confirming_runs(study: Study, count: int) -> int:
    """Return how many runs with fresh seeds there are at most, after a selection by so many seeds."""
    if study.design.select == "test":
        return 0
    others = 2 * (study.most_settings - 1) if study.tune else 0
    return len(fresh_seeds(count)) * (2 + _DETOURS * (study.design.design == "factorial") + others)


def confirm(table: ArmTable, outcome: Outcome, asked: str) -> Confirmation:
    """Choose, train what was chosen with fresh seeds, and compare it with the base on the test part.

    Where simpler designs would have arrived at other combinations than a factorial one, these are trained with the
    fresh seeds, too, and compared on the part that is selected on: only what was chosen is looked at on test.

    Args:
        table: the arms, trained.
        outcome: of the design.
        asked: with how many seeds; see `zoo.study.looks`.
    """
    study = table.study
    means = table.means()
    base, chosen = table.arms[study.base_cell], table.arms[outcome.chosen or max(means, key=lambda cell: means[cell])]
    arrivals = {}
    if study.design.design == "factorial":
        arrivals = {words: table.arms[cell] for words, cell in _arrivals(study, means).items()}
    found_by = tuple(Arrival(design=words, arm=arm.name) for words, arm in arrivals.items())
    if study.design.select == "test":
        return Confirmation(chosen=chosen, found_by=found_by)
    seeds = fresh_seeds(len(base.runs))
    arms = {arm.name: arm for arm in (base, chosen, *arrivals.values())}
    table.train_fresh(arms.values(), seeds)
    missing = sum(len(seeds) - len(arm.fresh) for arm in arms.values())
    confirmed = Confirmation(chosen=chosen, seeds=tuple(seeds), found_by=found_by, missing=missing)
    if missing:
        return confirmed
    others = {arm.name: table.differences(arm, chosen, fresh=True) for arm in arrivals.values() if arm is not chosen}
    margin = study.design.margin
    compared = compare(others, margin=margin, step=table.image_step(), overlap=table.overlap())
    differences = {"": table.differences(chosen, base, "test", fresh=True)}
    held_against, rivals = {}, RivalArms(table, "test", fresh=True)
    if study.settings and chosen is not base:
        held_against = rivals.against({"": (chosen, base)}, differences, None)
        confirmed = attrs.evolve(confirmed, missing=rivals.missing, rivals=rivals.trials)
        if rivals.missing:
            return confirmed
    return attrs.evolve(
        confirmed,
        found_by=tuple(attrs.evolve(each, comparison=compared.get(each.arm)) for each in found_by),
        comparison=None
        if chosen is base
        else compare(
            differences,
            margin=margin,
            step=table.image_step("test"),
            level=share(len(looks_until(chosen.fresh.values(), asked))),
            rivals=held_against,
        )[""],
    )


def _arrivals(study: Study, means: Mapping[Cell, float]) -> dict[str, Cell]:
    """Return where simpler designs, had they been used, would have arrived."""
    alone = study.base_cell
    for position, factor in enumerate(study.factors):
        singles = [changed(study.base_cell, position, i + 1) for i in range(len(factor.levels))]
        top = max(singles, key=lambda cell: means[cell])
        if means[top] > means[study.base_cell]:
            alone = changed(alone, position, top[position])
    searches: dict[str, DesignName] = {
        "Stepwise in the stated order": "stepwise",
        "Greedy, the best first": "forward",
    }
    found = {"One at a time, all that raised recall alone taken together": alone}
    for name, design in searches.items():
        found[name] = _arrival(attrs.evolve(study, design=attrs.evolve(study.design, design=design)), means)
    return found


def _arrival(study: Study, means: Mapping[Cell, float]) -> Cell:
    found = designs.search(study)
    next(found)
    while True:
        try:
            found.send(means)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            assert outcome.chosen is not None
            return outcome.chosen
