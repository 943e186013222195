"""The modules behind the poolings."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LpPool2d(nn.LPPool2d):
    """The p-norm of each window.

    torch's own takes powers of the values, not of their magnitudes, which is not a number for a negative value and
    a fractional power.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to smaller maps."""
        return super().forward(x.abs())


class ConcatPool2d(nn.Module):
    """What two poolings make of one input, side by side."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to smaller maps of twice the channels."""
        return torch.cat([self.first(x), self.second(x)], 1)


class Blur(nn.Module):
    """A binomial filter on each channel with reflected borders, evaluated at every stride-th place."""

    kernel: Tensor

    def __init__(self, channels: int, size: int, stride: int) -> None:
        super().__init__()
        self.channels, self.size, self.stride = channels, size, stride
        row = torch.tensor([float(comb(size - 1, i)) for i in range(size)]) / 2 ** (size - 1)
        kernel = row.outer(row).repeat(channels, 1, 1, 1)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to maps of the size over the stride, rounded up."""
        before = (self.size - 1) // 2
        after = self.size - 1 - before
        x = _reflected(_reflected(x, 2, before, after), 3, before, after)
        return F.conv2d(x, self.kernel, stride=self.stride, groups=self.channels)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"size={self.size}, stride={self.stride}"


def _reflected(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Extend a dimension by its mirror image; torch's own padding has no deterministic gradient on CUDA."""
    first = x.narrow(dim, 1, before).flip(dim)
    last = x.narrow(dim, x.shape[dim] - 1 - after, after).flip(dim)
    return torch.cat([first, x, last], dim)
