"""The precision of a run: one policy for every kernel, recorded with the run.

- "fp32": float32 throughout, without TF32. The reference.
- "tf32": float32 with TF32 in convolutions and matrix products (NVIDIA Ampere and later).
- "bf16": convolutions and matrix products in bfloat16 by autocast; parameters, optimizer and loss in float32.
- "fp16": the same in float16, with a scaled loss (`zoo.train.scaling`).
- "half": the network in float16, parameters and optimizer too, but for what stays in float32 (`zoo.network.half`).
- "float64": for comparisons of engines only.

Each but the last may end in "+fast": cuDNN then takes the kernels that it finds fastest, deterministic or not.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import get_args

import torch
from torch import nn

from zoo.errors import ZooError, described, option
from zoo.train.run import Arithmetic, Precision

__all__ = [
    "CHOICES",
    "Arithmetic",
    "Precision",
    "arithmetic",
    "autocast",
    "choose_precision",
    "dtype",
    "is_fast",
    "memory_format",
    "set_policy",
]

CHOICES = ("fp32", "tf32", "bf16", "fp16", "half", "auto")
_FAST = "+fast"
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(name: str, device: str, *, fast: bool = False) -> Precision:
    """Return the precision for "auto" (the reference, fp32, until measured otherwise), or the named one.

    Args:
        name: "auto", or an arithmetic.
        device: that runs are trained on.
        fast: whether cuDNN may take any kernels.

    Raises:
        ZooError: there is no such precision, or the device does not have it, or no kernels to choose from.
    """
    if name not in CHOICES:
        raise ZooError(f"{option('precision', name)}: there is no such precision; it is {', '.join(CHOICES)}")
    if name == "tf32" and not device.startswith("cuda"):
        raise ZooError(f"{option('precision', name)}: only NVIDIA GPUs have it, not {device}; use fp32 or bf16")
    if name in ("fp16", "half") and (why_not := _why_no_half(device)):
        raise ZooError(
            f"{option('precision', name)}: torch {torch.__version__} cannot train in float16 on {device} ({why_not}); "
            "use fp32 or bf16"
        )
    if fast and not device.startswith("cuda"):
        raise ZooError(f"{option('fast')}: cuDNN's kernels are for NVIDIA GPUs, not {device}; leave it out")
    wanted = ("fp32" if name == "auto" else name) + (_FAST if fast else "")
    precision: Precision = next(known for known in get_args(Precision) if known == wanted)
    return precision


@lru_cache
def _why_no_half(device: str) -> str:
    """Try a step of a small network in float16 on a device; return what was raised, or ""."""
    try:
        network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
        network.to(device, torch.float16)
        network(torch.zeros(2, 2, 6, 6, device=device, dtype=torch.float16)).float().sum().backward()
        torch.amp.GradScaler(torch.device(device).type).scale(torch.zeros((), device=device))
    except Exception as error:
        return described(error)
    return ""


def arithmetic(precision: Precision) -> Arithmetic:
    """Return what a precision computes in, without what it says of kernels."""
    name = precision.removesuffix(_FAST)
    found: Arithmetic = next(known for known in get_args(Arithmetic) if known == name)
    return found


def is_fast(precision: str) -> bool:
    """Whether cuDNN may take any kernels, so that figures are not the same each time."""
    return precision.endswith(_FAST)


def dtype(precision: Precision) -> torch.dtype:
    """Return the type of images, logits and losses, and of parameters but for "half"."""
    return torch.float64 if precision == "float64" else torch.float32


def memory_format(precision: Precision, device: torch.device) -> torch.memory_format:
    """Return the order in memory of images and of the weights of convolutions, by what is fastest.

    On an H100 the study's default network takes 440 us a step in fp32 with channels first and 675 us with channels
    last; in bf16 454 us and 372 us. On a CPU channels last are faster. What holds for bf16 is taken for float16.
    """
    if device.type == "cuda" and arithmetic(precision) not in ("bf16", "fp16", "half"):
        return torch.contiguous_format
    return torch.channels_last


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that a forward pass is made in."""
    if (lower := _AUTOCAST.get(arithmetic(precision))) is not None:
        # Not kept: what is kept is forgotten whenever any thread ends a forward pass.
        return torch.autocast(device.type, dtype=lower, cache_enabled=False)
    return nullcontext()


def set_policy(precision: Precision) -> None:
    """Make the process's kernels follow the precision, once they have been made deterministic.

    cuDNN would use TF32 unasked, and matrix products would not.
    """
    allowed = arithmetic(precision) == "tf32"
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    if is_fast(precision):
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.deterministic = False
