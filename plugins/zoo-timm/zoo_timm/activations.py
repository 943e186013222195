"""Activations: those that timm has of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from torch import nn

CLASSES = {
    "swish": ("Swish", "x * sigmoid(x)"),
    "mish": ("Mish", "x * tanh(softplus(x))"),
    "tanh": ("Tanh", "the hyperbolic tangent"),
    "sigmoid": ("Sigmoid", "1 / (1 + exp(-x))"),
    "hard_swish": ("HardSwish", "x * relu6(x + 3) / 6"),
    "hard_sigmoid": ("HardSigmoid", "relu6(x + 3) / 6"),
    "hard_mish": ("HardMish", "x / 2 * clamp(x + 2, 0, 2)"),
    "prelu": ("PReLU", "x where x > 0, slope * x elsewhere, with one learned slope"),
    "gelu": ("GELU", "x times the standard normal distribution function of x"),
    "gelu_tanh": ("GELUTanh", "GELU by its approximation with a hyperbolic tangent"),
    "quick_gelu": ("QuickGELU", "x * sigmoid(1.702 x)"),
}
"""By name, the class and what it computes."""


@zoo.hookimpl
def zoo_register_activations(register: zoo.Register) -> None:
    """Register them."""
    for name, (cls, formula) in CLASSES.items():
        register(f"timm_{name}", _factory(cls, formula))


def _factory(cls: str, formula: str) -> Callable[..., nn.Module]:
    def activation() -> nn.Module:
        from timm.layers import activations

        made: nn.Module = getattr(activations, cls)()
        return made

    activation.__doc__ = f"{cls} of timm: {formula}."
    return activation
