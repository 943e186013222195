"""Runs and what they came to as pandas frames, one row each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from zoo.errors import ZooError
from zoo.report.table import Heading, Row, headings, rows
from zoo.report.verdict import Judged
from zoo.study.measure import epoch_recall, kept_epoch, measured
from zoo.train.run import Run, RunKey

if TYPE_CHECKING:
    import pandas as pd


ROW_COLUMNS = tuple(field.name for cls in (Heading, Row) for field in attrs.fields(cls))


def rows_frame(runs: Sequence[Run], is_stale: Callable[[Run], bool]) -> pd.DataFrame:
    """Return the rows of the table, one for each spec: the columns of `zoo benchmark --format csv`."""
    from zoo.report.renamed import Frame

    records = [
        {**attrs.asdict(heading), **attrs.asdict(row)}
        for heading, group in headings(runs).items()
        for row in rows(group, is_stale)
    ]
    return Frame.from_records(records, columns=list(ROW_COLUMNS))


RUN_COLUMNS = (
    "run", "spec", "seed", "dataset", "status", "test_recall", "train_recall", "validation_recall", "loss",
    "seconds_training", "seconds_evaluation", "seconds_setup", "epochs", "kept_epoch", "parameters", "flops",
    "peak_memory", "device_name", "precision", "started", "reason", "identity", "source", "dataset_digest",
)  # fmt: skip


def runs_frame(runs: Sequence[Run], numbers: Mapping[RunKey, int]) -> pd.DataFrame:
    """Return a row for each run.

    Args:
        runs: which.
        numbers: of each in the ledger.
    """
    from zoo.report.renamed import Frame

    frame = Frame.from_records(
        [
            (
                numbers.get(run.key), run.name, run.key.seed, run.dataset, run.status, measured(run, "test"),
                measured(run, "train"), measured(run, "validation"), run.epochs[-1].loss if run.epochs else math.nan,
                run.seconds_training, run.seconds_evaluation, run.seconds_setup, len(run.epochs), _kept(run),
                run.parameters, run.flops, run.peak_memory, run.provenance.get("device_name", ""), run.key.precision,
                run.provenance.get("started", ""), run.reason.partition("\n")[0], run.key.spec, run.key.source,
                run.key.dataset,
            )
            for run in runs
        ],
        columns=list(RUN_COLUMNS),
    )  # fmt: skip
    return frame.astype({"run": "Int64", "kept_epoch": "Int64"})


def _kept(run: Run) -> int | None:
    kept = kept_epoch(run)
    return None if kept is None else kept.epoch


EPOCH_COLUMNS = (
    "run", "spec", "seed", "dataset", "epoch", "loss", "test_recall", "train_recall", "validation_recall",
    "seconds_training", "seconds_evaluation",
)  # fmt: skip


def epochs_frame(runs: Sequence[Run], numbers: Mapping[RunKey, int]) -> pd.DataFrame:
    """Return a row for each epoch of each run; recalls are macro, NaN where the part was not evaluated."""
    from zoo.report.renamed import Frame

    frame = Frame.from_records(
        [
            (
                numbers.get(run.key), run.name, run.key.seed, run.dataset, epoch.epoch, epoch.loss,
                epoch_recall(epoch, "test"), epoch_recall(epoch, "train"), epoch_recall(epoch, "validation"),
                epoch.seconds_training, epoch.seconds_evaluation,
            )
            for run in runs
            for epoch in run.epochs
        ],
        columns=list(EPOCH_COLUMNS),
    )  # fmt: skip
    return frame.astype({"run": "Int64"})


def confusion_frame(runs: Sequence[Run], part: str, classes: Sequence[str] | None) -> pd.DataFrame:
    """Return counts of images after the kept epoch, over all runs: true classes are rows, predicted ones columns.

    Raises:
        ZooError: no run was evaluated on that part.
    """
    import pandas as pd

    kept = [epoch for run in runs if (epoch := kept_epoch(run)) is not None]
    last = [epoch.evaluations[part] for epoch in kept if part in epoch.evaluations]
    if not last:
        raise ZooError(f"no finished run was evaluated on the {part} part")
    counts = np.sum([np.array(evaluation.confusion) for evaluation in last], axis=0)
    names = list(classes) if classes is not None else list(range(len(counts)))
    return pd.DataFrame(counts, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))


VERDICT_COLUMNS = (
    "spec", "against", "part", "verdict", "difference", "low", "high", "p", "seeds", "more_seeds", "time_ratio",
    "time_low", "time_high", "unlike", "versions", "unlike_times", "lost", "lost_against", "lost_p", "lost_verdict",
)  # fmt: skip


def verdicts_frame(found: Sequence[Judged]) -> pd.DataFrame:
    """Return a row for each comparison; the figures are those of the line below the table."""
    import pandas as pd

    records = [
        {
            "spec": one.spec,
            "against": one.against,
            "part": one.part,
            "verdict": one.comparison.verdict,
            "difference": one.comparison.difference,
            "low": one.comparison.low,
            "high": one.comparison.high,
            "p": one.comparison.p_of_all,
            "seeds": one.comparison.n,
            "more_seeds": one.comparison.more_seeds,
            "time_ratio": one.time_ratio,
            "time_low": one.time_low,
            "time_high": one.time_high,
            "unlike": one.unlike,
            "versions": one.versions,
            "unlike_times": one.unlike_times,
            "lost": one.losses.with_change[0] if one.losses else 0,
            "lost_against": one.losses.without_change[0] if one.losses else 0,
            "lost_p": one.losses.p_of_all if one.losses else None,
            "lost_verdict": one.losses.verdict if one.losses else "",
        }
        for one in found
    ]
    frame = pd.DataFrame(records, columns=list(VERDICT_COLUMNS))
    numbers = dict.fromkeys(
        ["difference", "low", "high", "p", "time_ratio", "time_low", "time_high", "lost_p"], "float64"
    )
    return frame.astype({**numbers, "more_seeds": "Int64"})
