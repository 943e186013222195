"""The module behind the whitening filter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_AT_ONCE = 500
"""Images whose patches are held at once."""


class WhiteningConv2d(nn.Conv2d):
    """A convolution whose weight is not trained, but measured by `prepare`."""

    def __init__(self, channels: int, filters: int, size: int, *, epsilon: float, bias: bool) -> None:
        super().__init__(channels, filters, size, bias=bias)
        self.epsilon = epsilon
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Whiten the patches of images, as the layer is given them."""
        size = self.weight[0].numel()
        moments = images.new_zeros(size, size)
        count = 0
        for some in torch.split(images, _AT_ONCE):
            patches = F.unfold(some, self.kernel_size).transpose(0, 1).flatten(1)
            moments += patches @ patches.T
            count += patches.shape[1]
        values, vectors = torch.linalg.eigh(moments / count)
        values, vectors = values.flip(0), vectors.flip(1)
        # An eigenvector may as well be its negative: the one whose largest number is positive, on every machine.
        largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        scaled = (vectors * largest.sign() / (values + self.epsilon).sqrt()).T[: len(self.weight) // 2]
        self.weight.copy_(torch.cat([scaled, -scaled]).view_as(self.weight))
