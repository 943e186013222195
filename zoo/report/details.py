"""What stands behind a row of the table of results: its epochs, its classes, and what is taken for what."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ZooError
from zoo.report.cells import Cell, Table
from zoo.report.table import headings, labelled
from zoo.report.text import counted, duration, with_interval
from zoo.statistics.intervals import mean_interval
from zoo.study.measure import epoch_recall
from zoo.train.metrics import recall_per_class
from zoo.train.run import Run

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("validation", "test", "train")
ClassNames = Callable[[Run], "Sequence[str] | None"]
_MOST_CLASSES = 12
"""Classes of a confusion matrix that is shown whole; of more, only what is taken for something else most often."""
_MOST_CONFUSIONS = 20


def shown_part(runs: Sequence[Run]) -> str:
    """Return the part whose recall is shown: where images are held out, the test images are not looked at."""
    return "validation" if runs and all(run.spec["data"]["validation"] for run in runs) else "test"


def finished(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that neither diverged nor failed."""
    return [run for run in runs if run.status == "finished"]


def epochs(runs: Sequence[Run]) -> list[Table]:
    """Return for each data set, device and precision a table with a row for each epoch of each spec.

    Figures are means over the runs that finished, with 95% intervals.
    """
    tables = []
    for heading, own in headings(runs).items():
        rows = [
            {"spec": Cell(label), **_epoch(number, group)}
            for label, group in labelled(own, in_columns=())
            for number in sorted({epoch.epoch for run in finished(group) for epoch in run.epochs})
        ]
        below = ("mean ± 95% interval over seeds; macro recall after the epoch, where it was evaluated.",)
        left_out_first = ("training", "train recall", "loss")
        tables.append(Table(title=f"Epochs: {heading}", rows=tuple(rows), below=below, left_out_first=left_out_first))
    return tables


def _epoch(number: int, runs: Sequence[Run]) -> dict[str, Cell]:
    own = [epoch for run in finished(runs) for epoch in run.epochs if epoch.epoch == number]
    cells = {"epoch": Cell(str(number), number)}
    loss, _ = mean_interval([epoch.loss for epoch in own])
    cells["loss"] = Cell(f"{loss:.4f}", loss)
    for part in PARTS:
        recalls = [recall for epoch in own if not math.isnan(recall := epoch_recall(epoch, part))]
        cells[f"{part} recall"] = recall_cell(recalls)
    seconds, _ = mean_interval([epoch.seconds_training for epoch in own])
    cells["training"] = Cell(duration(seconds), seconds)
    cells["runs"] = Cell(str(len(own)), len(own))
    return cells


def recall_cell(recalls: Sequence[float]) -> Cell:
    """Return the cell of a mean recall over seeds with its 95% interval; an empty one for no recall."""
    mean, half = mean_interval(list(recalls))
    return Cell(with_interval(mean, half), None if math.isnan(mean) else mean)


def last_confusion(run: Run, part: str) -> NDArray[np.int64] | None:
    """Return the counts of a run's last evaluation on a part, (classes, classes), true classes as rows; or None."""
    found = [epoch.evaluations[part] for epoch in run.epochs if part in epoch.evaluations]
    return np.asarray(found[-1].confusion, dtype=np.int64) if found else None


def confusion(runs: Sequence[Run], part: str) -> NDArray[np.int64]:
    """Return the counts of all finished runs after their last evaluation, added up.

    Raises:
        ZooError: no run was evaluated on that part.
    """
    counts = [found for run in finished(runs) if (found := last_confusion(run, part)) is not None]
    if not counts:
        raise ZooError(f"no finished run was evaluated on the {part} part")
    total: NDArray[np.int64] = np.sum(counts, axis=0)
    return total


def named_classes(runs: Sequence[Run], count: int, class_names: ClassNames) -> list[str]:
    """Return the names of the classes, or their numbers where the images are not at hand."""
    names = class_names(runs[0])
    return list(map(str, names if names is not None and len(names) == count else range(count)))


