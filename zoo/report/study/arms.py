"""An arm's figures over its runs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zoo.statistics.intervals import mean_interval
from zoo.study.measure import typical_seconds
from zoo.study.result import Arm, StudyResult
from zoo.train.run import Run


def finished(arm: Arm) -> list[Run]:
    """Return the runs that neither diverged nor failed."""
    return [run for run in arm.runs if run.status == "finished"]


def recall(arm: Arm, part: str) -> tuple[float, float | None]:
    """Return the mean recall on a part over the seeds that count, and half its 95% interval's width."""
    return mean_interval(list(arm.recalls.get(part, {}).values()))


def seconds(arm: Arm) -> float:
    """Return the median training time of the finished runs; NaN for none."""
    return typical_seconds(finished(arm))


def parameters(arm: Arm) -> float:
    """Return how many trainable numbers the network has; NaN where no run got so far as to count them."""
    return max((run.parameters for run in arm.runs), default=0) or math.nan


def flops(arm: Arm) -> float:
    """Return the floating-point operations of one image's forward pass; NaN where no run got so far as to count."""
    return max((run.flops for run in arm.runs), default=0) or math.nan


def shared_cost(result: StudyResult, cost: str) -> float | None:
    """Return what all arms cost, in parameters or in FLOPs, where they cost the same."""
    measure = {"parameters": parameters, "flops": flops}.get(cost)
    costs = {value for arm in result.arms if measure and not math.isnan(value := measure(arm))}
    return costs.pop() if len(costs) == 1 and len(result.arms) > 1 else None


def confusion(arm: Arm, part: str) -> NDArray[np.int64] | None:
    """Return the counts after the last evaluation of each finished run, added up; None for no such run.

    Returns:
        (classes, classes), by true class (row) and predicted class (column).
    """
    counts = []
    # On test, only fresh seeds count.
    runs = arm.fresh if part == "test" and arm.fresh else arm.runs
    for run in (run for run in runs if run.status == "finished"):
        evaluated = [epoch.evaluations[part] for epoch in run.epochs if part in epoch.evaluations]
        if evaluated:
            counts.append(np.asarray(evaluated[-1].confusion, dtype=np.int64))
    return np.sum(counts, axis=0) if counts else None


def featured(result: StudyResult, most: int = 5) -> list[Arm]:
    """Return the arms to show where not all can be: the base, the chosen one, then the best by rank."""
    names = [result.arms[0].name, result.chosen or result.arms[0].name, *(rank.arm for rank in result.ranks)]
    return [result.arm(name) for name in list(dict.fromkeys(names))[:most]]
