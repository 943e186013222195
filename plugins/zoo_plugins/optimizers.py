"""Optimizers: torch's own, with the options spelt out.

On a CUDA device each is made so that a captured CUDA graph may contain its step and so that its learning rate may then
be a tensor on the device, which a schedule refills between replays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zoo import Fraction, NonNegativeFloat, PositiveFloat, Register, hookimpl

if TYPE_CHECKING:
    from torch.optim import Optimizer

    Parameters = Iterable[Any]
    """Tensors, or groups of them as torch has them: dictionaries whose "params" they are."""


@hookimpl
def zoo_register_optimizers(register: Register) -> None:
    """Register the optimizers."""
    register("sgd", sgd)
    register("adam", adam)
    register("adamw", adamw)
    register("rmsprop", rmsprop)


def sgd(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.01,
    momentum: Fraction = 0.0,
    nesterov: bool = False,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Stochastic gradient descent, with momentum or Nesterov's momentum.

    velocity = momentum * velocity + gradient; parameter -= learning_rate * velocity. The weight decay is an L2 penalty:
    weight_decay * parameter is added to the gradient.

    Paper: Sutskever, Martens, Dahl and Hinton, 2013, On the importance of initialization and momentum in deep learning.

    Raises:
        ValueError: `nesterov` without momentum.
    """
    from torch import optim, zeros_like

    if nesterov and momentum == 0:
        raise ValueError("nesterov = true needs a momentum above 0, such as 0.9; set momentum or leave nesterov out")
    parameters = list(parameters)
    # Only the fused implementation reads a learning rate that is a tensor on the device without asking the host.
    fused = True if _on_cuda(parameters) else None
    made = optim.SGD(
        parameters, lr=learning_rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=fused
    )
    if fused and momentum > 0:
        # A fused step makes velocities only where none of its parameters has one: not for one whose first gradient
        # comes later than the others', as behind a branch that some steps leave out.
        for parameter in (each for group in made.param_groups for each in group["params"]):
            made.state[parameter]["momentum_buffer"] = zeros_like(parameter)
    return made


def adam(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Adam: steps scaled by running means of the gradient (beta1) and of its square (beta2).

    The weight decay is an L2 penalty: weight_decay * parameter is added to the gradient, and is scaled with it.

    Paper: Kingma and Ba, 2015, Adam: a method for stochastic optimization (arXiv:1412.6980).
    """
    from torch import optim

    parameters = list(parameters)
    return optim.Adam(
        parameters,
        lr=learning_rate,
        betas=(beta1, beta2),
        eps=epsilon,
        weight_decay=weight_decay,
        capturable=_on_cuda(parameters),
    )


def adamw(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.01,
) -> Optimizer:
    """Adam with decoupled weight decay: parameters shrink by learning_rate * weight_decay beside Adam's step.

    Paper: Loshchilov and Hutter, 2019, Decoupled weight decay regularization (arXiv:1711.05101).
    """
    from torch import optim

    parameters = list(parameters)
    return optim.AdamW(
        parameters,
        lr=learning_rate,
        betas=(beta1, beta2),
        eps=epsilon,
        weight_decay=weight_decay,
        capturable=_on_cuda(parameters),
    )


def rmsprop(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.01,
    decay: Fraction = 0.99,
    epsilon: PositiveFloat = 1e-8,
    momentum: Fraction = 0.0,
    weight_decay: NonNegativeFloat = 0.0,
    centered: bool = False,
) -> Optimizer:
    """RMSprop: gradients divided by the root of a running mean (decay) of their squares.

    `centered` divides by the running standard deviation instead (Graves, 2013, arXiv:1308.0850). The weight decay is
    an L2 penalty: weight_decay * parameter is added to the gradient.

    Paper: Tieleman and Hinton, 2012, rmsprop: divide the gradient by a running average of its recent magnitude
    (lecture 6.5 of Neural networks for machine learning).
    """
    from torch import optim

    parameters = list(parameters)
    return optim.RMSprop(
        parameters,
        lr=learning_rate,
        alpha=decay,
        eps=epsilon,
        momentum=momentum,
        weight_decay=weight_decay,
        centered=centered,
        capturable=_on_cuda(parameters),
    )


def _on_cuda(parameters: list[Any]) -> bool:
    """Say whether the step may be captured in a CUDA graph, so that its counter must be kept on the device too."""
    parts = [part["params"] if isinstance(part, dict) else [part] for part in parameters]
    return any(parameter.is_cuda for part in parts for parameter in part)
