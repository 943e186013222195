"""Capacity control: a base made as large as a changed network, so that a gain can be told from mere size."""

from __future__ import annotations

from typing import Literal

import attrs

from zoo.errors import BuildError
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.spec.fields import WIDTH
from zoo.spec.resolve import changed_name

Measure = Literal["parameters", "flops"]
Widths = tuple[int, ...]
"""Filters of each feature block, then units of each dense layer."""

LARGER = 1.01
"""A network that is larger by less than this factor is as large."""
_WIDEST = 1024.0
"""The factor at which widening is given up: it does not make the network larger."""
_HALVINGS = 40


def widened(
    base: Spec, like: Spec, measure: Measure, *, input_shape: tuple[int, int, int], classes: int, registry: Registry
) -> Spec | None:
    """Return the base with all of its widths multiplied by one factor, so that it is as large as another spec.

    The widths are the filters of every feature block and the units of every dense layer, or the option `width` of an
    architecture. Each is rounded to a whole number, or, where a variant refuses some numbers (group normalization),
    to a multiple of the least divisor of the base's width that can be built. The factor is found by bisection: no other
    comes closer.

    Args:
        base: what is widened.
        like: as large as which spec.
        measure: trainable numbers, or floating-point operations of one image's forward pass.
        input_shape: (channels, height, width) of the images.
        classes: how many there are.
        registry: where variants are looked up.

    Returns:
        The wider base, with the factor in its name; None where `like` is larger than the base by at most 1%.

    Raises:
        BuildError: one of the two makes no network for the input, or the base none that is wider.
        PluginError: a plugin's factory or layer raised; names the plugin.
    """
    sizes: dict[Widths, int] = {}
    if not base.network.has_widths:
        raise BuildError(
            _impossible(base, like, f"the architecture {base.network.architecture} has no option {WIDTH!r}")
        )

    def size(spec: Spec) -> int:
        widths = _widths(spec)
        if widths not in sizes:
            built = construct(spec, input_shape, classes, seed=0, registry=registry)
            sizes[widths] = built.parameters if measure == "parameters" else built.flops
        return sizes[widths]

    built_like = construct(like, input_shape, classes, seed=0, registry=registry)
    wanted = built_like.parameters if measure == "parameters" else built_like.flops
    if wanted <= size(base) * LARGER:
        return None
    multiples = _multiples(base, like, input_shape=input_shape, classes=classes, registry=registry)

    def scaled(factor: float) -> Spec:
        return _with_widths(
            base, tuple(m * round(w * factor / m) for w, m in zip(_widths(base), multiples, strict=True))
        )

    def size_at(factor: float) -> int:
        try:
            return size(scaled(factor))
        except BuildError as error:
            raise BuildError(_impossible(base, like, str(error))) from error

    low, high = 1.0, 2.0
    while size_at(high) < wanted:
        low, high = high, 2 * high
        if high > _WIDEST:
            raise BuildError(_impossible(base, like, "wider layers do not make it larger"))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if size_at(middle) < wanted else (low, middle)
    factor = min(low, high, key=lambda factor: abs(size_at(factor) - wanted))
    name = changed_name(base.name, [f"width x{factor:.4g}"])
    return attrs.evolve(scaled(factor), name=name, reference=None)


def _widths(spec: Spec) -> Widths:
    if (architecture := spec.network.architecture) is not None:
        return (architecture.values()[WIDTH],)
    return (*(b.filters for b in spec.network.features), *(d.units for d in spec.network.classifier))


def _with_widths(spec: Spec, widths: Widths) -> Spec:
    network, left = spec.network, iter(widths)
    if (choice := network.architecture) is not None:
        choice = attrs.evolve(choice, options=attrs.evolve(choice.options, **{WIDTH: next(left)}))
        return attrs.evolve(spec, network=attrs.evolve(network, architecture=choice))
    features = tuple(attrs.evolve(block, filters=next(left)) for block in network.features)
    classifier = tuple(attrs.evolve(dense, units=next(left)) for dense in network.classifier)
    return attrs.evolve(spec, network=attrs.evolve(network, features=features, classifier=classifier))


def _multiples(
    base: Spec, like: Spec, *, input_shape: tuple[int, int, int], classes: int, registry: Registry
) -> Widths:
    """Return what each width must be a multiple of.

    The base can be built, so its widths are divisible by what they must be. A width and the next multiple of d after it
    are both divisible only by divisors of d; so where that one can be built, all multiples of d can.
    """

    def failure(widths: Widths) -> BuildError | None:
        try:
            construct(_with_widths(base, widths), input_shape, classes, seed=0, registry=registry)
        except BuildError as error:
            return error
        return None

    widths = _widths(base)
    if failure(tuple(width + 1 for width in widths)) is None:
        return (1,) * len(widths)
    multiples = []
    for index, width in enumerate(widths):
        divisors = [divisor for divisor in range(1, width + 1) if width % divisor == 0]
        for divisor in divisors:
            error = failure((*widths[:index], width + divisor, *widths[index + 1 :]))
            if error is None:
                multiples.append(divisor)
                break
        else:
            raise BuildError(_impossible(base, like, str(error))) from error
    return tuple(multiples)


def _impossible(base: Spec, like: Spec, reason: str) -> str:
    return (
        f"{base.name} cannot be made as large as {like.name} by wider layers: {reason}; leave out the comparison with "
        "a widened base"
    )
