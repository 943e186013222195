"""`zoo study`: list, show, plan, run and report studies."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from zoo.cli import layout
from zoo.cli.changes import read_overrides
from zoo.cli.common import Duration, ledger_option, say
from zoo.cli.completion import complete_dataset, complete_spec, complete_study, complete_variant
from zoo.cli.main import Plugins
from zoo.errors import INTERRUPTED, WORK_FAILED, BuildError, SpecError, ZooError
from zoo.report.text import counted, quantity, rough_duration
from zoo.spec.paths import parse_values
from zoo.study.definition import Study, design_names, read_study, study_tree

if TYPE_CHECKING:
    from zoo.benchmark import Plan
    from zoo.data import Dataset
    from zoo.ledger import Ledger
    from zoo.registry import Registry
    from zoo.spec import Spec
    from zoo.study.arms import Train
    from zoo.study.conduct import Auto
    from zoo.study.plan import StudyPlan
    from zoo.study.result import StudyResult
    from zoo.train.run import Precision, Run

Command = TypeVar("Command", bound=Callable[..., Any])
UNNAMED = "ad-hoc"
"""Name of a study that the command line alone describes."""


@click.group()
def study_command() -> None:
    """Find out which changes help, alone and together.

    A study is a base spec, named changes to it, and a design: which combinations are trained. It is registered by a
    plugin, a TOML file, or described by options.

    \b
    Examples:
      zoo study list
      zoo study plan starter-factorial
      zoo study run starter-factorial
      zoo study report starter-factorial -o report.html
      zoo study run --base starter/default --change leaky:activation=leaky_relu --change size:filter.size=5,7
    """


class Seeds(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """How many seeds, or "auto"."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number, or "auto"."""
        if value == "auto":
            return "auto"
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"expected a number of seeds, from 1, or auto, got {value!r}", param, ctx)
        return int(value)


def _study_options(command: Command) -> Command:
    """Add what describes a study and what it is run with."""
    for option in (
        ledger_option,
        click.option("--precision", default="auto", show_default=True,
                     type=click.Choice(["fp32", "tf32", "bf16", "auto"]),
                     help="Of convolutions and matrix products; auto is fp32."),
        click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda", "mps"])),
        click.option("--max-seeds", type=click.IntRange(min=1),
                     help="With --seeds auto: as many at most.  [default: 15]"),
        click.option("--seeds", type=Seeds(), metavar="N|auto",
                     help="How many seeds, from 0; auto adds some where a claim is undecided.  [default: the study's]"),
        click.option("--match", type=click.Choice(["parameters", "flops"]),
                     help="Compare each change that makes the network larger with a base widened to its size, too."),
        click.option("--margin", type=click.FloatRange(min=0, min_open=True),
                     help="A difference in recall that makes no practical difference.  [default: the study's]"),
        click.option("--select", type=click.Choice(["validation", "test"]),
                     help="The part of the data that claims are about.  [default: the study's]"),
        click.option("--resolution", type=click.IntRange(3, 5), help="Of a fractional design.  [default: the study's]"),
        click.option("--design", type=click.Choice(list(design_names())), help="Which combinations are trained."),
        click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", shell_complete=complete_variant,
                     help="Set a value in the base."),
        click.option("--data", metavar="DATASET", shell_complete=complete_dataset,
                     help="Train on this data set: a name, folder:PATH or npz:PATH."),
        click.option("--epochs", type=click.IntRange(min=1), help="Train this many epochs."),
        click.option("--change", "changes", multiple=True, metavar="NAME:PATH=VALUE",
                     help="Add a change; several values (5,7) make a choice among levels, and several --change of one "
                     "name a change of several paths."),
        click.option("--base", metavar="SPEC", shell_complete=complete_spec, help="The spec that is changed."),
        click.argument("name", metavar="[NAME]", required=False, shell_complete=complete_study),
    ):  # fmt: skip
        command = option(command)
    return command


