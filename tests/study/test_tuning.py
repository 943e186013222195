"""Studies that tune: what is chosen, by what, and what is claimed of it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from made_tuning import FLAT, Trainer, tuned_study

from zoo.data import Dataset
from zoo.errors import BuildError
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.study.conduct import Auto, proofs
from zoo.study.definition import Study
from zoo.study.ranges import Range
from zoo.study.result import StudyResult
from zoo.study.settings import beyond, rounds, runs_of
from zoo.study.tuning import conduct_tuned, tuned_specs, tuning_seeds
from zoo.train.execute import dataset
from zoo.train.run import Run

LOW, OWN, HIGH = "starter/default[learning_rate=0.01]", "starter/default", "starter/default[learning_rate=0.1]"
MOVED = {**FLAT, "base": (0.90, 0.80, 0.70), "bn": (0.70, 0.80, 0.90), "leaky": (0.70, 0.85, 0.80)}
"""At the shared setting leaky helps; tuned, the base is as good as bn and better than leaky."""


@pytest.fixture(scope="module")
def digits(registry: Registry) -> Dataset:
    return dataset(tuned_study(registry).base, registry, "cpu")


@pytest.fixture(scope="module", autouse=True)
def _proofs_once(registry: Registry, digits: Dataset) -> Any:
    """Build each network once for all tests of this module, not for each of them."""
    shown = proofs(tuned_study(registry), digits, registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.study.tuning.proofs", lambda *_: shown)
        yield


def conducted(study: Study, train: Trainer, digits: Dataset, registry: Registry, **more: Any) -> StudyResult:
    return conduct_tuned(study, more.pop("seeds", range(8)), train, dataset=digits, registry=registry, **more)


def verdicts(claims: Any) -> dict[str, str]:
    return {claim.change: claim.comparison.verdict for claim in claims}


@pytest.fixture(scope="module")
def moved(registry: Registry, digits: Dataset, _proofs_once: Any) -> tuple[StudyResult, Trainer]:
    train = Trainer(MOVED)
    return conducted(tuned_study(registry, margin=0.02), train, digits, registry), train


def test_each_arm_is_judged_at_its_best_setting_and_at_the_shared_one(moved: tuple[StudyResult, Trainer]) -> None:
    result, _ = moved
    assert result.tuned is not None
    chosen = {arm: result.tuned.choice(arm) for arm in result.tuned.arms}
    assert {arm: choice.setting.values["learning_rate"] for arm, choice in chosen.items() if choice} == {
        "base": 0.01, "leaky": 0.05, "bn": 0.1,
    }  # fmt: skip
    assert verdicts(result.shared) == {"leaky": "helps", "bn": "no practical difference"}
    assert verdicts(result.claims) == {"leaky": "hurts", "bn": "no practical difference"}
    assert [arm.spec.name for arm in result.arms] == [
        LOW, "starter/default[leaky]", "starter/default[bn, learning_rate=0.1]",
    ]  # fmt: skip
    assert (result.missing, result.unconfirmed) == (0, 0)


WIDE = (0.002, 0.01, 0.05, 0.1, 0.2, 0.4)
RISING = {"base": (0.6, 0.7, 0.9, 0.8, 0.7, 0.6), "leaky": (0.6, 0.7, 0.8, 0.7, 0.6, 0.5),
          "bn": (0.5, 0.6, 0.7, 0.8, 0.9, 0.8)}  # fmt: skip


def test_a_value_beyond_what_was_chosen_is_added_for_all_arms(registry: Registry, digits: Dataset) -> None:
    train = Trainer(RISING, rates=WIDE)
    result = conducted(tuned_study(registry, tune_widen=3, margin=0.02), train, digits, registry)
    tuned = result.tuned
    assert tuned is not None
    assert [(added.path, added.value, added.arms) for added in tuned.widenings] == [
        ("learning_rate", 0.2, ("bn",)), ("learning_rate", 0.4, ("bn",)),
    ]  # fmt: skip
    assert {arm: [trial.setting.values["learning_rate"] for trial in tuned.of(arm)] for arm in tuned.arms} == (
        {arm: [0.01, 0.05, 0.1, 0.2, 0.4] for arm in ("base", "leaky", "bn")}
    ), "the budget is the same for all"
    assert tuned.edges == ()
    assert verdicts(result.claims) == {"leaky": "hurts", "bn": "no practical difference"}
    rivals = {trial.setting.label for trial in result.rivals if trial.arm == "base"}
    assert rivals == {f"learning_rate={rate}" for rate in (0.01, 0.1, 0.2, 0.4)}, "what was added counts among them"


def test_it_is_widened_as_often_as_stated_and_what_is_left_is_said(registry: Registry, digits: Dataset) -> None:
    study = tuned_study(registry, tune_widen=1, margin=0.02)
    result = conducted(study, Trainer(RISING, rates=WIDE), digits, registry)
    assert result.tuned is not None
    assert [added.value for added in result.tuned.widenings] == [0.2]
    assert [(edge.arm, edge.value) for edge in result.tuned.edges] == [("bn", 0.2)]
    assert study.most_settings == 5, "as if both ends were chosen"


def test_a_value_that_no_arm_can_take_is_not_added(registry: Registry, digits: Dataset) -> None:
    class ByMomentum(Trainer):
        def _run(self, spec: Spec, seed: int) -> Run | None:
            return self._made(spec, seed, spec.training.optimizer.values()["momentum"])

    study = tuned_study(registry, tune={"momentum": [0.5, 0.8]}, tune_widen=2)
    result = conducted(study, ByMomentum(RISING), digits, registry)
    assert result.tuned is not None
    assert result.tuned.widenings == (), "1.28 is no momentum"
    assert {edge.value for edge in result.tuned.edges} == {0.8}


@pytest.mark.parametrize(
    ("tried", "largest", "smallest"),
    [
        ((0.01, 0.1), 1.0, 0.001),
        ((0.01, 0.03, 0.1), 0.333, 0.00333),
        ((16, 32), 64, 8),
        ((1, 2), 4, 0),
        ((0.0, 0.1, 0.2), 0.4, -0.1),
        ((-2.0, -1.0), -0.5, -4.0),
        ((7, 8), 9, 6),
        ((0.1,), None, None),
        ((1, 10**300), None, 0),
        ((1e300, 1e308), None, 1e292),
        ((), None, None),
    ],
)
def test_the_next_value_is_as_far_off_as_the_last(tried: Any, largest: float | None, smallest: float | None) -> None:
    assert (beyond(tried, "largest"), beyond(tried, "smallest")) == (largest, smallest)


def test_seeds_of_tuning_are_those_of_no_verdict(moved: tuple[StudyResult, Trainer]) -> None:
    result, _ = moved
    assert result.tuned is not None
    assert result.tuned.seeds == (100_000, 100_001, 100_002)
    judged = {run.key.seed for arm in result.arms for run in (*arm.runs, *arm.fresh)}
    judged |= {run.key.seed for trial in result.rivals for run in trial.runs}
    assert judged == {*range(8), *range(1000, 1008)}
    assert {len(trial.runs) for trial in result.tuned.trials} == {3}, "the budget is the same for all"
    assert len(result.tuned.trials) == 9


@pytest.mark.parametrize(("start", "count"), [(0, 1), (0, 5), (0, 1500), (0, 60_000), (99_999, 2), (100_000, 5)])
def test_the_seeds_never_meet(registry: Registry, start: int, count: int) -> None:
    from zoo.study.confirm import fresh_seeds

    judged = range(start, start + count)
    seeds = tuning_seeds(tuned_study(registry, tune_seeds=4), judged)
    assert len(seeds) == 4
    assert not set(seeds) & {*judged, *fresh_seeds(count)}


def test_what_comes_out_is_held_against_the_settings_that_were_not_chosen(moved: tuple[StudyResult, Trainer]) -> None:
    """Of leaky, which hurts, the other settings are trained; of bn, which is alike, those of both sides."""
    result, train = moved
    assert sorted((trial.arm, trial.setting.label, trial.part) for trial in result.rivals) == [
        ("base", "learning_rate=0.05", "validation"), ("base", "learning_rate=0.1", "validation"),
        ("bn", "learning_rate=0.01", "validation"), ("bn", "learning_rate=0.05", "validation"),
        ("leaky", "learning_rate=0.01", "validation"), ("leaky", "learning_rate=0.1", "validation"),
    ]  # fmt: skip
    assert train.seeds_of("starter/default[leaky, learning_rate=0.1]") == [*range(8), *result.tuned.seeds]  # type: ignore[union-attr]


def test_where_nothing_comes_out_nothing_more_is_trained(registry: Registry, digits: Dataset) -> None:
    train = Trainer(FLAT, noise=0.02)
    result = conducted(tuned_study(registry), train, digits, registry, seeds=range(4))
    assert set(verdicts(result.claims).values()) == {"undecided"}
    assert result.rivals == ()


def test_a_base_that_missed_its_best_setting_makes_no_change_help(registry: Registry, digits: Dataset) -> None:
    """Tuning is misled about the base by its few seeds; the seeds of the verdict are not."""
    truth = {**FLAT, "base": (0.80, 0.85, 0.70), "bn": (0.70, 0.85, 0.70), "leaky": (0.70, 0.80, 0.70)}

    def mislead(run: Run) -> Run:
        if run.key.seed >= 100_000 and run.name in (LOW, OWN):
            better = Trainer({**truth, "base": (0.9, 0.6, 0.7)})
            return better([spec for spec in specs if spec.name == run.name], [run.key.seed])[0]
        return run

    study = tuned_study(registry)
    specs = [spec for own in tuned_specs(study, registry).values() for spec in own]
    result = conducted(study, Trainer(truth, spoil=mislead), digits, registry)
    assert result.arms[0].spec.name == LOW
    bn = next(claim.comparison for claim in result.claims if claim.change == "bn")
    assert bn.difference == pytest.approx(0.05, abs=0.01)
    assert (bn.verdict, bn.rival) == ("undecided", "base with learning_rate=0.05")
    assert result.chosen == "bn"
    assert result.confirmation is not None
    assert (result.confirmation.verdict, result.confirmation.rival) == ("undecided", "base with learning_rate=0.05")
    assert {trial.part for trial in result.rivals} == {"validation", "test"}


def test_a_choice_at_the_end_of_what_was_tried_is_known(moved: tuple[StudyResult, Trainer]) -> None:
    tuned = moved[0].tuned
    assert tuned is not None
    assert [(edge.arm, edge.value, edge.end) for edge in tuned.edges] == [
        ("base", 0.01, "smallest"), ("bn", 0.1, "largest"),
    ]  # fmt: skip


def test_zero_is_a_bound_and_words_have_none(registry: Registry, moved: tuple[StudyResult, Trainer]) -> None:
    from zoo.study.settings import Setting
    from zoo.study.trials import Trial, Tuned

    def edges(path: str, *values: Any, **more: Any) -> tuple[Any, ...]:
        trials = [
            Trial(arm="base", setting=Setting({path: value}), part="validation", runs=(), recalls={}, chosen=not i)
            for i, value in enumerate(values)
        ]
        return Tuned(seeds=(), trials=tuple(trials), **more).edges

    near, inside = (Range(low=0.01, high=high, log=True) for high in (0.2, 1.0))
    assert len(edges("rate", 0.18, 0.02, ranges={"rate": near})) == 1
    assert edges("rate", 0.18, 0.02, ranges={"rate": inside}) == (), "the range goes on"
    assert edges("momentum", 0.0, 0.5) == ()
    assert len(edges("momentum", 0.5, 0.0)) == 1
    assert edges("training.optimizer", "adam", "sgd") == ()
    assert edges("training.shuffle", True, False) == ()


def test_of_equal_settings_the_own_one_is_chosen(registry: Registry, digits: Dataset) -> None:
    result = conducted(tuned_study(registry), Trainer(FLAT, noise=0.0), digits, registry, seeds=range(3))
    assert [arm.spec.name for arm in result.arms] == [OWN, "starter/default[leaky]", "starter/default[bn]"]


def test_diverged_runs_count_as_chance_in_the_choice(registry: Registry, digits: Dataset) -> None:
    def diverge(run: Run) -> Run:
        return attrs.evolve(run, status="diverged", epochs=()) if run.name == LOW and run.key.seed == 100_000 else run

    truth = {**FLAT, "base": (0.9, 0.8, 0.7)}
    result = conducted(tuned_study(registry), Trainer(truth, spoil=diverge), digits, registry, seeds=range(3))
    assert result.arms[0].spec.name == OWN
    assert (
        "Tuning: 1 of 3 runs of base with learning_rate=0.01 diverged, and count as chance in the choice."
        in result.notes
    )


def test_while_runs_are_missing_nothing_is_chosen(registry: Registry, digits: Dataset) -> None:
    def lacking(seed: int) -> Trainer:
        return Trainer(MOVED, spoil=lambda run: None if run.key.seed == seed and run.name == LOW else run)

    study = tuned_study(registry)
    tuning = conducted(study, lacking(100_001), digits, registry)
    assert tuning.missing == 1
    assert tuning.tuned is not None
    assert (tuning.tuned.missing, tuning.tuned.choice("base"), tuning.shared, tuning.chosen) == (1, None, (), None)
    assert set(verdicts(tuning.claims).values()) == {"undecided"}
    judging = conducted(study, lacking(3), digits, registry)
    assert judging.missing == 1
    assert set(verdicts(judging.claims).values()) == {"undecided"}
    rival = Trainer(
        MOVED, spoil=lambda run: None if run.key.seed == 3 and "leaky, learning_rate=0.1" in run.name else run
    )
    assert conducted(study, rival, digits, registry).missing == 1
    confirming = conducted(study, lacking(1003), digits, registry)
    assert (confirming.missing, confirming.unconfirmed) == (0, 1)


def test_seeds_are_added_at_what_was_chosen(registry: Registry, digits: Dataset) -> None:
    train = Trainer({**MOVED, "leaky": (0.70, 0.905, 0.80)}, noise=0.006)
    auto = Auto(first=3, batch=2, most=9)
    result = conducted(tuned_study(registry), train, digits, registry, seeds=range(9), auto=auto)
    counts = {arm.name: len(arm.runs) for arm in result.arms}
    assert 3 < counts["leaky"] <= 9
    assert result.missing == 0
    assert result.tuned is not None
    assert result.tuned.seeds[0] == 100_000


def test_an_arm_that_fits_at_some_settings_only_is_refused(registry: Registry, digits: Dataset) -> None:
    def fits(spec: Spec) -> bool:
        return spec.name != HIGH

    train = Trainer(FLAT, spoil=lambda run: None if run.name == HIGH else run)
    with pytest.raises(BuildError) as raised:
        conducted(tuned_study(registry), train, digits, registry, fits=fits)
    assert str(raised.value) == (
        "study 's': tune: 'base' cannot be trained with learning_rate=0.1, and all arms are trained at the same "
        "settings; leave out the value, or the change"
    )


def test_an_arm_that_fits_nowhere_is_left_out(registry: Registry, digits: Dataset) -> None:
    train = Trainer(FLAT, spoil=lambda run: None if "leaky" in run.name else run)
    result = conducted(
        tuned_study(registry), train, digits, registry, seeds=range(3), fits=lambda spec: "leaky" not in spec.name
    )
    assert result.missing == 0
    assert result.tuned is not None
    assert result.tuned.arms == ("base", "bn")
    assert "leaky: no run." in result.notes


def test_leave_one_out_tunes_the_combinations_too(registry: Registry, digits: Dataset) -> None:
    train = Trainer(MOVED)
    study = tuned_study(registry, design="leave-one-out")
    result = conducted(study, train, digits, registry, seeds=range(3))
    assert result.tuned is not None
    assert result.tuned.arms == ("base", "leaky + bn", "bn", "leaky")


HALVED = (0.002, 0.01, 0.05, 0.1, 0.2)
APART = {"base": (0.5, 0.6, 0.9, 0.8, 0.7), "leaky": (0.9, 0.8, 0.7, 0.6, 0.5), "bn": (0.5, 0.6, 0.7, 0.8, 0.9)}


def halved_study(registry: Registry, **stated: Any) -> Study:
    return tuned_study(registry, tune={"learning_rate": list(HALVED)}, tune_seeds=4, tune_halving=True, **stated)


def test_the_better_half_of_each_arms_settings_goes_on_to_further_seeds(registry: Registry, digits: Dataset) -> None:
    result = conducted(halved_study(registry, margin=0.02), Trainer(APART, rates=HALVED), digits, registry)
    tuned = result.tuned
    assert tuned is not None
    assert (tuned.rounds, tuned.runs_of_each) == (((5, 1), (3, 2), (2, 4)), 5 + 3 + 2 * 2)
    seeds = {arm: {t.setting.values["learning_rate"]: len(t.runs) for t in tuned.of(arm)} for arm in tuned.arms}
    assert seeds == {
        "base": {0.05: 4, 0.1: 4, 0.2: 2, 0.01: 1, 0.002: 1},
        "leaky": {0.002: 4, 0.01: 4, 0.05: 2, 0.1: 1, 0.2: 1},
        "bn": {0.2: 4, 0.1: 4, 0.05: 2, 0.01: 1, 0.002: 1},
    }
    assert {sum(own.values()) for own in seeds.values()} == {tuned.runs_of_each}, "the budget is the same for all"
    choices = {arm: choice.setting.values["learning_rate"] for arm in tuned.arms if (choice := tuned.choice(arm))}
    assert choices == {"base": 0.05, "leaky": 0.002, "bn": 0.2}
    assert verdicts(result.claims) == {"leaky": "no practical difference", "bn": "no practical difference"}
    rivals = {trial.setting.values["learning_rate"] for trial in result.rivals if trial.arm == "base"}
    assert rivals == {0.002, 0.01, 0.1, 0.2}, "a claim is held against those that fell out early, too"


def test_a_round_waits_for_the_one_before(registry: Registry, digits: Dataset) -> None:
    def not_there(run: Run) -> Run | None:
        return None if (run.key.seed, run.name) == (100_001, "starter/default") else run

    train = Trainer(APART, rates=HALVED, spoil=not_there)
    result = conducted(halved_study(registry), train, digits, registry)
    assert result.tuned is not None
    assert (result.missing, result.tuned.missing, result.tuned.choice("base")) == (1, 1, None)
    assert {seed for _, seed in train.trained} & {100_002, 100_003} == set()


@pytest.mark.parametrize(
    ("settings", "seeds", "found"),
    [
        (3, 3, ((3, 1), (2, 2), (2, 3))),
        (9, 4, ((9, 1), (5, 2), (3, 4))),
        (4, 3, ((4, 1), (2, 2), (2, 3))),
        (1000, 5, ((1000, 1), (500, 2), (250, 4), (125, 5))),
    ],
)
def test_rounds(settings: int, seeds: int, found: Any) -> None:
    assert rounds(settings, seeds, is_halving=True) == found
    assert rounds(settings, seeds, is_halving=False) == ((settings, seeds),)
    assert runs_of(found) <= runs_of(((settings, seeds),)) == settings * seeds
    assert len({count for count, _ in found}) > 1
