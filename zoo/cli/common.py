"""Options that several commands share, and the table that two of them print."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo.cli import layout

if TYPE_CHECKING:
    from zoo.registry import Registry
    from zoo.train.run import Run

Command = TypeVar("Command", bound=Callable[..., Any])


def ledger_option(command: Command) -> Command:
    """Add --ledger."""
    return click.option(
        "--ledger",
        "ledger_path",
        type=click.Path(path_type=Path, dir_okay=True),
        help="The file that runs are stored in.  [default: $ZOO_LEDGER, else zoo.sqlite]",
    )(command)


def table_options(command: Command) -> Command:
    """Add --format, --sort and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
        click.option("--sort", metavar="COLUMN", help="Sort by recall, train, time, parameters, flops, spec, ..."),
        click.option(
            "--format", "format_", default="simple", show_default=True, metavar="FORMAT",
            help="csv, json, or any format of tabulate: github, html, latex, ... Only simple is fitted to a terminal.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def print_table(
    runs: Sequence[Run],
    registry: Registry,
    *,
    format_: str,
    sort: str | None,
    is_stale: Callable[[Run], bool] = lambda run: False,
) -> None:
    """Print the table of the runs, and the sections that plugins add to it."""
    from zoo.report.table import render

    text = render(runs, format_=format_, sort=sort, width=layout.terminal_width(), is_stale=is_stale)
    if text:
        click.echo(text)
    if format_ in ("csv", "json") or not registry.hook.zoo_report_sections.get_hookimpls():
        return
    from zoo.benchmark import tell  # imports torch

    for sections in tell(registry, "zoo_report_sections", say, runs=runs):
        for section in sections:
            click.echo("\n" + section)


def say(line: str) -> None:
    """Print a line for people, on standard error."""
    click.echo(line, err=True)


class Duration(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A duration such as 90s, 30m, 1h30m or 2h; a plain number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration in seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?|(\d+)", str(value).strip())
        seconds = (
            sum(float(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1, 1), strict=True)) if match else 0
        )
        if not seconds:
            self.fail(f"expected a duration above 0, such as 90s, 30m or 1h30m, got {value!r}", param, ctx)
        return seconds
