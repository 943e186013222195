"""The initializers: the distribution of what they fill in."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoo.registry import default_registry
from zoo.spec.reading import read_choice
from zoo_plugins import initializers

# 48,000 numbers.
SHAPE = (80, 24, 5, 5)
FAN_IN, FAN_OUT = 24 * 25, 80 * 25
VARIANCES = [
    (initializers.he, {}, 2 / FAN_IN, "normal"),
    (initializers.he, {"mode": "fan_out"}, 2 / FAN_OUT, "normal"),
    (initializers.he, {"distribution": "uniform"}, 2 / FAN_IN, "uniform"),
    (initializers.he, {"mode": "fan_out", "distribution": "uniform"}, 2 / FAN_OUT, "uniform"),
    (initializers.xavier, {}, 2 / (FAN_IN + FAN_OUT), "uniform"),
    (initializers.xavier, {"distribution": "normal"}, 2 / (FAN_IN + FAN_OUT), "normal"),
]


def filled(factory, shape=SHAPE, seed=0, **options):
    weight = torch.nn.Parameter(torch.full(shape, 9.0))
    torch.manual_seed(seed)
    factory(weight, **options)
    return weight.detach()


@pytest.mark.parametrize(("factory", "options", "variance", "distribution"), VARIANCES)
def test_the_weights_have_the_stated_distribution(factory, options, variance, distribution):
    weight = filled(factory, **options).double().flatten().numpy()
    if distribution == "normal":
        expected = stats.norm(0, math.sqrt(variance))
    else:
        bound = math.sqrt(3 * variance)
        expected = stats.uniform(-bound, 2 * bound)
    test = stats.kstest(weight, expected.cdf)
    assert test.pvalue > 0.001, (
        f"{factory.__name__} with {options} is not {distribution} with variance {variance}: {test}"
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 3), st.floats(0.1, 3))
def test_orthogonal_rows_or_columns_are_orthonormal_times_the_gain(rows, channels, size, gain):
    matrix = filled(initializers.orthogonal, (rows, channels, size, size), gain=gain).double().flatten(1).numpy()
    gram = matrix @ matrix.T if rows <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, gain**2 * np.eye(len(gram)), atol=1e-5)


def test_default_leaves_the_weight_as_the_layer_made_it():
    assert (filled(initializers.default) == 9).all()


@pytest.mark.parametrize("name", ["he", "xavier", "orthogonal"])
def test_draws_come_from_torchs_global_generator(name):
    factory = default_registry().variant("initializer", name).factory
    assert torch.equal(filled(factory, seed=1), filled(factory, seed=1))
    assert not torch.equal(filled(factory, seed=1), filled(factory, seed=2))


@pytest.mark.parametrize("variant", default_registry().variants("initializer").values(), ids=lambda v: v.name)
def test_every_initializer_fills_in_place_without_a_gradient(variant):
    for shape in [(6, 4), (6, 4, 3, 3)]:
        weight = torch.nn.Parameter(torch.zeros(shape))
        choice = read_choice("initializer", variant.name, "test", default_registry())
        given = {"module": torch.nn.Module(), "name": "filter.weight", "role": "filter", "images": None}
        variant.make(choice.values(), weight=weight, **given)
        assert weight.shape == shape
        assert weight.is_leaf, f"{variant.name}: filling must not be recorded for the gradient"
        assert weight.isfinite().all(), f"{variant.name}: it must give finite weights"


def test_dirac_passes_channels_on_and_leaves_the_rest_to_another():
    variant = default_registry().variant("initializer", "dirac")
    for others, check in (("default", lambda rest: (rest == 9).all()), ("he", lambda rest: rest.std() > 0)):
        options = variant.options()
        values = {"others": read_choice("initializer", others, "others", default_registry())}
        weight = torch.full((5, 3, 3, 3), 9.0)
        variant.make(values, weight=weight)
        x = torch.randn(2, 3, 4, 4)
        torch.testing.assert_close(torch.nn.functional.conv2d(x, weight, padding=1)[:, :3], x)
        assert check(weight[3:])
        assert options.others is not None
    dense = torch.full((5, 3), 9.0)
    variant.make({"others": read_choice("initializer", "default", "others", default_registry())}, weight=dense)
    assert (dense == 9).all()
