"""The normalizations, against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo_plugins import normalizations

shapes = st.one_of(
    st.tuples(st.sampled_from([4, 6]), st.integers(1, 4), st.integers(2, 4)), st.tuples(st.sampled_from([4, 6]))
)
maps = st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(2, 4))
epsilons = st.floats(1e-6, 1.0)


@st.composite
def batches(draw, shapes=shapes):
    """(batch, *shape) as an array."""
    shape = draw(shapes)
    return draw(arrays(np.float64, (draw(st.integers(2, 4)), *shape), elements=st.floats(-10, 10)))


def applied(module, x):
    return module.double()(torch.from_numpy(x)).detach().numpy()


def standardized(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def axes_but(x, *kept):
    return tuple(axis for axis in range(x.ndim) if axis not in kept)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(batches(), epsilons)
def test_batch_normalizes_each_channel_over_the_batch(x, epsilon):
    module = normalizations.batch(x.shape[1:], epsilon=epsilon)
    close(applied(module, x), standardized(x, axes_but(x, 1), epsilon))


@settings(deadline=None, max_examples=40)
@given(batches(), st.floats(0, 1))
def test_batch_evaluates_with_running_statistics_that_move_by_the_momentum(x, momentum):
    module = normalizations.batch(x.shape[1:], momentum=momentum)
    applied(module, x)
    axes = axes_but(x, 1)
    mean = momentum * x.mean(axes, keepdims=True)
    variance = 1 - momentum + momentum * x.var(axes, keepdims=True, ddof=1)
    close(applied(module.eval(), x), (x - mean) / np.sqrt(variance + 1e-5))


@settings(deadline=None, max_examples=40)
@given(batches(maps.map(lambda shape: (2 * shape[0], *shape[1:]))), epsilons)
def test_group_normalizes_each_group_of_channels(x, epsilon):
    module = normalizations.group(x.shape[1:], groups=2, epsilon=epsilon)
    groups = x.reshape(len(x), 2, -1)
    close(applied(module, x), standardized(groups, 2, epsilon).reshape(x.shape))


@settings(deadline=None, max_examples=40)
@given(batches(), epsilons)
def test_layer_normalizes_each_image(x, epsilon):
    close(applied(normalizations.layer(x.shape[1:], epsilon=epsilon), x), standardized(x, axes_but(x, 0), epsilon))


@settings(deadline=None, max_examples=40)
@given(batches(maps), epsilons)
def test_instance_normalizes_each_channel_of_each_image(x, epsilon):
    close(applied(normalizations.instance(x.shape[1:], epsilon=epsilon), x), standardized(x, (2, 3), epsilon))


@settings(deadline=None, max_examples=40)
@given(batches(), epsilons)
def test_rms_divides_each_image_by_its_root_mean_square(x, epsilon):
    expected = x / np.sqrt((x**2).mean(axes_but(x, 0), keepdims=True) + epsilon)
    close(applied(normalizations.rms(x.shape[1:], epsilon=epsilon), x), expected)


@settings(deadline=None, max_examples=40)
@given(batches(maps), st.integers(1, 9), st.floats(0, 1), st.floats(0, 2), st.floats(0.5, 2))
def test_local_response_divides_by_the_squares_of_neighbouring_channels(x, size, alpha, beta, k):
    module = normalizations.local_response(x.shape[1:], size=size, alpha=alpha, beta=beta, k=k)
    channels = x.shape[1]
    sums = np.zeros_like(x)
    for channel in range(channels):
        first, last = channel - size // 2, channel + (size - 1) // 2
        sums[:, channel] = (x[:, max(first, 0) : last + 1] ** 2).sum(1)
    close(applied(module, x), x / (k + alpha * sums / size) ** beta)


@pytest.mark.parametrize(
    ("factory", "learned"),
    [
        (normalizations.batch, {"weight": (8,), "bias": (8,)}),
        (normalizations.group, {"weight": (8,), "bias": (8,)}),
        (normalizations.layer, {"weight": (8, 2, 3), "bias": (8, 2, 3)}),
        (normalizations.instance, {"weight": (8,), "bias": (8,)}),
        (normalizations.rms, {"weight": (8, 2, 3)}),
    ],
)
def test_affine_decides_whether_a_scale_is_learned(factory, learned):
    options = {"groups": 4} if factory is normalizations.group else {}
    module = factory((8, 2, 3), **options)
    assert {name: tuple(weight.shape) for name, weight in module.named_parameters()} == learned
    assert not list(factory((8, 2, 3), affine=False, **options).parameters())


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"^groups = 8 does not divide 12 channels$"):
        normalizations.group((12, 4, 4))


@pytest.mark.parametrize(
    ("factory", "shape"),
    [
        (normalizations.group, (8,)),
        (normalizations.layer, (1,)),
        (normalizations.instance, (4,)),
        (normalizations.instance, (4, 1, 1)),
    ],
)
def test_a_single_value_is_not_normalized(factory, shape):
    with pytest.raises(ValueError, match=r"^it would normalize over a single value, which makes every output 0$"):
        factory(shape)


def test_local_response_needs_maps():
    with pytest.raises(
        ValueError, match=r"^local response normalization needs feature maps: it cannot stand in the classifier$"
    ):
        normalizations.local_response((10,))


def test_none_is_left_out_by_the_builder():
    assert isinstance(normalizations.identity(), torch.nn.Identity)


def test_batch_without_a_scale_learns_its_offset_only():
    module = normalizations.batch((3, 2, 2), scale=False)
    assert [name for name, parameter in module.named_parameters() if parameter.requires_grad] == ["bias"]
    assert (module.weight == 1).all()
    assert not list(normalizations.batch((3,), scale=False, affine=False).parameters())
