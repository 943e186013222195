"""What a training has become since it was built: taken out of it, and put exactly so into one that was built anew.

Parameters, buffers, the optimizer's state and what the training keeps beside them are always taken. Of the attributes
of modules, of the optimizer and of its groups those are taken that have changed since the training was built: numbers,
texts, tensors, and lists, tuples and dicts of them. Anything else that has changed cannot be put back exactly, and
nothing is taken then.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, GeneratorType
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_PARAMETERS, _OTHERS, _BESIDE = "network.", "other.", "beside."
_PLAIN = (bool, int, float, str, type(None))
_REGISTERED = frozenset({"_parameters", "_buffers", "_modules"})
_STATE = frozenset({"state", "param_groups"})
_BEFORE_EACH_STEP = frozenset({"params", "lr"})
"""Entries of an optimizer's group that are not its state: the learning rate is set before each step."""


class UnsavableError(Exception):
    """Something has changed that cannot be put back exactly; says what and where."""


@attrs.frozen
class Beginning:
    """How a training was built, as far as it is needed to tell what has changed since.

    Attributes:
        forms: of parameters and buffers, by their names.
        attributes: a digest of each attribute, by its holder's place and its name.
    """

    forms: Mapping[str, object]
    attributes: Mapping[tuple[str, str], object]


@attrs.frozen
class State:
    """What a training has become.

    Attributes:
        tensors: those that `plain` refers to, and those of the network; contiguous copies on the CPU.
        plain: everything else, as JSON knows it.
    """

    tensors: dict[str, Tensor]
    plain: dict[str, Any]


def beginning(network: nn.Module, optimizer: Optimizer) -> Beginning:
    """Note how a training was built, before it is trained."""
    digest = _Digests(network, optimizer)
    forms = {name: _form(tensor) for name, tensor in _tensors(network).items()}
    attributes = {
        (place, name): digest(value)
        for place, holder, ignored in _holders(network, optimizer)
        for name, value in holder.items()
        if name not in ignored
    }
    return Beginning(forms, attributes)


def taken(
    network: nn.Module, optimizer: Optimizer, begun: Beginning, beside: Mapping[str, Tensor] | None = None
) -> State:
    """Return what has become of a training that began so; `beside` are further tensors of its own.

    Raises:
        UnsavableError: something that has changed cannot be put back exactly.
    """
    own = _tensors(network)
    for name in begun.forms.keys() | own.keys():
        form = _form(own[name]) if name in own else None
        if form != begun.forms.get(name):
            raise UnsavableError(f"the form of {name} in the network has changed in training")
    packing = _Packing(own)
    parameters = {id(parameter): index for index, parameter in enumerate(_parameters(optimizer))}
    state = [
        [parameters.get(id(key), key), packing(value, f"the optimizer's state {_key(key, parameters)}")]
        for key, value in optimizer.state.items()
    ]
    if any(type(key) not in (int, str) for key, _ in state):
        raise UnsavableError("the optimizer's state belongs to something else than its parameters")
    changed = {
        place: {name: packing(value, f"{name} of {_titled(network, place)}") for name, value in values.items()}
        for place, values in _changed(network, optimizer, begun)
    }
    tensors = {_PARAMETERS + name: _copied(tensor) for name, tensor in own.items()}
    tensors |= {_BESIDE + name: _copied(tensor) for name, tensor in (beside or {}).items()}
    tensors |= {name: _copied(tensor) for name, tensor in packing.tensors.items()}
    layouts = {name: [list(tensor.stride()), tensor.device.type] for name, tensor in packing.tensors.items()}
    return State(tensors, {"layouts": layouts, "optimizer": state, "attributes": changed})


