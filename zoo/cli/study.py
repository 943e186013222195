"""`zoo study`: list, show, plan, run and report studies."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import attrs
import click

from zoo.cli.asking import ask_if_long
from zoo.cli.changes import read_sets, read_variations, sets_option
from zoo.cli.common import (
    Duration,
    Epochs,
    Group,
    Number,
    Shard,
    device_options,
    fail_if_refused,
    ledger_option,
    say,
    training_options,
)
from zoo.cli.completion import complete_dataset, complete_spec, complete_study
from zoo.cli.files import require_place, write_output
from zoo.cli.main import Plugins
from zoo.errors import WORK_FAILED, SpecError, ZooError, near_misses
from zoo.report import layout
from zoo.report.text import counted
from zoo.spec.paths import parse_values
from zoo.study.definition import Study, design_names, study_tree
from zoo.study.places import PooledStudy, read_any
from zoo.study.settings import Sampler

if TYPE_CHECKING:
    from zoo.lab.lab import Lab
    from zoo.lab.pooled import PooledWork, ShownPooledPlan
    from zoo.lab.shown import ShownStudyPlan
    from zoo.lab.studies import StudyWork
    from zoo.registry import Registry
    from zoo.study.pooled import PooledResult
    from zoo.study.result import StudyResult

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")
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
        click.option("--tune-halving", is_flag=True, help="Begin with one tuning seed, and go on to more with the "
                     "better half of each arm's settings, again and again."),
        click.option("--tune-sampler", type=click.Choice(get_args(Sampler)), metavar="SAMPLER",
                     help=f"Let it suggest settings by those that were tried: {' or '.join(get_args(Sampler))}."),
        click.option("--tune-widen", type=click.IntRange(min=0), metavar="N",
                     help="Up to N times, add a value for all arms where one chose the outermost.  [default: the "
                     "study's]"),
        click.option("--tune-budget", type=click.IntRange(min=1), metavar="N",
                     help="Train each arm at so many of the combinations of --tune.  [default: at all]"),
        click.option("--tune-seeds", type=click.IntRange(min=1), metavar="N",
                     help="With how many seeds settings are chosen.  [default: the study's]"),
        click.option("--tune", "tune", multiple=True, metavar="PATH=A,B,...",
                     help="Train every arm with each of these values, and judge each with the best, by seeds of their "
                     "own."),
        click.option("--match", type=click.Choice(["parameters", "flops"]),
                     help="Compare each change that makes the network larger with a base widened to its size, too."),
        click.option("--folds", type=click.IntRange(min=2), metavar="K",
                     help="Hold out each of K folds of the training images in turn, one with each seed, for claims "
                     "about images like these."),
        click.option("--resplit", is_flag=True,
                     help="Draw the validation part anew with each seed, for claims about images like these and not "
                     "about one split."),
        click.option("--margin", type=Number(min=0, min_open=True),
                     help="A difference in recall that makes no practical difference.  [default: the study's]"),
        click.option("--select", type=click.Choice(["validation", "test"]),
                     help="The part of the data that claims are about.  [default: the study's]"),
        click.option("--resolution", type=click.IntRange(3, 5), help="Of a fractional design.  [default: the study's]"),
        click.option("--design", type=click.Choice(list(design_names())), metavar="DESIGN",
                     help=f"Which combinations are trained: {', '.join(design_names())}."),
        sets_option("Set a value in the base."),
        click.option("--data", multiple=True, metavar="DATASET", shell_complete=complete_dataset,
                     help="Train on this data set: a name, or one with a path, such as folder:PATH; repeatable."),
        click.option("--epochs", type=Epochs(), help="Train this many epochs, such as 20 or 9.9."),
        click.option("--change", "changes", multiple=True, metavar="NAME:PATH=VALUE",
                     help="Add a change; several values (5,7) make a choice among levels, and several --change of one "
                     "name a change of several paths."),
        click.option("--base", "bases", multiple=True, metavar="SPEC", shell_complete=complete_spec,
                     help="The spec that is changed; given several times, each of them, and a verdict over all."),
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
            study = read_any(name, registry=registry)
        except ZooError as error:
            say(f"Left out: {name}: {error}")
            continue
        first = study if isinstance(study, Study) else study.places[0].study
        records.append(
            {
                "study": name,
                "base": study.base.name if isinstance(study, Study) else ", ".join(study.bases),
                "design": study.design.design,
                "changes": sum(len(factor.levels) for factor in first.factors),
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
    lab = _lab(plugins, options)
    study = _study(lab, options)
    if isinstance(study, Study):  # what cannot be planned with these options is refused, though they show nothing else
        with lab.open_study(study, seeds=options["seeds"], max_seeds=options["max_seeds"]):
            pass

    from zoo.lab.networks import form
    from zoo.study.conduct import proofs

    each = {study.base.name: study} if isinstance(study, Study) else {p.name: p.study for p in study.places}
    click.echo(
        layout.paragraph(f"{study.name}: {study.design.description}" if study.design.description else study.name)
    )
    refused = () if isinstance(study, Study) else study.refused
    unseen: dict[str, None] = {}
    for name, own in each.items():
        images = form(own.base, lab.registry)
        if images.shape is None:
            unseen[images.note] = None
        shown = proofs(own, images, lab.registry)
        about = (
            f"base {name}; design {study.design.design}; selects on {study.design.select}; "
            f"{counted(study.design.seeds, 'seed')}; margin {study.design.margin:g}"
        )
        click.echo(layout.paragraph(about))
        if own.tune:
            values = "; ".join(
                f"{path} = {', '.join(map(str, tried)) if isinstance(tried, tuple) else tried}"
                for path, tried in own.tune.values.items()
            )
            tunes = (
                f"tunes {values}; {counted(len(own.tune.settings), 'setting')}, "
                f"{counted(own.design.tune_seeds, 'seed')} for each"
            )
            click.echo(layout.paragraph(tunes))
        for change, lines in shown.items():
            click.echo(f"\n{change}")
            for line in lines:
                click.echo(layout.paragraph(f"  {line}"))
        if own is not list(each.values())[-1]:
            click.echo()
    for note in (*study.notes, *unseen):
        say(f"Note: {note}")
    for why in refused:
        say(f"Not done: {why}")
    _fail_if_not_done(refused)


@study_command.command("plan")
@_judged_by
@_described_by
@training_options
@ledger_option
@click.option("--find", type=Number(min=0, min_open=True), metavar="DIFFERENCE",
              help="Say what it takes by each design to find this difference in recall, once the ledger holds some "
              "runs of the study.  [default: twice the margin]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def plan_command(plugins: Plugins, /, find: float | None, as_json: bool, **options: Any) -> None:
    """Say what a study would train, how long that takes, and how small a difference it could detect; train nothing."""
    from zoo.lab.studies import StudyWork
    from zoo.report.study.plan import prices

    with _work(plugins, options) as work:
        if not isinstance(work, StudyWork):
            if find is not None:
                raise ZooError("--find is for studies of one base on one data set; leave it out")
            planned = work.plan()
            if as_json:
                places = {name: _plan_record(found) for name, found in planned.places.items()}
                click.echo(json.dumps({"places": places, "refused": planned.refused}, indent=2))
            else:
                click.echo(str(planned))
            _fail_if_not_done(work.refused)
            return
        found = work.plan(find=find)
        if as_json:
            click.echo(json.dumps(_plan_record(found), indent=2))
        else:
            for line in found.lines:
                click.echo(layout.paragraph(line))
            if found.prices:
                click.echo(f"\n{prices(found)}")
        fail_if_refused(work.refused)


def _plan_record(found: ShownStudyPlan) -> dict[str, Any]:
    return {
        **{k: v for k, v in attrs.asdict(found, recurse=False).items() if k not in ("plan", "lines", "tuning")},
        "detectable": _finite(found.detectable),
        "prices": [_finite(attrs.asdict(price)) for price in found.prices],
        "missing": len(found.plan.missing),
        "stored": found.plan.stored,
        "tuning": _tuning(found),
    }


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
      zoo study run --base starter/default --base starter/residual \\
          --base starter/4d --change leaky:activation=leaky_relu
    """
    from zoo.lab.studies import StudyWork

    format_ = _format(output, format_)
    if shard and (budget is not None or output):
        raise click.UsageError("--shard trains a share and judges nothing: it goes with neither --budget nor --output")
    with _work(plugins, options) as work:
        if not isinstance(work, StudyWork):
            if shard:
                raise click.UsageError("--shard is for a study of one base and data set: name one")
            _run_places(work, budget=budget, yes=yes, output=output, format_=format_)
            return
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
        _fail_if_any(any(run.status == "failed" for run in findings.result.runs))
        fail_if_refused(work.refused)


