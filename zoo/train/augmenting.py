"""Augmentations of a batch, one after another, each with what it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.errors import BuildError


class Augmentation(Protocol):
    """A registered augmentation, bound to its options."""

    what: str
    """The place in the spec, for messages."""

    def asks(self, name: str) -> bool:
        """Whether the factory asks for something of what the kind supplies."""

    def __call__(self, **supplied: Any) -> Any:
        """Return the images, and where labels are asked for the labels, too."""


class Augmentations:
    """What becomes of a batch before a step.

    Attributes:
        softens: the first that asks for labels; None where labels stay classes.
    """

    def __init__(self, augmentations: Sequence[Augmentation], classes: int) -> None:
        self._augmentations, self._classes = augmentations, classes
        self.softens = next((one for one in augmentations if one.asks("labels")), None)

    def __call__(
        self, images: Tensor, labels: Tensor, *, indices: Tensor | None, epoch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the images and the labels.

        These are classes (batch,), or where an augmentation asks for them shares of each class (batch, classes).

        Raises:
            BuildError: an augmentation refuses its options.
            PluginError: it returns what its kind must not.
        """
        if self.softens is not None:
            labels = soft(labels, self._classes, images.dtype)
        for augment in self._augmentations:
            made = augment(images=images, labels=labels, indices=indices, epoch=epoch, generator=generator)
            images, labels = made if augment.asks("labels") else (made, labels)
        return images, labels


def soft(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return classes as shares of each class: 1 for the true one."""
    # Not one_hot, which looks at the values.
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(dtype)


def require_soft_loss(loss: Any, what: str, softens: str, class_sizes: Tensor) -> None:
    """Refuse a loss that does not take labels that are shares of classes, by trying it.

    Raises:
        BuildError: it raises; names the loss and the augmentation.
    """
    classes = len(class_sizes)
    labels = soft(torch.arange(2, device=class_sizes.device) % classes, classes, class_sizes.dtype)
    try:
        loss(logits=torch.zeros_like(labels), labels=labels, class_sizes=class_sizes)
    except Exception as error:
        raise BuildError(
            f"{what} takes labels that are classes only, and {softens} makes shares of several classes of them: take "
            "another loss, such as cross_entropy, or another augmentation"
        ) from error