def put_back(
    network: nn.Module, optimizer: Optimizer, state: State, beside: Mapping[str, Tensor] | None = None
) -> Callable[[], None]:
    """Return what brings a training that was built anew to the state; until that is called, nothing is changed.

    Raises:
        Exception: the state is of another network, or damaged; of whatever type.
    """
    own = _tensors(network)
    saved = {name: value for name, value in state.tensors.items() if name.startswith((_PARAMETERS, _BESIDE))}
    kept = {_PARAMETERS + name: tensor for name, tensor in own.items()}
    kept |= {_BESIDE + name: tensor for name, tensor in (beside or {}).items()}
    fitting = {name: (tensor.shape, tensor.dtype) for name, tensor in kept.items()}
    if {name: (tensor.shape, tensor.dtype) for name, tensor in saved.items()} != fitting:
        raise ValueError("the state is of another network")
    device = next((tensor.device for tensor in own.values()), torch.device("cpu"))
    others = {}
    for name, (stride, kind) in state.plain["layouts"].items():
        value = state.tensors[name]
        place = device if kind == device.type else torch.device(kind)
        others[name] = torch.empty_strided(value.shape, stride, dtype=value.dtype, device=place).copy_(value)
    known = others | {_PARAMETERS + name: tensor for name, tensor in own.items()}
    parameters = _parameters(optimizer)
    new_state = {
        parameters[key] if isinstance(key, int) else key: _unpacked(value, known)
        for key, value in state.plain["optimizer"]
    }
    holders = {place: holder for place, holder, _ in _holders(network, optimizer)}
    attributes = [
        (holders[place], {name: _unpacked(value, known) for name, value in values.items()})
        for place, values in state.plain["attributes"].items()
    ]

    @torch.no_grad()
    def put() -> None:
        for name, tensor in kept.items():
            if not overlaps_itself(tensor):  # one that does has not changed
                tensor.copy_(saved[name])
        optimizer.state.clear()
        optimizer.state.update(new_state)
        for holder, values in attributes:
            holder.update(values)

    return put


def _changed(network: nn.Module, optimizer: Optimizer, begun: Beginning) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the attributes that have changed, by their holders' places."""
    digest = _Digests(network, optimizer)
    left = set(begun.attributes)
    for place, holder, ignored in _holders(network, optimizer):
        values = {}
        for name, value in holder.items():
            if name not in ignored:
                left.discard((place, name))
                if begun.attributes.get((place, name)) != digest(value):
                    values[name] = value
        if values:
            yield place, values
    if left:
        place, name = min(left)
        raise UnsavableError(f"{name} of {_titled(network, place)} was there before training, and is not now")


def _holders(network: nn.Module, optimizer: Optimizer) -> Iterator[tuple[str, dict[str, Any], frozenset[str]]]:
    """Yield what has attributes: its place, the attributes, and which of them are no state or are taken elsewhere."""
    for name, module in network.named_modules():
        yield f"network.{name}", vars(module), _REGISTERED
    yield "optimizer", vars(optimizer), _STATE
    for index, group in enumerate(optimizer.param_groups):
        yield f"optimizer.param_groups.{index}", group, _BEFORE_EACH_STEP


def _titled(network: nn.Module, place: str) -> str:
    """Name a place for people, a module with its class."""
    section, _, name = place.partition(".")
    if section != "network":
        return place
    module = network.get_submodule(name)
    return f"{name or 'the network'} ({type(module).__name__})"


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return each parameter and buffer once, those that are no part of the state_dict too."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _key(key: object, parameters: Mapping[int, int]) -> str:
    return f"of parameter {parameters[id(key)]}" if id(key) in parameters else repr(key)


def _form(tensor: Tensor) -> object:
    """Return what putting numbers into a tensor does not restore."""
    if tensor.layout != torch.strided:
        return tensor.shape, tensor.dtype, tensor.layout, tensor.requires_grad
    numbers = _bytes(tensor) if overlaps_itself(tensor) else b""
    return tensor.shape, tensor.dtype, tensor.stride(), tensor.requires_grad, numbers


def overlaps_itself(tensor: Tensor) -> bool:
    """Whether several of the tensor's numbers may be one in memory, as after `expand`."""
    if tensor.layout != torch.strided or tensor.numel() == 0:
        return False
    behind = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride < behind:
                return True
            behind = stride * (size - 1) + behind
    return False


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)


def _bytes(tensor: Tensor) -> bytes:
    """Return a digest of a tensor's numbers."""
    return hashlib.sha256(memory(_copied(tensor))).digest()


def memory(tensor: Tensor) -> Any:
    """Return the bytes of a contiguous tensor on the CPU, without a copy."""
    return tensor.reshape(-1).view(torch.uint8).numpy()


