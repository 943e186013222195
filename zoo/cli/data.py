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
from zoo.cli import shown_data
from zoo.cli.asking import may_remove
from zoo.cli.changes import read_sets, sets_option
from zoo.cli.common import Group, default_ledger, ledger_option, say
from zoo.cli.completion import complete_dataset
from zoo.cli.decoding import decoding_shown
from zoo.cli.main import Plugins
from zoo.errors import DataError
from zoo.report import layout
from zoo.report.text import byte_size, counted

if TYPE_CHECKING:
    from zoo.data import Holding


_SETS = "How it is read, as a spec's data says it: data.test=0.2, data.resize=32. Repeatable."


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
@sets_option(_SETS)
@click.pass_obj
def get_command(plugins: Plugins, names: tuple[str, ...], sets: tuple[str, ...]) -> None:
    """Download data sets, decode them once, and keep them in the cache.

    \b
    Examples:
      zoo data get cifar10
      zoo data get folder:images --set data.resize=32
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from zoo.data import load, read, source

    registry = plugins.registry()
    for name in names:
        options = _options(name, sets, registry)
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
        with decoding_shown():
            data = read(name, registry, options)
        sizes, notes = {part: len(labels) for part, (_, labels) in data.parts.items()}, (*data.notes, *data.leaks)
        if "test" in sizes or options.test:
            loaded = load(name, registry, options)
            sizes, notes = {part: len(split) for part, split in loaded.parts.items()}, loaded.notes
        counts = " and ".join(f"{sizes[part]:,} {_ADJECTIVES[part]}" for part in _ADJECTIVES if part in sizes)
        shape = "x".join(map(str, data.parts["train"][0].shape[1:]))
        click.echo(f"{name}: {wanted.title} is at hand: {counts} images of {shape}, {len(data.classes)} classes")
        for note in notes:
            click.echo(f"  {note}")


_ADJECTIVES = {"train": "training", "validation": "validation", "test": "test"}


def _options(name: str, sets: tuple[str, ...], registry: Any) -> Any:
    """Return the options of reading a data set that are stated as for a spec.

    Raises:
        SpecError: a path is none of a spec's `data`, or a value is not valid.
    """
    from zoo.data import Options
    from zoo.spec import DataSpec, read_as

    stated = {path.removeprefix("data."): value for path, value in read_sets(sets).items()}
    return Options.of(read_as(DataSpec, {**stated, "dataset": name}, "data", registry))


@data_command.command("show")
@click.argument("name", metavar="DATASET", shell_complete=complete_dataset)
@sets_option(_SETS)
@click.option(
    "--images",
    "sheet",
    metavar="FILE.png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a contact sheet: some training images of each class.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every pair of duplicates.")
@click.pass_obj
def show_command(plugins: Plugins, name: str, sets: tuple[str, ...], sheet: Path | None, as_json: bool) -> None:
    """Say what a data set holds: sizes, classes, what was found in the files, images that stand in two parts.

    \b
    Examples:
      zoo data show digits
      zoo data show folder:images --set data.test=0.2 --images sheet.png
    """
    from zoo.data import read, source, split
    from zoo.data.duplicates import alike, apart, exact
    from zoo.data.sheet import contact_sheet

    registry = plugins.registry()
    options = _options(name, sets, registry)
    with decoding_shown():
        data = read(name, registry, options)
    if "test" in data.parts or options.test:
        data = split(data, options, source(name, registry).title)
    same = exact(data.parts)
    similar = apart(alike(data.parts), same)
    if sheet is not None:
        try:
            sheet.write_bytes(contact_sheet(data))
        except OSError as error:
            raise DataError(f"{sheet} cannot be written: {error.strerror or error}") from error
    record = shown_data.record(name, data, same, similar)
    click.echo(json.dumps(record, indent=2) if as_json else shown_data.text(record))


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
    from zoo.ledger import Ledger
    from zoo.ledger.keep import entries

    if path is None and not default_ledger().exists():
        return None
    with Ledger(path or default_ledger(), create=False) as ledger:
        return Counter(entry.key.dataset for entry in entries(ledger))


def _record(holding: Holding, runs: Counter[str] | None) -> dict[str, Any]:
    return {
        "dataset": holding.dataset,
        "content": holding.content,
        "bytes": holding.bytes,
        "last_used": None if holding.last_used is None else _moment(holding.last_used, "%Y-%m-%dT%H:%M:%S%z"),
        "shape": holding.shape,
        "validation": holding.share,
        "digest": holding.digest,
        "runs": None if runs is None or holding.digest is None else runs[holding.digest],
        "path": str(holding.path),
    }


def _table(held: Sequence[Holding], runs: Counter[str] | None) -> str:
    headers = ["data set", "content", "images", "size", "last used"]
    align = ["left", "left", "left", "right", "left"]
    rows = [
        [
            holding.dataset,
            holding.content,
            images,
            byte_size(holding.bytes),
            "" if holding.last_used is None else _moment(holding.last_used, "%Y-%m-%d %H:%M"),
        ]
        for holding, images in zip(held, _images(held), strict=True)
    ]
    if runs is not None:
        headers, align = [*headers, "runs"], [*align, "right"]
        counts = ["" if holding.digest is None else str(runs[holding.digest]) for holding in held]
        rows = [[*row, count] for row, count in zip(rows, counts, strict=True)]
    return layout.table(rows, headers=headers, align=align, wrap=0)


def _images(held: Sequence[Holding]) -> list[str]:
    """Say what the images are, each so that those of one data set are told apart."""
    texts = [_form(holding) for holding in held]
    alike = Counter((holding.dataset, holding.content, text) for holding, text in zip(held, texts, strict=True))
    return [
        " ".join(filter(None, [text, f"#{holding.digest[:7] if holding.digest else holding.path.name}"]))
        if alike[holding.dataset, holding.content, text] > 1
        else text
        for holding, text in zip(held, texts, strict=True)
    ]


def _form(holding: Holding) -> str:
    shape = "x".join(map(str, holding.shape or ()))
    return f"{shape}, {holding.share:.3g} held out" if holding.share else shape


def _moment(seconds: float, form: str) -> str:
    return time.strftime(form, time.localtime(seconds))


@data_command.command("remove")
@click.argument("names", metavar="[DATASET]...", nargs=-1, shell_complete=complete_dataset)
@click.option("--all", "everything", is_flag=True, help="Remove all that the cache holds.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def remove_command(names: tuple[str, ...], everything: bool, dry_run: bool, yes: bool) -> None:
    """Remove data sets from the cache: what was downloaded and what was decoded. Your own files stay.

    `folder` stands for every `folder:PATH`, and so do `npz`, `csv`, `parquet` and others.

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
