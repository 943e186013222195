"""Checks of what a layer keeps: parameters, buffers, and whether they survive being copied, stored and moved."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import text_of
from zoo.testing.check import SkippedError, raised, require
from zoo.testing.subject import Case, LayerSubject, applied, attempt, mode, same


def parameters_counted(layer: LayerSubject) -> None:
    """All that is trained is a registered parameter from the beginning on.

    Why: only registered parameters are given to the optimizer, counted in tables, moved to a device and stored.

    Mend: assign an `nn.Parameter` to an attribute in `__init__` (an `nn.ParameterList` or `nn.ModuleList` for several);
    create none in `forward`.
    """
    for case in layer.cases:
        module = case.build()
        before = _trainable(module)
        y = applied(module, case.batch())
        require(_trainable(module) == before, f"{case}: {before} before the first batch, {_trainable(module)} after it")
        registered = {id(weight) for weight in module.parameters()}
        others = [leaf for leaf in _leaves(y) if id(leaf) not in registered]
        require(not others, f"{case}: {len(others)} tensors with a gradient are no registered parameters")


def _trainable(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)


def _leaves(y: Tensor) -> list[Tensor]:
    """Return the tensors that a backward pass from y would give gradients to."""
    found, seen, waiting = [], set(), [y.grad_fn]
    if y.grad_fn is None and y.requires_grad:
        return [y]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # torch's AccumulateGrad
            found.append(node.variable)
        waiting += [after for after, _ in node.next_functions]
    return found


def state_stored(layer: LayerSubject) -> None:
    """Loaded with another's `state_dict`, it computes what the other computes.

    Why: a run that is stopped goes on from the `state_dict`, and so does a network that is exported.

    Mend: keep all that changes or is drawn at random in parameters and buffers (`register_buffer`).
    """
    for case in layer.cases:
        module, other = case.build(seed=0), case.build(seed=1)
        applied(module, case.batch())
        attempt(partial(other.load_state_dict, module.state_dict()), f"{case}:")
        found = f"{case}: after load_state_dict it computes something else"
        same(applied(other.eval(), case.batch()), applied(module.eval(), case.batch()), found)


def state_in_place(layer: LayerSubject) -> None:
    """Training updates buffers in place.

    Why: a recorded step goes on reading and writing the tensors that it was recorded with.

    Mend: `self.mean.mul_(0.9).add_(new, alpha=0.1)` or `self.mean.copy_(new)` instead of `self.mean = new`.
    """
    for case in layer.cases:
        module = case.build()
        before = {name: id(buffer) for name, buffer in module.named_buffers()}
        applied(module, case.batch())
        replaced = [name for name, buffer in module.named_buffers() if before.get(name) != id(buffer)]
        require(not replaced, f"{case}: replaced: {', '.join(replaced)}")


def deep_copied(layer: LayerSubject) -> None:
    """`copy.deepcopy` makes a layer that computes the same and shares nothing.

    Why: averaged and compared networks are copies.

    Mend: keep only parameters, buffers, modules and plain values in attributes, no tensor that was computed.
    """
    for case in layer.cases:
        _require_copy(case, copy.deepcopy)


def pickled(layer: LayerSubject) -> None:
    """Pickled and unpickled, it computes the same and shares nothing.

    Why: that is how a layer reaches a worker process.

    Mend: define its classes and functions at the top of a module, and keep no lambda and no open file in it.
    """
    for case in layer.cases:
        _require_copy(case, lambda module: pickle.loads(pickle.dumps(module)))


def _require_copy(case: Case, copied: Any) -> None:
    module = case.build()
    applied(module, case.batch())
    other = attempt(lambda: copied(module), f"{case}:")
    same(applied(other, case.batch()), applied(module, case.batch()), f"{case}: the copy computes something else")
    shared = _places(module) & _places(other)
    require(not shared, f"{case}: the copy shares parameters or buffers")


def _places(module: nn.Module) -> set[int]:
    return {tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers()) if tensor.numel()}


def devices(layer: LayerSubject) -> None:
    """Moved to another device, it runs there.

    Why: networks are built on the CPU and moved to the GPU.

    Mend: keep tensors as parameters or buffers, which `module.to(device)` moves, and make new ones with
    `torch.zeros_like(x)` or `device=x.device`.
    """
    device = other_device()
    for case, training in layer.runs:
        error = tried_on(case, training, device)
        if error is None:
            continue
        if looks_at_values(error):
            raise SkippedError("there is one device only, and it looks at values, which torch's device meta has not")
        require(False, f"{case}, {mode(training)}, on {device}: {raised(error)}")


def other_device() -> str:
    """Return a device that is not the CPU: a GPU, or torch's device "meta", whose tensors have no values."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "meta"


def tried_on(case: Case, training: bool, device: str) -> Exception | None:
    """Return what running a layer on a device raised."""
    try:
        y = applied(case.build(training=training).to(device), case.batch().to(device))
        require(y.device.type == device, f"the output is on {y.device}")
    except Exception as error:
        return error
    return None


def looks_at_values(error: Exception) -> bool:
    """Whether an error on the device meta is that a value was asked for."""
    return "meta tensor" in text_of(error).lower()
