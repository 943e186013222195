"""The verdict below a table of variations: each value against the first, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from zoo.errors import UnknownNameError, ZooError, near_misses, setting
from zoo.report.table import headings, labelled
from zoo.report.text import counted, difference, probability
from zoo.statistics.intervals import mean_interval
from zoo.statistics.losses import compare_losses
from zoo.statistics.paired import compare
from zoo.statistics.results import Comparison, Losses
from zoo.statistics.sequential import share
from zoo.statistics.verdicts import LEAST_SEEDS
from zoo.study.comparable import BY_TIME, RECALLS, TIMES, VERSIONS, at_once, unlike
from zoo.study.looks import looked, looks_until
from zoo.study.measure import image_step, is_lost, learned_recall, training_overlap
from zoo.train.run import Run

LOSSES = ("loses more runs", "loses fewer runs")
"""Verdicts on how many runs are lost, of which none is said where it is undecided."""


@attrs.frozen(kw_only=True)
class Judged:
    """One spec against another: the difference in recall on a part of the data, and the ratio of training times.

    Attributes:
        spec: which.
        against: the other.
        part: of the data.
        comparison: of nothing where `unlike` says why.
        time_ratio: the geometric mean over seeds; None where times are not compared.
        time_low, time_high: its 95% interval, Student's t of the logarithms; None for a single seed.
        unlike: what differs between the runs, so that their recalls are not compared; else "".
        versions: of zoo and torch, where the runs are of several; else "".
        unlike_times: what differs between the runs, so that their times are not compared; else "".
        resplit: whether each seed had a validation part of its own, so that the verdict is about images like these.
        by_time: whether training ended by time, so that the verdict is about this machine.
        where: " on" which data set and device, where there are comparisons on several; else "".
        looks: with how many seeds these comparisons were looked at, in the words of the runs; this look is the last.
        losses: whether more runs were lost; None where none was.
    """

    spec: str
    against: str
    part: str
    comparison: Comparison
    losses: Losses | None
    time_ratio: float | None
    time_low: float | None
    time_high: float | None
    unlike: str
    versions: str
    unlike_times: str
    resplit: bool = False
    by_time: bool = False
    where: str = ""
    looks: tuple[str, ...] = ()

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The verdict on recall, and that on lost runs where it is decided."""
        on_recall = "not compared" if self.unlike else self.comparison.verdict
        return on_recall, *([self.losses.verdict] if self.losses and self.losses.verdict in LOSSES else [])

    @property
    def time(self) -> str:
        """The ratio of training times with its interval: "1.25x [1.20, 1.31]"; nothing where there is none."""
        if self.time_ratio is None:
            return ""
        bounds = "" if self.time_low is None else f" [{self.time_low:.2f}, {self.time_high:.2f}]"
        return f"{self.time_ratio:.2f}x{bounds}"

    def __str__(self) -> str:
        pair = f"{self.spec} against {self.against}{self.where}"
        if self.unlike:
            return f"{pair}: not compared, the runs differ in more: {self.unlike}"
        times = ""
        if self.time:
            times = f"; {self.time} the training time"
        elif self.unlike_times:
            times = f"; times are not compared, of runs that differ: {self.unlike_times}"
        lost = ""
        if self.losses:
            (lost_with, with_), (lost_without, without) = self.losses.with_change, self.losses.without_change
            lost = (
                f"; {lost_with} of {with_} runs lost against {lost_without} of {without} "
                f"(p = {probability(self.losses.p_of_all)}: {self.losses.verdict})"
            )
        versions = f"; of several versions: {self.versions}" if self.versions else ""
        return f"{pair}: {_said(self.comparison)}{lost}{times}{versions}"


