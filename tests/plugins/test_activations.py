"""The activations, against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import erf, expit

from zoo.registry import default_registry
from zoo_plugins import activations

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

numbers = st.floats(-20, 20)
positive = st.floats(0.1, 10)
inputs = arrays(np.float64, (2, 3, 2, 2), elements=numbers)

NOTHING = st.just({})
FORMULAS = {
    "relu": (NOTHING, lambda x: np.maximum(0, x)),
    "leaky_relu": (
        st.fixed_dictionaries({}, optional={"slope": st.floats(0, 2)}),
        lambda x, slope=0.01: np.where(x > 0, x, slope * x),
    ),
    "relu6": (NOTHING, lambda x: np.clip(x, 0, 6)),
    "thresholded_relu": (
        st.fixed_dictionaries({}, optional={"theta": positive}),
        lambda x, theta=1.0: np.where(x > theta, x, 0),
    ),
    "squared_relu": (NOTHING, lambda x: np.maximum(0, x) ** 2),
    "elu": (
        st.fixed_dictionaries({}, optional={"alpha": positive}),
        lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    ),
    "celu": (
        st.fixed_dictionaries({}, optional={"alpha": positive}),
        lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
    ),
    "selu": (NOTHING, lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))),
    "gelu": (
        st.fixed_dictionaries({}, optional={"approximate": st.sampled_from(["none", "tanh"])}),
        lambda x, approximate="none": (
            x
            * (
                1
                + (
                    erf(x / np.sqrt(2))
                    if approximate == "none"
                    else np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
                )
            )
            / 2
        ),
    ),
    "silu": (NOTHING, lambda x: x * expit(x)),
    "mish": (NOTHING, lambda x: x * np.tanh(np.logaddexp(0, x))),
    "hardswish": (NOTHING, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "softplus": (
        st.fixed_dictionaries({}, optional={"beta": positive, "threshold": positive}),
        lambda x, beta=1.0, threshold=20.0: np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta),
    ),
    "sigmoid": (NOTHING, expit),
    "hardsigmoid": (NOTHING, lambda x: np.clip(x + 3, 0, 6) / 6),
    "log_sigmoid": (NOTHING, lambda x: -np.logaddexp(0, -x)),
    "tanh": (NOTHING, np.tanh),
    "hardtanh": (
        st.fixed_dictionaries({}, optional={"minimum": st.floats(-5, -0.5), "maximum": st.floats(-0.4, 5)}),
        lambda x, minimum=-1.0, maximum=1.0: np.clip(x, minimum, maximum),
    ),
    "tanhshrink": (NOTHING, lambda x: x - np.tanh(x)),
    "softsign": (NOTHING, lambda x: x / (1 + np.abs(x))),
    "softshrink": (
        st.fixed_dictionaries({}, optional={"strength": positive}),
        lambda x, strength=0.5: np.sign(x) * np.maximum(np.abs(x) - strength, 0),
    ),
    "hardshrink": (
        st.fixed_dictionaries({}, optional={"strength": positive}),
        lambda x, strength=0.5: np.where(np.abs(x) > strength, x, 0),
    ),
    "none": (NOTHING, lambda x: x),
}
TESTED_APART = {"prelu", "rrelu", "glu"}


def test_every_activation_is_compared_with_a_formula():
    registered = default_registry().variants("activation").values()
    here = {variant.name for variant in registered if variant.plugin.name == activations.__name__}
    assert here == set(FORMULAS) | TESTED_APART


@pytest.mark.parametrize("name", FORMULAS)
def test_it_computes_its_formula(name):
    factory = default_registry().variant("activation", name).factory
    options, formula = FORMULAS[name]

    @settings(deadline=None, max_examples=40)
    @given(inputs, options)
    def check(x, options):
        actual = factory(**options)(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(
            actual, formula(x, **options), rtol=1e-7, atol=1e-8, err_msg=f"{name} with {options}"
        )

    check()


@settings(deadline=None, max_examples=40)
@given(inputs, st.floats(-1, 1))
def test_prelu_starts_as_a_leaky_relu_with_one_slope(x, initial):
    module = activations.prelu((3, 2, 2), initial=initial).double()
    assert [tuple(weight.shape) for weight in module.parameters()] == [(1,)]
    expected = np.where(x > 0, x, np.float32(initial) * x)
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), expected)


@pytest.mark.parametrize("shape", [(3, 2, 2), (3,)])
def test_prelu_can_learn_a_slope_for_each_channel(shape):
    module = activations.prelu(shape, per_channel=True)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.1, 0.2, 0.3]))
    y = module(-torch.ones(1, *shape))
    expected = -torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, *[1] * (len(shape) - 1)).expand_as(y)
    torch.testing.assert_close(y, expected)


@settings(deadline=None, max_examples=40)
@given(inputs, st.floats(0, 0.4), st.floats(0.5, 1))
def test_rrelu_draws_a_slope_for_each_element_and_takes_the_mean_in_evaluation(x, lower, upper):
    module = activations.rrelu(lower=lower, upper=upper)
    y = module(torch.from_numpy(x)).numpy()
    negative = x < -1e-3
    slopes = y[negative] / x[negative]
    assert (slopes >= lower - 1e-9).all()
    assert (slopes <= upper + 1e-9).all()
    assert len(set(slopes.round(12))) == len(slopes), "each element must have a slope of its own"
    np.testing.assert_array_equal(y[x >= 0], x[x >= 0])
    mean = module.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(mean, np.where(x > 0, x, (lower + upper) / 2 * x))


def test_rrelu_refuses_an_empty_range():
    with pytest.raises(ValueError, match=r"^lower = 0\.5 must be below upper = 0\.5$"):
        activations.rrelu(lower=0.5, upper=0.5)


def test_hardtanh_refuses_an_empty_range():
    with pytest.raises(ValueError, match=r"^minimum = 2\.0 must be below maximum = 1\.0$"):
        activations.hardtanh(minimum=2.0, maximum=1.0)


@settings(deadline=None, max_examples=40)
@given(arrays(np.float64, st.sampled_from([(2, 4, 2, 3), (2, 4)]), elements=numbers))
def test_glu_gates_the_first_half_of_the_channels_by_the_second(x):
    actual = activations.glu(x.shape[1:])(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(actual, x[:, :2] * expit(x[:, 2:]), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("shape", "what"), [((3, 4, 4), "channels"), ((3,), "units")])
def test_glu_refuses_an_odd_number(shape, what):
    message = f"^a gated linear unit needs an even number of {what}, of which one half gates the other$"
    with pytest.raises(ValueError, match=message):
        activations.glu(shape)


def test_none_is_left_out_by_the_builder():
    assert isinstance(activations.identity(), torch.nn.Identity)