@study_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_command(plugins: Plugins, as_json: bool) -> None:
    """List the registered studies."""
    registry: Registry = plugins.registry()
    records = []
    for name in sorted(registry.studies):
        try:
            study = read_study(name, registry=registry)
        except ZooError as error:
            say(f"Left out: {name}: {error}")
            continue
        records.append(
            {
                "study": name,
                "base": study.base.name,
                "design": study.design.design,
                "changes": sum(len(factor.levels) for factor in study.factors),
                "description": study.design.description,
            }
        )
    if as_json:
        click.echo(json.dumps(records, indent=2))
        return
    rows = [[str(value) for value in record.values()] for record in records]
    click.echo(layout.table(rows, headers=["study", "base", "design", "changes", "description"]))


@study_command.command("show")
@_study_options
@click.pass_obj
def show_command(plugins: Plugins, /, **options: Any) -> None:
    """Show a study's changes, and what each of them does to the network and its training.

    \b
    Examples:
      zoo study show starter-factorial
      zoo study show eq2425-corrected --data folder:images
    """
    registry: Registry = plugins.registry()
    study = _study(registry, options)

    from zoo.study.conduct import proofs
    from zoo.train.execute import dataset

    shown = proofs(study, dataset(study.base, registry, "cpu"), registry)
    click.echo(f"{study.name}: {study.design.description}" if study.design.description else study.name)
    click.echo(
        f"base {study.base.name}; design {study.design.design}; selects on {study.design.select}; "
        f"{counted(study.design.seeds, 'seed')}; margin {study.design.margin:g}"
    )
    for change, lines in shown.items():
        click.echo(f"\n{change}")
        for line in lines:
            click.echo(f"  {line}")
    for note in study.notes:
        say(f"Note: {note}")


@study_command.command("plan")
@_study_options
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at once, as in zoo benchmark.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def plan_command(plugins: Plugins, /, as_json: bool, **options: Any) -> None:
    """Say what a study would train, how long that takes, and how small a difference it could detect; train nothing."""
    with _Work(plugins, options) as work:
        found = work.plan(work.first_seeds)
        if as_json:
            record = {
                **{k: v for k, v in attrs.asdict(found, recurse=False).items() if k != "plan"},
                "missing": len(found.plan.missing),
                "stored": len(found.plan.runs) - len(found.plan.missing),
            }
            click.echo(json.dumps(record, indent=2))
            return
        for line in _described(work.study, work.first_seeds, found, work.path):
            click.echo(line)


@study_command.command("run")
@_study_options
@click.option("--budget", type=Duration(), help="Fewer seeds, so that it takes no longer: 90s, 30m, 2h.")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at once, as in zoo benchmark.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before a long study.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write the result to this file.")
@click.option("--format", "format_", metavar="FORMAT", help="As in zoo study report.")
@click.pass_obj
def run_command(
    plugins: Plugins,
    /,
    budget: float | None,
    yes: bool,
    output: Path | None,
    format_: str | None,
    **options: Any,
) -> None:
    """Train what a study's design asks for, and say which changes help.

    What the ledger holds already is not trained again. The same command goes on after an interruption.

    \b
    Examples:
      zoo study run starter-factorial
      zoo study run eq2425-corrected --data folder:images --epochs 5 --seeds auto --budget 30m
      zoo study run --base starter/default --change leaky:activation=leaky_relu --change bn:normalization=batch \\
          --design factorial
    """
    format_ = _format(output, format_)
    with _Work(plugins, options) as work:
        seeds = work.first_seeds
        found = work.plan(seeds)
        if budget is not None and found.seconds > budget:
            seeds = work.within(seeds, found.plan, budget)
            found = work.plan(seeds)
            say(f"Cut down to the budget: {counted(len(seeds), 'seed')}.")
        for line in _described(work.study, seeds, found, work.path):
            say(line)
        if not yes and not _go_on(found):
            return
        start = time.monotonic()

        def go_on() -> bool:
            return budget is None or (time.monotonic() - start) * 2 <= budget

        result = work.conduct(work.train, seeds, go_on)
        _show(result, output, format_)
        if any(arm.failed for arm in result.arms):
            say("Some runs failed: `zoo results --failed` says why, with the trace.")
            raise click.exceptions.Exit(WORK_FAILED)


