"""The modules behind the filters."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


def convolution(
    kind: type[nn.Conv2d],
    channels: int,
    filters: int,
    size: int | tuple[int, int],
    *,
    rows: tuple[int, int] = (0, 0),
    columns: tuple[int, int] = (0, 0),
    **options: Any,
) -> nn.Module:
    """Make a convolution with zeros before and after the rows and the columns.

    Where the two sides differ, which a convolution cannot do by itself, a padding layer comes first.
    """
    (top, bottom), (left, right) = rows, columns
    if (top, left) == (bottom, right):
        return kind(channels, filters, size, padding=(top, left), **options)
    pad = nn.ZeroPad2d((left, right, top, bottom))
    return nn.Sequential(OrderedDict(pad=pad, convolution=kind(channels, filters, size, **options)))


class WeightStandardizedConv2d(nn.Conv2d):
    """A convolution that standardizes each filter's weights before it uses them."""

    def __init__(self, *args: Any, epsilon: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, filters, height, width)."""
        # To standardize each filter is layer normalization over a filter's weights.
        weight = F.layer_norm(self.weight, self.weight.shape[1:], eps=self.epsilon)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
