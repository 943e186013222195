"""An exported network: it takes images as they are stored, and knows what it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import attrs
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.network.builder import construct
from zoo.registry import Registry, default_registry
from zoo.spec import Spec, canonical_json, structure
from zoo.train import streams
from zoo.train.bound import prediction
from zoo.train.evaluating import pixel_statistics
from zoo.train.run import Run
from zoo.train.training import Training

METADATA = "zoo"
"""The key of an exported file's metadata that a `Description` stands under."""
FILE = "model.safetensors"
"""What a folder holds that a network was exported to."""
_VERSION = 1


class Classifier(nn.Module):
    """A network with the normalization that it was trained with, and what it is asked about an image.

    It takes uint8 images of shape (batch, channels, height, width), with pixels from 0 to 255 as they are stored and of
    the size that it was trained on, and returns logits of shape (batch, classes) in float32. The pixels are divided by
    255 and normalized inside.

    Args:
        network: from normalized pixels to logits.
        mean: that is subtracted from pixels in [0, 1], (channels, 1, 1).
        std: that they are divided by then, (channels, 1, 1).
        classes: the name of each class, in the order of the logits.
        shape: (channels, height, width) of the images.
        prediction: what makes logits of `images`, pixels in [0, 1], by the network's pass, `forward`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Tensor,
        std: Tensor,
        classes: tuple[str, ...],
        shape: tuple[int, int, int],
        prediction: Callable[..., Tensor],
    ) -> None:
        super().__init__()
        self.network, self.classes, self.shape, self.prediction = network, classes, shape, prediction
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of uint8 images.

        Raises:
            ValueError: the images are not uint8, or of another shape.
        """
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(
                f"expected uint8 images of shape (batch, {', '.join(map(str, self.shape))}), with pixels from 0 to "
                f"255; got {images.dtype} of shape {tuple(images.shape)}"
            )
        return self.prediction(forward=self._logits, images=images.to(torch.float32).div(255))

    def _logits(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixels.sub(self.mean).div(self.std))
        return logits


