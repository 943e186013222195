"""Augmentations of a batch, one after another, each with what it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.errors import BuildError, PluginError

VIEWS = "views"
"""The option of an augmentation that says how many views of each image it gives; and what a loss asks for them by."""


class Augmentation(Protocol):
    """A registered augmentation, or a loss, bound to its options."""

    what: str
    """The place in the spec, for messages."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What the spec says of it."""

    def asks(self, name: str) -> bool:
        """Whether the factory asks for something of what the kind supplies."""

    def __call__(self, **supplied: Any) -> Any:
        """Return the images, and where labels are asked for the labels, too; of a loss, return the loss."""


class Augmentations:
    """What becomes of a batch before a step.

    Attributes:
        softens: the first that asks for labels; None where labels stay classes.
        parts: the one that gives several views of each image; None where there is one.
        views: how many there are.

    Raises:
        BuildError: two give several views, or one behind them changes labels, which an image's views share.
    """

    def __init__(self, augmentations: Sequence[Augmentation], classes: int) -> None:
        self._augmentations, self._classes = augmentations, classes
        self.softens = next((one for one in augmentations if one.asks("labels")), None)
        giving = [one for one in augmentations if _views(one) > 1]
        self.parts = giving[0] if giving else None
        self.views = _views(giving[0]) if giving else 1
        if len(giving) > 1:
            raise BuildError(
                f"{giving[0].what} and {giving[1].what} both give several views of an image: let one do so"
            )
        behind = augmentations[augmentations.index(giving[0]) + 1 :] if giving else ()
        for late in (one for one in behind if one.asks("labels")):
            raise BuildError(
                f"{late.what} changes labels, which the views that {giving[0].what} gives of an image share: put it "
                "before that"
            )

    def __call__(
        self, images: Tensor, labels: Tensor, *, indices: Tensor | None, epoch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the images, those of the first view of each before those of the second and so on, and the labels.

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
            if augment is self.parts:
                images = self._one_behind_another(images)
                indices = None if indices is None else indices.repeat(self.views)
        return images, labels

    def _one_behind_another(self, images: Tensor) -> Tensor:
        assert self.parts is not None
        if images.dim() != 5 or len(images) != self.views:
            raise PluginError(
                f"{self.parts.what}: it returned images of shape {tuple(images.shape)}, and must return (views, batch, "
                f"channels, height, width) with {self.views} views"
            )
        return images.flatten(0, 1)


def _views(augmentation: Augmentation) -> int:
    views = augmentation.options.get(VIEWS)
    return views if type(views) is int else 1


def require_views(loss: Augmentation, augmentations: Augmentations) -> None:
    """Refuse a loss and augmentations of which one has several views of each image, and the other does not.

    Raises:
        BuildError: names both.
    """
    if loss.asks(VIEWS) and augmentations.parts is None:
        raise BuildError(
            f"{loss.what} compares several views of each image, and no augmentation gives them: take one that does, "
            "such as augmix with views = 3, or another loss"
        )
    if augmentations.parts is not None and not loss.asks(VIEWS):
        raise BuildError(
            f"{augmentations.parts.what} gives {augmentations.views} views of each image, and {loss.what} takes one: "
            "set views = 1, or take a loss that compares them, such as jensen_shannon"
        )


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
        logits = torch.zeros_like(labels)
        loss(logits=logits, labels=labels, class_sizes=class_sizes, views=logits.expand(2, -1, -1))
    except Exception as error:
        raise BuildError(
            f"{what} takes labels that are classes only, and {softens} makes shares of several classes of them: take "
            "another loss, such as cross_entropy, or another augmentation"
        ) from error
