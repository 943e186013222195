"""What a run's recall is, by the measure that its spec asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from zoo.statistics.verdicts import ROUNDING
from zoo.train import metrics
from zoo.train.run import EpochRecord, Run


def measured(run: Run, part: str) -> float:
    """Return a run's recall on a part of the data, by the measure that its spec asks for.

    See `zoo.train.metrics.epochs_that_count`. NaN where the part was never evaluated.
    """
    measure, kept = metrics.measure_of(run.spec), kept_epoch(run)
    evaluated = {epoch.epoch: epoch.evaluations[part] for epoch in run.epochs if part in epoch.evaluations}
    counted = metrics.epochs_that_count(measure, list(evaluated), kept.epoch if kept else None)
    if measure == "eq2425":
        return metrics.mean_recall([evaluated[epoch].batch_recall or 0.0 for epoch in counted])
    return metrics.mean_recall([metrics.macro_recall(evaluated[epoch].confusion) for epoch in counted])


def kept_epoch(run: Run) -> EpochRecord | None:
    """Return the epoch whose network is a run's result: the last, or the best by validation recall; None without."""
    if metrics.measure_of(run.spec) != "best":
        return run.epochs[-1] if run.epochs else None
    found = {e.epoch: epoch_recall(e, "validation") for e in run.epochs if "validation" in e.evaluations}
    best = metrics.best_epoch(found)
    return next((epoch for epoch in run.epochs if epoch.epoch == best), None)


def seconds_to_target(run: Run) -> float:
    """Return the seconds of training until validation recall reached the spec's target; infinite where it did not.

    They are those of the epochs up to the first evaluation that shows it. NaN where the spec has no target.
    """
    target = run.spec["evaluation"].get("target")
    if target is None:
        return math.nan
    seconds = 0.0
    for epoch in run.epochs:
        seconds += epoch.seconds_training
        if epoch_recall(epoch, "validation") >= target:
            return seconds
    return math.inf


def typical_seconds(runs: Sequence[Run]) -> float:
    """Return the median training time of runs, in seconds; NaN for none.

    Not the mean: the time of one run during which the machine slept, or was busy with other work, would be that of all.
    """
    return median(run.seconds_training for run in runs) if runs else math.nan


def epoch_recall(epoch: EpochRecord, part: str) -> float:
    """Return macro recall after one epoch; NaN where it was not evaluated."""
    return metrics.macro_recall(epoch.evaluations[part].confusion) if part in epoch.evaluations else math.nan


def image_step(runs: Iterable[Run], part: str) -> float:
    """Return what a single image of the largest class changes in macro recall on a part; 0 where no run has it."""
    evaluations = (epoch.evaluations[part] for run in runs for epoch in run.epochs[-1:] if part in epoch.evaluations)
    evaluation = next(evaluations, None)
    if evaluation is None:
        return 0.0
    return 1 / (len(evaluation.confusion) * max(sum(row) for row in evaluation.confusion))


def training_overlap(data: Mapping[str, Any], part: str) -> float:
    """Return how much seeds share of training images where each has a validation part of its own; else 0.

    It is the number of images held out over that of those trained on; see `zoo.statistics.paired.estimate`.

    Args:
        data: of a spec, as plain values; runs of earlier versions do not say `resplit`.
        part: of the data, that is measured on. A test part is the same for all seeds.
    """
    share: float = data["validation"]
    return share / (1 - share) if part == "validation" and data.get("resplit") else 0.0


def is_lost(run: Run, part: str) -> bool:
    """Tell whether a run has not learned: it diverged, or ended no better on a part than chance, 1 / classes."""
    if run.status == "diverged":
        return True
    kept = kept_epoch(run)
    if run.status != "finished" or kept is None or part not in kept.evaluations:
        return False
    confusion = kept.evaluations[part].confusion
    return metrics.macro_recall(confusion) <= 1 / len(confusion) + ROUNDING


def learned_recall(run: Run, part: str) -> float | None:
    """Return the recall of a run in verdicts; None for one that failed or was lost, and where none was measured."""
    if run.status != "finished" or is_lost(run, part):
        return None
    recall = measured(run, part)
    return None if math.isnan(recall) else recall


def counted_recall(run: Run, part: str, classes: int) -> float | None:
    """Return the recall that a run counts with in a choice; None for a failed run, and where none was measured.

    A run that diverged counts with the recall of chance, 1 / classes: its network says nothing about the images.
    """
    if run.status == "diverged":
        return 1 / classes
    recall = measured(run, part)
    return None if run.status != "finished" or math.isnan(recall) else recall
