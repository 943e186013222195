"""What is compared of a module: what it is, its starting values, and what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from zoo.network.layers import Shape, alike, describe
from zoo.train import streams

BATCH = 2
"""Images in a comparison."""


@attrs.frozen(eq=False)
class Seen:
    """A module as it was before it was used.

    Attributes:
        module: the module itself.
        description: for people.
        types: by name within the module, what each module is.
        settings: by name within the module, the plain values that it keeps.
        tensors: parameters and buffers by name.
        input_shape: without the batch; None where nothing reached it, or more than one tensor.
    """

    module: nn.Module
    description: str
    types: Mapping[str, str]
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    input_shape: Shape | None

    @property
    def sizes(self) -> dict[str, Shape]:
        """The shapes of the tensors."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    @property
    def numbers(self) -> dict[str, str]:
        """What numbers the tensors hold."""
        return {name: f"{t.dtype}{'' if t.requires_grad else ' (frozen)'}" for name, t in self.tensors.items()}


def seen(module: nn.Module, input_shape: Shape | None) -> Seen:
    """Look at a module."""
    modules = dict(module.named_modules())
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return Seen(
        module=module,
        description=describe(module),
        types={name: f"{type(m).__module__}.{type(m).__qualname__}" for name, m in modules.items()},
        settings={
            f"{name}.{key}".strip("."): value
            for name, m in modules.items()
            for key, value in vars(m).items()
            if not key.startswith("_") and _is_plain(value)
        },
        # Copies: an evaluation of the network may change buffers.
        tensors={
            name: tensor.detach().clone().requires_grad_(tensor.requires_grad) for name, tensor in tensors.items()
        },
        input_shape=input_shape,
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | None) or (
        isinstance(value, tuple) and all(_is_plain(item) for item in value)
    )


def outcome(module: nn.Module, x: Tensor, seed: int, purpose: str) -> Tensor | str:
    """Return what a module makes of its input, or what it raises: that is then the same in both networks."""
    with torch.no_grad(), streams.seeded(seed, "proof", purpose):
        try:
            result = module(x)
        except (Exception, SystemExit) as error:
            return type(error).__name__
    return result if isinstance(result, Tensor) else type(result).__name__


def equal(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors of equal names are equal to the last bit; NaN equals NaN."""
    return all(alike(tensor, new[name]) for name, tensor in old.items())
