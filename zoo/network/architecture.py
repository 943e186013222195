"""From an architecture to a network: one variant's factory makes all of it, and it is tried as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.errors import BuildError
from zoo.network.initializing import Filling, initialize
from zoo.network.layers import Built, Layer, Shape, blaming, describe, made, require_module, sizes, trainable
from zoo.network.memory import MemoryLimit
from zoo.network.places import evaluating
from zoo.network.replacing import replace
from zoo.network.starting import Loading, Starting
from zoo.registry import Registry
from zoo.registry.options import Choice
from zoo.spec import NetworkSpec, Spec
from zoo.train import streams

_STREAM = "architecture"


@attrs.frozen
class Whole:
    """Builds the network of a spec that states an architecture.

    Attributes:
        spec: whose network it is.
        choice: the architecture.
        seed: of the starting weights.
        registry: where variants are looked up.
    """

    spec: Spec
    choice: Choice
    seed: int
    registry: Registry

    def construct(self, input_shape: tuple[int, int, int], classes: int) -> Built:
        """Build the network and list its layers.

        Raises:
            BuildError: the network does not fit the input.
            PluginError: the factory or a layer raised; names the plugin.
        """
        what = f"{self.spec.name}: network.architecture: {self.choice}"
        plugin = self.registry.variant("architecture", self.choice.name).plugin
        memory = MemoryLimit(what)
        with memory, blaming(what, plugin, input_shape):
            load = self._loading(classes)
            network = self._made(what, input_shape, classes, load)
            _refuse_scripted(network, what)
            memory.hold(network)
            found = try_out(network, input_shape, classes)
            starting = self._started(network, load)
            network, replaced = replace(network, self.spec, input_shape, seed=self.seed, registry=self.registry)
            with blaming(f"{what}, in which layers were replaced", plugin, input_shape):
                layers = try_out(network, input_shape, classes) if replaced else found
        filling = self._initialize(network)
        return Built(network, layers, replaced=replaced, starting=starting, filling=filling)

    def _loading(self, classes: int) -> Loading | None:
        """Return what loads the starting weights that the spec names.

        Raises:
            BuildError: they cannot be had, or an initializer would fill them again.
        """
        network = self.spec.network
        if network.weights is None:
            return None
        if str(network.initializer) != str(attrs.fields(NetworkSpec).initializer.default):
            raise BuildError(
                f"{self.spec.name}: network.initializer: {network.initializer} would fill what network.weights takes "
                "from a file; leave out one of the two"
            )
        return Loading(self.spec, classes, self.registry)

    def _made(self, what: str, input_shape: tuple[int, int, int], classes: int, load: Loading | None) -> nn.Module:
        variant = self.registry.variant("architecture", self.choice.name)
        supplied = {"input_shape": input_shape, "classes": classes, "load": load}
        with streams.seeded(self.seed, "initialization", _STREAM):
            network = made(what, variant, self.choice.values(), **supplied)
        return require_module(network)

    def _started(self, network: nn.Module, load: Loading | None) -> Starting | None:
        if load is None:
            return None
        if "load" not in self.registry.variant("architecture", self.choice.name).given:
            load(network)
        return load.starting(network)

    def _initialize(self, network: nn.Module) -> Filling | None:
        """Let the initializer fill what is called a weight; scales, tokens and tables of positions are not."""
        choice = self.spec.network.initializer
        variant = self.registry.variant("initializer", choice.name)
        return initialize(network, dict(weights(network)), choice, variant, self.spec.name, self.seed, self.registry)


def _refuse_scripted(network: nn.Module, what: str) -> None:
    scripted = next((path for path, m in network.named_modules() if isinstance(m, torch.jit.ScriptModule)), None)
    if scripted is not None:
        raise BuildError(
            f"{what}: {scripted or 'the network itself'} is a module of TorchScript, in which layers cannot be seen; "
            "use the module that it was made of"
        )


def weights(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield what an initializer fills, by name."""
    for name, weight in network.named_parameters():
        if weight.dim() >= 2 and name.endswith("weight") and not _is_normalization(network, name):
            yield name, weight


def _is_normalization(network: nn.Module, name: str) -> bool:
    """Tell whether a parameter is the scale of a normalization over several dimensions."""
    return isinstance(network.get_submodule(name.rpartition(".")[0]), nn.LayerNorm | nn.RMSNorm)


def try_out(network: nn.Module, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
    """Let a network evaluate one image, and return its layers in the order in which they were reached.

    A layer is a module without others in it, or one with parameters or operations of its own.

    Raises:
        TypeError: it makes no tensor.
        ValueError: it makes no logits of so many classes.
    """
    with evaluating(network), FlopCounterMode(display=False) as counter, _reached(network) as reached:
        logits = network(torch.zeros(1, *input_shape))
    if not isinstance(logits, Tensor):
        raise TypeError(f"its forward must return one tensor, not {type(logits).__name__}")
    if tuple(logits.shape) != (1, classes):
        raise ValueError(f"it makes {sizes(logits.shape)} of one image, and an architecture must make 1x{classes}")
    counts = {place: sum(ops.values()) for place, ops in counter.get_flop_counts().items()}
    return tuple(_layers(network, reached, counts))


@contextmanager
def _reached(network: nn.Module) -> Iterator[dict[str, tuple[Shape, Shape]]]:
    """Note the shapes of what each module is given first and makes of it, in order, without the batch."""
    found: dict[str, tuple[Shape, Shape]] = {}

    def begin(place: str, given: tuple[object, ...]) -> None:
        found.setdefault(place, (_shape(given), ()))

    def end(place: str, made: object) -> None:
        if not found[place][1]:
            found[place] = found[place][0], _shape(made)

    handles = []
    for place, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(lambda _, given, place=place: begin(place, given)))
        handles.append(module.register_forward_hook(lambda _, given, made, place=place: end(place, made)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _shape(value: object) -> Shape:
    """Return the shape of the first tensor without the batch; () where there is none."""
    if isinstance(value, tuple | list):
        value = next((item for item in value if isinstance(item, Tensor)), None)
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()


def _layers(network: nn.Module, reached: dict[str, tuple[Shape, Shape]], counts: dict[str, int]) -> Iterator[Layer]:
    root = type(network).__name__
    own = {place: counts.get(f"{root}.{place}".rstrip("."), 0) for place in reached}
    whole = dict(own)
    for place in reached:
        if place:
            own[_around(place, reached)] -= whole[place]
    network.eval()  # what stays in training mode is described as always on
    for place, (before, after) in reached.items():
        module = network.get_submodule(place)
        inner = [f"{place}.{name}".lstrip(".") for name, _ in module.named_children()]
        parameters = sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)
        # Of layers that are not called, but whose weights are used, as attention uses those of its output.
        parameters += sum(
            trainable(network.get_submodule(name))
            for name in inner
            if not any(other == name or other.startswith(f"{name}.") for other in reached)
        )
        if isinstance(module, nn.Identity) or (inner and not own[place] and not parameters):
            continue
        description = type(module).__name__ if inner else describe(module)
        yield Layer(place or "network", description, before, after, parameters, own[place])
    network.train()


def _around(place: str, reached: dict[str, tuple[Shape, Shape]]) -> str:
    """Return the nearest module around one that was called, too."""
    while place:
        place = place.rpartition(".")[0]
        if place in reached:
            break
    return place
