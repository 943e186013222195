"""`zoo benchmark`: train what is missing and print the table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.common import Duration, complete_spec, complete_variant, ledger_option, table_options
from zoo.cli.main import Plugins
from zoo.errors import INTERRUPTED, WORK_FAILED, SpecError, ZooError

if TYPE_CHECKING:
    from zoo.benchmark import Plan
    from zoo.ledger import Ledger
    from zoo.registry import Registry
    from zoo.spec import Spec
    from zoo.train.run import Run

ASK_ABOVE = 600.0
"""Estimated seconds above which a benchmark is planned and asked about first."""


@click.command()
@click.argument("patterns", metavar="[SPEC-PATTERN]...", nargs=-1, shell_complete=complete_spec)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="How many seeds, from 0.")
@click.option("--epochs", type=click.IntRange(min=1), help="Train this many epochs.  [default: as each spec says]")
@click.option("--data", metavar="DATASET", help="Train all on this data set: a name, folder:PATH or npz:PATH.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Set a value in every spec.")
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
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at once on a CPU, one core each.  [default: all cores]")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before a long benchmark.")
@click.option(
    "--plan", "plan_only", is_flag=True, help="Say what would be trained and how long it takes; train nothing."
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

    check(format_, sort)
    registry: Registry = plugins.registry()
    specs, broken = _specs(registry, patterns, epochs, data, sets, variations)

    # From here on torch is needed.
    from zoo.benchmark import make_plan, within_budget
    from zoo.ledger import Ledger, default_path
    from zoo.train.execute import choose_device
    from zoo.train.workers import available_cores, warm_up

    device = choose_device(device)
    jobs = (jobs or available_cores()) if device == "cpu" else 1
    if jobs > 1:
        warm_up()
    path = ledger_path or default_path()
    with Ledger(path) as ledger:
        seed_list = list(range(seeds))
        plan = make_plan(specs, seed_list, registry=registry, device=device, ledger=ledger, jobs=jobs)
        if budget is not None and plan.estimate > budget:
            specs, seed_list = within_budget(specs, seed_list, plan, budget, registry=registry)
            plan = make_plan(specs, seed_list, registry=registry, device=device, ledger=ledger, jobs=jobs)
            _say(
                f"Cut down to the budget: {len(seed_list)} seeds, "
                f"{max(spec.training.epochs for spec in specs)} epochs at most."
            )
        for line in (*broken, *_remarks(plan, path)):
            _say(line)
        if plan_only:
            return
        if plan.missing and plan.estimate > ASK_ABOVE and not yes:
            _ask()
        runs = _train(plan, registry, device, ledger, path)
    _print(runs, registry, "json" if as_json else format_, sort)
    if any(run.status == "failed" for run in runs):
        raise click.exceptions.Exit(WORK_FAILED)


def _specs(
    registry: Registry,
    patterns: Sequence[str],
    epochs: int | None,
    data: str | None,
    sets: Sequence[str],
    variations: Sequence[str],
) -> tuple[list[Spec], list[str]]:
    """Return the specs that the command line describes, and a line about each that a pattern named but is broken."""
    from zoo.paths import NoChangeError, apply, parse_set, parse_values
    from zoo.resolve import select, vary

    specs, broken = select(patterns or ["*"], registry=registry)
    overrides: dict[str, Any] = {}
    if epochs is not None:
        overrides["training.epochs"] = epochs
    if data is not None:
        overrides["data.dataset"] = data
    for text in sets:
        path, value = parse_set(text)
        if path in overrides:
            raise SpecError(f"{path} is set twice on the command line")
        overrides[path] = value
    for path, value in overrides.items():
        changed = []
        for spec in specs:
            try:
                changed.append(apply(spec, {path: value}, registry))
            except NoChangeError:
                changed.append(spec)
        specs = changed
    values = {path: parse_values(value) for path, value in (_split(text) for text in variations)}
    return vary(specs, values, registry=registry) if values else specs, broken


def _split(text: str) -> tuple[str, str]:
    path, equals, values = text.partition("=")
    if not equals or not path or not values:
        raise SpecError(f"expected path=a,b,... after --vary, got {text!r}; for example --vary activation=relu,mish")
    return path, values


def _remarks(plan: Plan, path: Path) -> list[str]:
    from zoo.report.table import duration

    lines = [f"Note: {note}." for note in plan.notes]
    for name, waiting in plan.waiting.items():
        lines.append(f"{len(waiting)} specs wait for the data set {name} ({_few(waiting)}): zoo data get {name}")
    lines += [f"Left out: {reason}" for reason in plan.unfit.values()]
    held = len(plan.runs) - len(plan.missing)
    if plan.missing:
        already = f"; {held} are in {path} already" if held else ""
        lines.append(f"{len(plan.missing)} runs to train{already}: about {duration(plan.estimate)}.")
    elif plan.runs:
        lines.append(f"Nothing to train: all {len(plan.runs)} runs are in {path}.")
    return lines


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise ZooError(
            "that is over 10 minutes: say --yes to go on, or cut it down with --budget 10m, --epochs, --seeds or a "
            "SPEC-PATTERN"
        )
    click.confirm("Go on? (--budget, --epochs, --seeds and SPEC-PATTERN cut it down)", abort=True, err=True)


def _train(plan: Plan, registry: Registry, device: str, ledger: Ledger, path: Path) -> list[Run]:
    from zoo.benchmark import carry_out
    from zoo.cli.progress import Display

    try:
        with Display(plan) as display:
            return carry_out(
                plan, registry=registry, device=device, ledger=ledger, watch=display.watch, say=display.say
            )
    except KeyboardInterrupt:
        stored = len(plan.runs) - len(plan.missing) + len(ledger.ended(run.key for run in plan.missing))
        _say(f"\nStopped: {stored} of {len(plan.runs)} runs are in {path}. The same command goes on from there.")
        raise click.exceptions.Exit(INTERRUPTED) from None


def _print(runs: list[Run], registry: Registry, format_: str, sort: str | None) -> None:
    from zoo.benchmark import tell
    from zoo.report.table import render

    if runs:
        click.echo(render(runs, format_=format_, sort=sort))
    if format_ not in ("csv", "json"):
        for sections in tell(registry, "zoo_report_sections", _say, runs=runs):
            for section in sections:
                click.echo("\n" + section)


def _say(line: str) -> None:
    click.echo(line, err=True)
