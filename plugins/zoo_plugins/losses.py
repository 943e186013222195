"""Losses of a classifier, as means over the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from zoo import LATER, Fraction, PositiveFloat, Register, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


@hookimpl
def zoo_register_losses(register: Register) -> None:
    """Register the losses."""
    register("cross_entropy", cross_entropy)
    register("cross_entropy_of_softmax", cross_entropy_of_softmax)
    register("multi_margin", multi_margin)


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    class_sizes: Tensor | None = None,
    *,
    label_smoothing: Fraction = 0.0,
    class_weights: Annotated[Literal["none", "balanced"], LATER] = "none",
) -> Tensor:
    """Cross-entropy of the softmax of the logits, in nats, with label smoothing and class weights on request.

    Labels are classes, or shares of each class as mixup makes them.

    With label smoothing s the target is 1 - s for the true class plus s / classes for every class. With balanced class
    weights an image's loss is multiplied by images / (classes * images of its class), counted in the training set, so
    that over an epoch each class counts the same (King and Zeng, 2001, Logistic regression in rare events data).

    Paper: Szegedy et al., 2016, Rethinking the Inception architecture for computer vision (arXiv:1512.00567).
    """
    from torch.nn import functional as F

    if class_weights == "none":
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if labels.dim() == 2:
        return _balanced_shares(logits, labels, class_sizes, label_smoothing)
    of_each = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    return _balanced(of_each, labels, class_sizes)


def cross_entropy_of_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy that takes probabilities for logits, so that softmax is applied twice.

    A common mistake, here to repeat the study that made it. The gradient is weak, and the loss of a perfect network is
    log(e + classes - 1) - 1 instead of 0: 1.46 for ten classes.

    Paper: Liu and Hao, 2021, EQ2425 Analysis and Search of Visual Data, Project 3 (KTH course report).
    """
    from torch.nn import functional as F

    return F.cross_entropy(logits.softmax(1), labels)


def multi_margin(
    logits: Tensor,
    labels: Tensor,
    class_sizes: Tensor | None = None,
    *,
    power: Literal[1, 2] = 1,
    margin: PositiveFloat = 1.0,
    class_weights: Annotated[Literal["none", "balanced"], LATER] = "none",
) -> Tensor:
    """Multi-class hinge loss: each wrong class should score at least `margin` below the true one.

    max(0, margin - true logit + wrong logit) ** power, summed over the wrong classes and divided by the number of all.
    Class weights are those of `cross_entropy`.

    Paper: Weston and Watkins, 1999, Support vector machines for multi-class pattern recognition.
    """
    from torch.nn import functional as F

    if class_weights == "none":
        return F.multi_margin_loss(logits, labels, p=power, margin=margin)
    return _balanced(F.multi_margin_loss(logits, labels, p=power, margin=margin, reduction="none"), labels, class_sizes)


def _balanced(of_each: Tensor, labels: Tensor, class_sizes: Tensor | None) -> Tensor:
    """Return the mean of each image's loss, weighted so that classes count the same."""
    if class_sizes is None:
        raise ValueError("class weights need the sizes of the classes")
    weights = class_sizes.sum() / (len(class_sizes) * class_sizes)
    return (of_each * weights[labels]).mean()


def _balanced_shares(logits: Tensor, labels: Tensor, class_sizes: Tensor | None, label_smoothing: float) -> Tensor:
    """Return the balanced cross-entropy of labels that are shares of classes: linear in them."""
    from torch.nn import functional as F

    if class_sizes is None:
        raise ValueError("class weights need the sizes of the classes")
    weights = class_sizes.sum() / (len(class_sizes) * class_sizes)
    # A class without images has no share, and nothing times an infinite weight would be no number.
    weighted = labels * weights.masked_fill(class_sizes == 0, 0)
    of_each = weighted.sum(1)
    shares = weighted / of_each[:, None]
    return (F.cross_entropy(logits, shares, label_smoothing=label_smoothing, reduction="none") * of_each).mean()
