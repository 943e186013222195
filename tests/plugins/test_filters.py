"""The filters, against torch's convolution of an input padded by hand, in float64."""

from __future__ import annotations

import math
import warnings

import attrs
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from zoo_plugins import filters

ALL = [filters.conv, filters.depthwise_separable, filters.asymmetric, filters.weight_standardized]
each_filter = pytest.mark.parametrize("factory", ALL, ids=lambda factory: factory.__name__)


@attrs.frozen
class Window:
    """Options of a filter and an input that they fit."""

    options: dict
    shape: tuple[int, int, int]

    @property
    def x(self):
        generator = torch.Generator().manual_seed(0)
        return torch.randn(2, *self.shape, generator=generator, dtype=torch.float64)

    @property
    def sides(self):
        """How many zeros go before and after."""
        zeros, padding = self.options["dilation"] * (self.options["size"] - 1), self.options["padding"]
        return {"valid": (0, 0), "same": (zeros // 2, zeros - zeros // 2)}.get(padding, (padding, padding))

    def convolved(self, weight, bias):
        """What torch's convolution makes of the input, padded by hand."""
        options = {"stride": self.options["stride"], "dilation": self.options["dilation"]}
        return F.conv2d(F.pad(self.x, self.sides * 2), weight, bias, **options)


@st.composite
def windows(draw):
    padding = draw(st.one_of(st.sampled_from(["valid", "same"]), st.integers(0, 3)))
    options = {"size": draw(st.integers(1, 5)), "stride": draw(st.integers(1, 3)), "padding": padding}
    window = Window(
        {**options, "dilation": draw(st.integers(1, 2))},
        (draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))),
    )
    assume(min(window.shape[1:]) + sum(window.sides) > window.options["dilation"] * (window.options["size"] - 1))
    return window


def weights(module):
    """The weights of a filter by the name of their layer ("" where there is but one)."""
    names = ("depthwise", "pointwise", "horizontal", "vertical")
    four_dimensional = [(path, p) for path, p in module.named_parameters() if p.dim() == 4]
    return {next((n for n in names if path.startswith(n)), ""): p for path, p in four_dimensional}


def bias(module):
    found = [p for p in module.parameters() if p.dim() == 1]
    assert len(found) <= 1, "one bias for each filter is all that can act"
    return found[0] if found else None


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(windows(), st.booleans())
def test_conv_convolves_the_padded_input(window, with_bias):
    module = filters.conv(window.shape, 3, **window.options, bias=with_bias).double()
    (weight,) = weights(module).values()
    close(module(window.x), window.convolved(weight, bias(module)))
    assert (bias(module) is not None) is with_bias


@pytest.mark.parametrize("factory", [filters.conv, filters.weight_standardized])
@settings(deadline=None, max_examples=20)
@given(st.sampled_from([4, 8]), st.integers(1, 4), st.sampled_from([2, 4]))
def test_groups_see_only_their_channels(factory, channels, size, groups):
    assume(channels // groups * size > 1)
    torch.manual_seed(0)
    module = factory((channels, 6, 6), 8, size=size, groups=groups)
    x = torch.randn(2, channels, 6, 6)
    other = x.clone()
    other[:, 0] += 1
    changed = (module(other) != module(x)).flatten(2).any(2).any(0)
    expected = torch.arange(8) < 8 // groups
    assert torch.equal(changed, expected), "a change of the first channel must reach the first group's filters only"


@settings(deadline=None, max_examples=60)
@given(windows(), st.booleans())
def test_weight_standardized_convolves_with_standardized_weights(window, with_bias):
    assume(window.shape[0] * window.options["size"] > 1)
    epsilon = 1e-3
    module = filters.weight_standardized(window.shape, 3, **window.options, bias=with_bias, epsilon=epsilon).double()
    (weight,) = weights(module).values()
    raw = weight.detach().numpy()
    centred = raw - raw.mean((1, 2, 3), keepdims=True)
    expected = torch.from_numpy(centred / np.sqrt(raw.var((1, 2, 3), keepdims=True) + epsilon))
    close(module(window.x), window.convolved(expected, bias(module)))
    assert (bias(module) is not None) is with_bias


@settings(deadline=None, max_examples=60)
@given(windows(), st.booleans())
def test_depthwise_separable_is_a_convolution_with_factored_weights(window, with_bias):
    module = filters.depthwise_separable(window.shape, 3, **window.options, bias=with_bias).double()
    parts = weights(module)
    # filters x channels x 1 x 1 times channels x size x size.
    weight = parts["pointwise"] * parts["depthwise"].squeeze(1)
    close(module(window.x), window.convolved(weight, bias(module)))
    assert (bias(module) is not None) is with_bias


@settings(deadline=None, max_examples=60)
@given(windows(), st.booleans())
def test_asymmetric_is_a_convolution_with_factored_weights(window, with_bias):
    module = filters.asymmetric(window.shape, 3, **window.options, bias=with_bias).double()
    parts = weights(module)
    weight = torch.einsum("omyz,mcwx->ocyx", parts["vertical"], parts["horizontal"])
    close(module(window.x), window.convolved(weight, bias(module)))
    assert (bias(module) is not None) is with_bias


@each_filter
@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
def test_same_padding_gives_the_size_over_the_stride_rounded_up(factory, height, width, size, stride, dilation):
    module = factory((2, height, width), 3, size=size, stride=stride, dilation=dilation, padding="same")
    y = module(torch.zeros(1, 2, height, width))
    assert y.shape == (1, 3, math.ceil(height / stride), math.ceil(width / stride))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(1, 3))
def test_same_padding_is_torchs_own_at_stride_1(size, dilation):
    x = torch.randn(2, 2, 8, 8)
    module = filters.conv((2, 8, 8), 3, size=size, dilation=dilation, padding="same", bias=False)
    (weight,) = weights(module).values()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using padding='same' with even kernel lengths")
        torch.testing.assert_close(module(x), F.conv2d(x, weight, padding="same", dilation=dilation))


def test_weight_standardized_does_not_depend_on_the_scale_of_its_weights():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    module = filters.weight_standardized((3, 6, 6), 4, epsilon=1e-12).double()
    before = module(x)
    with torch.no_grad():
        module.weight.mul_(7).add_(3)
    torch.testing.assert_close(module(x), before)


@each_filter
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 6}, "its window of 6x6 is larger than its map of 5x8"),
        ({"size": 3, "dilation": 3}, "its window of 7x7 is larger than its map of 5x8"),
        ({"size": 8, "padding": 1}, "its window of 8x8 is larger than its map of 5x8 padded to 7x10"),
    ],
)
def test_a_window_larger_than_the_map_is_refused(factory, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        factory((2, 5, 8), 4, **options)


@pytest.mark.parametrize("factory", [filters.conv, filters.weight_standardized])
@pytest.mark.parametrize(("channels", "count"), [(3, 4), (4, 3)])
def test_groups_must_divide_channels_and_filters(factory, channels, count):
    message = f"^groups = 2 must divide both its {channels} channels and its {count} filters$"
    with pytest.raises(ValueError, match=message):
        factory((channels, 8, 8), count, groups=2)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (4, 4)])
def test_a_filter_of_one_weight_is_not_standardized(channels, groups):
    with pytest.raises(ValueError, match=r"^each filter has a single weight, which standardization makes 0$"):
        filters.weight_standardized((channels, 8, 8), 4, size=1, groups=groups)
