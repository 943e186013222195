"""Settings of torch that hold for the whole process: what a plugin changes in them is put back after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import attrs


@attrs.frozen
class _Settings:
    """The settings; the values are those of a torch that was just imported, but for the number of threads."""

    dtype: str = "float32"
    device: str = "cpu"
    deterministic: bool = False
    deterministic_warns: bool = False
    gradients: bool = True
    cudnn: tuple[bool, bool, bool] | None = None
    threads: int | None = None


@contextmanager
def kept(lock: AbstractContextManager[object] | None = None) -> Iterator[None]:
    """Put the settings back at the end, whatever happened. It imports no torch.

    Args:
        lock: is held while the settings are read and put back, where another thread may change them for a while.
    """
    lock = lock or nullcontext()
    with lock:
        before = _now() if "torch" in sys.modules else _Settings()
    try:
        yield
    finally:
        with lock:
            if "torch" in sys.modules and (now := _now()) != before:
                _put_back(before, now)


def _now() -> _Settings:
    import torch

    return _Settings(
        dtype=str(torch.get_default_dtype()).removeprefix("torch."),
        device=str(torch.get_default_device()),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        deterministic_warns=torch.is_deterministic_algorithms_warn_only_enabled(),
        gradients=torch.is_grad_enabled(),
        cudnn=(torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        threads=torch.get_num_threads(),
    )


def _put_back(before: _Settings, now: _Settings) -> None:
    import torch

    if now.dtype != before.dtype:
        torch.set_default_dtype(getattr(torch, before.dtype))
    if now.device != before.device:
        # None takes the mode away that torch enters for a default device.
        device: Any = None if before.device == "cpu" else before.device
        torch.set_default_device(device)
    torch.use_deterministic_algorithms(before.deterministic, warn_only=before.deterministic_warns)
    torch.set_grad_enabled(before.gradients)
    if before.cudnn is not None:
        cudnn = torch.backends.cudnn
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = before.cudnn
    if before.threads is not None:
        torch.set_num_threads(before.threads)
