"""`zoo report`: a page of what the ledger holds."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from zoo.cli.common import Number, ledger_option, say
from zoo.cli.completion import complete_dataset, complete_spec
from zoo.cli.files import require_place, write_output
from zoo.cli.main import Plugins
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.lab.lab import Lab

_EVERY = 10.0
"""Seconds between two looks of --watch where it does not say how many."""


@click.command()
@click.argument("patterns", metavar="[SPEC-PATTERN]...", nargs=-1, shell_complete=complete_spec)
@click.option("--data", metavar="DATASET", shell_complete=complete_dataset, help="Only runs on this data set.")
@click.option(
    "--against",
    metavar="SPEC",
    shell_complete=complete_spec,
    help="Judge each other spec against this one, seed by seed.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.html", help="Write the page here."
)
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write every plot to this folder, as SVG, PNG and PDF.",
)
@click.option(
    "--watch",
    type=Number(min=1.0, max=86_400.0),
    is_flag=False,
    flag_value=_EVERY,
    metavar="[SECONDS]",
    help=f"Write the page again every {_EVERY:g} seconds, or as stated, until training has ended; a browser that shows "
    "it follows.",
)
@ledger_option
@click.pass_obj
def report_command(
    plugins: Plugins,
    patterns: tuple[str, ...],
    data: str | None,
    against: str | None,
    output: Path | None,
    plots: Path | None,
    watch: float | None,
    ledger_path: Path | None,
) -> None:
    """Write a page of the runs in the ledger, without training.

    The page needs nothing else and can be sent: the table, learning curves, recall by class, confusions, recall
    against cost, runs that failed and why, a paragraph on methods, and where the figures come from.

    \b
    Examples:
      zoo report -o runs.html
      zoo report 'starter/*' --against starter/default -o starter.html
      zoo report --plots figures
      zoo report -o runs.html --watch
    """
    if output is None and plots is None:
        raise click.UsageError("state where to write to: --output FILE.html, --plots FOLDER, or both")
    if watch is not None and output is None:
        raise click.UsageError("--watch writes the page again: state --output FILE.html")
    if output is not None:
        if output.suffix.lower() not in (".html", ".htm"):
            raise ZooError(
                f"--output {output}: the page is HTML, so the file's name ends in .html; `zoo results --format` has "
                "the table in other formats, and --plots the plots"
            )
        require_place(output)
    stated = {"--data": data, "--against": against, "--ledger": ledger_path, "--output": output, "--plots": plots}
    work = _Work(
        lab=plugins.lab(ledger=ledger_path),
        patterns=patterns,
        data=data,
        against=against,
        output=output,
        plots=plots,
        command=_command(plugins, [*patterns, *(str(w) for name, v in stated.items() if v for w in (name, v))]),
    )
    if watch is None:
        work.write()
    else:
        work.watch(watch)


@attrs.frozen(kw_only=True)
class _Work:
    """Writes what one command asks for, once or again and again."""

    lab: Lab
    patterns: tuple[str, ...]
    data: str | None
    against: str | None
    output: Path | None
    plots: Path | None
    command: str

    def write(self, *, refresh: float = 0.0) -> bool:
        """Write all; return whether a run is under way.

        Raises:
            ZooError: there is nothing to show, or it cannot be written.
        """
        table = self.lab.report(*self.patterns, data=self.data, against=self.against)
        if self.output is not None:
            title = f"Runs of {', '.join(self.patterns)}" if self.patterns else "All runs"
            page = table.page(title=title, command=self.command, refresh=round(refresh))
            write_output(self.output, page.encode())
            if not refresh:
                say(f"Written to {self.output}.")
        if self.plots is not None and not refresh:
            files = table.save_plots(self.plots)
            say(f"{len(files)} files written to {self.plots}.")
        return table.is_under_way

    def watch(self, every: float) -> None:
        """Write the page again and again, until runs that were under way have ended, or Ctrl-C; then once more."""
        say(f"Writing {self.output} every {every:g} s, until training has ended; Ctrl-C ends it before.")
        seen = quiet = 0
        is_written = False
        try:
            while quiet < 2 or not seen:  # between two runs, for a moment, none may be under way
                under_way = self.write(refresh=every)
                is_written = True
                seen, quiet = seen + under_way, 0 if under_way else quiet + 1
                if not seen and quiet == 1:
                    say("No run is under way: this waits until one begins, or Ctrl-C.")
                time.sleep(every)
        except KeyboardInterrupt:
            if not is_written:  # it may have come amid an import, of which half would be left
                raise
        self.write()


def _command(plugins: Plugins, stated: Sequence[str]) -> str:
    """Return the command that writes the same."""
    words = [word for text in plugins.left_out for word in ("-p", text)]
    words += [word for file in plugins.files for word in ("--plugin", str(file))]
    return shlex.join(["zoo", *words, "report", *stated])
