"""`zoo time`: compare how long specs take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.cli.changes import read_sets, read_variations, sets_option
from zoo.cli.common import Duration, device_options, say
from zoo.cli.completion import complete_dataset, complete_spec, complete_variant
from zoo.cli.main import Plugins
from zoo.report import layout
from zoo.report.times import remarks, render

if TYPE_CHECKING:
    from zoo.lab.lab import Lab

ROUNDS = 200


@click.command()
@click.argument("patterns", metavar="SPEC-PATTERN...", nargs=-1, required=True, shell_complete=complete_spec)
@click.option(
    "--data",
    metavar="DATASET",
    shell_complete=complete_dataset,
    help="Time all on this data set: a name, or one with a path, such as folder:PATH; zoo data list has all.",
)
@sets_option("Set a value in every spec.")
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
    device: str | None,
    precision: str | None,
    fast: bool | None,
    format_: str,
    as_json: bool,
) -> None:
    """Compare how long training steps and evaluation take.

    The first spec is the reference. All make their steps in turn, each equally often first, so that what slows the
    machine down slows all of them down; a ratio is of steps in the same round.

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
    lab: Lab = plugins.lab(device=device, precision=precision, fast=fast)
    timings = lab.time(
        *patterns,
        rounds=ROUNDS if rounds is None else rounds,
        seconds=seconds,
        data=data,
        sets=read_sets(sets),
        vary=read_variations(variations),
    )
    click.echo(render(timings, format_=format_, width=layout.terminal_width()))
    for line in remarks(timings):
        say(layout.paragraph(line))
