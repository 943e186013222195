"""The optimizer behind sharpness-aware minimization, and what zoo needs of the library's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim


class Sam(optim.SGD):
    """SGD with the gradient at the worst point within a radius, to the first order."""

    def __init__(self, parameters: Any, *, lr: float, momentum: float, weight_decay: float, radius: float) -> None:
        super().__init__(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self.radius = radius

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Make a step; the closure is called twice."""
        loss = closure()
        found = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        held = [parameter.detach().clone() for parameter in found]
        with torch.no_grad():
            gradients = [parameter.grad for parameter in found]
            norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in gradients]))
            torch._foreach_add_(found, torch._foreach_mul(gradients, self.radius / (norm + 1e-12)))
        closure()
        with torch.no_grad():
            torch._foreach_copy_(found, held)
        super().step()
        return loss


def adahessian_of(library: Any) -> Callable[..., optim.Optimizer]:
    """Return AdaHessian with a closure that it cannot do without: it differentiates the gradients again."""

    class AdaHessian(library.AdaHessian):  # type: ignore[misc]
        def step(self, closure: Callable[..., Tensor]) -> Tensor:
            loss = closure(create_graph=True)
            super().step()
            return loss

    return AdaHessian


def lamb_of(library: Any) -> Callable[..., optim.Optimizer]:
    """Return LAMB without the norms that it leaves in its state, which no step needs and which share their memory."""

    class Lamb(library.Lamb):  # type: ignore[misc]
        @torch.no_grad()
        def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
            loss: Tensor | None = super().step(closure)
            for state in self.state.values():
                for name in ("weight_norm", "adam_norm", "trust_ratio"):
                    state.pop(name, None)
            return loss

    return Lamb
