"""Learning rate schedules, as factors on the optimizer's learning rate over the progress of a run, from 0 to 1.

The warm-up is none of them: `training.warmup` comes before any schedule, and progress starts after it.
"""

from __future__ import annotations

import math

from zoo import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, Probability, Register, hookimpl


@hookimpl
def zoo_register_schedules(register: Register) -> None:
    """Register the schedules."""
    register("constant", constant)
    register("step", step)
    register("cosine", cosine)
    register("one_cycle", one_cycle)
    register("plateau", plateau)
    register("triangle", triangle)


def constant() -> float:
    """The same learning rate throughout."""
    return 1.0


def step(progress: float, *, at: tuple[Probability, ...] = (0.5, 0.75), factor: PositiveFloat = 0.1) -> float:
    """Multiply the learning rate by `factor` at each of the points `at` of the run (0 to 1)."""
    return factor ** sum(progress >= point for point in at)


def cosine(progress: float, *, final: Probability = 0.0) -> float:
    """Half a cosine from the full learning rate down to `final` of it, without restarts.

    Paper: Loshchilov and Hutter, 2017, SGDR: stochastic gradient descent with warm restarts (arXiv:1608.03983).
    """
    return _anneal(1.0, final, progress)


def one_cycle(
    progress: float, *, rise: Fraction = 0.3, initial: Probability = 0.04, final: Probability = 4e-6
) -> float:
    """Up from `initial` to the full learning rate during the share `rise` of the run, then down to `final`.

    Both ways are half cosines. The defaults are those of `torch.optim.lr_scheduler.OneCycleLR`, whose cycle of the
    momentum is left out.

    Paper: Smith and Topin, 2018, Super-convergence: very fast training of neural networks using large learning rates
    (arXiv:1708.07120).
    """
    if progress < rise:
        return _anneal(initial, 1.0, progress / rise)
    return _anneal(1.0, final, (progress - rise) / (1 - rise))


def triangle(
    progress: float, steps: int, *, rise: Fraction = 0.23, initial: Probability = 0.2, final: Probability = 0.07
) -> float:
    """Straight up from `initial` to the full learning rate during the share `rise` of the steps, then down to `final`.

    The share is rounded down to whole steps.

    Paper: Jordan, 2024, 94% on CIFAR-10 in 3.29 seconds on a single GPU (arXiv:2404.00498).
    """
    top = int(rise * steps) / steps if steps else 0.0
    if progress < top:
        return initial + (1 - initial) * progress / top
    return 1 + (final - 1) * (progress - top) / (1 - top)


def plateau(
    validation: tuple[float, ...],
    *,
    factor: Fraction = 0.1,
    patience: NonNegativeInt = 10,
    threshold: NonNegativeFloat = 1e-4,
    cooldown: NonNegativeInt = 0,
    final: Probability = 0.0,
) -> float:
    """Multiply the learning rate by `factor` where validation recall has not risen for more than `patience` epochs.

    It has risen where it is more than (1 + threshold) times the best. After each cut `cooldown` epochs do not count,
    and the factor never falls below `final`. Epochs are those that are evaluated. The rule and its defaults are those
    of `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """
    best, waited, cooling, rate = -math.inf, 0, 0, 1.0
    for recall in validation:
        best, waited = (recall, 0) if recall > best * (1 + threshold) else (best, waited + 1)
        if cooling:
            cooling, waited = cooling - 1, 0
        if waited > patience:
            rate, waited, cooling = max(rate * factor, final), 0, cooldown
    return rate


def _anneal(start: float, end: float, share: float) -> float:
    """Return the value at `share` (0 to 1) of half a cosine from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
