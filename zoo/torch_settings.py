"""Settings of torch that hold for the whole process: what a plugin changes in them is put back after it, and told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from operator import attrgetter, is_
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import attrs


@attrs.frozen
class _Setting:
    """A setting: its value in a torch that was just imported, and how it is read and set, given the module torch."""

    fresh: Any
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]


def _flag(backend: str, name: str, fresh: bool) -> _Setting:
    return _Setting(
        fresh,
        lambda torch: getattr(getattr(torch.backends, backend), name),
        lambda torch, value: setattr(getattr(torch.backends, backend), name, value),
    )


def _autocast(device: str) -> _Setting:
    return _Setting(
        False,
        lambda torch: torch.is_autocast_enabled(device),
        lambda torch, value: torch.set_autocast_enabled(device, value),
    )


def _attention(name: str) -> _Setting:
    """Whether torch may compute attention in a way; which one it takes changes figures, on a CPU as well."""
    return _Setting(
        True,
        lambda torch: getattr(torch.backends.cuda, f"{name}_sdp_enabled")(),
        lambda torch, value: getattr(torch.backends.cuda, f"enable_{name}_sdp")(value),
    )


@attrs.frozen
class _Hooks:
    """The hooks that torch calls for every module and optimizer there is, by table; they are told by their keys."""

    tables: Mapping[str, Mapping[int, Any]] = attrs.field(
        eq=lambda tables: {name: tuple(table) for name, table in tables.items()}
    )

    def __str__(self) -> str:
        return str(sum(map(len, self.tables.values())))


def _hook_tables(torch: Any) -> dict[str, dict[int, Any]]:
    modules, optimizers = torch.nn.modules.module, sys.modules.get("torch.optim.optimizer")
    return {name: vars(module)[name] for module in (modules, optimizers) if module for name in _names_of_tables(module)}


@cache
def _names_of_tables(module: ModuleType) -> list[str]:
    found = ((name, value) for name, value in vars(module).items() if name.startswith("_global_"))
    return [name for name, value in found if name.endswith("_hooks") and isinstance(value, dict)]


def _put_hooks(torch: Any, wanted: _Hooks) -> None:
    for name, table in _hook_tables(torch).items():
        table.clear()
        table.update(wanted.tables.get(name, {}))


_COMPUTING = ("", "nn.functional", "nn.init", "Tensor", "nn.Module", "optim.Optimizer")
"""What of torch holds the functions that networks are computed by."""
_NOT_COMPUTING = {"load", "save", "compile"}


@attrs.frozen
class _Replaced:
    """Functions of torch in whose place another's stand, by name."""

    functions: Mapping[str, object]

    def __str__(self) -> str:
        return ", ".join(self.functions) or "torch's own"


_originals: dict[str, object] = {}
"""The functions of torch, by name, where all were its own when they were first looked at."""


@attrs.frozen
class _Look:
    """What torch's places held when they were looked at, and what of it was another's."""

    held: list[tuple[object, ...]] = attrs.field(factory=list)
    functions: list[FunctionType] = attrs.field(factory=list)
    codes: list[CodeType] = attrs.field(factory=list)
    found: dict[str, object] = attrs.field(factory=dict)

    def is_of(self, held: list[tuple[object, ...]]) -> bool:
        """Whether no function has changed since: they are compared by what they are, not by what they do."""
        try:
            return held == self.held and all(map(is_, map(_CODE, self.functions), self.codes))
        except Exception:  # something stands there that cannot be compared, such as a tensor
            return False


_CODE = attrgetter("__code__")
_last = _Look()


def replaced_functions() -> dict[str, object]:
    """Return what stands in the place of torch's functions, and whose code lies elsewhere.

    It costs 0.04 ms where nothing has changed since it was asked last, else 0.3 ms.
    """
    global _last
    import torch

    home = f"{Path(torch.__file__).parent}{os.sep}"
    places = [(place, vars(attrgetter(place)(torch) if place else torch)) for place in _COMPUTING]
    held = [part for _, functions in places for part in (tuple(functions), tuple(functions.values()))]
    if _last.is_of(held):
        return dict(_last.found)
    all_functions = [
        (_full(place, name), value)
        for place, functions in places
        for name, value in functions.items()
        # What torch does not promise is in part the standard library's.
        if type(value) is FunctionType and not name.startswith("_") and name not in _NOT_COMPUTING
    ]
    found: dict[str, object] = {
        name: value for name, value in all_functions if not value.__code__.co_filename.startswith(home)
    }
    if not found and not _originals:
        _originals.update(
            {_full(place, name): value for place, functions in places for name, value in functions.items()}
        )
    own = [value for _, value in all_functions]
    _last = _Look(held, own, [value.__code__ for value in own], found)
    return dict(found)


def _full(place: str, name: str) -> str:
    return ".".join(filter(None, ("torch", place, name)))


def _put_functions(torch: Any, wanted: _Replaced) -> None:
    """Put torch's own functions back but for those wanted, where they were seen before others took their place."""
    for full in replaced_functions().keys() | wanted.functions.keys() if _originals else ():
        place, _, name = full.removeprefix("torch.").rpartition(".")
        owner = attrgetter(place)(torch) if place else torch
        function = wanted.functions.get(full, _originals.get(full))
        if function is not None:
            setattr(owner, name, function)
        else:  # a class inherits it
            delattr(owner, name)


