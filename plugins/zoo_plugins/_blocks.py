"""The module behind the residual block."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    """`after(second(first(x)) + shortcut(x))`."""

    def __init__(self, first: nn.Module, second: nn.Module, shortcut: nn.Module | None, after: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to what the branch makes of it, plus the shortcut."""
        sum_: Tensor = self.second(self.first(x)) + self.shortcut(x)
        after: Tensor = self.after(sum_)
        return after
