"""Starting values of a network's parameters: an initializer is called for each, with a random stream of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from zoo.network.layers import blaming
from zoo.network.roles import roles
from zoo.registry import Registry, Variant
from zoo.registry.options import Choice
from zoo.train import streams


def initialize(
    network: nn.Module,
    weights: Mapping[str, nn.Parameter],
    choice: Choice,
    variant: Variant,
    name: str,
    seed: int,
    registry: Registry,
) -> None:
    """Let an initializer fill the weights of a network; one that asks for `role`, all of its parameters.

    Args:
        network: which is changed.
        weights: what any initializer fills, by name.
        choice: the initializer.
        variant: it.
        name: of the spec.
        seed: of the starting weights.
        registry: where it is looked up what parameters are for.

    Raises:
        BuildError: the initializer refuses a weight.
        PluginError: it raised something else; names the plugin.
    """
    all_roles = roles(network, registry) if "role" in variant.given else {}
    for path, weight in network.named_parameters() if all_roles else weights.items():
        with (
            blaming(f"{name}: network.initializer: {choice} on {path}", variant.plugin, tuple(weight.shape)),
            streams.seeded(seed, "initialization", path, choice.name),
            torch.no_grad(),
        ):
            variant.make(
                choice.values(),
                weight=weight,
                module=network.get_submodule(path.rpartition(".")[0]),
                name=path,
                role=all_roles.get(path),
            )
