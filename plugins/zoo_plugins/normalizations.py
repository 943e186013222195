"""Normalizations.

`affine` gives each a learned scale (and, but for RMS, a learned offset); it is on everywhere, so that two
normalizations differ in what they normalize over and in nothing else.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated

from zoo import LATER, NonNegativeFloat, PositiveFloat, PositiveInt, Probability, Register, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from zoo import Shape


@hookimpl
def zoo_register_normalizations(register: Register) -> None:
    """Register the normalizations."""
    register("batch", batch)
    register("group", group)
    register("layer", layer)
    register("instance", instance)
    register("rms", rms)
    register("local_response", local_response)
    register("none", identity)


def batch(
    shape: Shape,
    *,
    momentum: Probability = 0.1,
    epsilon: PositiveFloat = 1e-5,
    affine: bool = True,
    scale: Annotated[bool, LATER] = True,
) -> nn.Module:
    """Batch normalization: mean 0 and variance 1 for each channel over the batch.

    In evaluation it uses running statistics, which move by `momentum` towards each training batch's. Without `scale`
    only the offset is learned.

    Paper: Ioffe and Szegedy, 2015, Batch normalization (arXiv:1502.03167).
    """
    from torch import nn

    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    module = kind(shape[0], eps=epsilon, momentum=momentum, affine=affine)
    if affine and not scale:
        module.weight.requires_grad_(False)
    return module


def group(shape: Shape, *, groups: PositiveInt = 8, epsilon: PositiveFloat = 1e-5, affine: bool = True) -> nn.Module:
    """Group normalization: mean 0 and variance 1 for each image over each group of channels.

    Raises:
        ValueError: `groups` does not divide the channels, or leaves a single value in each group.

    Paper: Wu and He, 2018, Group normalization (arXiv:1803.08494).
    """
    from torch import nn

    if shape[0] % groups:
        raise ValueError(f"groups = {groups} does not divide {shape[0]} channels")
    _require_several(prod(shape) // groups)
    return nn.GroupNorm(groups, shape[0], eps=epsilon, affine=affine)


def layer(shape: Shape, *, epsilon: PositiveFloat = 1e-5, affine: bool = True) -> nn.Module:
    """Layer normalization: mean 0 and variance 1 for each image over all channels and places.

    Scale and offset are learned for each channel and place.

    Raises:
        ValueError: the shape holds a single value.

    Paper: Ba, Kiros and Hinton, 2016, Layer normalization (arXiv:1607.06450).
    """
    from torch import nn

    _require_several(prod(shape))
    return nn.LayerNorm(shape, eps=epsilon, elementwise_affine=affine)


def instance(shape: Shape, *, epsilon: PositiveFloat = 1e-5, affine: bool = True) -> nn.Module:
    """Instance normalization: mean 0 and variance 1 for each image and channel over all places.

    Raises:
        ValueError: a channel has a single place, as each unit of the classifier has.

    Paper: Ulyanov, Vedaldi and Lempitsky, 2016, Instance normalization (arXiv:1607.08022).
    """
    from torch import nn

    _require_several(prod(shape[1:]))
    return nn.InstanceNorm2d(shape[0], eps=epsilon, affine=affine)


def rms(shape: Shape, *, epsilon: PositiveFloat = 1e-5, affine: bool = True) -> nn.Module:
    """RMS normalization: root mean square 1 for each image over all channels and places.

    The scale is learned for each channel and place.

    Paper: Zhang and Sennrich, 2019, Root mean square layer normalization (arXiv:1910.07467).
    """
    from torch import nn

    return nn.RMSNorm(shape, eps=epsilon, elementwise_affine=affine)


def local_response(
    shape: Shape,
    *,
    size: PositiveInt = 5,
    alpha: NonNegativeFloat = 1e-4,
    beta: NonNegativeFloat = 0.75,
    k: PositiveFloat = 1.0,
) -> nn.Module:
    """Local response normalization: each value over (k + alpha * mean square of `size` neighbouring channels)^beta.

    The paper sums the squares instead: its alpha is this alpha / size.

    Raises:
        ValueError: the shape is not that of feature maps.

    Paper: Krizhevsky, Sutskever and Hinton, 2012, ImageNet classification with deep convolutional neural networks.
    """
    from zoo_plugins._normalizations import LocalResponseNorm

    if len(shape) != 3:
        raise ValueError("local response normalization needs feature maps: it cannot stand in the classifier")
    return LocalResponseNorm(size, alpha, beta, k)


def identity() -> nn.Module:
    """No normalization."""
    from torch import nn

    return nn.Identity()


def _require_several(values: int) -> None:
    if values == 1:
        raise ValueError("it would normalize over a single value, which makes every output 0")