def _run_places(work: PooledWork, *, budget: float | None, yes: bool, output: Path | None, format_: str) -> None:
    """Train and judge a study over several bases or data sets."""

    def approve(found: ShownPooledPlan) -> None:
        for line in found.lines:
            say(line)
        if not yes and not ask_if_long(found.seconds, cut_by="--epochs and --seeds", remedy="--epochs or --seeds"):
            raise click.exceptions.Exit(0)

    findings = work.run(budget=budget, approve=approve)
    _show(findings.result, output, format_)
    arms = [arm for each in findings.result.places for arm in each.result.arms]
    _fail_if_any(any(run.status == "failed" for arm in arms for run in arm.runs))
    _fail_if_not_done(work.refused)


def _fail_if_not_done(refused: Sequence[str]) -> None:
    """End with exit code 1 if something that was asked for of a place cannot be had; what, was said before."""
    if refused:
        say(f"{len(refused)} of what was asked for could not be done; why is said above.")
        raise click.exceptions.Exit(WORK_FAILED)


def _tuning(found: ShownStudyPlan) -> dict[str, Any] | None:
    """Return the plan of tuning as data."""
    tuning = found.tuning
    if tuning is None:
        return None
    return {
        "arms": tuning.arms,
        "settings": tuning.settings,
        "most_settings": tuning.most_settings,
        "seeds": list(tuning.seeds),
        "rounds": [list(each) for each in tuning.rounds],
        "runs": tuning.runs,
        "most_added_runs": tuning.most_added,
        "sampler": tuning.sampler,
        "missing": len(tuning.plan.missing),
        "stored": tuning.plan.stored,
        "other_arms": tuning.others,
    }


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
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write every plot to this folder, as SVG, PNG and PDF.",
)
@click.pass_obj
def report_command(
    plugins: Plugins, /, output: Path | None, format_: str | None, plots: Path | None, **options: Any
) -> None:
    """Judge the runs of a study that the ledger holds, without training.

    Give the options that the study was run with.

    \b
    Examples:
      zoo study report starter-factorial -o report.html
      zoo study report starter-factorial --format latex > table.tex
      zoo study report starter-factorial --plots figures
    """
    from zoo.lab.studies import StudyWork

    format_ = _format(output, format_)
    with _work(plugins, options, create=False) as work:
        findings = work.report()
        _show(findings.result, output, format_)
        if plots is not None:
            say(f"{len(findings.save_plots(plots))} files written to {plots}.")
        if not isinstance(work, StudyWork):
            fail_if_refused(work.refused)


