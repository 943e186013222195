"""What a study may tune: how it is read, sampled and refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from zoo.errors import SpecError
from zoo.registry import Registry
from zoo.study.definition import Study, read_study

CHANGES: dict[str, Any] = {"leaky": {"activation": "leaky_relu"}, "bn": {"network.features.*.normalization": "batch"}}
RATES = {"learning_rate": [0.01, 0.05, 0.1]}


def a_study(registry: Registry, **stated: Any) -> Study:
    return read_study({"base": "starter/default", "changes": CHANGES, **stated}, registry=registry, name="s")


def test_all_combinations_are_tried_and_short_paths_do(registry: Registry) -> None:
    tune = a_study(registry, tune={**RATES, "momentum": [0.0, 0.9]}).tune
    assert tune is not None
    assert [setting.label for setting in tune.settings] == [
        f"learning_rate={rate}, momentum={momentum}" for rate in (0.01, 0.05, 0.1) for momentum in (0.0, 0.9)
    ]
    assert a_study(registry).tune is None


def test_an_arm_at_its_own_setting_is_the_one_that_is_not_tuned(registry: Registry) -> None:
    study = a_study(registry, tune=RATES)
    assert study.tune is not None
    specs = [setting.of(study.base, registry) for setting in study.tune.settings]
    assert [spec.name for spec in specs] == [
        "starter/default[learning_rate=0.01]", "starter/default", "starter/default[learning_rate=0.1]",
    ]  # fmt: skip
    assert specs[1].identity == study.base.identity


def test_each_setting_has_a_name_of_its_own(registry: Registry) -> None:
    """Also of what stands in the title of other tables."""
    study = a_study(registry, tune={"training.epochs": [5, 10, 20]})
    assert study.tune is not None
    assert [setting.of(study.base, registry).name for setting in study.tune.settings] == [
        "starter/default[training.epochs=5]", "starter/default", "starter/default[training.epochs=20]",
    ]  # fmt: skip


def test_a_sample_is_the_same_each_time_and_has_each_value_about_equally_often(registry: Registry) -> None:
    tuned = {"learning_rate": [0.001 * 2**i for i in range(8)], "momentum": [0.1 * i for i in range(8)]}
    first, second = (a_study(registry, tune=tuned, tune_budget=16).tune for _ in range(2))
    assert first is not None
    assert first == second
    labels = [setting.label for setting in first.settings]
    assert len(set(labels)) == 16
    for path in tuned:
        assert set(Counter(setting.values[path] for setting in first.settings).values()) <= {1, 2, 3}
    few = a_study(registry, tune=RATES, tune_budget=9).tune
    assert few is not None
    assert len(few.settings) == 3, "there are no more"


def test_a_range_is_covered_evenly_and_the_same_each_time(registry: Registry) -> None:
    ranges = {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "training.batch_size": {"low": 16, "high": 64}}
    first, second = (a_study(registry, tune=ranges, tune_budget=20).tune for _ in range(2))
    assert first is not None
    assert first == second
    rates, sizes = (
        [setting.values[path] for setting in first.settings] for path in ("learning_rate", "training.batch_size")
    )
    assert len({setting.label for setting in first.settings}) == 20
    assert all(0.001 <= rate <= 0.1 and rate == float(f"{rate:.3g}") for rate in rates)
    assert 8 <= sum(rate < 0.01 for rate in rates) <= 12, "by ratio, half of it lies below the middle"
    assert all(isinstance(size, int) and 16 <= size <= 64 for size in sizes)
    assert 8 <= sum(size < 40 for size in sizes) <= 12
    in_a_list = a_study(registry, tune={path: [one] for path, one in ranges.items()}, tune_budget=20).tune
    assert in_a_list == first, "so does the command line say it"


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"tune": ["learning_rate"]}, "tune: expected a table of paths and lists of values, got ['learning_rate']"),
        ({"tune": {}}, "tune: expected a table of paths and lists of values, got {}"),
        (
            {"tune": {"learning_rate": 0.1}},
            "tune.learning_rate: expected a list of values, such as [0.01, 0.1], or a range, such as { low = 0.001, "
            "high = 0.1, log = true }, got 0.1",
        ),
        (
            {"tune": {"learning_rate": {"low": 0.1, "high": 0.2}}},
            "tune: a range has no last value; state tune_budget, the number of settings to try",
        ),
        (
            {"tune": {"learning_rate": {"low": 0.2, "high": 0.1}}, "tune_budget": 3},
            "tune.learning_rate: low is to be less than high, got 0.2 and 0.1",
        ),
        (
            {"tune": {"learning_rate": {"low": 0, "high": 0.1, "log": True}}, "tune_budget": 3},
            "tune.learning_rate: ratios are of positive numbers, and low is 0; leave log out, or raise low",
        ),
        (
            {"tune": {"learning_rate": {"low": 0.1}}, "tune_budget": 3},
            "tune.learning_rate.high: expected a number, got None",
        ),
        (
            {"tune": {"learning_rate": {"low": 0.1, "high": 1.0, "step": 3}}, "tune_budget": 3},
            "tune.learning_rate: unknown key 'step'; a range has low, high and log",
        ),
        (
            {"tune": {"learning_rate": {"low": 0.1, "high": 1.0, "log": 1}}, "tune_budget": 3},
            "tune.learning_rate.log: expected true or false, got 1",
        ),
        (
            {"tune": {"learning_rate": {"low": 0.1, "high": 0.10001}}, "tune_budget": 3},
            "tune: the range has a single value, rounded to three digits; state a wider one",
        ),
        (
            {"tune": {"momentum": {"low": 0.5, "high": 1.5}}, "tune_budget": 3},
            "tune: 'base' cannot be trained with momentum=1.",
        ),
        (
            {"tune": {"learning_rate": {"low": 0.1, "high": 1.0}}, "tune_budget": 3, "tune_widen": 1},
            "tune_widen: none of what is tuned lists two numbers or more, beyond which there are others; leave it out",
        ),
        ({"tune": {"learning_rate": [0.1, 0.2, 0.1]}}, "tune.learning_rate: 0.1 is there twice"),
        (
            {"tune": {"learning_rate": [0.1]}},
            "tune: a single setting leaves nothing to choose; state more values, or set it in the base",
        ),
        (
            {"tune": RATES, "tune_budget": 1},
            "tune: a single setting leaves nothing to choose; state more values, or set it in the base",
        ),
        (
            {"tune": {"learning_rate": [0.001 * i for i in range(1, 51)], "momentum": [0.01 * i for i in range(50)]}},
            "tune: 2500 settings for each arm are more than 1000; state tune_budget, the number of settings that each "
            "arm is trained at",
        ),
        ({"tune_seeds": 5}, "tune_seeds: nothing is tuned; state tune, too, or leave it out"),
        ({"tune_budget": 5}, "tune_budget: nothing is tuned; state tune, too, or leave it out"),
        ({"tune_widen": 1}, "tune_widen: nothing is tuned; state tune, too, or leave it out"),
        (
            {"tune": {"training.optimizer": ["sgd", "adam"]}, "tune_widen": 1},
            "tune_widen: none of what is tuned lists two numbers or more, beyond which there are others; leave it out",
        ),
        (
            {"tune": {"learning_rate": [0.1, 0.2]}, "tune_widen": 500},
            "tune_widen: 500 times may make 1001 settings for each arm, and 1000 are the most; widen less often",
        ),
        ({"tune": RATES, "tune_seeds": 0}, "tune_seeds: expected a positive int, got 0"),
        ({"tune_halving": True}, "tune_halving: nothing is tuned; state tune, too, or leave it out"),
        (
            {"tune": {"learning_rate": [0.1, 0.2]}, "tune_halving": True},
            "tune_halving: of 2 settings with 3 tuning seeds it saves little or nothing; it takes 3 of each or more, "
            "or leave it out",
        ),
        (
            {"tune": {"learning_rate": [0.1, 0.2, 0.4]}, "tune_widen": 1, "tune_halving": True},
            "tune_halving: with tune_widen settings are added by the recalls of those before, which halving takes with "
            "unlike numbers of seeds; leave one of the two out",
        ),
        (
            {"tune": RATES, "select": "test"},
            "tune: settings are chosen by recall on the validation part, and this study selects on test, which must "
            'choose nothing; take select = "validation", or leave tune out',
        ),
        (
            {"tune": RATES, "folds": 5},
            "tune: with folds, claims are about other images than those at hand, which settings would be chosen on, "
            "and would suit too well; leave one of the two out",
        ),
        (
            {"tune": RATES, "design": "factorial"},
            "tune: it goes with the designs one-at-a-time and leave-one-out, whose claims are about pairs of arms, and "
            "not with factorial: that another setting might have been chosen is not in the error of its claims",
        ),
        (
            {"tune": RATES, "match": "parameters"},
            "tune: match compares with a widened base, which has not been tuned; leave one of the two out",
        ),
        (
            {"tune": {"momentum": [0.5, 0.9]}, "changes": {"adam": {"training.optimizer": "adam"}}},
            "tune: 'adam' cannot be trained with momentum=0.5: starter/default[adam]: the path 'momentum' matches "
            "nothing: nothing in the spec is called 'momentum'. All arms are trained at the same settings: tune what "
            "each of them has",
        ),
        (
            {"tune": {"learnin_rate": [0.5, 0.9]}},
            "tune: 'base' cannot be trained with learnin_rate=0.5: starter/default: the path 'learnin_rate' matches "
            "nothing: nothing in the spec is called 'learnin_rate'; did you mean learning_rate? All arms are "
            "trained at the same settings: tune what each of them has",
        ),
        (
            {"tune": {"learning_rate": [0.1, -1]}},
            "tune: 'base' cannot be trained with learning_rate=-1: spec 'starter/default': "
            "training.optimizer.learning_rate: expected a positive number, got -1. All arms are trained at "
            "the same settings: tune what each of them has",
        ),
        (
            {"tune": {"data.resize": [8, 16]}},
            "tune: data.resize=8 changes the data or how recall is measured, so that settings cannot be compared; tune "
            "what training does",
        ),
        (
            {"tune": RATES, "changes": {"slow": {"learning_rate": 0.01}}},
            "tune: with learning_rate=0.01, change 'slow' is the base: it sets what is tuned. Leave it out, or do not "
            "tune that",
        ),
    ],
)
def test_what_cannot_be_tuned_is_one_error(registry: Registry, stated: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as raised:
        a_study(registry, **stated)
    assert str(raised.value).startswith(f"study 's': {message}")