def judged(runs: Sequence[Run], families: Sequence[Sequence[str]], conditions: Sequence[str] = RECALLS) -> list[Judged]:
    """Compare each variation with the first of its family, seed by seed.

    Recall is compared on the validation part where all runs have one, on the test part otherwise; and only where the
    runs are of one data set and measure (`zoo.study.comparable`). Training times are compared only where no run shared
    the machine, and all were trained by the same means.

    Args:
        runs: ended runs.
        families: names of the specs that differ in what was varied; the first is what the others are compared with.
            One without any run is compared with none: it was left out, or waits for its data.
        conditions: what must be equal for recalls to be compared; "length" where the specs differ in more than that.
    """
    by_name: dict[str, dict[int, Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, {})[run.key.seed] = run
    part = "validation" if all(run.spec["data"]["validation"] for run in runs) else "test"
    recalls = {name: _recalls(own, part) for name, own in by_name.items()}
    differences: dict[str, list[float]] = {}
    content = {name: {(run.key.spec, run.key.source) for run in own.values()} for name, own in by_name.items()}
    pairs = {
        f"{other} against {first}": (first, other)
        for first, *others in families
        for other in others
        if first in by_name and other in by_name and content[first] != content[other]
    }
    reasons: dict[str, str] = {}
    for text, (first, other) in pairs.items():
        ours, theirs = recalls[other], recalls[first]
        both = [*by_name[first].values(), *by_name[other].values()]
        ignored = {"held out"} if part == "test" else set()
        ignored |= {"length"} if _differ_in_length_only(both) else set()
        reasons[text] = unlike(both, [name for name in conditions if name not in ignored])
        differences[text] = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not differences:
        return []
    claims = {text: found for text, found in differences.items() if not reasons[text]}
    nothing: dict[str, list[float]] = {text: [] for text in differences if reasons[text]}
    lost = {
        name: (sum(is_lost(run, part) for run in own.values() if run.status != "failed"), len(own))
        for name, own in by_name.items()
    }
    # That of the spec looked at most often: they are corrected together. What another spec was asked for is no look.
    looks = max((_looks(by_name[other]) for _, other in pairs.values()), key=len)
    taken = len(looks)
    losses = compare_losses(
        {text: (lost[other], lost[first]) for text, (first, other) in pairs.items() if text in claims},
        level=share(taken),
    )
    overlaps = {
        text: training_overlap(by_name[first][min(by_name[first])].spec["data"], part)
        for text, (first, _) in pairs.items()
        if text in claims
    }
    found = compare(
        claims, step=image_step(runs, part), overlap=overlaps, level=share(taken), next_level=share(taken + 1)
    )
    compared = {**found, **compare(nothing)}
    return [
        _judged(
            by_name[other],
            by_name[first],
            spec=other,
            against=first,
            part=part,
            comparison=compared[text],
            losses=losses.get(text),
            reason=reasons[text],
            looks=looks,
        )
        for text, (first, other) in pairs.items()
    ]


def judged_stored(runs: Sequence[Run], against: str) -> list[Judged]:
    """Compare each spec with one, among runs that need not have been trained for it.

    On each data set, device and precision for itself; specs of one name that differ are compared each. Of runs of
    another length only those are compared that differ in nothing else.

    Args:
        runs: ended runs.
        against: name of the spec that the others are compared with.

    Raises:
        UnknownNameError: no run is of it.
        ZooError: specs of that name differ, or nothing was trained where it was.
    """
    found: list[Judged] = []
    groups = headings(runs)
    for heading, own in groups.items():
        groups_of = labelled(own, in_columns=())
        labels = [label for label, _ in groups_of]
        bases = [label for label, group in groups_of if against in (label, group[0].name)]
        if len(bases) > 1:
            raise ZooError(
                f"there are several specs {against!r} on {heading}, and the others can be compared with one of them: "
                f"{', '.join(bases)}"
            )
        if not bases:
            continue
        named = [attrs.evolve(run, name=label) for label, group in groups_of for run in group]
        others = [label for label in labels if label != bases[0]]
        where = f" on {heading}" if len(groups) > 1 else ""
        families = [(bases[0], *others)] if others else []
        found += [attrs.evolve(one, where=where) for one in judged(named, families, (*RECALLS, "length"))]
    if not found:
        names = list(dict.fromkeys(run.name for run in runs))
        if against in names:
            raise ZooError(f"nothing was trained where {against} was, to be compared with it")
        raise UnknownNameError(f"there is no run of {against!r}{near_misses(against, names)}")
    return found


def _judged(
    ours: Mapping[int, Run],
    theirs: Mapping[int, Run],
    *,
    spec: str,
    against: str,
    part: str,
    comparison: Comparison,
    losses: Losses | None,
    reason: str,
    looks: tuple[str, ...],
) -> Judged:
    runs = [*theirs.values(), *ours.values()]
    times = unlike(runs, [name for name in TIMES if name not in VERSIONS])
    ratio, low, high = _time_ratio(ours, theirs) if not (reason or times) else (None, None, None)
    return Judged(
        spec=spec,
        against=against,
        part=part,
        comparison=comparison,
        losses=losses if losses and losses.with_change[0] + losses.without_change[0] else None,
        time_ratio=ratio,
        time_low=low,
        time_high=high,
        unlike=reason,
        versions=unlike(runs, VERSIONS),
        unlike_times=times,
        by_time=any(run.spec["training"].get("minutes") is not None for run in runs),
        resplit=part == "validation" and all(bool(run.spec["data"].get("resplit")) for run in runs),
        looks=looks,
    )


def _differ_in_length_only(runs: Sequence[Run]) -> bool:
    others = [
        {**run.spec, "training": {**run.spec["training"], "epochs": None, "steps": None, "minutes": None}}
        for run in runs
    ]
    return all(other == others[0] for other in others)


def _looks(runs: Mapping[int, Run]) -> tuple[str, ...]:
    return tuple(looks_until(runs.values(), str(len(runs))))


def verdicts(found: Sequence[Judged]) -> list[str]:
    """Return what the comparisons are about, and a line for each; those of each data set and device apart."""
    return [
        line
        for own in by_place(found).values()
        for line in (f"{about(own)}:", *(f"  {one}" for one in own), *advice(own))
    ]


def by_place(found: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Return the comparisons by where their runs were trained: those of one place are corrected together."""
    groups: dict[str, list[Judged]] = {}
    for one in found:
        groups.setdefault(one.where, []).append(one)
    return groups


def about(found: Sequence[Judged]) -> str:
    """Say what comparisons are of, and about which images and splits."""
    counting = [one for one in found if not one.unlike] or found
    interval = (
        f"interval and p corrected for {counted(len(counting), 'comparison')}"
        if len(counting) > 1
        else f"{100 * (1 - counting[0].comparison.level):.4g}% interval"
    )
    anew = all(one.resplit for one in counting)
    population = "about images like these, split anew with each seed" if anew else "on these images and this split"
    return f"Paired by seed, {population}, difference in {found[0].part} recall [{interval}]"


def advice(found: Sequence[Judged]) -> list[str]:
    """Say which look this is, what it means that time ended training, and how to choose among several on test."""
    lines = looked(found[0].looks, "comparisons")
    lines += [BY_TIME] if any(one.by_time for one in found) else []
    several = sum(not one.unlike for one in found) > 1
    if found[0].part == "test" and several:
        lines.append(f"To choose among them, hold images out: {setting('data.validation', 0.25)}.")
    return lines


def _recalls(runs: Mapping[int, Run], part: str) -> dict[int, float]:
    found = {seed: learned_recall(run, part) for seed, run in sorted(runs.items())}
    return {seed: recall for seed, recall in found.items() if recall is not None}


def _said(comparison: Comparison) -> str:
    if comparison.n == 0:
        return "no pair of runs"
    more = f" (about {counted(comparison.more_seeds, 'more seed')} would decide)" if comparison.more_seeds else ""
    if comparison.n < LEAST_SEEDS:
        more = f" (no claim is made from fewer than {LEAST_SEEDS} seeds)"
    if comparison.is_doubtful:
        more += f", but not by a test of signs (p = {probability(comparison.p_signs)}, not corrected): take more seeds"
    p = "" if comparison.p_of_all is None else f", p = {probability(comparison.p_of_all)}".replace("= <", "< ")
    return (
        f"{difference(comparison.difference, comparison.low, comparison.high)}{p}, "
        f"{counted(comparison.n, 'seed')}: {comparison.verdict}{more}"
    )


def _time_ratio(ours: Mapping[int, Run], theirs: Mapping[int, Run]) -> tuple[float | None, float | None, float | None]:
    """Return the ratio of training times, the geometric mean over seeds, and its 95% interval, of several seeds.

    None where runs shared the machine.
    """
    both = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    alone = all(at_once(run) == 1 for pair in both for run in pair)
    if not both or not alone or any(run.seconds_training <= 0 for pair in both for run in pair):
        return None, None, None
    mean, half = mean_interval([math.log(a.seconds_training / b.seconds_training) for a, b in both])
    if half is None:
        return math.exp(mean), None, None
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)
