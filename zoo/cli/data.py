"""`zoo data`: which data sets are at hand, and getting those that are not."""

from __future__ import annotations

import json
from typing import Any

import click

from zoo.cli import layout
from zoo.cli.common import say
from zoo.cli.completion import complete_dataset
from zoo.cli.main import Plugins


@click.group()
def data_command() -> None:
    """List data sets and get those that are not at hand."""


@data_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_command(plugins: Plugins, as_json: bool) -> None:
    """List data sets and say which are at hand.

    \b
    Examples:
      zoo data list
      zoo data list --json
    """
    from zoo.data import source, takes_path

    registry = plugins.registry()
    records: list[dict[str, Any]] = []
    for name, variant in registry.variants("dataset").items():
        own_files = takes_path(variant)
        missing = None if own_files else source(name, registry).missing()
        records.append(
            {
                "name": f"{name}:PATH" if own_files else name,
                "description": variant.description,
                "at_hand": None if own_files else missing is None,
                "missing": missing,
            }
        )
    if as_json:
        click.echo(json.dumps(records, indent=2))
        return
    states = {True: "at hand", None: "your own files"}
    rows = [[r["name"], states.get(r["at_hand"], f"zoo data get {r['name']}"), r["description"]] for r in records]
    click.echo(layout.table(rows, headers=["data set", "", ""]))


@data_command.command("get")
@click.argument("names", metavar="DATASET...", nargs=-1, required=True, shell_complete=complete_dataset)
@click.pass_obj
def get_command(plugins: Plugins, names: tuple[str, ...]) -> None:
    """Download data sets, decode them once, and keep them in the cache.

    \b
    Example:
      zoo data get cifar10
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from zoo.data import load, source

    registry = plugins.registry()
    for name in names:
        wanted = source(name, registry)
        if wanted.missing() is not None:
            shown = layout.progress_console()
            if not shown.is_terminal:
                say(f"Getting {wanted.title} ...")
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
                task = progress.add_task(wanted.title, total=None)
                wanted.get(lambda done, total, task=task: progress.update(task, completed=done, total=total or None))  # type: ignore[misc]
        data = load(name, registry)
        images = f"{len(data.train):,} training and {len(data.test):,} test images of {'x'.join(map(str, data.shape))}"
        click.echo(f"{name}: {wanted.title} is at hand: {images}, {len(data.classes)} classes")
        for note in data.notes:
            click.echo(f"  {note}")
