"""`zoo results`: the table of what the ledger holds."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import click

from zoo.cli.common import complete_spec, ledger_option, table_options
from zoo.cli.main import Plugins
from zoo.errors import LedgerError


@click.command()
@click.argument("patterns", metavar="[SPEC-PATTERN]...", nargs=-1, shell_complete=complete_spec)
@click.option("--data", metavar="DATASET", help="Only runs on this data set.")
@ledger_option
@table_options
@click.pass_obj
def results_command(
    plugins: Plugins,
    patterns: tuple[str, ...],
    data: str | None,
    ledger_path: Path | None,
    format_: str,
    sort: str | None,
    as_json: bool,
) -> None:
    """Print the table of the runs in the ledger, without training.

    \b
    Examples:
      zoo results
      zoo results 'eq2425/*' --sort recall
      zoo results --format csv > results.csv
    """
    from zoo.benchmark import tell
    from zoo.ledger import Ledger, default_path
    from zoo.report.table import render

    path = ledger_path or default_path()
    with Ledger(path, create=False) as ledger:
        runs = [run for run in ledger.runs(dataset=data) if run.status != "running"]
    chosen = [run for run in runs if not patterns or any(fnmatchcase(run.name, p) or run.name == p for p in patterns)]
    if not chosen:
        what = f"matches {' '.join(patterns)!r}" if patterns else "has ended"
        on = f" on {data}" if data else ""
        raise LedgerError(f"no run in {path} {what}{on}; it holds {len(runs)} ended runs")
    click.echo(render(chosen, format_="json" if as_json else format_, sort=sort))
    if format_ not in ("csv", "json") and not as_json:
        registry = plugins.registry()
        for sections in tell(registry, "zoo_report_sections", lambda line: click.echo(line, err=True), runs=chosen):
            for section in sections:
                click.echo("\n" + section)
