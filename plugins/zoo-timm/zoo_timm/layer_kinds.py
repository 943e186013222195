"""What counts as an activation, a normalization, ... of timm's layers, where layers of an architecture are replaced."""

from __future__ import annotations

from collections.abc import Mapping

import zoo


@zoo.hookimpl
def zoo_layer_kinds() -> Mapping[str, tuple[type | str, ...]]:
    """Return the layers of timm that are not torch's with another name."""
    from zoo_timm._layer_kinds import kinds

    return kinds()
