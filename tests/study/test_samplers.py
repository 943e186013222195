"""Settings that Optuna's samplers suggest."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from made_tuning import FLAT, Trainer, tuned_study

from zoo.errors import SpecError, ZooError
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.study.trials import Tuned
from zoo.study.tuning import tune_further, tuning_seeds
from zoo.train.run import Run

RATES = {"learning_rate": {"low": 0.001, "high": 0.3, "log": True}}
BEST = {"base": 0.2, "leaky": 0.1, "bn": 0.02}


class Continuous(Trainer):
    """Makes runs whose recall falls off beside their arm's best rate."""

    def __init__(self, lacks: Sequence[str] = ()) -> None:
        super().__init__(FLAT)
        self.lacks = lacks

    def _run(self, spec: Spec, seed: int) -> Run | None:
        if spec.name in self.lacks:
            return None
        arm = next((name for name in ("leaky", "bn") if name in spec.name.partition("[")[2]), "base")
        rate = spec.training.optimizer.values()["learning_rate"]
        self.trained[spec.name, seed] = run = self._made(spec, seed, 0.9 - 0.1 * abs(math.log10(rate / BEST[arm])))
        return run


def tuned(registry: Registry, train: Trainer, **stated: Any) -> Tuned:
    stated = {"tune": RATES, "tune_budget": 10, "tune_sampler": "optuna:tpe", "tune_seeds": 2, **stated}
    study = tuned_study(registry, **stated)
    found, result, _ = tune_further(study, train, seeds=tuning_seeds(study, range(5)), classes=10, registry=registry)
    assert found.tune is not None
    assert [trial.setting for trial in result.trials] == [*found.tune.settings] * len(result.arms)
    return result


@pytest.mark.parametrize("sampler", ["optuna:tpe", "optuna:gp"])
def test_every_arm_is_trained_at_what_is_suggested_to_any(registry: Registry, sampler: str) -> None:
    train = Continuous()
    found = tuned(registry, train, tune_sampler=sampler)
    rates = [trial.setting.values["learning_rate"] for trial in found.of("base")]
    assert len(set(rates)) == 10
    assert len(train.trained) == 3 * 10 * 2, "the budget is the same for all, and no run is trained for nothing"
    assert all(0.001 <= rate <= 0.3 and rate == float(f"{rate:.3g}") for rate in rates)
    assert rates[:4] == [
        s.values["learning_rate"]
        for s in tuned_study(registry, tune=RATES, tune_budget=4).tune.settings  # type: ignore[union-attr]
    ], "it begins with the quasi-random sample"
    off = [min(abs(math.log10(rate / best)) for best in BEST.values()) for rate in rates]
    assert sum(off[4:]) / 6 < sum(off[:4]) / 4, "what is suggested is nearer to what is best for an arm"
    assert found.sampler == sampler
    assert [trial.setting for trial in tuned(registry, Continuous(), tune_sampler=sampler).trials] == [
        trial.setting for trial in found.trials
    ], "a study that is given again comes to the same"


def test_nothing_is_suggested_while_runs_are_missing(registry: Registry) -> None:
    whole = tuned(registry, Continuous())
    last = whole.of("bn")[6].runs[0].name
    open_ = tuned(registry, Continuous(lacks=[last]))
    assert open_.missing == 2
    assert len(open_.of("base")) == 7, "those of its round are known"
    assert [t.setting for t in open_.of("bn")] == [t.setting for t in whole.of("bn")][:7]


def test_settings_of_lists_are_not_tried_twice(registry: Registry) -> None:
    lists = {
        "learning_rate": [0.01, 0.02, 0.04, 0.08],
        "momentum": [0.5, 0.9],
        "training.batch_size": {"low": 16, "high": 17},
    }
    found = tuned(registry, Continuous(), tune=lists, tune_budget=14)
    assert len({trial.setting.label for trial in found.of("base")}) == 14


def test_optuna_that_is_not_there_is_one_error(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ZooError) as raised:
        tuned(registry, Continuous())
    assert str(raised.value) == (
        "tune_sampler: optuna:tpe needs Optuna: pip install 'layer-zoo[optuna]'; or leave tune_sampler out, and "
        "settings are taken from a quasi-random sample"
    )


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (
            {"tune_budget": None},
            "tune_sampler: state tune_budget, too: the number of settings that each arm is trained",
        ),
        ({"tune_budget": 2}, "tune_sampler: it takes a tune_budget of 3 or more, got 2"),
        (
            {"tune": {"learning_rate": [0.1, 0.2, 0.3, 0.4]}},
            "tune_sampler: tune_budget = 10 tries all 4 settings that there are; leave it out",
        ),
        (
            {"tune_widen": 1},
            "tune_sampler: it goes with ranges that are wide enough, and not with tune_widen; leave one",
        ),
        ({"tune_sampler": "optuna:cmaes"}, "tune_sampler: expected "),
    ],
)
def test_what_cannot_be_suggested_is_one_error(registry: Registry, stated: dict[str, Any], message: str) -> None:
    whole = {"tune": RATES, "tune_budget": 10, "tune_sampler": "optuna:tpe", **stated}
    if whole["tune"] == RATES and whole["tune_budget"] is None:
        whole["tune"] = {"learning_rate": [0.1, 0.2, 0.3]}
    with pytest.raises(SpecError) as raised:
        tuned_study(registry, **{key: value for key, value in whole.items() if value is not None})
    assert str(raised.value).startswith(f"study 's': {message}")
