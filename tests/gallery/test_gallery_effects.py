"""Runs that differ in variants of one kind only are held against each other, whatever they were trained for."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from small_gallery import SEEDS

from zoo.gallery.effects import Field, choices, fields, place_text
from zoo.ledger import Ledger
from zoo.study.measure import measured
from zoo.train.run import Run


@pytest.fixture(scope="module")
def runs(runs_of_three: Path) -> list[Run]:
    with Ledger(runs_of_three, create=False) as ledger:
        return ledger.runs()


def of_kind(found: list[Field], kind: str) -> Field:
    (field,) = [field for field in found if field.kind == kind]
    return field


def test_each_kind_has_a_field_of_its_own(runs: list[Run]) -> None:
    found = fields(runs, {})
    assert sorted(field.kind for field in found) == ["activation", "optimizer"]
    activations = of_kind(found, "activation")
    assert activations.base.label == "relu"
    assert [arm.label for arm in activations.arms] == ["mish", "leaky_relu (slope=0.01)"]
    assert [place_text(arm) for arm in activations.arms] == ["everywhere", "everywhere"]
    assert activations.seeds == tuple(range(SEEDS))


def test_options_of_a_variants_own_are_not_told(runs: list[Run]) -> None:
    found = of_kind(fields(runs, {"activation": {"leaky_relu": {"slope": 0.01}}}), "activation")
    assert [arm.label for arm in found.arms] == ["mish", "leaky_relu"]


def test_options_tell_arms_of_one_variant_apart(runs: list[Run]) -> None:
    options = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}
    found = of_kind(fields(runs, {"optimizer": {"adam": options}}), "optimizer")
    labels = [arm.label for arm in found.arms]
    assert len(set(labels)) == len(labels) == 2
    assert {arm.variant for arm in found.arms} == {"adam"}
    assert labels == ["adam (learning_rate=0.003)", "adam"]


def test_a_verdict_is_that_of_the_differences_seed_by_seed(runs: list[Run]) -> None:
    field = of_kind(fields(runs, {}), "activation")
    arm, verdict = field.of("mish")[0]
    recalls = [{run.key.seed: measured(run, "test") for run in each.runs} for each in (arm, field.base)]
    differences = [recalls[0][seed] - recalls[1][seed] for seed in range(SEEDS)]
    assert verdict.comparison.difference == pytest.approx(sum(differences) / SEEDS)
    assert verdict.comparison.n == SEEDS


def test_all_places_beside_each_other_are_one_pattern(runs: list[Run]) -> None:
    """Three paths in full leave no room for the verdict beside them."""
    arm = of_kind(fields(runs, {}), "activation").arms[0]
    within = tuple(place for place in arm.places if "features" in place)
    some = attrs.evolve(arm, everywhere=False, places=within)
    assert place_text(some) == "network.features.*.activation"


def test_seeds_that_few_arms_have_do_not_count(runs: list[Run]) -> None:
    """A study trains what it chose with seeds more: to count them would be to look until something is found."""
    mish = [run for run in runs if choices(run.spec)["network", "features", 0, "activation"][1].name == "mish"]
    more = [attrs.evolve(run, key=attrs.evolve(run.key, seed=run.key.seed + 1000)) for run in mish]
    assert of_kind(fields([*runs, *more], {}), "activation").seeds == tuple(range(SEEDS))


def test_the_newest_state_of_a_source_counts(runs: list[Run]) -> None:
    newer = [
        attrs.evolve(
            run,
            key=attrs.evolve(run.key, source="f" * 64),
            provenance={**run.provenance, "started": "2999-01-01T00:00:00+0000"},
        )
        for run in runs[:1]
    ]
    field = of_kind(fields([*runs, *newer], {}), "activation")
    assert [run.key.source for run in field.base.runs] == ["f" * 64]


def test_two_kinds_changed_at_once_are_no_comparison(runs: list[Run]) -> None:
    base = [run for run in runs if run.name == runs[0].name]
    adam = [run for run in runs if run.spec["training"]["optimizer"]["name"] == "adam"]
    changed = [
        attrs.evolve(run, spec={**run.spec, "training": {**run.spec["training"], "batch_size": 7}}) for run in adam
    ]
    assert fields([*base, *changed], {}) == [] or all(
        field.base.variant == "adam" for field in fields([*base, *changed], {})
    )


def test_runs_that_were_stored_before_a_field_was_added_are_compared_with_those_after(runs: list[Run]) -> None:
    """Their specs have one identity, and other texts."""
    whole = of_kind(fields(runs, {}), "activation")

    def stored_before(run: Run) -> Run:
        training = {name: value for name, value in run.spec["training"].items() if name not in ("repeats", "minutes")}
        features = [
            {**block, "activation": {k: v for k, v in block["activation"].items() if k != "slope"}}
            for block in run.spec["network"]["features"]
        ]
        return attrs.evolve(
            run, spec={**run.spec, "training": training, "network": {**run.spec["network"], "features": features}}
        )

    base = whole.base.spec["name"]
    mixed = [stored_before(run) if run.name == base else run for run in runs]
    assert any(a.spec != b.spec for a, b in zip(mixed, runs, strict=True))
    found = of_kind(fields(mixed, {"activation": {"leaky_relu": {"slope": 0.01}}}), "activation")
    assert [arm.name for arm in found.every] == [arm.name for arm in whole.every]


def test_the_base_s_own_variant_at_its_default_is_an_arm_beside_it(runs: list[Run]) -> None:
    """As an optimizer at several learning rates, of which the base has not the usual one."""
    base = of_kind(fields(runs, {}), "activation").base.runs
    chosen = base[0].spec["training"]["optimizer"]
    changed = [
        attrs.evolve(
            run,
            name=f"{run.name}[usual]",
            key=attrs.evolve(run.key, spec="usual"),
            spec={**run.spec, "training": {**run.spec["training"], "optimizer": {**chosen, "learning_rate": 0.5}}},
        )
        for run in base
    ]
    usual = {"optimizer": {chosen["name"]: {**chosen, "learning_rate": 0.5}}}
    field = of_kind(fields([*base, *changed], usual), "optimizer")
    assert field.base.name == base[0].name
    assert f"{chosen['name']} (learning_rate=0.5)" in [arm.label for arm in field.arms]
