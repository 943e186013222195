"""Networks in half precision: parameters in float16, but those of modules that stay in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.network.places import Known
from zoo.registry import Registry

STAYS = "stays_in_float32"
"""The attribute by which a module says that half precision is not for it."""


def halve(network: nn.Module, registry: Registry) -> Callable[[], None]:
    """Turn a network to float16 in place, but for what stays in float32; return what turns it to float32.

    Normalizations stay, as a block or a plugin's `zoo_layer_kinds` tells them, and modules whose attribute
    `stays_in_float32` is true, each with all that is in it. Such a module is given float32 and what it makes is turned
    to float16 again. Parameters remain the same objects.

    Raises:
        PluginError: a plugin's hook raised.
    """
    staying = list(_staying(network, Known.of(registry.layer_kinds()["normalization"])))
    kept = {id(tensor) for module in staying for tensor in (*module.parameters(), *module.buffers())}
    _turn(network, torch.float32, torch.float16, kept)
    handles = [
        handle
        for module in staying
        for handle in (
            module.register_forward_pre_hook(_widen, with_kwargs=True),
            module.register_forward_hook(_narrow),
        )
    ]

    def undo() -> None:
        for handle in handles:
            handle.remove()
        _turn(network, torch.float16, torch.float32, set())

    return undo


def _staying(module: nn.Module, normalizations: Known, name: str = "") -> Iterator[nn.Module]:
    """Yield the outermost modules that stay in float32."""
    if getattr(module, STAYS, False) or name == "normalization" or normalizations.holds(module):
        yield module
        return
    for name, child in module.named_children():
        yield from _staying(child, normalizations, name)


def _turn(network: nn.Module, before: torch.dtype, after: torch.dtype, kept: set[int]) -> None:
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dtype == before and id(tensor) not in kept:
            tensor.data = tensor.data.to(after)


def _widen(module: nn.Module, args: Any, keywords: Any) -> Any:
    return tuple(map(_widened, args)), {name: _widened(value) for name, value in keywords.items()}


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value


def _narrow(module: nn.Module, args: Any, made: Any) -> Any:
    return made.half() if isinstance(made, Tensor) and made.dtype == torch.float32 else made
