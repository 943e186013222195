"""Options that several commands share, and the table that two of them print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from zoo.cli.completion import complete_device, complete_executor
from zoo.errors import WORK_FAILED, ZooError
from zoo.lab.arguments import read_duration, shard
from zoo.report import layout
from zoo.report.text import counted
from zoo.settings import DATA_IN, ENGINES, PRECISIONS
from zoo.spec.length import read_epochs

if TYPE_CHECKING:
    from zoo.lab.lab import Lab
    from zoo.lab.table import Table
    from zoo.registry import Registry

Command = TypeVar("Command", bound=Callable[..., Any])


class Group(click.Group):
    """A group of commands whose help has the first sentence of each command's, whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the commands do. click cuts the sentences to what fits on a line."""
        whole = 10_000
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(whole)) for name in sorted(self.commands)]
            )


def ledger_option(command: Command) -> Command:
    """Add --ledger."""
    return click.option(
        "--ledger",
        "ledger_path",
        type=click.Path(path_type=Path, dir_okay=True),
        help="The file that runs are stored in.  [default: $ZOO_LEDGER, else the project's, else zoo.sqlite]",
    )(command)


def default_ledger() -> Path:
    """Return the ledger's path where --ledger is not given."""
    from zoo.cli.main import Plugins

    plugins = click.get_current_context().find_object(Plugins)
    assert plugins is not None
    path: Path = plugins.settings["ledger"]
    return path


def training_options(command: Command) -> Command:
    """Add what says on what runs are trained: --engine, --executor, --jobs and others, and `device_options`."""
    for option in (
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            help="How many runs at once: on a CPU each on a core of its own (all cores, where that pays, when left "
            "out), on an NVIDIA GPU side by side (1 when left out).",
        ),
        click.option("--executor-set", "executor_sets", multiple=True, metavar="OPTION=VALUE",
                     help="Set an option of the executor."),
        click.option("--executor", metavar="NAME", shell_complete=complete_executor,
                     help="Where runs are trained: zoo list --kind executor.  [default: what suits their number]"),
        click.option(
            "--engine",
            type=click.Choice(ENGINES),
            help="How steps are made: sequential; captured, which replays recorded ones on NVIDIA GPUs and is what "
            "auto takes there; or compiled, by torch.compile.  [default: auto]",
        ),
        click.option(
            "--data-in",
            type=click.Choice(DATA_IN),
            help="Where images are: on the device, or in memory, from which batches are read ahead and copied; auto is "
            "the device, unless they take more than half of its free memory.  [default: auto]",
        ),
        click.option("--keep-state/--no-keep-state", default=None,
                     help="Keep the final state of each run, so that it can be gone on with for more --epochs."),
        device_options,
    ):  # fmt: skip
        command = option(command)
    return command


def device_options(command: Command) -> Command:
    """Add --device, --precision and --fast."""
    for option in (
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            help="Of convolutions and matrix products, with half of all but normalizations; auto is fp32.  "
            "[default: auto]",
        ),
        click.option("--fast/--no-fast", default=None,
                     help="Let cuDNN take the kernels that it finds fastest: the same run twice differs then."),
        click.option("--device", metavar="DEVICE", shell_complete=complete_device,
                     help="auto, cpu, mps, cuda (all GPUs) or one of them, such as cuda:1.  [default: auto]"),
    ):  # fmt: skip
        command = option(command)
    return command


