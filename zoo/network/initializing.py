"""Starting values of a network's parameters: an initializer is called for each, with a random stream of its own."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor, nn

from zoo.network.layers import blaming
from zoo.network.roles import roles
from zoo.registry import Registry, Variant
from zoo.registry.options import Choice
from zoo.spec.fields import Role
from zoo.train import streams


def initialize(
    network: nn.Module,
    weights: Mapping[str, nn.Parameter],
    choice: Choice,
    variant: Variant,
    name: str,
    seed: int,
    registry: Registry,
) -> Filling | None:
    """Let an initializer fill the weights of a network; one that asks for `role`, all of its parameters.

    Args:
        network: which is changed.
        weights: what any initializer fills, by name.
        choice: the initializer.
        variant: it.
        name: of the spec.
        seed: of the starting weights.
        registry: where it is looked up what parameters are for.

    Returns:
        What fills them again when training images are there, where the initializer, or one within it, asks for these.

    Raises:
        BuildError: the initializer refuses a weight.
        PluginError: it raised something else; names the plugin.
    """
    all_roles = roles(network, registry) if "role" in variant.given else {}
    paths = [path for path, _ in network.named_parameters()] if all_roles else list(weights)
    filling = Filling(choice, variant, name, seed, {path: all_roles.get(path) for path in paths})
    for path in paths:
        filling.fill(network, path, None)
    return filling if _measures(choice, registry) else None


def _measures(choice: Choice, registry: Registry) -> bool:
    """Whether an initializer, or another that it chooses, asks for training images."""
    inner = (value for value in choice.values().values() if isinstance(value, Choice))
    asks = "images" in registry.variant(choice.kind, choice.name).given
    return asks or any(_measures(each, registry) for each in inner)


@attrs.frozen
class Filling:
    """An initializer and what it fills.

    Attributes:
        choice: the initializer.
        variant: it.
        name: of the spec.
        seed: of the starting weights.
        roles: of the parameters that it fills, by their names; None where they were not asked for.
    """

    choice: Choice
    variant: Variant
    name: str
    seed: int
    roles: Mapping[str, Role | None]

    def of(self, network: nn.Module) -> dict[nn.Module, list[str]]:
        """Return the modules of a network whose own parameters are filled, with the names of these."""
        found: dict[nn.Module, list[str]] = {}
        for path in self.roles:
            found.setdefault(_holder(network, path), []).append(path)
        return found

    def fill(self, network: nn.Module, path: str, images: Tensor | None) -> None:
        """Let the initializer fill one parameter; `images` are what reaches its layer, None while there are none.

        Raises:
            BuildError: it refuses the parameter.
            PluginError: it raised something else; names the plugin.
        """
        weight = network.get_parameter(path)
        # What was drawn while there were no images is not drawn again.
        purpose = ("initialization", path, self.choice.name, *(() if images is None else ("measured",)))
        device = "cpu" if images is None else weight.device
        with (
            blaming(f"{self.name}: network.initializer: {self.choice} on {path}", self.variant.plugin, weight.shape),
            streams.seeded(self.seed, *purpose, device=device),
            torch.no_grad(),
        ):
            self.variant.make(
                self.choice.values(),
                weight=weight,
                module=_holder(network, path),
                name=path,
                role=self.roles[path],
                images=images,
            )


def _holder(network: nn.Module, path: str) -> nn.Module:
    return network.get_submodule(path.rpartition(".")[0])
