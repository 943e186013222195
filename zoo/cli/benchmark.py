"""`zoo benchmark`: train what is missing and print the table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.changes import overridden, varied
from zoo.cli.common import Duration, ledger_option, print_table, say, table_options
from zoo.cli.completion import complete_dataset, complete_spec, complete_variant
from zoo.cli.layout import paragraph
from zoo.cli.main import Plugins
from zoo.errors import INTERRUPTED, WORK_FAILED, DataError, SpecError
from zoo.report.text import counted

if TYPE_CHECKING:
    from zoo.benchmark import Plan
    from zoo.ledger import Ledger
    from zoo.registry import Registry
    from zoo.spec import Spec
    from zoo.train.engines.choice import Wanted
    from zoo.train.run import Run


@click.command()
@click.argument("patterns", metavar="[SPEC-PATTERN]...", nargs=-1, shell_complete=complete_spec)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="How many seeds, from 0.")
@click.option("--epochs", type=click.IntRange(min=1), help="Train this many epochs.  [default: as each spec says]")
@click.option(
    "--data",
    metavar="DATASET",
    shell_complete=complete_dataset,
    help="Train all on this data set: a name, folder:PATH or npz:PATH.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=complete_variant,
    help="Set a value in every spec.",
)
@click.option(
    "--vary",
    "variations",
    multiple=True,
    metavar="PATH=A,B,...",
    shell_complete=complete_variant,
    help="Train every spec with each of these values; with several --vary, every combination.",
)
@click.option("--budget", type=Duration(), help="Cut seeds, then epochs, to what fits: 90s, 30m, 2h.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda", "mps"]))
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["fp32", "tf32", "bf16", "auto"]),
    help="Of convolutions and matrix products; auto is fp32.",
)
@click.option(
    "--engine",
    default="sequential",
    show_default=True,
    type=click.Choice(["auto", "sequential", "captured"]),
    help="How steps are made; captured replays recorded ones, on NVIDIA GPUs, and auto is the faster one. "
    "Only sequential has been tried.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Runs at once: on a CPU one core each, on an NVIDIA GPU side by side.  [default: all cores; 1]",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask before a long benchmark.")
@click.option(
    "--plan", "plan_only", is_flag=True, help="Print what would be trained and how long it takes; train nothing."
)
@ledger_option
@table_options
@click.pass_obj
def benchmark_command(
    plugins: Plugins,
    patterns: tuple[str, ...],
    seeds: int,
    epochs: int | None,
    data: str | None,
    sets: tuple[str, ...],
    variations: tuple[str, ...],
    budget: float | None,
    device: str,
    precision: str,
    engine: Wanted,
    jobs: int | None,
    yes: bool,
    plan_only: bool,
    ledger_path: Path | None,
    format_: str,
    sort: str | None,
    as_json: bool,
) -> None:
    """Train specs, several seeds each, and print the table.

    Without SPEC-PATTERN: every registered spec whose own data set is at hand. A pattern is a name, a shell pattern
    such as 'eq2425/*', or a TOML file. What the ledger holds already is not trained again.

    \b
    Examples:
      zoo benchmark
      zoo benchmark 'eq2425/*' --data folder:images --epochs 3 --seeds 1
      zoo benchmark starter/default --vary activation=relu,mish,squared_relu --seeds 10
      zoo benchmark mine.toml --set training.optimizer.learning_rate=0.02 --budget 30m
    """
    from zoo.report.table import check

    format_ = "json" if as_json else format_
    check(format_, sort)
    registry: Registry = plugins.registry()
    specs, families, broken = _specs(registry, patterns, epochs, data, sets, variations)
    if not specs:
        raise SpecError("\n".join(["there is no valid spec to train", *broken]))

    # From here on torch is needed.
    from zoo.benchmark import make_plan, within_budget
    from zoo.cli.plan import ask_if_long, over_budget, remarks, render
    from zoo.execution.processes import warm_up
    from zoo.ledger import Ledger, default_path
    from zoo.train.engines.choice import check_engine
    from zoo.train.machine import choose_device
    from zoo.train.precision import choose_precision

    device = choose_device(device)
    check_engine(engine, device)
    if device == "mps" and jobs is not None:
        raise click.UsageError("--jobs is for the CPU and NVIDIA GPUs, and the device is mps; leave it out")
    if device == "cpu" and jobs != 1 and not plan_only:
        warm_up()
    path = ledger_path or default_path()
    with Ledger(path) as ledger:
        seed_list = list(range(seeds))
        plan_for = partial(
            make_plan,
            registry=registry,
            device=device,
            ledger=ledger,
            jobs=jobs,
            precision=choose_precision(precision, device),
        )
        if sys.stderr.isatty():
            say(f"Planning {counted(len(specs), 'spec')} ...")
        plan = plan_for(specs, seed_list)
        lines = broken
        if budget is not None and plan.estimate > budget:
            specs, seed_list = within_budget(specs, seed_list, plan, budget, registry=registry)
            plan = plan_for(specs, seed_list)
            lines += over_budget(plan, seed_list, budget)
        for line in (*lines, *remarks(plan, path)):
            say(line)
        if plan_only:
            click.echo(render(plan, as_json=format_ == "json"))
            return
        if not yes and not ask_if_long(plan):
            return
        runs = _train(plan, registry, device, ledger, path, engine)
    print_table(runs, registry, format_=format_, sort=sort)
    if families and format_ not in ("csv", "json"):
        from zoo.report.verdict import verdicts

        for line in ("", *verdicts(runs, families)):
            click.echo(paragraph(line))
    failed = sum(run.status == "failed" for run in runs)
    if failed:
        where = f" --ledger {ledger_path}" if ledger_path else ""
        say(f"{counted(failed, 'run')} failed: `zoo results --failed{where}` says why, with the trace.")
        raise click.exceptions.Exit(WORK_FAILED)


def _specs(
    registry: Registry,
    patterns: Sequence[str],
    epochs: int | None,
    data: str | None,
    sets: Sequence[str],
    variations: Sequence[str],
) -> tuple[list[Spec], list[list[str]], list[str]]:
    """Return the specs that the command line describes, and a line about each that a pattern named but is broken.

    Between the two stand the names of those that differ in nothing but what --vary says, together.

    Raises:
        ZooError: the command line is not valid, or the data of a spec that was named itself is not at hand.
    """
    from zoo.data import source
    from zoo.spec.resolve import select

    specs, broken = select(patterns or ["*"], registry=registry)
    specs = overridden(specs, registry, sets=sets, data=data, epochs=epochs)
    named = {Path(pattern).stem if pattern.endswith(".toml") else pattern for pattern in patterns}
    for spec in specs:
        reason = source(spec.data.dataset, registry).missing()
        if reason is not None and (spec.name in named or data is not None):
            raise DataError(f"{spec.name}: the data set {spec.data.dataset} is not at hand: {reason}")
    if not variations:
        return specs, [], broken
    families = [varied([spec], registry, variations=variations, sets=sets) for spec in specs]
    return [spec for family in families for spec in family], [[s.name for s in family] for family in families], broken


def _train(plan: Plan, registry: Registry, device: str, ledger: Ledger, path: Path, engine: Wanted) -> list[Run]:
    from zoo.benchmark import carry_out
    from zoo.cli.progress import Display

    try:
        with Display(plan) as display:
            return carry_out(
                plan,
                registry=registry,
                device=device,
                ledger=ledger,
                watch=display.watch,
                say=display.say,
                engine=engine,
            )
    except KeyboardInterrupt:
        stored = len(plan.runs) - len(plan.missing) + len(ledger.ended(run.key for run in plan.missing))
        say(f"\nStopped: {stored} of {counted(len(plan.runs), 'run')} are stored in {path}.")
        say("The same command goes on from there.")
        raise click.exceptions.Exit(INTERRUPTED) from None
