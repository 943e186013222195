"""Checks of data sets and of specs."""

from __future__ import annotations

import json

import numpy as np

from zoo.data import Arrays, Described, Source, source, takes_path
from zoo.errors import ZooError
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec import Spec, canonical_json, structure, unstructure
from zoo.spec.resolve import resolve
from zoo.testing.check import FailedError, SkippedError, require
from zoo.testing.subject import SpecSubject, VariantSubject
from zoo.train.execute import dataset


def offers_source(subject: VariantSubject) -> None:
    """The factory makes a source that has a title and says in one line, or with None, what is missing.

    Why: `zoo data list` and every benchmark ask that, before anything is read.

    Mend: give the class all that `zoo.Source` names; making one must read nothing.
    """
    made = subject.make()
    for name in ("missing", "get", "fingerprint", "decode"):
        require(callable(getattr(made, name, None)), f"its source has no method {name}")
    title = getattr(made, "title", None)
    require(isinstance(title, str) and bool(title), f"its title is {title!r}")
    missing = made.missing()
    require(missing is None or (isinstance(missing, str) and missing.count("\n") == 0), f"missing() gives {missing!r}")


def fingerprint_steady(subject: VariantSubject) -> None:
    """Two sources made one after the other have the same fingerprint, which is text.

    Why: with another fingerprint the images are decoded and cached anew, in every process.

    Mend: make it of file names, sizes and dates (`zoo.data.files_fingerprint`), not of objects or the time.
    """
    first, second = _at_hand(subject).fingerprint(), _at_hand(subject).fingerprint()
    require(isinstance(first, str) and bool(first), f"it is {first!r}")
    require(first == second, f"it is {first!r}, then {second!r}")


def decodes(subject: VariantSubject) -> None:
    """It decodes to images (images, channels, height, width) of uint8, and a label of a named class for each.

    Why: that is the form that everything else relies on.

    Mend: see `zoo.Arrays`; labels are int64, from 0 to the number of classes less one.
    """
    arrays = _at_hand(subject).decode(None)
    require(isinstance(arrays, Arrays), f"decode() gives a {type(arrays).__name__}, not a zoo.Arrays")
    for part in ("train", "test"):
        images, labels = getattr(arrays, f"{part}_images"), getattr(arrays, f"{part}_labels")
        require(images.dtype == np.uint8 and images.ndim == 4, f"{part}: images {images.dtype} of {images.shape}")
        require(labels.shape == images.shape[:1], f"{part}: {len(labels)} labels for {len(images)} images")
        require(len(labels) > 0, f"{part}: there are no images")
        named = bool(labels.min() >= 0 and labels.max() < len(arrays.classes))
        require(named, f"{part}: labels from {labels.min()} to {labels.max()} for {len(arrays.classes)} classes")
    shapes = {arrays.train_images.shape[1:], arrays.test_images.shape[1:]}
    require(len(shapes) == 1, f"training and test images differ in shape: {shapes}")


def described(subject: VariantSubject) -> None:
    """What it states about its images before they are read is true of them.

    Why: `zoo show` builds networks from that.

    Mend: correct `shape` (channels, height, width) or `class_count`.
    """
    origin = _at_hand(subject)
    if not isinstance(origin, Described):
        raise SkippedError("it states nothing: it has no shape and class_count")
    arrays = origin.decode(None)
    shape = arrays.train_images.shape[1:]
    require(tuple(origin.shape) == shape, f"it states the shape {tuple(origin.shape)}, and images are of {shape}")
    found = len(arrays.classes)
    require(origin.class_count == found, f"it states {origin.class_count} classes, and there are {found}")


def _at_hand(subject: VariantSubject) -> Source:
    if takes_path(subject.variant):
        raise SkippedError(f"it needs a path, as in {subject.name}:PATH")
    made: Source = subject.make()
    missing = made.missing()
    if missing is not None:
        raise SkippedError(f"it is not at hand: {missing}")
    return made


def resolves(subject: SpecSubject) -> None:
    """It is a valid spec, whose base and variants are registered.

    Why: nothing else can be done with it.

    Mend: read the message, which names the value by its path.
    """
    try:
        resolve(subject.name, registry=subject.registry)
    except ZooError as error:
        raise FailedError(str(error)) from error


def described_in_words(subject: SpecSubject) -> None:
    """It has a description.

    Why: `zoo list` shows it, and nothing else says what the spec is for.

    Mend: `description = "..."`.
    """
    require(bool(_spec(subject).description.strip()), "it is empty")


def round_trip(subject: SpecSubject) -> None:
    """Written as JSON and read again, it has the same identity.

    Why: that is how the ledger keeps what was trained.

    Mend: this is hardly the spec's fault: one of its variants has an option whose value does not survive JSON.
    """
    spec = _spec(subject)
    tree = json.loads(canonical_json(unstructure(spec)))
    again = structure({k: v for k, v in tree.items() if k != "name"}, subject.name, subject.registry)
    require(again.identity == spec.identity, f"it is {spec.identity[:12]}, then {again.identity[:12]}")


def network_builds(subject: SpecSubject) -> str:
    """Its network fits the images of its data set.

    Why: a study would stop there.

    Mend: the message names the layer and the sizes; fewer poolings, or padding "same", leave more of the map.
    """
    spec = _spec(subject)
    try:
        shape, classes = _form(spec, subject.registry)
        built = construct(spec, shape, classes, seed=0, registry=subject.registry)
    except ZooError as error:
        raise FailedError(str(error)) from error
    return f"{built.parameters:,} parameters, {built.flops:,} FLOPs for an image of {'x'.join(map(str, shape))}"


def _form(spec: Spec, registry: Registry) -> tuple[tuple[int, int, int], int]:
    """Return the shape and the number of classes of a spec's images, without reading them where they are stated."""
    origin = source(spec.data.dataset, registry)
    if isinstance(origin, Described):
        channels, height, width = origin.shape
        side = spec.data.resize
        return (channels, side or height, side or width), origin.class_count
    missing = origin.missing()
    if missing is not None:
        raise SkippedError(f"its images are not at hand: {missing}")
    images = dataset(spec, registry, "cpu")
    return images.shape, len(images.classes)


def _spec(subject: SpecSubject) -> Spec:
    try:
        return resolve(subject.name, registry=subject.registry)
    except ZooError as error:
        raise SkippedError("it is not valid; see resolves") from error
