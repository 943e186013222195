"""What a study that tunes shows besides: verdicts before and after, what was chosen, and how much it matters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from zoo.report.cells import Cell, Table
from zoo.report.study.said import rounds, said
from zoo.report.text import counted, difference, probability, seed_span, with_interval
from zoo.statistics.intervals import mean_interval
from zoo.statistics.results import Comparison
from zoo.study.result import StudyResult
from zoo.study.trials import Edge, Trial, Tuned
from zoo.train.run import RunKey


def tuning_tables(result: StudyResult) -> list[Table]:
    """Return all tables of a study that tunes; none of another."""
    return [*compared(result), *settings_chosen(result), *sensitivity(result)]


def trial_records(result: StudyResult) -> list[dict[str, Any]]:
    """Return a record for each arm at each setting that it was tuned over."""
    return [
        {
            "kind": "choice" if trial.chosen else "trial",
            "name": trial.arm,
            "part": result.study.design.select,
            "setting": trial.setting.label,
            "n": len(trial.recalls),
            "recall": trial.mean,
        }
        for trial in (result.tuned.trials if result.tuned else ())
    ]


def trial_runs(result: StudyResult, numbers: Mapping[RunKey, int]) -> list[dict[str, Any]]:
    """Return a record for each run that a setting was chosen by, or that a claim had to hold against."""
    changes = {arm.name: arm.changes for arm in result.arms}
    return [
        {
            "run": numbers.get(run.key),
            "arm": trial.arm,
            "seed": run.key.seed,
            "use": use,
            "setting": trial.setting.label,
            "status": run.status,
            **{f"change.{f.name}": changes.get(trial.arm, {}).get(f.name, "base") for f in result.study.factors},
            f"{trial.part}_recall": trial.recalls.get(run.key.seed, math.nan),
            "seconds_training": run.seconds_training,
            "parameters": run.parameters,
        }
        for use, trials in (("tuning", result.tuned.trials if result.tuned else ()), ("rival", result.rivals))
        for trial in trials
        for run in trial.runs
    ]


def setting_of(tuned: Tuned, arm: str) -> str:
    """Return the setting that an arm chose; "" where nothing is chosen."""
    choice = tuned.choice(arm)
    return choice.setting.label if choice else ""


def compared(result: StudyResult) -> list[Table]:
    """Return the table of verdicts at the shared setting beside those after tuning; none where nothing is tuned."""
    before = {claim.change: claim.comparison for claim in result.shared}
    rows = tuple(
        {
            "change": Cell(claim.change),
            "at the shared setting": Cell(said(attrs.evolve(before[claim.change], more_seeds=None))),
            "difference": _difference(before[claim.change]),
            "after tuning": Cell(said(attrs.evolve(claim.comparison, more_seeds=None))),
            "difference, tuned": _difference(claim.comparison),
        }
        for claim in result.claims
        if claim.change in before
    )
    if not rows or result.tuned is None:
        return []
    return [
        Table(
            title="Before and after tuning",
            rows=rows,
            below=(_changed(result), *_lost_at_the_shared_setting(result), *_explained(result.tuned)),
            left_out_first=("difference", "difference, tuned"),
        )
    ]


def settings_chosen(result: StudyResult) -> list[Table]:
    """Return the table of what each arm chose; none where nothing is chosen."""
    tuned = result.tuned
    choices = [choice for arm in tuned.arms if (choice := tuned.choice(arm))] if tuned else []
    if tuned is None or not choices:
        return []
    edges = {(edge.arm, edge.end) for edge in tuned.edges}
    rows = tuple(
        {
            "arm": Cell(choice.arm),
            "chosen": Cell(choice.setting.label),
            f"{result.study.design.select} recall": _recall(choice),
            "at the edge": Cell(" and ".join(end for end in ("smallest", "largest") if (choice.arm, end) in edges)),
        }
        for choice in choices
    )
    return [Table(title="Chosen settings", rows=rows, below=tuple(_beyond(tuned)))]


def sensitivity(result: StudyResult) -> list[Table]:
    """Return the table of recall over settings, a column for each arm; none where nothing is tuned."""
    tuned = result.tuned
    if tuned is None or not tuned.trials:
        return []
    settings = dict.fromkeys(trial.setting.label for trial in tuned.trials)
    by_place = {(trial.arm, trial.setting.label): trial for trial in tuned.trials}
    rows = tuple(
        {"setting": Cell(label), **{arm: _recall(by_place[arm, label], mark=True) for arm in tuned.arms}}
        for label in settings
    )
    fewer = "; fewer of those that fell out" if len(tuned.rounds) > 1 else ""
    below = (
        f"{result.study.design.select.capitalize()} recall, mean ± 95% interval over the seeds of tuning "
        f"({seed_span(tuned.seeds)}{fewer}); *: chosen. What was chosen looks better here than it is.",
    )
    return [Table(title="Recall at each setting", rows=rows, below=below, left_out_first=tuned.arms[:0:-1])]


def remarks(result: StudyResult) -> list[str]:
    """Say which claims depend on settings that were not chosen."""
    lines = []
    for claim in result.claims:
        if not claim.comparison.rival:
            continue
        if claim.comparison.verdict == "undecided":
            lines.append(
                f"{claim.change}: undecided beside {claim.comparison.rival}, which was not chosen and may be the "
                "better setting all the same."
            )
        else:
            lines.append(f"{claim.change}: p is beside {claim.comparison.rival}, the hardest to tell apart.")
    return lines


def _changed(result: StudyResult) -> str:
    before = {claim.change: claim.comparison.verdict for claim in result.shared}
    others = [c.change for c in result.claims if before.get(c.change, c.comparison.verdict) != c.comparison.verdict]
    if not others:
        return "Tuning changes no verdict."
    return f"Tuning changes {counted(len(others), 'verdict')}: {', '.join(others)}."


def _lost_at_the_shared_setting(result: StudyResult) -> Iterator[str]:
    """Say of which claims there some seeds are left out, since a run of theirs was lost."""
    seeds = {claim.change: claim.comparison.n for claim in result.shared}
    for change, losses in result.shared_losses.items():
        (lost_with, with_), (lost_without, without) = losses.with_change, losses.without_change
        yield (
            f"At the shared setting {lost_with} of {with_} runs were lost with {change} and {lost_without} of "
            f"{without} without it (p {probability(losses.p_of_all)}: {losses.verdict}). The difference is of the "
            f"{counted(seeds[change], 'seed')} that lost none."
        )


def _explained(tuned: Tuned) -> Iterator[str]:
    shared = next((trial.setting.label for trial in tuned.of(tuned.arms[0]) if trial.shared), None)
    yield f"The shared setting is the base's own, {shared or 'which is none of those that were tried'}."
    by = f"What {tuned.sampler} suggested to one arm was tried by all. E" if tuned.sampler else "E"
    yield (
        f"{by}ach arm was trained at {rounds(tuned.rounds, tuned.seeds)}, {counted(tuned.runs_of_each, 'run')} for "
        "each, and is judged at the best by other seeds. After tuning, a claim is about both sides at their best "
        "setting: it holds beside each that the other side was tried at."
    )


def _beyond(tuned: Tuned) -> Iterator[str]:
    """Say which choices lie at an end of what was tried, and what to do."""
    by_end: dict[tuple[str, float, str], list[Edge]] = {}
    for added in tuned.widenings:
        chosen_by = ", ".join(added.arms)
        yield f"{added.path}={added.value:g} was added for all arms, as {chosen_by} chose the value next to it."
    for edge in tuned.edges:
        by_end.setdefault((edge.path, edge.value, edge.end), []).append(edge)
    for (path, value, end), edges in by_end.items():
        yield (
            f"{path}={value:g}, chosen by {', '.join(edge.arm for edge in edges)}, is the {end} that was tried: a "
            f"{'larger' if end == 'largest' else 'smaller'} one may be better. Add some to the values that are tuned, "
            "or let tune_widen do it."
        )


def _difference(comparison: Comparison) -> Cell:
    value = comparison.difference
    return Cell(difference(value, comparison.low, comparison.high), None if math.isnan(value) else value)


def _recall(trial: Trial, *, mark: bool = False) -> Cell:
    mean, half = mean_interval(list(trial.recalls.values()))
    star = " *" if mark and trial.chosen else ""
    return Cell(with_interval(mean, half) + star, None if math.isnan(mean) else mean)
