"""Putting variants in place of an architecture's layers: every place of a kind, or an error that names what cannot be.

A place is a module of the kind, or a call of a function of the kind. The network evaluates one image while all calls
are watched, so that no place is overlooked. A module that calls functions of the kind, or one layer at several places,
is rewritten with torch.fx; only its own forward is traced, with the modules in it as they are.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from zoo.errors import BuildError, described
from zoo.network.layers import Replaced, Shape, blaming, check_contract, describe, probe, sizes
from zoo.registry import Registry
from zoo.registry.options import Choice
from zoo.spec import Spec
from zoo.train import streams

_MODE = "training"
_BY_FUNCTION = ("activation", "dropout")
"""The kinds of which a call of a function can be replaced: others have weights or sizes among their arguments."""


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluate by operations that are counted: torch's fused attention is not."""
    fast = torch.backends.mha.get_fastpath_enabled()
    modes = {name: module.training for name, module in network.named_modules()}
    torch.backends.mha.set_fastpath_enabled(False)
    network.eval()
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for name, module in network.named_modules():
            module.training = modes.get(name, True)


def replace(
    network: nn.Module, spec: Spec, input_shape: Shape, *, seed: int, registry: Registry
) -> tuple[nn.Module, tuple[Replaced, ...]]:
    """Put the variants that a spec states in place of a network's layers.

    Returns:
        The network, which is another module where its own forward was rewritten, and what was replaced.

    Raises:
        BuildError: there is no layer of a kind, or a place cannot be reached, or a variant does not fit it.
        PluginError: a plugin's factory or layer raised; names the plugin.
    """
    stated = attrs.asdict(spec.network.replace, recurse=False) if spec.network.replace else {}
    wanted = {kind: choice for kind, choice in stated.items() if isinstance(choice, Choice)}
    if not wanted:
        return network, ()
    network.eval()
    surgery = _Surgery(network, spec, input_shape, seed, registry, _known(registry))
    replaced = [done for kind, choice in wanted.items() for done in surgery.put(kind, choice)]
    return surgery.network.train(), tuple(replaced)


def _known(registry: Registry) -> dict[str, tuple[type | str, ...]]:
    known: dict[str, tuple[type | str, ...]] = {}
    for told in registry.hook.zoo_layer_kinds():
        for kind, layers in told.items():
            known[kind] = (*known.get(kind, ()), *layers)
    return known


@attrs.define
class _Place:
    """A module of a kind: what it is given and makes, in the order of its calls."""

    path: str
    module: nn.Module
    inputs: list[Shape] = attrs.field(factory=list)
    outputs: list[Shape] = attrs.field(factory=list)
    last: bool = False
    """Whether its features stand last, and not after the batch."""


