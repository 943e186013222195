"""Initializers of weights, which draw from torch's global generator; biases keep what torch gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from zoo import PositiveFloat, Register, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


@hookimpl
def zoo_register_initializers(register: Register) -> None:
    """Register the initializers."""
    register("default", default)
    register("he", he)
    register("xavier", xavier)
    register("orthogonal", orthogonal)


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
