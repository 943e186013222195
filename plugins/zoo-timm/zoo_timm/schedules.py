"""Schedules: those of timm that are functions of the progress alone."""

from __future__ import annotations

from typing import Any, Literal

import zoo

STEPS = 10_000
"""A run in timm's steps: its schedules count, and zoo's know the progress."""


@zoo.hookimpl
def zoo_register_schedules(register: zoo.Register) -> None:
    """Register them."""
    register("timm_cosine", cosine)
    register("timm_poly", poly)
    register("timm_tanh", tanh)
    register("timm_step", step)
    register("timm_wsd", wsd)


def cosine(
    progress: float,
    *,
    final: zoo.Probability = 0.0,
    cycles: zoo.PositiveInt = 1,
    cycle_decay: zoo.Probability = 1.0,
    k_decay: zoo.PositiveFloat = 1.0,
) -> float:
    """CosineLRScheduler of timm: half a cosine down to `final`, in each of some equal cycles.

    Paper: Loshchilov and Hutter, 2017, SGDR: stochastic gradient descent with warm restarts (arXiv:1608.03983).
    """
    options = {"cycle_limit": cycles, "cycle_decay": cycle_decay, "k_decay": k_decay}
    return _factor("CosineLRScheduler", progress, t_initial=STEPS / cycles, lr_min=final, **options)


def poly(progress: float, *, power: zoo.PositiveFloat = 0.5, final: zoo.Probability = 0.0) -> float:
    """PolyLRScheduler of timm: a power of what is left of the run, down to `final`."""
    return _factor("PolyLRScheduler", progress, t_initial=STEPS, power=power, lr_min=final)


def tanh(progress: float, *, lower: zoo.Float = -7.0, upper: zoo.Float = 3.0, final: zoo.Probability = 0.0) -> float:
    """TanhLRScheduler of timm: a hyperbolic tangent from `lower` to `upper`, down to `final`.

    Paper: Hsueh, Li and Wu, 2019, Stochastic gradient descent with hyperbolic-tangent decay on classification
    (arXiv:1806.01593).

    Raises:
        ValueError: `lower` is not below `upper`.
    """
    if lower >= upper:
        raise ValueError(f"lower must be below upper, and they are {lower:g} and {upper:g}")
    return _factor("TanhLRScheduler", progress, t_initial=STEPS, lb=lower, ub=upper, lr_min=final)


def step(progress: float, *, every: zoo.Probability = 0.3, factor: zoo.PositiveFloat = 0.1) -> float:
    """StepLRScheduler of timm: multiplied by `factor` each time that a share `every` of the run is over.

    Raises:
        ValueError: `every` is 0.
    """
    if not every:
        raise ValueError("every must be above 0")
    return _factor("StepLRScheduler", progress, decay_t=every * STEPS, decay_rate=factor)


def wsd(
    progress: float,
    *,
    decay: zoo.Probability = 0.2,
    how: Literal["linear", "cosine", "1-sqrt"] = "1-sqrt",
    final: zoo.Probability = 0.0,
) -> float:
    """WSDLRScheduler of timm: the full learning rate, and down to `final` over the last share `decay` of the run.

    Paper: Hu et al., 2024, MiniCPM (arXiv:2404.06395).
    """
    options = {"decay_t": max(1, round(decay * STEPS)), "decay_fn": how, "lr_min": final}
    return _factor("WSDLRScheduler", progress, t_initial=STEPS, **options)


def _factor(cls: str, progress: float, **options: Any) -> float:
    """Return what one of timm's schedules makes of a learning rate of 1."""
    import timm.scheduler
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    (rate,) = getattr(timm.scheduler, cls)(optimizer, **options)._get_lr(min(progress * STEPS, STEPS - 1e-6))
    return float(rate)
