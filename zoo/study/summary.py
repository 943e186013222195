"""What a study found beyond its claims: what was chosen, ranks, fronts, classes, notes; all of it in one result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.spec import Reference
from zoo.spec.resolve import resolve
from zoo.statistics.ranking import pareto, ranks
from zoo.statistics.results import Comparison, Effect, Losses
from zoo.study import designs
from zoo.study.arms import ArmTable, TrainedArm
from zoo.study.comparable import TIMES, VERSIONS, at_once, unlike
from zoo.study.confirm import Confirmation
from zoo.study.definition import Part, Study
from zoo.study.designs import Outcome
from zoo.study.images import Imaged
from zoo.study.looks import looked
from zoo.study.measure import kept_epoch, typical_seconds
from zoo.study.result import Arm, Claim, Step, StudyResult
from zoo.train import metrics


def summarize(
    study: Study,
    seeds: Sequence[int],
    table: ArmTable,
    *,
    claims: list[Claim],
    effects: list[Effect],
    losses: Mapping[str, Losses],
    looks: Sequence[str],
    outcome: Outcome,
    proofs: Mapping[str, tuple[str, ...]],
    level: float,
    command: str,
    dataset: Imaged,
    matched: Mapping[str, str],
    missing: int,
    confirmed: Confirmation | None,
) -> StudyResult:
    """Return the result of a study whose claims, or effects, are judged.

    While runs are missing nothing is claimed: what some runs say could be chosen for what it says. There is no
    confirmation then.
    """
    base = table.arms[study.base_cell]
    means = table.means()
    told = [base, confirmed.chosen] if confirmed and not confirmed.missing else []
    select = study.design.select
    learned = {arm.name: own for arm in table.all if (own := arm.learned(select))}
    references, fronts = _references(table.registry), _fronts(table)
    return StudyResult(
        study=study,
        seeds=tuple(seeds),
        arms=tuple(
            _ended(arm, study, table, references, shown_on_test=any(arm is each for each in told)) for arm in table.all
        ),
        claims=tuple(claims) if not missing else tuple(_open_claims(study, claims)),
        effects=tuple(effects) if not missing else tuple(map(_open_effect, effects)),
        losses={} if missing else {name: each for name, each in losses.items() if _any(each)},
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
        chosen=confirmed.chosen.name if confirmed else None,
        confirmation=confirmed.comparison if confirmed else None,
        fresh_seeds=confirmed.seeds if confirmed else (),
        unconfirmed=confirmed.missing if confirmed else 0,
        ranks=() if missing else tuple(ranks(learned, step=table.image_step(), overlap=table.overlap())),
        pareto=dict.fromkeys(fronts, ()) if missing else fronts,
        per_class=_per_class(table, base, study.design.select),
        found_by=confirmed.found_by if confirmed else (),
        proofs=proofs,
        notes=(*looked(looks), *_notes(study, table)),
        look_level=level,
        command=command,
        classes=dataset.classes,
        matched=dict(matched),
        missing=missing,
    )


def _any(losses: Losses) -> bool:
    return losses.with_change[0] + losses.without_change[0] > 0


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
        p_signs=None,
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
    """Return an arm as its result shows it; recall on test only of fresh seeds, or where selection looked at it."""
    recalls = {part: arm.recalls(part, table.classes) for part in dict.fromkeys(("train", study.design.select))}
    if shown_on_test and study.design.select != "test":
        recalls["test"] = arm.recalls("test", table.classes, fresh=True)
    return Arm(
        name=arm.name,
        cell=arm.cell,
        changes={name: level.name for name, level in study.levels(arm.cell).items()} if arm.cell else {},
        spec=attrs.evolve(arm.spec, reference=references.get(arm.spec.identity)),
        runs=tuple(run for _, run in sorted(arm.runs.items())),
        recalls=recalls,
        fresh=tuple(run for _, run in sorted(arm.fresh.items())),
    )


def _fronts(table: ArmTable) -> dict[str, tuple[str, ...]]:
    """Return who is on the front of recall against each cost; times only of runs that are alike and shared nothing."""
    finished = {arm.name: [run for run in arm.runs.values() if run.status == "finished"] for arm in table.all}
    recalls = table.means_of_all()
    finished = {name: runs for name, runs in finished.items() if runs and math.isfinite(recalls[name])}
    fronts = {}
    for cost in ("seconds", "parameters", "flops"):
        if cost == "seconds":
            all_finished = [run for runs in finished.values() for run in runs]
            if any(at_once(run) > 1 for run in all_finished) or unlike(all_finished, TIMES):
                continue
            costs = {name: typical_seconds(runs) for name, runs in finished.items()}
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
        seed: metrics.recall_per_class(kept.evaluations[part].confusion)
        for seed, run in arm.runs.items()
        if run.status == "finished" and (kept := kept_epoch(run)) is not None and part in kept.evaluations
    }


def _notes(study: Study, table: ArmTable) -> list[str]:
    notes = list(study.notes)
    if study.design.select == "test":
        notes.append("Selected on the test part: recall of what was chosen is too good.")
    if designs.is_adaptive(study):
        notes.append(
            "The p-values of a search are too sure of what it kept, which was kept for the recall that they are about."
        )
    arms = table.all
    failed = {arm.name: sum(run.status == "failed" for run in arm.runs.values()) for arm in arms}
    for arm in arms:
        if count := sum(arm.lost(study.design.select).values()):
            diverged = sum(run.status == "diverged" for run in arm.runs.values())
            notes.append(
                f"{arm.name}: {count} of {len(arm.runs)} runs lost ({diverged} diverged, {count - diverged} no better "
                f"than chance): verdicts on recall leave them out; in the choice they count, a diverged one with "
                f"{1 / table.classes:.4f}."
            )
    for name, count in failed.items():
        if count:
            notes.append(f"{name}: {count} of {len(table.named(name).runs)} runs failed and count nowhere.")
    for arm in arms:
        if not arm.runs:
            notes.append(f"{arm.name}: no run.")
    runs = [run for arm in arms for run in arm.runs.values()]
    if versions := unlike(runs, VERSIONS):
        notes.append(f"Runs of several versions are in one comparison: {versions}.")
    if differ := unlike(runs, [name for name in TIMES if name not in (*VERSIONS, "runs at once")]):
        notes.append(f"Training times are of runs that differ, and are not compared: {differ}.")
    shared = max((at_once(run) for arm in arms for run in arm.runs.values()), default=1)
    if shared > 1:
        notes.append(
            f"Training times are of runs that shared the machine, {shared} at once: they are not compared. "
            "`zoo time` compares."
        )
    return notes
