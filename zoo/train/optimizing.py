"""What zoo and an optimizer ask of each other: gradients, also several times in a step, and modes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer


def asks_for_closure(optimizer: Optimizer) -> bool:
    """Whether an optimizer's `step` cannot do without a closure: whether its parameter `closure` has no default."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def has_modes(optimizer: Optimizer) -> bool:
    """Whether an optimizer has both `train()` and `eval()`: its parameters are others in training than after it."""
    return all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval"))


def set_mode(optimizer: Optimizer, *, training: bool) -> None:
    """Call `train()` or `eval()` of an optimizer that has modes."""
    if has_modes(optimizer):
        getattr(optimizer, "train" if training else "eval")()


def backward(loss: Tensor, parameters: Sequence[Tensor], *, create_graph: bool = False) -> None:
    """Add the gradient of a loss to that of the parameters; on request one that can be differentiated again."""
    if not create_graph:
        loss.backward()  # type: ignore[no-untyped-call]
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    # Not `backward`, which warns of a cycle: the optimizer lets go of the gradients.
    gradients = torch.autograd.grad(loss, trained, create_graph=True, allow_unused=True)
    for parameter, gradient in zip(trained, gradients, strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
