"""Initializers of weights, which draw from torch's global generator; biases keep what torch gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from zoo import Choice, Float, Kind, PositiveFloat, PositiveInt, Register, chosen, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

InitializerChoice = Annotated[Choice, Kind("initializer")]


@hookimpl
def zoo_register_initializers(register: Register) -> None:
    """Register the initializers."""
    register("default", default)
    register("he", he)
    register("xavier", xavier)
    register("orthogonal", orthogonal)
    register("constant_at", constant_at)
    register("dirac", dirac)
    register("lsuv", lsuv)


def default(weight: Tensor) -> None:
    """What the layer itself chose: for torch's layers, uniform in +-1 / sqrt(fan-in)."""


def he(
    weight: Tensor,
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    distribution: Literal["normal", "uniform"] = "normal",
) -> None:
    """He initialization: variance 2 / fan, which keeps the variance through ReLUs.

    Fan-in keeps that of the activations, fan-out that of the gradients.

    Paper: He, Zhang, Ren and Sun, 2015, Delving deep into rectifiers (arXiv:1502.01852).
    """
    from torch.nn import init

    fill = init.kaiming_normal_ if distribution == "normal" else init.kaiming_uniform_
    fill(weight, mode=mode, nonlinearity="relu")


def xavier(weight: Tensor, *, distribution: Literal["normal", "uniform"] = "uniform") -> None:
    """Xavier initialization, also called Glorot's: variance 2 / (fan-in + fan-out).

    Paper: Glorot and Bengio, 2010, Understanding the difficulty of training deep feedforward neural networks.
    """
    from torch.nn import init

    fill = init.xavier_normal_ if distribution == "normal" else init.xavier_uniform_
    fill(weight)


def orthogonal(weight: Tensor, *, gain: PositiveFloat = 1.0) -> None:
    """Random matrix with orthonormal rows (columns where it has more rows than columns), times `gain`.

    A weight of more dimensions counts as a matrix with one row for each filter.

    Paper: Saxe, McClelland and Ganguli, 2014, Exact solutions to the nonlinear dynamics of learning (arXiv:1312.6120).
    """
    from torch.nn import init

    init.orthogonal_(weight, gain=gain)


def dirac(weight: Tensor, make: Callable[..., None], *, others: InitializerChoice = chosen("default")) -> None:
    """Filters that pass on one channel each, as far as there are channels; what another initializer gives for the rest.

    So at first a convolution with at least as many filters as channels keeps what it is given, and adds to it. Weights
    of dense layers are the other initializer's.

    Paper: Zagoruyko and Komodakis, 2017, DiracNets: training very deep neural networks without skip-connections
    (arXiv:1706.00388); Jordan, 2024, 94% on CIFAR-10 in 3.29 seconds on a single GPU (arXiv:2404.00498).
    """
    from torch.nn import init

    make(others)
    if weight.dim() > 2:
        init.dirac_(weight[: weight.shape[1]])


def lsuv(
    weight: Tensor,
    module: nn.Module,
    images: Tensor | None,
    *,
    tolerance: PositiveFloat = 0.1,
    rounds: PositiveInt = 10,
    batch: PositiveInt = 256,
) -> None:
    """Layer-sequential unit-variance: orthonormal weights, divided until a layer makes variance 1 of training images.

    Layers follow each other in the order of the forward pass. The variance is over all that a convolution or a dense
    layer makes of the first `batch` images; it is divided by at most `rounds` times, and no more where it is within
    `tolerance` of 1. Other weights stay orthonormal.

    Paper: Mishkin and Matas, 2016, All you need is a good init (arXiv:1511.06422).
    """
    from torch import nn
    from torch.nn import init

    if images is None:
        init.orthogonal_(weight)
        return
    if not isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return
    for _ in range(rounds):
        variance = module(images[:batch]).var()
        if abs(variance - 1) <= tolerance or not variance > 0:
            break
        weight.div_(variance.sqrt())


def constant_at(
    weight: Tensor,
    name: str,
    role: str,
    make: Callable[..., None],
    *,
    at: str = "*bias",
    value: Float = 0.0,
    others: InitializerChoice = chosen("default"),
) -> None:
    """One value for all parameters whose name matches `at`; what another initializer gives for all others.

    With the defaults biases begin at 0. With `at = "*.second.normalization.weight"` the last normalization of each
    residual block begins with a scale of 0, so that the block begins as its shortcut. The other initializer fills
    weights of two or more dimensions that are no normalization's.

    Paper: Goyal et al., 2017, Accurate, large minibatch SGD: training ImageNet in 1 hour (arXiv:1706.02677).
    """
    from fnmatch import fnmatchcase

    if fnmatchcase(name, at):
        weight.fill_(value)
    elif weight.dim() > 1 and role != "normalization":
        make(others)
