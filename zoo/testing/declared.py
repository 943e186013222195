"""What a variant declares not to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from zoo.errors import PluginError

Factory = TypeVar("Factory", bound=Callable[..., Any])

_ATTRIBUTE = "_zoo_expected_failures"


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
        setattr(factory, _ATTRIBUTE, dict(reasons))
        return factory

    return mark


def declared(factory: Callable[..., Any]) -> Mapping[str, str]:
    """Return why a factory is expected to fail checks, by their names."""
    # Not of a class that it inherits from, whose checks are its own.
    reasons: Mapping[str, str] = vars(factory).get(_ATTRIBUTE, {})
    return reasons
