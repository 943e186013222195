"""The table of results: one row for each spec, every figure over its seeds."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from statistics import median_low
from typing import Any

import attrs
from tabulate import tabulate, tabulate_formats

from zoo.data.names import shown_names
from zoo.data.sizes import MUCH_LARGER
from zoo.errors import ZooError, near_misses, option
from zoo.report import layout, markup
from zoo.report.labels import IN_COLUMNS, distinct
from zoo.report.text import counted, duration, fit, quantity, seed_span, with_interval
from zoo.spec.length import ends_early
from zoo.statistics.intervals import mean_interval
from zoo.study.comparable import BY_TIME, TIMES, VERSIONS, unlike
from zoo.study.measure import measured, seconds_to_target, typical_seconds
from zoo.train.metrics import measure_of
from zoo.train.run import Run

FORMATS = ("csv", "json", *tabulate_formats)
DEFAULT_FORMAT = "simple"


@attrs.frozen
class Row:
    """One spec's results. Recalls are from 0 to 1, times in seconds; `*_interval` is half a 95% interval's width.

    `reference_of` says of what the reference figures are; where that is not what was trained, they are None. `versions`
    names those of zoo and torch where the seeds are of several. `identity` is the spec's, `source` the digest of its
    variants' source; `stale` says that the source is not what it was, so that the same benchmark would train anew.
    `same_as` is the row of another name whose spec is the same, so that both have the same runs. `seconds_to_target` is
    how many seconds of training it takes until half of the runs have had a validation recall of `target`, which
    `reached` of them had; one that diverged before has not. NaN where fewer than half had it. `ends_early` says that a
    run may end before its `epochs`; `fewest_epochs` and `most_epochs` are what those that have finished came to,
    `minutes` is what training may take.
    """

    spec: str
    test_recall: float
    test_recall_interval: float | None
    train_recall: float
    train_recall_interval: float | None
    validation_recall: float
    validation_recall_interval: float | None
    reference_test_recall: float | None
    reference_train_recall: float | None
    reference_runtime: str | None
    reference_of: str | None
    seconds_training: float
    parameters: int
    flops: int
    runs: int
    diverged: int
    failed: int
    measure: str
    epochs: float
    seeds: tuple[int, ...]
    test_recalls: tuple[float, ...]
    identity: str
    source: str
    stale: bool
    note: str | None
    versions: str
    same_as: str | None = None
    target: float | None = None
    seconds_to_target: float = math.nan
    reached: int = 0
    ends_early: bool = False
    fewest_epochs: int = 0
    most_epochs: int = 0
    minutes: float | None = None


@attrs.frozen
class Heading:
    """What all rows of a table have in common.

    `resize` and `validation` are the spec's, `dataset_digest` is that of the images as they were trained on;
    `preparation` says what else was done to the data.
    """

    dataset: str
    resize: int | None
    validation: float
    device_name: str
    precision: str
    dataset_digest: str
    preparation: str = ""

    def __str__(self) -> str:
        further = f", {self.preparation}" if self.preparation else ""
        resized = f", resized to {self.resize}x{self.resize}" if self.resize else ""
        held_out = f", {self.validation:.0%} of training held out" if self.validation else ""
        return f"{self.dataset}{resized}{further}{held_out}, {self.device_name}, {self.precision}"


def headings(runs: Sequence[Run]) -> dict[Heading, list[Run]]:
    """Group runs into those that one table may hold side by side; a data set goes by the shortest of its names."""
    names = shown_names((run.key.dataset, run.dataset) for run in runs)
    groups: dict[Heading, list[Run]] = {}
    for run in runs:
        data = run.spec["data"]
        device = run.provenance.get("device_name", "")
        name = names[run.key.dataset]
        heading = Heading(
            name, data["resize"], data["validation"], device, run.key.precision, run.key.dataset, _preparation(data)
        )
        groups.setdefault(heading, []).append(run)
    return groups


def _preparation(data: Mapping[str, Any]) -> str:
    """Say what was done to the data besides, which runs of earlier versions do not state."""
    texts = {
        "fit": f"fit {data.get('fit')}",
        "test": f"{data.get('test', 0.0):.0%} split off for test",
        "limit": f"{data.get('limit') or 0:,} training images",
        "group_by": f"split by {data.get('group_by')}",
        "resplit": "each fold held out in turn" if data.get("resplit") == "folds" else "split anew with each seed",
    }
    default = {"fit": "stretch", "test": 0.0, "limit": None, "group_by": None, "resplit": False}
    return ", ".join(text for name, text in texts.items() if data.get(name, default[name]) != default[name])


def rows(runs: Sequence[Run], is_stale: Callable[[Run], bool]) -> list[Row]:
    """Return one row for each spec, in the order in which the runs name them, each under a name of its own."""
    first_of: dict[tuple[str, str], str] = {}
    found = []
    for label, group in labelled(runs):
        row = _row(group, label, is_stale(group[0]))
        first = first_of.setdefault((row.identity, row.source), label)
        found.append(row if first == label else attrs.evolve(row, same_as=first))
    return found


def labelled(runs: Sequence[Run], *, in_columns: Sequence[tuple[str, ...]] = IN_COLUMNS) -> list[tuple[str, list[Run]]]:
    """Return the runs of each spec and source of its variants, each under a name of its own.

    Args:
        runs: of one table.
        in_columns: paths of what is shown beside the name, and need not be in it.
    """
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.name, run.key.spec, run.key.source), []).append(run)
    firsts = [group[0] for group in groups.values()]
    labels = distinct(
        [run.name for run in firsts],
        [run.spec for run in firsts],
        [hashlib.sha256((run.key.spec + run.key.source).encode()).hexdigest() for run in firsts],
        in_columns=in_columns,
    )
    return list(zip(labels, groups.values(), strict=True))


def _row(runs: list[Run], label: str, stale: bool) -> Row:
    finished = sorted((run for run in runs if run.status == "finished"), key=lambda run: run.key.seed)
    test = tuple(measured(run, "test") for run in finished)
    test_mean, test_interval = mean_interval(test)
    train_mean, train_interval = mean_interval([measured(run, "train") for run in finished])
    validation_mean, validation_interval = mean_interval([measured(run, "validation") for run in finished])
    first = runs[0]
    known = finished[0] if finished else first
    reported: Mapping[str, Any] = first.spec.get("reference") or {}
    times = [seconds_to_target(run) for run in runs if run.status in ("finished", "diverged")]
    to_target = median_low(times) if times else math.nan
    reference = reported if _refers(reported, runs) else {}
    return Row(
        spec=label,
        test_recall=test_mean,
        test_recall_interval=test_interval,
        train_recall=train_mean,
        train_recall_interval=train_interval,
        validation_recall=validation_mean,
        validation_recall_interval=validation_interval,
        reference_test_recall=reference.get("test_recall"),
        reference_train_recall=reference.get("train_recall"),
        reference_runtime=reference.get("runtime"),
        reference_of=f"{counted(reported['epochs'], 'epoch')} on {reported['dataset']}"
        if reported.get("epochs")
        else None,
        seconds_training=typical_seconds(finished),
        parameters=known.parameters,
        flops=known.flops,
        runs=len(finished),
        diverged=sum(run.status == "diverged" for run in runs),
        failed=sum(run.status == "failed" for run in runs),
        measure=measure_of(first.spec),
        epochs=first.spec["training"]["epochs"] or max(len(run.epochs) for run in runs),
        seeds=tuple(sorted(run.key.seed for run in runs)),
        test_recalls=test,
        identity=first.key.spec,
        source=first.key.source,
        stale=stale,
        note=reference.get("note"),
        versions=unlike(finished, VERSIONS),
        target=first.spec["evaluation"].get("target"),
        seconds_to_target=to_target if math.isfinite(to_target) else math.nan,
        reached=sum(map(math.isfinite, times)),
        ends_early=ends_early(first.spec),
        fewest_epochs=min((len(run.epochs) for run in finished), default=0),
        most_epochs=max((len(run.epochs) for run in finished), default=0),
        minutes=first.spec["training"].get("minutes"),
    )


def _refers(reported: Mapping[str, Any], runs: Sequence[Run]) -> bool:
    """Whether a publication's figures are of what was trained: of as many epochs, on a data set of that name."""
    return reported.get("epochs") == runs[0].spec["training"]["epochs"] and reported.get("dataset") in {
        run.dataset for run in runs
    }


