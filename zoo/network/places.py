"""Where the layers of some kinds are in a network: all calls are watched while it evaluates, and while it trains.

A place is a module of a kind. A call of a function of a kind is one as soon as the module that makes the call was
rewritten (`zoo.network.replacing`), which puts a `Call` in its place.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.errors import BuildError, described
from zoo.network.layers import Shape
from zoo.train import streams

MODE = "training"
"""The argument of functions that says whether the network is trained."""
_WITH_DROPOUT = {"scaled_dot_product_attention": 4}
"""Functions that drop something by themselves, with the position of the probability among their arguments."""
_GATED = (nn.LSTM, nn.LSTMCell, nn.GRU, nn.GRUCell)
"""Layers whose hyperbolic tangents belong to their gates."""


@attrs.frozen
class Known:
    """What counts as a layer of one kind.

    Attributes:
        classes: of modules.
        names: of functions.
    """

    classes: tuple[type, ...]
    names: frozenset[str]

    @classmethod
    def of(cls, layers: Collection[type | str]) -> Known:
        """Part classes and names."""
        return cls(
            tuple(layer for layer in layers if isinstance(layer, type)),
            frozenset(layer for layer in layers if isinstance(layer, str)),
        )

    def holds(self, module: nn.Module) -> bool:
        """Tell whether a module is of the kind."""
        return isinstance(module, self.classes) or (isinstance(module, Call) and module.name in self.names)


class Call(nn.Module):
    """A call of a function or a method, as a module."""

    def __init__(self, target: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.target, self.args, self.options = target, args, dict(options)

    def forward(self, x: Tensor) -> Any:
        """Call it with x before all else."""
        function = getattr(Tensor, self.target) if isinstance(self.target, str) else self.target
        if MODE in self.options:  # as traced it would be that of the moment
            return function(x, *self.args, **{**self.options, MODE: self.training})
        return function(x, *self.args, **self.options)

    @property
    def name(self) -> str:
        """What is called."""
        return self.target if isinstance(self.target, str) else str(self.target.__name__)


@attrs.define
class Place:
    """A module of a kind, and what it is given and makes, in the order of its calls."""

    path: str
    kind: str
    module: nn.Module
    inputs: list[Shape] = attrs.field(factory=list)
    outputs: list[Shape] = attrs.field(factory=list)
    last: bool = False
    """Whether its features stand last, and not after the batch."""
    in_place: bool = False
    """Whether it changes what it is given."""
    by_name: bool = False
    """Whether it is given its input by name."""
    activates: bool = False
    """Whether it is of another kind and computes an activation too."""

    @property
    def what(self) -> str:
        """The class of the layer, or the name of the function."""
        return self.module.name if isinstance(self.module, Call) else type(self.module).__name__


@attrs.frozen
class Found:
    """What was seen of some kinds in a network.

    Attributes:
        places: by path, in the order in which they were reached; those that only training reaches last.
        calls: how often each module, by path, calls functions of each kind.
        functions: the same by kind and name.
        begun: how often each module, by path, is called.
        dropping: modules in which dropout is a part of another function.
        activating: modules in which an activation is a part of another function.
        unreached: modules of a kind that neither an evaluation nor training reached, with the kind.
    """

    places: Mapping[str, Place]
    calls: Mapping[str, Counter[str]]
    functions: Mapping[str, Counter[tuple[str, str]]]
    begun: Counter[str]
    dropping: frozenset[str]
    activating: frozenset[str]
    unreached: Mapping[str, str]


def find(
    network: nn.Module, known: Mapping[str, Known], activations: Known, input_shape: Shape, *, seed: int, what: str
) -> Found:
    """Find the layers of some kinds: a copy of the network also trains on two images, which changes nothing in it.

    Args:
        network: in which they are looked for.
        known: what counts as a layer, of each of the kinds.
        activations: what counts as one, whether they are looked for or not.
        input_shape: of an image.
        seed: of what is drawn in training.
        what: begins messages.

    Raises:
        BuildError: the network cannot be copied.
    """
    evaluated = _Watch(network, known, activations)
    with evaluating(network), torch.no_grad(), evaluated:
        network(torch.zeros(1, *input_shape))
    twin = copied(network, what).train()
    trained = _Watch(twin, known, activations)
    with streams.seeded(seed, "replacing"), torch.no_grad(), trained:
        twin(torch.zeros(2, *input_shape))
    places = dict(evaluated.places)
    for path, place in trained.places.items():
        if len(place.inputs) > (len(places[path].inputs) if path in places else 0):
            places[path] = attrs.evolve(place, module=network.get_submodule(path))
        else:
            places[path].activates |= place.activates
    functions: dict[str, Counter[tuple[str, str]]] = {
        path: evaluated.functions.get(path, Counter()) | trained.functions.get(path, Counter())
        for path in {**evaluated.functions, **trained.functions}
    }
    calls: dict[str, Counter[str]] = {path: Counter() for path in functions}
    for path, counts in functions.items():
        for (kind, _), count in counts.items():
            calls[path][kind] += count
    return Found(
        places,
        calls,
        functions,
        evaluated.begun | trained.begun,
        dropping=frozenset(trained.dropping),
        activating=frozenset(evaluated.activating | trained.activating),
        unreached=dict(_unreached(network, known, places)),
    )


def copied(network: nn.Module, what: str) -> nn.Module:
    """Return a copy that shares nothing.

    Raises:
        BuildError: it cannot be copied.
    """
    try:
        return copy.deepcopy(network)
    except Exception as error:  # an attribute may be anything
        raise BuildError(
            f"{what}: what the network does in training cannot be seen without a copy of it, and it cannot be copied "
            f"({described(error)})"
        ) from error


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


def _unreached(
    network: nn.Module, known: Mapping[str, Known], places: Mapping[str, Place]
) -> Iterator[tuple[str, str]]:
    for path, module in network.named_modules(remove_duplicate=False):
        kind = next((kind for kind, layers in known.items() if layers.holds(module)), None)
        if kind is not None and not any(path == place or path.startswith(f"{place}.") for place in places):
            yield path, kind


_FEATURES_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm)
_FEATURES_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.LayerNorm,  # one of another class: LayerNorm2d of torchvision takes maps
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._LPPoolNd,
    nn.Dropout1d,
)
"""Layers whose class says where the features of what they are given stand; others take them either way."""
_MOVES = {(0, 2, 3, 1): True, (0, 3, 1, 2): False}
"""Permutations that put the features of maps last, or first again."""
_TURNS = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis")
"""Functions after which the features of a sequence may stand last again."""


def _order(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(args[0]) if args and isinstance(args[0], tuple | list) else args


class _Watch(TorchFunctionMode):
    """Watches one pass: which modules of some kinds are used, and where functions are called by name.

    Attributes:
        places, functions, begun, dropping, activating: see `Found`.
    """

    def __init__(self, network: nn.Module, known: Mapping[str, Known], activations: Known) -> None:
        super().__init__()
        self.places: dict[str, Place] = {}
        self.functions: dict[str, Counter[tuple[str, str]]] = {}
        self.begun: Counter[str] = Counter()
        self.dropping: set[str] = set()
        self.activating: set[str] = set()
        self._network, self._known, self._activations = network, known, activations
        self._operations, self._called = _Operations(self._computed), 0
        self._within: list[tuple[str, nn.Module]] = []
        self._versions: list[int] = []
        self._last = False
        self._sequences = False
        """Whether features stand first in what has one dimension beside them, as in a convolution over a sequence."""
        self._handles: list[Any] = []

    def __enter__(self) -> _Watch:
        """Begin."""
        for path, module in self._network.named_modules(remove_duplicate=False):
            begin = module.register_forward_pre_hook(
                lambda m, x, named, path=path: self._begin(path, m, x, named), with_kwargs=True
            )
            end = module.register_forward_hook(
                lambda m, x, named, y, path=path: self._end(path, x, named, y), with_kwargs=True
            )
            self._handles += [begin, end]
        self._operations.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        """End."""
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._operations.__exit__(*raised)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a call, unless a layer of a kind makes it."""
        name, options = getattr(func, "__name__", ""), kwargs or {}
        where = self._within[-1][0] if self._within else ""
        for kind, layers in self._known.items():
            if name in layers.names and not self._within_place():
                self.functions.setdefault(where, Counter())[kind, name] += 1
        if name in _WITH_DROPOUT and options.get("dropout_p", (*args, *[0] * 5)[_WITH_DROPOUT[name]]):
            self.dropping.add(where)
        if name == "permute" and (order := _order(args[1:])) in _MOVES:
            self._last = _MOVES[order]
        if name in _TURNS:
            self._sequences = False
        counted = name in self._activations.names
        self._called += counted
        try:
            return func(*args, **options)
        finally:
            self._called -= counted
            if counted:
                self._note_activation()

    def _computed(self, name: str) -> None:
        """Note an operation: an activation that no call of a function is counted for is a part of something else."""
        if name not in self._activations.names or self._called:
            return
        within = [module for _, module in self._within]
        if any(isinstance(module, _GATED) or self._activations.holds(module) for module in within):
            return
        if not self._note_activation():
            self.activating.add(self._within[-1][0] if self._within else "")

    def _note_activation(self) -> bool:
        """Note of the outermost layer of a kind around what is computed that it activates; tell if there is one."""
        around = next((path for path, module in self._within if self._kind(module)), None)
        if around is None or around not in self.places:
            return around is not None
        place = self.places[around]
        place.activates |= place.kind != "activation"
        return True

    def _within_place(self) -> bool:
        return any(self._kind(module) for _, module in self._within)

    def _kind(self, module: nn.Module) -> str:
        return next((kind for kind, layers in self._known.items() if layers.holds(module)), "")

    def _begin(self, path: str, module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        x, by_name = _first(given), _first(tuple(named.values()))
        x = by_name if x is None else x
        self.begun[path] += 1
        if type(module) in _FEATURES_LAST:
            self._last, self._sequences = True, False
        elif isinstance(module, _FEATURES_FIRST):
            self._last, self._sequences = False, x is not None and x.dim() == 3
        if (kind := self._kind(module)) and not self._within_place() and x is not None:
            place = self.places.setdefault(path, Place(path, kind, module))
            place.inputs.append(tuple(x.shape[1:]))
            place.last = x.dim() > 2 and (self._last or x.dim() != 4) and not (self._sequences and x.dim() == 3)
            place.by_name |= by_name is not None
        self._within.append((path, module))
        self._versions.append(-1 if x is None else x._version)

    def _end(self, path: str, given: tuple[Any, ...], named: Mapping[str, Any], made: Any) -> None:
        self._within.pop()
        version, x = self._versions.pop(), _first((*given, *named.values()))
        if path in self.places and isinstance(made, Tensor):
            place = self.places[path]
            place.outputs.append(tuple(made.shape[1:]))
            place.in_place |= x is not None and x._version != version


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tells the name of each operation, however it was called."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tell = tell

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Tell it."""
        self._tell(func._schema.name.partition("::")[2])
        return func(*args, **(kwargs or {}))


def _first(given: tuple[Any, ...]) -> Tensor | None:
    return next((value for value in given if isinstance(value, Tensor)), None)
