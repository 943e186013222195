"""What a study says that it costs and can show, before it is run."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_results import _run as made_run

from zoo.benchmark import make_plan
from zoo.errors import SpecError
from zoo.ledger import Ledger
from zoo.registry import Registry, default_registry
from zoo.report.study.plan import prices
from zoo.statistics.effects import factorial_effects
from zoo.statistics.paired import detectable, pairs_to_find
from zoo.study.definition import Study, read_study
from zoo.study.measure import learned_recall
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


def stored_study(registry: Registry, ledger: Ledger, study: Study, seeds: int) -> None:
    """Store made-up runs: leaky is worth as much with each seed, and the arms scatter by 0.001 besides."""
    plan = make_plan(first_specs(study, registry), range(seeds), registry=registry, device="cpu", ledger=ledger)
    by_identity = {spec.identity: spec for spec in first_specs(study, registry)}
    for run in plan.runs:
        attempt = ledger.claim(run)
        assert attempt is not None
        common = np.random.default_rng(run.key.seed).normal(0, 0.01)
        own = np.random.default_rng([run.key.seed, len(run.name)]).normal(0, 0.02)
        recall = 0.9 + common + (own if "bn" in run.name else own / 20)
        for epoch in made_run(by_identity[run.key.spec], run.key.seed, recall, seconds=3.0, parameters=10).epochs:
            ledger.add_epoch(attempt, epoch)
        ledger.finish(attempt, type(run)(run.key, run.name, run.spec, run.dataset, status="finished"))


def test_what_a_verdict_takes_by_each_design_follows_from_stored_runs(registry: Registry, tmp_path: Path) -> None:
    study = read_study({"base": "starter/default", "changes": CHANGES, "design": "factorial"}, registry=registry)
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        stored_study(registry, ledger, study, 6)
        again = make_plan(first_specs(study, registry), range(6), registry=registry, device="cpu", ledger=ledger)
        more: dict[str, Any] = {"dataset": dataset(study.base, registry, "cpu"), "registry": registry, "ledger": ledger}
        found = study_plan(study, range(6), again, find=0.02, **more)
        assert study_plan(study, range(6), again, **more).find == 0.01, "twice the margin"
        with pytest.raises(SpecError, match=r"find: expected a difference above the margin of 0\.005, got 0\.005"):
            study_plan(study, range(6), again, find=0.005, **more)
        stored = {
            spec.identity: {run.key.seed: run for run in map(ledger.find, (r.key for r in again.runs))
                            if run and run.key.spec == spec.identity}
            for spec in first_specs(study, registry)
        }  # fmt: skip
    learned = {
        cell: {seed: learned_recall(run, "validation") or 0.0 for seed, run in stored[spec.identity].items()}
        for cell, spec in ((cell, study.spec(cell, registry)) for cell in product((0, 1), repeat=2))
    }
    seeds = range(6)
    leaky = [(learned[1, 0][s] + learned[1, 1][s] - learned[0, 0][s] - learned[0, 1][s]) / 2 for s in seeds]
    bn = [(learned[0, 1][s] + learned[1, 1][s] - learned[0, 0][s] - learned[1, 0][s]) / 2 for s in seeds]
    both = [learned[1, 1][s] - learned[0, 1][s] - learned[1, 0][s] + learned[0, 0][s] for s in seeds]
    assert found.deviations == pytest.approx({
        "a main effect": np.sqrt((np.var(leaky, ddof=1) + np.var(bn, ddof=1)) / 2),
        "an interaction": np.std(both, ddof=1),
    })  # fmt: skip
    alone = [[learned[cell][s] - learned[0, 0][s] for s in seeds] for cell in ((1, 0), (0, 1))]
    assert found.deviation == pytest.approx(np.sqrt(np.mean([np.var(own, ddof=1) for own in alone])))
    assert found.plan.costs == {}
    efforts = {(price.design, price.is_auto): price.effort for price in found.prices}
    factorial, one, added = (efforts[key] for key in (("factorial", False), ("one-at-a-time", False),
                                                      ("one-at-a-time", True)))  # fmt: skip
    assert factorial is not None
    assert one is not None
    assert added is not None
    assert factorial.seeds == pairs_to_find(0.02, claims=3, deviation=found.deviations["a main effect"], level=0.04)
    assert one.seeds == pairs_to_find(0.02, claims=2, deviation=found.deviation, level=0.04)
    assert (one.runs, factorial.runs) == (3 * one.seeds, 4 * factorial.seeds)
    epochs = next(iter(stored[study.base.identity].values())).epochs
    each = sum(epoch.seconds_training + epoch.seconds_evaluation for epoch in epochs) / again.at_once
    assert one.seconds == pytest.approx(one.runs * each), "of what is stored, where nothing is to be trained"
    assert (added.runs, added.most_runs) == (3 * added.seeds, 3 * added.most_seeds)
    text = prices(found)
    assert "What it takes to find a difference of 0.02 in recall with a power of 80%" in text
    assert re.search(rf"one-at-a-time \(auto\) .* on average, {added.most_runs} at most", text)


def test_what_cannot_be_found_is_said(registry: Registry, tmp_path: Path) -> None:
    found = planned(registry, tmp_path, 4, resplit=True)
    assert {price.effort for price in found.prices if not price.is_auto} == {None}, "seeds share training images"
    assert re.search(r"factorial +over 500\b", prices(found))


def test_a_design_that_the_changes_do_not_suit_has_no_price(registry: Registry, tmp_path: Path) -> None:
    size = {"size": {"levels": {"five": {"network.features.1.filter.size": 5}, "one": {"filter.size": 1}}}}
    assert {p.design for p in planned(registry, tmp_path, 3, changes={**CHANGES, **size}).prices} == {
        "one-at-a-time",
        "factorial",
    }
