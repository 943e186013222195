"""Putting variants in place of an architecture's layers: every place of a kind, or an error that names what cannot be.

A module that calls functions of a kind, or one layer at several places, is rewritten with torch.fx first; only its own
forward is traced, with the modules in it as they are.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import attrs
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import is_parametrized

from zoo.errors import BuildError, described
from zoo.network.layers import Replaced, Shape, alike, blaming, check_contract, describe, made, probe, sizes
from zoo.network.places import MODE, Call, Found, Known, Place, copied, find
from zoo.network.taking_over import taken_over
from zoo.registry import Registry
from zoo.registry.options import Choice
from zoo.spec import Spec
from zoo.spec.fields import EVERYWHERE, OWN
from zoo.train import streams

_BY_FUNCTION = ("activation", "dropout")
"""The kinds of which a call of a function can be replaced: others have weights or sizes among their arguments."""


def replace(
    network: nn.Module, spec: Spec, input_shape: Shape, *, seed: int, registry: Registry
) -> tuple[nn.Module, tuple[Replaced, ...]]:
    """Put the variants that a spec states in place of a network's layers.

    Returns:
        The network, which is another module where its own forward was rewritten, and every place of the kinds stated.

    Raises:
        BuildError: there is no layer of a kind, or a place cannot be reached, or a variant does not fit it.
        PluginError: a plugin's factory, layer or hook raised; names the plugin.
    """
    if spec.network.replace is None or not spec.replaces:
        return network, ()
    of = str(spec.network.architecture)
    wanted = [_Wanted(spec.name, of, kind, chosen) for kind, chosen in spec.network.replace.by_kind().items()]
    known = {kind: Known.of(layers) for kind, layers in registry.layer_kinds().items()}
    surgery = _Surgery(network.eval(), {each.kind: each for each in wanted}, known, input_shape, seed, registry)
    replaced = tuple(surgery.operate())
    return surgery.network.train(), replaced


class FeaturesFirst(nn.Module):
    """A layer that expects maps, features after the batch, where it is given something else.

    Attributes:
        layer: it.
        last: features stand last, and are moved there and back.
    """

    def __init__(self, layer: nn.Module, *, last: bool) -> None:
        super().__init__()
        self.layer, self.last = layer, last

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, ..., features), or (batch, features, ...), to the same shape."""
        moved = x.movedim(-1, 1) if self.last else x
        maps = moved if moved.dim() == 4 else moved.reshape(*moved.shape[:2], *_as_map(moved.shape[2:]))
        computed: Tensor = self.layer(maps)
        computed = computed.reshape(moved.shape)
        return computed.movedim(1, -1) if self.last else computed


def _as_map(places: Shape) -> Shape:
    """Return height and width for places in one dimension, or in more than two."""
    return places[0], math.prod(places[1:])


@attrs.frozen
class _Wanted:
    """What a spec puts in place of the layers of one kind.

    Attributes:
        name: of the spec.
        architecture: in words.
        kind: of the layers.
        chosen: by pattern of paths, what stands there; None leaves the layer.
    """

    name: str
    architecture: str
    kind: str
    chosen: Mapping[str, Choice | None]

    def pattern(self, path: str) -> str:
        """Return the pattern that decides for a path.

        Raises:
            BuildError: two patterns decide otherwise.
        """
        found = [at for at in self.chosen if at != EVERYWHERE and fnmatchcase(path, at)]
        if len({str(self.chosen[at]) for at in found}) > 1:
            raise BuildError(
                f"{self.name}: network.replace: {path} is matched by {' and '.join(map(_quoted, found))}, which put "
                f"different things in place of its {self.kind}; let one of them match"
            )
        return found[0] if found else EVERYWHERE

    def choice(self, path: str) -> Choice | None:
        """Return what stands at a path; None leaves the layer."""
        return self.chosen[self.pattern(path)]

    def what(self, path: str = "") -> str:
        """Say where in the spec it is stated what stands at a path, and what it is."""
        pattern = self.pattern(path) if path else next(at for at, choice in self.chosen.items() if choice)
        at = "" if pattern == EVERYWHERE else f".{_quoted(pattern)}"
        return f"{self.name}: network.replace{at}.{self.kind}: {self.chosen[pattern] or OWN}"


