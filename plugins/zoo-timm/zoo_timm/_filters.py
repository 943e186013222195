"""The module behind one of the filters."""

from __future__ import annotations

from timm.layers import CondConv2d
from torch import Tensor, nn


class Conditional(nn.Module):
    """A mixture of convolutions, with the dense layer that says for each image how they are mixed."""

    def __init__(self, channels: int, filters: int, size: int, experts: int) -> None:
        super().__init__()
        self.routing = nn.Linear(channels, experts)
        self.convolution = CondConv2d(channels, filters, size, padding="", bias=True, num_experts=experts)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, filters, height, width)."""
        computed: Tensor = self.convolution(x, self.routing(x.mean((2, 3))).sigmoid())
        return computed
