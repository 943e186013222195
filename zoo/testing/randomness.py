"""Checks of where a layer's random numbers come from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from zoo.testing.check import FailedError, require
from zoo.testing.subject import Case, LayerSubject, applied, mode, same

_ODD = 918_273_645


def deterministic(layer: LayerSubject) -> None:
    """Built and run twice from the same seed, it gives the same numbers.

    Why: a run could not be repeated, nor two variants be compared on equal terms.

    Mend: draw from torch's global generator only, which zoo seeds for each layer and each epoch.
    """
    for case, training in layer.runs:
        first, second = (applied(case.build(training=training), case.batch()) for _ in range(2))
        same(first, second, f"{case}, {mode(training)}", rtol=0, atol=0)


def own_stream(layer: LayerSubject) -> None:
    """It draws from torch's global generator only, and never seeds it.

    Why: other generators are not part of a run's seed, and a layer that seeds the global one repeats the same numbers
    in every step and in every layer after it.

    Mend: use torch's random functions instead of those of `random` and `numpy`, and no `torch.manual_seed`.
    """
    for case, training in layer.runs:
        where = f"{case}, {mode(training)}"
        with foreign_untouched(where):
            states = [_state_after(case, training, seed) for seed in (1, 2)]
        require(
            not torch.equal(*states),
            f"{where}: from two seeds torch's global generator comes to the same state: it was seeded",
        )


def _state_after(case: Case, training: bool, seed: int) -> torch.Tensor:
    before = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        # Not case.build, which gives the generator back as it was.
        module = case.make().train(training)
        module(case.batch())
        return torch.get_rng_state()
    finally:
        torch.set_rng_state(before)


@contextmanager
def foreign_untouched(where: str) -> Iterator[None]:
    """Fail where the generators of `random` or numpy are used meanwhile.

    Raises:
        FailedError: one was.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        # At a place that nothing else leaves them at: a layer that seeds one may have been here before.
        random.seed(_ODD)
        np.random.seed(_ODD)
        given = random.getstate(), np.random.get_state()
        yield
        if random.getstate() != given[0]:
            raise FailedError(f"{where}: it used Python's generator `random`")
        if any(not np.array_equal(a, b) for a, b in zip(np.random.get_state(), given[1], strict=True)):
            raise FailedError(f"{where}: it used numpy's global generator")
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
