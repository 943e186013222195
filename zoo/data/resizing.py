"""How images are brought to another size."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

_RESIZED_AT_ONCE = 1000

Fit = Literal["stretch", "pad", "crop"]


def resized(images: NDArray[np.uint8], size: int | tuple[int, int], fit: Fit = "stretch") -> NDArray[np.uint8]:
    """Return images (images, channels, height, width) in another size: bilinear, antialiased, rounded.

    Every image is resized by itself: the result does not depend on what else is in the batch.

    Args:
        images: of one size.
        size: the side, or height and width, in pixels.
        fit: what becomes of another shape. "stretch" distorts it; "pad" keeps it, centred between black bars; "crop"
            takes the largest part in the middle that has the shape of the result.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if images.shape[2:] == (height, width):
        return images
    if fit == "crop":
        return _stretched(_middle(images, height, width), height, width)
    if fit == "pad":
        return _padded(images, height, width)
    return _stretched(images, height, width)


def _middle(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the largest part in the middle of images whose sides are to each other as `height` to `width`."""
    given_height, given_width = images.shape[2:]
    kept_height = min(given_height, max(1, round(given_width * height / width)))
    kept_width = min(given_width, max(1, round(given_height * width / height)))
    top, left = (given_height - kept_height) // 2, (given_width - kept_width) // 2
    return images[:, :, top : top + kept_height, left : left + kept_width]


def _padded(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    given_height, given_width = images.shape[2:]
    scale = min(height / given_height, width / given_width)
    inner_height = min(height, max(1, round(given_height * scale)))
    inner_width = min(width, max(1, round(given_width * scale)))
    result = np.zeros((*images.shape[:2], height, width), np.uint8)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    inner = _stretched(images, inner_height, inner_width)
    result[:, :, top : top + inner_height, left : left + inner_width] = inner
    return result


def _stretched(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if images.shape[2:] == (height, width):
        return images
    import torch
    from torch.nn.functional import interpolate

    result = np.empty((*images.shape[:2], height, width), np.uint8)
    for start in range(0, len(images), _RESIZED_AT_ONCE):
        batch = torch.from_numpy(np.require(images[start : start + _RESIZED_AT_ONCE], requirements=("C", "W")))
        small = interpolate(batch, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
        result[start : start + _RESIZED_AT_ONCE] = small.numpy()
    return result
