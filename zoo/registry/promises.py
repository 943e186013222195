"""What a factory says of its layers beyond what its kind promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Factory = TypeVar("Factory", bound=Callable[..., Any])

_CHANGES_CHANNELS = "_zoo_changes_channels"


def changes_channels(factory: Factory) -> Factory:
    """Mark the factory of an activation or a pooling: its layers may give more or fewer channels than they are given.

        @zoo.changes_channels
        def glu(shape: Shape) -> nn.Module: ...

    In the classifier these are units. All that follows is built for what the layer gives. Nothing else may change but
    what the kind lets change: height and width of a pooling.
    """
    setattr(factory, _CHANGES_CHANNELS, True)
    return factory


def may_change_channels(factory: Callable[..., Any]) -> bool:
    """Tell whether a factory says so."""
    # Not of a class that it inherits from, which says so of its own layers.
    return bool(getattr(factory, "__dict__", {}).get(_CHANGES_CHANNELS, False))
