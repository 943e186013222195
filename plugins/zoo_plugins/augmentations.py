"""Augmentations of a training batch on the device, with draws of its own for each image.

None of them lets the host wait for the device or looks at a value there, so that a CUDA graph can capture them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from zoo import NonNegativeInt, PositiveInt, Probability, Register, hookimpl

if TYPE_CHECKING:
    from torch import Generator, Tensor


@hookimpl
def zoo_register_augmentations(register: Register) -> None:
    """Register the augmentations."""
    register("none", none)
    register("horizontal_flip", horizontal_flip)
    register("translate", translate)
    register("cutout", cutout)


def none(images: Tensor) -> Tensor:
    """No change: the images as they are."""
    return images


def horizontal_flip(images: Tensor, generator: Generator, *, probability: Probability = 0.5) -> Tensor:
    """Mirror each image left to right with the given probability.

    Paper: Krizhevsky, Sutskever and Hinton, 2012, ImageNet classification with deep convolutional neural networks.
    """
    import torch

    draws = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
    return torch.where(draws < probability, images.flip(3), images)


def translate(
    images: Tensor,
    generator: Generator,
    *,
    pixels: NonNegativeInt = 4,
    padding: Literal["reflect", "zeros"] = "reflect",
) -> Tensor:
    """Shift each image by up to `pixels` each way, vertically and horizontally: a random crop of the padded image.

    Every shift is equally likely. `padding` says what comes in at the border: the image mirrored there, or zeros.

    Paper: Zagoruyko and Komodakis, 2016, Wide residual networks (arXiv:1605.07146).

    Raises:
        ValueError: `pixels` is not less than the images' height and width.
    """
    import torch
    from torch.nn import functional as F

    count, channels, height, width = images.shape
    if pixels >= min(height, width):
        raise ValueError(f"pixels must be less than the side of the images, which are {height}x{width}; got {pixels}")
    padded = F.pad(images, (pixels,) * 4, mode="reflect" if padding == "reflect" else "constant")
    top, left = torch.randint(2 * pixels + 1, (2, count, 1), generator=generator, device=images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    # Two gathers of expanded indices take less than half the time of one index by all four dimensions.
    whole_rows = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, padded.shape[3]))
    return whole_rows.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))


def cutout(images: Tensor, generator: Generator, *, size: PositiveInt = 8, fill: Probability = 0.5) -> Tensor:
    """Paint a square of `size` pixels grey, anywhere on each image.

    Its centre is a pixel of the image, each equally likely; near a border, part of the square lies outside.
    The paper fills with 0 after normalization. Here images are not normalized yet: `fill`, from 0 to 1, is the grey
    that becomes 0 where `data.mean` is the same.

    Paper: DeVries and Taylor, 2017, Improved regularization of convolutional neural networks with cutout
    (arXiv:1708.04552).

    Raises:
        ValueError: `size` is more than the images' height or width.
    """
    import torch

    count, _, height, width = images.shape
    if size > min(height, width):
        raise ValueError(f"size must be at most the side of the images, which are {height}x{width}; got {size}")

    def inside(side: int) -> Tensor:
        """Return (count, side): whether a row (a column) lies inside the image's square."""
        start = torch.randint(side, (count, 1), generator=generator, device=images.device) - size // 2
        position = torch.arange(side, device=images.device)
        return (start <= position) & (position < start + size)

    square = inside(height)[:, None, :, None] & inside(width)[:, None, None, :]
    return images.masked_fill(square, fill)
