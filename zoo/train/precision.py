"""The precision of a run: one policy for every kernel, recorded with the run.

- "fp32": float32 throughout, without TF32. The reference.
- "tf32": float32 with TF32 in convolutions and matrix products (NVIDIA Ampere and later).
- "bf16": convolutions and matrix products in bfloat16 by autocast; parameters, optimizer and loss in float32.
- "float64": for comparisons of engines only.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import get_args

import torch

from zoo.errors import ZooError, option
from zoo.train.run import Precision

__all__ = ["CHOICES", "Precision", "autocast", "choose_precision", "dtype", "memory_format", "set_policy"]

CHOICES = ("fp32", "tf32", "bf16", "auto")


def choose_precision(name: str, device: str) -> Precision:
    """Return the precision for "auto" (the reference, fp32, until measured otherwise), or the named one.

    Raises:
        ZooError: there is no such precision, or the device does not have it.
    """
    if name == "auto":
        return "fp32"
    if name not in CHOICES:
        raise ZooError(f"{option('precision', name)}: there is no such precision; it is {', '.join(CHOICES)}")
    if name == "tf32" and not device.startswith("cuda"):
        raise ZooError(f"{option('precision', name)}: only NVIDIA GPUs have it, not {device}; use fp32 or bf16")
    precision: Precision = next(known for known in get_args(Precision) if known == name)
    return precision


def dtype(precision: Precision) -> torch.dtype:
    """Return the type of parameters and images."""
    return torch.float64 if precision == "float64" else torch.float32


def memory_format(precision: Precision, device: torch.device) -> torch.memory_format:
    """Return the order in memory of images and of the weights of convolutions, by what is fastest.

    On an H100 the study's default network takes 440 us a step in fp32 with channels first and 675 us with channels
    last; in bf16 454 us and 372 us. On a CPU channels last are faster.
    """
    if device.type == "cuda" and precision != "bf16":
        return torch.contiguous_format
    return torch.channels_last


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that a forward pass is made in."""
    if precision == "bf16":
        # Not kept: what is kept is forgotten whenever any thread ends a forward pass.
        return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
    return nullcontext()


def set_policy(precision: Precision) -> None:
    """Make the process's kernels follow the precision: cuDNN would use TF32 unasked, and matrix products would not."""
    allowed = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
