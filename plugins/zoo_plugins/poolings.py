"""Poolings. `stride = None` means a stride of `size`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from zoo import Constraint, NonNegativeInt, PositiveInt, Register, changes_channels, hookimpl
from zoo_plugins._windows import require_fit

if TYPE_CHECKING:
    from torch import nn

    from zoo import Shape

Power = Annotated[float, Constraint("a finite number of 1 or more", lambda v: 1 <= v < math.inf)]
BlurSize = Annotated[int, Constraint("an int from 1 to 7", lambda v: 1 <= v <= 7)]


@hookimpl
def zoo_register_poolings(register: Register) -> None:
    """Register the poolings."""
    register("max", maximum)
    register("average", average)
    register("concat", concat)
    register("lp", lp)
    register("blur", blur)
    register("strided_convolution", strided_convolution)
    register("global_average", global_average)
    register("none", identity)


def maximum(
    shape: Shape, *, size: PositiveInt = 2, stride: PositiveInt | None = None, padding: NonNegativeInt = 0
) -> nn.Module:
    """Max pooling: the largest value of each window; padding never is.

    Raises:
        ValueError: the window is larger than the padded map, or the padding than half the window.
    """
    from torch import nn

    _require_half(padding, size)
    require_fit(shape, size, (padding, padding))
    return nn.MaxPool2d(size, stride, padding)


def average(
    shape: Shape, *, size: PositiveInt = 2, stride: PositiveInt | None = None, padding: NonNegativeInt = 0
) -> nn.Module:
    """Average pooling: the mean of each window, in which zeros of the padding count.

    Raises:
        ValueError: the window is larger than the padded map, or the padding than half the window.
    """
    from torch import nn

    _require_half(padding, size)
    require_fit(shape, size, (padding, padding))
    return nn.AvgPool2d(size, stride, padding)


@changes_channels
def concat(
    shape: Shape, *, size: PositiveInt = 2, stride: PositiveInt | None = None, padding: NonNegativeInt = 0
) -> nn.Module:
    """Concatenated pooling: the channels of max pooling, then those of average pooling; it doubles their number.

    As AdaptiveConcatPool2d of fastai, whose window is the whole map.

    Raises:
        ValueError: the window is larger than the padded map, or the padding than half the window.

    Paper: Howard and Ruder, 2018, Universal language model fine-tuning for text classification (arXiv:1801.06146),
    there over the states of a sequence.
    """
    from zoo_plugins._poolings import ConcatPool2d

    first = maximum(shape, size=size, stride=stride, padding=padding)
    return ConcatPool2d(first, average(shape, size=size, stride=stride, padding=padding))


def lp(shape: Shape, *, power: Power = 2.0, size: PositiveInt = 2, stride: PositiveInt | None = None) -> nn.Module:
    """Lp pooling: the p-norm of each window, (sum of abs(x)^power)^(1 / power).

    Raises:
        ValueError: the window is larger than the map.

    Paper: Sermanet, Chintala and LeCun, 2012, Convolutional neural networks applied to house numbers (arXiv:1204.3968).
    """
    from zoo_plugins._poolings import LpPool2d

    require_fit(shape, size)
    return LpPool2d(power, size, stride)


def blur(shape: Shape, *, size: BlurSize = 3, stride: PositiveInt | None = 2) -> nn.Module:
    """Anti-aliased subsampling: a binomial blur of `size` with reflected borders, then every stride-th value.

    A height or width n becomes ceil(n / stride).

    Raises:
        ValueError: the map is too small to be reflected at its border.

    Paper: Zhang, 2019, Making convolutional networks shift-invariant again (arXiv:1904.11486).
    """
    from zoo_plugins._poolings import Blur

    channels, height, width = shape
    if size // 2 >= min(height, width):
        raise ValueError(
            f"a blur of size {size} reflects {size // 2} values at the border, its map of {height}x{width} has too few"
        )
    return Blur(channels, size, stride or size)


def strided_convolution(
    shape: Shape,
    *,
    size: PositiveInt = 2,
    stride: PositiveInt | None = None,
    padding: NonNegativeInt = 0,
    bias: bool = True,
) -> nn.Module:
    """Learned pooling: a convolution with a stride that keeps the number of channels.

    Raises:
        ValueError: the window is larger than the padded map.

    Paper: Springenberg et al., 2015, Striving for simplicity: the all convolutional net (arXiv:1412.6806).
    """
    from torch import nn

    require_fit(shape, size, (padding, padding))
    return nn.Conv2d(shape[0], shape[0], size, stride or size, padding, bias=bias)


def global_average() -> nn.Module:
    """Global average pooling: the mean of each channel, as a 1x1 map.

    Paper: Lin, Chen and Yan, 2014, Network in network (arXiv:1312.4400).
    """
    from torch import nn

    return nn.AdaptiveAvgPool2d(1)


def identity() -> nn.Module:
    """No pooling."""
    from torch import nn

    return nn.Identity()


def _require_half(padding: int, size: int) -> None:
    if padding > size // 2:
        raise ValueError(f"padding = {padding} is more than half of size = {size}: a window could hold nothing else")
