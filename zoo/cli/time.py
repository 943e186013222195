"""`zoo time`: compare how long specs take."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import attrs
import click
from tabulate import tabulate

from zoo.cli.changes import read_sets, read_variations
from zoo.cli.common import Duration, device_options, say
from zoo.cli.completion import complete_dataset, complete_spec, complete_variant
from zoo.cli.main import Plugins
from zoo.report import layout
from zoo.report.text import counted, fit, quantity

if TYPE_CHECKING:
    from zoo.lab.lab import Lab
    from zoo.timing import Pace, Timing, Timings

ROUNDS = 200
KINDS = ("training", "evaluation")


@click.command()
@click.argument("patterns", metavar="SPEC-PATTERN...", nargs=-1, required=True, shell_complete=complete_spec)
@click.option(
    "--data",
    metavar="DATASET",
    shell_complete=complete_dataset,
    help="Time all on this data set: a name, folder:PATH or npz:PATH.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=complete_variant,
    help="Set a value in every spec.",
)
@click.option(
    "--vary",
    "variations",
    multiple=True,
    metavar="PATH=A,B,...",
    shell_complete=complete_variant,
    help="Time every spec with each of these values; with several --vary, every combination.",
)
@click.option("--rounds", type=int, help=f"How many rounds of steps.  [default: {ROUNDS}]")
@click.option("--seconds", type=Duration(), help="Instead of --rounds: how long to go on, such as 30s or 5m.")
@device_options
@click.option(
    "--format", "format_", default="simple", show_default=True, metavar="FORMAT",
    help="csv, json, or any format of tabulate: github, html, latex, ... Only simple is fitted to a terminal.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.pass_obj
def time_command(
    plugins: Plugins,
    patterns: tuple[str, ...],
    data: str | None,
    sets: tuple[str, ...],
    variations: tuple[str, ...],
    rounds: int | None,
    seconds: float | None,
    device: str,
    precision: str,
    format_: str,
    as_json: bool,
) -> None:
    """Compare how long training steps and evaluation take.

    The first spec is the reference. All make their steps in turn, so that what slows the machine down slows all of them
    down; a ratio is of steps in the same round.

    \b
    Examples:
      zoo time starter/default starter/4e
      zoo time starter/default --vary activation=relu,mish
      zoo time eq2425/default eq2425/4a1 --data folder:images --seconds 1m
    """
    from zoo.report.table import check

    format_ = "json" if as_json else format_
    check(format_, None)
    if rounds is not None and seconds is not None:
        raise click.UsageError("--rounds and --seconds both say when to stop; give one of them")
    lab: Lab = plugins.lab(device=device, precision=precision)
    selection = lab.select(*patterns, sets=read_sets(sets, data=data), vary=read_variations(variations))

    # From here on torch is needed.
    from zoo.train.machine import provenance

    for line in selection.broken:
        say(line)
    timings = lab.time_selected(selection, rounds=ROUNDS if rounds is None else rounds, seconds=seconds)
    about = {
        "dataset": selection.specs[0].data.dataset,
        "device": provenance(lab.device)["device_name"],
        "precision": lab.precision,
        "rounds": timings.rounds,
        "load": timings.load,
    }
    click.echo(_render(timings, about, format_))
    for line in _remarks(timings):
        say(line)


def _render(timings: Timings, about: dict[str, Any], format_: str) -> str:
    if format_ in ("csv", "json"):
        records = [{"spec": timing.spec, **_figures(timing), **about} for timing in timings.specs]
        return json.dumps(records, indent=2) if format_ == "json" else _csv(records)
    cells = _cells(timings)
    width = layout.terminal_width() if format_ == "simple" else None
    left_out = fit(cells, width, folding=["spec"], left_out_first=_LEFT_OUT_FIRST) if width is not None else []
    table = tabulate(
        list(zip(*cells.values(), strict=True)),
        headers=list(cells),
        tablefmt=format_,
        colalign=["left", *["right"] * (len(cells) - 1)],
        disable_numparse=True,
    )
    heading = f"{about['dataset']}, {about['device']}, {about['precision']}; {counted(about['rounds'], 'round')}"
    if len(timings.specs) > 1:
        heading += f"; ratios to {timings.specs[0].spec}: geometric mean [95% interval]"
    above = [f"% {heading}" if format_.startswith("latex") else layout.paragraph(heading), ""]
    below = ["", f"No room for: {', '.join(left_out)}; --format csv has all."] if left_out else []
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


def _remarks(timings: Timings) -> list[str]:
    """Say which specs no difference was seen of, and whether the times hold."""
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
