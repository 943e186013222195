"""`zoo benchmark`: train what is missing and print the table."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.asking import ask_if_long
from zoo.cli.changes import read_sets, read_variations, sets_option
from zoo.cli.common import (
    Duration,
    Epochs,
    Shard,
    executor_options_told,
    fail_if_refused,
    ledger_option,
    print_table,
    say,
    table_options,
    training_options,
)
from zoo.cli.completion import complete_dataset, complete_spec, complete_variant
from zoo.cli.main import Plugins
from zoo.errors import WORK_FAILED
from zoo.report.text import counted

if TYPE_CHECKING:
    from zoo.lab.lab import Lab


@click.command()
@click.argument("patterns", metavar="[SPEC-PATTERN]...", nargs=-1, shell_complete=complete_spec)
@click.option("--seeds", type=click.IntRange(min=1), help="How many seeds, from 0.  [default: 3]")
@click.option(
    "--epochs", type=Epochs(), help="Train this many epochs, such as 20 or 9.9.  [default: as each spec says]"
)
@click.option(
    "--data",
    metavar="DATASET",
    shell_complete=complete_dataset,
    help="Train all on this data set: a name, or your own images as folder:PATH, npz:PATH, csv:PATH, parquet:PATH, "
    "wds:PATH or hf:OWNER/NAME; zoo data list has all.",
)
@sets_option("Set a value in every spec.")
@click.option(
    "--vary",
    "variations",
    multiple=True,
    metavar="PATH=A,B,...",
    shell_complete=complete_variant,
    help="Train every spec with each of these values; with several --vary, every combination.",
)
@click.option(
    "--against",
    metavar="SPEC",
    shell_complete=complete_spec,
    help="Judge each other spec against this one, seed by seed; it is trained too.",
)
@click.option("--budget", type=Duration(), help="Cut seeds, then epochs, to what fits: 90s, 30m, 2h.")
@click.option("--shard", type=Shard(), metavar="K/N", help="Train only share K of N, such as 3/16.")
@training_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask before a long benchmark.")
@click.option(
    "--plan", "plan_only", is_flag=True, help="Print what would be trained and how long it takes; train nothing."
)
@ledger_option
@table_options
@click.pass_obj
def benchmark_command(
    plugins: Plugins,
    /,
    patterns: tuple[str, ...],
    seeds: int | None,
    epochs: float | None,
    data: str | None,
    sets: tuple[str, ...],
    variations: tuple[str, ...],
    against: str | None,
    budget: float | None,
    shard: tuple[int, int] | None,
    yes: bool,
    plan_only: bool,
    ledger_path: Path | None,
    format_: str,
    sort: str | None,
    as_json: bool,
    **trained_on: Any,
) -> None:
    """Train specs, several seeds each, and print the table.

    Without SPEC-PATTERN: every registered spec whose own data set is at hand. A pattern is a name, a shell pattern
    such as 'eq2425/*', or a TOML file. What the ledger holds already is not trained again.

    \b
    Examples:
      zoo benchmark
      zoo benchmark 'eq2425/*' --data folder:images --epochs 3 --seeds 1
      zoo benchmark starter/default --vary activation=relu,mish --seeds 10
      zoo benchmark mine.toml --against starter/default
      zoo benchmark mine.toml --set optimizer.learning_rate=0.02 --budget 30m
    """
    from zoo.report.table import check

    format_ = "json" if as_json else format_
    check(format_, sort)
    lab: Lab = plugins.lab(ledger=ledger_path, **trained_on)
    changes = {"sets": read_sets(sets), "vary": read_variations(variations)}
    with executor_options_told(trained_on["executor"], sets, lab.registry):
        selection = lab.select(*patterns, epochs=epochs, data=data, against=against, **changes)

    # From here on torch is needed.
    from zoo.report.plan import render

    if not plan_only:
        lab.warm_up()
    plan = lab.plan(selection, seeds=seeds, budget=budget, shard=shard)
    for line in plan.lines:
        say(line)
    refused = [name for name in plan.unfit if name in selection.named]
    if plan_only:
        click.echo(render(plan, as_json=format_ == "json"))
        fail_if_refused(refused)
        return
    cut = "--budget, --epochs, --seeds and SPEC-PATTERN"
    remedy = "--budget 10m, --epochs, --seeds or a SPEC-PATTERN; --plan says what takes how long"
    if not yes and plan.missing and not ask_if_long(plan.estimate, cut_by=cut, remedy=remedy):
        return
    table = lab.carry_out(plan)
    print_table(table, lab, format_=format_, sort=sort)
    failed = sum(run.status == "failed" for run in table.all)
    if failed:
        where = f" --ledger {quote(str(ledger_path))}" if ledger_path else ""
        say(f"{counted(failed, 'run')} failed: `zoo results --failed{where}` says why, with the trace.")
        raise click.exceptions.Exit(WORK_FAILED)
    fail_if_refused(refused)
