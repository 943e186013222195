"""`zoo check`: the conformance suite."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.common import Duration
from zoo.cli.completion import complete_shown
from zoo.cli.main import Plugins
from zoo.errors import WORK_FAILED
from zoo.report import layout

if TYPE_CHECKING:
    from zoo.testing.check import Outcome, Result
    from zoo.testing.subject import Subject

_RESULTS: tuple[Result, ...] = ("passed", "failed", "expected failure", "skipped", "fact")


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_shown)
@click.option("--slow", is_flag=True, help="Make those checks too that take seconds.")
@click.option(
    "--limit", type=Duration(), default="60s", show_default=True, help="Stop a check that takes longer: 90s, 10m."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check_command(plugins: Plugins, names: tuple[str, ...], slow: bool, limit: float, as_json: bool) -> None:
    """Check that variants do what their kind must do.

    NAME is a variant (swishish, or activation:swishish), a spec, a shell pattern such as 'activation:*', a single-file
    plugin (swishish.py), or a plugin or a distribution, of which all that it registers is checked.

    \b
    Examples:
      zoo check mish 'loss:*'
      zoo check swishish.py
      zoo check zoo_plugins.dropouts
      zoo check normalization:batch --slow --json
    """
    for name in names:
        if name.endswith(".py") and Path(name) not in plugins.files:
            plugins.files = (*plugins.files, Path(name))
    registry = plugins.registry()

    from zoo.testing import suite  # imports torch
    from zoo.testing.check import run

    found = suite.find_all(names, registry)
    reasons = [suite.expected(subject, {}) for subject in found]
    work = [(subject, expected, suite.checks(subject)) for subject, expected in zip(found, reasons, strict=True)]
    outcomes: list[tuple[Subject, list[Outcome]]] = []
    with _Progress(sum(len(checks) for _, _, checks in work)) as progress:
        for subject, expected, checks in work:
            made = []
            for check in checks:
                progress.show(f"{subject}: {check.name}")
                made.append(run(check, subject, expected=expected, slow=slow, limit=limit))
            outcomes.append((subject, made))
    failed = [(subject, outcome) for subject, made in outcomes for outcome in made if outcome.result == "failed"]
    if as_json:
        click.echo(json.dumps([_record(subject, made) for subject, made in outcomes], indent=2))
    else:
        click.echo(_one(*outcomes[0]) if len(outcomes) == 1 else _several(outcomes))
        for subject, outcome in failed:
            click.echo("\n" + suite.explanation(subject, outcome))
        click.echo("\n" + layout.paragraph(_summary(outcomes)))
    if failed:
        raise click.exceptions.Exit(WORK_FAILED)


class _Progress:
    """Shows which check is being made, and how many have been; a context manager."""

    def __init__(self, checks: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        console = layout.progress_console()
        columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=checks)
        self._begun = 0

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def show(self, check: str) -> None:
        """Show that the next check begins."""
        self._progress.update(self._task, completed=self._begun, description=check)
        self._begun += 1


def _one(subject: Subject, outcomes: list[Outcome]) -> str:
    """Return the table of one subject's checks."""
    rows = [[o.check.name, _word(o), "" if o.result == "failed" else o.note] for o in outcomes]
    table = layout.table(rows, headers=["check", "result", ""], wrap=2)
    return f"{subject} ({subject.plugin.name}, {subject.plugin.distribution})\n\n{table}"


def _several(outcomes: list[tuple[Subject, list[Outcome]]]) -> str:
    """Return a table of subjects with a count of each result, and below it why checks were not made or may fail."""
    rows = []
    notes: dict[str, list[str]] = {}
    for subject, made in outcomes:
        counts = Counter(outcome.result for outcome in made)
        rows.append([str(subject), *(str(counts[result] or "") for result in _RESULTS)])
        for outcome in made:
            if outcome.result in ("skipped", "expected failure"):
                notes.setdefault(f"{outcome.result}: {outcome.check.name}: {outcome.note}", []).append(str(subject))
    align = ("left", *("right" for _ in _RESULTS))
    table = layout.table(rows, headers=["", *_RESULTS], align=align, wrap=0)
    lines = [f"{note} ({_some(names)})" for note, names in notes.items()]
    return "\n".join([table, *([""] if lines else []), *map(layout.paragraph, lines)])


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _word(outcome: Outcome) -> str:
    return "FAILED" if outcome.result == "failed" else outcome.result


def _summary(outcomes: list[tuple[Subject, list[Outcome]]]) -> str:
    counts = Counter(outcome.result for _, made in outcomes for outcome in made)
    of = str(outcomes[0][0]) if len(outcomes) == 1 else f"{len(outcomes)} variants and specs"
    stated = [f"{counts[result]} {_plural(result, counts[result])}" for result in _RESULTS if counts[result]]
    return f"{counts.total()} checks of {of}: {', '.join(stated)}."


def _plural(result: Result, count: int) -> str:
    return f"{result}s" if count > 1 and result in ("expected failure", "fact") else result


def _record(subject: Subject, outcomes: list[Outcome]) -> dict[str, Any]:
    return {
        "kind": subject.kind,
        "name": subject.name,
        "plugin": subject.plugin.name,
        "distribution": subject.plugin.distribution,
        "checks": [
            {
                "name": outcome.check.name,
                "result": outcome.result,
                "note": outcome.note,
                "expected": outcome.check.expected,
                "why": outcome.check.why,
                "mend": outcome.check.mend,
            }
            for outcome in outcomes
        ],
    }
