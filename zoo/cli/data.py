"""`zoo data`: which data sets are at hand, getting those that are not, and what the cache holds."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from zoo.characters import without_controls
from zoo.cli.asking import may_remove
from zoo.cli.common import Group, ledger_option, say
from zoo.cli.completion import complete_dataset
from zoo.cli.main import Plugins
from zoo.report import layout
from zoo.report.text import byte_size, counted

if TYPE_CHECKING:
    from zoo.data import Holding


@click.group(cls=Group)
def data_command() -> None:
    """List data sets, get those that are not at hand, and look after the cache."""


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
    from zoo.data import takes_path, why_missing

    registry = plugins.registry()
    records: list[dict[str, Any]] = []
    for name, variant in registry.variants("dataset").items():
        own_files = takes_path(variant)
        missing = None if own_files else why_missing(name, registry)
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
    rows = [
        [r["name"], states.get(r["at_hand"], f"zoo data get {quote(r['name'])}"), r["description"]] for r in records
    ]
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
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
                task = progress.add_task(without_controls(wanted.title), total=None)
                wanted.get(lambda done, total, task=task: progress.update(task, completed=done, total=total or None))  # type: ignore[misc]
        data = load(name, registry)
        images = f"{len(data.train):,} training and {len(data.test):,} test images of {'x'.join(map(str, data.shape))}"
        click.echo(f"{name}: {wanted.title} is at hand: {images}, {len(data.classes)} classes")
        for note in data.notes:
            click.echo(f"  {note}")


@data_command.command("info")
@ledger_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info_command(ledger_path: Path | None, as_json: bool) -> None:
    """Say what the cache holds: of which data sets, how large, last used when, and by how many runs of the ledger.

    \b
    Example:
      zoo data info
    """
    from zoo.data import cache_dir, holdings

    held = holdings()
    runs = _runs_by_digest(ledger_path)
    if as_json:
        click.echo(json.dumps([_record(holding, runs) for holding in held], indent=2))
        return
    total = byte_size(sum(holding.bytes for holding in held))
    click.echo(f"{cache_dir()}: {total}")
    if held:
        click.echo("\n" + _table(held, runs))


def _runs_by_digest(path: Path | None) -> Counter[str] | None:
    """Count the ledger's runs by the digest of their images; None where there is no ledger and none was named."""
    from zoo.ledger import Ledger, default_path
    from zoo.ledger.keep import entries

    if path is None and not default_path().exists():
        return None
    with Ledger(path or default_path(), create=False) as ledger:
        return Counter(entry.key.dataset for entry in entries(ledger))


def _record(holding: Holding, runs: Counter[str] | None) -> dict[str, Any]:
    return {
        "dataset": holding.dataset,
        "content": holding.content,
        "bytes": holding.bytes,
        "last_used": None if holding.last_used is None else _moment(holding.last_used, "%Y-%m-%dT%H:%M:%S%z"),
        "digest": holding.digest,
        "runs": None if runs is None or holding.digest is None else runs[holding.digest],
        "path": str(holding.path),
    }


def _table(held: Sequence[Holding], runs: Counter[str] | None) -> str:
    headers, align = ["data set", "content", "size", "last used"], ["left", "left", "right", "left"]
    rows = [
        [
            holding.dataset,
            holding.content,
            byte_size(holding.bytes),
            "" if holding.last_used is None else _moment(holding.last_used, "%Y-%m-%d %H:%M"),
        ]
        for holding in held
    ]
    if runs is not None:
        headers, align = [*headers, "runs"], [*align, "right"]
        counts = ["" if holding.digest is None else str(runs[holding.digest]) for holding in held]
        rows = [[*row, count] for row, count in zip(rows, counts, strict=True)]
    return layout.table(rows, headers=headers, align=align, wrap=0)


def _moment(seconds: float, form: str) -> str:
    return time.strftime(form, time.localtime(seconds))


@data_command.command("remove")
@click.argument("names", metavar="[DATASET]...", nargs=-1, shell_complete=complete_dataset)
@click.option("--all", "everything", is_flag=True, help="Remove all that the cache holds.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def remove_command(names: tuple[str, ...], everything: bool, dry_run: bool, yes: bool) -> None:
    """Remove data sets from the cache: what was downloaded and what was decoded. Your own files stay.

    `folder` and `npz` stand for every `folder:PATH` and `npz:PATH`.

    \b
    Examples:
      zoo data remove cifar10
      zoo data remove --all --dry-run
    """
    from zoo.data import discard, holdings, named

    if bool(names) is everything:
        raise click.UsageError("give either names of data sets or --all")
    held = holdings() if everything else named(names)
    if not held:
        click.echo("The cache is empty.")
        return
    size = byte_size(sum(holding.bytes for holding in held))
    click.echo(_table(held, None))
    if dry_run:
        return
    if not yes and not may_remove(f"{counted(len(held), 'folder')}, {size}, from the cache"):
        return
    for holding in held:
        discard(holding)
    click.echo(f"Removed {size}.")
