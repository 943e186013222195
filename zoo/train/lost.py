"""A GPU that does nothing more for this process, after a fault in one of its kernels such as an index out of range."""

from __future__ import annotations

import torch

from zoo.errors import WORK_FAILED, ZooError, text_of
from zoo.train import streams
from zoo.train.run import Run

_PASSING = ("out of memory", "captur")
"""What "CUDA error" is followed by where the GPU still works: it is full, or a recording was not ended."""


class DeviceLostError(ZooError):
    """A GPU does nothing more for this process; it will for another.

    Attributes:
        ended: the run that failed by it, as it ended; None where it may have been another's fault.
    """

    exit_code = WORK_FAILED

    def __init__(self, text: str, ended: Run | None = None) -> None:
        super().__init__(text)
        self.ended = ended


def why_lost(device: str) -> str:
    """Return what a GPU raises at the simplest piece of work, in one line; "" where it works, and for other devices."""
    why = ""
    for _ in range(2 if device.startswith("cuda") else 0):  # the first may be told of an error that is over
        try:
            with streams.exclusive:  # not while another run records
                torch.ones((), device=device).item()
        except Exception as error:
            why, _, _ = text_of(error).partition("\n")
            if "CUDA error" not in why or any(text in why for text in _PASSING):
                return ""
        else:
            return ""
    return why
