"""A study over several bases and data sets as one HTML page that needs nothing else."""

from __future__ import annotations

from zoo.report.drawing import Plot, file_name, pictures
from zoo.report.page import rendered
from zoo.report.plots import rows_height
from zoo.report.study import plots, pooled
from zoo.report.study.page import provenance
from zoo.study.pooled import PooledResult

_MOST_CHANGES = 20
"""Changes that have a forest plot of their own."""


def page(result: PooledResult) -> str:
    """Return the HTML page: the answer, a forest plot for each change, tables, and the command that repeats it."""
    title, *below = pooled.heading(result)
    return rendered(
        title=title,
        about=below,
        answer=pooled.answer(result),
        selection=pooled.claim_lines(result),
        verdicts=[*pooled.in_general(result), *pooled.by_place(result)],
        sentences=[],
        searched=[],
        sections=pictures(sections(result)),
        arms=[*pooled.trained(result), *pooled.win_table(result)],
        fronts=[],
        references=[],
        proofs={
            f"{each.place.name}: {change}": "\n".join(lines)
            for each in result.places
            for change, lines in each.result.proofs.items()
        },
        provenance=_provenance(result),
        notes=pooled.notes(result),
        command=result.command,
    )


def sections(result: PooledResult) -> dict[str, list[Plot]]:
    """Return all plots, by the heading that they stand under."""
    found: dict[str, list[Plot]] = {}
    largest = sorted(result.claims, key=lambda claim: -abs(claim.comparison.difference))[:_MOST_CHANGES]
    shown = [claim for claim in result.claims if claim in largest]
    if shown:
        found["What each change does, place by place"] = [
            Plot(
                file_name(f"forest-{claim.change}"),
                lambda ax, change=claim.change: plots.forest_plot(result, change, ax),  # type: ignore[misc]
                rows_height(len(claim.by_place) + 2),
                f"{claim.change}: difference in {result.study.design.select} recall in each place, and pooled. The "
                f"band is the margin of ±{result.study.design.margin:g}; filled marks help or hurt.",
                pooled.line(claim),
            )
            for claim in shown
        ]
    if result.wins:
        names = dict.fromkeys(each.arm for each in result.wins)
        found["Who is better how often"] = [
            Plot(
                "wins",
                lambda ax: plots.win_matrix(result, ax),
                1.4 + 0.45 * len(names),
                "Percent of seeds with which the arm of the row is better than that of the column. Bold: its own 95% "
                "interval leaves out 50; the intervals do not hold all together.",
                "; ".join(f"{each.arm} beats {each.other} in {each.rate:.0%}" for each in result.wins),
            )
        ]
    return found


def _provenance(result: PooledResult) -> dict[str, str]:
    """Return what the figures depend on, each with all values that occur in a place."""
    found: dict[str, list[str]] = {}
    for each in result.places:
        for name, text in provenance(each.result).items():
            found.setdefault(name, []).append(text)
    return {name: "; ".join(dict.fromkeys(texts)) for name, texts in found.items()}
