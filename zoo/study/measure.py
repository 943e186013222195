"""What a run's recall is, by the measure that its spec asks for."""

from __future__ import annotations

import math

from zoo.train import metrics
from zoo.train.run import EpochRecord, Run


def measured(run: Run, part: str) -> float:
    """Return a run's recall on a part of the data, by the measure that its spec asks for.

    "final" is macro recall after the last epoch; "eq2425" the mean over evaluated epochs of the mean over batches of
    each batch's macro recall. NaN where the part was never evaluated.
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


def counted_recall(run: Run, part: str, classes: int) -> float | None:
    """Return the recall that a run counts with in a comparison; None for a failed run, and where none was measured.

    A run that diverged counts with the recall of chance, 1 / classes: its network says nothing about the images.
    """
    if run.status == "diverged":
        return 1 / classes
    recall = measured(run, part)
    return None if run.status != "finished" or math.isnan(recall) else recall