@attrs.frozen
class Column:
    """A column: its title, how a cell is written, what rows are sorted by (best first), whether it is optional.

    An optional one is left out where it is empty. `number` is the field of the row that it shows; "" for a text.
    """

    title: str
    cell: Callable[[Row], str]
    order: Callable[[Row], Any]
    optional: bool = False
    number: str = ""


def _to_target(row: Row) -> str:
    if row.target is None:
        return ""
    middle = "-" if math.isnan(row.seconds_to_target) else duration(row.seconds_to_target)
    return f"{middle} ({row.reached} of {row.runs + row.diverged})"


COLUMNS = {
    "spec": Column(
        "spec",
        lambda r: r.spec + (f" (same as {r.same_as})" if r.same_as else "") + (" (stale)" if r.stale else ""),
        lambda r: r.spec,
    ),
    "recall": Column(
        "test recall",
        lambda r: with_interval(r.test_recall, r.test_recall_interval),
        lambda r: _last(-r.test_recall),
        number="test_recall",
    ),
    "train": Column(
        "train recall",
        lambda r: with_interval(r.train_recall, r.train_recall_interval),
        lambda r: _last(-r.train_recall),
        number="train_recall",
    ),
    "validation": Column(
        "validation",
        lambda r: with_interval(r.validation_recall, r.validation_recall_interval),
        lambda r: _last(-r.validation_recall),
        optional=True,
        number="validation_recall",
    ),
    "reference": Column(
        "reference",
        lambda r: with_interval(r.reference_test_recall, None),
        lambda r: _last(-(r.reference_test_recall or math.nan)),
        optional=True,
        number="reference_test_recall",
    ),
    "reference-train": Column(
        "ref. train",
        lambda r: with_interval(r.reference_train_recall, None),
        lambda r: _last(-(r.reference_train_recall or math.nan)),
        optional=True,
        number="reference_train_recall",
    ),
    "reference-time": Column(
        "ref. time", lambda r: r.reference_runtime or "", lambda r: r.reference_runtime or "", optional=True
    ),
    "time": Column(
        "training",
        lambda r: duration(r.seconds_training),
        lambda r: _last(r.seconds_training),
        number="seconds_training",
    ),
    "target": Column(
        "to target", _to_target, lambda r: _last(r.seconds_to_target), optional=True, number="seconds_to_target"
    ),
    "parameters": Column(
        "parameters",
        lambda r: quantity(r.parameters) if r.parameters else "",
        lambda r: r.parameters or math.inf,
        number="parameters",
    ),
    "flops": Column(
        "FLOPs", lambda r: quantity(r.flops) if r.flops else "", lambda r: r.flops or math.inf, number="flops"
    ),
    "epochs": Column("epochs", lambda r: str(r.epochs), lambda r: r.epochs, number="epochs"),
    "measure": Column("measure", lambda r: r.measure, lambda r: r.measure),
    "runs": Column("runs", lambda r: str(r.runs), lambda r: -r.runs, number="runs"),
    "diverged": Column(
        "diverged", lambda r: str(r.diverged or ""), lambda r: -r.diverged, optional=True, number="diverged"
    ),
    "failed": Column("failed", lambda r: str(r.failed or ""), lambda r: -r.failed, optional=True, number="failed"),
}
_LEFT_OUT_FIRST = ("reference-time", "reference-train", "flops", "parameters", "train", "time", "reference")
"""Columns that a narrow terminal does without, the least important first."""


