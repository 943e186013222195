"""How the parts of a feature block are connected."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated

from zoo import LATER, BlockChoice, Fraction, PositiveInt, Register, chosen, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from zoo import Parts, Shape


@hookimpl
def zoo_register_blocks(register: Register) -> None:
    """Register the blocks."""
    register("plain", plain)
    register("residual", residual)
    register("squeeze_excitation", squeeze_excitation)


def plain(shape: Shape, parts: Parts) -> nn.Module:
    """The parts one after another, in the stated order."""
    return parts.sequence(shape)[0]


def residual(
    shape: Shape,
    parts: Parts,
    index: int,
    count: int,
    *,
    stride: PositiveInt = 1,
    drop_path: Annotated[Fraction, LATER] = 0.0,
) -> nn.Module:
    """Two rounds of filter, normalization and activation beside a shortcut, then pooling and dropout.

    With the activation after the filter in `order`, the second activation follows the addition (the basic block of
    the original paper); with the activation before the filter, nothing does (the pre-activation block). The first
    filter takes `stride`. The shortcut is the identity where the shape stays, else a 1x1 convolution with the
    stated normalization, and with a bias where the filters have one.

    In training the two rounds are left out for an image with a probability that grows linearly from block to block, to
    `drop_path` in the last one, and count for as much more where they are not (Huang, Sun, Liu, Sedra and Weinberger,
    2016, Deep networks with stochastic depth, arXiv:1603.09382).

    Raises:
        ValueError: the order has no filter, or the filters and the shortcut give different sizes.

    Paper: He, Zhang, Ren and Sun, 2016, Deep residual learning for image recognition (arXiv:1512.03385);
    Identity mappings in deep residual networks (arXiv:1603.05027).
    """
    from torch import nn

    from zoo_plugins._blocks import Residual

    order = [part for part in parts.order if part not in ("pooling", "dropout")]
    if order.count("filter") != 1:
        raise ValueError("a residual block needs the filter in its order")
    after_addition = "activation" in order and order.index("activation") > order.index("filter")
    first, between = parts.sequence(shape, order, at="first", stride=stride)
    last_round = [part for part in order if not (after_addition and part == "activation")]
    second, after = parts.sequence(between, last_round, at="second", stride=1)
    if drop_path:
        from torchvision.ops import StochasticDepth

        second = nn.Sequential(second, StochasticDepth(drop_path * (index + 1) / count, "row"))
    shortcut = None
    if after != shape:
        bias = parts.options("filter").get("bias", True)
        projection, reached = parts.variant(
            "filter", "conv", shape, at="shortcut.filter", size=1, stride=stride, bias=bias
        )
        if reached != after:
            raise ValueError(
                f"its filters make {_sizes(after)} of {_sizes(shape)}, which no 1x1 shortcut of stride {stride} does; "
                'use a filter with padding = "same", and the option `stride` of the block'
            )
        normalization = [part for part in order if part == "normalization"]
        shortcut = nn.Sequential(projection, *parts.sequence(reached, normalization, at="shortcut")[0])
    tail = ["activation"] if after_addition else []
    tail += [part for part in parts.order if part in ("pooling", "dropout")]
    return Residual(first, second, shortcut, parts.sequence(after, tail, at="after")[0])


def squeeze_excitation(
    shape: Shape, parts: Parts, *, reduction: PositiveInt = 4, inner: BlockChoice = chosen("plain")
) -> nn.Module:
    """Another block, whose output channels are weighted by a gate computed from their means.

    The gate comes after all of the inner block: of a residual block it weights the sum, where the paper weights what is
    added to the shortcut.

    Paper: Hu, Shen and Sun, 2018, Squeeze-and-excitation networks (arXiv:1709.01507).
    """
    from torch import nn
    from torchvision.ops import SqueezeExcitation

    block, after = parts.block(inner, shape, at="inner")
    squeezed = max(1, after[0] // reduction)
    gate = SqueezeExcitation(after[0], squeezed)
    parts.note(gate, f"gate({squeezed})", after, at="gate")
    return nn.Sequential(OrderedDict(inner=block, gate=gate))


def _sizes(shape: Shape) -> str:
    return "x".join(map(str, shape))
