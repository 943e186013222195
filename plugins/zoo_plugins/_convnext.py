"""ConvNeXt of any size, of torchvision's."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models import ConvNeXt
from torchvision.models.convnext import CNBlockConfig


def make(input_shape: tuple[int, int, int], classes: int, patch: int, depths: tuple[int, ...], width: int) -> nn.Module:
    """Make the network, from images of a shape to logits.

    Raises:
        ValueError: there are fewer than two blocks, or the patches and stages leave nothing of the image.
    """
    channels, height, side = input_shape
    if sum(depths) < 2:
        raise ValueError("depths: it needs two blocks or more")
    if min(height, side) // patch < 2 ** (len(depths) - 1):
        raise ValueError(f"{len(depths)} stages after patches of {patch} leave nothing of images of {height}x{side}")
    settings = [
        CNBlockConfig(width * 2**stage, width * 2 ** (stage + 1) if stage + 1 < len(depths) else None, depth)
        for stage, depth in enumerate(depths)
    ]
    network: Any = ConvNeXt(settings, num_classes=classes)
    network.features[0][0] = nn.Conv2d(channels, width, patch, patch)
    nn.init.trunc_normal_(network.features[0][0].weight, std=0.02)
    nn.init.zeros_(network.features[0][0].bias)
    made: nn.Module = network
    return made
