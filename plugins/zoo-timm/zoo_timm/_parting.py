"""What is a normalization with an activation in timm becomes two layers, each of which can be replaced."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from timm import layers
from torch import nn

PARTED: dict[type[nn.Module], type[nn.Module]] = {
    layers.BatchNormAct2d: nn.BatchNorm2d,
    layers.GroupNormAct: layers.GroupNorm,
    layers.GroupNorm1Act: layers.GroupNorm1,
    layers.LayerNormAct: layers.LayerNorm,
    layers.LayerNormAct2d: layers.LayerNorm2d,
}
"""By class, the normalization in it, which does the same to the last bit."""


def part(network: nn.Module) -> None:
    """Part all layers of a network that are a normalization with an activation after it."""
    for path, module in list(network.named_modules()):
        if type(module) in PARTED:
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, _parted(module))


def _parted(module: Any) -> nn.Module:
    """Return a normalization with the tensors of the layer, what drops in it, and its activation."""
    parts = OrderedDict(norm=_norm(module))
    for name in ("drop", "act"):
        inner = getattr(module, name, None)
        if inner is not None and not isinstance(inner, nn.Identity):
            parts[name] = inner
    return nn.Sequential(parts) if len(parts) > 1 else parts["norm"]


def _norm(module: Any) -> nn.Module:
    """Return the normalization in a layer: its tensors and settings under another class, without the rest."""
    made: nn.Module = PARTED[type(module)].__new__(PARTED[type(module)])
    made.__dict__.update({key: value for key, value in vars(module).items() if key not in ("_modules", "drop", "act")})
    made._modules = {}
    return made
