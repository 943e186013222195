"""TrivialAugment on batches: each image has an operation and a strength of its own, without the host's help.

torchvision's draws one of each for a whole batch, and from torch's global generator only. All operations are computed
for all images, and one is chosen for each.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zoo import Register, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Generator, Tensor


@hookimpl
def zoo_register_augmentations(register: Register) -> None:
    """Register the augmentation."""
    register("trivial_augment", trivial_augment)


GEOMETRIC = ("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate")
COLOURS = ("brightness", "colour", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize")
STRENGTHS = 31


def trivial_augment(images: Tensor, generator: Generator) -> Tensor:
    """Change each image by one of 14 operations, each equally likely, with one of 31 strengths.

    The operations and their strengths are those of the wide space: shear to 0.99, translation to 32 pixels, rotation
    to 135 degrees, brightness, colour, contrast and sharpness from 0.01 to 1.99, posterizing to 2 bits, solarizing from
    any brightness, automatic contrast, equalizing. What comes in at the border is black. For images of 1 or 3 channels.

    Paper: Müller and Hutter, 2021, TrivialAugment: Tuning-free yet state-of-the-art data augmentation
    (arXiv:2103.10158).

    Raises:
        ValueError: the images have neither 1 nor 3 channels.
    """
    import torch

    if images.shape[1] not in (1, 3):
        raise ValueError(f"it is for images of 1 or 3 channels, and these have {images.shape[1]}")

    def drawn(choices: int) -> Tensor:
        return torch.randint(choices, (len(images),), generator=generator, device=images.device)

    operation = drawn(len(GEOMETRIC) + len(COLOURS))
    strength, sign = drawn(STRENGTHS).to(images.dtype) / (STRENGTHS - 1), (2 * drawn(2) - 1).to(images.dtype)
    changed = moved(images, operation, strength * sign)
    for number, made in enumerate(coloured(images, strength, strength * sign), len(GEOMETRIC)):
        changed = torch.where((operation == number)[:, None, None, None], made, changed)
    return changed


def moved(images: Tensor, operation: Tensor, signed: Tensor) -> Tensor:
    """Return images sheared, translated or rotated as `GEOMETRIC` numbers it, and others as they are.

    Args:
        images: (batch, channels, height, width).
        operation: which, (batch,).
        signed: how much, from -1 to 1, (batch,).
    """
    import torch
    from torch.nn import functional as F

    height, width = images.shape[2:]

    def only(name: str, value: Tensor) -> Tensor:
        return torch.where(operation == GEOMETRIC.index(name), value, torch.zeros_like(value))

    angle = only("rotate", signed * math.radians(135))
    shear_x, shear_y = only("shear_x", signed * 0.99), only("shear_y", signed * 0.99)
    # From which place, in pixels from the centre, a pixel comes. Shears leave the upper left corner where it is.
    across = -only("translate_x", (signed * 32).trunc()) + shear_x * height / 2
    down = -only("translate_y", (signed * 32).trunc()) + shear_y * width / 2
    first = [angle.cos(), (shear_x - angle.sin()) * height / width, across * 2 / width]
    second = [(angle.sin() + shear_y) * width / height, angle.cos(), down * 2 / height]
    theta = torch.stack([torch.stack(first, 1), torch.stack(second, 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def coloured(images: Tensor, strength: Tensor, signed: Tensor) -> Iterator[Tensor]:
    """Yield images with other colours, as `COLOURS` numbers it; see `moved`."""
    import torch
    from torch.nn import functional as F
    from torchvision.transforms.v2 import functional as V

    strength, signed = strength[:, None, None, None], signed[:, None, None, None]
    factor = 1 + 0.99 * signed

    def blended(other: Tensor) -> Tensor:
        return (factor * images + (1 - factor) * other).clamp(0, 1)

    channels = images.shape[1]
    grey = images
    if channels == 3:
        red, green, blue = (images[:, channel, None] for channel in range(3))
        grey = 0.2989 * red + 0.587 * green + 0.114 * blue
    yield blended(torch.zeros_like(images))
    yield blended(grey)
    yield blended(grey.mean((1, 2, 3), keepdim=True))
    kernel = (images.new_ones(3, 3) + 4 * F.pad(images.new_ones(1, 1), (1, 1, 1, 1))) / 13
    smooth = F.conv2d(images, kernel.expand(channels, 1, 3, 3), groups=channels)
    inner = F.pad(torch.ones_like(smooth), (1, 1, 1, 1))
    yield torch.where(inner > 0, blended(F.pad(smooth, (1, 1, 1, 1))), images)
    levels = 2 ** (8 - 6 * strength).round()
    yield (images * levels).floor().clamp_max(levels - 1) / levels
    yield torch.where(images >= 1 - strength, 1 - images, images)
    least, most = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    yield torch.where(most > least, (images - least) / torch.where(most > least, most - least, 1), images)
    yield V.equalize(images)
