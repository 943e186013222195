"""Memory that a network would take: refused before it is taken, where the machine has not so much."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from zoo.errors import BuildError

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory() -> float:
    """Return how many bytes of memory this process can have at most; infinity where the system does not say."""
    limits = []
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in _CGROUP_LIMITS:  # of a container; "max" is no limit
        with suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text()))
    return min((limit for limit in limits if limit > 0), default=float("inf"))


class MemoryLimit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, an operation whose result the machine has no room for is an error, and not begun.

    Each is asked on the meta device first, which knows shapes only.

    Attributes:
        what: is being built, for the message.
        held: bytes of what was built before.
    """

    def __init__(self, what: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.what, self.held = what, 0
        self._room = machine_memory()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation.

        Raises:
            BuildError: its result does not fit.
        """
        kwargs = kwargs or {}
        if func._schema.is_mutable:  # its result is one of its arguments
            return func(*args, **kwargs)
        wanted = self.held + _result_bytes(func, args, kwargs)
        if wanted > self._room:
            raise BuildError(
                f"{self.what} needs {wanted / 1e9:,.0f} GB of memory, and there are {self._room / 1e9:,.0f} GB in this "
                "machine: make it smaller"
            )
        return func(*args, **kwargs)

    def hold(self, module: torch.nn.Module) -> None:
        """Count what a built module keeps."""
        self.held += sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


_MOST_KNOWN = 10_000
_known: dict[Any, int] = {}
"""What operations were found to take: to ask the meta device is slower than to do them."""


def _result_bytes(func: Any, args: Any, kwargs: dict[str, Any]) -> int:
    """Return how much memory an operation takes for its result; 0 where shapes do not tell."""
    try:
        asked = (func, _told(args), _told(kwargs), torch.get_default_dtype())
        if (found := _known.get(asked)) is None:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            found = _known[asked] = _asked_bytes(func, args, kwargs)
        return found
    except Exception:  # of what depends on values, or has no shape yet: the operation itself says whether it is wrong
        return 0


def _told(value: Any) -> Any:
    """Return what the size of a result can depend on, to be looked up."""
    if isinstance(value, torch.Tensor):
        return torch.Tensor, value.shape, value.stride(), value.dtype
    if isinstance(value, dict):
        return tuple((name, _told(each)) for name, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_told, value))
    return type(value), value  # for 1, 1.0 and True are equal


def _asked_bytes(func: Any, args: Any, kwargs: dict[str, Any]) -> int:
    if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves((args, kwargs))):
        args, kwargs = tree_map(_shape_only, (args, kwargs))
    else:
        kwargs = {**kwargs, "device": torch.device("meta")}
    new = _storages(func(*args, **kwargs))
    given = _storages((args, kwargs))
    return sum(size for storage, size in new.items() if storage not in given)


def _shape_only(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return torch.device("meta") if isinstance(leaf, torch.device) else leaf
    return torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="meta")


def _storages(tree: Any) -> dict[int, int]:
    """Return the sizes in bytes of all storages of the tensors in a tree."""
    storages = [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    return {storage._cdata: storage.nbytes() for storage in storages}
