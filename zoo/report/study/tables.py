"""The tables of a study as text, and its figures as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from zoo.errors import ZooError, near_misses
from zoo.report import table
from zoo.report.cells import Cell, Table
from zoo.report.plots import COSTS
from zoo.report.study import arms
from zoo.report.study.said import said
from zoo.report.study.tuning import remarks, setting_of, trial_records, trial_runs, tuning_tables
from zoo.report.text import (
    counted,
    difference,
    duration,
    lengths_in_words,
    probability,
    quantity,
    seed_span,
    with_interval,
)
from zoo.report.writing import as_data, as_parquet, joined
from zoo.spec import Spec
from zoo.statistics.results import Comparison, Effect
from zoo.statistics.verdicts import LEVEL
from zoo.study.comparable import BY_TIME
from zoo.study.definition import Study
from zoo.study.designs import is_adaptive
from zoo.study.measure import counted_recall
from zoo.study.result import Arm, StudyResult
from zoo.train.run import Run, RunKey

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_FORMAT = table.DEFAULT_FORMAT
DATA = ("parquet", "csv", "json")
"""Formats that are rows of `frame`."""
FORMATS = ("markdown", "parquet", *table.FORMATS)
_MOST_NAMED = 3


def check(format_: str) -> None:
    """Refuse a format that does not exist, before hours are spent on what it should show.

    Raises:
        ZooError: names what there is.
    """
    if format_ not in FORMATS:
        raise ZooError(
            f"no format of a study is called {format_!r}{near_misses(format_, FORMATS)} There are {', '.join(FORMATS)}."
        )


def render(result: StudyResult, *, format_: str = DEFAULT_FORMAT, width: int | None = None) -> str:
    """Return what a study found as text.

    Args:
        result: what it found.
        format_: "csv" and "json" are the rows of `frame`; "markdown" or any of tabulate's.
        width: how many characters a line may have; only the default format is fitted to it.

    Raises:
        ZooError: there is no such format, or it is no text.
    """
    check(format_)
    if format_ in DATA:
        return as_data(frame(result), format_)
    width = width if format_ == DEFAULT_FORMAT else None
    return joined(
        [
            heading(result),
            [answer(result)],
            *verdicts(result),
            *steps(result),
            *tuning_tables(result),
            sentences(result),
            arms_table(result),
            [*selection(result), *arrivals(result)],
            *ranks(result),
            *references(result),
            [*fronts(result), *result.notes],
        ],
        result.command,
        format_,
        width,
    )


def parquet(result: StudyResult) -> bytes:
    """Return the rows of `frame` as a Parquet file.

    Raises:
        ZooError: pyarrow is not installed.
    """
    return as_parquet(frame(result))


FRAME_COLUMNS = (
    "study", "design", "kind", "name", "treatment", "control", "part",
    *(field.name for field in attrs.fields(Comparison)),
    "aliases", "sentence", "setting", "recall", "margin", "data", "about",
)  # fmt: skip


def frame(result: StudyResult) -> pd.DataFrame:
    """Return what was judged, one row for each claim or effect, and those of what fresh seeds say of what was chosen.

    Columns: `study`, `design`, `kind` ("claim", "main effect", "interaction", "confirmation", "arrival"), `name`,
    `treatment` and `control` (of pairs), `part`, all figures of `zoo.study.result.Comparison`, `margin`, `data`,
    `about` (of which images, splits and seeds a verdict is), and of effects `aliases` (separated by "; ") and
    `sentence`. Differences are in recall, from -1 to 1.

    A study that tunes has more kinds of row: "claim before tuning" and, for each arm (`name`) and `setting` that it was
    tuned over, "trial" with the mean `recall` over `n` seeds, or "choice" for the one that was chosen.
    """
    import pandas as pd

    design = result.study.design
    records: list[dict[str, Any]] = [
        _record(
            "claim", claim.change, design.select, claim.comparison, treatment=claim.treatment, control=claim.control
        )
        for claim in result.claims
    ]
    records += [
        _record(
            "main effect" if len(effect.levels) == 1 else "interaction",
            effect.name,
            design.select,
            effect.comparison,
            aliases="; ".join(effect.aliases),
            sentence=effect.sentence,
        )
        for effect in result.effects
    ]
    if result.confirmation and result.chosen is not None:
        pair = {"treatment": result.chosen, "control": result.arms[0].name}
        records.append(_record("confirmation", result.chosen, "test", result.confirmation, **pair))
    records += [
        _record("arrival", each.design, design.select, each.comparison, treatment=each.arm, control=str(result.chosen))
        for each in result.found_by
        if each.comparison
    ]
    records += [
        _record("claim before tuning", c.change, design.select, c.comparison, treatment=c.treatment, control=c.control)
        for c in result.shared
    ]
    records += trial_records(result)
    data = result.study.base.data.dataset
    whole = {"study": result.study.name, "design": design.design, "margin": design.margin, "data": data}
    table_ = pd.DataFrame(
        [{**record, **whole, "about": _about(result, record["kind"])} for record in records],
        columns=list(FRAME_COLUMNS),
    )
    figures = [field.name for field in attrs.fields(Comparison)]
    numbers = ["recall", *(name for name in figures if name not in ("n", "more_seeds", "verdict", "rival"))]
    return table_.astype({**dict.fromkeys(numbers, "float64"), "n": "Int64", "more_seeds": "Int64"})


def runs(result: StudyResult, numbers: Mapping[RunKey, int]) -> pd.DataFrame:
    """Return one row for each arm and seed, for an analysis of one's own.

    Columns: `run` (its number in the ledger), `arm`, `seed`, `use` ("selection", or "confirmation" with a fresh seed),
    `status`, the level of each factor as `change.FACTOR`
    ("base" where it is not changed), the recall that counts on each part as `PART_recall` (that of chance for a
    diverged run, none for a failed one), `seconds_training`, `parameters`.

    Of a study that tunes there are the runs of `use` "tuning", by which settings were chosen, and "rival", at settings
    that were not, and a column `setting`.

    Args:
        result: what was found.
        numbers: of each run in the ledger.
    """
    from zoo.report.renamed import Frame

    parts = list(dict.fromkeys(part for arm in result.arms for part in arm.recalls))
    frame = Frame(
        [
            {
                "run": numbers.get(run.key),
                "arm": arm.name,
                "seed": run.key.seed,
                "use": use,
                **({"setting": setting_of(result.tuned, arm.name)} if result.tuned else {}),
                "status": run.status,
                **{f"change.{f.name}": arm.changes.get(f.name, "base") for f in result.study.factors},
                **{f"{part}_recall": _recall(result, arm, run, part) for part in parts},
                "seconds_training": run.seconds_training,
                "parameters": run.parameters,
            }
            for arm in result.arms
            for use, own in (("selection", arm.runs), ("confirmation", arm.fresh))
            for run in own
        ]
        + trial_runs(result, numbers)
    )
    return frame.astype({"run": "Int64"})


def _recall(result: StudyResult, arm: Arm, run: Run, part: str) -> float:
    """Return the recall that a run counts with; on test, only of those arms that it is shown of."""
    if part != result.study.design.select and part not in arm.recalls:
        return math.nan
    if run in arm.runs:
        return arm.recalls.get(part, {}).get(run.key.seed, math.nan)
    recall = counted_recall(run, part, len(result.classes))
    return math.nan if recall is None else recall


def _record(kind: str, name: str, part: str, comparison: Comparison, **more: str) -> dict[str, Any]:
    return {"kind": kind, "name": name, "part": part, **attrs.asdict(comparison), **more}


def heading(result: StudyResult) -> list[str]:
    """Say in lines what was studied, on what, and with which seeds."""
    study, design = result.study, result.study.design
    described = f": {' '.join(design.description.split())}" if design.description else ""
    conditions = list(dict.fromkeys(map(str, table.headings([run for arm in result.arms for run in arm.runs]))))
    seeds = f"{counted(len(result.seeds), 'seed')} ({seed_span(result.seeds)})"
    trained = f"{design.design} over {study.base.name}; {seeds}, {length(study.base)}"
    return [f"Study {study.name}{described}", "; ".join([trained, *conditions])]


def length(base: Spec) -> str:
    """Say how long the runs of a base are."""
    return lengths_in_words([{"training": attrs.asdict(base.training), "evaluation": attrs.asdict(base.evaluation)}])


def answer(result: StudyResult) -> str:
    """Say in one sentence which changes help, or that runs are missing."""
    if result.missing:
        there = sum(len(arm.runs) for arm in result.arms)
        least = "at least " if is_adaptive(result.study) or result.tuned else ""
        count = f"{result.missing} of {there + result.missing} runs are"
        if result.tuned:
            count = f"{counted(result.missing, 'run')} {'is' if result.missing == 1 else 'are'}"
        return (
            f"Not finished: {least}{count} missing. Until they are "
            "there, nothing is judged, chosen or ranked, and the test images are not looked at; `zoo study run` trains "
            "them, with the same options."
        )
    if result.effects:
        single = [effect for effect in result.effects if len(effect.levels) == 1]
        judged = [(effect.name, effect.comparison) for effect in single]
        pairs = [effect for effect in result.effects if len(effect.levels) > 1]
        decided = [effect for effect in pairs if effect.comparison.verdict in ("helps", "hurts")]
        lead = "On average over all combinations, of "
        tail = f" Clear interactions: {len(decided)} of {len(pairs)}." if pairs else ""
    else:
        judged = [(claim.change, claim.comparison) for claim in result.claims]
        lead, tail = "After tuning, of " if result.shared else "Of ", ""
    if not judged:
        return "Nothing was compared."
    lost = "".join(f" {name} {each.verdict}." for name, each in result.losses.items() if each.verdict != "undecided")
    return f"{said_of(judged, lead)}{tail}{lost}"


def said_of(judged: Sequence[tuple[str, Comparison]], lead: str) -> str:
    """Say in one sentence how many changes help, hurt and so on, and which; of many, the first few."""
    groups: dict[str, list[str]] = {}
    for name, comparison in judged:
        groups.setdefault(comparison.verdict, []).append(name)
    said = []
    for verdict, (one, several) in _SAID.items():
        names = groups.get(verdict, [])
        if names:
            said.append(f"{len(names)} {one if len(names) == 1 else several} ({_some(names)})")
    return f"{lead}{counted(len(judged), 'change')}, {_listed(said)}."


_SAID = {
    "helps": ("helps", "help"),
    "hurts": ("hurts", "hurt"),
    "no practical difference": ("makes no practical difference", "make no practical difference"),
    "undecided": ("is undecided", "are undecided"),
}


def _listed(texts: Sequence[str]) -> str:
    """Write a list: "a, b and c"."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def verdicts(result: StudyResult) -> list[Table]:
    """Return the verdict table of a design of pairs, or those of main effects and interactions."""
    tables = []
    if result.claims:
        controls = {claim.control for claim in result.claims}
        rows = [
            {
                "change": Cell(claim.change),
                "against": Cell(claim.control if len(controls) > 1 else ""),
                **_judged(claim.comparison, result),
            }
            for claim in result.claims
        ]
        below = [_explained(result, len(rows), "claims")]
        if len(controls) == 1:
            below.insert(0, f"Each against {controls.pop()}.")
        tables.append(_verdict_table("Verdicts after tuning" if result.shared else "Verdicts", rows, below))
    for title, size in (("Main effects", 1), ("Interactions", 2)):
        effects = [effect for effect in result.effects if len(effect.levels) == size]
        if effects:
            rows = [
                {
                    "change" if size == 1 else "changes": Cell(effect.name),
                    **_judged(effect.comparison, result, is_interaction=size > 1),
                    "also holds": Cell(_some(effect.aliases)),
                }
                for effect in effects
            ]
            below = [_EFFECTS[size]]
            if any(effect.aliases for effect in effects):
                below.append(
                    "also holds: what this design cannot tell from the effect, of up to three changes, and how much of "
                    "it is in the difference."
                )
            if not tables:
                below.append(_explained(result, len(result.effects), "effects"))
            tables.append(_verdict_table(title, rows, below))
    if tables:
        tables[-1] = attrs.evolve(tables[-1], below=(*tables[-1].below, *doubts(result), *remarks(result)))
    return [*tables, *_lost(result)]


