"""Results of studies from made up, realistic numbers: real specs, designs and runs, but nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import attrs
import numpy as np
import pandas as pd

from zoo.registry import Registry
from zoo.report.study.arms import finished, flops, parameters, seconds
from zoo.spec import Reference, unstructure
from zoo.statistics.effects import factorial_effects
from zoo.statistics.paired import compare
from zoo.statistics.ranking import pareto, ranks
from zoo.study import designs
from zoo.study.definition import Cell, Study, read_study
from zoo.study.measure import counted_recall
from zoo.study.places import PooledStudy, read_any
from zoo.study.pooled import PooledResult, summarize_places
from zoo.study.result import Arm, Arrival, Claim, Step, StudyResult
from zoo.train import metrics
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

CLASSES = tuple("0123456789")
CHANGES: dict[str, Any] = {
    "leaky": {"activation": "leaky_relu"},
    "bn": {"network.features.*.normalization": "batch"},
    "size": {"levels": {"5": {"network.features.1.filter.size": 5}, "7": {"network.features.1.filter.size": 7}}},
    "slow": {"learning_rate": 0.01},
}
GAINS = {"leaky": 0.0005, "bn": 0.03, "size=5": 0.012, "size=7": 0.014, "slow": -0.05}
BASES = ("starter/default", "starter/residual", "starter/4d")
SEEDS = tuple(range(5))
FRESH = tuple(range(1000, 1005))
REFERENCE = Reference(source="a report, 2021", test_recall=0.9, train_recall=0.95, runtime="3h10min", note="one seed")


def one_at_a_time(registry: Registry, seeds: Sequence[int] = SEEDS, **stated: Any) -> StudyResult:
    """Return a study of single changes, of which some help, one hurts and one run diverged."""
    study = made_study(registry, **stated)
    cells = [study.base_cell, *_single(study)]
    base, *others = arms = [_arm(study, cell, registry, seeds) for cell in cells]
    compared = compare(
        {arm.name: _differences(arm, base, study.design.select) for arm in others}, margin=study.design.margin
    )
    claims = [
        Claim(change=name, treatment=name, control="base", comparison=comparison)
        for name, comparison in compared.items()
    ]
    return _result(study, arms, seeds, claims=tuple(claims))


def pooled(registry: Registry, bases: Sequence[str] = BASES, **stated: Any) -> PooledResult:
    """Return a study of single changes over several bases, each with seeds of its own."""
    tree: dict[str, Any] = {"bases": list(bases), "changes": CHANGES, "description": "what helps on digits", **stated}
    study = read_any(tree, registry=registry, name="made-up")
    assert isinstance(study, PooledStudy)
    own: dict[str, Any] = {key: value for key, value in tree.items() if key != "bases"}
    found = {
        place.name: one_at_a_time(
            registry,
            range(place.first_seed, place.first_seed + 5),
            **{**own, "base": place.base, "changes": {f.name: tree["changes"][f.name] for f in place.study.factors}},
        )
        for place in study.places
    }
    return summarize_places(study, found, seeds=5, refused=study.refused, command="zoo study run made-up")


def factorial(registry: Registry, seeds: Sequence[int] = SEEDS, **stated: Any) -> StudyResult:
    """Return a study of all combinations, in which bn does less beside leaky."""
    changes = {name: CHANGES[name] for name in ("leaky", "bn", "size")}
    study = made_study(registry, **{"design": "factorial", "changes": changes, **stated})
    arms = [_arm(study, cell, registry, seeds) for cell in product(*(range(len(f.levels) + 1) for f in study.factors))]
    table = pd.DataFrame(
        {"seed": seed, "recall": recall, **{f.name: arm.changes.get(f.name, "base") for f in study.factors}}
        for arm in arms
        for seed, recall in arm.recalls[study.design.select].items()
    )
    levels = {factor.name: [level.name for level in factor.levels] for factor in study.factors}
    effects = factorial_effects(table, levels, margin=study.design.margin)
    return _result(study, arms, seeds, effects=tuple(effects))


def stepwise(registry: Registry, seeds: Sequence[int] = SEEDS) -> StudyResult:
    """Return a search, its steps made by the real design."""
    study = made_study(registry, design="stepwise")
    found, arms = designs.search(study), {}
    cells = next(found)
    try:
        while True:
            arms |= {cell: _arm(study, cell, registry, seeds) for cell in cells}
            cells = found.send(
                {cell: float(np.mean(_selected(arm, study.design.select))) for cell, arm in arms.items()}
            )
    except StopIteration as stop:
        outcome = stop.value
    pairs = [(tried, arms[tried.pair.treatment], arms[tried.pair.control]) for tried in outcome.tried]
    compared = compare(
        {t.pair.change: _differences(a, b, study.design.select) for t, a, b in pairs}, margin=study.design.margin
    )
    steps = tuple(
        Step(tried=t.pair.change, upon=b.name, difference=compared[t.pair.change].difference, kept=t.kept)
        for t, _, b in pairs
    )
    claims = tuple(
        Claim(change=t.pair.change, treatment=a.name, control=b.name, comparison=compared[t.pair.change])
        for t, a, b in pairs
    )
    result = _result(study, list(arms.values()), seeds, claims=claims, steps=steps)
    return attrs.evolve(result, chosen=arms[outcome.chosen].name)


def made_study(registry: Registry, **stated: Any) -> Study:
    """Return a study of changes to the starter network."""
    tree = {"base": "starter/default", "changes": CHANGES, "description": "what helps on digits", **stated}
    return read_study(tree, registry=registry, name="made-up")


def _single(study: Study) -> list[Cell]:
    return [
        designs.changed(study.base_cell, position, index + 1)
        for position, factor in enumerate(study.factors)
        for index in range(len(factor.levels))
    ]


def _arm(study: Study, cell: Cell, registry: Registry, seeds: Sequence[int]) -> Arm:
    name, spec = study.arm_name(cell), study.spec(cell, registry)
    changes = {factor: level.name for factor, level in study.levels(cell).items()}
    labels = name.split(" + ") if any(cell) else []
    gain = sum(GAINS.get(label, 0.01) for label in labels)
    if {"leaky", "bn"} <= set(changes):
        gain -= 0.035
    spec = attrs.evolve(spec, reference=REFERENCE if not any(cell) else None)
    runs = []
    for seed in (*seeds, *FRESH):
        noise = np.random.default_rng([seed, *cell]).normal(0, 0.002) + np.random.default_rng(seed).normal(0, 0.006)
        run = _run(
            spec, seed, 0.93 + gain + noise, seconds=2.0 + 0.8 * sum(cell), parameters=86_700 + 9_000 * sum(cell)
        )
        if name == "slow" and seed == 1:
            run = attrs.evolve(run, status="diverged", reason="diverged at epoch 2", epochs=run.epochs[:2])
        if name == "slow" and seed == 2:
            run = attrs.evolve(run, status="failed", reason="RuntimeError: no", epochs=())
        runs.append(run)
    old, fresh = runs[: len(seeds)], runs[len(seeds) :]
    select = study.design.select
    return Arm(
        name=name,
        cell=cell,
        changes=changes,
        spec=spec,
        runs=tuple(old),
        recalls={part: _counted(old, part) for part in ("train", "validation", *["test"] * (select == "test"))},
        fresh=tuple(fresh),
    )


def _counted(runs: Sequence[Run], part: str) -> dict[int, float]:
    """Return the recall that each run counts with."""
    found = {run.key.seed: counted_recall(run, part, len(CLASSES)) for run in runs}
    return {seed: recall for seed, recall in found.items() if recall is not None}


def _run(spec: Any, seed: int, recall: float, *, seconds: float, parameters: int) -> Run:
    """Return a run that reaches about this recall in ten epochs."""
    generator = np.random.default_rng([seed, int(1e6 * recall)])
    epochs = []
    for epoch in range(1, 11):
        reached = recall * (1 - 0.6 * 0.55**epoch)
        evaluations = {
            part: Evaluation(_confusion(min(reached + more, 0.999), images, generator))
            for part, more, images in (("train", 0.03, 1200), ("validation", 0.0, 300), ("test", -0.01, 360))
        }
        epochs.append(EpochRecord(epoch, 2.3 * 0.7**epoch, seconds / 10, 0.02, evaluations))
    return Run(
        key=RunKey(spec.identity, seed, "5f1e0d" * 10, "source", "fp32"),
        name=spec.name,
        spec=unstructure(spec),
        dataset=spec.data.dataset,
        status="finished",
        parameters=parameters,
        flops=14 * parameters,
        provenance={
            "zoo": "0.1.0",
            "torch": "2.9.0",
            "python": "3.11.4",
            "platform": "Linux-6.1-x86_64",
            "device_name": "A Processor",
            "engine": "sequential",
            "threads": "1",
            "started": f"2026-01-01T10:0{seed}:00+0000",
        },
        epochs=tuple(epochs),
    )


def _confusion(recall: float, images: int, generator: np.random.Generator) -> Any:
    """Return counts of `images` of each class, the share `recall` of them right, the others in the classes beside."""
    size = len(CLASSES)
    counts = np.zeros((size, size), dtype=int)
    for true in range(size):
        right = int(generator.binomial(images, min(recall + 0.02 * (true % 3 - 1), 1)))
        counts[true, true] = right
        for beside, wrong in zip((1, 2, 5), generator.multinomial(images - right, [0.5, 0.3, 0.2]), strict=True):
            counts[true, (true + beside) % size] = wrong
    return tuple(tuple(map(int, row)) for row in counts)


def _selected(arm: Arm, part: str) -> list[float]:
    return list(arm.recalls[part].values())


def _differences(arm: Arm, base: Arm, part: str) -> list[float]:
    ours, theirs = arm.recalls[part], base.recalls[part]
    return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def _result(study: Study, arms: list[Arm], seeds: Sequence[int], **found: Any) -> StudyResult:
    select = study.design.select
    order = sorted(arms, key=lambda arm: -float(np.mean(_selected(arm, select))))
    chosen, base = order[0], arms[0]
    confirmation = None
    if select != "test":
        told = {arm.name: {**arm.recalls, "test": _counted(arm.fresh, "test")} for arm in (base, chosen)}
        arms = [attrs.evolve(arm, recalls=told[arm.name]) if arm.name in told else arm for arm in arms]
        if chosen is not base:
            differences = [told[chosen.name]["test"][seed] - told[base.name]["test"][seed] for seed in FRESH]
            confirmation = compare({"": differences}, margin=study.design.margin)[""]
    per_class = {}
    for arm in arms[1:]:
        recalls = [
            np.mean(
                [metrics.recall_per_class(r.epochs[-1].evaluations[select].confusion) for r in a.runs if r.epochs],
                axis=0,
            )
            for a in (arm, base)
        ]
        per_class[arm.name] = tuple(map(float, recalls[0] - recalls[1]))
    fields = {
        "study": study,
        "seeds": tuple(seeds),
        "arms": tuple(arms),
        "claims": (),
        "effects": (),
        "steps": (),
        "chosen": chosen.name,
        "confirmation": confirmation,
        "ranks": tuple(ranks({arm.name: arm.recalls[select] for arm in arms})),
        "pareto": {
            cost: pareto({arm.name: (float(np.mean(_selected(arm, select))), of(arm)) for arm in arms if finished(arm)})
            for cost, of in (("seconds", seconds), ("parameters", parameters), ("flops", flops))
        },
        "per_class": per_class,
        "found_by": (Arrival(design="Greedy, the best first", arm=chosen.name),) if found.get("effects") else (),
        "fresh_seeds": FRESH if select != "test" else (),
        "proofs": {
            "leaky": ("~ features.0.activation: ReLU() -> LeakyReLU(negative_slope=0.01)",),
            "bn": ("+ BatchNorm2d(24) after features.0.filter", "+ BatchNorm2d(48) after features.1.filter"),
        },
        "notes": (
            "activation nan is left out: it learns nothing",
            *(
                f"{arm.name}: {arm.diverged} of {len(arm.runs)} runs diverged; each counts with 0.1000."
                for arm in arms
                if arm.diverged
            ),
        ),
        "look_level": 0.05,
        "command": "zoo study run made-up --seeds 5",
        "classes": CLASSES,
        "matched": {},
        **found,
    }
    return StudyResult(**fields)
