"""How long specs take, as a table and as data."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import attrs
from tabulate import tabulate

from zoo.errors import option
from zoo.report import layout, markup
from zoo.report.text import counted, fit, quantity

if TYPE_CHECKING:
    from zoo.timing import Pace, Timing, Timings

KINDS = ("training", "evaluation")


def render(timings: Timings, *, format_: str = "simple", width: int | None = None) -> str:
    """Return the table as text.

    Args:
        timings: what was measured.
        format_: "csv", "json", or any of tabulate's.
        width: how many characters a line may have; only "simple" is fitted to it.
    """
    if format_ in ("csv", "json"):
        about = attrs.asdict(timings, filter=lambda field, _: field.name != "specs")
        # The last is an earlier name of the device's, which programs may read.
        about["device"] = timings.device_name
        records = [
            {"spec": timing.spec, "identity": timing.identity, **_figures(timing), **about} for timing in timings.specs
        ]
        return json.dumps(records, indent=2) if format_ == "json" else _csv(records)
    cells = _cells(timings)
    width = width if format_ == "simple" else None
    left_out = fit(cells, width, folding=["spec"], left_out_first=_LEFT_OUT_FIRST) if width is not None else []
    cells = markup.cells(cells, format_)
    table = tabulate(
        list(zip(*cells.values(), strict=True)),
        headers=list(cells),
        tablefmt=format_,
        colalign=["left", *["right"] * (len(cells) - 1)],
        disable_numparse=True,
    )
    heading = f"{timings.dataset}, {timings.device_name}, {timings.precision}; {counted(timings.rounds, 'round')}"
    if len(timings.specs) > 1:
        heading += f"; ratios to {timings.specs[0].spec}: geometric mean [95% interval]"
    above = [*(markup.lines([heading], format_) if width is None else [layout.paragraph(heading)]), ""]
    below = ["", f"No room for: {', '.join(left_out)}; {option('format', 'csv')} has all."] if left_out else []
    return "\n".join([*above, table, *below])


def _cells(timings: Timings) -> dict[str, list[str]]:
    """Return the columns by title; with one spec there are no ratios."""
    cells = {"spec": [timing.spec for timing in timings.specs]}
    for kind, work, images in (("training", "step", "images/s"), ("evaluation", "batch", "evaluated/s")):
        paces: list[Pace] = [getattr(timing, kind) for timing in timings.specs]
        if len(paces) > 1:
            cells[kind] = [_ratio(pace) for pace in paces]
        cells[f"ms/{work}"] = [f"{pace.milliseconds:.2f}" for pace in paces]
        cells[images] = [quantity(round(pace.images_per_second)) for pace in paces]
    return cells


_LEFT_OUT_FIRST = ("evaluated/s", "images/s", "ms/batch", "ms/step", "evaluation")
"""Columns that a narrow terminal does without, the least important first."""


def _ratio(pace: Pace) -> str:
    return "1" if pace.ratio is None else f"{pace.ratio:.3f} [{pace.low:.3f}, {pace.high:.3f}]"


def _figures(timing: Timing) -> dict[str, Any]:
    return {f"{kind}_{name}": value for kind in KINDS for name, value in attrs.asdict(getattr(timing, kind)).items()}


def _csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().rstrip("\n")


def remarks(timings: Timings) -> list[str]:
    """Say in lines which specs no difference was seen of, and whether the times hold."""
    reference, *others = timings.specs
    lines = []
    for kind in KINDS:
        alike = [timing.spec for timing in others if not getattr(timing, kind).differs]
        if alike:
            lines.append(
                f"{kind.capitalize()}: no difference from {reference.spec} seen for {', '.join(alike)}: "
                "the interval contains 1."
            )
    if timings.busy:
        ratios = "the ratios hold, the times do not" if others else "the times do not hold"
        lines.append(f"The machine was busy when this began (load {timings.load:.1f} on each core): {ratios}.")
    return lines
