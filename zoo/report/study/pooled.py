"""What a study over several bases and data sets found, as text and as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from zoo.report import table
from zoo.report.cells import Cell, Table
from zoo.report.study import arms, tables
from zoo.report.study.said import said
from zoo.report.study.tables import DEFAULT_FORMAT
from zoo.report.text import counted, difference, probability, rough_duration, with_interval
from zoo.report.writing import as_data, as_parquet, joined
from zoo.statistics.intervals import CONFIDENCE
from zoo.statistics.paired import detectable
from zoo.statistics.pooling import LEAST_PLACES
from zoo.statistics.results import Comparison
from zoo.statistics.sequential import share
from zoo.statistics.verdicts import LEAST_SEEDS
from zoo.study.places import OWN_DATA, PooledStudy
from zoo.study.plan import StudyPlan
from zoo.study.pooled import PlaceResult, PooledClaim, PooledResult

if TYPE_CHECKING:
    import pandas as pd

UNITS: Mapping[tuple[str, ...], str] = {("bases",): "base", ("data sets",): "data set"}
"""What one more of what a claim is over is called."""


def render(result: PooledResult, *, format_: str = DEFAULT_FORMAT, width: int | None = None) -> str:
    """Return what was found as text; see `zoo.report.study.tables.render`.

    Raises:
        ZooError: there is no such format, or it is no text.
    """
    tables.check(format_)
    if format_ in tables.DATA:
        return as_data(frame(result), format_)
    width = width if format_ == DEFAULT_FORMAT else None
    return joined(
        [
            heading(result),
            [answer(result)],
            claim_lines(result),
            *in_general(result),
            *by_place(result),
            *win_table(result),
            *trained(result),
            notes(result),
        ],
        result.command,
        format_,
        width,
    )


def parquet(result: PooledResult) -> bytes:
    """Return the rows of `frame` as a Parquet file.

    Raises:
        ZooError: pyarrow is not installed.
    """
    return as_parquet(frame(result))


def frame(result: PooledResult) -> pd.DataFrame:
    """Return a row for each change in each place, one for each change in general, and those of `wins`.

    Columns: `study`, `design`, `kind` ("place", "pooled" or "win rate"), `name` of the change, `place`, `base` and
    `data` (of places), `part`, `over` (of pooled ones: "bases", "data sets", both, or neither), `places` (how many the
    mean is of), all figures of `zoo.study.result.Comparison`, `heterogeneity`, `variance_share`, `prediction_low` and
    `prediction_high`, `treatment`, `control` and `rate` (of win rates, whose `low` and `high` are theirs), `margin`,
    `population`.
    """
    import pandas as pd

    design = result.study.design
    places = {each.place.name: each.place for each in result.places}
    records: list[dict[str, Any]] = []
    for claim in result.claims:
        for name, comparison in claim.by_place.items():
            about = {"place": name, "base": places[name].base, "data": places[name].data}
            records.append({"kind": "place", "name": claim.change, **about, **attrs.asdict(comparison)})
        pooled = claim.pooled
        records.append(
            {
                "kind": "pooled",
                "name": claim.change,
                "over": " and ".join(pooled.over),
                "places": len(pooled.bases) * len(pooled.datasets),
                **attrs.asdict(claim.comparison),
                "heterogeneity": pooled.heterogeneity,
                "variance_share": pooled.share,
                "prediction_low": pooled.low,
                "prediction_high": pooled.high,
                "population": population(result, claim),
            }
        )
    records += [
        {
            "kind": "win rate",
            "treatment": each.arm,
            "control": each.other,
            "rate": each.rate,
            "low": each.low,
            "high": each.high,
            "level": 1 - CONFIDENCE,
        }
        for each in result.wins
    ]
    whole = {"study": result.study.name, "design": design.design, "margin": design.margin, "part": design.select}
    found = pd.DataFrame([{**record, **whole} for record in records], columns=list(FRAME_COLUMNS))
    numbers = [name for name in _FIGURES if name not in ("n", "more_seeds", "verdict")]
    counts = dict.fromkeys(("n", "more_seeds", "places"), "Int64")
    return found.astype({**dict.fromkeys([*numbers, *_POOLED, "rate"], "float64"), **counts})


_FIGURES = [field.name for field in attrs.fields(Comparison) if field.name != "rival"]
_POOLED = ("heterogeneity", "variance_share", "prediction_low", "prediction_high")
FRAME_COLUMNS = (
    "study", "design", "kind", "name", "place", "base", "data", "part", "over", "places", *_FIGURES, *_POOLED,
    "treatment", "control", "rate", "margin", "population",
)  # fmt: skip


def wins(result: PooledResult) -> pd.DataFrame:
    """Return a row for each two arms: `arm`, `other`, and how often the first is better: `rate`, `low`, `high`."""
    import pandas as pd

    return pd.DataFrame([attrs.asdict(each) for each in result.wins], columns=["arm", "other", "rate", "low", "high"])


def heading(result: PooledResult) -> list[str]:
    """Say in lines what was studied, where, and with how many seeds."""
    study, design = result.study, result.study.design
    described = f": {' '.join(design.description.split())}" if design.description else ""
    runs = [run for each in result.places for arm in each.result.arms for run in arm.runs]
    conditions = list(dict.fromkeys(map(str, table.headings(runs))))
    lengths = sorted({tables.length(each.place.study.base) for each in result.places})
    trained = (
        f"{design.design} over {counted(len(result.places), 'place')} ({', '.join(_names(result))}); "
        f"{counted(result.seeds, 'seed')} of its own in each, {' or '.join(lengths)}"
    )
    return [f"Study {study.name}{described}", "; ".join([trained, *conditions])]


def _names(result: PooledResult) -> list[str]:
    return [each.place.name for each in result.places]


def answer(result: PooledResult) -> str:
    """Say in one sentence what helps in general, or that runs are missing."""
    if result.missing:
        return (
            f"Not finished: {counted(result.missing, 'run')} {'is' if result.missing == 1 else 'are'} missing. Until "
            "they are there, nothing is judged; `zoo study run` trains them, with the same options."
        )
    over = {claim.pooled.over for claim in result.claims}
    if over == {()}:
        return (
            f"No claim about other bases or data sets is made: it takes {LEAST_PLACES} of either. What follows is "
            "about these."
        )
    return tables.said_of([(claim.change, claim.comparison) for claim in result.claims], "In general, of ")


def population(result: PooledResult, claim: PooledClaim) -> str:
    """Say what a change's pooled verdict is about."""
    pooled = claim.pooled
    study = result.places[0].place.study
    split = "splits of it" if study.base.data.resplit else "this split of it"
    names = ", ".join(pooled.bases)
    bases = f"bases like {names}" if "bases" in pooled.over else f"{names} and no other base"
    if pooled.datasets == (OWN_DATA,):
        data = f"each on its own data set and {split}"
    elif "data sets" in pooled.over:
        data = f"on data sets like {', '.join(pooled.datasets)}"
    else:
        data = f"on {', '.join(pooled.datasets)}, {split if len(pooled.datasets) == 1 else f'{split} each'}"
    return f"{bases}; {data}".replace("of it each", "of each")


