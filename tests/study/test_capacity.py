"""A widened base is as large as the changed network that it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import BuildError
from zoo.network.builder import construct
from zoo.registry import Registry, default_registry
from zoo.spec import Spec, paths
from zoo.spec.resolve import resolve
from zoo.study.capacity import Measure, widened
from zoo_plugins.eq2425 import changes

INPUTS = {"starter/default": (1, 8, 8), "eq2425-corrected/default": (3, 32, 32)}
MEASURES: tuple[Measure, ...] = ("parameters", "flops")


def size(spec: Spec, measure: Measure, registry: Registry, input_shape: tuple[int, int, int] = (1, 8, 8)) -> int:
    built = construct(spec, input_shape, 10, seed=0, registry=registry)
    return built.parameters if measure == "parameters" else built.flops


def spec_of(registry: Registry, sets: dict[str, Any]) -> Spec:
    return paths.apply(resolve("starter/default", registry=registry), sets, registry)


def widths(spec: Spec) -> list[int]:
    return [*(block.filters for block in spec.network.features), *(dense.units for dense in spec.network.classifier)]


def widened_like(registry: Registry, base: Spec, like: Spec, measure: Measure = "parameters") -> Spec:
    made = widened(base, like, measure, input_shape=(1, 8, 8), classes=10, registry=registry)
    assert made is not None
    return made


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("code", ["4a1", "4a2", "4b", "4e"])
@pytest.mark.parametrize("name", INPUTS)
def test_the_changes_of_the_study_are_matched_within_three_percent(
    registry: Registry, name: str, code: str, measure: Measure
) -> None:
    base = resolve(name, registry=registry)
    like = paths.apply(base, changes(always_on=False)[code], registry)
    wanted, own = (size(spec, measure, registry, INPUTS[name]) for spec in (like, base))
    made = widened(base, like, measure, input_shape=INPUTS[name], classes=10, registry=registry)
    if wanted <= 1.01 * own:
        assert made is None, "what is not larger needs no larger base"
        return
    assert made is not None
    assert size(made, measure, registry, INPUTS[name]) == pytest.approx(wanted, rel=0.03)
    assert made.training == base.training


def test_which_changes_make_the_network_larger(registry: Registry) -> None:
    found = {
        (name, code, measure)
        for name, shape in INPUTS.items()
        for code in ("4a1", "4a2", "4b", "4e")
        for measure in MEASURES
        if widened(
            base := resolve(name, registry=registry),
            paths.apply(base, changes(always_on=False)[code], registry),
            measure,
            input_shape=shape,
            classes=10,
            registry=registry,
        )
    }
    corrected, starter = "eq2425-corrected/default", "starter/default"
    assert found == {
        *((name, code, measure) for name in INPUTS for code in ("4a1", "4a2") for measure in MEASURES),
        *((starter, "4b", measure) for measure in MEASURES),
        # Without padding the larger filters leave smaller maps, and so a smaller dense layer.
        (corrected, "4b", "flops"),
    }, "batch normalization adds less than 1%"


def test_the_name_says_the_factor_and_no_reference_is_kept(registry: Registry) -> None:
    base = resolve("eq2425/default", registry=registry)
    like = paths.apply(base, {"network.features.*.filters": 100}, registry)
    made = widened(base, like, "parameters", input_shape=(3, 32, 32), classes=10, registry=registry)
    assert made is not None
    factor = widths(made)[-1] / 512
    assert made.name.startswith("eq2425/default[width x1.")
    assert float(made.name.rpartition("x")[2].rstrip("]")) == pytest.approx(factor, abs=0.002)
    assert base.reference is not None
    assert made.reference is None, "a publication's figures are not those of a wider network"


@settings(max_examples=15)
@given(
    filters=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    units=st.lists(st.integers(1, 60), max_size=2),
    factor=st.floats(1.1, 4),
    measure=st.sampled_from(MEASURES),
)
def test_all_widths_grow_by_one_factor_and_no_other_comes_closer(
    filters: list[int], units: list[int], factor: float, measure: Measure
) -> None:
    registry = default_registry()
    base, like = (
        spec_of(
            registry,
            {
                "network.features": [{"filters": round(n * f), "filter": {"name": "conv", "size": 1}} for n in filters],
                "network.classifier": [{"units": round(n * f)} for n in units],
            },
        )
        for f in (1, factor)
    )
    made = widened(base, like, measure, input_shape=(1, 4, 4), classes=10, registry=registry)
    wanted, own = (size(spec, measure, registry, (1, 4, 4)) for spec in (like, base))
    assert (made is None) == (wanted <= 1.01 * own)
    if made is None:
        return
    reached = abs(size(made, measure, registry, (1, 4, 4)) - wanted)
    assert reached == 0, "the same factor makes the same network"
    assert all(new >= old for new, old in zip(widths(made), widths(base), strict=True))


@settings(max_examples=5)
@given(filters=st.integers(30, 200), measure=st.sampled_from(MEASURES))
def test_what_is_as_large_as_a_larger_network_is_larger(filters: int, measure: Measure) -> None:
    registry = default_registry()
    base = resolve("starter/default", registry=registry)
    smaller, larger = (
        widened_like(registry, base, spec_of(registry, {"network.features.0.filters": n}), measure)
        for n in (filters + 30, 2 * filters + 60)
    )
    assert all(a <= b for a, b in zip(widths(smaller), widths(larger), strict=True))
    assert widths(smaller) != widths(larger)


def test_widths_stay_divisible_where_a_variant_needs_it(registry: Registry) -> None:
    sets = {"network.features.*.normalization": {"name": "group", "groups": 8}}
    base, like = spec_of(registry, sets), spec_of(registry, {**sets, "network.features.*.filters": 160})
    *filters, units = widths(widened_like(registry, base, like))
    assert filters != widths(base)[:-1]
    assert all(width % 8 == 0 for width in filters)
    assert units % 8, "what needs no divisor is rounded to whole numbers"


def test_widths_stay_divisible_by_the_groups_of_the_next_convolution(registry: Registry) -> None:
    sets = {"network.features.1.filter.groups": 6}
    base, like = spec_of(registry, sets), spec_of(registry, {**sets, "network.classifier.0.units": 2000})
    first, second, third, _ = widths(widened_like(registry, base, like))
    assert (first % 6, second % 6) == (0, 0)
    assert third > 96


RIGID = """
from torch import nn

