"""Augmentations of a training batch on the device, with draws of its own for each image where nothing else is said.

None of them lets the host wait for the device or looks at a value there, so that a CUDA graph can capture them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from zoo import NonNegativeInt, PositiveFloat, PositiveInt, Probability, Register, hookimpl

if TYPE_CHECKING:
    from torch import Generator, Tensor


@hookimpl
def zoo_register_augmentations(register: Register) -> None:
    """Register the augmentations."""
    register("none", none)
    register("horizontal_flip", horizontal_flip)
    register("translate", translate)
    register("cutout", cutout)
    register("alternating_flip", alternating_flip)
    register("random_erasing", random_erasing)
    register("mixup", mixup)
    register("cutmix", cutmix)


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


def alternating_flip(images: Tensor, indices: Tensor, epoch: Tensor) -> Tensor:
    """Mirror each image left to right in every other epoch: half of them in the odd ones, chosen by a hash.

    So two epochs show each image in both ways. Which half it is depends on the position of an image only, not on the
    seed.

    Paper: Jordan, 2024, 94% on CIFAR-10 in 3.29 seconds on a single GPU (arXiv:2404.00498).
    """
    import torch

    return torch.where(((_mixed(indices) + epoch) % 2 == 1)[:, None, None, None], images.flip(3), images)


def _mixed(numbers: Tensor) -> Tensor:
    """Return a hash of 32 bits of each number (lowbias32, Wellons, 2018, Prospecting for hash functions)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        numbers = ((numbers ^ (numbers >> shift)) * factor) & 0xFFFFFFFF
    return numbers ^ (numbers >> 16)


def random_erasing(
    images: Tensor,
    generator: Generator,
    *,
    probability: Probability = 0.5,
    smallest: Probability = 0.02,
    largest: Probability = 0.4,
    fill: Literal["random"] | Probability = "random",
) -> Tensor:
    """Paint a rectangle on each image with the given probability, with random pixels or one grey.

    Its share of the image is uniform from `smallest` to `largest`, the logarithm of its height over its width uniform
    between those of 0.3 and 1 / 0.3; it lies within the image. Of ten rectangles that are drawn the first that fits is
    taken; where none does, the image stays.

    Paper: Zhong, Zheng, Kang, Li and Yang, 2017, Random erasing data augmentation (arXiv:1708.04896).

    Raises:
        ValueError: `smallest` is more than `largest`.
    """
    import math

    import torch

    if smallest > largest:
        raise ValueError(f"smallest = {smallest} must be at most largest = {largest}")
    count, _, height, width = images.shape

    def drawn(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=images.device)

    area = (smallest + (largest - smallest) * drawn(10, count)) * (height * width)
    ratio = torch.exp(math.log(0.3) * (2 * drawn(10, count) - 1))
    tall, wide = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (tall > 0) & (wide > 0) & (tall < height) & (wide < width)
    first = fits.int().argmax(0, keepdim=True)
    chosen = fits.any(0) & (drawn(count) < probability)

    def inside(sides: Tensor, side: int) -> Tensor:
        """Return (count, side): whether a row (a column) lies inside the image's rectangle."""
        own = sides.gather(0, first)[0]
        start = (drawn(count) * (side - own + 1)).floor()
        position = torch.arange(side, device=images.device)
        return (start[:, None] <= position) & (position < (start + own)[:, None])

    erased = inside(tall, height)[:, None, :, None] & inside(wide, width)[:, None, None, :]
    erased = erased & chosen[:, None, None, None]
    if fill == "random":
        return torch.where(erased, drawn(*images.shape).to(images.dtype), images)
    return images.masked_fill(erased, fill)


def mixup(images: Tensor, labels: Tensor, generator: Generator, *, alpha: PositiveFloat = 1.0) -> tuple[Tensor, Tensor]:
    """Mix each image and its label with the one before it in the batch, by a share from Beta(alpha, alpha).

    The share is one for the whole batch. The order of a batch is random where `training.shuffle` is true.

    Paper: Zhang, Cisse, Dauphin and Lopez-Paz, 2017, mixup: Beyond empirical risk minimization (arXiv:1710.09412).
    """
    share = _beta(alpha, images, generator)
    return images.roll(1, 0).lerp(images, share), labels.roll(1, 0).lerp(labels, share)


def cutmix(
    images: Tensor, labels: Tensor, generator: Generator, *, alpha: PositiveFloat = 1.0
) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of the image before it in the batch into each image, and mix the labels by area.

    The rectangle, one for the whole batch, has the image's proportions and a share of it of 1 - Beta(alpha, alpha); its
    centre is a pixel of the image, each equally likely, and what lies outside is cut off. The order of a batch is
    random where `training.shuffle` is true.

    Paper: Yun et al., 2019, CutMix: Regularization strategy to train strong classifiers with localizable features
    (arXiv:1905.04899).
    """
    import torch

    height, width = images.shape[2:]
    half = 0.5 * (1 - _beta(alpha, images, generator)).sqrt()

    def inside(side: int) -> Tensor:
        """Return (side,): whether a row (a column) lies inside the rectangle."""
        centre = torch.randint(side, (1,), generator=generator, device=images.device)
        position = torch.arange(side, device=images.device)
        reach = (half * side).floor()
        return (centre - reach <= position) & (position < centre + reach)

    pasted = inside(height)[:, None] & inside(width)
    share = pasted.to(labels.dtype).mean()
    return torch.where(pasted, images.roll(1, 0), images), labels.lerp(labels.roll(1, 0), share)


def _beta(alpha: float, images: Tensor, generator: Generator) -> Tensor:
    """Return a draw of Beta(alpha, alpha)."""
    import torch

    # As torch.distributions.Beta does, which takes no generator.
    both = torch.full((2,), alpha, dtype=images.dtype, device=images.device)
    return torch._sample_dirichlet(both, generator)[0]
