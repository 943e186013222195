"""The modules behind the normalizations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class _Elementwise(nn.Module):
    """A bent tensor, then a learned scale and offset for each channel, on request."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        # Of one dimension: an initializer fills all weights that have more.
        self.scale = nn.Parameter(torch.ones(channels)) if affine else None
        self.offset = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, ...) to the same shape."""
        y = self.bend(x)
        if self.scale is None or self.offset is None:
            return y
        channelwise = (-1, *(1 for _ in x.shape[2:]))
        return self.scale.view(channelwise) * y + self.offset.view(channelwise)

    def bend(self, x: Tensor) -> Tensor:
        """Map a tensor element by element."""
        raise NotImplementedError


class DynamicTanh(_Elementwise):
    """tanh(alpha * x)."""

    def __init__(self, channels: int, alpha: float, affine: bool) -> None:
        super().__init__(channels, affine)
        self.alpha = nn.Parameter(torch.tensor(alpha))

    def bend(self, x: Tensor) -> Tensor:
        """Map a tensor element by element."""
        return torch.tanh(self.alpha * x)


class DynamicErf(_Elementwise):
    """erf(alpha * x + shift)."""

    def __init__(self, channels: int, alpha: float, shift: float, affine: bool) -> None:
        super().__init__(channels, affine)
        self.alpha = nn.Parameter(torch.tensor(alpha))
        self.shift = nn.Parameter(torch.tensor(shift))

    def bend(self, x: Tensor) -> Tensor:
        """Map a tensor element by element."""
        return torch.erf(self.alpha * x + self.shift)


class DynamicISRU(_Elementwise):
    """sqrt(channels) * x / sqrt(beta + x^2)."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__(channels, affine)
        self.channels = channels
        self.log_beta = nn.Parameter(torch.tensor(math.log(channels)))

    def bend(self, x: Tensor) -> Tensor:
        """Map a tensor element by element."""
        scaled = x * torch.exp(-self.log_beta / 2)
        # Its square must stay finite; beyond the limit the function is flat to the last digit.
        limit = torch.finfo(x.dtype).max ** 0.5 / 2
        scaled = scaled.clamp(-limit, limit)
        return math.sqrt(self.channels) * scaled * torch.rsqrt(1 + scaled.square())