def render(
    runs: Sequence[Run],
    *,
    format_: str = DEFAULT_FORMAT,
    sort: str | None = None,
    width: int | None = None,
    is_stale: Callable[[Run], bool] = lambda run: False,
) -> str:
    """Return the table, or tables, of the runs as text: one for each data set, device and precision.

    Args:
        runs: ended runs, epochs included.
        format_: "csv", "json", or any of tabulate's.
        sort: name of the column to sort by (best or smallest first); the order of the runs when left out.
        width: how many characters a line may have; only the default format is fitted to it.
        is_stale: says of a run that the source of its variants is not what it was.

    Raises:
        ZooError: there is no such format or column.
    """
    check(format_, sort)
    groups = headings(runs)
    tables = [(heading, rows(group, is_stale)) for heading, group in groups.items()]
    if sort is not None:
        tables = [(heading, sorted(table, key=COLUMNS[sort].order)) for heading, table in tables]
    if format_ in ("csv", "json"):
        records = [_record(heading, row) for heading, table in tables for row in table]
        return _json(records) if format_ == "json" else _csv(records)
    alike = Counter(str(heading) for heading, _ in tables)
    width = width if format_ == DEFAULT_FORMAT else None
    return "\n\n".join(
        _section(
            heading,
            table,
            format_,
            sort,
            width,
            told_apart=alike[str(heading)] == 1,
            unlike_times=unlike([run for run in groups[heading] if run.status == "finished"], TIMES),
            sizes=_unequal_classes(groups[heading]),
        )
        for heading, table in tables
    )


