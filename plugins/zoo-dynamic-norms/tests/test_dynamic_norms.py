"""What each must do as a normalization, and what it computes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from zoo_dynamic_norms._normalizations import DynamicErf, DynamicISRU, DynamicTanh

import zoo.testing

finite = st.floats(-50, 50, width=32)
positive = st.floats(0.015625, 8, width=32)
channels = st.integers(1, 5)


@zoo.testing.conformance("zoo-dynamic-norms")
def test_conformance(check):
    check()


def applied(layer, x):
    """The value that a layer makes of a number."""
    with torch.no_grad():
        return layer.double()(torch.full((1, layer.scale.numel()), x, dtype=torch.float64))[0, 0].item()


@given(finite, positive, channels)
def test_dynamic_tanh(x, alpha, count):
    assert applied(DynamicTanh(count, alpha, True), x) == pytest.approx(math.tanh(alpha * x), abs=1e-12)


@given(finite, positive, finite, channels)
def test_dynamic_erf(x, alpha, shift, count):
    assert applied(DynamicErf(count, alpha, shift, True), x) == pytest.approx(math.erf(alpha * x + shift), abs=1e-12)


@given(finite, channels)
def test_dynamic_isru(x, count):
    expected = math.sqrt(count) * x / math.sqrt(count + x * x)
    assert applied(DynamicISRU(count, True), x) == pytest.approx(expected, abs=1e-6)


@given(st.lists(finite, min_size=2, max_size=6))
def test_dynamic_isru_is_rms_normalization_when_beta_is_the_sum_of_the_others_squares(values):
    beta = sum(value * value for value in values[1:])
    if beta < 1e-6:  # its logarithm is learned, so that it is positive
        return
    layer = DynamicISRU(len(values), True)
    torch.nn.init.constant_(layer.log_beta, math.log(beta))
    x = torch.tensor([values], dtype=torch.float64)
    # Without torch's epsilon, which the paper has not either.
    normalized = x / x.square().mean().sqrt()
    assert layer.double()(x)[0, 0].item() == pytest.approx(normalized[0, 0].item(), abs=1e-4)


@pytest.mark.parametrize("shape", [(3,), (3, 4, 2)])
def test_scale_and_offset_are_learned_for_each_channel(shape):
    layer = DynamicTanh(3, 0.5, True)
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([1.0, 2.0, 3.0]))
        layer.offset.copy_(torch.tensor([0.0, 0.0, -3.0]))
    y = layer(torch.full((1, *shape), 100.0))
    assert [y[0, channel].unique().item() for channel in range(3)] == [1.0, 2.0, 0.0]


@pytest.mark.parametrize("layer", [DynamicTanh(3, 0.5, False), DynamicErf(3, 0.5, 0.0, False), DynamicISRU(3, False)])
def test_without_affine_only_the_function_is_learned(layer):
    assert all(parameter.dim() == 0 for parameter in layer.parameters())
    assert layer(torch.zeros(2, 3)).abs().sum() == 0


def test_no_value_moves_another():
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    for layer in (DynamicTanh(3, 0.5, True), DynamicErf(3, 0.5, 0.1, True), DynamicISRU(3, True)):
        changed = x.clone()
        changed[0, 0, 0, 0] += 1
        assert (layer(changed) != layer(x)).sum() == 1
