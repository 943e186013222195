"""Where images come from: what a data set's variant must offer, and how a name such as `folder:PATH` finds it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError, PluginError, ZooError, described, is_interruption, lacks_memory
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
        PluginError: its factory raised. What the source's own methods raise is a PluginError, too, but for a
            `ZooError`, an OSError and a lack of memory; so is a result of another type.
    """
    variant_name, colon, path = name.partition(":")
    variant = registry.variant("dataset", variant_name)
    if takes_path(variant) and not path:
        raise DataError(f"the data set {variant_name!r} needs a path: write {variant_name}:PATH")
    if colon and not takes_path(variant):
        raise DataError(f"the data set {variant_name!r} takes no path: write {variant_name}, not {name}")
    options = {"path": os.path.expanduser(path)} if colon else {}
    with _blaming(variant, "factory"):
        made = variant.make(options)
    if isinstance(made, Described):
        return _GuardedDescribed(variant, made)
    return _Guarded(variant, made)


def why_missing(name: str, registry: Registry) -> str | None:
    """Return in one line why a data set is not at hand, or None; where its plugin raises, that is why.

    Raises:
        UnknownNameError: no data set is registered under that name.
        DataError: the data set needs a path, or takes none.
    """
    try:
        return source(name, registry).missing()
    except PluginError as error:
        return str(error)


def kind_of(origin: Source) -> type:
    """Return the class of what a data set's factory returned."""
    return type(origin.made if isinstance(origin, _Guarded) else origin)


class _Guarded:
    """A source of a plugin: what it raises, and returns without being allowed to, is told under the plugin's name."""

    def __init__(self, variant: Variant, made: Any) -> None:
        self._variant, self.made = variant, made

    def _ask(self, what: str, expected: type | tuple[type, ...], *arguments: object) -> Any:
        with _blaming(self._variant, what):
            found = getattr(self.made, what)
            if callable(found):
                found = found(*arguments)
            if not isinstance(found, expected):
                names = " or ".join(
                    "None" if kind is type(None) else kind.__name__
                    for kind in (expected if isinstance(expected, tuple) else (expected,))
                )
                raise TypeError(f"expected {names}, got {type(found).__name__}")
            return found

    @property
    def title(self) -> str:
        return str(self._ask("title", str))

    def missing(self) -> str | None:
        reason: str | None = self._ask("missing", (str, type(None)))
        return reason

    def get(self, report: Callable[[int, int], None]) -> None:
        self._ask("get", object, report)

    def fingerprint(self) -> str:
        return str(self._ask("fingerprint", str))

    def decode(self, resize: int | None = None) -> Arrays:
        arrays: Arrays = self._ask("decode", Arrays, resize)
        with _blaming(self._variant, "decode"):
            _check_types(arrays)
        return arrays


class _GuardedDescribed(_Guarded):
    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self._ask("shape", tuple)
        return channels, height, width

    @property
    def class_count(self) -> int:
        return int(self._ask("class_count", int))


def _check_types(arrays: Arrays) -> None:
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        if not isinstance(value := getattr(arrays, name), np.ndarray):
            raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    for name in ("classes", "notes"):
        value = getattr(arrays, name)
        if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
            raise TypeError(f"{name} must be a tuple of str, got {value!r:.80}")


@contextmanager
def _blaming(variant: Variant, what: str) -> Iterator[None]:
    try:
        yield
    except (ZooError, OSError):
        raise
    except BaseException as error:  # a plugin may also call sys.exit
        if is_interruption(error) or lacks_memory(error):
            raise
        raise PluginError(
            f"data set {variant.name}: plugin {variant.plugin}: its {what} raised {described(error)}"
        ) from error


def files_fingerprint(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Return a digest of the absolute paths, sizes and modification times of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        status = os.stat(path)
        digest.update(
            f"{os.path.abspath(path)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape")
        )
    return digest.hexdigest()
