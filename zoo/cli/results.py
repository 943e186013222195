"""`zoo results`: the table of what the ledger holds."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.common import ledger_option, print_table, say, table_options
from zoo.cli.completion import complete_dataset, complete_spec
from zoo.cli.main import Plugins
from zoo.report import layout

if TYPE_CHECKING:
    from zoo.lab.lab import Lab
    from zoo.lab.table import Detail
    from zoo.train.run import Run


@click.command()
@click.argument("patterns", metavar="[SPEC-PATTERN]...", nargs=-1, shell_complete=complete_spec)
@click.option("--data", metavar="DATASET", shell_complete=complete_dataset, help="Only runs on this data set.")
@click.option(
    "--failed", is_flag=True, help="Instead of the table: the runs that failed or diverged, and why, with the trace."
)
@click.option(
    "--partial", is_flag=True, help="Instead of the table: runs under way or cut short, and how far each has come."
)
@click.option("--epochs", is_flag=True, help="Instead of the table: a row for each epoch of each spec.")
@click.option("--per-class", is_flag=True, help="Instead of the table: the recall of each class.")
@click.option(
    "--confusion",
    metavar="SPEC",
    shell_complete=complete_spec,
    help="Instead of the table: which classes this spec takes for which.",
)
@click.option(
    "--part",
    type=click.Choice(["validation", "test", "train"]),
    help="Of --per-class and --confusion.  [default: validation where images are held out, else test]",
)
@click.option(
    "--against",
    "--compare",
    metavar="SPEC",
    shell_complete=complete_spec,
    help="Judge each other spec against this one, seed by seed, below the table.",
)
@click.option("--to", metavar="NAME:PLACE", help="Instead of the table: write the runs there, as in tensorboard:DIR.")
@ledger_option
@table_options
@click.pass_obj
def results_command(
    plugins: Plugins,
    patterns: tuple[str, ...],
    data: str | None,
    failed: bool,
    partial: bool,
    epochs: bool,
    per_class: bool,
    confusion: str | None,
    part: str | None,
    against: str | None,
    to: str | None,
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
      zoo results --partial
      zoo results starter/4e --against starter/default
      zoo results --confusion starter/default
      zoo results --to tensorboard:runs
    """
    from zoo.report.table import check

    format_ = "json" if as_json else format_
    check(format_, sort)
    alone = {"--failed": failed, "--partial": partial, "--epochs": epochs, "--per-class": per_class,
             "--confusion": confusion, "--against": against, "--to": to}  # fmt: skip
    stated = [name for name, value in alone.items() if value]
    if len(stated) > 1:
        raise click.UsageError(f"{' and '.join(stated)}: each stands alone")
    if part and not (per_class or confusion):
        raise click.UsageError("--part is of --per-class and --confusion; give one of them")
    lab: Lab = plugins.lab(ledger=ledger_path)
    table = lab.results(*patterns, data=data, partial=partial, against=against)
    if against:
        table.judged()  # what cannot be judged is an error before anything is printed
    if partial:
        click.echo(table.render(format_, sort=sort, width=layout.terminal_width()))
        return
    if epochs or per_class or confusion:
        what: Detail = "epochs" if epochs else "per class" if per_class else "confusion"
        click.echo(table.detailed(what, spec=confusion, part=part).render(format_, width=layout.terminal_width()))
        return
    if failed:
        click.echo(_reasons([run for run in table.all if run.status != "finished"], as_json=format_ == "json"))
        return
    if to is not None:
        for line in lab.write(table, to):
            say(line)
        return
    print_table(table, lab, format_=format_, sort=sort)


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