class _Call(nn.Module):
    """A call of a function or a method, as a module."""

    def __init__(self, target: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.target, self.args, self.options = target, args, dict(options)

    def forward(self, x: Tensor) -> Any:
        """Call it with x before all else."""
        function = getattr(Tensor, self.target) if isinstance(self.target, str) else self.target
        if _MODE in self.options:  # as traced it would be that of the moment
            return function(x, *self.args, **{**self.options, _MODE: self.training})
        return function(x, *self.args, **self.options)

    @property
    def name(self) -> str:
        """What is called."""
        return self.target if isinstance(self.target, str) else str(self.target.__name__)


class FeaturesFirst(nn.Module):
    """A layer that expects features after the batch, where they stand last: they are moved there and back."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, ..., features) to the same shape."""
        moved = x.movedim(-1, 1)
        maps = moved if moved.dim() == 4 else moved.reshape(*moved.shape[:2], *_as_map(moved.shape[2:]))
        made: Tensor = self.layer(maps)
        return made.reshape(moved.shape).movedim(1, -1)


def _as_map(places: Shape) -> Shape:
    """Return height and width for places in one dimension, or in more than two."""
    return places[0], math.prod(places[1:])


class _EachLeaf(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


@attrs.define
class _Surgery:
    network: nn.Module
    spec: Spec
    input_shape: Shape
    seed: int
    registry: Registry
    known: Mapping[str, tuple[type | str, ...]]

    def put(self, kind: str, choice: Choice) -> Iterator[Replaced]:
        """Put a variant in place of every layer of its kind."""
        what = f"{self.spec.name}: network.replace.{kind}: {choice}"
        self._part_names(kind)
        places, calls = self._look(kind)
        self._require_single_kind(kind, places, what)
        if calls and kind not in _BY_FUNCTION:
            raise BuildError(f"{what}: functions are called for it in {_named(calls)}, which cannot be replaced")
        shared = [place.path for place in places if len(place.inputs) > 1]
        owners = {*calls, *(path.rpartition(".")[0] for path in shared)}
        for owner in sorted(owners, reverse=True):
            self._rewrite(owner, kind, calls[owner], [p for p in shared if p.rpartition(".")[0] == owner], what)
        if owners:
            places, calls = self._look(kind)
            if calls:
                raise BuildError(f"{what}: functions are called for it in {_named(calls)}, which cannot be reached")
        if not places:
            raise BuildError(f"{what}: {self.spec.network.architecture} has no {kind}")
        for place in places:
            yield self._one(kind, choice, place, what)

    def _part_names(self, kind: str) -> None:
        """Give each name of one layer that is registered under several a layer of its own."""
        classes = tuple(known for known in self.known.get(kind, ()) if isinstance(known, type))
        seen: set[int] = set()
        for path, module in list(self.network.named_modules(remove_duplicate=False)):
            if id(module) in seen and isinstance(module, nn.Module) and isinstance(module, classes):
                again: nn.Module = copy.deepcopy(module)
                self._set(path, again)
            seen.add(id(module))

    def _look(self, kind: str) -> tuple[list[_Place], Counter[str]]:
        """Return the modules of a kind, and how many of its functions each other module calls."""
        classes = tuple(known for known in self.known.get(kind, ()) if isinstance(known, type))
        names = {known for known in self.known.get(kind, ()) if isinstance(known, str)}
        return _Watch(self.network, classes, names).run(self.input_shape)

    def _require_single_kind(self, kind: str, places: list[_Place], what: str) -> None:
        for other, layers in self.known.items():
            classes = tuple(layer for layer in layers if isinstance(layer, type))
            fused = [p.path for p in places if other != kind and isinstance(p.module, classes)]
            if fused:
                raise BuildError(f"{what}: {_named(fused)} is {kind} and {other} in one layer, which cannot be parted")
        if kind == "dropout":
            modules = self.network.named_modules()
            hidden = [p for p, m in modules if isinstance(m, nn.MultiheadAttention) and m.dropout > 0]
            if hidden:
                raise BuildError(f"{what}: the dropout within attention cannot be reached, in {_named(hidden)}")

    def _rewrite(self, path: str, kind: str, calls: int, shared: list[str], what: str) -> None:
        """Make each call of a function of the kind, and each use of a shared layer, a module of its own."""
        owner = self.network.get_submodule(path)
        where = path or "the network itself"
        names = {known for known in self.known.get(kind, ()) if isinstance(known, str)}
        texts = []
        for training in (True, False):
            owner.train(training)
            try:
                graph = _EachLeaf().trace(owner)
            except Exception as error:  # whatever its forward does with a tensor that is not there
                owner.eval()
                raise BuildError(
                    f"{what}: {where} calls functions for it, and cannot be traced ({described(error)})"
                ) from error
            found = [node for node in graph.nodes if _called(node) in names]
            by_mode = [node for node in graph.nodes if node.kwargs.get(_MODE) is training]
            told = [
                (n.op, n.target, n.args, {**n.kwargs, **({_MODE: ()} if n in by_mode else {})}) for n in graph.nodes
            ]
            texts.append(str(told))
        owner.eval()
        uses = [node for node in graph.nodes if node.op == "call_module" and _below(path, node.target) in shared]
        if len(found) != calls or texts[0] != texts[1]:
            raise BuildError(f"{what}: {where} calls functions for it in a way that cannot be rewritten")
        children = dict(owner.named_children())
        for node in dict.fromkeys((*found, *uses, *by_mode)):
            others = [given for given in (*node.args[1:], *node.kwargs.values()) if isinstance(given, fx.Node)]
            in_place = node.kwargs.get("inplace") and len(node.args[0].users) > 1
            if others or in_place or not isinstance(node.args[0], fx.Node):
                raise BuildError(
                    f"{what}: {where} calls {_called(node) or node.target} in a way that cannot be rewritten"
                )
            base = str(_called(node) or node.target).replace(".", "_")
            name = next(n for i in range(1, 10**6) if (n := f"{base}_{i}") not in children and not hasattr(owner, n))
            own = (
                copy.deepcopy(owner.get_submodule(str(node.target)))
                if node in uses
                else _Call(node.target, node.args[1:], node.kwargs)
            )
            children[name] = own
            owner.add_module(name, own)
            with graph.inserting_before(node):
                node.replace_all_uses_with(new := graph.call_module(name, (node.args[0],)))
            new.meta = dict(node.meta)
            graph.erase_node(node)
        made = fx.GraphModule(owner, graph, class_name=type(owner).__name__)
        self._set(path, made.eval())

    def _one(self, kind: str, choice: Choice, place: _Place, what: str) -> Replaced:
        """Put the variant in one place."""
        if len({*place.inputs}) > 1:
            raise BuildError(f"{what}: {place.path} is one layer for inputs of several sizes")
        variant = self.registry.variant(kind, choice.name)
        before, after = place.inputs[0], place.outputs[0]
        shape = before
        if place.last and len(before) > 1:
            shape = (before[-1], *(before[:-1] if len(before) == 3 else _as_map(before[:-1])))
        at = f"{what} at {place.path}"
        options, filters = _kept(kind, choice, place.module, at)
        with blaming(at, variant.plugin, shape), streams.seeded(self.seed, "initialization", place.path):
            layer = variant.make({**choice.values(), **options}, shape=shape, filters=filters)
            made, _ = probe(layer, shape)
            check_contract(kind, shape, made, filters)
            if kind in ("filter", "pooling") and made != after:
                raise ValueError(f"it makes {sizes(made)} of {sizes(shape)}, and {place.path} made {sizes(after)}")
            layer.train()
        moved = place.last and len(before) > 1
        new = describe(layer.eval()) + (f", given {sizes(before)} as {sizes(shape)}" if moved else "")
        old = place.module.name if isinstance(place.module, _Call) else describe(place.module)
        name = place.module.name if isinstance(place.module, _Call) else type(place.module).__name__
        self._set(place.path, FeaturesFirst(layer) if moved else layer)
        return Replaced(place.path, kind, name, old, new)

    def _set(self, path: str, module: nn.Module) -> None:
        if not path:
            self.network = module
            return
        parent, _, name = path.rpartition(".")
        setattr(self.network.get_submodule(parent), name, module)


def _kept(kind: str, choice: Choice, own: nn.Module, at: str) -> tuple[dict[str, Any], int | None]:
    """Return the options that a filter or a pooling takes over from the layer in whose place it stands.

    Raises:
        BuildError: the variant has no such option, or no value for it.
    """
    if kind == "filter":
        names = {"kernel_size": "size", "stride": "stride", "padding": "padding", "dilation": "dilation"}
        values = {option: _square(getattr(own, name), option, at) for name, option in names.items()}
        values |= {"groups": own.groups, "bias": own.bias is not None}
        size, padding = values["size"], values["padding"]
        same = (values["dilation"] * (size - 1), 2 * padding)
        if padding and same[0] != same[1]:
            raise BuildError(f'{at}: its padding of {padding} for a size of {size} is neither "same" nor "valid"')
        values["padding"] = "same" if padding else "valid"
        usual = {"stride": 1, "padding": "valid", "dilation": 1, "groups": 1}
    elif kind == "pooling":
        names = {"kernel_size": "size", "stride": "stride", "padding": "padding"}
        values = {option: _square(getattr(own, name), option, at) for name, option in names.items()}
        usual = {"padding": 0}
    else:
        return {}, None
    taken = choice.values()
    lacking = [name for name, value in values.items() if name not in taken and usual.get(name, value) != value]
    if lacking:
        raise BuildError(f"{at}: it has no option {lacking[0]!r}, which is {values[lacking[0]]} here")
    kept = {name: value for name, value in values.items() if name in taken}
    return kept, getattr(own, "out_channels", None)


def _square(value: Any, option: str, at: str) -> Any:
    if isinstance(value, tuple):
        if len(set(value)) > 1:
            raise BuildError(f"{at}: its {option} of {sizes(value)} is not square")
        return value[0]
    if isinstance(value, str):
        raise BuildError(f"{at}: its {option} is {value!r}, which is not kept")
    return value


def _called(node: fx.Node) -> str:
    """Return the name of the function or the method that a node calls."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def _below(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def _named(paths: Any) -> str:
    return ", ".join(sorted(path or "the network itself" for path in paths))


_MOVES = {(0, 2, 3, 1): True, (0, 3, 1, 2): False}
"""Permutations that put the features of maps last, or first again."""


def _order(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(args[0]) if args and isinstance(args[0], tuple | list) else args


class _Watch(TorchFunctionMode):
    """Watches one evaluation: which modules of some classes are used, and where functions are called by name."""

    def __init__(self, network: nn.Module, classes: tuple[type, ...], names: set[str]) -> None:
        self._network, self._classes, self._names = network, classes, names
        self._within: list[tuple[str, nn.Module]] = []
        self._places: dict[str, _Place] = {}
        self._calls: Counter[str] = Counter()
        self._last = False

    def run(self, input_shape: Shape) -> tuple[list[_Place], Counter[str]]:
        """Evaluate one image; return the modules in order, and how many functions each other module called."""
        handles = []
        for path, module in self._network.named_modules(remove_duplicate=False):
            handles.append(module.register_forward_pre_hook(lambda m, x, path=path: self._begin(path, m, x)))
            handles.append(module.register_forward_hook(lambda m, x, y, path=path: self._end(path, m, y)))
        try:
            with evaluating(self._network), torch.no_grad(), self:
                self._network(torch.zeros(1, *input_shape))
        finally:
            for handle in handles:
                handle.remove()
        return list(self._places.values()), self._calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a call, unless a layer of the kind makes it."""
        if getattr(func, "__name__", "") in self._names and not self._in_place():
            self._calls[self._within[-1][0] if self._within else ""] += 1
        if getattr(func, "__name__", "") == "permute" and (order := _order(args[1:])) in _MOVES:
            self._last = _MOVES[order]
        return func(*args, **(kwargs or {}))

    def _in_place(self) -> bool:
        return any(self._is_place(module) for _, module in self._within)

    def _is_place(self, module: nn.Module) -> bool:
        return isinstance(module, self._classes) or (isinstance(module, _Call) and module.name in self._names)

    def _begin(self, path: str, module: nn.Module, given: tuple[Any, ...]) -> None:
        x = next((value for value in given if isinstance(value, Tensor)), None)
        if type(module) in (nn.Linear, nn.LayerNorm):
            self._last = True
        # LayerNorm2d of torchvision is a LayerNorm, and takes maps.
        elif isinstance(module, nn.modules.conv._ConvNd | nn.modules.batchnorm._NormBase | nn.LayerNorm):
            self._last = False
        if self._is_place(module) and not self._in_place() and x is not None:
            place = self._places.setdefault(path, _Place(path, module))
            place.inputs.append(tuple(x.shape[1:]))
            place.last = x.dim() > 2 and (self._last or x.dim() != 4)
        self._within.append((path, module))

    def _end(self, path: str, module: nn.Module, made: Any) -> None:
        self._within.pop()
        if path in self._places and isinstance(made, Tensor):
            self._places[path].outputs.append(tuple(made.shape[1:]))
