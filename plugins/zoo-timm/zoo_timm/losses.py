"""Losses: those of timm for one label an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from torch import Tensor


@zoo.hookimpl
def zoo_register_losses(register: zoo.Register) -> None:
    """Register them."""
    register("timm_label_smoothing", label_smoothing)
    register("timm_binary", binary)
    register("timm_poly", poly)
    register("timm_asymmetric", asymmetric)


def label_smoothing(logits: Tensor, labels: Tensor, *, smoothing: zoo.Fraction = 0.1) -> Tensor:
    """LabelSmoothingCrossEntropy of timm: cross-entropy with a share of each label spread over all classes."""
    from timm.loss import LabelSmoothingCrossEntropy

    made: Tensor = LabelSmoothingCrossEntropy(smoothing)(logits, labels)
    return made


def binary(logits: Tensor, labels: Tensor, *, smoothing: zoo.Fraction = 0.1, sum_classes: bool = False) -> Tensor:
    """BinaryCrossEntropy of timm: each class by itself against all others.

    Labels that are shares of classes, as mixup makes them, are smoothed like others; timm leaves that to its mixup.

    Paper: Wightman, Touvron and Jegou, 2021, ResNet strikes back (arXiv:2110.00476).
    """
    from timm.loss import BinaryCrossEntropy

    if labels.dim() == 2:
        labels = labels * (1 - smoothing) + smoothing / labels.shape[1]
    made: Tensor = BinaryCrossEntropy(smoothing, sum_classes=sum_classes)(logits, labels)
    return made


def poly(
    logits: Tensor, labels: Tensor, *, epsilon: zoo.NonNegativeFloat = 2.0, smoothing: zoo.Fraction = 0.0
) -> Tensor:
    """PolyCrossEntropy of timm: cross-entropy, and `epsilon` times what the right class lacks of a probability of 1.

    Paper: Leng et al., 2022, PolyLoss: a polynomial expansion perspective of classification loss functions
    (arXiv:2204.12511).
    """
    from timm.loss import PolyCrossEntropy

    made: Tensor = PolyCrossEntropy(epsilon, smoothing)(logits, labels)
    return made.to(logits.dtype)


def asymmetric(
    logits: Tensor,
    labels: Tensor,
    *,
    gamma_right: zoo.NonNegativeFloat = 1.0,
    gamma_wrong: zoo.NonNegativeFloat = 4.0,
    smoothing: zoo.Fraction = 0.1,
) -> Tensor:
    """AsymmetricLossSingleLabel of timm: cross-entropy that counts what is nearly right less, right and wrong apart.

    Paper: Ben-Baruch et al., 2020, Asymmetric loss for multi-label classification (arXiv:2009.14119).
    """
    from timm.loss import AsymmetricLossSingleLabel

    made: Tensor = AsymmetricLossSingleLabel(gamma_right, gamma_wrong, smoothing)(logits, labels)
    return made
