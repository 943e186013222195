"""The verdict below a table of variations: each value against the first, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from zoo.errors import setting
from zoo.report.text import counted, difference, probability
from zoo.statistics.paired import compare
from zoo.statistics.results import Comparison
from zoo.study.measure import counted_recall, image_step
from zoo.train.run import Run


@attrs.frozen(kw_only=True)
class Judged:
    """One spec against another: the difference in recall on a part of the data, and the ratio of training times."""

    spec: str
    against: str
    part: str
    comparison: Comparison
    time_ratio: float | None

    def __str__(self) -> str:
        times = "" if self.time_ratio is None else f"; {self.time_ratio:.2f}x the training time"
        return f"{self.spec} against {self.against}: {_said(self.comparison)}{times}"


def judged(runs: Sequence[Run], families: Sequence[Sequence[str]]) -> list[Judged]:
    """Compare each variation with the first of its family, seed by seed.

    Recall is compared on the validation part where all runs have one, on the test part otherwise. Training times are
    compared only where no run shared the machine.

    Args:
        runs: ended runs.
        families: names of the specs that differ in what was varied; the first is what the others are compared with.
    """
    by_name: dict[str, dict[int, Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, {})[run.key.seed] = run
    part = "validation" if all(run.spec["data"]["validation"] for run in runs) else "test"
    recalls = {name: _recalls(own, part, _classes(runs, part)) for name, own in by_name.items()}
    differences: dict[str, list[float]] = {}
    pairs = {f"{other} against {first}": (first, other) for first, *others in families for other in others}
    for text, (first, other) in pairs.items():
        ours, theirs = recalls.get(other, {}), recalls.get(first, {})
        differences[text] = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not differences:
        return []
    return [
        Judged(
            spec=other,
            against=first,
            part=part,
            comparison=comparison,
            time_ratio=_time_ratio(by_name.get(other, {}), by_name.get(first, {})),
        )
        for comparison, (first, other) in zip(
            compare(differences, step=image_step(runs, part)).values(), pairs.values(), strict=True
        )
    ]


def verdicts(found: Sequence[Judged]) -> list[str]:
    """Return what the comparisons are about, and a line for each."""
    if not found:
        return []
    part = found[0].part
    interval = f"interval and p corrected for {counted(len(found), 'comparison')}" if len(found) > 1 else "95% interval"
    lines = [f"Paired by seed, difference in {part} recall [{interval}]:", *(f"  {one}" for one in found)]
    if part == "test" and len(found) > 1:
        lines.append(f"To choose among them, hold images out: {setting('data.validation', 0.25)}.")
    return lines


def _classes(runs: Sequence[Run], part: str) -> int:
    """Return how many classes were counted; 1 where no run was evaluated, so that none counts."""
    counted_in = (epoch.evaluations[part] for run in runs for epoch in run.epochs if part in epoch.evaluations)
    evaluation = next(counted_in, None)
    return len(evaluation.confusion) if evaluation else 1


def _recalls(runs: Mapping[int, Run], part: str, classes: int) -> dict[int, float]:
    found = {seed: counted_recall(run, part, classes) for seed, run in sorted(runs.items())}
    return {seed: recall for seed, recall in found.items() if recall is not None}


def _said(comparison: Comparison) -> str:
    if comparison.n == 0:
        return "no pair of runs"
    more = f" (about {counted(comparison.more_seeds, 'more seed')} would decide)" if comparison.more_seeds else ""
    p = "" if comparison.p_adjusted is None else f", p = {probability(comparison.p_adjusted)}".replace("= <", "< ")
    return (
        f"{difference(comparison.difference, comparison.low, comparison.high)}{p}, "
        f"{counted(comparison.n, 'seed')}: {comparison.verdict}{more}"
    )


def _time_ratio(ours: Mapping[int, Run], theirs: Mapping[int, Run]) -> float | None:
    """Return the ratio of training times: the geometric mean over seeds; None where runs shared the machine."""
    both = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    alone = all(int(run.provenance.get("runs_at_once", 1)) == 1 for pair in both for run in pair)
    if not both or not alone or any(run.seconds_training <= 0 for pair in both for run in pair):
        return None
    logs = [math.log(a.seconds_training / b.seconds_training) for a, b in both]
    return math.exp(math.fsum(logs) / len(logs))
