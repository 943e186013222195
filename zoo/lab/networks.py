"""A spec's network, without training it."""

from __future__ import annotations

from zoo.data import Described, source, why_missing
from zoo.errors import DataError
from zoo.lab.shown import ShownNetwork
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.study.images import Unseen
from zoo.train.execute import dataset


def shown_network(spec: Spec, registry: Registry) -> ShownNetwork:
    """Return the network of a spec for its images.

    Raises:
        BuildError: it does not fit them.
        DataError: their shape is known only from the images, which are not at hand.
    """
    shape, classes = _images(spec, registry)
    built = construct(spec, shape, classes, seed=0, registry=registry)
    return ShownNetwork(built.network, built.layers, spec.name, shape, classes, starting=built.starting)


def _images(spec: Spec, registry: Registry) -> tuple[tuple[int, int, int], int]:
    """Return the shape and the number of classes of a spec's images, without reading them where they are known."""
    origin = source(spec.data.dataset, registry)
    if isinstance(origin, Described):
        channels, height, width = origin.shape
        side = spec.data.resize
        return (channels, side or height, side or width), origin.class_count
    data = dataset(spec, registry, "cpu")
    return data.shape, len(data.classes)


def form(spec: Spec, registry: Registry) -> Unseen:
    """Return what is known of a spec's images without reading them, of those that are at hand by reading them.

    Raises:
        DataError: they are at hand, and cannot be read.
    """
    reason = why_missing(spec.data.dataset, registry) or "it is not read"
    try:
        shape, count = _images(spec, registry)
    except DataError:
        if why_missing(spec.data.dataset, registry) is None:
            raise
        return Unseen(name=spec.data.dataset, reason=reason)
    return Unseen(name=spec.data.dataset, reason=reason, shape=shape, classes=tuple(map(str, range(count))))
