"""Poolings: those that timm has of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import zoo

if TYPE_CHECKING:
    from torch import nn

BlurSize = Annotated[int, zoo.Constraint("an int from 2 to 7", lambda v: 2 <= v <= 7)]


@zoo.hookimpl
def zoo_register_poolings(register: zoo.Register) -> None:
    """Register them."""
    register("timm_blur", blur)
    register("timm_same", same)
    register("timm_adaptive", adaptive)
    register("timm_lse_plus", lse_plus)


def blur(
    shape: zoo.Shape,
    *,
    size: BlurSize = 3,
    stride: zoo.PositiveInt = 2,
    border: Literal["reflect", "replicate", "constant"] = "reflect",
) -> nn.Module:
    """BlurPool2d of timm: a binomial filter, then every `stride`-th place.

    Raises:
        ValueError: a reflection is wider than the map.

    Paper: Zhang, 2019, Making convolutional networks shift-invariant again (arXiv:1904.11486).
    """
    from timm.layers import BlurPool2d

    made: nn.Module = BlurPool2d(shape[0], size, stride, border)
    if border == "reflect" and min(shape[1:]) <= made.padding[0]:
        raise ValueError(f"a border of {made.padding[0]} cannot be reflected in a map of {shape[1]}x{shape[2]}")
    return made


def same(
    shape: zoo.Shape, *, how: Literal["max", "avg"] = "max", size: zoo.PositiveInt = 2, stride: zoo.PositiveInt = 2
) -> nn.Module:
    """MaxPool2dSame or AvgPool2dSame of timm: windows over a border as TensorFlow's "same" has it."""
    from timm.layers import create_pool2d

    made: nn.Module = create_pool2d(how, size, stride, padding="same")
    return made


def adaptive(*, how: Literal["avg", "max", "avgmax"] = "avgmax") -> nn.Module:
    """SelectAdaptivePool2d of timm: each channel's mean, its largest value, or the mean of both."""
    from timm.layers import SelectAdaptivePool2d

    made: nn.Module = SelectAdaptivePool2d(1, pool_type=how)
    return made


def lse_plus(*, sharpness: zoo.PositiveFloat = 10.0, learned: bool = True) -> nn.Module:
    """LsePlus2d of timm: the log of each channel's mean exponential, between the mean (0) and the largest value."""
    from timm.layers import LsePlus2d

    made: nn.Module = LsePlus2d(sharpness, learned, flatten=False)
    return made
