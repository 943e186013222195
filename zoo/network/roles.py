"""What each parameter of a network is for: the role by which a spec names it where its own name does not matter."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from zoo.network.places import Known
from zoo.registry import Registry
from zoo.registry.hookspecs import REPLACED
from zoo.spec.fields import Role

_OWN: Mapping[str, Role] = {"filter": "filter", "activation": "activation", "pooling": "pooling"}
"""The role of a weight in a layer of a kind."""


def roles(network: nn.Module, registry: Registry) -> dict[str, Role]:
    """Return the role of each parameter by its name.

    A layer is of a kind where a block built it as such, or where a plugin's `zoo_layer_kinds` says so; of layers in
    each other the outer one counts. All parameters of a normalization are "normalization"; of the others those whose
    name ends in "bias" are "bias", and weights of a dense layer or of attention are "linear".

    Raises:
        PluginError: a plugin's hook raised.
    """
    known = {kind: Known.of(layers) for kind, layers in registry.layer_kinds().items()}
    modules = dict(network.named_modules(remove_duplicate=False))
    return {name: _role(name, modules, known) for name, _ in network.named_parameters()}


def _role(name: str, modules: Mapping[str, nn.Module], known: Mapping[str, Known]) -> Role:
    *steps, last = name.split(".")
    kind = ""
    for depth in range(1, len(steps) + 1):
        module = modules[".".join(steps[:depth])]
        kind = next((kind for kind in REPLACED if steps[depth - 1] == kind or known[kind].holds(module)), "")
        if kind:
            break
    if kind == "normalization":
        return "normalization"
    if last.endswith("bias"):
        return "bias"
    return _OWN.get(kind) or (
        "linear" if isinstance(modules[".".join(steps)], nn.Linear | nn.MultiheadAttention) else "other"
    )
