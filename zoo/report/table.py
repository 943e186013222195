"""The table of results: one row for each spec, every figure over its seeds."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from tabulate import tabulate, tabulate_formats

from zoo.errors import ZooError, near_misses
from zoo.study.statistics import mean_interval
from zoo.train import metrics
from zoo.train.run import EpochRecord, Run

FORMATS = ("csv", "json", *tabulate_formats)


@attrs.frozen
class Row:
    """One spec's results. Recalls are from 0 to 1, times in seconds; `*_interval` is half a 95% interval's width."""

    spec: str
    test_recall: float
    test_recall_interval: float | None
    train_recall: float
    train_recall_interval: float | None
    reference_test_recall: float | None
    reference_train_recall: float | None
    seconds_training: float
    parameters: int
    flops: int
    runs: int
    diverged: int
    failed: int
    measure: str
    epochs: int
    seeds: tuple[int, ...]
    test_recalls: tuple[float, ...]
    identity: str
    note: str | None


@attrs.frozen
class Heading:
    """What all rows of a table have in common."""

    dataset: str
    device: str
    precision: str


def measured(run: Run, part: str) -> float:
    """Return a run's recall on a part of the data, by the measure that its spec asks for.

    "final" is macro recall after the last epoch; "eq2425" the mean over evaluated epochs of the mean over batches of
    each batch's macro recall.
    """
    evaluated = [epoch.evaluations[part] for epoch in run.epochs if part in epoch.evaluations]
    if not evaluated:
        return math.nan
    if run.spec["evaluation"]["measure"] == "eq2425":
        return math.fsum(evaluation.batch_recall or 0.0 for evaluation in evaluated) / len(evaluated)
    return metrics.macro_recall(evaluated[-1].confusion)


def epoch_recall(epoch: EpochRecord, part: str) -> float:
    """Return macro recall after one epoch; NaN where it was not evaluated."""
    return metrics.macro_recall(epoch.evaluations[part].confusion) if part in epoch.evaluations else math.nan


def headings(runs: Sequence[Run]) -> dict[Heading, list[Run]]:
    """Group runs into those that one table may hold side by side."""
    groups: dict[tuple[str, Heading], list[Run]] = {}
    for run in runs:
        heading = Heading(run.dataset, run.provenance.get("device_name", ""), run.key.precision)
        groups.setdefault((run.key.dataset, heading), []).append(run)
    return {heading: group for (_, heading), group in groups.items()}


def rows(runs: Sequence[Run]) -> list[Row]:
    """Return one row for each spec, in the order in which the runs name them."""
    groups: dict[tuple[str, str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.name, run.key.spec, run.key.dataset, run.key.source), []).append(run)
    return [_row(group) for group in groups.values()]


def _row(runs: list[Run]) -> Row:
    finished = sorted((run for run in runs if run.status == "finished"), key=lambda run: run.key.seed)
    test = tuple(measured(run, "test") for run in finished)
    test_mean, test_interval = mean_interval(test)
    train_mean, train_interval = mean_interval([measured(run, "train") for run in finished])
    first = runs[0]
    known = finished[0] if finished else first
    reference = first.spec.get("reference") or {}
    return Row(
        spec=first.name,
        test_recall=test_mean,
        test_recall_interval=test_interval,
        train_recall=train_mean,
        train_recall_interval=train_interval,
        reference_test_recall=reference.get("test_recall"),
        reference_train_recall=reference.get("train_recall"),
        seconds_training=mean_interval([run.seconds_training for run in finished])[0],
        parameters=known.parameters,
        flops=known.flops,
        runs=len(finished),
        diverged=sum(run.status == "diverged" for run in runs),
        failed=sum(run.status == "failed" for run in runs),
        measure=first.spec["evaluation"]["measure"],
        epochs=first.spec["training"]["epochs"],
        seeds=tuple(sorted(run.key.seed for run in runs)),
        test_recalls=test,
        identity=first.key.spec,
        note=reference.get("note"),
    )


@attrs.frozen
class Column:
    """A column: its title, how a cell is written, what rows are sorted by, and whether it is left out when empty."""

    title: str
    cell: Callable[[Row], str]
    order: Callable[[Row], Any]
    optional: bool = False


COLUMNS = {
    "spec": Column("spec", lambda r: r.spec, lambda r: r.spec),
    "recall": Column(
        "test recall", lambda r: with_interval(r.test_recall, r.test_recall_interval), lambda r: -_number(r.test_recall)
    ),
    "train": Column(
        "train recall",
        lambda r: with_interval(r.train_recall, r.train_recall_interval),
        lambda r: -_number(r.train_recall),
    ),
    "reference": Column(
        "reference",
        lambda r: with_interval(r.reference_test_recall, None),
        lambda r: -_number(r.reference_test_recall),
        optional=True,
    ),
    "reference-train": Column(
        "ref. train",
        lambda r: with_interval(r.reference_train_recall, None),
        lambda r: -_number(r.reference_train_recall),
        optional=True,
    ),
    "time": Column("training", lambda r: duration(r.seconds_training), lambda r: r.seconds_training),
    "parameters": Column("parameters", lambda r: quantity(r.parameters), lambda r: r.parameters),
    "flops": Column("FLOPs", lambda r: quantity(r.flops), lambda r: r.flops),
    "epochs": Column("epochs", lambda r: str(r.epochs), lambda r: r.epochs),
    "runs": Column("runs", lambda r: str(r.runs), lambda r: -r.runs),
    "diverged": Column("diverged", lambda r: str(r.diverged or ""), lambda r: -r.diverged, optional=True),
    "failed": Column("failed", lambda r: str(r.failed or ""), lambda r: -r.failed, optional=True),
}


def render(runs: Sequence[Run], *, format_: str = "simple", sort: str | None = None) -> str:
    """Return the table, or tables, of the runs as text: one for each data set, device and precision.

    Args:
        runs: ended runs, epochs included.
        format_: "csv", "json", or any of tabulate's.
        sort: name of the column to sort by (best or smallest first); the order of the runs when left out.

    Raises:
        ZooError: there is no such format or column.
    """
    check(format_, sort)
    tables = [(heading, rows(group)) for heading, group in headings(runs).items()]
    if sort is not None:
        tables = [(heading, sorted(table, key=COLUMNS[sort].order)) for heading, table in tables]
    if format_ in ("csv", "json"):
        records = [{**attrs.asdict(heading), **attrs.asdict(row)} for heading, table in tables for row in table]
        return _json(records) if format_ == "json" else _csv(records)
    return "\n\n".join(f"{title(heading, table)}\n\n{_tabulate(table, format_)}" for heading, table in tables)


def check(format_: str, sort: str | None) -> None:
    """Refuse a format or a column that does not exist, before hours are spent on what it should show.

    Raises:
        ZooError: names what there is.
    """
    if format_ not in FORMATS:
        raise ZooError(
            f"no table format is called {format_!r}{near_misses(format_, FORMATS)} There are {', '.join(FORMATS)}."
        )
    if sort is not None and sort not in COLUMNS:
        raise ZooError(f"no column is called {sort!r}{near_misses(sort, COLUMNS)} There are {', '.join(COLUMNS)}.")


def title(heading: Heading, table: Sequence[Row]) -> str:
    """Say what all rows of a table have in common: data set, device, precision, seeds, epochs, measure."""
    seeds = sorted({seed for row in table for seed in row.seeds})
    epochs = sorted({row.epochs for row in table})
    span = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
    line = (
        f"{heading.dataset}, {heading.device}, {heading.precision}; {_count(len(seeds), 'seed')} ({_seeds(seeds)}), "
        f"{span} epoch{'' if epochs[-1] == 1 else 's'}; mean ± 95% interval over seeds"
    )
    measures = {row.measure for row in table}
    if "eq2425" not in measures:
        return line + "; recall: macro, after the last epoch"
    note = "recall: mean over epochs of the mean over batches of each batch's macro recall (the EQ2425 study's measure)"
    return f"{line}\n{note}" + ("" if measures == {"eq2425"} else " for eq2425/*, else macro after the last epoch")


def _tabulate(table: Sequence[Row], format_: str) -> str:
    cells = {column.title: [column.cell(row) for row in table] for column in COLUMNS.values()}
    for column in COLUMNS.values():
        if column.optional and not any(cells[column.title]):
            del cells[column.title]
    if len({row.epochs for row in table}) == 1:
        del cells[COLUMNS["epochs"].title]
    align = ["left" if name == "spec" else "right" for name in cells]
    return tabulate(cells, headers="keys", tablefmt=format_, colalign=align, disable_numparse=True)


def _json(records: list[dict[str, Any]]) -> str:
    for record in records:
        for key, value in record.items():
            if isinstance(value, float) and not math.isfinite(value):
                record[key] = None
    return json.dumps(records, indent=2)


def _csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    names = [field.name for cls in (Heading, Row) for field in attrs.fields(cls)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({k: " ".join(map(str, v)) if isinstance(v, tuple) else v for k, v in record.items()})
    return text.getvalue().rstrip("\n")


def with_interval(value: float | None, interval: float | None) -> str:
    """Write a recall with its interval: "0.953 ± 0.004"; nothing for no value."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:.4f}" + ("" if interval is None else f" ± {interval:.4f}")


def duration(seconds: float) -> str:
    """Write a duration with two units at most: "0.84 s", "12.3 s", "3 min 10 s", "2 h 5 min"."""
    if math.isnan(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def quantity(number: float) -> str:
    """Write a count with three digits and a unit: "985", "86.7k", "1.27M"."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(number) < 999.5:
            return f"{number:.3g}{unit}" if unit else f"{number:g}"
        number /= 1000
    return f"{number:.3g}P"


def _number(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