class _Packing:
    """Turns values into what JSON knows, and collects the tensors in them under names."""

    def __init__(self, network: Mapping[str, Tensor]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._network = network
        self._names = {id(tensor): _PARAMETERS + name for name, tensor in network.items()}
        self._places = {tensor.untyped_storage().data_ptr() for tensor in network.values()}
        self._containers: dict[int, object] = {}

    def __call__(self, value: object, what: str) -> Any:
        """Pack a value.

        Raises:
            UnsavableError: it, or something in it, cannot be put back exactly; `what` says where it stands.
        """
        if type(value) in _PLAIN:
            return value
        if isinstance(value, Tensor):
            return {"tensor": self._name(value, what)}
        if type(value) is tuple:
            return {"tuple": [self(item, what) for item in value]}
        if type(value) is list:
            self._once(value, what)
            return {"list": [self(item, what) for item in value]}
        if type(value) is dict:
            self._once(value, what)
            return {"dict": [[self(key, what), self(item, what)] for key, item in value.items()]}
        raise UnsavableError(f"{what} has changed, and is or holds a {type(value).__name__}")

    def _name(self, tensor: Tensor, what: str) -> str:
        if id(tensor) in self._names:
            return self._names[id(tensor)]
        if type(tensor) is not Tensor or tensor.layout != torch.strided or tensor.requires_grad:
            raise UnsavableError(f"{what} has changed, and is or holds a tensor with a gradient or of a special type")
        place = tensor.untyped_storage().data_ptr()
        if overlaps_itself(tensor) or (tensor.numel() and place in self._places):
            raise UnsavableError(f"{what} has changed, and holds a tensor that shares its memory")
        name = f"{_OTHERS}{len(self.tensors)}"
        self.tensors[name] = tensor
        self._names[id(tensor)] = name
        self._places.add(place)
        return name

    def _once(self, container: object, what: str) -> None:
        if id(container) in self._containers:
            raise UnsavableError(
                f"{what} has changed, and holds a {type(container).__name__} that stands elsewhere too"
            )
        self._containers[id(container)] = container


def _unpacked(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(packed, dict):
        return packed
    ((kind, value),) = packed.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {_unpacked(key, tensors): _unpacked(item, tensors) for key, item in value}
    return {"list": list, "tuple": tuple}[kind](_unpacked(item, tensors) for item in value)


class _Digests:
    """Digests of attributes by which a change is seen.

    Of what cannot be pickled, such as a lock, it is seen only that another object has taken its place.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer) -> None:
        named: dict[str, object] = {**dict(network.named_modules(prefix="module")), **_tensors(network)}
        named |= {"the optimizer": optimizer, "its state": optimizer.state, "its groups": optimizer.param_groups}
        self._known = {id(value): name for name, value in named.items()}

    def __call__(self, value: object) -> object:
        if type(value) in _PLAIN:
            return type(value), repr(value)
        written = _Written()
        try:
            _Pickler(written, self._known).dump(value)
        except Exception:  # whatever a plugin's class raises
            return id(value)
        return written.digest.digest()


class _Written:
    """A file that is only digested."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Take some bytes."""
        self.digest.update(data)
        return len(data)


class _Pickler(pickle.Pickler):
    """Writes what is saved elsewhere by its name, and tensors by their form and numbers."""

    def __init__(self, file: _Written, known: Mapping[int, str]) -> None:
        super().__init__(file, protocol=5)
        self._known = known

    def persistent_id(self, value: object) -> object:
        """Return what stands for a value; None where that is the value itself."""
        if id(value) in self._known:
            return self._known[id(value)]
        if isinstance(value, Tensor):
            return str(type(value)), str(value.dtype), *value.shape, *value.stride(), value.requires_grad, _bytes(value)
        if isinstance(value, torch.Generator):
            return "generator", _bytes(value.get_state())
        return None

    def reducer_override(self, value: object) -> Any:
        """Return what stands for what pickle refuses, though its state can be seen: generators, and inner functions."""
        if isinstance(value, GeneratorType):
            frame = value.gi_frame
            return tuple, ((id(value), frame and (frame.f_lasti, dict(frame.f_locals))),)
        if isinstance(value, FunctionType) and "<" in value.__qualname__:
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            return tuple, ((id(value), value.__defaults__, value.__kwdefaults__, cells),)
        return NotImplemented
