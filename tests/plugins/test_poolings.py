"""The poolings, against their definition over explicit windows, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.errors import SpecError
from zoo.registry import default_registry
from zoo.spec import structure
from zoo_plugins import poolings

strides = st.one_of(st.none(), st.integers(1, 3))
batches = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 8), st.integers(1, 8)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-10, 10))
)


def applied(module, x):
    return module.double()(torch.from_numpy(x)).detach().numpy()


def windows(x, size, stride, padding=0, fill=0.0):
    """Every window of a batch: (batch, channels, rows, columns, size, size)."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    step = stride or size
    return views[:, :, ::step, ::step]


@settings(deadline=None, max_examples=60)
@given(batches, st.integers(1, 4), strides, st.integers(0, 2))
def test_max_takes_the_largest_value_of_each_window(x, size, stride, padding):
    assume(padding <= size // 2 and size <= min(x.shape[2:]) + 2 * padding)
    module = poolings.maximum(x.shape[1:], size=size, stride=stride, padding=padding)
    expected = windows(x, size, stride, padding, fill=-np.inf).max((4, 5))
    np.testing.assert_array_equal(applied(module, x), expected)


@settings(deadline=None, max_examples=60)
@given(batches, st.integers(1, 4), strides, st.integers(0, 2))
def test_average_takes_the_mean_of_each_window(x, size, stride, padding):
    assume(padding <= size // 2 and size <= min(x.shape[2:]) + 2 * padding)
    module = poolings.average(x.shape[1:], size=size, stride=stride, padding=padding)
    np.testing.assert_allclose(applied(module, x), windows(x, size, stride, padding).mean((4, 5)), atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(batches, st.integers(1, 4), strides, st.integers(0, 2))
def test_concat_has_the_largest_values_and_then_the_means(x, size, stride, padding):
    assume(padding <= size // 2 and size <= min(x.shape[2:]) + 2 * padding)
    module = poolings.concat(x.shape[1:], size=size, stride=stride, padding=padding)
    largest = windows(x, size, stride, padding, fill=-np.inf).max((4, 5))
    means = windows(x, size, stride, padding).mean((4, 5))
    np.testing.assert_allclose(applied(module, x), np.concatenate([largest, means], 1), atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(batches, st.integers(1, 4), strides, st.floats(1, 5))
def test_lp_takes_the_norm_of_each_window(x, size, stride, power):
    assume(size <= min(x.shape[2:]))
    module = poolings.lp(x.shape[1:], power=power, size=size, stride=stride)
    expected = (np.abs(windows(x, size, stride)) ** power).sum((4, 5)) ** (1 / power)
    np.testing.assert_allclose(applied(module, x), expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(batches, st.integers(1, 7), strides)
def test_blur_is_a_binomial_filter_with_reflected_borders(x, size, stride):
    assume(size // 2 < min(x.shape[2:]))
    row = np.array([math.comb(size - 1, i) for i in range(size)]) / 2 ** (size - 1)
    sides = ((size - 1) // 2, size // 2)
    padded = np.pad(x, ((0, 0), (0, 0), sides, sides), mode="reflect")
    expected = np.einsum("ncyxhw,h,w->ncyx", windows(padded, size, stride), row, row)
    actual = applied(poolings.blur(x.shape[1:], size=size, stride=stride), x)
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    assert actual.shape[2:] == tuple(math.ceil(n / (stride or size)) for n in x.shape[2:])


def test_blur_learns_nothing_and_adds_nothing_to_a_saved_state():
    module = poolings.blur((3, 8, 8))
    assert not list(module.parameters())
    assert not module.state_dict()
    assert str(module) == "Blur(size=3, stride=2)"


def test_the_gradient_of_a_blur():
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(poolings.blur((2, 5, 4), size=4).double(), x)


@settings(deadline=None, max_examples=60)
@given(batches, st.integers(1, 4), strides, st.integers(0, 3), st.booleans())
def test_strided_convolution_keeps_the_channels(x, size, stride, padding, bias):
    assume(size <= min(x.shape[2:]) + 2 * padding)
    options = {"size": size, "stride": stride, "padding": padding, "bias": bias}
    module = poolings.strided_convolution(x.shape[1:], **options).double()
    weight, *biases = module.parameters()
    assert weight.shape == (x.shape[1], x.shape[1], size, size)
    assert len(biases) == bias
    expected = np.einsum("ncyxhw,ochw->noyx", windows(x, size, stride, padding), weight.detach().numpy())
    if bias:
        expected = expected + biases[0].detach().numpy()[:, None, None]
    np.testing.assert_allclose(applied(module, x), expected, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(batches)
def test_global_average_is_the_mean_of_each_channel(x):
    expected = x.mean((2, 3), keepdims=True)
    np.testing.assert_allclose(applied(poolings.global_average(), x), expected, atol=1e-12)


@pytest.mark.parametrize(
    "factory", [poolings.maximum, poolings.average, poolings.concat, poolings.lp, poolings.strided_convolution]
)
def test_a_window_larger_than_the_map_is_refused(factory):
    with pytest.raises(ValueError, match=r"^its window of 3x3 is larger than its map of 2x4$"):
        factory((3, 2, 4), size=3)


@pytest.mark.parametrize("factory", [poolings.maximum, poolings.average, poolings.concat, poolings.strided_convolution])
def test_padding_counts_when_a_window_is_fitted(factory):
    with pytest.raises(ValueError, match=r"^its window of 5x5 is larger than its map of 2x4 padded to 4x6$"):
        factory((3, 2, 4), size=5, padding=1)


@pytest.mark.parametrize("factory", [poolings.maximum, poolings.average, poolings.concat])
def test_padding_of_more_than_half_a_window_is_refused(factory):
    message = "^padding = 2 is more than half of size = 3: a window could hold nothing else$"
    with pytest.raises(ValueError, match=message):
        factory((3, 8, 8), size=3, padding=2)


def test_a_blur_needs_a_border_to_reflect():
    message = "^a blur of size 5 reflects 2 values at the border, its map of 8x2 has too few$"
    with pytest.raises(ValueError, match=message):
        poolings.blur((3, 8, 2), size=5)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"name": "blur", "size": 8}, "expected an int from 1 to 7, got 8"),
        ({"name": "lp", "power": 0.5}, "expected a finite number of 1 or more, got 0.5"),
    ],
)
def test_impossible_options_are_refused_when_the_spec_is_read(choice, expected):
    block = {"filters": 4, "pooling": choice}
    tree = {"network": {"features": [block]}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    with pytest.raises(SpecError) as caught:
        structure(tree, "mine", default_registry())
    assert expected in str(caught.value)


def test_none_is_left_out_by_the_builder():
    assert isinstance(poolings.identity(), torch.nn.Identity)
