"""The command `zoo` and what all of its commands share."""

from __future__ import annotations

import atexit
import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo import __version__
from zoo.characters import encoding_with_all, without_controls
from zoo.cli import completion  # noqa: F401 - it tells click how Bash splits words
from zoo.errors import INTERRUPTED, WORK_FAILED, ZooError, described, near_misses, on_command_line, text_of

if TYPE_CHECKING:
    from zoo.settings import Project, Settings

# The module that defines each command, and its one-line help: `zoo --help` imports none of them.
COMMANDS = {
    "benchmark": ("zoo.cli.benchmark", "Train specs, several seeds each, and print the table."),
    "study": ("zoo.cli.study", "Find out which changes help, alone and together."),
    "time": ("zoo.cli.time", "Compare how long training steps and evaluation take."),
    "results": ("zoo.cli.results", "Print the table of the runs in the ledger, without training."),
    "report": ("zoo.cli.report", "Write a page of the runs in the ledger, without training."),
    "gallery": ("zoo.cli.gallery", "Make a site of all variants, with what they were measured to do."),
    "ledger": ("zoo.cli.ledger", "Look into a ledger of runs, merge several, take runs out."),
    "export": ("zoo.cli.export", "Write a network of the ledger to a file, with a model card."),
    "predict": ("zoo.cli.predict", "Say which classes image files are of, by an exported network."),
    "list": ("zoo.cli.catalog", "List specs and variants."),
    "show": ("zoo.cli.catalog", "Show a spec's layers, or one variant's options."),
    "check": ("zoo.cli.check", "Check that variants do what their kind must do."),
    "new-plugin": ("zoo.cli.new_plugin", "Make a plugin to fill in: a distribution with tests."),
    "plugins": ("zoo.cli.plugins", "List plugins, what each registered, and why one failed."),
    "config": ("zoo.cli.config", "Show what holds where nothing else is said, and who says so."),
    "data": ("zoo.cli.data", "List data sets, get those that are not at hand, and look after the cache."),
}


class _OutputError(ZooError):
    exit_code = WORK_FAILED


class _Output(io.FileIO):
    """Standard output: that it cannot be written is an error, once."""

    _is_lost = False

    def write(self, data: Any) -> int:
        if self._is_lost:  # what is left in buffers comes again when the process ends
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._is_lost = True
            raise _OutputError(f"the output cannot be written: {error.strerror}") from error


class _Remarks(io.FileIO):
    """Standard error: that it cannot be written is no reason to end a run."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data)
        return len(data)


class _Text(io.TextIOWrapper):
    """What is printed, whoever wrote it: a name of a file or an old ledger cannot command the terminal.

    The display of progress, whose sequences move the cursor, writes past it (`layout.progress_console`).
    """

    def write(self, text: str) -> int:
        super().write(without_controls(text))
        return len(text)

    def draw(self, text: str) -> int:
        """Write text with its escape sequences."""
        return super().write(text)


def _prepare_streams() -> None:
    """Make standard output and error such that commands can print, whatever they are connected to."""
    for name, kind in (("stdout", _Output), ("stderr", _Remarks)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - it is closed with the process
        elif stream is getattr(sys, f"__{name}__"):
            stream.flush()
            raw = io.BufferedWriter(kind(stream.fileno(), "w", closefd=False))
            encoding, errors = encoding_with_all(stream.encoding, stream.errors)
            new = _Text(raw, encoding, errors, line_buffering=stream.line_buffering)
            setattr(sys, name, new)


class _Interrupts:
    """Ctrl-C and SIGTERM, where several in quick succession count as one: what the first ends is not ended halfway."""

    quiet_seconds = 2.0

    def __init__(self) -> None:
        self._quiet_until = -1.0
        self.is_ending = False

    def __call__(self, number: int, frame: object) -> None:
        if time.monotonic() < self._quiet_until:
            return
        self._quiet_until = time.monotonic() + self.quiet_seconds
        if self.is_ending:  # and something holds it up
            os._exit(INTERRUPTED)
        raise KeyboardInterrupt


_interrupts = _Interrupts()


def _prepare_signals() -> None:
    """Take Ctrl-C and SIGTERM, unless the process is another program's or told otherwise what they mean."""
    if sys.stdout is not sys.__stdout__ or threading.current_thread() is not threading.main_thread():
        return
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is default:
            signal.signal(number, _interrupts)
            # At its very end Python puts the system's default back, which would say that the signal ended it.
            atexit.register(signal.signal, number, signal.SIG_IGN)


_BEFORE = {
    "--plugin": "FILE.py ",
    "-p": "no:NAME ",
    "--strict-plugins": "",
    "--project": "FILE ",
    "--no-project": "",
}
"""The options of `zoo` itself, which its commands do not take."""


def _failure(error: ZooError) -> click.ClickException:
    failure = click.ClickException(text_of(error))
    failure.exit_code = error.exit_code  # type: ignore[misc]  # click reads it from the instance
    return failure


class _NoMemoryError(ZooError):
    exit_code = WORK_FAILED


class _Help(click.HelpFormatter):
    """Help whose lines end at spaces only, so that no option is broken at its hyphens."""

    _HYPHEN = "\N{NON-BREAKING HYPHEN}"

    def write(self, string: str) -> None:
        super().write(string.replace(self._HYPHEN, "-"))

    def write_text(self, text: str) -> None:
        super().write_text(text.replace("-", self._HYPHEN))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        whole = [(term, text.replace("-", self._HYPHEN)) for term, text in rows]
        super().write_dl(whole, col_max, col_spacing)


