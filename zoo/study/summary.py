"""What a study found beyond its claims: what was chosen, ranks, fronts, classes, notes; all of it in one result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from zoo.data import Dataset
from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.spec import Reference
from zoo.spec.resolve import resolve
from zoo.statistics.paired import compare
from zoo.statistics.ranking import pareto, ranks
from zoo.statistics.results import Comparison, Effect
from zoo.study import designs
from zoo.study.arms import ArmTable, TrainedArm
from zoo.study.definition import Cell, DesignName, Part, Study, changed
from zoo.study.designs import Outcome
from zoo.study.result import Arm, Claim, Step, StudyResult
from zoo.train import metrics
from zoo.train.run import Run


def summarize(
    study: Study,
    seeds: Sequence[int],
    table: ArmTable,
    *,
    claims: list[Claim],
    effects: list[Effect],
    outcome: Outcome,
    proofs: Mapping[str, tuple[str, ...]],
    level: float,
    command: str,
    dataset: Dataset,
    matched: Mapping[str, str],
    missing: int,
) -> StudyResult:
    """Return the result of a study whose claims, or effects, are judged.

    While runs are missing nothing is claimed: what some runs say could be chosen for what it says.
    """
    base = table.arms[study.base_cell]
    means = table.means()
    chosen = table.arms[outcome.chosen or max(means, key=lambda cell: means[cell])]
    selects_on_test = study.design.select == "test"
    confirmation = None
    if chosen is not base and not selects_on_test and not missing:
        confirmation = compare(
            {"": table.differences(chosen, base, "test")}, margin=study.design.margin, step=table.image_step("test")
        )[""]
    counted = {arm.name: table.recalls(arm) for arm in table.all if table.recalls(arm)}
    references, fronts = _references(table.registry), _fronts(table)
    return StudyResult(
        study=study,
        seeds=tuple(seeds),
        arms=tuple(
            _ended(arm, study, table, references, shown_on_test=not missing and arm in (base, chosen))
            for arm in table.all
        ),
        claims=tuple(claims) if not missing else tuple(_open_claims(study, claims)),
        effects=tuple(effects) if not missing else tuple(map(_open_effect, effects)),
        steps=()
        if missing
        else tuple(
            Step(
                tried=tried.pair.change,
                upon=study.arm_name(tried.pair.control),
                difference=means[tried.pair.treatment] - means[tried.pair.control],
                kept=tried.kept,
            )
            for tried in outcome.tried
        ),
        chosen=None if missing else chosen.name,
        confirmation=confirmation,
        ranks=() if missing else tuple(ranks(counted)),
        pareto=dict.fromkeys(fronts, ()) if missing else fronts,
        per_class=_per_class(table, base, study.design.select),
        found_by=tuple(_replayed(study, means)) if study.design.design == "factorial" and not missing else (),
        proofs=proofs,
        notes=tuple(_notes(study, table)),
        look_level=level,
        command=command,
        classes=dataset.classes,
        matched=dict(matched),
        missing=missing,
    )


def _open_claims(study: Study, claims: Sequence[Claim]) -> list[Claim]:
    """Return claims without a verdict; none of a search, which would have gone another way with all runs."""
    if designs.is_adaptive(study):
        return []
    return [attrs.evolve(claim, comparison=_open(claim.comparison)) for claim in claims]


def _open_effect(effect: Effect) -> Effect:
    return attrs.evolve(effect, comparison=_open(effect.comparison), sentence="")


def _open(comparison: Comparison) -> Comparison:
    return attrs.evolve(
        comparison,
        verdict="undecided",
        p=None,
        p_adjusted=None,
        p_equivalent=None,
        p_equivalent_adjusted=None,
        more_seeds=None,
    )


def _references(registry: Registry) -> dict[str, Reference]:
    """Return what publications report, by the identity of the spec that it is about."""
    found = {}
    for name in registry.specs:
        try:
            spec = resolve(name, registry=registry)
        except ZooError:  # of a plugin that failed, which has been said
            continue
        if spec.reference:
            found[spec.identity] = spec.reference
    return found


def _ended(
    arm: TrainedArm, study: Study, table: ArmTable, references: Mapping[str, Reference], *, shown_on_test: bool
) -> Arm:
    """Return an arm as its result shows it; recall on test only where selection did not look at it, or is over."""
    parts = ["train", study.design.select]
    if shown_on_test:
        parts.append("test")
    return Arm(
        name=arm.name,
        cell=arm.cell,
        changes={name: level.name for name, level in study.levels(arm.cell).items()} if arm.cell else {},
        spec=attrs.evolve(arm.spec, reference=references.get(arm.spec.identity)),
        runs=tuple(run for _, run in sorted(arm.runs.items())),
        recalls={part: arm.recalls(part, table.classes) for part in dict.fromkeys(parts)},
    )


def at_once(run: Run) -> int:
    """Return how many runs shared the machine with this one, itself counted."""
    return int(run.provenance.get("runs_at_once", 1))


def _fronts(table: ArmTable) -> dict[str, tuple[str, ...]]:
    """Return who is on the front of recall against each cost; times only where no run shared the machine."""
    finished = {arm.name: [run for run in arm.runs.values() if run.status == "finished"] for arm in table.all}
    recalls = {arm.name: table.mean(arm) for arm in table.all}
    finished = {name: runs for name, runs in finished.items() if runs and math.isfinite(recalls[name])}
    fronts = {}
    for cost in ("seconds", "parameters", "flops"):
        if cost == "seconds":
            if any(at_once(run) > 1 for runs in finished.values() for run in runs):
                continue
            costs = {name: float(np.mean([run.seconds_training for run in runs])) for name, runs in finished.items()}
        else:
            costs = {name: float(getattr(runs[0], cost)) for name, runs in finished.items()}
        fronts[cost] = pareto({name: (recalls[name], value) for name, value in costs.items()})
    return fronts


def _per_class(table: ArmTable, base: TrainedArm, part: Part) -> dict[str, tuple[float, ...]]:
    """Return each class's mean recall difference to the base, over the seeds that both finished."""
    own = _class_recalls(base, part)
    found = {}
    for arm in table.all:
        theirs = _class_recalls(arm, part)
        common = [seed for seed in theirs if seed in own]
        if arm is not base and common:
            found[arm.name] = tuple(np.mean([theirs[seed] - own[seed] for seed in common], axis=0).tolist())
    return found


