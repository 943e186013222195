"""`zoo study`: list, show, plan, run and report studies."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from zoo.cli.asking import ask_if_long
from zoo.cli.changes import read_sets
from zoo.cli.common import (
    Duration,
    Group,
    Shard,
    device_options,
    fail_if_refused,
    ledger_option,
    say,
    training_options,
)
from zoo.cli.completion import complete_dataset, complete_spec, complete_study, complete_variant
from zoo.cli.main import Plugins
from zoo.errors import WORK_FAILED, SpecError, ZooError, near_misses
from zoo.report import layout
from zoo.report.text import counted
from zoo.spec.paths import parse_values
from zoo.study.definition import Study, design_names, read_study, study_tree

if TYPE_CHECKING:
    from zoo.lab.lab import Lab
    from zoo.lab.shown import ShownStudyPlan
    from zoo.lab.studies import StudyWork
    from zoo.registry import Registry
    from zoo.study.result import StudyResult

Command = TypeVar("Command", bound=Callable[..., Any])
UNNAMED = "ad-hoc"
"""Name of a study that the command line alone describes."""


@click.group(cls=Group)
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
      zoo study run --base starter/default --change leaky:activation=leaky_relu \\
          --change size:filter.size=5,7
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


def _judged_by(command: Command) -> Command:
    """Add with how many seeds a study is judged."""
    for option in (
        click.option("--max-seeds", type=click.IntRange(min=1),
                     help="With --seeds auto: as many at most.  [default: 15]"),
        click.option("--seeds", type=Seeds(), metavar="N|auto",
                     help="How many seeds, from 0; auto adds some where a claim is undecided.  [default: the study's]"),
    ):  # fmt: skip
        command = option(command)
    return command


def _described_by(command: Command) -> Command:
    """Add what describes a study."""
    for option in (
        click.option("--match", type=click.Choice(["parameters", "flops"]),
                     help="Compare each change that makes the network larger with a base widened to its size, too."),
        click.option("--margin", type=click.FloatRange(min=0, min_open=True),
                     help="A difference in recall that makes no practical difference.  [default: the study's]"),
        click.option("--select", type=click.Choice(["validation", "test"]),
                     help="The part of the data that claims are about.  [default: the study's]"),
        click.option("--resolution", type=click.IntRange(3, 5), help="Of a fractional design.  [default: the study's]"),
        click.option("--design", type=click.Choice(list(design_names())), metavar="DESIGN",
                     help=f"Which combinations are trained: {', '.join(design_names())}."),
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
@_judged_by
@_described_by
@device_options
@ledger_option
@click.pass_obj
def show_command(plugins: Plugins, /, **options: Any) -> None:
    """Show a study's changes, and what each of them does to the network and its training.

    \b
    Examples:
      zoo study show starter-factorial
      zoo study show eq2425-corrected --data folder:images
    """
    with _work(plugins, options) as work:
        study, shown = work.study, work.proofs()
    click.echo(f"{study.name}: {study.design.description}" if study.design.description else study.name)
    click.echo(
        f"base {study.base.name}; design {study.design.design}; selects on {study.design.select}; "
        f"{counted(study.design.seeds, 'seed')}; margin {study.design.margin:g}"
    )
    for change, lines in shown.items():
        click.echo(f"\n{change}")
        for line in lines:
            click.echo(f"  {line}")


@study_command.command("plan")
@_judged_by
@_described_by
@training_options
@ledger_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def plan_command(plugins: Plugins, /, as_json: bool, **options: Any) -> None:
    """Say what a study would train, how long that takes, and how small a difference it could detect; train nothing."""
    from zoo.report.study.plan import prices

    with _work(plugins, options) as work:
        found = work.plan()
        if as_json:
            record = {
                **{k: v for k, v in attrs.asdict(found, recurse=False).items() if k not in ("plan", "lines")},
                "detectable": _finite(found.detectable),
                "prices": [_finite(attrs.asdict(price)) for price in found.prices],
                "missing": len(found.plan.missing),
                "stored": found.plan.stored,
            }
            click.echo(json.dumps(record, indent=2))
        else:
            for line in found.lines:
                click.echo(line)
            click.echo(
                "\nThe same changes by each design, if all were trained anew and no choice confirmed:\n\n"
                + prices(found)
            )
        fail_if_refused(work.refused)


@study_command.command("run")
@_judged_by
@_described_by
@training_options
@ledger_option
@click.option("--budget", type=Duration(), help="Fewer seeds, so that it takes no longer: 90s, 30m, 2h.")
@click.option("--shard", type=Shard(), metavar="K/N", help="Train only share K of N, such as 3/16, and judge nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before a long study.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write the result to this file.")
@click.option("--format", "format_", metavar="FORMAT", help="As in zoo study report.")
@click.pass_obj
def run_command(
    plugins: Plugins,
    /,
    budget: float | None,
    shard: tuple[int, int] | None,
    yes: bool,
    output: Path | None,
    format_: str | None,
    **options: Any,
) -> None:
    """Train what a study's design asks for, and say which changes help.

    What the ledger holds already is not trained again. The same command goes on after an interruption.

    \b
    Examples:
      zoo study run starter-factorial --seeds auto
      zoo study run eq2425-corrected --data folder:images --budget 30m
      zoo study run --base starter/default --change leaky:activation=leaky_relu \\
          --change bn:normalization=batch --design factorial
    """
    format_ = _format(output, format_)
    if shard and (budget is not None or output):
        raise click.UsageError("--shard trains a share and judges nothing: it goes with neither --budget nor --output")
    with _work(plugins, options) as work:
        if shard:
            runs = work.run_shard(*shard)
            say(f"Shard {shard[0]}/{shard[1]}: {counted(len(runs), 'run')} in {work.ledger.path}.")
            say("When all shards are there: `zoo ledger merge`, then `zoo study run`, which confirms what it chooses.")
            _fail_if_any(any(run.status == "failed" for run in runs))
            fail_if_refused(work.refused)
            return

        def approve(found: ShownStudyPlan) -> None:
            for line in found.lines:
                say(line)
            remedy = "--budget 10m, --epochs or --seeds"
            if not yes and not ask_if_long(found.seconds, cut_by="--budget, --epochs and --seeds", remedy=remedy):
                raise click.exceptions.Exit(0)

        findings = work.run(budget=budget, approve=approve)
        _show(findings.result, output, format_)
        arms = findings.result.arms
        _fail_if_any(any(run.status == "failed" for arm in arms for run in (*arm.runs, *arm.fresh)))
        fail_if_refused(work.refused)


def _fail_if_any(failed: bool) -> None:
    if failed:
        say("Some runs failed: `zoo results --failed` says why, with the trace.")
        raise click.exceptions.Exit(WORK_FAILED)


@study_command.command("report")
@_judged_by
@_described_by
@device_options
@ledger_option
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
    with _work(plugins, options, create=False) as work:
        _show(work.report().result, output, format_)


TRAINED_ON = ("device", "precision", "engine", "executor", "executor_sets", "jobs", "keep_state")


def _work(plugins: Plugins, options: dict[str, Any], *, create: bool = True) -> StudyWork:
    """Return the study that the command line describes, with all that is needed to train it or to find its runs."""
    lab: Lab = plugins.lab(
        ledger=options["ledger_path"],
        **{name: options[name] for name in TRAINED_ON if name in options},
    )
    study = _study(lab.registry, options)
    work = lab.open_study(
        study,
        seeds=options["seeds"],
        max_seeds=options["max_seeds"],
        create=create,
        command=_command(plugins, study, options),
    )
    for note in study.notes:
        say(f"Note: {note}")
    return work


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
    overrides = read_sets(options["sets"], data=options["data"], epochs=options["epochs"])
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


def _finite(node: Any) -> Any:
    """Return data with None for numbers that JSON does not have."""
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, tuple):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


_ENDINGS = {
    ".html": "html",
    ".md": "markdown",
    ".tex": "latex",
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "simple",
}
"""Formats by the ending of the file; a file without one is plain text."""


def _format(output: Path | None, format_: str | None) -> str:
    """Return the format asked for, checked before any work: as stated, or by the ending of the file.

    Raises:
        ZooError: there is no such format, or none for that ending, or it needs a file.
    """
    from zoo.report.study.tables import DEFAULT_FORMAT, check

    if format_ is None:
        ending = output.suffix.lower() if output else ""
        if ending and ending not in _ENDINGS:
            raise ZooError(
                f"--output {output}: no report is written to files that end so{near_misses(ending, _ENDINGS)} "
                f"Known: {', '.join(_ENDINGS)}; or state --format."
            )
        format_ = _ENDINGS.get(ending, DEFAULT_FORMAT)
    if format_ != "html" and format_ != "parquet":
        check(format_)
    if format_ == "parquet" and output is None:
        raise ZooError("--format parquet is not for a terminal: name a file with --output FILE")
    if output is not None and not output.absolute().parent.is_dir():
        raise ZooError(f"--output {output}: there is no folder {output.parent}")
    if output is not None:
        try:
            output.lstat()
        except FileNotFoundError:
            pass
        except OSError as error:  # a name that is too long, say
            raise ZooError(f"--output {output}: {error.strerror}; name another file") from error
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