import zoo


@zoo.hookimpl
def zoo_register_filters(register):
    register("rigid", rigid)
    register("at_most_30", at_most_30)


def rigid(shape, filters):
    if filters != 24:
        raise ValueError("only 24 filters")
    return nn.Conv2d(shape[0], filters, 3, padding=1)


def at_most_30(shape, filters):
    if filters > 30:
        raise ValueError("at most 30 filters")
    return nn.Conv2d(shape[0], filters, 3, padding=1)
"""


@pytest.mark.parametrize(("name", "reason"), [("rigid", "only 24 filters"), ("at_most_30", "at most 30 filters")])
def test_a_base_that_cannot_be_widened_is_one_error(tmp_path: Path, name: str, reason: str) -> None:
    file = tmp_path / "stiff.py"
    file.write_text(RIGID, encoding="utf-8")
    registry = Registry(files=[file]).require_sound()
    base = spec_of(registry, {"network.features.0.filter": name})
    with pytest.raises(BuildError) as caught:
        widened_like(registry, base, spec_of(registry, {"network.classifier.0.units": 2000}))
    text = str(caught.value)
    assert text.startswith(
        "starter/default cannot be made as large as starter/default by wider layers: starter/default: "
        f"network.features[0].filter: {name} does not fit its input of 1x8x8: {reason}"
    )
    assert text.endswith("; leave out the comparison with a widened base")


def test_a_base_without_widths_is_an_error(registry: Registry) -> None:
    base = spec_of(registry, {"network.features": [], "network.classifier": []})
    with pytest.raises(BuildError) as caught:
        widened_like(registry, base, resolve("starter/4c", registry=registry))
    assert str(caught.value) == (
        "starter/default cannot be made as large as starter/4c by wider layers: wider layers do not make it larger; "
        "leave out the comparison with a widened base"
    )