def executor_choice(
    executor: str | None, sets: Sequence[str], registry: Registry, project: str | dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return the executor that --executor and --executor-set state.

    Args:
        executor: its name.
        sets: texts of options and values.
        registry: where it is looked up.
        project: the project's executor, whose options are set where none is named.

    Raises:
        click.UsageError: options are stated, but no executor; or a text is no option and value.
        UnknownNameError: there is no such executor.
        SpecError: an option is not valid.
    """
    from zoo.spec.reading import read_choice

    if executor is None and not sets:
        return None
    before = project if executor is None else executor
    if before is None:
        raise click.UsageError("--executor-set is for an executor: name it with --executor")
    choice = {"name": before} if isinstance(before, str) else before
    registry.variant("executor", choice["name"])
    choice = {**choice, **dict(map(_executor_option, sets))}
    read_choice("executor", choice, "--executor-set" if sets else "--executor", registry)
    return choice


def _executor_option(text: str) -> tuple[str, Any]:
    """Read `option=value`."""
    from zoo.errors import SpecError
    from zoo.spec.paths import parse_value

    option, equals, value = text.partition("=")
    option = option.strip()
    if not equals or not option:
        raise click.UsageError(f"--executor-set {text}: expected OPTION=VALUE")
    if option == "name":
        raise click.UsageError(f"--executor-set {text}: the executor is named with --executor")
    try:
        return option, parse_value(value)
    except SpecError as error:
        raise click.UsageError(f"--executor-set {option}: {error}") from error


@contextmanager
def executor_options_told(executor: str | None, sets: Sequence[str], registry: Registry) -> Iterator[None]:
    """Let the error of a --set that no spec has say that it is an option of the executor, where it is."""
    from zoo.errors import SpecError

    try:
        yield
    except SpecError as error:
        options = {} if executor is None else attrs.fields_dict(registry.variant("executor", executor).options)
        for text in sets:
            path = text.partition("=")[0].strip()
            if path in options and f"the path {path!r} matches nothing" in str(error):
                meant = f"{path} is an option of the executor {executor}: --executor-set {quote(text)}"
                raise SpecError(f"{error}\n{meant}") from error
        raise


class Shard(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """Which of how many shares: 3/16."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return the two numbers."""
        if isinstance(value, tuple):
            return value
        try:
            found = shard(str(value))
        except ZooError:
            found = None
        if found is None:
            self.fail(f"expected K/N, from 1/N to N/N, such as 3/16, got {value!r}", param, ctx)
        return found


def table_options(command: Command) -> Command:
    """Add --format, --sort and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
        click.option("--sort", metavar="COLUMN", help="Sort by recall, train, time, parameters, flops, spec, ..."),
        click.option(
            "--format", "format_", default="simple", show_default=True, metavar="FORMAT",
            help="csv, json, or any format of tabulate: github, html, latex, ... Only simple is fitted to a terminal.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def print_table(table: Table, lab: Lab, *, format_: str, sort: str | None) -> None:
    """Print the table of the runs, the verdicts below it, and the sections that plugins add to it."""
    text = table.render(format_=format_, sort=sort, width=layout.terminal_width())
    if text:
        click.echo(text)
    if format_ in ("csv", "json"):
        return
    for section in lab.sections(table):
        click.echo("\n" + section)
    if table.is_judged:
        for line in ("", *table.verdict_lines()):
            click.echo(layout.paragraph(line))


def fail_if_refused(refused: Sequence[str]) -> None:
    """End with exit code 1 if something that was asked for by name cannot be trained; why was said before.

    Raises:
        click.exceptions.Exit: there is such a thing.
    """
    if refused:
        were = "was" if len(refused) == 1 else "were"
        say(f"{counted(len(refused), 'spec')} that {were} asked for cannot be trained.")
        raise click.exceptions.Exit(WORK_FAILED)


def say(line: str) -> None:
    """Print a line for people, on standard error."""
    click.echo(line, err=True)


class Number(click.FloatRange):
    """A number within bounds, which "nan" is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class Duration(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A duration such as 90s, 30m, 1h30m or 2h; a plain number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration in seconds."""
        if isinstance(value, float):
            return value
        seconds = read_duration(str(value))
        if seconds is None:
            self.fail(f"expected a duration above 0, such as 90s, 30m or 1h30m, got {value!r}", param, ctx)
        return seconds


class Epochs(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A number of epochs, also with a fraction: 20, 9.9."""

    name = "epochs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, whole where it is."""
        number = read_epochs(value)
        if number is None:
            self.fail(f"expected a number above 0, such as 20 or 9.9, got {value!r}", param, ctx)
        return number
