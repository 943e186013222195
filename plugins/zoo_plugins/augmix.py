"""AugMix on batches, and the loss that compares the views of an image which it gives.

torchvision's draws one of each operation for a whole batch, and from torch's global generator only. Here each image has
chains of its own, without the host's help: all operations are computed for all images, and one is chosen for each.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from zoo import Constraint, Fraction, NonNegativeFloat, PositiveFloat, Register, hookimpl

if TYPE_CHECKING:
    from torch import Generator, Tensor

Few = Annotated[int, Constraint("an int from 1 to 10", lambda v: 1 <= v <= 10)]
Severity = Annotated[float, Constraint("a number from 0.1 to 10", lambda v: 0.1 <= v <= 10)]
OPERATIONS = (
    "autocontrast",
    "equalize",
    "posterize",
    "solarize",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
_COLOURS = 4
"""How many of them, the first ones, leave pixels where they are."""
_DEEPEST = 3


@hookimpl
def zoo_register_augmentations(register: Register) -> None:
    """Register the augmentation."""
    register("augmix", augmix)


@hookimpl
def zoo_register_losses(register: Register) -> None:
    """Register the loss."""
    register("jensen_shannon", jensen_shannon)


def jensen_shannon(
    logits: Tensor, labels: Tensor, views: Tensor, *, weight: NonNegativeFloat = 12.0, label_smoothing: Fraction = 0.0
) -> Tensor:
    """Cross-entropy of the first view, and `weight` times how far the predictions for an image's views are apart.

    That is their Jensen-Shannon divergence, in nats: the mean over views of the Kullback-Leibler divergence from the
    mean of the predictions. It takes an augmentation that gives several views, such as `augmix` with `views = 3`.

    Paper: Hendrycks et al., 2020, AugMix: a simple data processing method to improve robustness and uncertainty
    (arXiv:1912.02781).
    """
    from torch.nn import functional as F

    each = views.log_softmax(-1)
    mean = each.logsumexp(0) - math.log(len(views))
    divergence = (each.exp() * (each - mean)).sum(-1).mean()
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing) + weight * divergence


def augmix(
    images: Tensor,
    generator: Generator,
    *,
    views: Few = 1,
    severity: Severity = 3.0,
    width: Few = 3,
    depth: Literal["random", 1, 2, 3] = "random",
    alpha: PositiveFloat = 1.0,
) -> Tensor:
    """Mix each image with a mean of `width` chains of `depth` operations on it, by shares from Dirichlet and Beta.

    One view is the mixed image alone; of more, the first is the image as it is, and each other is mixed by itself. An
    operation is one of nine, each equally likely: automatic contrast, equalizing, posterizing, solarizing, rotation,
    shears and translations; how strong it is, is uniform from 0.1 to `severity`, of 10. "random" chains have from 1 to
    3 operations. The shares of the chains are from Dirichlet(alpha), that of their mean from Beta(alpha, alpha).

    Paper: Hendrycks et al., 2020, AugMix: a simple data processing method to improve robustness and uncertainty
    (arXiv:1912.02781).
    """
    import torch

    count, made = len(images), max(1, views - 1)

    def drawn(choices: int, of: int) -> Tensor:
        return torch.randint(choices, (of,), generator=generator, device=images.device)

    def shares(choices: int) -> Tensor:
        """Return (made, images, choices): shares that sum to 1."""
        # As torch.distributions.Dirichlet does, which takes no generator.
        return torch._sample_dirichlet(images.new_full((made, count, choices), alpha), generator)

    chains = images.repeat(made * width, 1, 1, 1)
    lengths = 1 + drawn(_DEEPEST, len(chains)) if depth == "random" else None
    for place in range(_DEEPEST if depth == "random" else depth):
        operation, sign = drawn(len(OPERATIONS), len(chains)), 2 * drawn(2, len(chains)) - 1
        level = torch.rand(len(chains), generator=generator, device=images.device, dtype=images.dtype)
        changed = operated(chains, operation, (0.1 + (severity - 0.1) * level) / 10, sign)
        chains = changed if lengths is None else torch.where((lengths > place)[:, None, None, None], changed, chains)
    own = shares(width).transpose(1, 2)[..., None, None, None]
    mixed = (own * chains.view(made, width, *images.shape)).sum(1)
    mixed = torch.lerp(images, mixed, shares(2)[..., :1, None, None]).clamp(0, 1)
    return mixed[0] if views == 1 else torch.cat([images[None], mixed])


def operated(images: Tensor, operation: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Return images changed by one operation each.

    Args:
        images: (batch, channels, height, width).
        operation: which, as `OPERATIONS` numbers it, (batch,).
        level: how strong, from 0 to 1, (batch,).
        sign: of what has a direction, 1 or -1, (batch,).
    """
    import torch
    from torchvision.transforms.v2 import functional as V

    strength = level[:, None, None, None]
    levels = 2 ** (4 - (4 * strength).floor())
    values = images * 255 + 0.01  # so that rounding takes none of 256 values for the one below
    least, most = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    made = [
        torch.where(most > least, (images - least) / torch.where(most > least, most - least, 1), images),
        V.equalize(images),
        (values / 256 * levels).floor() / levels * (256 / 255),
        torch.where(values >= 256 - (256 * strength).floor(), 1 - images, images),
    ]
    changed = moved(images, operation, level, sign)
    for number, each in enumerate(made):
        changed = torch.where((operation == number)[:, None, None, None], each, changed)
    return changed


def moved(images: Tensor, operation: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Return images rotated, sheared or translated, and others as they are; see `operated`."""
    import torch
    from torch.nn import functional as F

    height, width = images.shape[2:]

    def only(name: str, value: Tensor) -> Tensor:
        chosen = operation == OPERATIONS.index(name)
        return torch.where(chosen, value * sign, torch.zeros_like(value))

    angle = only("rotate", (30 * level).floor() * (math.pi / 180))
    shear_x, shear_y = only("shear_x", 0.3 * level), only("shear_y", 0.3 * level)
    # From which place, in pixels from the centre, a pixel comes. Shears leave the upper left corner where it is.
    across = only("translate_x", (width / 3 * level).floor()) + shear_x * height / 2
    down = only("translate_y", (height / 3 * level).floor()) + shear_y * width / 2
    first = [angle.cos(), (shear_x - angle.sin()) * height / width, across * 2 / width]
    second = [(angle.sin() + shear_y) * width / height, angle.cos(), down * 2 / height]
    theta = torch.stack([torch.stack(first, 1), torch.stack(second, 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    found = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # Bilinear sampling rounds, also where a pixel comes from its own place.
    return torch.where((operation < _COLOURS)[:, None, None, None], images, found)
