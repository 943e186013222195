"""Dropouts. Each drops in training only; with `always_on` it drops in evaluation too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from zoo import Constraint, Fraction, Register, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from zoo import Shape

OddInt = Annotated[int, Constraint("a positive odd int", lambda v: v > 0 and v % 2 == 1)]


@hookimpl
def zoo_register_dropouts(register: Register) -> None:
    """Register the dropouts."""
    register("dropout", dropout)
    register("channel", channel)
    register("alpha", alpha)
    register("feature_alpha", feature_alpha)
    register("drop_block", drop_block)
    register("none", identity)


def dropout(*, rate: Fraction = 0.5, always_on: bool = False) -> nn.Module:
    """Dropout: sets each element to 0 with probability `rate` and scales the others by 1 / (1 - rate).

    Paper: Srivastava et al., 2014, Dropout: a simple way to prevent neural networks from overfitting.
    """
    from torch import nn

    return _with_mode(nn.Dropout(rate), always_on)


def channel(shape: Shape, *, rate: Fraction = 0.5, always_on: bool = False) -> nn.Module:
    """Spatial dropout: sets whole channels to 0 with probability `rate` and scales the others by 1 / (1 - rate).

    In the classifier each unit is a channel.

    Paper: Tompson et al., 2015, Efficient object localization using convolutional networks (arXiv:1411.4280).
    """
    from torch import nn

    return _with_mode(nn.Dropout(rate) if len(shape) == 1 else nn.Dropout2d(rate), always_on)


def alpha(*, rate: Fraction = 0.5, always_on: bool = False) -> nn.Module:
    """Alpha dropout: sets each element to SELU's negative limit with probability `rate`, keeping mean and variance.

    Paper: Klambauer, Unterthiner, Mayr and Hochreiter, 2017, Self-normalizing neural networks (arXiv:1706.02515).
    """
    from torch import nn

    return _with_mode(nn.AlphaDropout(rate), always_on)


def feature_alpha(*, rate: Fraction = 0.5, always_on: bool = False) -> nn.Module:
    """Alpha dropout of whole channels: sets each to SELU's negative limit with probability `rate`.

    In the classifier each unit is a channel.

    Paper: Klambauer, Unterthiner, Mayr and Hochreiter, 2017, Self-normalizing neural networks (arXiv:1706.02515).
    """
    from torch import nn

    return _with_mode(nn.FeatureAlphaDropout(rate), always_on)


def drop_block(shape: Shape, *, rate: Fraction = 0.1, block_size: OddInt = 3, always_on: bool = False) -> nn.Module:
    """DropBlock: sets squares of `block_size` to 0 in each channel, about `rate` of all elements.

    What stays is scaled by the inverse of the share that stayed in the batch.

    Raises:
        ValueError: the shape is not that of feature maps, or is smaller than a block.

    Paper: Ghiasi, Lin and Le, 2018, DropBlock (arXiv:1810.12890).
    """
    if len(shape) != 3:
        raise ValueError("DropBlock needs feature maps: it cannot stand in the classifier")
    _, height, width = shape
    if block_size > min(height, width):
        raise ValueError(f"block_size = {block_size} is larger than its map of {height}x{width}")
    from torchvision.ops import DropBlock2d

    return _with_mode(DropBlock2d(rate, block_size), always_on)


def identity() -> nn.Module:
    """No dropout."""
    from torch import nn

    return nn.Identity()


def _with_mode(module: nn.Module, always_on: bool) -> nn.Module:
    from zoo_plugins._dropouts import AlwaysOn

    return AlwaysOn(module) if always_on else module