def html(runs: Sequence[Run], below: Sequence[str], *, is_stale: Callable[[Run], bool]) -> str:
    """Return the table as HTML, with lines of text below it."""
    return "\n".join(
        [render(runs, format_="html", is_stale=is_stale), *(f"<p>{escape(line)}</p>" for line in below if line)]
    )


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


def title(heading: Heading, table: Sequence[Row], *, told_apart: bool = True) -> list[str]:
    """Say in lines what all rows of a table have in common: data set, device, precision, seeds, epochs, measure.

    Args:
        heading: the table's.
        table: its rows.
        told_apart: no other table has a heading that reads the same; otherwise the images' digest is added.
    """
    seeds = sorted({seed for row in table for seed in row.seeds})
    epochs = sorted({row.epochs for row in table})
    span = counted(epochs[0], "epoch") if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]} epochs"
    if any(row.ends_early for row in table):
        span = f"at most {span}"
    digest = "" if told_apart else f" (images {heading.dataset_digest[:7]})"
    measures = {row.measure: _MEASURES[row.measure] for row in table}
    if len(measures) > 1:
        measures = {measure: f"{text} ({measure})" for measure, text in measures.items()}
    return [
        f"{heading}{digest}; {counted(len(seeds), 'seed')} ({seed_span(seeds)}), {span}",
        f"mean ± 95% interval over seeds; training: median; recall: {'; '.join(sorted(measures.values()))}",
    ]


def _unequal_classes(runs: Sequence[Run]) -> str:
    """Say how many test images classes have, where that differs much; "" elsewhere."""
    evaluated = [record.evaluations["test"] for run in runs for record in run.epochs if "test" in record.evaluations]
    sizes = [sum(of_class) for of_class in evaluated[-1].confusion] if evaluated else []
    if not sizes or max(sizes) < MUCH_LARGER * min(sizes):
        return ""
    return (
        f"classes have from {min(sizes):,} to {max(sizes):,} test images, and recall is macro: each counts the same; "
        "`zoo data show` lists them"
    )


_MEASURES = {
    "final": "macro, after the last epoch",
    "best": "macro, after the epoch that was best on the validation part",
    "last_quarter": "macro, mean over the last quarter of the epochs",
    "eq2425": "mean over epochs of the mean over batches of each batch's macro recall, as in the EQ2425 study",
}


