"""Elementwise functions that stand in place of a normalization and compute no statistics.

`affine` gives each a learned scale and offset for each channel (each unit in the classifier), as zoo's own have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from torch import nn


@zoo.hookimpl
def zoo_register_normalizations(register: zoo.Register) -> None:
    """Register them."""
    register("dynamic_tanh", dynamic_tanh)
    register("dynamic_erf", dynamic_erf)
    register("dynamic_isru", dynamic_isru)


def dynamic_tanh(shape: zoo.Shape, *, alpha: zoo.PositiveFloat = 0.5, affine: bool = True) -> nn.Module:
    """Dynamic tanh (DyT): tanh(alpha * x), with one learned alpha, which starts at the option's value.

    Paper: Zhu, Chen, He, LeCun and Liu, 2025, Transformers without normalization (arXiv:2503.10622).
    """
    from zoo_dynamic_norms._normalizations import DynamicTanh

    return DynamicTanh(shape[0], alpha, affine)


def dynamic_erf(
    shape: zoo.Shape, *, alpha: zoo.PositiveFloat = 0.5, shift: zoo.Float = 0.0, affine: bool = True
) -> nn.Module:
    """Dynamic erf (Derf): erf(alpha * x + shift), with one learned alpha and shift, which start at the options' values.

    Paper: Chen, Lu, Zhu, Sun and Liu, 2025, Stronger normalization-free transformers (arXiv:2512.10938).
    """
    from zoo_dynamic_norms._normalizations import DynamicErf

    return DynamicErf(shape[0], alpha, shift, affine)


def dynamic_isru(shape: zoo.Shape, *, affine: bool = True) -> nn.Module:
    """Dynamic inverse square root unit: sqrt(C) * x / sqrt(beta + x^2) for C channels, with one learned beta.

    It is what root mean square normalization over the channels does to one of them, when the sum of the others'
    squares is beta. beta starts at C, the sum of C squares whose mean is 1; its logarithm is learned, so that it stays
    positive.

    Paper: Stollenwerk, 2025, The mathematical relationship between layer normalization and dynamic activation
    functions (arXiv:2503.21708).
    """
    from zoo_dynamic_norms._normalizations import DynamicISRU

    return DynamicISRU(shape[0], affine)
