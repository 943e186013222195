"""Optimizers: those that timm makes by name, as `timm_NAME`.

Their names are read from timm's source, which is not imported for it. Left out are those that need a package that timm
does not bring (`bnb...`, `fused...`), and those of `LEFT_OUT`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

_INFO = re.compile(r"OptimInfo\(\s*name='(\w+)',\s*opt_class=[\w.]+,\s*description='([^']*)'")
LEFT_OUT = {
    "adahessian": "it needs the graph of the gradients",
    **dict.fromkeys(("kron", "kronc", "kronw"), "it draws from a generator of its own, which no checkpoint has"),
    "nesterov": "sgd is the same",
    "nesterovw": "sgdw is the same",
}
"""By name, why."""
_FROM_ELSEWHERE = ("bnb", "fused")


@zoo.hookimpl
def zoo_register_optimizers(register: zoo.Register) -> None:
    """Register them."""
    for name, description in optimizers():
        register(f"timm_{name}", _factory(name, description))


def optimizers() -> Iterator[tuple[str, str]]:
    """Yield the name and timm's description of each."""
    found = importlib.util.find_spec("timm")
    for folder in (found.submodule_search_locations if found else None) or ():
        text = Path(folder, "optim", "_optim_factory.py").read_text(encoding="utf-8")
        for name, description in _INFO.findall(text):
            if name not in LEFT_OUT and not name.startswith(_FROM_ELSEWHERE):
                yield name, description


def _factory(name: str, description: str) -> Callable[..., Optimizer]:
    def optimizer(
        parameters: Iterable[Tensor],
        *,
        learning_rate: zoo.PositiveFloat = 0.001,
        weight_decay: zoo.NonNegativeFloat = 0.0,
        momentum: zoo.Fraction = 0.9,
    ) -> Optimizer:
        from timm.optim import create_optimizer_v2

        options: dict[str, Any] = {"lr": learning_rate, "weight_decay": weight_decay, "momentum": momentum}
        made: Optimizer = create_optimizer_v2(list(parameters), name, **options)
        return made

    optimizer.__doc__ = f"{name} of timm: {description.strip().rstrip('.')}."
    return optimizer
