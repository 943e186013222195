"""`zoo ledger`: what the file of runs holds, and looking after it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.asking import may_remove
from zoo.cli.common import Group, default_ledger, ledger_option, say
from zoo.cli.completion import complete_dataset, complete_spec
from zoo.cli.main import Plugins
from zoo.errors import WORK_FAILED
from zoo.report import layout
from zoo.report.entries import render
from zoo.report.text import byte_size, counted, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.ledger import Ledger
    from zoo.ledger.export import View
    from zoo.ledger.keep import Entry

# As in zoo.ledger.keep and zoo.ledger.export, which are imported when they are needed.
STATUSES = ("finished", "diverged", "failed", "running", "cut short")
VIEWS = ("runs", "epochs")
FORMATS = ("csv", "parquet")


@click.group(cls=Group)
def ledger_command() -> None:
    """Look into a ledger of runs, merge several, take runs out."""


def _open(path: Path | None, *, write: bool = False) -> Ledger:
    from zoo.ledger import Ledger

    return Ledger(path or default_ledger(), create=False, write=write, say=say)


@ledger_command.command("info")
@ledger_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info_command(ledger_path: Path | None, as_json: bool) -> None:
    """Say where the ledger is, how large, and what it holds.

    \b
    Example:
      zoo ledger info
    """
    from zoo.ledger.keep import info

    with _open(ledger_path) as ledger:
        record = info(ledger)
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    runs = ", ".join(f"{count} {status}" for status, count in record["runs"].items() if count)
    checkpoints = record["checkpoints"]
    rows = [
        ["ledger", f"{record['ledger']} ({byte_size(record['bytes'])}, version {record['version']})"],
        ["runs", f"{runs or 'none'}; {counted(record['specs'], 'spec')}"],
        *(
            [title, ", ".join(f"{name} ({count})" for name, count in record[which].items())]
            for title, which in (("data sets", "datasets"), ("devices", "devices"), ("precisions", "precisions"))
            if record[which]
        ),
        *(
            [
                "training",
                f"{counted(owner['runs'], 'run')} on {owner['host']}, process {owner['pid']}: {owner['command']}",
            ]
            for owner in record["training"]
        ),
        ["checkpoints", f"{checkpoints['files']} ({byte_size(checkpoints['bytes'])})"],
    ]
    click.echo(layout.table(rows))


@ledger_command.command("runs")
@click.argument("patterns", metavar="[SPEC-PATTERN]...", nargs=-1, shell_complete=complete_spec)
@click.option("--data", metavar="DATASET", shell_complete=complete_dataset, help="Only runs on this data set.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only runs that have come so far."
)
@click.option("--failed", is_flag=True, help="The same as --status failed.")
@ledger_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all columns of the view runs.")
def runs_command(
    patterns: tuple[str, ...],
    data: str | None,
    statuses: tuple[str, ...],
    failed: bool,
    ledger_path: Path | None,
    as_json: bool,
) -> None:
    """List the runs, one a line, those under way included.

    A run is "running" while a command trains it, and "cut short" when that command was stopped.

    \b
    Examples:
      zoo ledger runs 'starter/*'
      zoo ledger runs --status failed --status diverged
    """
    from zoo.ledger.keep import entries, require_known

    with _open(ledger_path) as ledger:
        require_known(ledger, patterns, data)
        found = entries(ledger, patterns=patterns, dataset=data, statuses=_statuses(statuses, failed))
    if as_json:
        click.echo(json.dumps([_record(entry) for entry in found], indent=2))
        return
    click.echo(render(found))


def _statuses(statuses: Sequence[str], failed: bool) -> list[str]:
    return [*statuses, *(["failed"] if failed else [])]


def _record(entry: Entry) -> dict[str, Any]:
    return {**entry.columns, "trained_by": str(entry.owner) if entry.owner else None}


@ledger_command.command("show")
@click.argument("run", type=int)
@ledger_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the spec and every confusion matrix.")
def show_command(run: int, ledger_path: Path | None, as_json: bool) -> None:
    """Show all that is stored of one run. RUN is its number in `zoo ledger runs`.

    \b
    Example:
      zoo ledger show 1
    """
    from zoo.ledger.keep import show

    with _open(ledger_path) as ledger:
        record = show(ledger, run)
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    hidden = ("provenance", "content", "history", "reason")
    fields = [[name, _cell(value)] for name, value in record.items() if name not in hidden and value is not None]
    click.echo(layout.table(fields))
    if record["provenance"]:
        click.echo("\nprovenance")
        click.echo(layout.table([[name, _cell(value)] for name, value in record["provenance"].items()], indent=2))
    if record["reason"]:
        click.echo("\nreason\n" + textwrap.indent(record["reason"].strip(), "  "))
    if record["history"]:
        click.echo("\n" + _history(record["history"]))


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _history(history: Sequence[dict[str, Any]]) -> str:
    parts = sorted({part for epoch in history for part in epoch["evaluations"]})
    rows = []
    for epoch in history:
        recalls = [epoch["evaluations"].get(part, {}).get("recall") for part in parts]
        rows.append(
            [
                str(epoch["epoch"]),
                "" if epoch["loss"] is None else f"{epoch['loss']:.4f}",
                *("" if recall is None else f"{recall:.4f}" for recall in recalls),
                duration(epoch["seconds_training"]),
            ]
        )
    headers = ["epoch", "loss", *(f"{part} recall" for part in parts), "training"]
    return layout.table(rows, headers=headers, align=["right"] * len(headers))


@ledger_command.command("remove")
@click.argument("patterns", metavar="[SPEC-PATTERN]...", nargs=-1, shell_complete=complete_spec)
@click.option("--data", metavar="DATASET", shell_complete=complete_dataset, help="Runs on this data set.")
@click.option("--failed", is_flag=True, help="Runs that failed.")
@click.option("--stale", is_flag=True, help="Runs whose variants have been edited since: the same command trains anew.")
@click.option("--run", "ids", metavar="RUN", type=int, multiple=True, help="The run of this number; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@ledger_option
@click.pass_obj
def remove_command(
    plugins: Plugins,
    patterns: tuple[str, ...],
    data: str | None,
    failed: bool,
    stale: bool,
    ids: tuple[int, ...],
    dry_run: bool,
    yes: bool,
    ledger_path: Path | None,
) -> None:
    """Remove the runs that meet all of the conditions, with their checkpoints.

    Runs that are being trained are refused. The file shrinks with `zoo ledger vacuum`.

    \b
    Examples:
      zoo ledger remove --failed
      zoo ledger remove 'trial/*' --data digits --dry-run
      zoo ledger remove --run 12 --run 13 --yes
    """
    from zoo.ledger.keep import chosen, remove

    if not (patterns or data or failed or stale or ids):
        raise click.UsageError("say which runs: a SPEC-PATTERN, --data, --failed, --stale or --run")
    registry = plugins.registry() if stale else None
    with _open(ledger_path) as ledger:
        found = chosen(
            ledger, patterns=patterns, dataset=data, statuses=_statuses((), failed), ids=ids, stale_for=registry
        )
    click.echo(render(found))
    if dry_run or not found or not (yes or may_remove(f"{counted(len(found), 'run')} from {ledger.path}")):
        return
    with _open(ledger_path, write=True) as ledger:
        remove(ledger, found)
    click.echo(f"Removed {counted(len(found), 'run')}.")


@ledger_command.command("merge")
@click.argument("into", type=click.Path(path_type=Path))
@click.argument("sources", metavar="FROM...", nargs=-1, required=True, type=click.Path(path_type=Path))
def merge_command(into: Path, sources: tuple[Path, ...]) -> None:
    """Copy the runs of other ledgers into one, which is made where it is missing.

    All or nothing is copied. To merge again changes nothing. The others are only read. States that were kept of the
    runs (--keep-state) come along.

    \b
    Example:
      zoo ledger merge all.sqlite shard-1.sqlite shard-2.sqlite
    """
    from zoo.ledger.merge import merge

    for merged in merge(into, sources, say=say):
        if merged.left_out:
            click.echo(f"{merged.path}: left out, as {merged.left_out}")
            continue
        left = f"; {merged.under_way} not ended, left there" if merged.under_way else ""
        states = f"; {counted(merged.states, 'kept state')} copied" if merged.states else ""
        elsewhere = (
            f" ({merged.elsewhere} trained on another device with the same figures: to compare on each device, give "
            "the ledgers apart, by --ledger for each)"
            if merged.elsewhere
            else ""
        )
        known = f"{merged.known} known already{elsewhere}"
        click.echo(f"{merged.path}: {counted(merged.added, 'run')} added, {known}{left}{states}")


@ledger_command.command("export")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--output", "-o", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="Instead of a folder: one table, to a file that ends in .csv or .parquet.",
)  # fmt: skip
@click.option("--table", "view", type=click.Choice(VIEWS), help="Only this one.  [default: both to DIR, runs to FILE]")
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Of the files in DIR.  [default: csv]")
@ledger_option
def export_command(
    folder: Path | None, output: Path | None, view: View | None, format_: str | None, ledger_path: Path | None
) -> None:
    """Write all runs and epochs as tables for other programs.

    In DIR they are runs.csv and epochs.csv, or .parquet. Files of these names are replaced.

    \b
    Examples:
      zoo ledger export tables
      zoo ledger export -o epochs.parquet --table epochs
    """
    from zoo.ledger.export import VIEWS, export, format_of

    if (folder is None) == (output is None):
        raise click.UsageError("give either DIR or --output FILE")
    if output is not None:
        if format_ is not None:
            raise click.UsageError("--format is of the files in DIR: the ending of FILE says its own")
        format_of(output)
        wanted: list[tuple[View, Path]] = [(view or "runs", output)]
    else:
        assert folder is not None
        wanted = [(each, folder / f"{each}.{format_ or 'csv'}") for each in VIEWS if view in (None, each)]
    with _open(ledger_path) as ledger:
        for each, path in wanted:
            click.echo(f"{path}: {export(ledger, each, path)} {each}")


@ledger_command.command("vacuum")
@ledger_option
def vacuum_command(ledger_path: Path | None) -> None:
    """Give the space of what was removed back to the disk, and remove states that no run needs.

    States are the files in the folder beside the ledger: checkpoints of runs that were stopped, and what --keep-state
    kept. They are left over where a command was killed, or the ledger was changed by other programs.

    \b
    Example:
      zoo ledger vacuum
    """
    from zoo.ledger.keep import vacuum

    with _open(ledger_path, write=True) as ledger:
        done = vacuum(ledger)
    for file, bytes_ in done.removed.items():
        click.echo(f"{file}: removed, as no run needs it ({byte_size(bytes_)})")
    click.echo(f"{ledger.path}: {byte_size(done.before)} before, {byte_size(done.after)} after")


@ledger_command.command("check")
@ledger_option
def check_command(ledger_path: Path | None) -> None:
    """Say what is wrong with the ledger, a line each; the exit code is then 1.

    Checks the file, the references between its tables, that every run can be read, and that every state in the folder
    beside it is needed by a run.

    \b
    Example:
      zoo ledger check
    """
    from zoo.ledger.file import RESTORE
    from zoo.ledger.keep import check

    with _open(ledger_path) as ledger:
        damage = ledger.file.damage()
        problems = damage or check(ledger)
    for problem in problems:
        click.echo(problem)
    if problems:
        remedy = f"; the file is damaged: {RESTORE}" if damage else ""
        say(f"{ledger.path}: {counted(len(problems), 'problem')}{remedy}")
        raise click.exceptions.Exit(WORK_FAILED)
    click.echo(f"{ledger.path}: nothing is wrong")
