"""Training with a compiled network: torch.compile turns forward and backward pass into kernels of their own.

Only the network is compiled, and only where it is trained. Loss, gradients' changes and optimizer are as in `Training`:
a compiled update in place has been wrong without a word in torch 2.11.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from zoo.errors import described
from zoo.train import streams
from zoo.train.training import Training

_OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {
    # Dropout draws as without, from the run's own streams.
    "fallback_random": True,
}


class CompiledTraining(Training):
    """A training whose network is compiled for its steps, when the first is made.

    What is given, and what is raised, is as for `Training`. What cannot be compiled is raised by `train_epoch` as
    whatever torch raises.
    """

    @cached_property
    def _compiled(self) -> Callable[[Tensor], Tensor]:
        with streams.exclusive:
            # torch keeps what it compiled by class, and after some networks of one class compiles no more.
            torch.compiler.reset()
        return torch.compile(self.network, dynamic=False, options=_OPTIONS)

    def _passed(self, given: Tensor) -> Tensor:
        if not self.network.training:
            return super()._passed(given)
        return self._compiled(given)


@lru_cache
def why_no_compiler(device: str) -> str:
    """Compile a function for a device; return in a line why that is not possible here, or ""."""
    try:
        with streams.exclusive:
            x = torch.ones(2, device=device)
            torch.compile(lambda x: x.sin() + 1, options=_OPTIONS)(x)
            torch.compiler.reset()
    except Exception as error:  # no C++ compiler, no Triton, a system without either
        return f"torch finds nothing here that compiles ({described(error)[:200]})"
    return ""
