"""`zoo results`: the table of what the ledger holds."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from zoo.cli.common import ledger_option, print_table, table_options
from zoo.cli.completion import complete_dataset, complete_spec
from zoo.cli.main import Plugins
from zoo.errors import LedgerError, ZooError

if TYPE_CHECKING:
    from zoo.registry import Registry
    from zoo.train.run import Run


@click.command()
@click.argument("patterns", metavar="[SPEC-PATTERN]...", nargs=-1, shell_complete=complete_spec)
@click.option("--data", metavar="DATASET", shell_complete=complete_dataset, help="Only runs on this data set.")
@click.option(
    "--failed", is_flag=True, help="Instead of the table: the runs that failed or diverged, and why, with the trace."
)
@ledger_option
@table_options
@click.pass_obj
def results_command(
    plugins: Plugins,
    patterns: tuple[str, ...],
    data: str | None,
    failed: bool,
    ledger_path: Path | None,
    format_: str,
    sort: str | None,
    as_json: bool,
) -> None:
    """Print the table of the runs in the ledger, without training.

    A row is one spec with one source of its variants. Where the source has changed since, it is marked as stale.
    Data sets, devices and precisions have a table each.

    \b
    Examples:
      zoo results
      zoo results 'eq2425/*' --sort recall
      zoo results --format csv > results.csv
      zoo results --failed
    """
    from zoo.ledger import Ledger, default_path
    from zoo.report.table import check

    format_ = "json" if as_json else format_
    check(format_, sort)
    path = ledger_path or default_path()
    with Ledger(path, create=False) as ledger:
        known = ledger.names()
        names = [name for name in known if any(_matches(name, pattern) for pattern in patterns)] if patterns else None
        chosen = ledger.runs(names=names, dataset=data)
    if not chosen:
        what = f"of {' '.join(patterns)!r}" if patterns else "that has ended"
        on = f" on {data}" if data else ""
        raise LedgerError(f"there is no run {what}{on} in {path}; it holds runs of {len(known)} specs")
    chosen = _under_one_name(chosen)
    if failed:
        click.echo(_reasons([run for run in chosen if run.status != "finished"], as_json=format_ == "json"))
        return
    registry = plugins.registry()
    print_table(chosen, registry, format_=format_, sort=sort, is_stale=_stale(registry))


def _under_one_name(runs: Sequence[Run]) -> list[Run]:
    """Give runs of one spec, which may have been stored under several names, the shortest of them."""
    names: dict[str, str] = {}
    for run in runs:
        names[run.key.spec] = min(names.get(run.key.spec, run.name), run.name, key=len)
    return [attrs.evolve(run, name=names[run.key.spec]) for run in runs]


def _matches(name: str, pattern: str) -> bool:
    if pattern.endswith(".toml"):
        pattern = Path(pattern).stem
    # The name of a spec that was varied has brackets, which a shell pattern would read as a set of characters.
    return name == pattern or fnmatchcase(name, pattern)


def _stale(registry: Registry) -> Callable[[Run], bool]:
    """Return what says of a run whether its variants' source has changed since."""
    from zoo.registry.source import source_digest
    from zoo.spec import structure

    def is_stale(run: Run) -> bool:
        try:
            return source_digest(structure(run.spec, run.name, registry), registry) != run.key.source
        except ZooError:  # of a plugin that is not loaded now, which is not to say that it has changed
            return False

    return is_stale


def _reasons(runs: Sequence[Run], *, as_json: bool) -> str:
    if as_json:
        records = [
            {
                "spec": run.name,
                "seed": run.key.seed,
                "dataset": run.dataset,
                "status": run.status,
                "reason": run.reason,
                "epochs": len(run.epochs),
                "identity": run.key.spec,
            }
            for run in runs
        ]
        return json.dumps(records, indent=2)
    texts = [f"{_title(run)}\n{textwrap.indent(run.reason.strip(), '  ')}" for run in runs]
    return "\n\n".join(texts) or "No run failed or diverged."


def _title(run: Run) -> str:
    return f"{run.name} seed {run.key.seed} on {run.dataset}: {run.status}"
