"""Studies carried out with a trainer that makes recalls up, so that what is found is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from made_results import _run as made_run

from zoo.data import Dataset
from zoo.errors import SpecError, ZooError
from zoo.registry import Registry, default_registry
from zoo.report.study.page import page
from zoo.report.study.tables import answer, render
from zoo.spec import Spec
from zoo.study.conduct import Auto, conduct
from zoo.study.definition import Study, read_study
from zoo.study.plan import deviation, first_specs
from zoo.train.execute import dataset
from zoo.train.run import Run

CHANGES: dict[str, Any] = {
    "leaky": {"activation": "leaky_relu"},
    "bn": {"network.features.*.normalization": "batch"},
    "slow": {"learning_rate": 0.01},
}
Truth = Callable[[set[str]], float]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return default_registry()


@pytest.fixture(scope="module")
def digits(registry: Registry) -> Dataset:
    return dataset(a_study(registry).base, registry, "cpu")


def a_study(registry: Registry, **stated: Any) -> Study:
    return read_study({"base": "starter/default", "changes": CHANGES, **stated}, registry=registry, name="s")


class Trainer:
    """Makes runs whose recall is the truth of their changes, and a little of each seed's own."""

    def __init__(self, truth: Truth, noise: float = 0.001, spoil: Callable[[Run], Run] = lambda run: run) -> None:
        self.truth, self.noise, self.spoil = truth, noise, spoil
        self.trained: list[tuple[str, int]] = []

    def __call__(self, specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        runs = []
        for spec in specs:
            changes = set(spec.name.partition("[")[2].rstrip("]").split(", ")) - {""}
            for seed in seeds:
                self.trained.append((spec.name, seed))
                own = np.random.default_rng([seed, *map(ord, spec.name)]).normal(0, self.noise)
                recall = self.truth(changes) + own + np.random.default_rng(seed).normal(0, 0.01)
                run = made_run(spec, seed, recall, seconds=1.0, parameters=1000)
                runs.append(self.spoil(run))
        return runs


def gains(**by_change: float) -> Truth:
    return lambda changes: 0.8 + sum(by_change.get(change, 0.0) for change in changes)


def verdicts(result: Any) -> dict[str, str]:
    return {claim.change: claim.comparison.verdict for claim in result.claims}


def test_what_helps_and_what_hurts_is_found(registry: Registry, digits: Dataset) -> None:
    trainer = Trainer(gains(leaky=0.0, bn=0.05, slow=-0.05))
    result = conduct(a_study(registry), range(8), trainer, dataset=digits, registry=registry)
    assert verdicts(result)["bn"] == "helps"
    assert verdicts(result)["slow"] == "hurts"
    assert result.chosen == "bn"
    assert result.confirmation is not None
    assert result.confirmation.difference == pytest.approx(0.05, abs=0.02)
    assert result.confirmation.n == 8
    assert [arm.name for arm in result.arms] == ["base", "leaky", "bn", "slow"]
    assert result.proofs["bn"][0].startswith("+ BatchNorm2d(24) after features.0.filter")
    assert sorted(trainer.trained) == sorted(set(trainer.trained)), "a run was trained twice"


def test_test_recall_is_kept_from_what_was_not_chosen(registry: Registry, digits: Dataset) -> None:
    result = conduct(a_study(registry), range(4), Trainer(gains(bn=0.05)), dataset=digits, registry=registry)
    shown = {arm.name: list(arm.recalls["test"]) for arm in result.arms if "test" in arm.recalls}
    assert shown == {name: list(range(1000, 1005)) for name in ("base", "bn")}
    selected = conduct(
        a_study(registry, select="test"), range(4), Trainer(gains(bn=0.05)), dataset=digits, registry=registry
    )
    assert all("test" in arm.recalls for arm in selected.arms)
    assert selected.confirmation is None
    assert any("Selected on the test part: recall of what was chosen is too good." in note for note in selected.notes)


def test_pairs_are_those_of_one_seed(registry: Registry, digits: Dataset) -> None:
    """Without noise of an arm's own, all pairs differ by the gain, however much seeds differ."""
    result = conduct(a_study(registry), range(5), Trainer(gains(bn=0.05), noise=0.0), dataset=digits, registry=registry)
    base, bn = (result.arm(name).recalls["validation"] for name in ("base", "bn"))
    claim = next(claim for claim in result.claims if claim.change == "bn")
    assert claim.comparison.difference == pytest.approx(np.mean([bn[s] - base[s] for s in range(5)]))


def test_stepwise_goes_on_from_what_it_kept(registry: Registry, digits: Dataset) -> None:
    trainer = Trainer(gains(leaky=0.02, bn=-0.05, slow=0.03))
    study = a_study(registry, design="stepwise")
    result = conduct(study, range(3), trainer, dataset=digits, registry=registry)
    assert [(step.tried, step.upon, step.kept) for step in result.steps] == [
        ("leaky", "base", True),
        ("bn", "leaky", False),
        ("slow", "leaky", True),
    ]
    assert result.chosen == "leaky + slow"


def test_factorial_finds_the_interaction_and_what_simpler_designs_miss(registry: Registry, digits: Dataset) -> None:
    def truth(changes: set[str]) -> float:
        # Each helps alone; together they hurt.
        return 0.8 + 0.04 * ("leaky" in changes) + 0.05 * ("bn" in changes) - 0.12 * ({"leaky", "bn"} <= changes)

    changes = {name: CHANGES[name] for name in ("leaky", "bn")}
    study = a_study(registry, design="factorial", changes=changes)
    result = conduct(study, range(6), Trainer(truth), dataset=digits, registry=registry)
    effects = {effect.name: effect for effect in result.effects}
    assert effects["leaky x bn"].comparison.difference == pytest.approx(-0.12, abs=0.03)
    assert effects["leaky x bn"].comparison.verdict == "hurts"
    assert effects["leaky x bn"].sentence
    assert result.chosen == "bn"
    assert [(each.design[:8], each.arm) for each in result.found_by] == [
        ("One at a", "leaky + bn"), ("Stepwise", "leaky"), ("Greedy, ", "bn"),
    ]  # fmt: skip
    worse, _, same = (each.comparison for each in result.found_by)
    assert worse is not None
    assert (worse.n, worse.verdict, same) == (6, "hurts", None)
    trained = {arm.name: sorted(run.key.seed for run in arm.fresh) for arm in result.arms if arm.fresh}
    assert trained == {name: list(range(1000, 1006)) for name in ("base", "leaky", "bn", "leaky + bn")}
    assert [arm.name for arm in result.arms if "test" in arm.recalls] == ["base", "bn"], "others are not looked at"


def test_fractional_names_what_it_cannot_tell_apart(registry: Registry, digits: Dataset) -> None:
    study = a_study(registry, design="fractional", resolution=3)
    result = conduct(
        study, range(4), Trainer(gains(leaky=0.03, bn=0.05, slow=-0.04)), dataset=digits, registry=registry
    )
    assert len(result.arms) == 4
    assert result.arms[0].name == "base"
    effects = {effect.name: effect for effect in result.effects}
    assert set(effects) == {"leaky", "bn", "slow"}
    assert all(effect.aliases for effect in effects.values())
    assert effects["bn"].comparison.difference == pytest.approx(0.05, abs=0.02)


def test_seeds_are_added_where_a_claim_is_undecided(registry: Registry, digits: Dataset) -> None:
    trainer = Trainer(gains(leaky=0.004, bn=0.15), noise=0.004)
    result = conduct(
        a_study(registry), range(9), trainer, dataset=digits, registry=registry, auto=Auto(first=3, batch=3, most=9)
    )
    seeds = {arm.name: len(arm.runs) for arm in result.arms}
    assert {len(arm.fresh) for arm in result.arms} == {0, len(result.arm("base").runs)}
    assert seeds["bn"] < 9, "a claim that was decided got more seeds"
    assert seeds["leaky"] == 9
    assert verdicts(result)["bn"] == "helps"
    assert result.look_level < 0.05
    assert len(trainer.trained) == len(set(trainer.trained))


def test_a_second_look_is_said_and_has_less_of_the_level(registry: Registry, digits: Dataset) -> None:
    """Seeds 0 to 4 were asked for first, which runs tell; what was decided then stays decided."""

    def told(run: Run) -> Run:
        return attrs.evolve(run, provenance={**run.provenance, "seeds": "5" if run.key.seed < 5 else "9"})

    trainer = Trainer(gains(bn=0.05), noise=0.004, spoil=told)
    first = conduct(a_study(registry), range(5), trainer, dataset=digits, registry=registry)
    second = conduct(a_study(registry), range(9), trainer, dataset=digits, registry=registry)
    assert (first.look_level, second.look_level) == pytest.approx((0.04, 0.005))
    before, after = (next(c.comparison for c in each.claims if c.change == "bn") for each in (first, second))
    assert before.verdict == "helps"
    assert attrs.evolve(after, p_signs=before.p_signs) == before
    assert second.notes[0].startswith("Look 2 at these claims, after those with 5 seeds: it has 0.50% of the 5% that ")
    assert not any(note.startswith("Look") for note in first.notes)


def test_no_seeds_are_added_when_time_is_up(registry: Registry, digits: Dataset) -> None:
    auto = Auto(first=3, batch=3, most=9, go_on=lambda: False)
    trainer = Trainer(gains(leaky=0.004), noise=0.02)
    result = conduct(a_study(registry), range(9), trainer, dataset=digits, registry=registry, auto=auto)
    assert {len(arm.runs) for arm in result.arms} == {3}


def test_seeds_are_added_to_a_factorial_design_too(registry: Registry, digits: Dataset) -> None:
    study = a_study(registry, design="factorial", changes={name: CHANGES[name] for name in ("leaky", "bn")})
    trainer = Trainer(gains(leaky=0.003, bn=0.1), noise=0.01)
    result = conduct(study, range(6), trainer, dataset=digits, registry=registry, auto=Auto(first=2, batch=2, most=6))
    assert {len(arm.runs) for arm in result.arms} == {6}
    assert next(effect for effect in result.effects if effect.name == "bn").comparison.verdict == "helps"


def test_a_search_takes_no_seeds_on_the_way(registry: Registry, digits: Dataset) -> None:
    with pytest.raises(SpecError, match="study 's': seeds cannot be added to a stepwise search"):
        conduct(
            a_study(registry, design="stepwise"),
            range(9),
            Trainer(gains()),
            dataset=digits,
            registry=registry,
            auto=Auto(3, 3, 9),
        )


def test_a_change_is_compared_with_a_base_as_large(registry: Registry, digits: Dataset) -> None:
    changes = {"wide": {"network.features.2.filters": 160}, "leaky": CHANGES["leaky"]}
    study = a_study(registry, changes=changes, match="parameters")
    trainer = Trainer(lambda changes: 0.8 + 0.05 * ("wide" in changes or any("width" in c for c in changes)))
    result = conduct(study, range(6), trainer, dataset=digits, registry=registry)
    assert verdicts(result)["wide"] == "helps"
    name = "base, as many parameters as wide"
    matched = next(claim for claim in result.claims if claim.control == name)
    assert matched.change == "wide, at equal parameters"
    assert matched.comparison.verdict != "helps"
    assert result.matched == {name: "wide"}
    assert result.arm(name).cell is None


def diverge(run: Run) -> Run:
    if "slow" in run.name and run.key.seed == 1:
        return attrs.evolve(run, status="diverged", reason="diverged at epoch 1", epochs=())
    if "leaky" in run.name and run.key.seed == 2:
        return attrs.evolve(run, status="failed", reason="RuntimeError: no", epochs=())
    return run


def test_diverged_runs_count_as_chance_and_failed_ones_not_at_all(registry: Registry, digits: Dataset) -> None:
    result = conduct(a_study(registry), range(4), Trainer(gains(), spoil=diverge), dataset=digits, registry=registry)
    assert result.arm("slow").recalls["validation"][1] == 0.1
    assert result.arm("slow").diverged == 1
    assert result.arm("leaky").failed == 1
    assert sorted(result.arm("leaky").recalls["validation"]) == [0, 1, 3]
    claims = {claim.change: claim.comparison.n for claim in result.claims}
    assert claims == {"leaky": 3, "bn": 4, "slow": 3}
    lost = result.losses["slow"]
    assert (lost.with_change, lost.without_change, lost.verdict) == ((1, 4), (0, 4), "undecided")
    assert list(result.losses) == ["slow"]
    assert (
        "slow: 1 of 4 runs lost (1 diverged, 0 no better than chance): verdicts on recall leave them out; in the "
        "choice they count, a diverged one with 0.1000."
    ) in result.notes
    assert "leaky: 1 of 4 runs failed and count nowhere." in result.notes


def test_one_diverged_run_hides_no_effect_of_a_factorial_design(registry: Registry, digits: Dataset) -> None:
    def spoil(run: Run) -> Run:
        return attrs.evolve(run, status="diverged", epochs=()) if "bn" in run.name and run.key.seed == 1 else run

    study = a_study(registry, design="factorial", changes={name: CHANGES[name] for name in ("leaky", "bn")})
    trainer = Trainer(gains(leaky=0.03, bn=0.05), spoil=spoil)
    result = conduct(study, range(8), trainer, dataset=digits, registry=registry)
    effects = {effect.name: effect.comparison for effect in result.effects}
    assert (effects["bn"].verdict, effects["bn"].n) == ("helps", 7)
    assert effects["leaky"].verdict == "helps"
    assert (result.losses["bn"].with_change, result.losses["leaky"].with_change) == ((1, 8), (1, 8))


def test_a_combination_that_is_always_lost_leaves_its_effects_open(registry: Registry, digits: Dataset) -> None:
    def spoil(run: Run) -> Run:
        return attrs.evolve(run, status="diverged", epochs=()) if "bn" in run.name else run

    study = a_study(registry, design="factorial", changes={name: CHANGES[name] for name in ("leaky", "bn")})
    result = conduct(study, range(5), Trainer(gains(), spoil=spoil), dataset=digits, registry=registry)
    assert {(effect.comparison.n, effect.comparison.verdict) for effect in result.effects} == {(0, "undecided")}
    assert result.losses["bn"].verdict == "loses more runs"
    assert answer(result).endswith(" bn loses more runs.")
    assert "loses more runs" in render(result)
    assert page(result)


def test_when_all_fail_the_reason_is_said(registry: Registry, digits: Dataset) -> None:
    def fail(run: Run) -> Run:
        return attrs.evolve(run, status="failed", reason="plugin x raised RuntimeError: no\ntrace", epochs=())

    for design in ("one-at-a-time", "factorial", "stepwise"):
        with pytest.raises(ZooError, match=r"runs failed, the first because: plugin x raised RuntimeError: no$"):
            conduct(
                a_study(registry, design=design),
                range(2),
                Trainer(gains(), spoil=fail),
                dataset=digits,
                registry=registry,
            )
    with pytest.raises(ZooError, match="there is no run to judge; `zoo study run` trains"):
        conduct(a_study(registry), range(2), lambda specs, seeds: [], dataset=digits, registry=registry)


def test_times_of_runs_that_shared_the_machine_are_not_compared(registry: Registry, digits: Dataset) -> None:
    def share(run: Run) -> Run:
        return attrs.evolve(run, provenance={**run.provenance, "runs_at_once": "2"})

    alone = conduct(a_study(registry), range(2), Trainer(gains()), dataset=digits, registry=registry)
    shared = conduct(a_study(registry), range(2), Trainer(gains(), spoil=share), dataset=digits, registry=registry)
    assert set(alone.pareto) == {"seconds", "parameters", "flops"}
    assert set(shared.pareto) == {"parameters", "flops"}
    assert any("shared the machine, 2 at once: they are not compared" in note for note in shared.notes)


def test_references_stand_beside_what_repeats_them(registry: Registry, digits: Dataset) -> None:
    faithful = read_study("eq2425", registry=registry)
    result = conduct(faithful, range(2), Trainer(gains()), dataset=_thirty_two(), registry=registry)
    assert {arm.name: arm.spec.reference.test_recall for arm in result.arms if arm.spec.reference} == {
        "base": 0.5245,
        "4a1": 0.5713,
        "4a2": 0.4956,
        "4b": 0.5126,
        "4c": 0.5329,
        "4d": 0.5379,
        "4e": 0.6633,
        "5a": 0.3606,
        "5b": 0.1011,
        "5c": 0.5434,
    }
    shorter = read_study("eq2425", registry=registry, overrides={"training.epochs": 3})
    result = conduct(shorter, range(2), Trainer(gains()), dataset=_thirty_two(), registry=registry)
    assert not any(arm.spec.reference for arm in result.arms), "of 3 epochs the publication says nothing"


def _thirty_two() -> Dataset:
    registry = default_registry()
    study = read_study("eq2425", registry=registry, overrides={"data.dataset": "digits", "data.resize": 32})
    return dataset(study.base, registry, "cpu")


def test_deviation_is_pooled_over_what_the_ledger_holds(registry: Registry) -> None:
    study = a_study(registry)
    specs = first_specs(study, registry)
    trainer = Trainer(gains(bn=0.1), noise=0.01)
    runs: dict[str, dict[int, Run]] = {}
    for run in trainer(specs, range(6)):
        runs.setdefault(run.key.spec, {})[run.key.seed] = run
    found = deviation(study, runs, registry)
    assert found == pytest.approx(0.01 * np.sqrt(2), rel=0.5)
    assert deviation(study, {}, registry) is None


def test_an_unfinished_study_says_so_and_does_not_look_at_the_test_images(registry: Registry, digits: Dataset) -> None:
    def some(specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        return [run for run in Trainer(gains(bn=0.05))(specs, seeds) if run.key.seed < 3 or "leaky" in run.name]

    result = conduct(a_study(registry), range(4), some, dataset=digits, registry=registry)
    assert result.missing == 3
    assert answer(result).startswith("Not finished: 3 of 16 runs are missing. Until they are there, nothing is judged,")
    assert result.confirmation is None
    assert not any("test" in arm.recalls for arm in result.arms)


def test_a_choice_without_its_fresh_runs_is_said_to_be_unconfirmed(registry: Registry, digits: Dataset) -> None:
    """As of a ledger of an earlier version, whose runs stay valid."""

    def old(specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        return Trainer(gains(bn=0.05))(specs, [seed for seed in seeds if seed < 1000])

    result = conduct(a_study(registry), range(4), old, dataset=digits, registry=registry)
    assert (result.missing, result.unconfirmed, result.chosen) == (0, 10, "bn")
    assert verdicts(result)["bn"] == "helps"
    assert result.confirmation is None
    assert not any("test" in arm.recalls for arm in result.arms)
    assert "Not confirmed: 10 runs with fresh seeds (1000 to 1004) are missing." in render(result)
    assert "Confusion on test" not in page(result)


def half(specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
    return [run for run in Trainer(gains(bn=0.05))(specs, seeds) if run.key.seed % 2 == 0]


@pytest.mark.parametrize("design", ["one-at-a-time", "leave-one-out", "stepwise", "forward", "factorial"])
def test_of_half_of_the_runs_nothing_is_claimed_chosen_or_ranked(
    design: str, registry: Registry, digits: Dataset
) -> None:
    study = a_study(registry, design=design)
    result = conduct(study, range(6), half, dataset=digits, registry=registry)
    assert result.missing == 3 * len(result.arms)
    assert (result.chosen, result.confirmation, result.ranks, result.steps, result.found_by) == (None, None, (), (), ())
    assert not any(result.pareto.values())
    comparisons = [found.comparison for found in (*result.claims, *result.effects)]
    assert {(each.verdict, each.p, each.p_adjusted, each.more_seeds) for each in comparisons} <= {
        ("undecided", None, None, None)
    }
    assert bool(comparisons) is (design not in ("stepwise", "forward")), "a search would have gone another way"
    shown = render(result)
    least = "at least " if design in ("stepwise", "forward") else ""
    assert f"Not finished: {least}{result.missing} of {2 * result.missing} runs are missing." in shown
    assert not any(word in shown for word in ("Chosen", "Ranks", "Not beaten", "would have", "helps", "(chosen)"))
    assert "Not finished" in page(result)
    assert "Confusion on test" not in page(result)
    whole = conduct(study, [0, 2, 4], half, dataset=digits, registry=registry)
    assert (whole.missing, whole.unconfirmed > 0) == (0, True)


def test_a_combination_without_any_run_is_missing_unless_it_cannot_be_trained(
    registry: Registry, digits: Dataset
) -> None:
    def some(specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        return [run for run in Trainer(gains())(specs, seeds) if "leaky" not in run.name]

    study = a_study(registry)
    assert conduct(study, range(2), some, dataset=digits, registry=registry).missing == 2
    fits = conduct(study, range(2), some, dataset=digits, registry=registry, fits=lambda spec: "leaky" not in spec.name)
    assert fits.missing == 0
    assert fits.chosen is not None


def test_with_seeds_that_are_added_the_first_look_is_to_be_whole(registry: Registry, digits: Dataset) -> None:
    auto = Auto(first=3, batch=2, most=7)
    result = conduct(a_study(registry), range(7), half, dataset=digits, registry=registry, auto=auto)
    assert result.missing > 0
    whole = conduct(a_study(registry), range(7), Trainer(gains()), dataset=digits, registry=registry, auto=auto)
    assert whole.missing == 0


def test_effects_need_all_combinations(registry: Registry, digits: Dataset) -> None:
    def fail(run: Run) -> Run:
        failed = attrs.evolve(run, status="failed", reason="plugin x raised RuntimeError: no\ntrace", epochs=())
        return failed if "bn" in run.name else run

    study = a_study(registry, design="factorial", changes={name: CHANGES[name] for name in ("leaky", "bn")})
    with pytest.raises(ZooError) as raised:
        conduct(study, range(3), Trainer(gains(), spoil=fail), dataset=digits, registry=registry)
    assert str(raised.value) == (
        "study 's': 2 of 4 combinations have no run that counts (bn, leaky + bn); the first that failed: plugin x "
        "raised RuntimeError: no. Effects need all of them; what has ended is kept in the ledger, and `zoo study run` "
        "goes on from there"
    )


def test_a_search_says_that_its_p_values_are_too_sure(registry: Registry, digits: Dataset) -> None:
    study = a_study(registry, design="forward")
    result = conduct(study, range(2), Trainer(gains(bn=0.05)), dataset=digits, registry=registry)
    assert any("p-values of a search are too sure" in note for note in result.notes)


def test_a_variant_that_does_not_fit_is_left_out(registry: Registry, digits: Dataset) -> None:
    every = {"dropout": {"every": "dropout", "path": "network.classifier.0.dropout"}}
    study = a_study(registry, changes=every)

    def fitting(specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        return [run for run in Trainer(gains())(specs, seeds) if "drop_block" not in run.name]

    result = conduct(
        study, range(2), fitting, dataset=digits, registry=registry, fits=lambda spec: "drop_block" not in spec.name
    )
    assert result.proofs["dropout=drop_block"][0].startswith("left out: starter/default[dropout=drop_block]:")
    assert result.proofs["dropout"][0].startswith("+ Dropout(")
    assert "dropout=drop_block: no run." in result.notes


def test_runs_of_unlike_devices_and_versions_are_said_and_their_times_not_compared(
    registry: Registry, digits: Dataset
) -> None:
    def elsewhere(run: Run) -> Run:
        about = {"device_name": "H100", "torch": "2.8"} if run.key.seed == 1 else {}
        return attrs.evolve(run, provenance={**run.provenance, **about})

    result = conduct(
        a_study(registry), range(3), Trainer(gains(bn=0.05), spoil=elsewhere), dataset=digits, registry=registry
    )
    assert "seconds" not in result.pareto
    assert "Runs of several versions are in one comparison: torch 2.9.0 and 2.8." in result.notes
    assert "Training times are of runs that differ, and are not compared: device A Processor and H100." in result.notes
