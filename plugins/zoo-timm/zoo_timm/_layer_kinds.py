"""timm's layers by kind."""

from __future__ import annotations

from timm import layers
from timm.layers import activations
from torch import nn

_ACTIVATIONS = ("Swish", "Mish", "Tanh", "HardSwish", "HardMish", "PReLU", "GELU", "GELUTanh", "QuickGELU")
"""Sigmoids are gates."""
_NORMALIZATIONS = (
    "RmsNorm", "RmsNormFp32", "RmsNorm2d", "RmsNorm2dFp32", "SimpleNorm", "SimpleNormFp32", "SimpleNorm2d",
    "SimpleNorm2dFp32",
)  # fmt: skip
"""Those that are no subclass of torch's."""
BOTH = (
    "BatchNormAct2d", "SyncBatchNormAct", "FrozenBatchNormAct2d", "GroupNormAct", "GroupNorm1Act", "LayerNormAct",
    "LayerNormActFp32", "LayerNormAct2d", "LayerNormAct2dFp32", "RmsNormAct", "RmsNormActFp32", "RmsNormAct2d",
    "RmsNormAct2dFp32", "EvoNorm2dB0", "EvoNorm2dB1", "EvoNorm2dB2", "EvoNorm2dS0", "EvoNorm2dS1", "EvoNorm2dS2",
    "FilterResponseNormAct2d", "FilterResponseNormTlu2d", "InplaceAbn",
)  # fmt: skip
"""A normalization with an activation in it; those that can be parted are, when a model is built (`_parting`)."""


def kinds() -> dict[str, tuple[type | str, ...]]:
    """Return them by kind."""
    both = _classes(layers, BOTH)
    return {
        "activation": (*_classes(activations, _ACTIVATIONS), *both),
        "normalization": (*_classes(layers, _NORMALIZATIONS), *both),
        "dropout": _classes(layers, ("DropBlock2d",)),
    }


def _classes(module: object, names: tuple[str, ...]) -> tuple[type[nn.Module], ...]:
    """Return those of the classes that the timm that is installed has."""
    return tuple(getattr(module, name) for name in names if hasattr(module, name))