TRAINED_ON = ("device", "precision", "fast", "engine", "data_in", "executor", "executor_sets", "jobs", "keep_state")


def _work(plugins: Plugins, options: dict[str, Any], *, create: bool = True) -> StudyWork | PooledWork:
    """Return the study that the command line describes, with all that is needed to train it or to find its runs."""
    lab = _lab(plugins, options)
    study = _study(lab, options)
    work = lab.open_study(
        study,
        seeds=options["seeds"],
        max_seeds=options["max_seeds"],
        create=create,
        command=_command(plugins, lab, study, options),
    )
    for note in study.notes:
        say(f"Note: {note}")
    return work


def _lab(plugins: Plugins, options: dict[str, Any]) -> Lab:
    lab: Lab = plugins.lab(
        ledger=options["ledger_path"],
        **{name: options[name] for name in TRAINED_ON if name in options},
    )
    return lab


def _study(lab: Lab, options: dict[str, Any]) -> Study | PooledStudy:
    """Read the study that the options describe.

    Raises:
        ZooError: there is none, or it is not valid.
    """
    name: str | None = options["name"]
    if name is None and not options["bases"]:
        raise click.UsageError("name a study (`zoo study list`), a TOML file, or describe one by --base and --change")
    registry = lab.registry
    tree: dict[str, Any] = dict(study_tree(name, registry=registry)) if name else {}
    for key in (
        "design",
        "select",
        "margin",
        "match",
        "resolution",
        "folds",
        "tune_seeds",
        "tune_budget",
        "tune_widen",
        "tune_sampler",
    ):
        if options[key] is not None:
            tree[key] = options[key]
    for key in ("resplit", "tune_halving"):
        if options[key]:
            tree[key] = True
    if options["tune"]:
        tree["tune"] = read_variations(options["tune"], "--tune")
    changes = tree.get("changes", {})
    if options["changes"]:
        tree["changes"] = {**(changes if isinstance(changes, Mapping) else {}), **_changes(options["changes"])}
    stated = read_sets(options["sets"], epochs=options["epochs"])
    has_data = bool(options["data"]) or "data" in tree
    overrides = lab.settings.sets(stated, ("data.dataset",) if has_data else ())
    label = Path(name).stem if name and name.endswith(".toml") else name or UNNAMED
    return read_any(
        tree, registry=registry, name=label, overrides=overrides, bases=options["bases"], data=options["data"]
    )


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
    ".tex": "latex_booktabs",
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
    if output is not None:
        require_place(output)
    return format_


