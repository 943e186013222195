"""Normalizations that torch does not have in this form."""

from __future__ import annotations

from torch import Tensor, nn


class LocalResponseNorm(nn.LocalResponseNorm):
    """torch's, computed on flattened maps.

    torch pools maps in three dimensions for it, which the CPU lacks for bfloat16 and which has no deterministic
    gradient on CUDA; on flattened maps it pools in two.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        normalized: Tensor = super().forward(x.flatten(2))
        return normalized.reshape(x.shape)
