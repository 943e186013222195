"""Dropouts: those that timm has of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from torch import nn


@zoo.hookimpl
def zoo_register_dropouts(register: zoo.Register) -> None:
    """Register them."""
    register("timm_drop_block", drop_block)
    register("timm_drop_path", drop_path)


def drop_block(
    shape: zoo.Shape,
    *,
    rate: zoo.Fraction = 0.1,
    size: zoo.PositiveInt = 7,
    noise: bool = False,
    couple_channels: bool = True,
) -> nn.Module:
    """DropBlock2d of timm: sets squares of a map to 0, or to noise, so that a share `rate` is dropped.

    Raises:
        ValueError: it is not for feature maps.

    Paper: Ghiasi, Lin and Le, 2018, DropBlock: a regularization method for convolutional networks (arXiv:1810.12890).
    """
    from timm.layers import DropBlock2d

    if len(shape) != 3:
        raise ValueError("it is for feature maps: for units, take one of zoo's")
    made: nn.Module = DropBlock2d(rate, size, with_noise=noise, couple_channels=couple_channels)
    return made


def drop_path(*, rate: zoo.Fraction = 0.1, scale: bool = True) -> nn.Module:
    """DropPath of timm: sets all that it is given of an image to 0 with probability `rate`.

    In a residual block, beside a shortcut, it is stochastic depth.

    Paper: Huang, Sun, Liu, Sedra and Weinberger, 2016, Deep networks with stochastic depth (arXiv:1603.09382).
    """
    from timm.layers import DropPath

    made: nn.Module = DropPath(rate, scale)
    return made
