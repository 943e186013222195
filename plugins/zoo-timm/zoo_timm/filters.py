"""Filters: convolutions that timm has of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import zoo
from zoo.testing import expected_failures

if TYPE_CHECKING:
    from torch import nn

CONVOLUTIONS = {
    "std": ("StdConv2d", "a convolution whose weights are standardized (arXiv:1903.10520)"),
    "scaled_std": ("ScaledStdConv2d", "standardized weights with a learned gain for each filter (arXiv:2101.08692)"),
}


@zoo.hookimpl
def zoo_register_filters(register: zoo.Register) -> None:
    """Register them."""
    for name, (cls, text) in CONVOLUTIONS.items():
        register(f"timm_{name}", _factory(cls, text))
    register("timm_conditional", conditional)
    register("timm_mixed", mixed)
    register("timm_selective_kernel", selective_kernel)
    register("timm_split_attention", split_attention)


def _factory(cls: str, text: str) -> Callable[..., nn.Module]:
    def convolution(
        shape: zoo.Shape,
        filters: int,
        *,
        size: zoo.PositiveInt = 3,
        stride: zoo.PositiveInt = 1,
        padding: Literal["valid", "same"] = "valid",
        dilation: zoo.PositiveInt = 1,
        groups: zoo.PositiveInt = 1,
        bias: bool = True,
    ) -> nn.Module:
        from timm import layers

        around = dilation * (size - 1)
        if padding == "same" and around % 2:
            raise ValueError('a size that is even has no padding = "same"')
        options: dict[str, Any] = {"dilation": dilation, "groups": groups, "bias": bias}
        border = around // 2 if padding == "same" else 0
        made: nn.Module = getattr(layers, cls)(shape[0], filters, size, stride=stride, padding=border, **options)
        return made

    convolution.__doc__ = f"{cls} of timm: {text}."
    return convolution


@expected_failures({"onnx": "it is one convolution with as many groups as images, whose number ONNX must know before"})
def conditional(
    shape: zoo.Shape, filters: int, *, size: zoo.PositiveInt = 3, experts: zoo.PositiveInt = 4
) -> nn.Module:
    """CondConv2d of timm: each image has its own mixture of `experts` convolutions, by its channels' means.

    Paper: Yang, Bender, Le and Ngiam, 2019, CondConv: conditionally parameterized convolutions (arXiv:1904.04971).
    """
    from zoo_timm._filters import Conditional

    return Conditional(shape[0], filters, size, experts)


def mixed(shape: zoo.Shape, filters: int, *, sizes: tuple[zoo.PositiveInt, ...] = (3, 5, 7)) -> nn.Module:
    """MixedConv2d of timm: a part of the channels for each size of filter.

    Raises:
        ValueError: there are fewer channels than sizes.

    Paper: Tan and Le, 2019, MixConv: mixed depthwise convolutional kernels (arXiv:1907.09595).
    """
    from timm.layers import MixedConv2d

    if not sizes or min(shape[0], filters) < len(sizes):
        raise ValueError(f"it takes a size of filter at least, and as many channels as sizes: {len(sizes)}")
    made: nn.Module = MixedConv2d(shape[0], filters, list(sizes), padding="")
    return made


def selective_kernel(shape: zoo.Shape, filters: int, *, stride: zoo.PositiveInt = 1, split: bool = False) -> nn.Module:
    """SelectiveKernel of timm: two filters, weighted for each image by an attention over both.

    Batch normalization and ReLU are within. With `split` each filter sees half of the channels.

    Raises:
        ValueError: the channels cannot be split in two.

    Paper: Li, Wang, Hu and Yang, 2019, Selective kernel networks (arXiv:1903.06586).
    """
    from timm.layers import SelectiveKernel

    if split and shape[0] % 2:
        raise ValueError(f"{shape[0]} channels cannot be split in two")
    made: nn.Module = SelectiveKernel(shape[0], filters, stride=stride, split_input=split)
    return made


def split_attention(
    shape: zoo.Shape, filters: int, *, size: zoo.PositiveInt = 3, radix: zoo.PositiveInt = 2
) -> nn.Module:
    """SplitAttn of timm: `radix` convolutions, weighted for each image by an attention over them; ReLU is within.

    Raises:
        ValueError: the number of channels is no multiple of the radix.

    Paper: Zhang et al., 2020, ResNeSt: split-attention networks (arXiv:2004.08955).
    """
    from timm.layers import SplitAttn

    if shape[0] % radix:
        raise ValueError(f"{shape[0]} channels are no multiple of the radix {radix}")
    made: nn.Module = SplitAttn(shape[0], filters, size, groups=1, radix=radix, padding=(size - 1) // 2)
    return made
