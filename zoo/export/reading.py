"""Exported files as something that gives logits, whatever their format."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.export.formats import FORMATS, INPUT, OUTPUT, check_packages
from zoo.export.network import FILE, METADATA, Description, load_described
from zoo.registry import Registry

Logits = Callable[[Tensor], Tensor]
"""From uint8 images to logits."""


def read_exported(path: Path, registry: Registry) -> tuple[Logits, Description]:
    """Read a network that was exported, and what its file says of it; nothing pickled is read.

    Raises:
        ZooError: it cannot be read, see `zoo.load_exported`, or is of a format that is pickled.
    """
    file = _file(path)
    if file.suffix == FORMATS["torch-export"].ending:
        raise ZooError(
            f"{file}: torch-export is read by unpickling, which runs what somebody else wrote; "
            "`zoo export --format safetensors` writes a file without code"
        )
    if file.suffix == FORMATS["onnx"].ending:
        return _onnx(file)
    network, description = load_described(file, registry)

    @torch.no_grad()
    def logits(images: Tensor) -> Tensor:
        found: Tensor = network(images)
        return found

    return logits, description


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    names = [FILE, *(f"model{kind.ending}" for kind in FORMATS.values())]
    return next((path / name for name in names if (path / name).exists()), path / FILE)


def _onnx(file: Path) -> tuple[Logits, Description]:
    check_packages("onnx")
    runtime = importlib.import_module("onnxruntime")
    try:
        session = runtime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    except OSError as error:
        raise ZooError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # the runtime's own errors have no common class
        raise ZooError(f"{file} is no ONNX file, or it is damaged: {str(error).splitlines()[0]}") from error
    try:
        description = Description.read(session.get_modelmeta().custom_metadata_map[METADATA])
    except (KeyError, TypeError, ValueError) as error:
        raise ZooError(f"{file} is not a network that this zoo exported: its metadata do not say what it is") from error

    def logits(images: Tensor) -> Tensor:
        (found,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(found)

    return logits, description