def claim_lines(result: PooledResult) -> list[str]:
    """Say of each change where it helps and hurts, what it does in general, and of what that is said."""
    lines = [line(claim) for claim in result.claims]
    about = list(dict.fromkeys(population(result, claim) for claim in result.claims))
    if len(about) == 1:
        return [*lines, f"About {about[0]}."]
    return [f"{each} About {population(result, claim)}." for each, claim in zip(lines, result.claims, strict=True)]


def line(claim: PooledClaim) -> str:
    """Say in one line what a change does: "helps in 3 of 5, hurts in none, pooled +0.0060 [..]"."""
    helps, hurts = len(claim.places("helps")), len(claim.places("hurts"))
    c = claim.comparison
    p = "" if c.p_of_all is None else f", p = {probability(c.p_of_all)}".replace("= <", "< ")
    verdict = f": {_said(claim)}" if claim.pooled.over else ", of these places only"
    nothing = [name for name, found in claim.by_place.items() if not found.n]
    verdict += f"; without {', '.join(nothing)}, where no two runs are to be compared" if nothing else ""
    return (
        f"{claim.change}: helps in {helps or 'none'} of {len(claim.by_place)}, hurts in {hurts or 'none'}; pooled "
        f"{difference(c.difference, c.low, c.high) or 'nothing'}{p}{verdict}."
    )


