"""Gradients beside finite differences: off the kinks, and within the precision that something is computed in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.testing.check import FailedError, SkippedError

Function = Callable[..., Tensor]
_STEP = {torch.float64: 1e-6, torch.float32: 1e-3}
"""How far values are moved, as a share of their size. Beside the error of rounding, that of the cube is small."""
_TOLERANCE = {torch.float64: 1e-3, torch.float32: 0.05}
"""Of the gradient's length; a step of 1e-3 takes some values over a kink."""
_DIRECTIONS = {torch.float64: 1, torch.float32: 4}
_ROUNDINGS = 30
"""How many times as far as one rounding of each number a sum may be off."""


def require_gradient(function: Function, points: Sequence[Mapping[str, Tensor]]) -> None:
    """See that the gradients of a function are those of finite differences.

    Args:
        function: of tensors of float64, which it is given by position, to a tensor.
        points: the tensors by name. One point of them suffices: at others a value may lie on a kink, where there is
            no gradient.

    Raises:
        FailedError: they are not at any of the points; says what was found at the first.
        SkippedError: it is computed in a precision that is too low for finite differences.
    """
    first = ""
    for inputs in points:
        found = _mismatch(function, inputs)
        if not found:
            return
        first = first or found
    raise FailedError(first)


def near(values: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return starting values of parameters, moved a little: a bias of 0 may keep a ReLU exactly at its kink."""
    generator = torch.Generator().manual_seed(seed)
    moved = {}
    for name, value in values.items():
        noise = 0.1 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        moved[name] = torch.where(value == 0, noise, value * (1 + noise))
    return moved


def _mismatch(function: Function, inputs: Mapping[str, Tensor]) -> str:
    """Say where gradients and finite differences are not alike; nothing where they are."""
    tensors = [value.detach().clone().requires_grad_() for value in inputs.values()]
    with _Types() as types:  # type: ignore[no-untyped-call]
        output = function(*tensors)
        if not output.requires_grad:
            return ""  # said by gradients_reach_all
        generator = torch.Generator().manual_seed(4)
        weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        gradients = torch.autograd.grad(output, tensors, weights.to(output.dtype), allow_unused=True)
    dtype = types.coarsest
    if dtype not in _STEP:
        raise SkippedError(f"it computes in {str(dtype).removeprefix('torch.')}, too coarse for finite differences")
    rounding = _rounding(function, tensors, weights, torch.finfo(dtype).eps)
    for index, (name, gradient) in enumerate(zip(inputs, gradients, strict=True)):
        if gradient is None:
            continue  # said by gradients_reach_all
        size = tensors[index].detach().square().mean().sqrt().item() or 1.0
        step = _STEP[dtype] * size
        for _ in range(_DIRECTIONS[dtype]):
            direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
            one, other = (
                _summed(function, _moved(tensors, index, sign * step * direction), weights) for sign in (1, -1)
            )
            numerical, analytical = (one - other) / (2 * step), (gradient * direction).sum().item()
            allowed = _TOLERANCE[dtype] * gradient.norm().item() + rounding / step
            if not abs(numerical - analytical) <= allowed:  # nor where one of them is not a number
                return (
                    f"along a random direction of {name} it changes by {numerical:.6g}, and by {analytical:.6g} as its "
                    f"gradient says ({str(dtype).removeprefix('torch.')}, {allowed:.2g} allowed)"
                )
    return ""


def _rounding(function: Function, tensors: Sequence[Tensor], weights: Tensor, eps: float) -> float:
    """Return by how much rounding may change the weighted sum: what a small change of everything does to it, and more.

    Raises:
        FailedError: the function gives two results for one input.
    """
    values = [value.detach() for value in tensors]
    first, again = _summed(function, values, weights), _summed(function, values, weights)
    if first != again and not math.isnan(first):
        raise FailedError(f"for one input it comes to {first:.6g}, and then to {again:.6g}")
    generator = torch.Generator().manual_seed(5)
    noise = [torch.randn(value.shape, generator=generator, dtype=torch.float64) for value in values]
    moved = [value * (1 + eps * change) for value, change in zip(values, noise, strict=True)]
    with torch.no_grad():
        length = float((function(*values).double() * weights).norm())
    rounded: float = abs(_summed(function, moved, weights) - first) + eps * length
    return _ROUNDINGS * rounded


@torch.no_grad()
def _summed(function: Function, values: Sequence[Tensor], weights: Tensor) -> float:
    return float((function(*values).double() * weights).sum())


def _moved(tensors: Sequence[Tensor], index: int, change: Tensor) -> list[Tensor]:
    return [value.detach() + change if at == index else value.detach() for at, value in enumerate(tensors)]


class _Types(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches for the coarsest type that numbers of float64 are turned into on the way."""

    coarsest = torch.float64

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(dtype == torch.float64 for dtype in _floating(args)):
            coarser = [dtype for dtype in _floating(result) if torch.finfo(dtype).eps > torch.finfo(self.coarsest).eps]
            self.coarsest = max([self.coarsest, *coarser], key=lambda dtype: torch.finfo(dtype).eps)
        return result


def _floating(values: Any) -> list[torch.dtype]:
    return [leaf.dtype for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
