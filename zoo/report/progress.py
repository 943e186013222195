"""What a person sees while runs are trained: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import attrs
import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from zoo.benchmark import Plan
from zoo.characters import without_controls
from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.report.layout import progress_console
from zoo.report.text import AS_SLOW, counted, duration, rough_range
from zoo.spec.length import in_words, planned_epochs
from zoo.study.measure import epoch_recall, measured
from zoo.train.places import checkpoint_file
from zoo.train.run import EpochRecord, Run

_STATUS_WIDTH = len("loss 12.345, recall 0.1234")
_SHOWN = 4
"""How many interrupted runs are named."""
_COUNT_WIDTH = len("100/300")


class TimeLeft:
    """How much time is left: what was planned, corrected by how long the part that is done really took.

    Args:
        expected: estimated seconds for all the work.
        now: the clock.
    """

    def __init__(self, expected: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._expected, self._now = expected, now
        self._done = 0.0
        self._marks: list[tuple[float, float]] = []

    def advance(self, share: float) -> None:
        """Say that a share of all the work has been done."""
        self._done += share
        # Starting the workers is not part of the work: the clock runs from the first that was done.
        self._marks.append((self._now(), self._done))

    @property
    def range(self) -> tuple[float, float]:
        """Estimated seconds until all is done, at least and at most."""
        left = self._expected * max(0.0, 1 - self._done)
        if not self._marks or not self._expected:
            return left, AS_SLOW * left
        # As if a twentieth of the work had gone as planned, so that the first few events do not say too much.
        as_planned = 0.05
        planned = max(0.0, self._done - self._marks[0][1])
        slower = self._slower() or [1.0]
        low, high = (
            (factor * planned + prior * as_planned) / (planned + as_planned)
            for factor, prior in ((min(slower), 1.0), (max(slower), AS_SLOW))
        )
        return left * low, left * max(low, high)

    def _slower(self) -> list[float]:
        """Return how many times longer than planned the work took so far, and each half of it."""
        first, middle, last = self._marks[0], self._marks[len(self._marks) // 2], (self._now(), self._done)
        spans = ((first, last), (first, middle), (middle, last))
        return [
            (to - since) / (self._expected * (done - before)) for (since, before), (to, done) in spans if done > before
        ]


class Display:
    """Shows what is training, how many runs are done, and how much time is left; a context manager."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._work = sum(plan.costs[run.key] for run in plan.missing)
        self._time_left = TimeLeft(plan.estimate)
        self._done = 0
        self._epochs: dict[object, list[EpochRecord]] = {}
        self._bars: dict[object, TaskID] = {}
        shown = progress_console()
        # rich counts a pipe as a terminal where FORCE_COLOR is set.
        # In a notebook rich needs ipywidgets for a display that is live; without, a line for each run is printed.
        in_notebook = shown.is_jupyter and find_spec("ipywidgets") is not None
        self._live = in_notebook or (sys.stderr.isatty() and shown.is_interactive)
        bar = 24 if shown.width >= 100 else 8
        self._name_width = max(16, shown.width - bar - _COUNT_WIDTH - _STATUS_WIDTH - 5)
        cell = {"no_wrap": True, "overflow": "ellipsis"}
        self._progress = Progress(
            SpinnerColumn(),  # an epoch may take minutes
            TextColumn("{task.description}", markup=False, table_column=Column(**cell)),  # type: ignore[arg-type]
            BarColumn(bar_width=bar),
            MofNCompleteColumn(table_column=Column(no_wrap=True, justify="right")),
            TextColumn("{task.fields[status]}", markup=False, table_column=Column(**cell)),  # type: ignore[arg-type]
            console=shown,
            transient=True,
            disable=not self._live,
        )
        self._all = self._progress.add_task("runs", total=len(plan.missing), status=self._left())

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def begun(self) -> list[tuple[Run, int]]:
        """The runs that have begun and not ended, with how many epochs of each were told."""
        return [(run, len(self._epochs[run.key])) for run in self._plan.missing if self._epochs.get(run.key)]

    def say(self, line: str) -> None:
        """Print a line above the live display."""
        if self._live:
            self._progress.console.print(without_controls(line), markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line, err=True)

    def watch(self, event: Event) -> None:
        """Show an event."""
        key = event.run.key
        match event:
            case Started(run):
                self._epochs[key] = []
                self._bars[key] = self._progress.add_task(
                    _shortened(_title(run), self._name_width), total=planned_epochs(run.spec["training"]), status=""
                )
            case EpochFinished(run, record):
                self._epochs[key].append(record)
                self._advance(run, _share(run, [record]))
                recall = epoch_recall(record, _shown_part(record))
                status = f"loss {record.loss:.3f}" + ("" if recall != recall else f", recall {recall:.4f}")
                self._progress.update(self._bars[key], completed=record.epoch, status=status)
            case Lost(run, reason):
                self._advance(run, -_share(run, self._forget(key)))
                self.say(f"{_title(run)}: {reason}; trying once more")
            case Ended(run):
                self._end(run)

    def _end(self, run: Run) -> None:
        epochs = self._forget(run.key)
        self._done += 1
        self._advance(run, 1 - _share(run, epochs))
        if self._live and run.status == "finished":
            return
        if run.status == "finished":
            whole = attrs.evolve(run, epochs=run.epochs or tuple(epochs))
            part = _shown_part(whole.epochs[-1])
            outcome = f"{part} recall {measured(whole, part):.4f} ({duration(whole.seconds_training)})"
        else:
            outcome = run.reason.partition("\n")[0]
            outcome = outcome if outcome.startswith(run.status) else f"{run.status}: {outcome}"
        total = len(self._plan.missing)
        left = f"; {self._left()}" if self._done < total else ""
        # One that another command has trained has its epochs; of those trained here they were told one by one.
        whose = "(another command) " if run.epochs else ""
        self.say(f"{whose}[{self._done}/{total}] {_title(run)}: {outcome}{left}")

    def _forget(self, key: object) -> list[EpochRecord]:
        self._progress.remove_task(self._bars.pop(key))
        return self._epochs.pop(key)

    def _advance(self, run: Run, share: float) -> None:
        self._time_left.advance(share * self._plan.costs[run.key] / self._work if self._work else 0.0)
        self._progress.update(self._all, completed=self._done, status=self._left())

    def _left(self) -> str:
        return f"about {rough_range(*self._time_left.range)} left"


