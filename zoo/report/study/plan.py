"""What a study will do and what it can show, in lines."""

from __future__ import annotations

import math
from pathlib import Path

from zoo.report import layout
from zoo.report.study.said import rounds
from zoo.report.text import counted, estimated, quantity, rough_duration
from zoo.statistics.verdicts import LEAST_SEEDS
from zoo.study.definition import Study
from zoo.study.plan import StudyPlan, TuningPlan
from zoo.study.prices import MOST_TO_FIND
from zoo.study.settings import runs_of


def lines(study: Study, found: StudyPlan, ledger: Path, *, seeds: int) -> list[str]:
    """Return lines on a study's plan.

    Args:
        study: what is asked.
        found: its plan.
        ledger: where its runs are stored.
        seeds: how many the plan is for.
    """
    plan = found.plan
    held = plan.stored
    most = "at most " if found.is_most else ""
    return [
        f"{study.name}: {study.design.design}, {counted(len(study.factors), 'change')} of {study.base.name}, "
        f"{most}{counted(found.combinations, 'combination')} with {counted(seeds, 'seed')}: "
        f"{most}{counted(found.runs, 'run')}; {held} {'is' if held == 1 else 'are'} in {ledger} already.",
        *(_tuning(found, seeds, ledger) if found.tuning else []),
        *(
            [f"Then at most {found.confirming} runs with fresh seeds, which confirm what was chosen."]
            if found.confirming
            else []
        ),
        f"Time: {most or 'at most ' * bool(found.tuning)}about {estimated(found.seconds)}, "
        f"{counted(plan.jobs, 'run') if plan.jobs else 'as many runs as there is room for'} at once; "
        f"memory: about {quantity(found.memory * (plan.jobs or 1))}B beside the data.",
        *(f"Note: {note}." for note in plan.notes),
        *(f"Left out: {reason}" for reason in plan.unfit.values()),
        *_within_reach(study, found, seeds),
    ]


def _tuning(found: StudyPlan, seeds: int, ledger: Path) -> list[str]:
    """Say what tuning takes: the same for every arm."""
    tuning = found.tuning
    assert tuning
    stored = tuning.plan.stored
    held = f"{stored} {'is' if stored == 1 else 'are'} in {ledger} already"
    if tuning.later:
        held = f"of the first {tuning.runs - tuning.later}, {held}"
    return [
        f"Tuning: each of {counted(tuning.arms, 'arm')} at {rounds(tuning.rounds, tuning.seeds)}, "
        f"{counted(runs_of(tuning.rounds), 'run')} for each: {counted(tuning.runs, 'run')}; {held}.",
        *_added(tuning),
        f"Then at most {counted(tuning.judged(seeds), 'run')} at settings other than the shared one: at what was "
        "chosen, and, where a claim comes out, at what was not.",
    ]


def _added(tuning: TuningPlan) -> list[str]:
    """Say how many settings may come to those that are known."""
    if tuning.most_settings == tuning.settings:
        return []
    runs = f"{tuning.most_settings} settings each: {counted(tuning.runs, 'run')} to {tuning.runs + tuning.most_added}."
    if tuning.sampler:
        return [f"Then {tuning.sampler} suggests some to each arm in turn, and all are trained at them, up to {runs}"]
    return [f"Where an arm chooses the outermost value, one beyond is added for all, up to {runs}"]


def _within_reach(study: Study, found: StudyPlan, seeds: int) -> list[str]:
    """Say which verdicts these seeds can come to."""
    if seeds < LEAST_SEEDS:
        return [f"No claim is made from fewer than {LEAST_SEEDS} seeds: take more."]
    if found.deviation is None:
        can = ", ".join(f"{value:.2g} standard deviations for {what}" for what, value in found.detectable.items())
        known = "of a paired difference, which is not known yet"
    else:
        can = ", ".join(f"{value:.4f} for {what}" for what, value in found.detectable.items())
        known = f"{_scatter(found)}, from runs in the ledger"
    lines = [
        f"Smallest difference in recall found to help or to hurt with a power of 80%, {counted(found.claims, 'claim')} "
        f"corrected for: {can} ({known})."
    ]
    if found.equivalence:
        shares = ", ".join(f"{value:.0%} for {what}" for what, value in found.equivalence.items())
        lines.append(
            f"No effect at all is shown to make no practical difference (±{study.design.margin:g}) with a power of "
            f"{shares}; the rest is undecided."
        )
    return lines


def _scatter(found: StudyPlan) -> str:
    """Say how much what verdicts are about varies from seed to seed."""
    if "a change" in found.deviations:
        return f"standard deviation of a paired difference: {found.deviation:.4f}"
    own = ", ".join(f"{value:.4f} of {what}" for what, value in found.deviations.items())
    return f"standard deviation from seed to seed: {own}"


def prices(found: StudyPlan) -> str:
    """Return tables of what each design over the same changes would cost and show, and of what a verdict takes."""
    find = "one standard deviation of a paired difference" if found.deviation is None else f"{found.find:g} in recall"
    return (
        "The same changes by each design, if all were trained anew and no choice confirmed:\n\n"
        f"{_costs(found)}\n\n"
        f"What it takes to find a difference of {find} with a power of 80%, of a change alone or as a main effect:\n\n"
        f"{_efforts(found)}"
    )


def _efforts(found: StudyPlan) -> str:
    rows = []
    for price in found.prices:
        effort = price.effort
        rows.append(
            [
                f"{price.design}{' (auto)' if price.is_auto else ''}",
                *(
                    [f"over {MOST_TO_FIND}", "", ""]
                    if effort is None
                    else [
                        _at_most(f"{effort.seeds:.0f}", str(effort.most_seeds)),
                        _at_most(f"{effort.runs:.0f}", str(effort.most_runs)),
                        _at_most(*map(_time, (effort.seconds, effort.most_seconds))),
                    ]
                ),
            ]
        )
    return layout.table(rows, headers=["design", "seeds", "runs", "time"], align=["left", "right", "right", "right"])


def _at_most(mean: str, most: str) -> str:
    return most if mean == most else f"{mean} on average, {most} at most"


def _time(seconds: float) -> str:
    return "" if math.isnan(seconds) else rough_duration(seconds)


def _costs(found: StudyPlan) -> str:
    digits = ".2g" if found.deviation is None else ".4f"
    rows = []
    for price in found.prices:
        times = map(_time, price.seconds)
        finds = ", ".join(
            f"{value:{digits}} for {what}" for what, value in price.detectable.items() if math.isfinite(value)
        )
        rows.append(
            [
                price.design,
                _span(*map(str, price.seeds)) + " (auto)" * price.is_auto,
                str(price.combinations),
                _span(*map(str, price.runs)),
                _span(*times),
                finds or "nothing",
            ]
        )
    headers = ["design", "seeds", "combinations", "runs", "time", "finds" if found.deviation else "finds (deviations)"]
    return layout.table(rows, headers=headers, align=["left", "right", "right", "right", "right", "left"])


def _span(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"
