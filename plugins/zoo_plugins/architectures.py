"""Architectures of any depth and width, for small images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import Fraction, PositiveInt, Register, hookimpl

if TYPE_CHECKING:
    from torch import nn


@hookimpl
def zoo_register_architectures(register: Register) -> None:
    """Register the architectures."""
    register("cifar_resnet", cifar_resnet)
    register("wide_resnet", wide_resnet)
    register("vgg", vgg)
    register("vit", vit)
    register("convnext", convnext)
    register("mlp_mixer", mlp_mixer)


def cifar_resnet(
    input_shape: tuple[int, int, int], classes: int, *, depth: PositiveInt = 20, width: PositiveInt = 16
) -> nn.Module:
    """The residual network for CIFAR-10: 6n + 2 layers of `width`, twice and four times as many filters.

    Where the number of filters grows, the shortcut is every second place, with zeros for the new channels; it has no
    parameters.

    Raises:
        ValueError: `depth` is not 8, 14, 20 and so on.

    Paper: He, Zhang, Ren and Sun, 2016, Deep residual learning for image recognition (arXiv:1512.03385).
    """
    from zoo_plugins._cifar_resnet import CifarResNet

    _require_depth(depth, 2)
    return CifarResNet(input_shape[0], classes, depth, width)


def wide_resnet(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    depth: PositiveInt = 16,
    widening: PositiveInt = 4,
    dropout: Fraction = 0.0,
) -> nn.Module:
    """The wide residual network: 6n + 4 layers of 16, 32 and 64 times `widening` filters, normalized before filters.

    Raises:
        ValueError: `depth` is not 10, 16, 22 and so on.

    Paper: Zagoruyko and Komodakis, 2016, Wide residual networks (arXiv:1605.07146).
    """
    from zoo_plugins._wide_resnet import WideResNet

    _require_depth(depth, 4)
    return WideResNet(input_shape[0], classes, depth, widening, dropout)


def vgg(
    input_shape: tuple[int, int, int], classes: int, *, depth: PositiveInt = 11, width: PositiveInt = 64
) -> nn.Module:
    """VGG with batch normalization, whose first filters are `width`, and one dense layer after a global average.

    A pooling that would leave nothing of a small image is left out.

    Raises:
        ValueError: `depth` is none of 11, 13, 16 and 19.

    Paper: Simonyan and Zisserman, 2015, Very deep convolutional networks for large-scale image recognition
    (arXiv:1409.1556).
    """
    from zoo_plugins._vgg import make

    return make(input_shape, classes, depth, width)


def vit(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    patch: PositiveInt = 4,
    depth: PositiveInt = 6,
    width: PositiveInt = 192,
    heads: PositiveInt = 3,
    dropout: Fraction = 0.0,
) -> nn.Module:
    """The vision transformer: square patches as tokens of `width` numbers, and `depth` blocks of attention.

    Raises:
        ValueError: the patches do not divide the image, or the heads the width.

    Paper: Dosovitskiy et al., 2021, An image is worth 16x16 words: transformers for image recognition at scale
    (arXiv:2010.11929).
    """
    from zoo_plugins._vit import make

    return make(input_shape, classes, patch, depth, width, heads, dropout)


def convnext(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    patch: PositiveInt = 2,
    depths: tuple[PositiveInt, ...] = (2, 2, 2),
    width: PositiveInt = 48,
) -> nn.Module:
    """ConvNeXt: stages of depthwise 7x7 blocks, of `width` channels, and twice as many in each further stage.

    Raises:
        ValueError: there are fewer than two blocks, or the patches and stages leave nothing of the image.

    Paper: Liu et al., 2022, A ConvNet for the 2020s (arXiv:2201.03545).
    """
    from zoo_plugins._convnext import make

    return make(input_shape, classes, patch, depths, width)


def mlp_mixer(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    patch: PositiveInt = 4,
    depth: PositiveInt = 6,
    width: PositiveInt = 128,
    dropout: Fraction = 0.0,
) -> nn.Module:
    """The MLP-Mixer: dense layers over the patches of each channel, then over the channels of each patch, in turn.

    Raises:
        ValueError: the patches do not divide the image.

    Paper: Tolstikhin et al., 2021, MLP-Mixer: an all-MLP architecture for vision (arXiv:2105.01601).
    """
    from zoo_plugins._mlp_mixer import MlpMixer

    return MlpMixer(input_shape, classes, patch, depth, width, dropout)


def _require_depth(depth: int, rest: int) -> None:
    if depth < 6 + rest or depth % 6 != rest:
        raise ValueError(
            f"depth = {depth}: it has 6n + {rest} layers, so {6 + rest}, {12 + rest}, {18 + rest} and so on"
        )
