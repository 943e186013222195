"""Runs that have not ended, one a line, with how recall went so far."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from zoo.errors import option
from zoo.report import markup
from zoo.report.cells import Cell, Table
from zoo.report.details import shown_part
from zoo.report.table import DEFAULT_FORMAT, check
from zoo.report.text import duration, fit
from zoo.spec.length import in_words
from zoo.study.measure import epoch_recall
from zoo.train.run import Run

if TYPE_CHECKING:
    from zoo.ledger.keep import Entry

NONE = "No run is under way or was cut short."
_POINTS = 4
"""Epochs whose recall is shown."""
_LEFT_OUT_FIRST = ("loss", "training", "data set", "run")
_LEFT = ("spec", "data set", "status")


def render(
    found: Sequence[tuple[Entry, Run]],
    *,
    format_: str = DEFAULT_FORMAT,
    sort: str | None = None,
    width: int | None = None,
) -> str:
    """Return the table of runs that have not ended.

    Args:
        found: attempts, with their epochs.
        format_: "csv" or "json", which have a record for each run or for each epoch, or any of tabulate's.
        sort: "recall" or "spec"; the order in which they began when left out.
        width: how many characters a line may have; only the default format is fitted to it.

    Raises:
        ZooError: there is no such format or column.
    """
    check(format_, sort)
    found = sorted(found, key=_ORDERS.get(sort or "", lambda pair: pair[0].id))
    if format_ == "json":
        return json.dumps([_record(entry, run) for entry, run in found], indent=2)
    if format_ == "csv":
        return _csv([{**epoch, **about} for entry, run in found for epoch, about in _by_epoch(entry, run)])
    if not found:
        return NONE
    part = shown_part([run for _, run in found])
    cells = _cells(found, part)
    below = []
    if width is not None and format_ == DEFAULT_FORMAT:
        recall = f"{part} recall (after epoch)"
        left_out = fit(cells, width, folding=("spec", "data set", recall), left_out_first=_LEFT_OUT_FIRST)
        below = ["", f"No room for: {', '.join(left_out)}; {option('format', 'csv')} has all."] if left_out else []
    cells = markup.cells(cells, format_)
    drawn = tabulate(
        list(zip(*cells.values(), strict=True)),
        headers=list(cells),
        tablefmt=format_,
        colalign=["left" if title in _LEFT or "recall" in title else "right" for title in cells],
        disable_numparse=True,
    )
    return "\n".join([drawn, *below])


def _cells(found: Sequence[tuple[Entry, Run]], part: str) -> dict[str, list[str]]:
    """Return the columns of the table, by their titles."""
    return {
        "run": [str(entry.id) for entry, _ in found],
        "spec": [run.name for _, run in found],
        "seed": [str(run.key.seed) for _, run in found],
        "data set": [run.dataset for _, run in found],
        "status": [entry.status for entry, _ in found],
        "epochs": [f"{len(run.epochs)} of {_asked(run)}" for _, run in found],
        "loss": [f"{run.epochs[-1].loss:.4f}" if run.epochs else "" for _, run in found],
        f"{part} recall (after epoch)": [_curve(run, part) for _, run in found],
        "training": [duration(run.seconds_training) if run.epochs else "" for _, run in found],
    }


def table(found: Sequence[tuple[Entry, Run]]) -> Table:
    """Return the table of runs that have not ended for a page."""
    cells = _cells(found, shown_part([run for _, run in found]))
    rows = zip(*cells.values(), strict=True)
    return Table(
        title="Runs under way or cut short",
        rows=tuple({title: Cell(text) for title, text in zip(cells, row, strict=True)} for row in rows),
    )


def _curve(run: Run, part: str) -> str:
    """Return some recalls, evenly spread over the epochs, the last one among them: "0.3103 (1), 0.7012 (33)"."""
    known = [(epoch.epoch, epoch_recall(epoch, part)) for epoch in run.epochs]
    known = [(epoch, recall) for epoch, recall in known if not math.isnan(recall)]
    count = min(_POINTS, len(known))
    places = [round(point * (len(known) - 1) / max(count - 1, 1)) for point in range(count)]
    return ", ".join(f"{known[place][1]:.4f} ({known[place][0]})" for place in places)


def _last_recall(pair: tuple[Entry, Run]) -> float:
    _, run = pair
    recall = epoch_recall(run.epochs[-1], shown_part([run])) if run.epochs else math.nan
    return math.inf if math.isnan(recall) else -recall


_ORDERS: dict[str, Any] = {"recall": _last_recall, "spec": lambda pair: pair[1].name}


def _about(entry: Entry, run: Run) -> dict[str, Any]:
    return {
        "run": entry.id,
        "spec": run.name,
        "seed": run.key.seed,
        "dataset": run.dataset,
        "status": entry.status,
        "trained_by": str(entry.owner) if entry.owner else None,
        "epochs_asked": run.spec["training"]["epochs"],
        "identity": run.key.spec,
    }


def _by_epoch(entry: Entry, run: Run) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    about = _about(entry, run)
    parts = ("test", "train", "validation")
    return [
        (
            about,
            {
                "epoch": epoch.epoch,
                "loss": _finite(epoch.loss),
                **{f"{part}_recall": _finite(epoch_recall(epoch, part)) for part in parts},
                "seconds_training": epoch.seconds_training,
            },
        )
        for epoch in run.epochs
    ]


def _record(entry: Entry, run: Run) -> dict[str, Any]:
    return {**_about(entry, run), "epochs": [epoch for _, epoch in _by_epoch(entry, run)]}


def _csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    if records:
        writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    return text.getvalue().rstrip("\n")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _asked(run: Run) -> str:
    training = run.spec["training"]
    return in_words(training) if training["epochs"] is None else str(training["epochs"])
