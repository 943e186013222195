"""A study as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from zoo.report.drawing import Plot, file_name, pictures
from zoo.report.methods import of_study
from zoo.report.page import provenance as of_runs
from zoo.report.page import rendered
from zoo.report.plots import COSTS, MOST_CLASSES, rows_height
from zoo.report.study import arms, plots, tables
from zoo.report.study.tuning import tuning_tables
from zoo.report.text import seed_span
from zoo.statistics.results import Effect
from zoo.study.comparable import held_out
from zoo.study.result import StudyResult

_MOST_PAIRS = 4
"""Interactions that have a plot of their own."""


def page(result: StudyResult) -> str:
    """Return a study's HTML page.

    It holds the answer, the verdicts, plots, reference figures, change proofs, provenance and the command that repeats
    it. Its content security policy forbids everything from elsewhere.
    """
    title, *below = tables.heading(result)
    return rendered(
        title=title,
        about=below,
        answer=tables.answer(result),
        selection=[*tables.selection(result), *tables.arrivals(result)],
        verdicts=tables.verdicts(result),
        sentences=tables.sentences(result),
        searched=[*tables.steps(result), *tuning_tables(result)],
        sections=pictures(sections(result)),
        arms=[tables.arms_table(result), *tables.ranks(result)],
        fronts=tables.fronts(result),
        references=tables.references(result),
        proofs={change: "\n".join(lines) for change, lines in result.proofs.items()},
        methods=of_study(result),
        provenance=provenance(result),
        notes=result.notes,
        command=result.command,
    )


def provenance(result: StudyResult) -> dict[str, str]:
    """Return what the figures depend on besides the specs, each with all values that occur."""
    data = result.study.base.data
    return of_runs(
        [run for arm in result.arms for run in arm.runs],
        held_out_for_validation=[
            held_out(attrs.asdict(data)).replace("%", "% of the training set", 1) if data.validation else ""
        ],
        seeds=[seed_span(result.seeds)],
        fresh_seeds=[seed_span(result.fresh_seeds)],
        seeds_of_tuning=[seed_span(result.tuned.seeds) if result.tuned else ""],
    )


def sections(result: StudyResult) -> dict[str, list[Plot]]:
    """Return all plots, by the heading that they stand under."""
    select = result.study.design.select
    judged = min(len(result.claims) + len(result.effects), plots.MOST_EFFECTS)
    levels = sum(len(factor.levels) for factor in result.study.factors)
    found: dict[str, list[Plot]] = {}
    if judged:
        found["What each change does"] = [
            Plot(
                "effects",
                lambda ax: plots.effect_plot(result, ax),
                rows_height(judged),
                f"Difference in {select} recall with its {tables.interval(result)}. "
                f"The band is the margin of ±{result.study.design.margin:g}; filled marks help or hurt."
                + _of(judged, len(result.claims) + len(result.effects), "that differ most"),
                tables.answer(result),
            )
        ]
    if result.tuned and result.tuned.trials:
        found["Recall at each setting"] = [
            Plot(
                "settings",
                lambda ax: plots.sensitivity_plot(result, ax),
                3.2,
                f"{select.capitalize()} recall at each setting that was tuned over: mean and 95% interval over the "
                "seeds of tuning; filled: chosen.",
                "; ".join(f"{t.arm} with {t.setting.label}: {t.mean:.4f}" for t in result.tuned.trials),
            )
        ]
    pairs = _by_factors(tables.strongest(result))
    if pairs:
        found["Interactions"] = [
            Plot(
                "interactions",
                lambda ax: plots.interaction_matrix(result, ax),
                1.4 + 0.45 * levels,
                "Main effects on the diagonal; off it, how two changes alter each other's effect. Bold: clear."
                + _of(min(len(pairs), _MOST_PAIRS), len(pairs), "that are strongest, drawn below", "interactions"),
                " ".join(tables.sentences(result)) or "No interaction is clear.",
            ),
            *(_pair(result, *effect.levels) for effect in pairs[:_MOST_PAIRS]),
        ]
    featured = arms.featured(result)
    found["Learning curves"] = [
        Plot(
            "learning-curves",
            lambda ax: plots.learning_curves(result, ax=ax),
            3.2,
            f"{select.capitalize()} recall after each epoch: mean over finished runs, band: 95% interval over seeds."
            + _of(len(featured), len(result.arms), "the base, what was chosen, and the best of the others", "arms"),
            _recalls(result, (arm.name for arm in featured)),
        )
    ]
    found["Recall against cost"] = [
        Plot(
            f"recall-against-{cost}",
            lambda ax, cost=cost: plots.recall_against(result, cost, ax),  # type: ignore[misc]
            3.2,
            f"{select.capitalize()} recall, mean over seeds, against {words}; the line joins those not beaten in both.",
            f"Not beaten: {', '.join(result.pareto[cost]) or 'none'}.",
        )
        for cost, words in COSTS.items()
        if cost in result.pareto and arms.shared_cost(result, cost) is None
    ]
    base = result.arms[0].name
    shown = result.chosen or base
    if shown == base:
        shown = next((rank.arm for rank in result.ranks if rank.arm != base and rank.arm in result.per_class), base)
    if shown in result.per_class and shown != base:
        figures = zip(result.classes, result.per_class[shown], strict=True)
        found["Recall by class"] = [
            Plot(
                "recall-by-class",
                lambda ax: plots.class_recall(result, [shown], ax),
                rows_height(min(len(result.classes), MOST_CLASSES)),
                f"Mean difference in {select} recall of each class, {shown} less {base}."
                + _of(min(len(result.classes), MOST_CLASSES), len(result.classes), "that differ most", "classes"),
                ", ".join(f"{name}: {value:+.4f}" for name, value in figures),
            )
        ]
    # While runs are missing, nothing is chosen, and the test images are not looked at.
    told = () if result.chosen is None or result.unconfirmed else tuple(dict.fromkeys((result.chosen, base)))
    confused = [arm for arm in told if arms.confusion(result.arm(arm), "test") is not None]
    if confused:
        found["Confusion on test"] = [
            Plot(
                file_name(f"confusion-{name}"),
                lambda ax, name=name: plots.confusion(result, name, part="test", ax=ax),  # type: ignore[misc]
                4.6,
                f"{name}: predicted classes in percent of each true class, all finished runs together.",
                _recalls(result, [name], "test"),
            )
            for name in confused
        ]
    return found


def _of(shown: int, there_are: int, which: str, what: str = "differences") -> str:
    """Say how many of how many are shown, where not all are."""
    return f" Shown: {shown} of {there_are} {what}, {which}." if shown < there_are else ""


def _by_factors(effects: Iterable[Effect]) -> list[Effect]:
    """Return the first effect of each pair of factors."""
    first: dict[frozenset[str], Effect] = {}
    for effect in effects:
        first.setdefault(frozenset(effect.levels), effect)
    return list(first.values())


def _pair(result: StudyResult, first: str, second: str) -> Plot:
    sentence = next((e.sentence for e in result.effects if set(e.levels) == {first, second} and e.sentence), "")
    return Plot(
        file_name(f"interaction-{first}-{second}"),
        lambda ax: plots.interaction_plot(result, first, second, ax),
        3.2,
        f"{first} and {second}: {result.study.design.select} recall, 95% interval over seeds. {sentence}".strip(),
        sentence or f"No clear interaction between {first} and {second}.",
    )


def _recalls(result: StudyResult, names: Iterable[str], part: str | None = None) -> str:
    part = part or result.study.design.select
    return "; ".join(f"{name}: {part} recall {arms.recall(result.arm(name), part)[0]:.4f}" for name in names)
