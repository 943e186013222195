"""Optimizers of recent recipes: torch's, those of the library pytorch-optimizer, and sharpness-aware SGD.

The library is imported when one of its optimizers is made: `pip install 'layer-zoo[optimizers]'`. None of its steps is
made for a recorded graph; on a GPU the gate finds out which can be recorded all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

from zoo import (
    Constraint,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Register,
    ZooError,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    Parameters = Iterable[Any]
    """Tensors, or groups of them as torch has them: dictionaries whose "params" they are."""

PositiveFraction = Annotated[float, Constraint("a number above 0 and below 1", lambda v: 0 < v < 1)]


@hookimpl
def zoo_register_optimizers(register: Register) -> None:
    """Register the optimizers."""
    register("adafactor", adafactor)
    register("muon", muon)
    register("sam", sam)
    register("lamb", lamb)
    register("lion", lion)
    register("adan", adan)
    register("adahessian", adahessian)
    register("schedule_free_sgd", schedule_free_sgd)
    register("schedule_free_adamw", schedule_free_adamw)


def adafactor(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.01,
    decay: PositiveFloat = 0.8,
    clip: PositiveFloat = 1.0,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Adafactor: of a matrix it keeps means of squared gradients by row and by column only.

    The mean at step t has the decay 1 - t ** -decay; an update of a root mean square above `clip` is scaled down to it.
    The step is relative to the size of the parameter.

    Paper: Shazeer and Stern, 2018, Adafactor: adaptive learning rates with sublinear memory cost (arXiv:1804.04235).
    """
    from torch import optim

    return optim.Adafactor(parameters, lr=learning_rate, beta2_decay=-decay, d=clip, weight_decay=weight_decay)


def muon(
    parameters: Parameters,
    network: nn.Module,
    *,
    learning_rate: PositiveFloat = 0.02,
    momentum: Fraction = 0.95,
    nesterov: bool = True,
    weight_decay: NonNegativeFloat = 0.0,
    iterations: PositiveInt = 5,
    others: PositiveFloat = 0.015,
) -> Optimizer:
    """Muon: each update of a matrix or of filters is made orthogonal, by some iterations of Newton and Schulz.

    What has one dimension, and the last weight of the network, is trained by AdamW with `others` times the learning
    rate.

    Paper: Jordan et al., 2024, Muon: an optimizer for hidden layers in neural networks.
    """
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    last = weights[-1] if weights else None
    groups = []
    for group in _grouped(parameters):
        for by_muon in (True, False):
            own = [p for p in group["params"] if (p.dim() > 1 and p is not last) == by_muon]
            rate = learning_rate if by_muon else learning_rate * others
            if own:
                groups.append({**group, "params": own, "use_muon": by_muon, "lr": rate, "weight_decay": weight_decay})
    made: Optimizer = _library().Muon(groups, momentum=momentum, nesterov=nesterov, ns_steps=iterations)
    return made


def sam(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.01,
    momentum: Fraction = 0.9,
    weight_decay: NonNegativeFloat = 0.0,
    radius: PositiveFloat = 0.05,
) -> Optimizer:
    """Sharpness-aware minimization: SGD with the gradient at the worst point nearby, at the distance `radius`.

    Each step computes two gradients. Running statistics of a normalization see both passes.

    Paper: Foret, Kleiner, Mobahi and Neyshabur, 2021, Sharpness-aware minimization for efficiently improving
    generalization (arXiv:2010.01412).
    """
    from zoo_plugins._recent_optimizers import Sam

    return Sam(parameters, lr=learning_rate, momentum=momentum, weight_decay=weight_decay, radius=radius)


def lamb(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: PositiveFloat = 1e-6,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """LAMB: Adam whose step in each layer is scaled to the size of the layer's weights, for large batches.

    Paper: You et al., 2020, Large batch optimization for deep learning: training BERT in 76 minutes (arXiv:1904.00962).
    """
    from zoo_plugins._recent_optimizers import lamb_of

    betas = (beta1, beta2)
    made = lamb_of(_library())
    return made(parameters, lr=learning_rate, betas=betas, eps=epsilon, weight_decay=weight_decay, max_grad_norm=0.0)


def lion(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 1e-4,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.99,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Lion: steps of one size, in the direction of the sign of a mean of gradients.

    The weight decay is decoupled: parameters shrink by learning_rate * weight_decay.

    Paper: Chen et al., 2023, Symbolic discovery of optimization algorithms (arXiv:2302.06675).
    """
    made: Optimizer = _library().Lion(parameters, lr=learning_rate, betas=(beta1, beta2), weight_decay=weight_decay)
    return made


def adan(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.001,
    beta1: Fraction = 0.98,
    beta2: Fraction = 0.92,
    beta3: Fraction = 0.99,
    epsilon: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Adan: Adam with Nesterov's momentum, from means of gradients, of their differences, and of squares.

    Paper: Xie, Zhou, Li, Lin and Yan, 2022, Adan: adaptive Nesterov momentum algorithm for faster optimizing deep
    models (arXiv:2208.06677).
    """
    made: Optimizer = _library().Adan(
        parameters, lr=learning_rate, betas=(beta1, beta2, beta3), eps=epsilon, weight_decay=weight_decay
    )
    return made


def adahessian(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.1,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """AdaHessian: Adam with the diagonal of the Hessian, estimated in each step, in place of squared gradients.

    Each step differentiates twice. The random vectors of Hutchinson's estimate come from the run's own stream.

    Paper: Yao et al., 2021, ADAHESSIAN: an adaptive second order optimizer for machine learning (arXiv:2006.00719).
    """
    from zoo_plugins._recent_optimizers import adahessian_of

    made = adahessian_of(_library())
    return made(parameters, lr=learning_rate, betas=(beta1, beta2), eps=epsilon, weight_decay=weight_decay)


def schedule_free_sgd(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.1,
    momentum: PositiveFraction = 0.9,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Schedule-free SGD: a mean of the weights so far is evaluated, in place of a falling learning rate.

    Running statistics of a normalization are those of the weights that are trained, not of the mean.

    Paper: Defazio et al., 2024, The road less scheduled (arXiv:2405.15682).
    """
    made: Optimizer = _library().ScheduleFreeSGD(
        parameters, lr=learning_rate, momentum=momentum, weight_decay=weight_decay
    )
    return made


def schedule_free_adamw(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.0025,
    beta1: PositiveFraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Schedule-free AdamW: a mean of the weights so far is evaluated, in place of a falling learning rate.

    Running statistics of a normalization are those of the weights that are trained, not of the mean.

    Paper: Defazio et al., 2024, The road less scheduled (arXiv:2405.15682).
    """
    made: Optimizer = _library().ScheduleFreeAdamW(
        parameters, lr=learning_rate, betas=(beta1, beta2), eps=epsilon, weight_decay=weight_decay
    )
    return made


def _grouped(parameters: Parameters) -> Iterator[dict[str, Any]]:
    """Yield the groups of parameters; one where there are no groups."""
    parameters = list(parameters)
    yield from parameters if isinstance(parameters[0], dict) else [{"params": parameters}]


def _library() -> Any:
    try:
        import pytorch_optimizer
    except ImportError as error:
        raise ZooError(
            f"this optimizer is of the library pytorch-optimizer, which cannot be imported ({error}): "
            "pip install 'layer-zoo[optimizers]'"
        ) from error
    return pytorch_optimizer
