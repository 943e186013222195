"""What a spec chooses for its training, looked up once and called with what its kind supplies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from zoo.errors import BuildError, PluginError, text_of
from zoo.registry import Registry, Variant
from zoo.registry.options import Choice, Constraint
from zoo.spec import Spec


def prediction(spec: Spec, registry: Registry) -> Callable[..., Tensor]:
    """Return what makes logits (batch, classes) of `images`, pixels from 0 to 1, by the network's pass, `forward`."""
    return Bound(spec, "evaluation.prediction", spec.evaluation.prediction, registry)


class Bound:
    """A registered part of the training, looked up once: called with what its kind supplies, it is its factory."""

    def __init__(self, spec: Spec, place: str, choice: Choice, registry: Registry) -> None:
        self.what = f"{spec.name}: {place}: {choice}"
        self._variant = registry.variant(choice.kind, choice.name)
        self._options = choice.values()
        self._promised = _promised(self._variant)

    @property
    def options(self) -> Mapping[str, Any]:
        """What the spec says of it, defaults included."""
        return self._options

    def asks(self, name: str) -> bool:
        """Whether the factory asks for something of what its kind supplies."""
        return name in self._variant.given

    @property
    def given(self) -> tuple[str, ...]:
        """What the factory asks for."""
        return self._variant.given

    def __call__(self, **supplied: Any) -> Any:
        """Call the factory.

        Raises:
            BuildError: it refuses its options with a ValueError.
            PluginError: it returns what its kind must not.
        """
        try:
            result = self._variant.make(self._options, **supplied)
        except ValueError as error:
            raise BuildError(f"{self.what}: {one_line(error)}") from error
        if not self._promised.holds(result):
            raise PluginError(
                f"{self.what}: plugin {self._variant.plugin} returned a {type(result).__name__}, not "
                f"{self._promised.expected}"
            )
        return result


def _promised(variant: Variant) -> Constraint:
    """Return what a factory must return."""
    nothing = type(None)
    kinds: dict[str, type] = {
        "optimizer": torch.optim.Optimizer,
        "schedule": Real,
        "averaging": nothing,
        "gradient": nothing,
    }
    type_ = kinds.get(variant.kind, Tensor)
    if variant.kind == "prediction":
        return Constraint(
            "logits, a Tensor of two dimensions", lambda made: isinstance(made, Tensor) and made.dim() == 2
        )
    if variant.kind == "augmentation" and "labels" in variant.given:
        return Constraint("a pair of images and labels, as it asks for labels", _is_pair)
    return Constraint(f"a {type_.__name__}", lambda result: isinstance(result, type_))


def _is_pair(result: object) -> bool:
    return isinstance(result, tuple) and len(result) == 2 and all(isinstance(each, Tensor) for each in result)


def one_line(error: Exception) -> str:
    """Return what an exception says in one line."""
    return " ".join(text_of(error).split())
