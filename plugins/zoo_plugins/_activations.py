"""Activations that torch does not have."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SquaredReLU(nn.Module):
    """max(0, x) squared, of the shape of x."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of any shape, element by element."""
        return F.relu(x).square()


class RReLU(nn.RReLU):
    """torch's, whose evaluation is written as the leaky ReLU that it is, which exporters know."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of any shape, element by element."""
        return super().forward(x) if self.training else F.leaky_relu(x, (self.lower + self.upper) / 2)
