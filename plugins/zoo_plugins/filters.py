"""Filters: the convolutions of a feature block.

All understand `size`, `stride`, `padding` and `dilation` alike. `padding = "same"` makes ceil(n / stride) of a height
or width n, whatever the size and the stride; where that takes an odd number of zeros, the extra one goes to the bottom
and the right.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from zoo import PositiveFloat, PositiveInt, Register, hookimpl
from zoo_plugins._windows import Padding, extent, padded_sides, require_fit

if TYPE_CHECKING:
    from torch import nn

    from zoo import Shape


@hookimpl
def zoo_register_filters(register: Register) -> None:
    """Register the filters."""
    register("conv", conv)
    register("depthwise_separable", depthwise_separable)
    register("asymmetric", asymmetric)
    register("weight_standardized", weight_standardized)


def conv(
    shape: Shape,
    filters: int,
    *,
    size: PositiveInt = 3,
    stride: PositiveInt = 1,
    padding: Padding = "valid",
    dilation: PositiveInt = 1,
    groups: PositiveInt = 1,
    bias: bool = True,
) -> nn.Module:
    """Convolution with square filters.

    Raises:
        ValueError: `groups` does not divide channels and filters, or the window is larger than the padded map.
    """
    from torch import nn

    from zoo_plugins._filters import convolution

    _require_division(groups, shape[0], filters)
    sides = _sides(shape, size, padding, dilation)
    options = {"stride": stride, "dilation": dilation, "groups": groups, "bias": bias}
    return convolution(nn.Conv2d, shape[0], filters, size, rows=sides, columns=sides, **options)


def weight_standardized(
    shape: Shape,
    filters: int,
    *,
    size: PositiveInt = 3,
    stride: PositiveInt = 1,
    padding: Padding = "valid",
    dilation: PositiveInt = 1,
    groups: PositiveInt = 1,
    bias: bool = True,
    epsilon: PositiveFloat = 1e-5,
) -> nn.Module:
    """Convolution whose filters each have their weights standardized to mean 0 and variance 1.

    The variance of its output grows with the number of weights in a filter: a normalization should follow.

    Raises:
        ValueError: a filter has a single weight, `groups` does not divide channels and filters, or the window is
            larger than the padded map.

    Paper: Qiao, Wang, Liu, Shen and Yuille, 2019, Weight standardization (arXiv:1903.10520).
    """
    from zoo_plugins._filters import WeightStandardizedConv2d, convolution

    _require_division(groups, shape[0], filters)
    if shape[0] == groups and size == 1:
        raise ValueError("each filter has a single weight, which standardization makes 0")
    sides = _sides(shape, size, padding, dilation)
    options = {"stride": stride, "dilation": dilation, "groups": groups, "bias": bias, "epsilon": epsilon}
    return convolution(WeightStandardizedConv2d, shape[0], filters, size, rows=sides, columns=sides, **options)


def depthwise_separable(
    shape: Shape,
    filters: int,
    *,
    size: PositiveInt = 3,
    stride: PositiveInt = 1,
    padding: Padding = "valid",
    dilation: PositiveInt = 1,
    bias: bool = True,
) -> nn.Module:
    """Depthwise separable convolution: one filter for each channel, then a 1x1 convolution across channels.

    The bias is the second's; one of the first would add nothing.

    Raises:
        ValueError: the window is larger than the padded map.

    Paper: Chollet, 2017, Xception: deep learning with depthwise separable convolutions (arXiv:1610.02357).
    """
    from torch import nn

    from zoo_plugins._filters import convolution

    channels = shape[0]
    sides = _sides(shape, size, padding, dilation)
    options = {"stride": stride, "dilation": dilation, "groups": channels, "bias": False}
    depthwise = convolution(nn.Conv2d, channels, channels, size, rows=sides, columns=sides, **options)
    pointwise = nn.Conv2d(channels, filters, 1, bias=bias)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))


def asymmetric(
    shape: Shape,
    filters: int,
    *,
    size: PositiveInt = 3,
    stride: PositiveInt = 1,
    padding: Padding = "valid",
    dilation: PositiveInt = 1,
    bias: bool = True,
) -> nn.Module:
    """Two convolutions that span a square together: 1 x size to `filters` channels, then size x 1.

    The bias is the second's; one of the first would add nothing but at the padded border.

    Raises:
        ValueError: the window is larger than the padded map.

    Paper: Szegedy et al., 2016, Rethinking the Inception architecture for computer vision (arXiv:1512.00567).
    """
    from torch import nn

    from zoo_plugins._filters import convolution

    sides = _sides(shape, size, padding, dilation)
    horizontal = convolution(
        nn.Conv2d, shape[0], filters, (1, size), columns=sides, stride=(1, stride), dilation=(1, dilation), bias=False
    )
    vertical = convolution(
        nn.Conv2d, filters, filters, (size, 1), rows=sides, stride=(stride, 1), dilation=(dilation, 1), bias=bias
    )
    return nn.Sequential(OrderedDict(horizontal=horizontal, vertical=vertical))


def _sides(shape: Shape, size: int, padding: Padding, dilation: int) -> tuple[int, int]:
    sides = padded_sides(padding, size, dilation)
    require_fit(shape, extent(size, dilation), sides)
    return sides


def _require_division(groups: int, channels: int, filters: int) -> None:
    if channels % groups or filters % groups:
        raise ValueError(f"groups = {groups} must divide both its {channels} channels and its {filters} filters")
