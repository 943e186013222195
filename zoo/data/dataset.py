"""A data set on a device, and how a name becomes one."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np

from zoo.data import prepare
from zoo.data.cache import cached
from zoo.data.prepare import Prepared
from zoo.data.sources import Images, Labels, Source, kind_of, source
from zoo.errors import DataError, lacks_memory, text_of
from zoo.registry import Registry

if TYPE_CHECKING:
    import torch

_DAMAGED = "its copy in the cache was damaged, and was decoded anew"


@attrs.frozen(eq=False, repr=False)
class Split:
    """One part of a data set: `images` (images, channels, height, width) of uint8, `labels` (images,) of int64."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self)} images of {'x'.join(map(str, self.images.shape[1:]))})"


@attrs.frozen(eq=False, repr=False)
class Dataset:
    """A data set as it is trained on, on one device.

    Attributes:
        name: as it was given, such as "folder:/x/y".
        title: its name for people.
        classes: the name of each class, by label; each has at least one image in every part.
        validation: what was held out of the training images, if anything was.
        digest: SHA-256 of images, labels, classes and the validation share; equal for equal content.
        notes: what was found in the files and handled, for people.
        sorted_by_class: each class's training images stand together, so that training needs shuffling.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    validation: Split | None
    digest: str
    notes: tuple[str, ...]
    sorted_by_class: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def __repr__(self) -> str:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        sizes = ", ".join(f"{len(split)} {part}" for part, split in parts.items() if split is not None)
        shape = "x".join(map(str, self.shape))
        return f"Dataset({self.name}: {sizes} images of {shape}, {len(self.classes)} classes)"


def load(
    name: str, registry: Registry, *, resize: int | None = None, validation: float = 0.0, device: str = "cpu"
) -> Dataset:
    """Return a data set by name, decoding it if the cache does not hold it yet.

    On "cpu" the tensors are views of the cache's files, mapped copy-on-write and shared between processes.

    Args:
        name: a registered data set (`digits`), or one with a path (`folder:PATH`).
        registry: where data sets are looked up.
        resize: side in pixels that images are brought to.
        validation: share of the training images that is held out, stratified, the same for every run.
        device: where the tensors are put.

    Raises:
        UnknownNameError: no data set is registered under that name.
        DataError: it is not at hand, cannot be read or is not usable, or the cache cannot be written.
    """
    if resize is not None and resize < 1:
        raise DataError(f"resize must be a positive number of pixels, got {resize}")
    if not 0 <= validation < 1:
        raise DataError(f"validation must be a share from 0 up to, but not including, 1, got {validation}")
    origin = source(name, registry)
    reason = origin.missing()
    if reason:
        raise DataError(f"the data set {name} is not at hand: {reason}")
    try:
        key = _key(name, origin, resize)
        prepared = cached(key, lambda: prepare.prepare(origin.decode(resize), origin.title, resize), name=name)
    except OSError as error:
        raise DataError(f"the data set {name} cannot be read: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        raise DataError(
            f"the data set {name} does not fit into memory: {text_of(error)}. A smaller data.resize may do."
        ) from error
    if validation:
        whole = prepared
        prepared = cached(f"{key}-{validation}", lambda: prepare.hold_out(whole, validation, origin.title), name=name)
        prepared = attrs.evolve(prepared, was_damaged=prepared.was_damaged or whole.was_damaged)
    return on_device(prepared, name, origin.title, device)


def on_device(prepared: Prepared, name: str, title: str, device: str) -> Dataset:
    """Return prepared data as a data set of this name, its tensors on the device."""
    splits = {part: _split(arrays, device) for part, arrays in prepared.parts.items()}
    return Dataset(
        name=name,
        title=title,
        classes=prepared.classes,
        train=splits["train"],
        test=splits["test"],
        validation=splits.get("validation"),
        digest=prepared.digest,
        notes=(*prepared.notes, *([_DAMAGED] if prepared.was_damaged else [])),
        sorted_by_class=_sorted_by_class(prepared.parts["train"][1], len(prepared.classes)),
    )


def _key(name: str, origin: Source, resize: int | None) -> str:
    """Name the cache entry: by content, and by the code that reads it, so that mending a source takes effect."""
    kind = kind_of(origin)
    code = [_code(kind.__module__), _code(prepare.__name__)]
    content = json.dumps([kind.__qualname__, origin.fingerprint(), resize, code])
    return f"{name.partition(':')[0]}-{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def _code(module: str) -> str:
    file = getattr(sys.modules[module], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def _split(arrays: tuple[Images, Labels], device: str) -> Split:
    import torch

    images, labels = (torch.from_numpy(array).to(device) for array in arrays)
    return Split(images, labels)


def _sorted_by_class(labels: Labels, classes: int) -> bool:
    return int(np.count_nonzero(labels[1:] != labels[:-1])) == classes - 1
