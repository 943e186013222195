"""Averagings of weights over a run, in place and without a look at a value, so that steps can be recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from zoo import Fraction, PositiveFloat, PositiveInt, Probability, Register, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


@hookimpl
def zoo_register_averagings(register: Register) -> None:
    """Register the averagings."""
    register("none", none)
    register("ema", ema)
    register("swa", swa)
    register("lookahead", lookahead)
    register("rising_lookahead", rising_lookahead)


def none(average: list[Tensor], weights: list[Tensor]) -> None:
    """No average: what is trained is what is evaluated."""


def ema(
    average: list[Tensor],
    weights: list[Tensor],
    step: Tensor,
    *,
    decay: Fraction = 0.999,
    ramp: bool = True,
    statistics: Literal["averaged", "estimated"] = "averaged",
) -> None:
    """Exponential moving average: after each step decay * average + (1 - decay) * weights.

    It begins as the weights after the first step. With `ramp` the decay is at most (1 + step) / (10 + step), so that
    the beginning of a run is forgotten.

    Paper: Polyak and Juditsky, 1992, Acceleration of stochastic approximation by averaging; Tarvainen and Valpola,
    2017, Mean teachers are better role models (arXiv:1703.01780).
    """
    behind = step.to(average[0].dtype)
    kept = (behind > 1) * behind.new_full((), decay)
    if ramp:
        kept = kept.minimum((1 + behind) / (10 + behind))
    for mean, own in zip(average, weights, strict=True):
        mean.lerp_(own, (1 - kept).to(mean.dtype))


def swa(
    average: list[Tensor],
    weights: list[Tensor],
    step: Tensor,
    steps: int,
    steps_per_epoch: int,
    *,
    start: Fraction = 0.75,
    statistics: Literal["averaged", "estimated"] = "estimated",
) -> None:
    """Stochastic weight averaging: the mean of the weights at the ends of the epochs after the share `start` of a run.

    Until then it is the weights themselves. It wants a learning rate that stays large to the end.

    Paper: Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, 2018, Averaging weights leads to wider optima and better
    generalization (arXiv:1803.05407).
    """
    first = round(start * steps)
    behind = step.to(average[0].dtype)
    taken = (step + steps_per_epoch - 1) // steps_per_epoch - first // steps_per_epoch
    ends = (step % steps_per_epoch == 0) | (step == steps)
    share = (ends / taken.clamp_min(1).to(behind.dtype)).masked_fill(behind <= first, 1.0)
    for mean, own in zip(average, weights, strict=True):
        mean.lerp_(own, share.to(mean.dtype))


def lookahead(
    average: list[Tensor],
    weights: list[Tensor],
    step: Tensor,
    *,
    period: PositiveInt = 5,
    share: Probability = 0.5,
) -> None:
    """Lookahead: every few steps slow weights go a share of the way to the trained ones, which go on from there.

    The slow weights are what is evaluated.

    Paper: Zhang, Lucas, Hinton and Ba, 2019, Lookahead optimizer: k steps forward, 1 step back (arXiv:1907.08610).
    """
    import torch

    due = step % period == 0
    for slow, fast in zip(average, weights, strict=True):
        slow.lerp_(fast, due * slow.new_full((), share))
        fast.copy_(torch.where(due, slow, fast))


def rising_lookahead(
    average: list[Tensor],
    weights: list[Tensor],
    step: Tensor,
    steps: int,
    *,
    period: PositiveInt = 5,
    decay: Probability = 0.95**5,
    power: PositiveFloat = 3.0,
) -> None:
    """Lookahead whose slow weights become slower: they keep decay * (share of the run behind)^power of themselves.

    At first they follow the trained ones at once, so that the beginning of a run is that of its optimizer alone.

    Paper: Jordan, 2024, 94% on CIFAR-10 in 3.29 seconds on a single GPU (arXiv:2404.00498).
    """
    import torch

    due = step % period == 0
    behind = step.to(average[0].dtype) / steps
    taken = due * (1 - decay * behind**power)
    for slow, fast in zip(average, weights, strict=True):
        slow.lerp_(fast, taken.to(slow.dtype))
        fast.copy_(torch.where(due, slow, fast))