_SMALLEST = 5e-324


def _flushes_denormal(torch: Any) -> bool:
    """Whether numbers too small to be normal are taken for 0, of which torch tells nothing.

    The processor does so in all that this thread computes, and Python's product has no modes of torch to pass.
    """
    return _SMALLEST * 1.0 == 0.0


_SETTINGS: dict[str, _Setting] = {
    "the default dtype": _Setting(
        "float32",
        lambda torch: str(torch.get_default_dtype()).removeprefix("torch."),
        lambda torch, value: torch.set_default_dtype(getattr(torch, value)),
    ),
    "the default device": _Setting(
        "cpu",
        lambda torch: str(torch.get_default_device()),
        # None takes the mode away that torch enters for a default device.
        lambda torch, value: torch.set_default_device(None if value == "cpu" else value),
    ),
    "deterministic algorithms": _Setting(
        (False, False),
        lambda torch: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda torch, value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    "gradients": _Setting(
        True, lambda torch: torch.is_grad_enabled(), lambda torch, value: torch.set_grad_enabled(value)
    ),
    "autocast on the CPU": _autocast("cpu"),
    "autocast on CUDA": _autocast("cuda"),
    "oneDNN": _Setting(
        True,
        lambda torch: torch.backends.mkldnn.enabled,
        lambda torch, value: torch.backends.mkldnn.set_flags(value),
    ),
    "the precision of matrix products": _Setting(
        "highest",
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, value: torch.set_float32_matmul_precision(value),
    ),
    "cuDNN": _flag("cudnn", "enabled", True),
    "cuDNN's benchmark": _flag("cudnn", "benchmark", False),
    "cuDNN's determinism": _flag("cudnn", "deterministic", False),
    "TF32 in cuDNN": _flag("cudnn", "allow_tf32", True),
    "flash attention": _attention("flash"),
    "memory-efficient attention": _attention("mem_efficient"),
    "plain attention": _attention("math"),
    "cuDNN's attention": _attention("cudnn"),
    "the flushing of tiny numbers to 0": _Setting(
        False, _flushes_denormal, lambda torch, value: torch.set_flush_denormal(value)
    ),
    "the detection of anomalies": _Setting(
        False, lambda torch: torch.is_anomaly_enabled(), lambda torch, value: torch.set_anomaly_enabled(value)
    ),
    "the hooks of all modules and optimizers": _Setting(
        _Hooks({}),
        lambda torch: _Hooks({name: dict(table) for name, table in _hook_tables(torch).items() if table}),
        _put_hooks,
    ),
    "the functions that it computes by": _Setting(
        _Replaced({}), lambda torch: _Replaced(replaced_functions()), lambda torch, value: _put_functions(torch, value)
    ),
    "the number of threads": _Setting(
        None,  # as many as there are cores
        lambda torch: torch.get_num_threads(),
        lambda torch, value: None if value is None else torch.set_num_threads(value),
    ),
}

Values = Mapping[str, Any]
"""The settings' values, by what they are called in messages."""


@contextmanager
def kept() -> Iterator[None]:
    """Put the settings back at the end, whatever happened. It imports no torch."""
    before = values() if "torch" in sys.modules else {name: each.fresh for name, each in _SETTINGS.items()}
    try:
        yield
    finally:
        if "torch" in sys.modules:
            put(before)


@attrs.define
class Order:
    """The settings of a process in which one or several threads train; the last of them puts back what was before.

    Attributes:
        lock: is held while settings are read and set.
    """

    lock: AbstractContextManager[object]
    _inside: int = 0
    _before: Values = attrs.field(factory=dict)
    _ordered: Values = attrs.field(factory=dict)

    @contextmanager
    def kept(self, arrange: Callable[[], None]) -> Iterator[Values]:
        """Make the settings those of a torch that was just imported, but for what `arrange` sets; give them."""
        with self.lock:
            if self._inside:
                put(self._ordered)
            else:
                self._before = values()
                put({name: setting.fresh for name, setting in _SETTINGS.items()})
            arrange()
            self._ordered = values()
            self._inside += 1
        try:
            yield self._ordered
        finally:
            with self.lock:
                self._inside -= 1
                put(self._ordered if self._inside else self._before)


def values() -> Values:
    """Return what the settings are now."""
    import torch

    return {name: setting.read(torch) for name, setting in _SETTINGS.items()}


def put(wanted: Values) -> None:
    """Set those that are not as wanted."""
    import torch

    for name, setting in _SETTINGS.items():
        if setting.read(torch) != wanted[name]:
            setting.write(torch, wanted[name])


def changed(before: Values) -> list[str]:
    """Return what is not as it was: "the default dtype from float32 to float64"."""
    now = values()
    return [f"{name} from {before[name]} to {now[name]}" for name in _SETTINGS if before[name] != now[name]]


def fault(changes: list[str]) -> str:
    """Return what completes "plugin a": what it changed, why that is no good, and what to do."""
    return (
        f"changed what holds for all of torch: {'; '.join(changes)}. Figures would not be those of the spec; leave it "
        "as it was, or change it in a context manager around what needs it"
    )
