"""Options and completions that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])


def _registry(ctx: click.Context) -> Any:
    from zoo.registry import Registry

    root = ctx.find_root().params
    return Registry(files=root.get("files") or ())


def complete_spec(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a spec."""
    return [CompletionItem(name) for name in _registry(ctx).specs if name.startswith(incomplete)]


def complete_kind(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a kind."""
    from zoo.hookspecs import KINDS

    return [CompletionItem(name, help=kind.purpose) for name, kind in KINDS.items() if name.startswith(incomplete)]


def complete_variant(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete `path=a,b` with the variants of the kind that the path ends in."""
    from zoo.hookspecs import KINDS

    path, equals, values = incomplete.partition("=")
    kind = path.rpartition(".")[2]
    if not equals:
        return [CompletionItem(f"{name}=") for name in KINDS if name.startswith(path)]
    if kind not in KINDS:
        return []
    before, comma, last = values.rpartition(",")
    names = _registry(ctx).variants(kind)
    return [CompletionItem(f"{path}={before}{comma}{name}") for name in names if name.startswith(last)]


def complete_shown(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a spec, or `kind:variant`."""
    from zoo.hookspecs import KINDS

    registry = _registry(ctx)
    names = [*registry.specs, *(f"{kind}:{name}" for kind in KINDS for name in registry.variants(kind))]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


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
            help="csv, json, or any format of tabulate: github, latex, html, ...",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


class Duration(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A duration such as 90s, 30m, 1h30m or 2h; a plain number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration in seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", str(value).strip())
        seconds = (
            sum(float(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
        )
        if not seconds:
            self.fail(f"{value!r} is not a duration; write for example 90s, 30m or 1h30m", param, ctx)
        return seconds
