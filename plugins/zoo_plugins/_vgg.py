"""VGG for small images, of torchvision's lists of layers."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.models.vgg import cfgs, make_layers

_LISTS = {11: "A", 13: "B", 16: "D", 19: "E"}
_WIDTH = 64
_POOLING = "M"


def make(input_shape: tuple[int, int, int], classes: int, depth: int, width: int) -> nn.Module:
    """Make the network, from images of a shape to logits.

    Raises:
        ValueError: there is no VGG of that depth.
    """
    if depth not in _LISTS:
        raise ValueError(f"depth = {depth}: it has {', '.join(map(str, _LISTS))} layers")
    channels, height, side = input_shape
    smallest = min(height, side)
    layers: list[str | int] = []
    for entry in cfgs[_LISTS[depth]]:
        if entry != _POOLING:
            layers.append(max(1, entry * width // _WIDTH))
        elif smallest > 1:
            layers.append(entry)
            smallest //= 2
    features = make_layers(layers, batch_norm=True)
    first = features[0]
    if channels != first.in_channels:
        features[0] = nn.Conv2d(channels, first.out_channels, 3, padding=1)
    for module in features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    last = next(entry for entry in reversed(layers) if entry != _POOLING)
    parts = {"features": features, "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(parts, fc=nn.Linear(int(last), classes)))
