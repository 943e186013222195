"""Changes of gradients between the backward pass and the optimizer's step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import PositiveFloat, Register, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


@hookimpl
def zoo_register_gradients(register: Register) -> None:
    """Register the changes of gradients."""
    register("none", none)
    register("adaptive_clip", adaptive_clip)
    register("centralize", centralize)


def none() -> None:
    """No change: the gradients as they are."""


def adaptive_clip(
    parameters: list[Tensor],
    names: list[str],
    *,
    limit: PositiveFloat = 0.01,
    epsilon: PositiveFloat = 1e-3,
    but: tuple[str, ...] = ("output.*",),
) -> None:
    """Adaptive clipping: a gradient of at most `limit` times the norm of its weights, unit by unit.

    A unit is a filter or a row of a matrix; a parameter of one dimension is one as a whole. A norm of weights counts as
    `epsilon` where it is less. Parameters whose name matches a pattern of `but` are left out, as the paper leaves out
    the last layer.

    Paper: Brock, De, Smith and Simonyan, 2021, High-performance large-scale image recognition without normalization
    (arXiv:2102.06171).
    """
    from fnmatch import fnmatchcase

    for name, parameter in zip(names, parameters, strict=True):
        if parameter.grad is not None and not any(fnmatchcase(name, pattern) for pattern in but):
            most = _unit_norms(parameter).clamp_min(epsilon) * limit
            parameter.grad.mul_((most / _unit_norms(parameter.grad).clamp_min(1e-6)).clamp_max(1.0))


def centralize(parameters: list[Tensor]) -> None:
    """Gradient centralization: each filter's, and each row's, gradient less its mean.

    Parameters of one dimension are left as they are.

    Paper: Yong, Huang, Hua and Zhang, 2020, Gradient centralization: a new optimization technique for deep neural
    networks (arXiv:2004.01461).
    """
    for parameter in parameters:
        if parameter.grad is not None and parameter.dim() > 1:
            parameter.grad.sub_(parameter.grad.mean(tuple(range(1, parameter.dim())), keepdim=True))


def _unit_norms(tensor: Tensor) -> Tensor:
    """Return the norm of each unit, in a form that multiplies the tensor."""
    import torch

    within = tuple(range(1, tensor.dim())) or None
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=within, keepdim=True)
    return norms
