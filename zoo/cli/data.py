"""`zoo data`: which data sets are at hand, and getting those that are not."""

from __future__ import annotations

import json
from typing import Any

import click
from tabulate import tabulate

from zoo.cli.main import Plugins


@click.group()
def data_command() -> None:
    """List data sets and get those that are not at hand."""


@data_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_command(plugins: Plugins, as_json: bool) -> None:
    """List data sets and say which are at hand."""
    from zoo.data import source

    registry = plugins.registry()
    records: list[dict[str, Any]] = []
    for name, variant in registry.variants("dataset").items():
        needs_path = any(option == "path" for option in variant.options.__annotations__)
        missing = "" if needs_path else source(name, registry).missing() or ""
        usage = f"{name}:PATH" if needs_path else name
        records.append({"name": usage, "description": variant.description, "at_hand": not missing, "missing": missing})
    if as_json:
        click.echo(json.dumps(records, indent=2))
        return
    rows = [[r["name"], "at hand" if r["at_hand"] else f"zoo data get {r['name']}", r["description"]] for r in records]
    click.echo(tabulate(rows, headers=["data set", "", ""]))


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from zoo.registry import Registry

    return [name for name in Registry().variants("dataset") if name.startswith(incomplete)]


@data_command.command("get")
@click.argument("names", metavar="DATASET...", nargs=-1, required=True, shell_complete=_complete)
@click.pass_obj
def get_command(plugins: Plugins, names: tuple[str, ...]) -> None:
    """Download data sets, decode them once, and keep them in the cache.

    \b
    Example:
      zoo data get cifar10
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from zoo.cli.progress import console
    from zoo.data import load, source

    registry = plugins.registry()
    for name in names:
        wanted = source(name, registry)
        if wanted.missing() is not None:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            with Progress(*columns, console=console()) as progress:
                task = progress.add_task(wanted.title, total=None)
                wanted.get(lambda done, total, task=task: progress.update(task, completed=done, total=total or None))  # type: ignore[misc]
        data = load(name, registry)
        images = f"{len(data.train):,} training and {len(data.test):,} test images of {'x'.join(map(str, data.shape))}"
        click.echo(f"{name}: {wanted.title} is at hand: {images}, {len(data.classes)} classes")
        for note in data.notes:
            click.echo(f"  {note}")
