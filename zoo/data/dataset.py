"""A data set on a device, and how a name becomes one."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import numpy as np

from zoo.data import duplicates, images, listed, names, prepare, resizing, room, splits
from zoo.data.cache import DAMAGED, cached, entry_folder
from zoo.data.options import Options
from zoo.data.prepare import LEAK, Prepared
from zoo.data.sizes import MUCH_LARGER
from zoo.data.sources import Images, Labels, Source, decode, kind_of, source
from zoo.errors import DataError, lacks_memory, text_of
from zoo.registry import Registry

if TYPE_CHECKING:
    import torch

_AS_IT_IS = Options()
_READING = (prepare, resizing, images, listed, names, splits, duplicates, room)
"""What decides, beside a source's own code, what an entry of the cache holds."""
_DAMAGED = "its copy in the cache was damaged, and was decoded anew"


@attrs.frozen(eq=False, repr=False)
class Split:
    """One part of a data set.

    Attributes:
        images: (images, channels, height, width), uint8.
        labels: (images,), int64.
        mapped: the images lie in a file of the cache, and nobody writes to them.
        weights: (images,), float64, in memory; None where images have no weights.
    """

    images: torch.Tensor
    labels: torch.Tensor
    mapped: bool = False
    weights: torch.Tensor | None = None

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
        names: of each part the name of each image's file, where images are files.
        leaks: those of the notes that say that images stand in two parts.
        groups: of each part the group of each image, where groups are kept together.
        images_in: "device", or "memory" where images stay in the cache's files and are copied batch by batch; labels
            are on the device.
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
    names: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    leaks: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    images_in: Literal["device", "memory"] = "device"

    @property
    def bytes(self) -> int:
        """How much room its images take."""
        return sum(split.images.numel() for split in self.parts.values())

    @property
    def parts(self) -> dict[str, Split]:
        """The parts that there are, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: split for part, split in parts.items() if split is not None}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def put(self, device: str, images_in: Literal["device", "memory"]) -> Dataset:
        """Return it with labels, and images if they are to be there, on a device."""

        def on_it(split: Split) -> Split:
            images = split.images.to(device) if images_in == "device" else split.images
            return attrs.evolve(
                split, images=images, labels=split.labels.to(device), mapped=split.mapped and images is split.images
            )

        return attrs.evolve(
            self,
            train=on_it(self.train),
            test=on_it(self.test),
            validation=None if self.validation is None else on_it(self.validation),
            images_in=images_in,
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(split)} {part}" for part, split in self.parts.items())
        shape = "x".join(map(str, self.shape))
        return f"Dataset({self.name}: {sizes} images of {shape}, {len(self.classes)} classes)"


def load(name: str, registry: Registry, options: Options = _AS_IT_IS, *, device: str = "cpu") -> Dataset:
    """Return a data set by name, decoding it if the cache does not hold it yet.

    On "cpu" the tensors are views of the cache's files, mapped copy-on-write and shared between processes.

    Args:
        name: a registered data set (`digits`), or one with a path (`folder:PATH`).
        registry: where data sets are looked up.
        options: how it is read, split and resized.
        device: where the tensors are put.

    Raises:
        UnknownNameError: no data set is registered under that name.
        DataError: it is not at hand, cannot be read or is not usable, or the cache cannot be written.
    """
    origin = source(name, registry)
    key, prepared = _whole(name, origin, options)
    parts = attrs.evolve(options, validation=0.0, resplit=False) if options.resplit else options
    if how := _split_key(parts, prepared):
        whole, key = prepared, f"{key}-{how}"
        prepared = cached(key, lambda: _with_leaks(splits.split(whole, parts, origin.title)), name=name)
        prepared = attrs.evolve(prepared, was_damaged=prepared.was_damaged or whole.was_damaged)
    if options.resplit:
        splits.require_drawable(prepared, options, origin.title)
    return on_device(_with_damaged(prepared, key), name, origin.title, device)


def read(name: str, registry: Registry, options: Options) -> Prepared:
    """Return a data set in the parts that it has itself, for `splits.split`; there may be no test part.

    Raises:
        UnknownNameError, DataError: see `load`.
    """
    key, prepared = _whole(name, source(name, registry), options)
    return _with_damaged(prepared, key)


def _whole(name: str, origin: Source, options: Options) -> tuple[str, Prepared]:
    """Return a data set in its own parts, and the key of its entry in the cache."""
    reason = origin.missing()
    if reason:
        raise DataError(f"the data set {name} is not at hand: {reason}")
    try:
        key = _key(name, origin, options)
        return key, cached(key, lambda: _with_leaks(_decoded(origin, options)), name=name)
    except OSError as error:
        raise DataError(f"the data set {name} cannot be read: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        raise DataError(
            f"the data set {name} does not fit into memory: {text_of(error)}. A smaller data.resize may do."
        ) from error


def _with_damaged(prepared: Prepared, key: str) -> Prepared:
    if not prepared.damaged:
        return prepared
    where = entry_folder(key) / DAMAGED
    note = f"files left out because they cannot be read: {len(prepared.damaged)}, listed in {where}"
    return attrs.evolve(prepared, notes=(*prepared.notes, note))


def _decoded(origin: Source, options: Options) -> Prepared:
    return prepare.prepare(decode(origin, options), origin.title, options.resize, options.fit)


def _with_leaks(prepared: Prepared) -> Prepared:
    return attrs.evolve(prepared, leaks=tuple(duplicates.said(prepared)))


def _split_key(options: Options, prepared: Prepared) -> str:
    """Return what tells apart the entries of one data set that is split in several ways; empty where it is not."""
    others = [options.test, options.group_by, options.limit]
    if others == [0.0, None, None] and "test" in prepared.parts:
        return f"{options.validation}" if options.validation else ""
    return hashlib.sha256(json.dumps([*others, options.validation]).encode()).hexdigest()[:16]


def on_device(prepared: Prepared, name: str, title: str, device: str) -> Dataset:
    """Return prepared data as a data set of this name, its tensors on the device."""
    splits = {part: _split(arrays, device, prepared.weights.get(part)) for part, arrays in prepared.parts.items()}
    return Dataset(
        name=name,
        title=title,
        classes=prepared.classes,
        train=splits["train"],
        test=splits["test"],
        validation=splits.get("validation"),
        digest=prepared.digest,
        notes=(*prepared.notes, *_unequal(prepared), *prepared.leaks, *([_DAMAGED] if prepared.was_damaged else [])),
        sorted_by_class=_sorted_by_class(prepared.parts["train"][1], len(prepared.classes)),
        names=prepared.names,
        leaks=(*(note for note in prepared.notes if note.startswith(LEAK)), *prepared.leaks),
        groups=prepared.groups,
    )


def _unequal(prepared: Prepared) -> list[str]:
    """Say by how much classes differ in size, where it is much."""
    sizes = np.bincount(prepared.parts["train"][1], minlength=len(prepared.classes))
    least, most = int(sizes.argmin()), int(sizes.argmax())
    if sizes[most] < MUCH_LARGER * sizes[least]:
        return []
    return [
        f"classes have from {sizes[least]:,} ({prepared.classes[least]!r}) to {sizes[most]:,} "
        f"({prepared.classes[most]!r}) training images, and recall is macro: each counts the same; "
        "training.sampling, or class_weights of the loss, lets each count the same in training, too"
    ]


def _key(name: str, origin: Source, options: Options) -> str:
    """Name the cache entry: by content, and by the code that reads it, so that mending a source takes effect."""
    kind = kind_of(origin)
    code = [_code(kind.__module__), *(_code(module.__name__) for module in _READING)]
    reading = [options.resize, options.fit, options.skip_damaged, options.group_by]
    content = json.dumps([kind.__qualname__, origin.fingerprint(), reading, code])
    return f"{name.partition(':')[0]}-{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def _code(module: str) -> str:
    file = getattr(sys.modules[module], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def _split(arrays: tuple[Images, Labels], device: str, weights: Sequence[float] | None) -> Split:
    import torch

    images, labels = (torch.from_numpy(array).to(device) for array in arrays)
    return Split(
        images,
        labels,
        mapped=room.is_of_entry(arrays[0]) and images.device.type == "cpu",
        weights=None if weights is None else torch.tensor(weights, dtype=torch.float64),
    )


def _sorted_by_class(labels: Labels, classes: int) -> bool:
    return int(np.count_nonzero(labels[1:] != labels[:-1])) == classes - 1
