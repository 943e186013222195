"""The formats that a network is exported to: each from a network to the bytes of one file."""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import safetensors.torch
import torch
from torch import Tensor

from zoo.errors import ZooError, option
from zoo.export.errors import ExportError
from zoo.export.network import METADATA, Classifier, Description, alike, probe_images, restored
from zoo.registry import Registry
from zoo.train.engines.gate import one_line

INPUT, OUTPUT = "images", "logits"
_BATCH = 250
"""Images that a check computes at once."""


@attrs.frozen
class Written:
    """A file's content, and what it computes: from uint8 images to logits."""

    content: bytes
    logits: Callable[[Tensor], Tensor]


@attrs.frozen
class Format:
    """A format: how its files end, which packages it needs beside zoo's own, and what writes it."""

    ending: str
    packages: tuple[str, ...]
    write: Callable[[Classifier, Description, Registry], Written]


def check_packages(name: str) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        ZooError: names them, and how they are installed.
    """
    missing = [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ZooError(
            f"{option('format', name)} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed: pip install 'layer-zoo[export]'"
        )


def write(name: str, classifier: Classifier, description: Description, images: Tensor, registry: Registry) -> bytes:
    """Return the content of a file that gives the logits that the network gives, but for rounding.

    Args:
        name: of the format.
        classifier: the network, on the CPU, in evaluation.
        description: what the file says of it.
        images: uint8 images, on the CPU, that both are tried on.
        registry: where variants are looked up.

    Raises:
        ExportError: the format does not have what a layer does, or gives something else.
    """
    try:
        with _quiet():
            written = FORMATS[name].write(classifier, description, registry)
            for batch in torch.split(images, _BATCH):
                with torch.no_grad():
                    expected = classifier(batch)
                if not alike(written.logits(batch), expected):
                    raise ExportError(
                        f"{description.name} as {name} gives other logits than the network: a layer does something "
                        f"that this format does not keep. {option('format', 'safetensors')} keeps every network"
                    )
    except (ZooError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise ExportError(
            f"{description.name} cannot be written as {name}: {one_line(error)}. "
            f"{option('format', 'safetensors')} keeps every network"
        ) from error
    return written.content


def _safetensors(classifier: Classifier, description: Description, registry: Registry) -> Written:
    # Copies, for safetensors refuses tensors that share memory, as tied weights do.
    tensors = {name: tensor.contiguous().clone() for name, tensor in classifier.state_dict().items()}
    content = safetensors.torch.save(tensors, {METADATA: description.text, "format": "pt"})
    back = restored(description, safetensors.torch.load(content), registry, description.name)

    @torch.no_grad()
    def logits(images: Tensor) -> Tensor:
        found: Tensor = back(images)
        return found

    return Written(content, logits)


def _torch_export(classifier: Classifier, description: Description, registry: Registry) -> Written:
    example = (probe_images(description.input_shape),)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(classifier, example, dynamic_shapes={INPUT: {0: batch}})
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={METADATA: description.text})
    # Not loaded back: torch.export.load would unpickle.
    module = program.module()

    @torch.no_grad()
    def logits(images: Tensor) -> Tensor:
        found: Tensor = module(images)
        return found

    return Written(content.getvalue(), logits)


def _onnx(classifier: Classifier, description: Description, registry: Registry) -> Written:
    exported = torch.onnx.export(
        classifier,
        (probe_images(description.input_shape),),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={INPUT: {0: "batch"}},
        dynamo=True,
        verbose=False,
    )
    assert exported is not None
    exported.model.metadata_props[METADATA] = description.text
    content = exported.model_proto.SerializeToString()
    # By name, so that only this format needs the package.
    session = importlib.import_module("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])

    def logits(images: Tensor) -> Tensor:
        (found,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(found)

    return Written(content, logits)


FORMATS = {
    "safetensors": Format(".safetensors", (), _safetensors),
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), _onnx),
    "torch-export": Format(".pt2", (), _torch_export),
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters say of their own workings from people."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
