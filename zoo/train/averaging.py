"""Weights that are evaluated, where they are not those that are trained: an average, kept beside the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.train.state import overlaps_itself

STATISTICS = "statistics"
"""The option of an averaging that says what becomes of normalizations' statistics."""


class Average:
    """The average of a network's floating-point parameters and buffers, by a registered averaging.

    Buffers that are not of floating point, or hold what is not finite from the start, stay as they are in the network,
    and so does what shares its memory with itself, which cannot change. What is float16 is averaged in float32.

    Args:
        update: the averaging, bound to its options.
        network: as it was built.
        steps: of the whole run.
        steps_per_epoch: of an epoch.

    Attributes:
        tensors: what is saved with a run, by name.
    """

    def __init__(self, update: Callable[..., Any], network: nn.Module, *, steps: int, steps_per_epoch: int) -> None:
        self._update = update
        tensors = (*network.named_parameters(), *network.named_buffers())
        self._own = {name: tensor for name, tensor in tensors if not overlaps_itself(tensor)}
        averaged = {name: tensor for name, tensor in self._own.items() if _can_be_averaged(tensor)}
        self.tensors: Mapping[str, Tensor] = {name: _wide(t).detach().clone() for name, t in averaged.items()}
        self._weights = list(averaged.values())
        device = next((tensor.device for tensor in self._own.values()), torch.device("cpu"))
        self._begun = _sums(averaged.values())
        self._behind = torch.zeros((), dtype=torch.int64, device=device)
        self._given = {
            "average": list(self.tensors.values()),
            "step": self._behind,
            "steps": steps,
            "steps_per_epoch": steps_per_epoch,
        }

    def begin(self, steps: int) -> None:
        """Say how many steps are behind."""
        self._behind.fill_(steps)

    @torch.no_grad()
    def step(self) -> None:
        """Take in what a step has made of the network."""
        self._behind.add_(1)
        if not self.tensors:
            return
        weights = [_wide(own) for own in self._weights]
        self._update(weights=weights, **self._given)
        for own, changed in zip(self._weights, weights, strict=True):
            if changed is not own:
                own.copy_(changed)

    def is_idle(self) -> bool:
        """Whether the weights have changed since they were built, and the average has not."""
        average, weights = _sums(self.tensors.values()), _sums(self._weights)
        return torch.equal(average, self._begun) and not torch.equal(weights, self._begun)

    @torch.no_grad()
    def put(self) -> None:
        """Put the average into the network."""
        for name, tensor in self.tensors.items():
            self._own[name].copy_(tensor)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Let the network be the average meanwhile."""
        trained = {name: tensor.detach().clone() for name, tensor in self._own.items()}
        self.put()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in trained.items():
                    self._own[name].copy_(tensor)


def _wide(tensor: Tensor) -> Tensor:
    """Return float16 as float32: an average moves by less than float16 can tell."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _sums(tensors: Iterable[Tensor]) -> Tensor:
    """Return a number of each tensor that changes with it."""
    sums = [_wide(tensor).detach().sum() for tensor in tensors]
    return torch.stack(sums) if sums else torch.zeros(0)


def _can_be_averaged(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.isfinite().all())