def _said(claim: PooledClaim) -> str:
    more, unit = claim.comparison.more_seeds, UNITS.get(claim.pooled.over)
    further = f" (about {counted(more, f'more {unit}')} would decide)" if more and unit else ""
    return claim.comparison.verdict + further


def in_general(result: PooledResult) -> list[Table]:
    """Return the table of what changes do in general; none where no claim is about other places."""
    rows = [
        {
            "change": Cell(claim.change),
            "verdict": Cell(_said(claim)),
            "pooled [corrected]": Cell(
                difference(claim.comparison.difference, claim.comparison.low, claim.comparison.high),
                claim.comparison.difference,
            ),
            "p": Cell(probability(claim.comparison.p_of_all), claim.comparison.p_of_all),
            "differs by": _number(claim.pooled.heterogeneity, ".4f"),
            "I²": _number(claim.pooled.share, ".0%"),
            "elsewhere [95%]": _span(claim),
            "of": Cell(_size(claim)),
        }
        for claim in result.claims
        if claim.pooled.over
    ]
    below = (
        "pooled: mean difference in recall over places, all of one weight; its interval and p are Student's t over "
        f"what the claim is over, corrected over all {len(result.claims)} changes (Holm) and over looks. An interval "
        "leaves out 0 where the difference is shown, and else not.",
        "differs by: standard deviation of true differences between bases, or data sets, and I² its share of the "
        "variance of what was found; elsewhere: where the difference lies that as many seeds would find at another "
        "one like these.",
        f"no practical difference: within ±{result.study.design.margin:g}.",
    )
    return [Table(title="In general", rows=tuple(rows), below=below, left_out_first=("of", "I²", "p"))] if rows else []


def _number(value: float | None, format_: str) -> Cell:
    return Cell("" if value is None else f"{value:{format_}}", value)


def _span(claim: PooledClaim) -> Cell:
    low, high = claim.pooled.low, claim.pooled.high
    return Cell("" if low is None or high is None else f"{low:+.4f} to {high:+.4f}", low)


def _size(claim: PooledClaim) -> str:
    bases, data = len(claim.pooled.bases), len(claim.pooled.datasets)
    return counted(bases, "base") + (f" x {counted(data, 'data set')}" if data > 1 else "")


def by_place(result: PooledResult) -> list[Table]:
    """Return the table of verdicts in each place; none while nothing is judged."""
    rows = [
        {
            "change": Cell(claim.change),
            "place": Cell(name),
            "verdict": Cell(said(c)),
            "difference [corrected]": Cell(
                difference(c.difference, c.low, c.high), None if math.isnan(c.difference) else c.difference
            ),
            "p": Cell(probability(c.p_of_all), c.p_of_all),
            "seeds": Cell(str(c.n), c.n),
        }
        for claim in result.claims
        for name, c in claim.by_place.items()
    ]
    if not rows:
        return []
    study = result.places[0].place.study
    below = [
        f"difference: in {result.study.design.select} recall; its interval and p are corrected over all {len(rows)} "
        "verdicts of this table (Holm) and over looks.",
        f"Each is about its base, {tables.population(study)}, and seeds like its own.",
    ]
    return [Table(title="In each place", rows=tuple(rows), below=tuple(below), left_out_first=("seeds", "p"))]


def win_table(result: PooledResult) -> list[Table]:
    """Return who is better than whom how often; none for few arms."""
    if not result.wins:
        return []
    names = list(dict.fromkeys(each.arm for each in result.wins))
    found = {(each.arm, each.other): each for each in result.wins}
    rows = []
    for arm in names:
        cells = {"arm": Cell(arm)}
        for other in names:
            win = found.get((arm, other))
            cells[other] = Cell("" if win is None else f"{win.rate:.0%} [{win.low:.0%}, {win.high:.0%}]")
        rows.append(cells)
    below = (
        "Share of seeds with which the arm of the row is better than that of the column, a tie as half: the mean over "
        "these places. Intervals hold 95% each, not all together.",
    )
    return [Table(title="Who is better how often", rows=tuple(rows), below=below)]