click.Context.formatter_class = _Help


class _Group(click.Group):
    def main(self, *args: Any, **extra: Any) -> Any:
        _prepare_signals()
        _prepare_streams()
        return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[name][0]), f"{name.replace('-', '_')}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"No such command {args[0]!r}{near_misses(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with on_command_line():
                return super().invoke(ctx)
        except click.NoSuchOption as error:
            name = error.option_name
            if name not in _BEFORE:
                raise
            where = f"{name} goes before the command: zoo {name} {_BEFORE[name]}{ctx.invoked_subcommand} ..."
            raise click.UsageError(where, error.ctx) from None
        except ZooError as error:
            raise _failure(error) from error
        except MemoryError as error:
            lacking = _NoMemoryError(f"the computer's memory does not suffice: {described(error)}")
            raise _failure(lacking) from error
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise _failure(_too_long(error)) from error
        except (KeyboardInterrupt, click.Abort) as interruption:
            _interrupts.is_ending = True
            click.echo(f"\n{str(interruption) or 'Stopped.'}", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


def _too_long(error: OSError) -> ZooError:
    """Say which name of those that become files' is too long; what a system allows shows only when it is used."""
    name = str(error.filename)
    shown = f"{name[:20]}...{name[-20:]}" if len(name) > 50 else name
    return ZooError(f"the name {shown!r} has {len(name)} characters, which is too long for a file; take a shorter one")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="zoo")
@click.option(
    "-p", "left_out", multiple=True, metavar="no:NAME", help="Leave a plugin out, by its name or its distribution's."
)
@click.option(
    "--plugin",
    "files",
    multiple=True,
    metavar="FILE.py",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Load a single-file plugin.",
)
@click.option("--strict-plugins", is_flag=True, help="Stop when any plugin fails to load.")
@click.option(
    "--project",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The project file.  [default: $ZOO_PROJECT, else zoo.toml or pyproject.toml here or in a parent]",
)
@click.option("--no-project", is_flag=True, help="Take no project file.")
@click.pass_context
def main(
    ctx: click.Context,
    left_out: tuple[str, ...],
    files: tuple[Path, ...],
    strict_plugins: bool,
    project: Path | None,
    no_project: bool,
) -> None:
    """Does my layer help? Trains networks that differ in one thing, and says what it changed.

    \b
    Examples:
      zoo benchmark                              every spec whose data is at hand
      zoo benchmark 'starter/*' --seeds 10       some, with more seeds
      zoo benchmark starter/default --vary activation=relu,mish
      zoo --plugin swishish.py benchmark starter/default \\
          --vary activation=relu,swishish
      zoo show eq2425/4c
      zoo list --kind activation

    Shell completion: eval "$(_ZOO_COMPLETE=bash_source zoo)", or zsh_source, or fish_source.
    """
    if project is not None and no_project:
        raise click.UsageError("--project and --no-project do not go together")
    ctx.obj = Plugins(left_out, files, strict_plugins, None if no_project else project or "auto")


class Plugins:
    """What the command line and the project file say of plugins, and of all else that commands share.

    The file is read, and plugins are loaded, when they are first needed.
    """

    def __init__(self, left_out: tuple[str, ...], files: tuple[Path, ...], strict: bool, project: Project) -> None:
        self.left_out, self.files, self.strict = left_out, files, strict
        self._project = project

    @cached_property
    def settings(self) -> Settings:
        """What the project file and the environment say."""
        from zoo.settings import read

        found = read(self._project)
        for note in found.notes:
            click.echo(f"Note: {note}.", err=True)
        return found

    def load(self) -> Any:
        """Load the plugins and return the registry, its problems not yet raised.

        Raises:
            click.UsageError: an argument of -p is not of the form no:NAME.
        """
        from zoo.registry import Registry

        for text in self.left_out:
            if not text.startswith("no:") or text == "no:":
                raise click.UsageError(f"-p {text}: expected no:NAME, as in -p no:zoo_plugins.dropouts")
        block = [text.removeprefix("no:") for text in self.left_out]
        return Registry(
            block=[*self.settings["block"], *block],
            files=[*self.settings.plugins(), *self.files],
            strict=self.strict,
        )

    def registry(self) -> Any:
        """Load the plugins, say on standard error which failed, and return the registry.

        Raises:
            ZooError: a problem that forbids any work.
        """
        registry = self.load().require_sound()
        for failure in registry.failures:
            click.echo(f"Warning: {failure}", err=True)
        return registry

    def lab(self, *, executor: str | None = None, executor_sets: tuple[str, ...] = (), **arguments: Any) -> Any:
        """Load the plugins and return the lab of the command; the other arguments are those of `zoo.Lab`."""
        from zoo.cli.common import executor_choice, say
        from zoo.cli.decoding import decoding_shown
        from zoo.lab.lab import Lab

        click.get_current_context().with_resource(decoding_shown())
        registry = self.registry()
        choice = executor_choice(executor, executor_sets, registry, self.settings["executor"])
        return Lab(registry=registry, executor=choice, say=say, project=self.settings, **arguments)
