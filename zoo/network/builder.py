"""From a spec to a network: an ordinary nn.Module whose structure reads like the spec."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from torch import nn

from zoo.errors import BuildError
from zoo.network.architecture import Whole
from zoo.network.initializing import Filling, initialize
from zoo.network.layers import Built, Layer, ScaledLinear, Shape, blaming, check_contract, made, probe, trainable
from zoo.network.memory import MemoryLimit
from zoo.registry import Registry, default_registry
from zoo.registry.options import Choice
from zoo.spec import Block, Dense, Output, Spec
from zoo.spec.resolve import resolve
from zoo.train import streams

__all__ = ["Built", "Layer", "Parts", "Shape", "build", "construct"]


def build(
    spec: str | Path | Mapping[str, Any] | Spec,
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    seed: int = 0,
    registry: Registry | None = None,
) -> nn.Module:
    """Build the network of a spec: a module from (batch, *input_shape) to logits of shape (batch, classes).

    Every layer draws its starting weights from a stream of its own, derived from the seed and the layer's place,
    so that networks which differ in one layer start equal in all others.

    Raises:
        SpecError: the spec is not valid.
        UnknownNameError: a name is not registered.
        BuildError: the network does not fit the input; names the layer and the sizes.
        PluginError: a plugin's factory or layer raised; names the plugin.
    """
    registry = registry or default_registry()
    return construct(resolve(spec, registry=registry), input_shape, classes, seed=seed, registry=registry).network


def construct(spec: Spec, input_shape: tuple[int, int, int], classes: int, *, seed: int, registry: Registry) -> Built:
    """Build the network of a resolved spec and describe its layers. Raises what `build` raises."""
    if spec.network.architecture is not None:
        return Whole(spec, spec.network.architecture, seed, registry).construct(input_shape, classes)
    builder = _Builder(spec.name, seed, registry)
    with builder.memory:
        return _construct(builder, spec, input_shape, classes)


def _construct(builder: _Builder, spec: Spec, input_shape: tuple[int, int, int], classes: int) -> Built:
    shape: Shape = tuple(input_shape)
    features, classifier = [], []
    for index, block in enumerate(spec.network.features):
        builder.standing = {"index": index, "count": len(spec.network.features)}
        module, shape = builder.block(block, block.block, shape, f"network.features[{index}]", f"features.{index}")
        features.append(module)
    shape = (math.prod(shape),)
    for index, dense in enumerate(spec.network.classifier):
        builder.standing = {"index": index, "count": len(spec.network.classifier)}
        module, shape = builder.dense(dense, shape, f"network.classifier[{index}]", f"classifier.{index}")
        classifier.append(module)
    output, _ = builder.linear(shape, classes, "output", spec.network.output)
    parts = {"features": nn.Sequential(*features), "flatten": nn.Flatten()}
    if classifier:
        parts["classifier"] = nn.Sequential(*classifier)
    network = nn.Sequential(OrderedDict(parts, output=output))
    filling = builder.initialize(network, spec.network.initializer)
    return Built(network, tuple(builder.layers), filling=filling)


class Parts:
    """What a block's factory builds its parts with: those that the spec states for the block.

    Attributes:
        order: the parts in the order that the spec states.
        filters: how many channels the block's filter gives.
    """

    def __init__(self, builder: _Builder, spec: Block, place: str, path: str) -> None:
        self._builder, self._spec, self._place, self._path = builder, spec, place, path
        self.order: tuple[str, ...] = spec.order
        self.filters: int = spec.filters

    def sequence(
        self, shape: Shape, order: Iterable[str] | None = None, *, at: str = "", **filter_options: Any
    ) -> tuple[nn.Sequential, Shape]:
        """Build parts that follow each other; "none" variants are left out.

        Args:
            shape: what the first is given.
            order: which parts; all of `order` when left out.
            at: name of this sequence within the block, where the block has several.
            filter_options: options of the filter that take the place of those in the spec.

        Returns:
            The sequence, each part under its name, and the shape after it.
        """
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        for part in self.order if order is None else order:
            choice: Choice = getattr(self._spec, part)
            options = filter_options if part == "filter" else {}
            place, path = f"{self._place}.{part}", ".".join(filter(None, (self._path, at, part)))
            module, shape = self._builder.part(choice, shape, place, path, options, filters=self.filters)
            if not isinstance(module, nn.Identity):
                modules[part] = module
        return nn.Sequential(modules), shape

    def options(self, part: str) -> dict[str, Any]:
        """Return the options that the spec states for a part, defaults included."""
        choice: Choice = getattr(self._spec, part)
        return choice.values()

    def variant(self, kind: str, name: str, shape: Shape, *, at: str, **options: Any) -> tuple[nn.Module, Shape]:
        """Build a part that the spec does not state, with the given options over the variant's defaults."""
        choice = Choice(kind, name, self._builder.registry.variant(kind, name).options())
        place, path = f"{self._place}.block", f"{self._path}.{at}"
        return self._builder.part(choice, shape, place, path, options, filters=self.filters)

    def note(self, module: nn.Module, description: str, shape: Shape, *, at: str) -> Shape:
        """List a module that the block made itself among the network's layers; return the shape after it."""
        return self._builder.note(module, description, shape, f"{self._path}.{at}")

    def block(self, choice: Choice, shape: Shape, *, at: str) -> tuple[nn.Module, Shape]:
        """Build another block out of the same parts, under the name `at`."""
        return self._builder.block(self._spec, choice, shape, self._place, f"{self._path}.{at}")


