"""Normalizations: those that timm has of its own, for feature maps.

EvoNorms and filter response normalizations hold an activation of their own: beside them, `activation = "none"`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zoo

if TYPE_CHECKING:
    from torch import nn

PAPERS = {
    "EvoNorm": "Liu, Brock, Simonyan and Le, 2020, Evolving normalization-activation layers (arXiv:2004.02967).",
    "FilterResponseNorm": "Singh and Krishnan, 2020, Filter response normalization layer (arXiv:1911.09737).",
}
CLASSES = {
    "group1": ("GroupNorm1", "group normalization with one group"),
    "layer2d": ("LayerNorm2d", "over the channels of each place"),
    "rms2d": ("RmsNorm2d", "root mean square over the channels of each place, with a learned scale"),
    "simple2d": ("SimpleNorm2d", "by the standard deviation over the channels of each place; no mean is subtracted"),
    "evonorm_b0": ("EvoNorm2dB0", "by the larger of the batch's and the image's standard deviation"),
    "evonorm_b1": ("EvoNorm2dB1", "by the larger of the batch's standard deviation and that of the place"),
    "evonorm_b2": ("EvoNorm2dB2", "as evonorm_b1, by the root mean square of the place alone"),
    "evonorm_s0": ("EvoNorm2dS0", "SiLU, by the standard deviation of groups of channels"),
    "evonorm_s0a": ("EvoNorm2dS0a", "as evonorm_s0, with the scale where the activation is left out, too"),
    "evonorm_s1": ("EvoNorm2dS1", "an activation, by the standard deviation of groups of channels"),
    "evonorm_s1a": ("EvoNorm2dS1a", "as evonorm_s1, with the scale where the activation is left out, too"),
    "evonorm_s2": ("EvoNorm2dS2", "an activation, by the root mean square of groups of channels"),
    "evonorm_s2a": ("EvoNorm2dS2a", "as evonorm_s2, with the scale where the activation is left out, too"),
    "frn_tlu": ("FilterResponseNormTlu2d", "by each channel's root mean square, cut off at a learned threshold"),
    "frn": ("FilterResponseNormAct2d", "by each channel's root mean square, then ReLU"),
}  # fmt: skip
"""By name, the class and what it computes."""


@zoo.hookimpl
def zoo_register_normalizations(register: zoo.Register) -> None:
    """Register them."""
    for name, (cls, text) in CLASSES.items():
        register(f"timm_{name}", _factory(cls, text))


def _factory(cls: str, text: str) -> Callable[..., nn.Module]:
    def normalization(shape: zoo.Shape) -> nn.Module:
        from timm import layers

        if len(shape) != 3:
            raise ValueError("it is for feature maps: for units, take one of zoo's")
        options: dict[str, Any] = {}
        if cls.startswith("EvoNorm2dS"):
            options["group_size"] = next(size for size in (16, 8, 4, 2, 1) if shape[0] % size == 0)
        made: nn.Module = getattr(layers, cls)(shape[0], **options)
        return made

    normalization.__doc__ = f"{cls} of timm: {text}."
    for family, paper in PAPERS.items():
        if cls.startswith(family):
            normalization.__doc__ += f"\n\nPaper: {paper}\n"
    return normalization