def per_class(runs: Sequence[Run], part: str, class_names: ClassNames) -> list[Table]:
    """Return for each data set, device and precision a table of recalls with a row for each class.

    Args:
        runs: ended ones.
        part: of the data.
        class_names: returns those of a run, or None.

    Raises:
        ZooError: no run was evaluated on that part.
    """
    tables = []
    for heading, own in headings(runs).items():
        groups = {label: _class_recalls(group, part) for label, group in labelled(own, in_columns=())}
        groups = {label: recalls for label, recalls in groups.items() if len(recalls)}
        if not groups:
            continue
        images = confusion(own, part).sum(axis=1) / sum(map(len, groups.values()))
        names = named_classes(own, len(images), class_names)
        rows = [
            {
                "class": Cell(name),
                "images": Cell(f"{images[number]:,.0f}", float(images[number])),
                **{
                    label: recall_cell([recall for recall in recalls[:, number] if not math.isnan(recall)])
                    for label, recalls in groups.items()
                },
            }
            for number, name in enumerate(names)
        ]
        below = ("mean ± 95% interval over seeds, after the last epoch; images: of the class.",)
        title = f"Recall by class on the {part} part: {heading}"
        tables.append(Table(title=title, rows=tuple(rows), below=below, left_out_first=tuple(reversed(groups))))
    if not tables:
        raise ZooError(f"no finished run was evaluated on the {part} part")
    return tables


def _class_recalls(runs: Sequence[Run], part: str) -> NDArray[np.float64]:
    """Return each finished run's recall of each class, (runs, classes)."""
    counts = [found for run in finished(runs) if (found := last_confusion(run, part)) is not None]
    return np.array([recall_per_class(each) for each in counts])


def recalls_by_class(runs: Sequence[Run], part: str) -> list[tuple[float, float | None]]:
    """Return each class's mean recall over finished runs after their last evaluation, and half its 95% interval."""
    found = _class_recalls(runs, part)
    return [mean_interval([recall for recall in own if not math.isnan(recall)]) for own in found.T.tolist()]


def per_class_frame(runs: Sequence[Run], part: str, class_names: ClassNames) -> pd.DataFrame:
    """Return the recalls of `per_class`, a row for each run and class."""
    import pandas as pd

    records = []
    for run in finished(runs):
        counts = last_confusion(run, part)
        if counts is None:
            continue
        names = named_classes([run], len(counts), class_names)
        for name, row, recall in zip(names, counts, recall_per_class(counts), strict=True):
            records.append((run.name, run.key.seed, run.dataset, part, name, int(row.sum()), float(recall)))
    return pd.DataFrame(records, columns=["spec", "seed", "dataset", "part", "class", "images", "recall"])


def confusion_table(runs: Sequence[Run], part: str, class_names: ClassNames) -> Table:
    """Return how many images of each class were taken for which, all finished runs of one spec together.

    Of more than 12 classes, only the 20 pairs of classes that are mistaken most often.

    Raises:
        ZooError: no run was evaluated on that part.
    """
    counts = confusion(runs, part)
    names = named_classes(runs, len(counts), class_names)
    what = f"{runs[0].name} on the {part} part, {counted(len(finished(runs)), 'run')}"
    if len(names) <= _MOST_CLASSES:
        rows = [
            {
                "true class": Cell(name),
                **{other: Cell(f"{counts[i, j]:,}", int(counts[i, j])) for j, other in enumerate(names)},
            }
            for i, name in enumerate(names)
        ]
        below = ("rows: true class; columns: predicted class; images of all runs together.",)
        return Table(title=f"Confusion of {what}", rows=tuple(rows), below=below)
    wrong = counts - np.diag(np.diag(counts))
    most = [divmod(int(place), len(names)) for place in np.argsort(-wrong, axis=None, kind="stable")]
    most = [(i, j) for i, j in most[:_MOST_CONFUSIONS] if wrong[i, j]]
    rows = [
        {
            "true class": Cell(names[i]),
            "taken for": Cell(names[j]),
            "images": Cell(f"{wrong[i, j]:,}", int(wrong[i, j])),
            "of the class": Cell(f"{wrong[i, j] / counts[i].sum():.1%}", float(wrong[i, j] / counts[i].sum())),
        }
        for i, j in most
    ]
    pairs = int((wrong > 0).sum())
    return Table(
        title=f"Most frequent confusions of {what}",
        rows=tuple(rows),
        below=(f"{len(rows)} of {counted(pairs, 'pair')} of classes; --format csv has the whole matrix.",),
    )
