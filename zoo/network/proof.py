"""Change proof: what a change did to the network and to its training, and that it did nothing else.

Two networks are built and compared layer by layer: which layers there are, their options, their starting weights, and
what they compute. So a variant that ignores an option, and one whose factory reaches beyond its own layer, are found
before anything is trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, get_args

import attrs
import torch
from torch import Tensor, nn

from zoo.errors import SpecError
from zoo.network.builder import construct
from zoo.network.compared import BATCH, Seen, equal, outcome, seen
from zoo.network.layers import Shape
from zoo.network.whole_proof import exchanged, is_same, replaced
from zoo.registry import Registry
from zoo.registry.options import Choice
from zoo.spec import SECTIONS, DensePart, Part, Spec, Weights, paths
from zoo.train import streams

_PARTS = {*get_args(Part), *get_args(DensePart)}
_BUILT_BY = {"filters": "filter", "units": "linear"}
"""The part that a field of a block decides, where it is not called like it."""
_WHOLE = ("block", "order")
"""Fields of a block that every layer in it depends on."""
_BESIDE_AN_ARCHITECTURE = (("network", "replace"), ("network", "initializer"), ("network", "weights"))
_OF_THE_WHOLE = ("architecture", "replace", "weights")
"""Fields of a network that decide what an architecture becomes."""


def prove(
    base: Spec,
    changed: Spec,
    sets: Mapping[str, Any],
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    registry: Registry,
    seed: int = 0,
) -> tuple[str, ...]:
    """Return in lines what a change did: "+ BatchNorm2d(24) after features.0.filter", "training.epochs: 10 -> 20".

    A layer that was added has a "+", one that was removed a "-", one that was changed a "~". A line that begins with
    "  so" is of a layer whose sizes follow from the layers before it.

    Args:
        base: the spec before the change.
        changed: the spec after it.
        sets: the paths and values of the change.
        input_shape: (channels, height, width) of the images.
        classes: how many there are.
        registry: where variants are looked up.
        seed: of the starting weights.

    Raises:
        SpecError: the change altered nothing, or also something that it does not name.
        BuildError: one of the specs makes no network for the input.
        PluginError: a plugin's factory or layer raised; names the plugin.
    """
    differences = list(_differences(base, changed))
    _check_named(base, changed, sets, differences, registry)
    if any(getattr(base.network, field) != getattr(changed.network, field) for field in _OF_THE_WHOLE):
        whole = [construct(s, input_shape, classes, seed=seed, registry=registry) for s in (base, changed)]
        others = [str(d) for d in differences if d.place[0] != "network"]
        if base.network.architecture == changed.network.architecture:
            lines = (*replaced(base, changed, whole), *others)
        elif is_same(whole[0].network, whole[1].network, input_shape, seed):
            lines = ()
        else:
            beside = [str(d) for d in differences if d.place[:2] in _BESIDE_AN_ARCHITECTURE]
            lines = (exchanged(base, changed, whole), *beside, *others)
        if not lines:
            raise SpecError(_without_effect(base, changed, sets, registry))
        return lines
    before, after = (_Network.of(spec, input_shape, classes, seed=seed, registry=registry) for spec in (base, changed))
    comparison = _Comparison(before, after, [d.place[1:] for d in differences if d.place[0] == "network"], seed)
    comparison.compare()
    if comparison.unnamed:
        raise SpecError(
            f"{changed.name}: the change of {_listed(sets)} also altered what it does not name: "
            f"{'; '.join(comparison.unnamed)}. A factory must touch nothing but its own layer; mend it or leave the "
            f"change out{_plugins(base, changed, registry)}"
        )
    lines = (*comparison.lines, *(str(d) for d in differences if d.place[0] != "network"))
    if not lines:
        raise SpecError(_without_effect(base, changed, sets, registry))
    return lines


def stated(base: Spec, changed: Spec, sets: Mapping[str, Any], *, registry: Registry) -> tuple[str, ...]:
    """Return in lines where the two specs differ: what `prove` says where the form of the images is not known.

    Raises:
        SpecError: they differ also in something that the change does not name.
    """
    differences = list(_differences(base, changed))
    _check_named(base, changed, sets, differences, registry)
    return tuple(map(str, differences))


def _without_effect(base: Spec, changed: Spec, sets: Mapping[str, Any], registry: Registry) -> str:
    same = "network and training are those" if changed.network.architecture is None else "the network is that"
    return (
        f"{changed.name}: the change of {_listed(sets)} altered nothing: {same} of {base.name}. Leave the change out, "
        f"or mend the factory that ignores it{_plugins(base, changed, registry)}"
    )


_ABSENT = object()


@attrs.frozen
class _Difference:
    """A place in two specs that has two values; `_ABSENT` where one spec does not have the place."""

    place: tuple[str | int, ...]
    old: Any
    new: Any

    def __str__(self) -> str:
        where = "starting weights" if self.place == ("network", "weights") else ".".join(map(str, self.place))
        if self.old is _ABSENT:
            return f"+ {where}: {_written(self.new)}"
        if self.new is _ABSENT:
            return f"- {where}: {_written(self.old)}"
        return f"{where}: {_written(self.old)} -> {_written(self.new)}"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def _listed(sets: Mapping[str, Any]) -> str:
    return ", ".join(sets) or "no path"


def _differences(base: Spec, changed: Spec) -> Iterator[_Difference]:
    for section in SECTIONS:
        yield from _differing(getattr(base, section), getattr(changed, section), (section,))


def _differing(old: Any, new: Any, place: tuple[str | int, ...]) -> Iterator[_Difference]:
    if old == new:
        return
    parts = _parts(old), _parts(new)
    alike = type(old) is type(new) and (not isinstance(old, Choice) or old.name == new.name)
    if not alike or None in parts:
        yield _Difference(place, old, new)
        return
    olds, news = (part or {} for part in parts)
    for key in {**olds, **news}:
        yield from _differing(olds.get(key, _ABSENT), news.get(key, _ABSENT), (*place, key))


def _parts(value: Any) -> dict[str | int, Any] | None:
    """Return what a part of a spec consists of; None for what is one value: a number, a file, or the order of parts."""
    if isinstance(value, Weights):
        return None
    if isinstance(value, Choice):
        return dict(value.values().items())
    if attrs.has(type(value)):
        return dict(attrs.asdict(value, recurse=False).items())
    if isinstance(value, tuple) and all(attrs.has(type(item)) for item in value):
        return dict(enumerate(value))
    return None


def _check_named(
    base: Spec, changed: Spec, sets: Mapping[str, Any], differences: Sequence[_Difference], registry: Registry
) -> None:
    """Refuse a difference between the specs at a place that no path of the change leads to."""
    named: set[tuple[str | int, ...]] = set()
    spec = base
    for path, value in sets.items():
        try:
            following = paths.apply(spec, {path: value}, registry)
        except paths.NoChangeError:
            continue
        named |= {difference.place for difference in _differences(spec, following)}
        spec = following
    others = [d for d in differences if not any(d.place[: len(place)] == place for place in named)]
    if others:
        raise SpecError(
            f"{changed.name}: it differs from {base.name} in more than its change of {_listed(sets)}: "
            f"{'; '.join(map(str, others))}. Name that in the change too, or leave it as it is"
        )


def _plugins(base: Spec, changed: Spec, registry: Registry) -> str:
    """Name the plugins whose variants a change chose, or set options of."""
    chosen = Counter(changed.choices()) - Counter(base.choices())
    plugins = sorted({str(registry.variant(choice.kind, choice.name).plugin) for choice in chosen})
    return f" (plugin {', '.join(plugins)})" if plugins else ""


@attrs.frozen(eq=False)
class _Network:
    """A built network: its layers by place, in order, and the blocks and other groups that they are in."""

    layers: Mapping[str, Seen]
    groups: Mapping[str, nn.Module]
    shapes: Mapping[str, Shape]

    @classmethod
    def of(
        cls, spec: Spec, input_shape: tuple[int, int, int], classes: int, *, seed: int, registry: Registry
    ) -> _Network:
        with streams.seeded(seed, "building"):
            built = construct(spec, input_shape, classes, seed=seed, registry=registry)
        # What stays in training mode is always on.
        network = built.network.eval()
        modules = dict(_layers(network, "", [layer.path for layer in built.layers if not layer.is_rest]))
        groups = {_group(place): network.get_submodule(_group(place)) for place in modules}
        shapes = _input_shapes(network, {**modules, **groups}, input_shape, seed)
        layers = {place: seen(module, shapes.get(place)) for place, module in modules.items()}
        return cls(layers, groups, shapes)


def _layers(module: nn.Module, place: str, noted: Collection[str]) -> Iterator[tuple[str, nn.Module]]:
    """Yield each layer with its place: what the builder noted as one, or else what holds none; Identity is none."""
    container = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    is_part = place in noted or place.rpartition(".")[2] in _PARTS
    inner = [name.split(".") for name, _ in module.named_modules()]
    has_layers = any(path.startswith(f"{place}.") for path in noted) or any(_PARTS & set(steps) for steps in inner)
    children = list(module.named_children())
    if children and not is_part and (container or has_layers):
        for name, child in children:
            yield from _layers(child, f"{place}.{name}" if place else name, noted)
    elif children or not (container or isinstance(module, nn.Identity)):
        yield place, module


def _group(place: str) -> str:
    """Return the block, or the layer outside of blocks, that a layer is in: "features.0", "output"."""
    first, *rest = place.split(".")
    return f"{first}.{rest[0]}" if rest else first


def _part(place: str) -> str | None:
    """Return which part of its block a layer is; None for what the block made itself."""
    return next((step for step in place.split(".") if step in _PARTS), None)


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_number(item) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _input_shapes(
    network: nn.Module, modules: Mapping[str, nn.Module], input_shape: tuple[int, int, int], seed: int
) -> dict[str, Shape]:
    """Return the shape of what reaches each module in an evaluation."""
    shapes: dict[str, Shape] = {}

    def note(place: str, arguments: tuple[Any, ...]) -> None:
        if len(arguments) == 1 and isinstance(arguments[0], Tensor):
            shapes.setdefault(place, tuple(arguments[0].shape[1:]))

    handles = [
        module.register_forward_pre_hook(lambda _, arguments, place=place: note(place, arguments))
        for place, module in modules.items()
    ]
    images = torch.zeros(BATCH, *input_shape, dtype=torch.float32)
    outcome(network, images, seed, "shapes")
    for handle in handles:
        handle.remove()
    return shapes


@attrs.define
class _Comparison:
    """Compares two networks layer by layer.

    Attributes:
        before, after: the networks.
        named: places below `network` at which the specs differ.
        seed: of what layers draw while they are compared.
        lines: what is different and may be.
        unnamed: what is different and must not be.
    """

    before: _Network
    after: _Network
    named: Sequence[tuple[str | int, ...]]
    seed: int
    lines: list[str] = attrs.field(factory=list)
    unnamed: list[str] = attrs.field(factory=list)

    def compare(self) -> None:
        """Find all differences."""
        touched: set[str] = set()
        previous = ""
        for place in _merged(list(self.before.layers), list(self.after.layers)):
            old, new = self.before.layers.get(place), self.after.layers.get(place)
            count = len(self.lines) + len(self.unnamed)
            if old and new:
                self._kept(place, old, new)
            elif new:
                where = f"after {previous}" if previous else f"at {place}"
                self._add(f"+ {new.description} {where}", place, follows=self._follows(place))
            elif old:
                self._add(f"- {old.description} at {place}", place, follows=self._follows(place))
            if len(self.lines) + len(self.unnamed) > count:
                touched.add(_group(place))
            if new:
                previous = place
        for group in self.before.groups:
            if group in self.after.groups:
                self._connected(group, touched)

    def _kept(self, place: str, old: Seen, new: Seen) -> None:
        """Compare a layer that both networks have: first what it is, then its weights, then what it computes."""
        keys = {**old.settings, **new.settings}
        differing = {key for key in keys if repr(old.settings.get(key)) != repr(new.settings.get(key))}
        sized = all(_is_number(layer.settings.get(key)) for key in differing for layer in (old, new))
        same = old.types == new.types and old.numbers == new.numbers
        if not same or differing or old.sizes != new.sizes:
            follows = same and sized and old.input_shape != new.input_shape
            self._add(f"~ {place}: {_told_apart(old, new, differing)}", place, follows=follows)
        elif self._drawn_alike(place) and not equal(old.tensors, new.tensors):
            if ("initializer",) in [name[:1] for name in self.named]:
                self.lines.append(f"~ {place}: other starting weights")
            else:
                self._add(f"~ {place}: other starting weights", place)
        elif old.input_shape == new.input_shape and not self._computes_alike(place, old.module, new.module):
            self._add(f"~ {place}: {new.description} computes something else", place)

    def _connected(self, group: str, touched: Collection[str]) -> None:
        """Compare how the layers of a block follow each other, and how they are connected."""
        orders = [
            [place for place in one.layers if _group(place) == group and place in other.layers]
            for one, other in ((self.before, self.after), (self.after, self.before))
        ]
        if orders[0] != orders[1]:
            texts = [", ".join(place.removeprefix(f"{group}.") for place in order) for order in orders]
            self._add(f"~ {group}: {texts[0]} -> {texts[1]}", group)
        elif group not in touched and self._same_input(group):
            old, new = self.before.groups[group], self.after.groups[group]
            if not self._computes_alike(group, old, new):
                self._add(f"~ {group}: the same layers, connected otherwise", group)

    def _add(self, line: str, place: str, *, follows: bool = False) -> None:
        if self._is_named(place):
            self.lines.append(line)
        elif follows:
            self.lines.append(f"  so {line.removeprefix('~ ')}")
        else:
            self.unnamed.append(line.removeprefix("~ "))

    def _is_named(self, place: str) -> bool:
        """Tell whether the change names a layer: its part, or what all of its block depends on."""
        group, part = _group(place), _part(place)
        for kind, *rest in self.named:
            if kind == "initializer" or f"{kind}.{rest[0]}" != group:
                continue
            field = rest[1] if len(rest) > 1 else "block"
            if field in _WHOLE or part is None or part == _BUILT_BY.get(str(field), field):
                return True
        return False

    def _follows(self, place: str) -> bool:
        """Tell whether a block may have other modules of its own, such as a shortcut: what reaches it has changed."""
        return _part(place) is None and not self._same_input(_group(place))

    def _same_input(self, group: str) -> bool:
        return self.before.shapes.get(group) == self.after.shapes.get(group)

    def _drawn_alike(self, place: str) -> bool:
        """Tell whether all that draws from a layer's stream has the same sizes in both networks."""
        part, group = _part(place), _group(place)

        def sizes(network: _Network) -> dict[str, Any]:
            if part is not None:
                return network.layers[place].sizes
            own = ((p, layer) for p, layer in network.layers.items() if _group(p) == group and _part(p) is None)
            return {p: layer.sizes for p, layer in own}

        return sizes(self.before) == sizes(self.after)

    def _computes_alike(self, place: str, old: nn.Module, new: nn.Module) -> bool:
        shape = self.before.shapes.get(place)
        if shape is None:
            return True
        x = torch.randn(BATCH, *shape, generator=streams.generator("cpu", self.seed, "proof"), dtype=torch.float32)
        for training in (True, False):
            first, second = (outcome(module.train(training), x, self.seed, place) for module in (old, new))
            if isinstance(first, Tensor) and isinstance(second, Tensor):
                alike = equal({"": first}, {"": second})
            else:
                alike = type(first) is type(second) and first == second
            if not alike:
                return False
        return True


def _merged(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the places of both, those of `new` in order, the others where they were."""
    merged = list(new)
    for index, place in enumerate(old):
        if place not in new:
            before = [merged.index(other) for other in old[:index] if other in merged]
            merged.insert(max(before, default=-1) + 1, place)
    return merged


def _told_apart(old: Seen, new: Seen, settings: Collection[str]) -> str:
    """Write what a layer was and is, with what the descriptions leave out where they are the same."""
    texts = [layer.description for layer in (old, new)]
    if texts[0] == texts[1]:
        rest = [
            ", ".join(f"{key}={layer.settings[key]}" for key in sorted(settings) if key in layer.settings)
            or ", ".join(
                f"{name} {'x'.join(map(str, shape))} {layer.numbers[name]}" for name, shape in layer.sizes.items()
            )
            for layer in (old, new)
        ]
        texts = [f"{text} with {more}" for text, more in zip(texts, rest, strict=True)]
    return f"{texts[0]} -> {texts[1]}"
