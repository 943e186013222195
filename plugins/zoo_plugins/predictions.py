"""Predictions: what a network is asked about an image, and what becomes of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import Register, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@hookimpl
def zoo_register_predictions(register: Register) -> None:
    """Register the predictions."""
    register("plain", plain)
    register("flip", flip)
    register("six_views", six_views)


def plain(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The network's logits of the images as they are."""
    return forward(images)


def flip(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Mean logits of each image and its mirror image.

    Paper: Krizhevsky, Sutskever and Hinton, 2012, ImageNet classification with deep convolutional neural networks.
    """
    return (forward(images) + forward(images.flip(3))) / 2


def six_views(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Mean logits of each image, and of it shifted by a pixel up and left and down and right, each also mirrored.

    The shifted images count half as much as the unshifted; their border is mirrored.

    Paper: Jordan, 2024, 94% on CIFAR-10 in 3.29 seconds on a single GPU (arXiv:2404.00498).
    """
    from torch.nn import functional as F

    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    first, last = padded[:, :, :height, :width], padded[:, :, 2 : 2 + height, 2 : 2 + width]
    return (2 * flip(forward, images) + flip(forward, first) + flip(forward, last)) / 4
