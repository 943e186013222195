"""A filter that is measured from the training images and not trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import PositiveFloat, PositiveInt, Register, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from zoo import Shape


@hookimpl
def zoo_register_filters(register: Register) -> None:
    """Register the filter."""
    register("whitening", whitening)


def whitening(
    shape: Shape, filters: int, *, size: PositiveInt = 2, epsilon: PositiveFloat = 5e-4, bias: bool = True
) -> nn.Module:
    """Convolution whose frozen filters whiten patches of the training images: components and their negatives.

    Half of the filters are the eigenvectors of the largest eigenvalues of the patches' second moments, each divided by
    the square root of its eigenvalue plus `epsilon`; the other half are the same times -1. Only the bias is trained. It
    is meant for the first block, where channels * size^2 * 2 filters are all there are.

    Paper: Page, 2019, How to train your ResNet 8: Bag of tricks; Jordan, 2024, 94% on CIFAR-10 in 3.29 seconds on a
    single GPU (arXiv:2404.00498).

    Raises:
        ValueError: `filters` is odd or more than twice the numbers in a patch, or a patch is larger than the map.
    """
    from zoo_plugins._whitening import WhiteningConv2d

    channels, height, width = shape
    if filters % 2 or filters > 2 * channels * size**2:
        raise ValueError(
            f"of patches of {channels}x{size}x{size} it makes an even number of filters, {2 * channels * size**2} at "
            f"most, and not {filters}"
        )
    if size > min(height, width):
        raise ValueError(f"its window of {size}x{size} is larger than its map of {height}x{width}")
    return WhiteningConv2d(channels, filters, size, epsilon=epsilon, bias=bias)