def doubts(result: StudyResult) -> list[str]:
    """Say which verdicts a test that takes no distribution for granted does not bear out."""
    judged = [*((claim.change, claim.comparison) for claim in result.claims)]
    judged += [(effect.name, effect.comparison) for effect in result.effects]
    return [
        f"{name}: a test of signs tells otherwise whether there is a difference (p {probability(c.p_signs)}, t test "
        f"{probability(c.p)}, neither corrected). Its differences are far from normal: take more seeds."
        for name, c in judged
        if c.is_doubtful
    ]


def _lost(result: StudyResult) -> list[Table]:
    """Return the table of changes with which, or without which, runs were lost; none where there is no such."""
    rows = tuple(
        {
            "change": Cell(name),
            "verdict": Cell(each.verdict),
            "with it": Cell("{} of {}".format(*each.with_change), each.with_change[0]),
            "without": Cell("{} of {}".format(*each.without_change), each.without_change[0]),
            "p": Cell(probability(each.p_of_all), each.p_of_all),
        }
        for name, each in result.losses.items()
    )
    below = (
        "Seeds of which a run was lost: it diverged, or ended no better than chance. p: Fisher's exact test, corrected "
        "over all changes (Holm). Verdicts on recall are about runs that were not lost.",
    )
    return [Table(title="Lost runs", rows=rows, below=below)] if rows else []


