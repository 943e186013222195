"""The module behind `always_on`."""

from __future__ import annotations

from typing import Self

from torch import nn


class AlwaysOn(nn.Sequential):
    """Modules that stay in training mode, whatever mode the network is put in."""

    def train(self, mode: bool = True) -> Self:
        """Put the modules in training mode."""
        return super().train(True)
