"""Weights that timm publishes, by its own addresses; they are looked for where torch and the hub keep them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import load_file
from torch import Tensor

import zoo

FILE = "model.safetensors"
"""What timm's repositories on the hub call their weights."""


def published(name: str) -> Mapping[str, zoo.PublishedWeights]:
    """Return the files that are published for a model, by timm's tag, such as "a1_in1k".

    Those in another format than PyTorch's are left out.
    """
    found: dict[str, zoo.PublishedWeights] = {}
    for full in timm.list_models(f"{name}.*", pretrained=True):
        known = timm.get_pretrained_cfg(full)
        if known is not None and not known.custom_load:
            found[full.removeprefix(f"{name}.")] = _file(known)
    return found


def _file(known: Any) -> zoo.PublishedWeights:
    folder = Path(torch.hub.get_dir(), "checkpoints")
    if known.hf_hub_id:
        name = known.hf_hub_filename or FILE
        url = f"https://huggingface.co/{known.hf_hub_id}/resolve/main/{name}"
        cached = try_to_load_from_cache(known.hf_hub_id, name)
        own = f"{known.hf_hub_id.replace('/', '--')}--{name}"
        return zoo.PublishedWeights(Path(cached) if isinstance(cached, str) else folder / own, url, read)
    return zoo.PublishedWeights(folder / PurePosixPath(urlsplit(known.url).path).name, known.url, read)


def read(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file; of what is pickled, torch makes tensors and nothing else."""
    if file.suffix == ".safetensors":
        tensors: dict[str, Tensor] = load_file(file)
        return tensors
    stored = torch.load(file, map_location="cpu", weights_only=True)
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):
        stored = stored.get(key, stored)
    return dict(stored)
