"""What a person sees while runs are trained: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import attrs
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from zoo.benchmark import Plan
from zoo.report.table import duration, epoch_recall, measured
from zoo.train.executors import Ended, EpochFinished, Event, Lost, Started
from zoo.train.run import EpochRecord, Run


def console() -> Console:
    """Return the console that progress is shown on: standard error, so that the table can be redirected."""
    return Console(stderr=True)


class Display:
    """Shows what is training, how many runs are done, and how much time is left; a context manager."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._left = plan.estimate
        self._done_estimate = 0.0
        self._done = 0
        self._start = time.perf_counter()
        self._epochs: dict[object, list[EpochRecord]] = {}
        self._live = sys.stderr.isatty()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            console=console(),
            transient=True,
            disable=not self._live,
        )
        self._all = self._progress.add_task("runs", total=len(plan.missing), status=self._time_left())
        self._bars: dict[object, TaskID] = {}

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the live display."""
        if self._live:
            self._progress.console.print(line, markup=False, highlight=False)
        else:
            click.echo(line, err=True)

    def watch(self, event: Event) -> None:
        """Show an event."""
        key = event.run.key
        match event:
            case Started(run):
                self._epochs[key] = []
                name = f"{run.name} seed {run.key.seed}"
                self._bars[key] = self._progress.add_task(name, total=run.spec["training"]["epochs"], status="")
            case EpochFinished(run, record):
                self._epochs[key].append(record)
                total = run.spec["training"]["epochs"]
                self._done_estimate += self._plan.seconds[key.spec] / total
                recall = epoch_recall(record, "test")
                status = f"loss {record.loss:.4f}" + ("" if recall != recall else f", test recall {recall:.4f}")
                self._progress.update(self._bars[key], completed=record.epoch, status=status)
                self._progress.update(self._all, status=self._time_left())
            case Lost(run, reason):
                self._forget(key)
                self.say(f"{run.name} seed {run.key.seed}: {reason}; trying once more")
            case Ended(run):
                self._end(run)

    def _forget(self, key: object) -> list[EpochRecord]:
        epochs = self._epochs.pop(key)
        self._progress.remove_task(self._bars.pop(key))
        return epochs

    def _end(self, run: Run) -> None:
        epochs = self._forget(run.key)
        unfinished = 1 - len(epochs) / run.spec["training"]["epochs"]
        self._done_estimate += unfinished * self._plan.seconds[run.key.spec]
        self._done += 1
        self._progress.update(self._all, completed=self._done, status=self._time_left())
        if run.status == "finished":
            whole = attrs.evolve(run, epochs=tuple(epochs))
            outcome = f"test recall {measured(whole, 'test'):.4f} ({duration(whole.seconds_training)})"
        else:
            outcome = f"{run.status}: {run.reason.partition(chr(10))[0]}"
        if not self._live or run.status == "failed":
            count = f"[{self._done}/{len(self._plan.missing)}]"
            self.say(f"{count} {run.name} seed {run.key.seed}: {outcome}; {self._time_left()}")

    def _time_left(self) -> str:
        """Estimate from what was planned, corrected by how long the part that is done really took."""
        done = self._done_estimate / self._plan.jobs
        left = self._plan.estimate - done
        if done:
            left *= (time.perf_counter() - self._start) / done
        return f"about {duration(max(0.0, left))} left"