def _section(
    heading: Heading,
    table: Sequence[Row],
    format_: str,
    sort: str | None,
    width: int | None,
    *,
    told_apart: bool,
    unlike_times: str,
    sizes: str,
) -> str:
    names = [name for name, column in COLUMNS.items() if not column.optional or any(map(column.cell, table))]
    # What is the same for all rows is in the title.
    names = [name for name in names if name not in ("epochs", "measure") or len({getattr(r, name) for r in table}) > 1]
    cells = {COLUMNS[name].title: [COLUMNS[name].cell(row) for row in table] for name in names}
    above, below = title(heading, table, told_apart=told_apart), []
    if sizes:
        below.append(sizes)
    if any(row.stale for row in table):
        below.append("stale: the source of its variants is no longer what it was; `zoo benchmark` trains it anew")
    if any(row.same_as for row in table):
        below.append("same as: two names of one network and one training, whose runs are trained and counted once")
    if targets := sorted({row.target for row in table if row.target is not None}):
        below.append(
            "to target: how long training takes until half of the runs have had a validation recall of "
            f"{' or '.join(f'{target:g}' for target in targets)}, and how many had it at all"
        )
    below += early_lines(table)
    below += [f"{row.spec}: one mean over seeds of several versions: {row.versions}." for row in table if row.versions]
    if unlike_times and len(table) > 1:
        below.append(f"Training times are of runs that differ, and not to be compared: {unlike_times}.")
    figures = ("reference_test_recall", "reference_train_recall", "reference_runtime")
    others = {row.reference_of: None for row in table if not any(getattr(row, name) for name in figures)}
    if about := [text for text in others if text]:
        below.append(f"Reference figures are left out: they are of {', '.join(about)}.")
    if width is not None:
        left_out_first = [COLUMNS[name].title for name in _LEFT_OUT_FIRST if name != sort]
        left_out = fit(cells, width, folding=("spec",), left_out_first=left_out_first)
        if left_out:
            below.append(f"No room for: {', '.join(left_out)}; {option('format', 'csv')} has all.")
        above, below = ([layout.wrapped(line, width) for line in lines] for lines in (above, below))
    above, below = markup.lines(above, format_), markup.lines(below, format_)
    return "\n".join([*above, "", _tabulate(cells, format_), *(["", *below] if below else [])])


def early_lines(table: Sequence[Row]) -> list[str]:
    """Say how far runs came that may end early, and what it means where time decides that."""
    lines = []
    came = [
        f"{row.spec} {' to '.join(map(str, dict.fromkeys((row.fewest_epochs, row.most_epochs))))}"
        for row in table
        if row.ends_early and row.most_epochs
    ]
    if came:
        lines.append(f"Epochs that were trained: {', '.join(came)}.")
    if any(row.minutes is not None for row in table):
        lines.append(BY_TIME)
    return lines


def _tabulate(cells: dict[str, list[str]], format_: str) -> str:
    cells = markup.cells(cells, format_)
    return tabulate(
        list(zip(*cells.values(), strict=True)),
        headers=list(cells),
        tablefmt=format_,
        colalign=["left" if title in ("spec", "measure") else "right" for title in cells],
        disable_numparse=True,
    )


def _record(heading: Heading, row: Row) -> dict[str, Any]:
    """Return a row as plain data; a figure that there is not is None."""
    # The last is an earlier name of the device's, which programs may read.
    record = {**attrs.asdict(heading), **attrs.asdict(row), "device": heading.device_name}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}


def _json(records: list[dict[str, Any]]) -> str:
    return json.dumps(records, indent=2, allow_nan=False)


def _csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    names = [field.name for cls in (Heading, Row) for field in attrs.fields(cls)]
    writer = csv.DictWriter(text, [*names, "device"], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({k: " ".join(map(str, v)) if isinstance(v, tuple) else v for k, v in record.items()})
    return text.getvalue().rstrip("\n")


def _last(value: float) -> float:
    """Return what puts a row without the figure behind all others."""
    return math.inf if math.isnan(value) else value