def begun_lines(begun: Sequence[tuple[Run, int]], checkpoints: Path) -> list[str]:
    """Say of runs that were interrupted how far each was, and where it goes on."""
    lines = []
    for run, epochs in begun[:_SHOWN]:
        saved = checkpoint_file(checkpoints, run.key).exists()
        where = "it goes on after its checkpoint" if saved else "it begins anew: no checkpoint was saved yet"
        lines.append(f"{_title(run)}: {_trained(run, epochs)} were trained; {where}.")
    if len(begun) > _SHOWN:
        lines.append(f"So it is with {counted(len(begun) - _SHOWN, 'run')} more.")
    return [*lines, "`zoo results --partial` shows the epochs of runs that have not ended."] if lines else []


def _title(run: Run) -> str:
    return f"{without_controls(run.name)} seed {run.key.seed}"


def _share(run: Run, epochs: Sequence[EpochRecord]) -> float:
    """Return which share of a run its epochs are; 0 where it is not known before it ends."""
    training = run.spec["training"]
    planned, minutes = planned_epochs(training), training.get("minutes")
    of_epochs = len(epochs) / planned if planned else 0.0
    return max(of_epochs, sum(epoch.seconds_training for epoch in epochs) / (60 * minutes)) if minutes else of_epochs


def _trained(run: Run, epochs: int) -> str:
    training = run.spec["training"]
    return (
        f"{counted(epochs, 'epoch')} of {in_words(training)}"
        if training["epochs"] is None
        else (f"{epochs} of {in_words(training)}")
    )


def _shortened(name: str, width: int) -> str:
    """Cut a name at its beginning: what runs differ in is at the end."""
    return name if len(name) <= width else "…" + name[1 - width :]


def _shown_part(record: EpochRecord) -> str:
    """Return the part whose recall is shown: where images are held out, the test images are not looked at."""
    return "validation" if "validation" in record.evaluations else "test"
