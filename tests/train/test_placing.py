"""Images are put on the device where they fit."""

from __future__ import annotations

import torch

from zoo.train import placing


def test_what_torch_keeps_of_the_device_s_memory_is_free(monkeypatch):
    """Whether images fit may not depend on which data set was trained on before, and is gone."""
    for name, found in (("mem_get_info", (10, 100)), ("memory_reserved", 70), ("memory_allocated", 20)):
        monkeypatch.setattr(torch.cuda, name, lambda device, found=found: found)
    assert placing._free("cuda:0") == 60
