"""Weights that torchvision publishes: their addresses are its own, and they are looked for where torch keeps them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import torch
from torch import Tensor

from zoo import PublishedWeights

_RENAMED = (
    (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.\w+)$"), r"\1\2"),
    (re.compile(r"\.mlp\.linear_1\.(\w+)$"), r".mlp.0.\1"),
    (re.compile(r"\.mlp\.linear_2\.(\w+)$"), r".mlp.3.\1"),
)
"""How tensors are called now that have other names in older files: those of DenseNets, and of vision transformers."""
_HASH = re.compile(r"-([0-9a-f]{8,})\.pth$")
"""What torch's own download checks: the SHA-256 of a file begins so."""


def published(name: str) -> Mapping[str, PublishedWeights]:
    """Return the files that torchvision publishes for a model, by the names that it gives them."""
    from torchvision import models

    return {weights.name: _file(weights.url) for weights in models.get_model_weights(name)}


def _file(url: str) -> PublishedWeights:
    file = PurePosixPath(urlsplit(url).path).name
    begins = _HASH.search(file)
    folder = Path(torch.hub.get_dir(), "checkpoints")
    return PublishedWeights(folder / file, url, read, begins[1] if begins else "")


def read(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a published file; of what is pickled, torch makes tensors and nothing else."""
    tensors: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return {_name_now(name): tensor for name, tensor in tensors.items()}


def _name_now(name: str) -> str:
    for pattern, now in _RENAMED:
        name = pattern.sub(now, name)
    return name