_EFFECTS = {
    1: "difference: with the change less without it, on average over all combinations of the others.",
    2: "difference: how much more the first does for recall beside the second than without it.",
}


def _verdict_table(title: str, rows: Sequence[dict[str, Cell]], below: Sequence[str]) -> Table:
    return Table(
        title=title,
        rows=tuple(rows),
        below=tuple(below),
        left_out_first=("seeds", "d", "p"),
    )


def _judged(comparison: Comparison, result: StudyResult, *, is_interaction: bool = False) -> dict[str, Cell]:
    c = comparison
    kind = interval(result).replace("corrected interval", "corrected")  # the column is narrow
    return {
        "verdict": Cell(said(c, is_interaction=is_interaction)),
        f"difference [{kind}]": Cell(difference(c.difference, c.low, c.high), _number(c.difference)),
        "p": Cell(probability(c.p_of_all), c.p_of_all),
        "d": Cell("" if c.effect_size is None else f"{c.effect_size:+.2f}", c.effect_size),
        "seeds": Cell(str(c.n), c.n),
    }


def interval(result: StudyResult) -> str:
    """Name the intervals of all verdicts: "95% interval", or "corrected interval" where they are for many claims."""
    levels = {claim.comparison.level for claim in result.claims}
    levels |= {effect.comparison.level for effect in result.effects}
    return "95% interval" if levels == {LEVEL} else "corrected interval"


