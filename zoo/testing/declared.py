"""What a variant declares: what it does not do, and which shapes it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from zoo.errors import PluginError

Factory = TypeVar("Factory", bound=Callable[..., Any])

LIMIT = 60.0
"""Seconds after which a check is stopped, where nothing else is said."""
_FAILURES = "_zoo_expected_failures"
_MADE_FOR = "_zoo_made_for"


@attrs.frozen
class MadeFor:
    """The shapes that a layer is for; `filters` is how many channels a filter or the filter of a block gives there."""

    shapes: tuple[tuple[int, ...], ...]
    filters: int | None


def expected_failures(reasons: Mapping[str, str]) -> Callable[[Factory], Factory]:
    """Mark a factory as failing some checks of the conformance suite, each for a reason.

    The reasons are shown by `zoo check`. A check that passes in spite of its mark fails, so that no mark outlives its
    reason.

        @expected_failures({"batch_independence": "it mixes images on purpose"})
        def mixing(shape: Shape) -> nn.Module: ...

    Args:
        reasons: why, by the name of the check.

    Raises:
        PluginError: a reason is empty.
    """
    for check, reason in reasons.items():
        if not isinstance(reason, str) or not reason.strip():
            raise PluginError(f"expected_failures: say in words why the check {check!r} fails, not {reason!r}")

    def mark(factory: Factory) -> Factory:
        setattr(factory, _FAILURES, dict(reasons))
        return factory

    return mark


def declared(factory: Callable[..., Any]) -> Mapping[str, str]:
    """Return why a factory is expected to fail checks, by their names."""
    # Not of a class that it inherits from, whose checks are its own.
    reasons: Mapping[str, str] = vars(factory).get(_FAILURES, {})
    return reasons


def made_for(*shapes: tuple[int, ...], filters: int | None = None) -> Callable[[Factory], Factory]:
    """Mark a layer's factory as being for these shapes, so that the conformance suite tries it on no others.

        @made_for((3, 224, 224), filters=512)
        def whole_network(shape: Shape, filters: int) -> nn.Module: ...

    It is needed only where the suite finds no shape that fits.

    Args:
        shapes: (channels, height, width), or (units,), without the batch.
        filters: how many channels a filter, or the filter of a block, gives there.

    Raises:
        PluginError: there is no shape, or what is given is none.
    """
    numbers = [*(number for shape in shapes for number in shape), *(() if filters is None else (filters,))]
    if not shapes or any(len(shape) not in (1, 3) for shape in shapes) or not all(_is_size(n) for n in numbers):
        raise PluginError(
            f"made_for: expected shapes such as (3, 224, 224) or (512,), and a number of filters, got {shapes} and "
            f"{filters!r}"
        )

    def mark(factory: Factory) -> Factory:
        setattr(factory, _MADE_FOR, MadeFor(tuple(map(tuple, shapes)), filters))
        return factory

    return mark


def _is_size(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def stated_shapes(factory: Callable[..., Any]) -> MadeFor | None:
    """Return the shapes that a factory says it is for."""
    stated: MadeFor | None = vars(factory).get(_MADE_FOR)
    return stated