def _show(result: StudyResult | PooledResult, output: Path | None, format_: str) -> None:
    """Print the result, or write it to a file and print the default table."""
    from zoo.study.pooled import PooledResult

    if isinstance(result, PooledResult):
        from zoo.report.study import pooled, pooled_page

        _write(result, output, format_, pooled.render, pooled.parquet, pooled_page.page)
    else:
        from zoo.report.study import page, tables

        _write(result, output, format_, tables.render, tables.parquet, page.page)


def _write(
    result: Result,
    output: Path | None,
    format_: str,
    render: Callable[..., str],
    parquet: Callable[[Result], bytes],
    page: Callable[[Result], str],
) -> None:
    if output is None and format_ != "html":
        click.echo(render(result, format_=format_, width=layout.terminal_width()))
        return
    if output is not None:
        click.echo(render(result, width=layout.terminal_width()))
    content: bytes
    if format_ == "parquet":
        content = parquet(result)
    elif format_ == "html":
        content = page(result).encode()
    else:
        content = (render(result, format_=format_) + "\n").encode()
    if output is None:
        click.echo(content.decode(), nl=False)
        return
    write_output(output, content)
    say(f"Written to {output}.")


def _command(plugins: Plugins, lab: Lab, study: Study | PooledStudy, options: dict[str, Any]) -> str:
    """Return the command that repeats a study, also where there is no project file."""
    told = lab.settings
    left_out = [*(f"no:{name}" for name in told["block"]), *plugins.left_out]
    before = [word for name in left_out for word in ("-p", name)]
    before += [word for file in (*told["plugins"], *plugins.files) for word in ("--plugin", str(file))]
    defaults = told.sets({}, read_sets(options["sets"]))
    precision = options["precision"] or told["precision"]
    words = ["zoo", *before, "study", "run", *([options["name"]] if options["name"] else [])]
    data = options["data"]
    if not data and isinstance(study, Study) and "data.dataset" in defaults:
        data = [study.base.data.dataset]
    stated = [
        *(("--base", base) for base in options["bases"]),
        ("--design", options["design"]),
        ("--resolution", options["resolution"]),
        ("--select", options["select"]),
        ("--margin", options["margin"]),
        ("--match", options["match"]),
        ("--folds", options["folds"]),
        ("--tune-seeds", options["tune_seeds"]),
        ("--tune-budget", options["tune_budget"]),
        ("--tune-widen", options["tune_widen"]),
        ("--tune-sampler", options["tune_sampler"]),
        ("--epochs", options["epochs"] or defaults.get("training.epochs")),
        *(("--data", dataset) for dataset in data),
        ("--seeds", options["seeds"] or told["seeds"] or study.design.seeds),
        ("--max-seeds", options["max_seeds"]),
        ("--ledger", options["ledger_path"] or (None if told.is_default("ledger") else told["ledger"])),
        ("--precision", None if precision == "auto" else precision),
    ]
    for change in options["changes"]:
        words += ["--change", change]
    for text in options["sets"]:
        words += ["--set", text]
    for text in options["tune"]:
        words += ["--tune", text]
    for option, value in stated:
        if value is not None:
            words += [option, str(value)]
    words += ["--resplit"] if options["resplit"] else []
    words += ["--fast"] if (told["fast"] if options["fast"] is None else options["fast"]) else []
    words += ["--tune-halving"] if options["tune_halving"] else []
    return shlex.join(words)