def _explained(result: StudyResult, count: int, what: str) -> str:
    design = result.study.design
    corrected = interval(result) == "corrected interval"
    return (
        f"difference: in {design.select} recall; p: of no difference, corrected over "
        f"{'looks' if count == 1 else f'all {count} {what} (Holm) and over looks'}; "
        f"d: mean difference over its standard deviation; no practical difference: within ±{design.margin:g}. "
        f"All verdicts are about {population(result.study)}, and seeds like {seed_span(result.seeds)}."
        + (
            " An interval is corrected as p is: it leaves out 0 where the difference is shown, and else not."
            * corrected
        )
        + (f" {BY_TIME}" if any(_by_time(run) for arm in result.arms for run in arm.runs) else "")
    )


def _about(result: StudyResult, kind: str) -> str:
    """Say of which images, splits and seeds a row of `frame` is; "" of a trial, which claims nothing."""
    if kind in ("trial", "choice"):
        return ""
    is_fresh = kind in ("confirmation", "arrival")
    seeds = f"seeds like {seed_span(result.fresh_seeds if is_fresh else result.seeds)}"
    if kind != "confirmation":
        return f"{population(result.study)}, and {seeds}"
    how = "trained on other images with each seed" if result.study.base.data.resplit else "this split"
    return f"these test images, {how}, and {seeds}"


def _by_time(run: Run) -> bool:
    return run.spec["training"].get("minutes") is not None