@attrs.frozen(kw_only=True)
class Description:
    """What an exported file says of itself.

    Attributes:
        name: the spec's.
        spec: the resolved spec as plain data.
        input_shape: (channels, height, width) of the images.
        classes: the name of each class, in the order of the logits.
        key: what the run was, as `zoo.RunKey` has it.
        probe: the logits of two fixed images, by which whoever loads the file sees that the network is the same.
    """

    name: str
    spec: Mapping[str, Any]
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    key: Mapping[str, Any]
    probe: tuple[tuple[float, ...], ...]

    @property
    def text(self) -> str:
        """As JSON."""
        return canonical_json({"version": _VERSION, **attrs.asdict(self)})

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `text` writes.

        Raises:
            ValueError: it is of another version.
            KeyError, TypeError: it is something else.
        """
        tree = json.loads(text)
        if tree.pop("version") != _VERSION:
            raise ValueError("it was written by another version of zoo")
        channels, height, width = tree.pop("input_shape")
        probe = tuple(map(tuple, tree.pop("probe")))
        return cls(input_shape=(channels, height, width), classes=tuple(tree.pop("classes")), probe=probe, **tree)


def describe(training: Training, run: Run) -> tuple[Classifier, Description]:
    """Return the network of a training on the CPU, ready to evaluate, and what is to be said of it."""
    data = training.dataset
    network = training.in_float32().to("cpu").to(memory_format=torch.contiguous_format)
    mean, std = (v.to("cpu", torch.float32) for v in pixel_statistics(training.spec, data.train))
    classifier = Classifier(network, mean, std, data.classes, data.shape, training.prediction).eval()
    description = Description(
        name=run.name,
        spec=run.spec,
        input_shape=data.shape,
        classes=data.classes,
        key=attrs.asdict(run.key),
        probe=probe(classifier, data.shape),
    )
    return classifier, description


def check_repeatable(spec: Spec, shape: tuple[int, int, int], classes: int, registry: Registry) -> None:
    """Refuse a network that draws random numbers in evaluation, of which no file could predict the same.

    Raises:
        ZooError: it does.
    """
    network = construct(spec, shape, classes, seed=0, registry=registry).network.eval()
    logits = []
    for seed in (0, 1):
        with streams.seeded(seed, "export"), torch.no_grad():
            logits.append(network(probe_images(shape) / 255))
    if not torch.equal(*logits):
        raise ZooError(
            f"{spec.name} cannot be exported: a layer draws random numbers in evaluation, so that no two "
            "predictions are the same; dropout does with always_on = true"
        )


def probe_images(shape: tuple[int, int, int]) -> Tensor:
    """Return two fixed uint8 images of a shape, which look like noise."""
    numbers = torch.arange(2 * shape[0] * shape[1] * shape[2])
    return (numbers * 40503 // 256 % 256).to(torch.uint8).view(2, *shape)


@torch.no_grad()
def probe(classifier: Classifier, shape: tuple[int, int, int]) -> tuple[tuple[float, ...], ...]:
    """Return the logits of the fixed images."""
    return tuple(map(tuple, classifier(probe_images(shape)).tolist()))


def alike(logits: Tensor, expected: Tensor) -> bool:
    """Whether logits are those expected but for rounding, which kernels of other hardware do otherwise."""
    scale = expected.abs().max().item()
    return logits.shape == expected.shape and torch.allclose(logits, expected, rtol=1e-3, atol=1e-4 * scale)


def load_exported(path: str | Path, *, registry: Registry | None = None) -> nn.Module:
    """Return a network that was exported as safetensors, ready to evaluate; nothing pickled is read.

    It takes uint8 images (batch, channels, height, width) as they are stored, of the size that it was trained on, and
    returns logits (batch, classes) in float32; the normalization is inside. `classes` has the classes' names.

    Args:
        path: the file, or the folder that it was exported to.
        registry: where the variants of its spec are looked up; all installed plugins when left out.

    Raises:
        ZooError: the file cannot be read, or zoo did not write it; a variant is not registered here, or has changed so
            that the network would give something else than when it was exported.
    """
    path = Path(path)
    return load_described(path / FILE if path.is_dir() else path, registry or default_registry())[0]


def load_described(file: Path, registry: Registry) -> tuple[Classifier, Description]:
    """Return a network that was exported as safetensors, and what its file says of it.

    Raises:
        ZooError: see `load_exported`.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    except OSError as error:
        raise ZooError(f"{file} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ZooError(f"{file} is no safetensors file, or it is damaged: {error}") from error
    try:
        description = Description.read(metadata[METADATA])
    except (KeyError, TypeError, ValueError) as error:
        raise ZooError(
            f"{file} is not a network that this zoo exported: its metadata do not say what it is. "
            "`zoo export --format safetensors` writes such files"
        ) from error
    return restored(description, tensors, registry, str(file)), description


def restored(description: Description, tensors: Mapping[str, Tensor], registry: Registry, where: str) -> Classifier:
    """Build the network that is described, put the weights in, and see that it is the one that was exported.

    Raises:
        ZooError: it is not, or it cannot be built.
    """
    try:
        spec = structure(description.spec, description.name, registry)
        # The file has all weights: those that training started from need not be there any more.
        spec = attrs.evolve(spec, network=attrs.evolve(spec.network, weights=None))
        built = construct(spec, description.input_shape, len(description.classes), seed=0, registry=registry)
    except ZooError as error:
        raise ZooError(f"{where}: its network cannot be built here: {error}") from error
    blank = torch.zeros(description.input_shape[0], 1, 1)
    classifier = Classifier(
        built.network,
        blank,
        blank.clone(),
        description.classes,
        description.input_shape,
        prediction(spec, registry),
    )
    try:
        classifier.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ZooError(f"{where}: its weights do not fit the network: {_CHANGED}") from error
    classifier.eval()
    logits = torch.tensor(probe(classifier, description.input_shape))
    if not alike(logits, torch.tensor(description.probe)):
        raise ZooError(f"{where}: the network gives something else than when it was exported: {_CHANGED}")
    return classifier


_CHANGED = (
    "the source of a variant has changed since. The model card says which versions it needs; install those, or export "
    "the network again"
)
