"""How figures came about, as a paragraph that a paper can use."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.report.text import counted, lengths_in_words, seed_span
from zoo.report.verdict import Judged
from zoo.statistics.verdicts import LEAST_SEEDS, MARGIN
from zoo.study.comparable import held_out
from zoo.study.designs import is_adaptive, is_factorial
from zoo.study.result import StudyResult
from zoo.train.metrics import measure_of
from zoo.train.run import Run

_MEASURES = {
    "final": "macro recall (the unweighted mean of the classes' recalls) after the last epoch",
    "best": "macro recall (the unweighted mean of the classes' recalls) after the epoch that was best on the "
    "validation part",
    "last_quarter": "the mean over the last quarter of the epochs of macro recall (the unweighted mean of the classes' "
    "recalls)",
    "eq2425": "the mean over epochs of the mean over batches of each batch's macro recall",
}
_DESIGNS = {
    "one-at-a-time": "each change was made alone",
    "leave-one-out": "each change was left out of all of them together",
    "stepwise": "changes were added one after another and kept where the mean recall rose",
    "forward": "the change that raised the mean recall most was added, one after another, while one raised it",
    "backward": "of all changes together, the one whose absence raised the mean recall most was taken out, one after "
    "another, while one raised it",
    "factorial": "all combinations of the changes were trained",
    "fractional": "a fraction of all combinations of the changes was trained",
}


def of_runs(runs: Sequence[Run], judged: Sequence[Judged] = ()) -> str:
    """Return the paragraph for stored runs, and for what was judged among them; "" for no run."""
    if not runs:
        return ""
    compared = [one for one in judged if not one.unlike]
    return " ".join([*_trained(runs), *(_pairs(len(compared)) if compared else [])])


def of_study(result: StudyResult) -> str:
    """Return the paragraph for a study; "" while runs of it are missing."""
    runs = [run for arm in result.arms for run in (*arm.runs, *arm.fresh)]
    if result.missing or not runs:
        return ""
    study, design = result.study, result.study.design
    sentences = [
        f"Starting from {study.base.name}, {counted(len(study.factors), 'change')} "
        f"{'was' if len(study.factors) == 1 else 'were'} studied: {_DESIGNS[design.design]}.",
        *_trained(runs),
    ]
    if result.tuned:
        sentences.append(
            "Every arm was first trained at the same settings "
            f"({', '.join(sorted({path for trial in result.tuned.trials for path in trial.setting.values}))}) with "
            f"{counted(len(result.tuned.seeds), 'seed')} of its own; the setting with the best mean recall on the "
            f"{design.select} part was taken."
        )
    if is_factorial(study):
        sentences.append(
            "Effects and interactions are contrasts of recall on the "
            f"{design.select} part within each seed, tested over seeds by two-sided t tests with Holm's correction "
            f"over all {counted(len(result.effects), 'effect')}."
        )
    else:
        sentences += _pairs(len(result.claims), margin=design.margin)
    if is_adaptive(study):
        sentences.append("Steps of the search were chosen by the recalls that they are judged by.")
    if result.confirmation and result.chosen is not None:
        sentences.append(
            f"The arm with the best mean recall on the {design.select} part and the base were trained anew with fresh "
            f"seeds ({seed_span(result.fresh_seeds)}), and the test images were looked at in these runs only."
        )
    return " ".join(sentences)


def _trained(runs: Sequence[Run]) -> list[str]:
    """Say what was trained, on what, how often, with what, and what the figures are."""
    span = lengths_in_words([run.spec for run in runs])
    parts = dict.fromkeys(held_out(run.spec["data"]) for run in runs if run.spec["data"]["validation"])
    told_parts = " or ".join(text.replace("%", "% of the training images", 1) for text in parts)
    part = f" (held out for validation: {told_parts})" if parts else ""
    seeds = sorted({run.key.seed for run in runs})
    lost = {status: sum(run.status == status for run in runs) for status in ("diverged", "failed")}
    told = " and ".join(f"{number} {status}" for status, number in lost.items() if number)
    measures = {_MEASURES[measure_of(run.spec)]: None for run in runs}
    return [
        f"We trained {counted(len({run.key.spec for run in runs}), 'network')} on {_all('dataset', runs)}"
        f"{part}, for {span} with {counted(len(seeds), 'seed')} ({seed_span(seeds)}); a "
        "seed decides the starting weights, the order of the images, augmentation and dropout.",
        *([f"Of {counted(len(runs), 'run')} {told}."] if told else []),
        f"The figure of a run is {' or '.join(measures)}; means are given with Student's 95% interval over seeds.",
        f"Runs were made with zoo {_all('zoo', runs)} and PyTorch {_all('torch', runs)} on {_all('device_name', runs)} "
        f"in {', '.join(dict.fromkeys(run.key.precision for run in runs))}.",
    ]


def _all(what: str, runs: Sequence[Run]) -> str:
    values = (run.dataset if what == "dataset" else str(run.provenance.get(what, "")) for run in runs)
    return ", ".join(dict.fromkeys(value for value in values if value)) or "unknown"


def _pairs(claims: int, margin: float = MARGIN) -> list[str]:
    """Say how pairs are judged."""
    corrected = f", with Holm's correction over {counted(claims, 'comparison')}" if claims > 1 else ""
    return [
        f"Differences are paired by seed and judged by two-sided t tests and by two one-sided tests against a "
        f"margin of {margin:g}{corrected}; the error rate of 5% "
        f"is shared among all looks at the runs, and nothing is claimed from fewer than {LEAST_SEEDS} seeds."
    ]