def population(study: Study) -> str:
    """Say of which images and splits a study's verdicts are."""
    data = study.base.data
    if data.resplit and study.design.select == "validation":
        how = ", each fold in turn" if data.resplit == "folds" else " anew with each seed"
        return (
            f"images like these, of which {data.validation:.0%} are held out{how} (corrected for the training images "
            "that seeds share)"
        )
    return "these test images, trained on other images with each seed" if data.resplit else "these images, this split"


def sentences(result: StudyResult) -> list[str]:
    """Return what the interactions mean, in words, the strongest first."""
    return [effect.sentence for effect in strongest(result) if effect.sentence]


def strongest(result: StudyResult) -> list[Effect]:
    """Return the interactions, those that are clear before the others, and the largest first."""
    pairs = [effect for effect in result.effects if len(effect.levels) == 2]
    clear = ("helps", "hurts")
    return sorted(pairs, key=lambda e: (e.comparison.verdict not in clear, -abs(e.comparison.difference)))


def steps(result: StudyResult) -> list[Table]:
    """Return the table of a search's steps; none of another design."""
    rows = tuple(
        {
            "step": Cell(str(number), number),
            "tried": Cell(step.tried),
            "upon": Cell(step.upon),
            "difference": Cell(difference(step.difference, None, None), step.difference),
            "kept": Cell("yes" if step.kept else "no"),
        }
        for number, step in enumerate(result.steps, start=1)
    )
    return [Table(title="Steps of the search", rows=rows)] if rows else []


def shown_parts(result: StudyResult, arm: Arm) -> tuple[str, ...]:
    """Return the parts on which an arm's recall is shown: test only of the base and the chosen, unless it selects."""
    select = result.study.design.select
    told = (result.arms[0].name, result.chosen)
    return ("train", select, *(["test"] if arm.name in told and select != "test" else []))


def arms_table(result: StudyResult) -> Table:
    """Return the table of everything that was trained."""
    select = result.study.design.select
    # Times are compared only of runs that are alike and shared no machine; the notes say what differs.
    time = "training" if "seconds" in result.pareto else "training (not compared)"
    rows = []
    for arm in result.arms:
        recall, half = arms.recall(arm, select)
        test, test_half = arms.recall(arm, "test") if "test" in shown_parts(result, arm) else (math.nan, None)
        seconds, parameters = arms.seconds(arm), arms.parameters(arm)
        rows.append(
            {
                "arm": Cell(arm.name + (" (chosen)" if arm.name == result.chosen else "")),
                f"{select} recall": Cell(with_interval(recall, half), _number(recall)),
                **({"test recall": Cell(with_interval(test, test_half), _number(test))} if select != "test" else {}),
                time: Cell(duration(seconds), _number(seconds)),
                "parameters": Cell("" if math.isnan(parameters) else quantity(parameters), _number(parameters)),
                "runs": Cell(str(len(arms.finished(arm))), len(arms.finished(arm))),
                "diverged": Cell(str(arm.diverged or ""), arm.diverged),
                "failed": Cell(str(arm.failed or ""), arm.failed),
            }
        )
    below = ["mean ± 95% interval over seeds; training: median over seeds."]
    if select != "test":
        below.append("Test recall is shown for the base and for what was chosen, nothing else, by fresh seeds.")
    if len({frozenset(arm.recalls.get(select, {})) for arm in result.arms}) > 1:
        below.append("Arms have different seeds: they are chosen and ranked by means that are adjusted for it.")
    below += [f"{name}: for comparison with {change}." for name, change in result.matched.items()]
    return Table(
        title="Arms", rows=tuple(rows), below=tuple(below), left_out_first=("runs", "parameters", time, "test recall")
    )