@study_command.command("report")
@_study_options
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@click.option(
    "--format",
    "format_",
    metavar="FORMAT",
    help="html, markdown, latex, csv, json, parquet, or any format of tabulate.  [default: by the ending of --output, "
    "else simple]",
)
@click.pass_obj
def report_command(plugins: Plugins, /, output: Path | None, format_: str | None, **options: Any) -> None:
    """Judge the runs of a study that the ledger holds, without training.

    Give the options that the study was run with.

    \b
    Examples:
      zoo study report starter-factorial -o report.html
      zoo study report starter-factorial --format latex > table.tex
    """
    format_ = _format(output, format_)
    with _Work(plugins, options, creates=False) as work:
        _show(work.conduct(work.stored, work.first_seeds, lambda: True), output, format_)


class _Work:
    """A study that the command line describes, with all that is needed to train it or to find its runs."""

    def __init__(self, plugins: Plugins, options: dict[str, Any], *, creates: bool = True) -> None:
        self.registry: Registry = plugins.registry()
        self.study = _study(self.registry, options)
        self._options = options
        self._plugins = plugins
        self.unfit: dict[str, str] = {}

        # From here on torch is needed.
        from zoo.ledger import Ledger, default_path
        from zoo.study.conduct import check_auto
        from zoo.train.execute import dataset
        from zoo.train.machine import choose_device, make_deterministic
        from zoo.train.precision import choose_precision

        self.device = choose_device(options["device"])
        self.precision: Precision = choose_precision(options["precision"], self.device)
        self.is_auto = options["seeds"] == "auto"
        if self.is_auto:
            check_auto(self.study)
        elif options["max_seeds"]:
            raise click.UsageError("--max-seeds is for --seeds auto")
        make_deterministic(self.device)
        self.dataset: Dataset = dataset(self.study.base, self.registry, self.device)
        for note in self.study.notes:
            say(f"Note: {note}")
        self.path: Path = options["ledger_path"] or default_path()
        self.ledger: Ledger = Ledger(self.path, create=creates)

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()

    @property
    def most_seeds(self) -> int:
        """How many seeds there are at most."""
        from zoo.study.conduct import MOST_SEEDS

        if self.is_auto:
            return int(self._options["max_seeds"] or MOST_SEEDS)
        return int(self._options["seeds"] or self.study.design.seeds)

    @property
    def first_seeds(self) -> list[int]:
        """The seeds that are trained in any case."""
        from zoo.study.conduct import FIRST_SEEDS

        return list(range(min(FIRST_SEEDS, self.most_seeds) if self.is_auto else self.most_seeds))

    def plan(self, seeds: Sequence[int]) -> StudyPlan:
        """Find out what these seeds cost and can show."""
        from zoo.study.designs import can_lack
        from zoo.study.plan import first_specs, study_plan

        specs = first_specs(self.study, self.registry)
        if sys.stderr.isatty():
            say(f"Planning {counted(len(specs), 'spec')} ...")
        plan = self._plan_runs(specs, seeds)
        if plan.unfit and not can_lack(self.study):
            raise BuildError("\n".join(plan.unfit.values()))
        return study_plan(
            self.study,
            seeds,
            plan,
            dataset=self.dataset,
            registry=self.registry,
            ledger=self.ledger,
        )

    def _plan_runs(self, specs: Sequence[Spec], seeds: Sequence[int]) -> Plan:
        """Plan runs; what cannot be trained is noted."""
        from zoo.benchmark import make_plan

        plan = make_plan(
            specs,
            seeds,
            registry=self.registry,
            device=self.device,
            ledger=self.ledger,
            jobs=self._options.get("jobs"),
            precision=self.precision,
        )
        self.unfit |= plan.unfit
        return plan

    def within(self, seeds: Sequence[int], plan: Plan, budget: float) -> list[int]:
        """Return so many of a plan's seeds that they fit a budget.

        Raises:
            SpecError: not even two do.
        """
        from zoo.study.plan import seconds_with

        for count in range(len(seeds), 1, -1):
            if seconds_with(self.study, plan, seeds[:count]) <= budget:
                return list(seeds[:count])
        least = seconds_with(self.study, plan, seeds[:2])
        raise SpecError(
            f"two seeds take about {rough_duration(least)} and the budget is {rough_duration(budget)}: take fewer "
            "--epochs, fewer changes, or a design with fewer combinations"
        )

    def conduct(self, train: Train, seeds: Sequence[int], go_on: Callable[[], bool]) -> StudyResult:
        """Carry the study out, or read what was."""
        from zoo.study.conduct import SEED_BATCH, Auto, conduct

        auto: Auto | None = None
        if self.is_auto:
            auto = Auto(len(seeds), SEED_BATCH, max(self.most_seeds, len(seeds)), go_on)
            seeds = range(auto.most)
        result = conduct(
            self.study,
            list(seeds),
            train,
            dataset=self.dataset,
            registry=self.registry,
            auto=auto,
            command=_command(self._plugins, self.study, self._options),
        )
        return attrs.evolve(result, notes=(*result.notes, *(f"Left out: {reason}" for reason in self.unfit.values())))

    def train(self, specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        """Train what the ledger does not hold, with a display."""
        from zoo.benchmark import carry_out
        from zoo.cli.progress import Display

        try:
            plan = self._plan_runs(specs, seeds)
        except BuildError:  # none of them can be trained, which the plan of the study has said
            return []
        try:
            with Display(plan) as display:
                return carry_out(
                    plan,
                    registry=self.registry,
                    device=self.device,
                    ledger=self.ledger,
                    watch=display.watch,
                    say=display.say,
                )
        except KeyboardInterrupt:
            say(f"\nStopped: what has ended is stored in {self.path}. The same command goes on from there.")
            raise click.exceptions.Exit(INTERRUPTED) from None

    def stored(self, specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        """Return the runs that the ledger holds."""
        from zoo.benchmark import stored_runs

        return stored_runs(
            specs, seeds, self.dataset, registry=self.registry, ledger=self.ledger, precision=self.precision
        )


def _study(registry: Registry, options: dict[str, Any]) -> Study:
    """Read the study that the options describe.

    Raises:
        ZooError: there is none, or it is not valid.
    """
    name: str | None = options["name"]
    if name is None and options["base"] is None:
        raise click.UsageError("name a study (`zoo study list`), a TOML file, or describe one by --base and --change")
    tree: dict[str, Any] = dict(study_tree(name, registry=registry)) if name else {}
    for key in ("base", "design", "select", "margin", "match", "resolution"):
        if options[key] is not None:
            tree[key] = options[key]
    changes = tree.get("changes", {})
    if options["changes"]:
        tree["changes"] = {**(changes if isinstance(changes, Mapping) else {}), **_changes(options["changes"])}
    overrides = read_overrides(sets=options["sets"], data=options["data"], epochs=options["epochs"])
    label = Path(name).stem if name and name.endswith(".toml") else name or UNNAMED
    return read_study(tree, registry=registry, name=label, overrides=overrides)


def _changes(texts: Sequence[str]) -> dict[str, Any]:
    """Read `--change name:path=value`, several of one name together."""
    changes: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        path, equals, values = rest.partition("=")
        name, path = name.strip(), path.strip()
        if not (colon and equals and name and path and values):
            raise SpecError(
                f"expected NAME:PATH=VALUE after --change, got {text!r}; for example leaky:activation=leaky_relu"
            )
        read = parse_values(values)
        if len(read) == 1:
            changes.setdefault(name, {})[path] = read[0]
        elif name in changes:
            raise SpecError(f"--change {name}: a change of several paths cannot be a choice among values, {values}")
        else:
            changes[name] = {"levels": {str(value): {path: value} for value in read}}
    return changes


def _described(study: Study, seeds: Sequence[int], found: StudyPlan, path: Path) -> list[str]:
    """Say in lines what a study will do and what it can show."""
    plan = found.plan
    held = len(plan.runs) - len(plan.missing)
    most = "at most " if found.is_most else ""
    lines = [
        f"{study.name}: {study.design.design}, {counted(len(study.factors), 'change')} of {study.base.name}, "
        f"{most}{counted(found.combinations, 'combination')} with {counted(len(seeds), 'seed')}: "
        f"{most}{counted(found.runs, 'run')}; {held} {'is' if held == 1 else 'are'} in {path} already.",
        f"Time: {most}about {rough_duration(found.seconds)}, {counted(plan.jobs, 'run')} at once; "
        f"memory: about {quantity(found.memory * plan.jobs)}B beside the data.",
    ]
    lines += [f"Note: {note}." for note in plan.notes]
    lines += [f"Left out: {reason}" for reason in plan.unfit.values()]
    if found.deviation is None:
        can = ", ".join(f"{value:.2g} standard deviations for {what}" for what, value in found.detectable.items())
        known = "of a paired difference, which is not known yet"
    else:
        can = ", ".join(f"{value:.4f} for {what}" for what, value in found.detectable.items())
        known = f"standard deviation of a paired difference: {found.deviation:.4f}, from runs in the ledger"
    lines.append(
        f"Smallest difference in recall found with a power of 80%, {counted(found.claims, 'claim')} corrected for: "
        f"{can} ({known})."
    )
    return lines


def _go_on(found: StudyPlan) -> bool:
    from zoo.cli.plan import ASK_ABOVE, interactive

    if found.seconds <= ASK_ABOVE:
        return True
    if not interactive():
        raise ZooError(
            f"that is over {rough_duration(ASK_ABOVE)}: say --yes to go on, or cut it down with --budget 10m, "
            "--epochs or --seeds"
        )
    return click.confirm("Go on? (--budget, --epochs and --seeds cut it down)", err=True)


_ENDINGS = {
    ".html": "html",
    ".md": "markdown",
    ".tex": "latex",
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
}


def _format(output: Path | None, format_: str | None) -> str:
    """Return the format asked for, checked before any work: as stated, or by the ending of the file.

    Raises:
        ZooError: there is no such format, or it needs a file.
    """
    from zoo.report.study.tables import DEFAULT_FORMAT, check

    endings = {
        ".html": "html",
        ".md": "markdown",
        ".tex": "latex",
        ".csv": "csv",
        ".json": "json",
        ".parquet": "parquet",
    }
    if format_ is None:
        format_ = endings.get(output.suffix.lower(), DEFAULT_FORMAT) if output else DEFAULT_FORMAT
    if format_ != "html" and format_ != "parquet":
        check(format_)
    if format_ == "parquet" and output is None:
        raise ZooError("--format parquet is not for a terminal: name a file with --output FILE")
    if output is not None and not output.absolute().parent.is_dir():
        raise ZooError(f"--output {output}: there is no folder {output.parent}")
    return format_


def _show(result: StudyResult, output: Path | None, format_: str) -> None:
    """Print the result, or write it to a file and print the default table."""
    from zoo.report.study.tables import parquet, render

    if output is None and format_ != "html":
        click.echo(render(result, format_=format_, width=layout.terminal_width()))
        return
    if output is not None:
        click.echo(render(result, width=layout.terminal_width()))
    content: bytes
    if format_ == "parquet":
        content = parquet(result)
    elif format_ == "html":
        from zoo.report.study.page import page

        content = page(result).encode()
    else:
        content = (render(result, format_=format_) + "\n").encode()
    if output is None:
        click.echo(content.decode(), nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise ZooError(f"--output {output}: {error.strerror}; name another file") from error
    say(f"Written to {output}.")


def _command(plugins: Plugins, study: Study, options: dict[str, Any]) -> str:
    """Return the command that repeats a study."""
    before = [word for name in plugins.left_out for word in ("-p", name)]
    before += [word for file in plugins.files for word in ("--plugin", str(file))]
    words = ["zoo", *before, "study", "run", *([options["name"]] if options["name"] else [])]
    stated = {
        "--base": options["base"],
        "--design": options["design"],
        "--resolution": options["resolution"],
        "--select": options["select"],
        "--margin": options["margin"],
        "--match": options["match"],
        "--epochs": options["epochs"],
        "--data": options["data"],
        "--seeds": options["seeds"] or study.design.seeds,
        "--max-seeds": options["max_seeds"],
        "--ledger": options["ledger_path"],
        "--precision": None if options["precision"] == "auto" else options["precision"],
    }
    for change in options["changes"]:
        words += ["--change", change]
    for text in options["sets"]:
        words += ["--set", text]
    for option, value in stated.items():
        if value is not None:
            words += [option, str(value)]
    return shlex.join(words)
