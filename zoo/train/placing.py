"""Where a data set's images are while networks are trained on them."""

from __future__ import annotations

import os
from typing import Literal

import attrs
import torch

from zoo.data import Dataset
from zoo.network.memory import machine_memory
from zoo.settings import DATA_IN_HERE

DataIn = Literal["auto", "device", "memory"]
_SHARE = 0.5
"""Of the device's free memory that images may take; networks need the rest."""


def data_wanted() -> DataIn:
    """Return what holds in this process: what its lab says, or the command that has started it."""
    wanted: DataIn = os.environ.get(DATA_IN_HERE, "auto")  # type: ignore[assignment]
    return wanted


def placed(dataset: Dataset, device: str, wanted: DataIn) -> Dataset:
    """Put a data set, whose images are mapped from files, on a device, and say so where the images are not put there.

    Args:
        dataset: as it is loaded on "cpu".
        device: that is trained on.
        wanted: "device"; "memory", from which images are copied batch by batch; or "auto", the device if its images
            take no more than half of the memory that is free there.
    """
    if wanted == "device" or (wanted == "auto" and dataset.bytes <= _SHARE * _free(device)):
        return dataset.put(device, "device")
    why = "as asked for" if wanted == "memory" else f"more than half of the {_free(device) / 1e9:,.1f} GB that are free"
    note = f"its images ({dataset.bytes / 1e9:,.1f} GB) stay in the cache's files, {why}: batches are read ahead"
    return attrs.evolve(dataset.put(device, "memory"), notes=(*dataset.notes, note))


def _free(device: str) -> float:
    if device.startswith("cuda"):
        # What torch keeps of what was given back is free, too.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + kept)
    return machine_memory()
