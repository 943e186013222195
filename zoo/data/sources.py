"""Where images come from: what a data set's variant must offer, and how a name such as `folder:PATH` finds it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Protocol, cast, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.registry import Registry, Variant

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@attrs.frozen(eq=False)
class Arrays:
    """What a source decodes to, in the data set's own order.

    Attributes:
        train_images: (images, channels, height, width), uint8.
        train_labels: (images,), from 0 to the number of classes less one.
        test_images: like `train_images`, of the same channels, height and width.
        test_labels: like `train_labels`.
        classes: the name of each class, by label.
        notes: what was found and handled, for people: "3 grey images were made colour".
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """What the factory of a data set's variant returns. Making one reads nothing."""

    @property
    def title(self) -> str:
        """The data set's name for people: "CIFAR-10", "folder:/x/y"."""

    def missing(self) -> str | None:
        """Return in one line why the data is not at hand, or None. Cheap: it is asked for each spec of a benchmark."""

    def get(self, report: Callable[[int, int], None]) -> None:
        """Fetch what is missing or damaged, calling `report(bytes_done, bytes_in_all)` on the way.

        `bytes_in_all` may grow as further files begin. Does nothing where all is at hand.

        Raises:
            DataError: it cannot be fetched; names the files and where to put them by hand.
        """

    def fingerprint(self) -> str:
        """Return a cheap key of the content, such as `files_fingerprint`; a new one makes the cache decode again."""

    def decode(self, resize: int | None = None) -> Arrays:
        """Read all images. Only called when nothing is missing.

        A source whose images are large or differ in size brings each to `resize` x `resize` with
        `zoo.data.resized` while it reads, where `resize` is given. Any other leaves `resize` alone: what is not yet
        of that size is resized afterwards.

        Raises:
            DataError: the content is not usable; names the file.
        """


@runtime_checkable
class Described(Protocol):
    """A source that states the form of its images, so that a network can be shown before they are at hand."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image, before it is resized."""

    @property
    def class_count(self) -> int:
        """How many classes there are."""


def takes_path(variant: Variant) -> bool:
    """Tell whether a data set's variant is written with a path, as in `folder:PATH`."""
    return "path" in attrs.fields_dict(variant.options)


def source(name: str, registry: Registry) -> Source:
    """Return the source that a name stands for: `digits`, or `folder:PATH`, where PATH is the variant's option `path`.

    Raises:
        UnknownNameError: no data set is registered under that name.
        DataError: the data set needs a path, or takes none.
    """
    variant_name, colon, path = name.partition(":")
    variant = registry.variant("dataset", variant_name)
    if takes_path(variant) and not path:
        raise DataError(f"the data set {variant_name!r} needs a path: write {variant_name}:PATH")
    if colon and not takes_path(variant):
        raise DataError(f"the data set {variant_name!r} takes no path: write {variant_name}, not {name}")
    options = {"path": os.path.expanduser(path)} if colon else {}
    return cast(Source, variant.make(options))


def files_fingerprint(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Return a digest of the absolute paths, sizes and modification times of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        status = os.stat(path)
        digest.update(
            f"{os.path.abspath(path)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape")
        )
    return digest.hexdigest()