def trained(result: PooledResult) -> list[Table]:
    """Return the table of the places: recall of the base, and what became of the runs."""
    select = result.study.design.select
    rows = tuple(
        {
            "place": Cell(each.place.name),
            f"{select} recall of base": _base(each, select),
            "seeds": Cell(f"{each.result.seeds[0]} to {each.result.seeds[-1]}"),
            "runs": Cell(str(sum(len(arm.runs) for arm in each.result.arms))),
            "diverged": _count(sum(arm.diverged for arm in each.result.arms)),
            "failed": _count(sum(arm.failed for arm in each.result.arms)),
        }
        for each in result.places
    )
    return [Table(title="Places", rows=rows, below=("mean ± 95% interval over seeds.",))] if rows else []


def _count(number: int) -> Cell:
    return Cell(str(number or ""), number)


def _base(each: PlaceResult, select: str) -> Cell:
    recall, half = arms.recall(each.result.arms[0], select)
    return Cell(with_interval(recall, half), None if math.isnan(recall) else recall)


def notes(result: PooledResult) -> list[str]:
    """Say what was left out, and what is to be known of each place."""
    lines = [f"Not done: {line}" for line in result.refused]
    return lines + [f"{each.place.name}: {note}" for each in result.places for note in each.result.notes]


def plan_lines(
    study: PooledStudy, found: Mapping[str, StudyPlan], refused: Sequence[str], ledger: Path, *, seeds: int
) -> list[str]:
    """Return lines on the plan of a study over several places.

    Args:
        study: what is asked.
        found: by the name of a place, its plan.
        refused: what cannot be had.
        ledger: where its runs are stored.
        seeds: how many each place has.
    """
    runs, missing = (sum(count) for count in zip(*((p.runs, len(p.plan.missing)) for p in found.values()), strict=True))
    seconds = sum(plan.seconds for plan in found.values())
    lines = [
        f"{study.name}: {study.design.design} over {counted(len(found), 'place')}, {counted(seeds, 'seed')} of its own "
        f"in each: {counted(runs, 'run')}; {runs - missing} are in {ledger} already.",
        *(
            f"  {name}: {counted(plan.combinations, 'combination')}, {len(plan.plan.missing)} to train, about "
            f"{rough_duration(plan.seconds)}"
            for name, plan in found.items()
        ),
        f"Time: about {rough_duration(seconds)}. Nothing is chosen, so that there is no confirmation on test.",
        *dict.fromkeys(f"Note: {note}." for plan in found.values() for note in plan.plan.notes),
        *dict.fromkeys(f"Left out: {reason}" for plan in found.values() for reason in plan.plan.unfit.values()),
        *(f"Not done: {why}" for why in refused),
    ]
    return [*lines, *_within_reach(study, found, seeds)]


def _within_reach(study: PooledStudy, found: Mapping[str, StudyPlan], seeds: int) -> list[str]:
    """Say what can be found in general, and in a place."""
    places = [place for place in study.places if place.name in found]
    sizes = {"bases": len({place.base for place in places}), "data sets": len({place.data for place in places})}
    over = {name: size for name, size in sizes.items() if size >= LEAST_PLACES}
    claims = max(plan.claims for plan in found.values())
    if not over:
        lines = [f"No claim is made about other bases or data sets: it takes {LEAST_PLACES} of either."]
    else:
        finds = detectable(min(over.values()), claims=claims, deviation=1.0, level=share(1))
        lines = [
            f"In general, {counted(claims, 'claim')} corrected for: {min(over.values())} {' or '.join(over)} find a "
            f"mean difference of {finds:.2g} standard deviations between them with a power of 80%; how much that is in "
            "recall is not known yet."
        ]
    if seeds < LEAST_SEEDS:
        lines.append(f"In a place no claim is made from fewer than {LEAST_SEEDS} seeds.")
    return lines