def _quoted(pattern: str) -> str:
    return f'"{pattern}"'


class _EachLeaf(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


@attrs.define
class _Surgery:
    """One network in which layers are replaced.

    Attributes:
        network: it, as far as it is rewritten; in evaluation.
        wanted: by kind, what is put where.
        known: by kind, what counts as a layer of it.
        input_shape: of an image.
        seed: of the starting weights.
        registry: where variants are looked up.
    """

    network: nn.Module
    wanted: Mapping[str, _Wanted]
    known: Mapping[str, Known]
    input_shape: Shape
    seed: int
    registry: Registry
    _origins: dict[str, str] = attrs.field(factory=dict)
    """The path that a layer had which became one for each of its uses, by the path that it has now."""
    _left_uses: dict[str, list[str]] = attrs.field(factory=dict)
    """By the path of a layer that is used several times, the names of those of its uses that are left to it."""

    def operate(self) -> Iterator[Replaced]:
        """Put the variants in their places."""
        self._require_untied()
        self._part_names()
        self._open_transformers()
        found = self._look()
        self._require_single_kinds(found)
        self._require_none_hidden(found)
        owners = self._to_rewrite(found)
        before = self._results() if owners else None
        for path in sorted(owners, reverse=True):
            self._rewrite(path, found, owners[path])
        if before:
            self._require_rewritten(before, owners)
            found = self._look()
            for path, calls in found.calls.items():
                self._refuse_calls(path, calls, "which cannot be reached")
        self._require_all_reached(found)
        self._require_places(found)
        chosen = [place for place in found.places.values() if self._choice(place)]
        for place in chosen:
            self._require_nothing_lost(place)
        self._require_no_side_effects(chosen)
        kinds = list(self.wanted)
        counts = Counter(place.kind for place in found.places.values())
        indices: Counter[str] = Counter()
        for place in sorted(found.places.values(), key=lambda place: kinds.index(place.kind)):
            choice, standing = self._choice(place), (indices[place.kind], counts[place.kind])
            indices[place.kind] += 1
            yield self._put(place, choice, *standing) if choice else self._left(place, found)
        for path, functions in found.functions.items():
            for (kind, name), count in functions.items():
                times = max(1, count // found.begun[path])
                yield Replaced(_below(path, name), "", kind, name, name, name, OWN, times)

    def _choice(self, place: Place) -> Choice | None:
        return None if place.path in self._left_uses else self.wanted[place.kind].choice(place.path)

    def _part_names(self) -> None:
        """Give each name of one layer that is registered under several a layer of its own."""
        seen: set[int] = set()
        for path, module in list(self.network.named_modules(remove_duplicate=False)):
            if id(module) in seen and any(self.known[kind].holds(module) for kind in self.wanted):
                self._set(path, copy.deepcopy(module))
            seen.add(id(module))

    def _require_untied(self) -> None:
        """Refuse filters that share weights under several names: others in their places would not."""
        if "filter" not in self.wanted:
            return
        owners: dict[int, list[tuple[str, nn.Module]]] = {}
        for path, module in self.network.named_modules(remove_duplicate=False):
            for tensor in module.parameters(recurse=False):
                owners.setdefault(id(tensor), []).append((path, module))
        for sharing in (sharing for sharing in owners.values() if len(sharing) > 1):
            for path, module in sharing:
                if self.known["filter"].holds(module) and self.wanted["filter"].choice(path):
                    raise BuildError(
                        f"{self.wanted['filter'].what(path)}: {_named(path for path, _ in sharing)} share weights, and "
                        "layers in their places would have weights of their own; leave them with "
                        f'replace.{_quoted(path)}.filter = "own"'
                    )

    def _open_transformers(self) -> None:
        """Let torch's layers of a transformer's encoder be what is called, and hold their activation as a module.

        Their forward cannot be traced, and in an evaluation it leaves all layers in it to one operation of its own.
        """
        for module in list(self.network.modules()):
            if isinstance(module, nn.TransformerEncoderLayer):
                module.activation_relu_or_gelu = 0
                if not isinstance(function := module.activation, nn.Module):
                    module.activation = Call(function, (), {})

    def _look(self) -> Found:
        wanted = next(iter(self.wanted.values()))
        known = {kind: self.known[kind] for kind in self.wanted}
        activations = self.known["activation"]
        return find(self.network, known, activations, self.input_shape, seed=self.seed, what=wanted.what())

    def _require_single_kinds(self, found: Found) -> None:
        for kind, wanted in self.wanted.items():
            for other in self.known.keys() - {kind}:
                both = [p.path for p in found.places.values() if p.kind == kind and self.known[other].holds(p.module)]
                if both:
                    kinds = " and ".join(sorted((kind, other)))
                    raise BuildError(f"{wanted.what()}: {_named(both)} is {kinds} in one layer, which cannot be parted")

    def _require_none_hidden(self, found: Found) -> None:
        """Refuse what is a part of an operation that does more."""
        within = (nn.MultiheadAttention, nn.RNNBase)
        dropping = {path for path, m in self.network.named_modules() if isinstance(m, within) and m.dropout > 0}
        for kind, paths in {"dropout": found.dropping | dropping, "activation": found.activating}.items():
            if kind in self.wanted and (hidden := {path for path in paths if self._concerns(kind, path, [kind])}):
                raise BuildError(
                    f"{self.wanted[kind].what()}: the {kind} within another operation, such as attention or a function "
                    f"of TorchScript, cannot be reached, in {_named(hidden)}"
                )

    def _require_nothing_lost(self, place: Place) -> None:
        """Refuse a layer that is or does more than another in its place would."""
        module = place.module
        hooks = [module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks]
        whys = {
            "computes an activation too, which cannot be parted from it": place.activates,
            "has hooks or a parametrization of its own (as of weight normalization), which would be lost": (
                any(hooks) or is_parametrized(module)
            ),
            "is given its input by name, which a layer in its place may call otherwise": place.by_name,
            "makes more than one tensor, and a layer in its place makes one": len(place.outputs) < len(place.inputs),
        }
        for why in (why for why, holds in whys.items() if holds):
            raise BuildError(f"{self.wanted[place.kind].what(place.path)}: {place.path or 'the network itself'} {why}")

    def _concerns(self, kind: str, owner: str, names: Iterable[str]) -> bool:
        """Tell whether something is put in place of what a module would have under one of the names."""
        wanted = self.wanted[kind]
        if wanted.chosen[EVERYWHERE]:
            return any(wanted.choice(_below(owner, f"{name}_1")) for name in names)
        return any(
            choice and fnmatchcase(_below(owner, f"{name}_{number}"), at)
            for at, choice in wanted.chosen.items()
            for name in names
            for number in range(1, 10)
        )

    def _refuse_calls(self, path: str, calls: Counter[str], why: str) -> None:
        for kind in calls:
            if self._concerns(kind, path, self.known[kind].names):
                where = path or "the network itself"
                raise BuildError(f"{self.wanted[kind].what()}: functions are called for it in {where}, {why}")

    def _to_rewrite(self, found: Found) -> dict[str, list[str]]:
        """Return the modules that must be rewritten, each with those of its layers that are used several times."""
        owners: dict[str, list[str]] = {}
        for path, calls in found.calls.items():
            others = Counter({kind: count for kind, count in calls.items() if kind not in _BY_FUNCTION})
            self._refuse_calls(path, others, "which cannot be replaced")
            if any(self._concerns(kind, path, self.known[kind].names) for kind in calls if kind not in others):
                owners[path] = []
        for place in found.places.values():
            owner = _caller(place, found)
            name = place.path[len(owner) :].lstrip(".").replace(".", "_")
            # A module that is called several times itself stays one, with all that is in it; so does a filter, whose
            # uses share its weights.
            several = place.kind != "filter" and len(place.inputs) > max(1, found.begun[owner])
            if several and self._concerns(place.kind, owner, [name]):
                owners.setdefault(owner, []).append(place.path)
        return owners

    def _rewrite(self, path: str, found: Found, shared: list[str]) -> None:
        """Make each call of a function of the kinds, and each use of a shared layer, a module of its own."""
        owner = self.network.get_submodule(path)
        where = path or "the network itself"
        by_function = [kind for kind in self.wanted if kind in _BY_FUNCTION]
        names = frozenset[str]().union(*(self.known[kind].names for kind in by_function))
        kinds = found.calls.get(path) or [place.kind for place in found.places.values() if place.path in shared]
        what = self.wanted[next(iter(kinds))].what()
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
            functions = [node for node in graph.nodes if _called(node) in names]
            by_mode = [node for node in graph.nodes if node.kwargs.get(MODE) is training]
            told = [(n.op, n.target, n.args, {**n.kwargs, **({MODE: ()} if n in by_mode else {})}) for n in graph.nodes]
            texts.append(str(told))
        owner.eval()
        uses = [node for node in graph.nodes if node.op == "call_module" and _below(path, node.target) in shared]
        counted = found.calls.get(path, Counter())
        if texts[0] != texts[1]:
            raise BuildError(
                f"{what}: {where} would have to be rewritten, and its forward does something else in training than in "
                "an evaluation"
            )
        if len(functions) * found.begun[path] != sum(counted[kind] for kind in by_function):
            raise BuildError(f"{what}: {where} calls functions for it in a way that cannot be rewritten")
        children = dict(owner.named_children())
        for node in dict.fromkeys((*functions, *uses, *by_mode)):
            origin = _below(path, node.target) if node in uses else ""
            others = [given for given in (*node.args[1:], *node.kwargs.values()) if isinstance(given, fx.Node)]
            if others or not node.args or not isinstance(node.args[0], fx.Node):
                raise BuildError(
                    f"{what}: {where} calls {_called(node) or node.target} in a way that cannot be rewritten"
                )
            base = str(_called(node) or node.target).replace(".", "_")
            name = next(n for i in range(1, 10**6) if (n := f"{base}_{i}") not in children and not hasattr(owner, n))
            if origin and not self.wanted[found.places[origin].kind].choice(_below(path, name)):
                self._left_uses.setdefault(origin, []).append(_below(path, name))
                children[name] = owner  # so that the next use has another name
                continue
            own = (
                copy.deepcopy(owner.get_submodule(str(node.target)))
                if origin
                else Call(node.target, node.args[1:], node.kwargs)
            )
            if origin:
                self._origins[_below(path, name)] = origin
            children[name] = own
            owner.add_module(name, own)
            with graph.inserting_before(node):
                node.replace_all_uses_with(new := graph.call_module(name, (node.args[0],)))
            new.meta = dict(node.meta)
            graph.erase_node(node)
        rewritten = fx.GraphModule(owner, graph, class_name=type(owner).__name__)
        self._set(path, rewritten.eval())

    def _results(self) -> tuple[list[Any], dict[str, Tensor | None]]:
        """Return what the network makes of two images in both modes, and its gradients."""
        trained, gradients = self._step()
        return [self._outcome((), training=False), trained], gradients

    def _require_rewritten(self, before: tuple[list[Any], dict[str, Tensor | None]], owners: Iterable[str]) -> None:
        """Refuse modules whose trace is not what they compute: of an argument that may be None, fx sees one case."""
        wanted = next(iter(self.wanted.values()))
        why = ""
        try:
            made, gradients = self._results()
            same = all(map(alike, before[0], made))
            if same and not self._close(before[1], gradients):
                same, why = False, " (its gradients are others)"
        except Exception as error:  # whatever its forward does with what it is given
            same, why = False, f" ({described(error)})"
        if not same:
            raise BuildError(
                f"{wanted.what()}: {_few(sorted(path or 'the network itself' for path in owners))} would have to be "
                f"rewritten, and what torch.fx traces there does not compute the same{why}"
            )

    def _require_all_reached(self, found: Found) -> None:
        """Refuse layers of which nobody knows whether they are used: another would stand in no place of theirs."""
        for kind, wanted in self.wanted.items():
            left = [path for path, other in found.unreached.items() if other == kind and wanted.choice(path)]
            if left:
                raise BuildError(
                    f"{wanted.what(left[0])}: no image reaches {_named(left)}, neither in an evaluation nor in "
                    "training, so that it cannot be seen what is computed there; leave it with "
                    f'replace.{_quoted(left[0])}.{kind} = "own"'
                )

    def _require_places(self, found: Found) -> None:
        """Refuse what is put nowhere."""
        for kind, wanted in self.wanted.items():
            places = [place.path for place in found.places.values() if place.kind == kind]
            others = [path for path, other in found.unreached.items() if other == kind]
            others += [use for path in places for use in self._left_uses.get(path, ())]
            decided = {wanted.pattern(path) for path in (*places, *others)}
            if not places:
                raise BuildError(f"{wanted.what()}: {wanted.architecture} has no {kind}")
            for at in wanted.chosen.keys() - decided - {EVERYWHERE}:
                raise BuildError(
                    f"{wanted.name}: network.replace.{_quoted(at)}.{kind}: {wanted.architecture} has no {kind} at a "
                    f"place that it matches: it has {_few([*places, *others])}"
                )

    def _require_no_side_effects(self, places: Collection[Place]) -> None:
        """Refuse layers that change what they are given where the network uses that again: another leaves it."""
        in_place = [place.path for place in places if place.in_place]
        if not in_place:
            return
        for training in (False, True):
            plain = self._outcome((), training)
            if alike(plain, self._outcome(in_place, training)):
                continue
            guilty = [path for path in in_place if not alike(plain, self._outcome([path], training))] or in_place
            wanted = next(self.wanted[place.kind] for place in places if place.path == guilty[0])
            raise BuildError(
                f"{wanted.what(guilty[0])}: {_named(guilty)} changes what it is given in place, and the network uses "
                "that again; a layer in its place would leave it as it was. Let the architecture use what the layer "
                "returns"
            )

    def _outcome(self, kept: Collection[str], training: bool) -> Any:
        """Return what the network makes of two images where some layers are given copies."""
        wanted = next(iter(self.wanted.values()))
        twin = copied(self.network, wanted.what()).train(training)
        for path in kept:
            twin.get_submodule(path).register_forward_pre_hook(lambda _, given: (given[0].clone(), *given[1:]))
        images = torch.randn(2, *self.input_shape, generator=streams.generator("cpu", self.seed, "replacing"))
        with streams.seeded(self.seed, "replacing"), torch.no_grad():
            return twin(images)

    def _step(self) -> tuple[Any, dict[str, Tensor | None]]:
        """Return what the network in training makes of two images, and the gradients by the parameters' names."""
        twin = copied(self.network, next(iter(self.wanted.values())).what()).train()
        generator = streams.generator("cpu", self.seed, "replacing")
        images = torch.randn(2, *self.input_shape, generator=generator)
        with streams.seeded(self.seed, "replacing"), torch.enable_grad():
            made = twin(images)
            if not isinstance(made, Tensor):
                return made, {}
            try:
                made.backward(torch.randn(made.shape, generator=generator).to(made))  # type: ignore[no-untyped-call]
            except RuntimeError:  # which says that it cannot be trained
                return made.detach(), {}
        return made.detach(), {name: parameter.grad for name, parameter in twin.named_parameters()}

    def _close(self, old: Mapping[str, Tensor | None], new: Mapping[str, Tensor | None]) -> bool:
        """Tell whether the gradients of all but the layers that became several are the same."""
        parted = tuple(f"{path}." for path in self._origins.values())
        names = {name for name in old.keys() & new.keys() if not name.startswith(parted)}
        return bool(old) == bool(new) and all(_close(old[name], new[name]) for name in names)

    def _left(self, place: Place, found: Found) -> Replaced:
        text = _described(place.module)
        uses = len(place.inputs) // max(1, found.begun[_caller(place, found)])
        return Replaced(place.path, "", place.kind, place.what, text, text, OWN, max(1, uses))

    def _put(self, place: Place, choice: Choice, index: int, count: int) -> Replaced:
        """Put the variant in one place, which is one of so many of its kind."""
        wanted = self.wanted[place.kind]
        at = f"{wanted.what(place.path)} at {place.path}"
        if len({*place.inputs}) > 1:
            raise BuildError(f"{at}: it is one layer for inputs of several sizes")
        variant = self.registry.variant(place.kind, choice.name)
        before, after = place.inputs[0], place.outputs[0]
        shape = before
        if place.last and len(before) > 1:
            shape = (before[-1], *(before[:-1] if len(before) == 3 else _as_map(before[:-1])))
        elif len(before) == 2:
            shape = (before[0], *_as_map(before[1:]))
        options, filters = taken_over(choice, place.module, at)
        given = {"shape": shape, "filters": filters, "index": index, "count": count}
        with blaming(at, variant.plugin, shape), streams.seeded(self.seed, "initialization", place.path):
            layer = made(at, variant, {**choice.values(), **options}, **given)
            computed, _ = probe(layer, shape)
            check_contract(variant, shape, computed, filters)
            expected = after if place.kind in ("filter", "pooling") else shape
            if computed != expected:
                raise ValueError(
                    f"it makes {sizes(computed)} of {sizes(shape)}, and {place.path} made {sizes(expected)}, for which "
                    "the layers after it are made"
                )
            layer.train()
        as_maps = (place.last and len(before) > 1) or shape != before
        new = describe(layer.eval()) + (f", given {sizes(before)} as {sizes(shape)}" if as_maps else "")
        self._set(place.path, FeaturesFirst(layer, last=place.last) if as_maps else layer)
        origin, old = self._origins.get(place.path, ""), _described(place.module)
        return Replaced(place.path, origin, place.kind, place.what, old, new, str(choice))

    def _set(self, path: str, module: nn.Module) -> None:
        if not path:
            self.network = module
            return
        parent, _, name = path.rpartition(".")
        setattr(self.network.get_submodule(parent), name, module)


_ROUNDING = 1e-3
"""Gradients differ so much, as a share of the largest, where they are added up in another order."""


def _close(old: Tensor | None, new: Tensor | None) -> bool:
    """Tell whether two gradients are the same but for rounding."""
    if old is None or new is None:
        return old is new
    return torch.allclose(old, new, 0, _ROUNDING * float(old.abs().max()), equal_nan=True)


def _caller(place: Place, found: Found) -> str:
    """Return the path of the module around a layer that is called; a list of layers is not."""
    owner = place.path.rpartition(".")[0]
    while owner and owner not in found.begun:
        owner = owner.rpartition(".")[0]
    return owner


def _described(module: nn.Module) -> str:
    return module.name if isinstance(module, Call) else describe(module)


def _called(node: fx.Node) -> str:
    """Return the name of the function or the method that a node calls."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def _below(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def _named(paths: Iterable[str]) -> str:
    return ", ".join(sorted(path or "the network itself" for path in paths))


def _few(paths: Collection[str]) -> str:
    """Name some paths."""
    shown, more = list(paths)[:5], len(paths) - 5
    return (", ".join(shown) or "none") + (f" and {more} more" if more > 0 else "")