def selection(result: StudyResult) -> list[str]:
    """Say what was chosen, and what its recall on the test part confirms."""
    select, base = result.study.design.select, result.arms[0]
    if result.chosen is None:
        return []
    if result.chosen == base.name:
        lines = [f"Chosen by {select} recall: {base.name}, without a change."]
    else:
        lines = [f"Chosen by {select} recall: {result.chosen}."]
    confirmed = result.confirmation
    if confirmed:
        ours, theirs = (with_interval(*arms.recall(arm, "test")) for arm in (result.arm(result.chosen), base))
        p = probability(confirmed.p_of_all)
        p = f", p {p if p.startswith('<') else f'= {p}'}" if p else ""
        lines.append(
            f"On test, with fresh seeds ({seed_span(result.fresh_seeds)}): {ours} against {theirs} of {base.name}; "
            f"difference {difference(confirmed.difference, confirmed.low, confirmed.high)}{p}: {said(confirmed)}"
            + (", on these test images." if result.study.base.data.resplit else ".")
        )
    if result.unconfirmed:
        lines.append(
            f"Not confirmed: {counted(result.unconfirmed, 'run')} with fresh seeds ({seed_span(result.fresh_seeds)}) "
            f"{'is' if result.unconfirmed == 1 else 'are'} missing. `zoo study run` trains them, with the same "
            "options; the test images are looked at then."
        )
    return lines


def arrivals(result: StudyResult) -> list[str]:
    """Say where simpler designs would have arrived, and how that compares with what was chosen."""
    lines = []
    for each in result.found_by:
        if each.arm == result.chosen:
            lines.append(f"{each.design}: would have arrived there, too.")
            continue
        lines.append(f"{each.design}: would have arrived at {each.arm}.")
        if c := each.comparison:
            lines[-1] = (
                f"{lines[-1][:-1]}, with fresh seeds {difference(c.difference, c.low, c.high)} in "
                f"{result.study.design.select} recall to what was chosen: {_ARRIVED[c.verdict]}."
            )
    return lines


_ARRIVED = {
    "helps": "better",
    "hurts": "worse",
    "no practical difference": "no practical difference",
    "undecided": "not distinguishable",
}


def ranks(result: StudyResult) -> list[Table]:
    """Return the table of ranks; none where nothing was ranked."""
    rows = tuple(
        {
            "rank": Cell(f"{rank.rank:g}", rank.rank),
            "95% interval": Cell("" if rank.low is None else f"{rank.low} to {rank.high}", rank.low),
            "arm": Cell(rank.arm),
            "tied with": Cell(_some(rank.tied)),
        }
        for rank in result.ranks
    )
    below = (
        f"By {result.study.design.select} recall; tied: cannot be told apart with these seeds. The intervals hold all "
        "ranks together.",
    )
    return [Table(title="Ranks", rows=rows, below=below)] if rows else []


def _some(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"


def references(result: StudyResult) -> list[Table]:
    """Return the table of what publications report beside what was measured; none where there is no such arm."""
    rows = []
    for arm in result.arms:
        reference = arm.spec.reference
        if reference is None:
            continue
        cells: dict[str, Cell] = {"arm": Cell(arm.name)}
        for part, reported in (("test", reference.test_recall), ("train", reference.train_recall)):
            measured, half = arms.recall(arm, part) if part in shown_parts(result, arm) else (math.nan, None)
            cells[f"{part} reported"] = Cell(with_interval(reported, None), reported)
            cells[f"{part} measured"] = Cell(with_interval(measured, half), _number(measured))
        cells["time reported"] = Cell(reference.runtime or "")
        spec = arm.spec
        same = (reference.epochs, reference.dataset) in ((spec.training.epochs, spec.data.dataset), (None, None))
        cells["reported for"] = Cell(
            ""
            if same
            else f"{counted(reference.epochs or 0, 'epoch')} on {reference.dataset}, not for what was measured"
        )
        cells["source"] = Cell(reference.source)
        cells["note"] = Cell(reference.note or "")
        rows.append(cells)
    if not any(row["reported for"].text for row in rows):
        rows = [{title: cell for title, cell in row.items() if title != "reported for"} for row in rows]
    left_out_first = ("note", "train reported", "train measured", "source", "time reported")
    return [Table(title="Reported and measured", rows=tuple(rows), left_out_first=left_out_first)] if rows else []


def fronts(result: StudyResult) -> list[str]:
    """Say which arms no other beats in both recall and cost, or that all cost the same."""
    lines = []
    for cost, names in result.pareto.items():
        shared = arms.shared_cost(result, cost)
        if shared is not None:
            lines.append(f"All arms have {quantity(shared)} {COSTS[cost]}.")
        elif names:
            lines.append(f"Not beaten in both recall and {COSTS[cost]}: {', '.join(names)}.")
    return lines


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