class _Builder:
    """Builds parts one after another, each with its own random stream, and notes what each turned out to be."""

    def __init__(self, name: str, seed: int, registry: Registry) -> None:
        self.name, self.seed, self.registry = name, seed, registry
        self.layers: list[Layer] = []
        self.standing = {"index": 0, "count": 1}
        """Which of how many blocks, or of dense layers, is being built."""
        self.memory = MemoryLimit(name)

    def part(
        self, choice: Choice, shape: Shape, place: str, path: str, options: Mapping[str, Any], **supplied: Any
    ) -> tuple[nn.Module, Shape]:
        variant = self.registry.variant(choice.kind, choice.name)
        for name in options:
            if name not in choice.values():
                raise BuildError(
                    f"{self.name}: {place}: this block needs a {choice.kind} with the option {name!r}; "
                    f"{choice.name} has none"
                )
        choice = attrs.evolve(choice, options=attrs.evolve(choice.options, **options))
        self.memory.what = what = f"{self.name}: {place}: {choice}"
        with (
            blaming(what, variant.plugin, shape),
            streams.seeded(self.seed, "initialization", path),
        ):
            module = made(what, variant, choice.values(), shape=shape, **self.standing, **supplied)
            after = self.note(module, str(choice), shape, path)
            check_contract(variant, shape, after, supplied.get("filters"))
            return module, after

    def linear(self, shape: Shape, units: int, path: str, output: Output | None = None) -> tuple[nn.Module, Shape]:
        output = output or Output()
        without_bias, scaled = (
            "" if output.bias else ", no bias",
            "" if output.scale == 1 else f", times {output.scale:g}",
        )
        description = f"linear({units}{without_bias}{scaled})"
        self.memory.what = f"{self.name}: {path}: {description}"
        with streams.seeded(self.seed, "initialization", path):
            if output.scale == 1:
                module = nn.Linear(shape[0], units, bias=output.bias)
            else:
                module = ScaledLinear(shape[0], units, bias=output.bias, scale=output.scale)
            return module, self.note(module, description, shape, path)

    def dense(self, spec: Dense, shape: Shape, place: str, path: str) -> tuple[nn.Module, Shape]:
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        for part in spec.order:
            if part == "linear":
                module, shape = self.linear(shape, spec.units, f"{path}.{part}")
            else:
                module, shape = self.part(getattr(spec, part), shape, f"{place}.{part}", f"{path}.{part}", {})
            if not isinstance(module, nn.Identity):
                modules[part] = module
        return nn.Sequential(modules), shape

    def block(self, spec: Block, choice: Choice, shape: Shape, place: str, path: str) -> tuple[nn.Module, Shape]:
        variant = self.registry.variant("block", choice.name)
        parts = Parts(self, spec, place, path)
        with (
            blaming(what := f"{self.name}: {place}.block: {choice}", variant.plugin, shape),
            streams.seeded(self.seed, "initialization", path),
        ):
            noted = len(self.layers)
            module = made(what, variant, choice.values(), shape=shape, parts=parts, **self.standing)
            self.memory.what = what
            after, flops = probe(module, shape)
            self._note_rest(module, str(choice), shape, after, path, flops, self.layers[noted:])
            return module, after

    def _note_rest(
        self,
        module: nn.Module,
        description: str,
        before: Shape,
        after: Shape,
        path: str,
        flops: int,
        noted: Sequence[Layer],
    ) -> None:
        """List what a block does beyond the layers that it told of, so that the network's count is all of it."""
        # Weights that several parts share are counted once in the module.
        parameters = max(0, trainable(module) - sum(layer.parameters for layer in noted))
        flops -= sum(layer.flops for layer in noted)
        if parameters or flops:
            self.layers.append(Layer(path, description, before, after, parameters, flops, is_rest=True))

    def initialize(self, network: nn.Module, choice: Choice) -> Filling | None:
        variant = self.registry.variant("initializer", choice.name)
        # The scale and offset of a normalization may have as many dimensions as its input, and are no weights.
        weights = {
            name: p for name, p in network.named_parameters() if p.dim() > 1 and "normalization" not in name.split(".")
        }
        return initialize(network, weights, choice, variant, self.name, self.seed, self.registry)

    def note(self, module: nn.Module, description: str, shape: Shape, path: str) -> Shape:
        after, flops = probe(module, shape)
        self.memory.hold(module)
        if not isinstance(module, nn.Identity):
            self.layers.append(Layer(path, description, shape, after, trainable(module), flops))
        return after
