"""What a study says that it costs and can show, before it is run."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_results import _run as made_run

from zoo.benchmark import make_plan
from zoo.ledger import Ledger
from zoo.registry import Registry, default_registry
from zoo.statistics.effects import factorial_effects
from zoo.statistics.paired import detectable
from zoo.study.definition import read_study
from zoo.study.plan import StudyPlan, first_specs, seconds_with, study_plan
from zoo.train.execute import dataset

CHANGES: dict[str, Any] = {"leaky": {"activation": "leaky_relu"}, "bn": {"network.features.*.normalization": "batch"}}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return default_registry()


def planned(registry: Registry, folder: Path, seeds: int, **stated: Any) -> StudyPlan:
    study = read_study({"base": "starter/default", "changes": CHANGES, **stated}, registry=registry, name="s")
    with Ledger(folder / "zoo.sqlite") as ledger:
        plan = make_plan(first_specs(study, registry), range(seeds), registry=registry, device="cpu", ledger=ledger)
        images = dataset(study.base, registry, "cpu")
        found = study_plan(study, range(seeds), plan, dataset=images, registry=registry, ledger=ledger)
        assert found.seconds == seconds_with(study, plan, range(seeds))
        confirming = found.confirming * max(plan.costs.values()) / plan.at_once
        alone = seconds_with(study, plan, range(1)) - 2 * 5 * max(plan.costs.values()) / plan.at_once
        if study.design.design != "factorial":
            assert alone == pytest.approx((found.seconds - confirming) / seeds, rel=0.01)
        return found


@pytest.mark.parametrize(
    ("design", "combinations", "claims", "is_most"),
    [
        ("one-at-a-time", 3, 2, False),
        ("leave-one-out", 4, 2, False),
        ("stepwise", 3, 2, True),
        ("forward", 4, 3, True),
        ("factorial", 4, 3, False),
    ],
)
def test_counts(registry: Registry, tmp_path: Path, design: str, combinations: int, claims: int, is_most: bool) -> None:
    found = planned(registry, tmp_path, 4, design=design)
    assert (found.combinations, found.runs, found.claims) == (combinations, 4 * combinations, claims)
    assert found.is_most is is_most
    assert found.confirming == 5 * (5 if design == "factorial" else 2)
    assert found.memory > 3 * 4 * 107_000
    assert found.deviation is None


def test_pairs_detect_what_their_power_says(registry: Registry, tmp_path: Path) -> None:
    found = planned(registry, tmp_path, 5)
    assert found.detectable == {"a change": detectable(5, claims=2, deviation=1.0, level=0.04)}
    assert found.equivalence == {}


def test_a_factorial_design_finds_what_it_says_in_four_of_five(registry: Registry, tmp_path: Path) -> None:
    """Tables with exactly the smallest difference, found with a power of 80%; all scatter is that of the change."""
    import pandas as pd

    seeds = 4
    found = planned(registry, tmp_path, seeds, design="factorial")
    generator = np.random.default_rng(0)
    for what, term in (("a main effect", "a"), ("an interaction", "a x b")):
        hits = 0
        for _ in range(200):
            rows = []
            for seed in range(seeds):
                # What `a` does with this seed; alike with and without `b`, or not. A paired difference has deviation 1.
                alike, *own = generator.normal(0, 1, size=3)
                for a, b in product((0, 1), repeat=2):
                    effect = found.detectable[what] * ((a and b) if term == "a x b" else a)
                    scatter = a * (alike if term == "a" else own[b])
                    rows.append({"a": "a" if a else "base", "b": "b" if b else "base", "seed": seed,
                                 "recall": effect + scatter})  # fmt: skip
            effects = factorial_effects(pd.DataFrame(rows), {"a": ["a"], "b": ["b"]}, level=0.04)
            judged = next(e for e in effects if e.name == term).comparison
            hits += judged.p is not None and judged.p <= 0.04 / 3
        assert 0.68 < hits / 200 < 0.92, what


def test_too_few_runs_detect_nothing(registry: Registry, tmp_path: Path) -> None:
    assert planned(registry, tmp_path, 1, design="factorial").detectable["a main effect"] == float("inf")


def test_the_ledger_says_how_much_differences_scatter(registry: Registry, tmp_path: Path) -> None:
    study = read_study({"base": "starter/default", "changes": CHANGES}, registry=registry, name="s")
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        plan = make_plan(first_specs(study, registry), range(4), registry=registry, device="cpu", ledger=ledger)
        for run in plan.runs:
            attempt = ledger.claim(run)
            assert attempt is not None
            spec = next(s for s in first_specs(study, registry) if s.identity == run.key.spec)
            noise = np.random.default_rng([run.key.seed, len(run.name)]).normal(0, 0.01)
            made = made_run(spec, run.key.seed, 0.9 + noise, seconds=1.0, parameters=10)
            for epoch in made.epochs:
                ledger.add_epoch(attempt, epoch)
            ledger.finish(attempt, type(run)(run.key, run.name, run.spec, run.dataset, status="finished"))
        again = make_plan(first_specs(study, registry), range(4), registry=registry, device="cpu", ledger=ledger)
        images = dataset(study.base, registry, "cpu")
        found = study_plan(study, range(4), again, dataset=images, registry=registry, ledger=ledger)
    assert found.seconds == 0
    assert found.deviation is not None
    assert 0.003 < found.deviation < 0.05
    assert found.detectable["a change"] == pytest.approx(
        detectable(4, claims=2, deviation=found.deviation, margin=0.005, level=0.04)
    )
    assert 0 <= found.equivalence["a change"] < 0.5


def test_what_each_design_would_cost_stands_side_by_side(registry: Registry, tmp_path: Path) -> None:
    four = {**CHANGES, "shuffled": {"training.shuffle": True}, "slow": {"training.optimizer.learning_rate": 0.001}}
    found = planned(registry, tmp_path, 4, changes=four, resolution=3)
    costs = found.plan.costs.values()
    each = sum(costs) / len(costs) / found.plan.at_once
    assert [(p.design, p.seeds, p.combinations, p.runs) for p in found.prices] == [
        ("one-at-a-time", (4, 4), 5, (20, 20)),
        ("one-at-a-time", (3, 15), 5, (15, 75)),
        ("fractional", (4, 4), 8, (32, 32)),
        ("factorial", (4, 4), 16, (64, 64)),
    ]
    for price in found.prices:
        assert price.seconds == pytest.approx(tuple(runs * each for runs in price.runs))
    assert found.prices[0].detectable == found.detectable
    assert found.detectable == {"a change": pytest.approx(detectable(4, claims=4, deviation=1.0, level=0.04))}
    assert found.prices[1].detectable == {
        "a change": pytest.approx(detectable(15, claims=4, deviation=1.0, level=0.04))
    }
    assert found.prices[3].detectable["a main effect"] == pytest.approx(
        detectable(4, claims=10, deviation=1.0, level=0.04)
    )


def test_a_design_that_the_changes_do_not_suit_has_no_price(registry: Registry, tmp_path: Path) -> None:
    size = {"size": {"levels": {"five": {"network.features.1.filter.size": 5}, "one": {"filter.size": 1}}}}
    assert {p.design for p in planned(registry, tmp_path, 3, changes={**CHANGES, **size}).prices} == {
        "one-at-a-time",
        "factorial",
    }