def _class_recalls(arm: TrainedArm, part: Part) -> dict[int, np.ndarray]:
    return {
        seed: metrics.recall_per_class(run.epochs[-1].evaluations[part].confusion)
        for seed, run in arm.runs.items()
        if run.status == "finished" and run.epochs and part in run.epochs[-1].evaluations
    }


def _replayed(study: Study, means: Mapping[Cell, float]) -> list[str]:
    """Say whether simpler designs, had they been used, would have arrived at the best combination."""
    best = max(means, key=lambda cell: means[cell])
    sentences = []
    alone = study.base_cell
    for position, factor in enumerate(study.factors):
        singles = [changed(study.base_cell, position, i + 1) for i in range(len(factor.levels))]
        top = max(singles, key=lambda cell: means[cell])
        if means[top] > means[study.base_cell]:
            alone = changed(alone, position, top[position])
    arrivals = {"One at a time, all that raised recall alone taken together": alone}
    searches: dict[str, DesignName] = {
        "Stepwise in the stated order": "stepwise",
        "Greedy, the best first": "forward",
    }
    for name, design in searches.items():
        arrivals[name] = _arrival(attrs.evolve(study, design=attrs.evolve(study.design, design=design)), means)
    for name, cell in arrivals.items():
        if cell == best:
            sentences.append(f"{name}: would have found the best combination.")
        else:
            sentences.append(
                f"{name}: would have chosen {study.arm_name(cell)}, {means[best] - means[cell]:.4f} below the best."
            )
    return sentences


def _arrival(study: Study, means: Mapping[Cell, float]) -> Cell:
    found = designs.search(study)
    next(found)
    while True:
        try:
            found.send(means)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            assert outcome.chosen is not None
            return outcome.chosen


def _notes(study: Study, table: ArmTable) -> list[str]:
    notes = list(study.notes)
    if study.design.select == "test":
        notes.append("Selected on the test part: recall of what was chosen is too good.")
    if designs.is_adaptive(study):
        notes.append(
            "The p-values of a search are too sure of what it kept, which was kept for the recall that they are about."
        )
    arms = table.all
    diverged = {arm.name: sum(run.status == "diverged" for run in arm.runs.values()) for arm in arms}
    failed = {arm.name: sum(run.status == "failed" for run in arm.runs.values()) for arm in arms}
    for name, count in diverged.items():
        if count:
            notes.append(
                f"{name}: {count} of {len(table.named(name).runs)} runs diverged; each counts with the recall of "
                f"chance, {1 / table.classes:.4f}."
            )
    for name, count in failed.items():
        if count:
            notes.append(f"{name}: {count} of {len(table.named(name).runs)} runs failed and count nowhere.")
    for arm in arms:
        if not arm.runs:
            notes.append(f"{arm.name}: no run.")
    shared = max((at_once(run) for arm in arms for run in arm.runs.values()), default=1)
    if shared > 1:
        notes.append(
            f"Training times are of runs that shared the machine, {shared} at once: they are not compared. "
            "`zoo time` compares."
        )
    return notes
