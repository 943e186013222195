"""Where images come from: what a data set's variant must offer, and how a name such as `folder:PATH` finds it."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo.data.options import Options
from zoo.errors import DataError, PluginError, UnknownNameError, ZooError, described, is_interruption, lacks_memory
from zoo.registry import Registry, Variant

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@attrs.frozen(eq=False)
class Arrays:
    """What a source decodes to, in the data set's own order.

    Attributes:
        train_images: (images, channels, height, width), uint8.
        train_labels: (images,), from 0 to the number of classes less one.
        test_images: like `train_images`, of the same channels, height and width; none where there is no test part.
        test_labels: like `train_labels`.
        classes: the name of each class, by label.
        notes: what was found and handled, for people: "3 grey images were made colour".
        validation_images: like `test_images`.
        validation_labels: like `train_labels`.
        names: of each part ("train", "test", "validation") the name of each image's file, where they are files.
        groups: of each part the group of each image, as `group_by` of `decode` names them.
        damaged: of each file that was left out because it cannot be read, why.
        weights: of each part the weight of each image, where images have weights: numbers from 0 on.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    validation_images: Images | None = None
    validation_labels: Labels | None = None
    names: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    groups: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    damaged: tuple[str, ...] = ()
    weights: Mapping[str, tuple[float, ...]] = attrs.field(factory=dict)


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

        It may take more keywords, each of which it is given where a spec states it: `fit: str`, where it resizes
        itself; `skip_damaged: bool`, to leave out files that cannot be read; `group_by: str`, the column that says
        which images belong together.

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


@runtime_checkable
class Parted(Protocol):
    """A source that tells, without reading images, whether it has a validation part of its own."""

    @property
    def has_validation(self) -> bool:
        """Whether it has one."""


class OwnFiles:
    """The base of sources that read a user's own files."""

    __slots__ = ()

    def get(self: Source, report: Callable[[int, int], None]) -> None:
        """Do nothing, or raise: a user's own files cannot be downloaded."""
        reason = self.missing()
        if reason:
            raise DataError(f"{self.title}: {reason}; zoo cannot download it")


def takes_path(variant: Variant) -> bool:
    """Tell whether a data set's variant is written with a path, as in `folder:PATH`."""
    return "path" in attrs.fields_dict(variant.options)


def source(name: str, registry: Registry) -> Source:
    """Return the source that a name stands for: `digits`, or `folder:PATH`, where PATH is the variant's option `path`.

    Raises:
        UnknownNameError: no data set is registered under that name.
        DataError: the data set needs a path, or takes none.
        PluginError: its factory raised. What the source's own methods raise is a PluginError, too, but for a
            `ZooError`, an OSError of what reads files and a lack of memory; so is a result of another type.
    """
    variant_name, colon, path = name.partition(":")
    try:
        variant = registry.variant("dataset", variant_name)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}{_if_a_path(name)}") from None
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


def _if_a_path(name: str) -> str:
    """Say how a path that is there is written as a data set."""
    if os.path.isdir(os.path.expanduser(name)):
        return f" There is a folder {name}: write folder:{name}"
    if name.endswith(".npz") and os.path.isfile(os.path.expanduser(name)):
        return f" There is a file {name}: write npz:{name}"
    return ""


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


def has_validation(name: str, registry: Registry) -> bool:
    """Return whether a data set at hand has a validation part of its own, as far as is known before it is read."""
    try:
        origin = source(name, registry)
        made = origin.made if isinstance(origin, _Guarded) else origin
        if not isinstance(made, Parted) or origin.missing() is not None:
            return False
        return bool(origin._ask("has_validation", bool) if isinstance(origin, _Guarded) else made.has_validation)
    except (ZooError, OSError):  # which reading it will tell
        return False


def decode(origin: Source, options: Options) -> Arrays:
    """Read all images of a source; what it does not resize as the options say is left as it is.

    Raises:
        DataError: the content is not usable, or the source cannot do what the options say.
    """
    made = origin.made if isinstance(origin, _Guarded) else origin
    taken = inspect.signature(made.decode).parameters
    resize = options.resize
    further: dict[str, object] = {}
    if options.fit != "stretch":
        if "fit" in taken:
            further["fit"] = options.fit
        else:  # resized afterwards
            resize = None
    if options.skip_damaged:
        if "skip_damaged" not in taken:
            raise DataError(f"{origin.title}: it is not read file by file, so that data.skip_damaged has no meaning")
        further["skip_damaged"] = True
    if options.group_by is not None and "group_by" in taken:
        further["group_by"] = options.group_by
    read: Callable[..., Arrays] = origin.decode
    return read(resize, **further)


def kind_of(origin: Source) -> type:
    """Return the class of what a data set's factory returned."""
    return type(origin.made if isinstance(origin, _Guarded) else origin)


class _Guarded:
    """A source of a plugin: what it raises, and returns without being allowed to, is told under the plugin's name."""

    def __init__(self, variant: Variant, made: Any) -> None:
        self._variant, self.made = variant, made

    def _ask(self, what: str, expected: type | tuple[type, ...], *arguments: object, **named: object) -> Any:
        with _blaming(self._variant, what):
            found = getattr(self.made, what)
            if callable(found):
                found = found(*arguments, **named)
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

    def decode(self, resize: int | None = None, **further: Any) -> Arrays:
        arrays: Arrays = self._ask("decode", Arrays, resize, **further)
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


_READS = ("decode", "fingerprint")
"""What opens a data set's files."""


@contextmanager
def _blaming(variant: Variant, what: str) -> Iterator[None]:
    try:
        yield
    except ZooError:
        raise
    except BaseException as error:  # a plugin may also call sys.exit
        # What is wrong with files, and what decoded images lack, is told by who loads them; the rest is the plugin's.
        is_files = isinstance(error, OSError) and (what in _READS or error.filename is not None)
        if is_interruption(error) or is_files or (what == "decode" and lacks_memory(error)):
            raise
        raise PluginError(
            f"data set {variant.name}: plugin {variant.plugin}: its {what} raised {described(error)}"
        ) from error


def files_fingerprint(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Return a digest of the absolute paths, sizes and modification times of files, in the order given.

    Of a link that leads nowhere, they are the link's own.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            status = os.lstat(path)
        digest.update(
            f"{os.path.abspath(path)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape")
        )
    return digest.hexdigest()
