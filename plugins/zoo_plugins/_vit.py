"""Vision transformers of any size, of torchvision's."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models import VisionTransformer

_MLP_RATIO = 4


def make(
    input_shape: tuple[int, int, int], classes: int, patch: int, depth: int, width: int, heads: int, dropout: float
) -> nn.Module:
    """Make the network, from images of a shape to logits.

    Raises:
        ValueError: the image is not square, or not divided by the patches, or the width not by the heads.
    """
    channels, height, side = input_shape
    if height != side or height % patch:
        raise ValueError(f"patch = {patch} does not divide images of {height}x{side}, or they are not square")
    if width % heads:
        raise ValueError(f"heads = {heads} does not divide width = {width}")
    size = (height, patch, depth, heads, width, _MLP_RATIO * width)
    network: Any = VisionTransformer(*size, dropout=dropout, num_classes=classes)
    # torchvision starts the last layer at 0, from where no gradient reaches the others in the first step.
    nn.init.trunc_normal_(network.heads.head.weight, std=0.02)
    if channels != network.conv_proj.in_channels:
        network.conv_proj = nn.Conv2d(channels, width, patch, patch)
        nn.init.trunc_normal_(network.conv_proj.weight, std=(channels * patch**2) ** -0.5)
        nn.init.zeros_(network.conv_proj.bias)
    made: nn.Module = network
    return made
