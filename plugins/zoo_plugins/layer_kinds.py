"""Which layers and functions of torch and torchvision are of which kind."""

from __future__ import annotations

from collections.abc import Mapping

from zoo import hookimpl


@hookimpl
def zoo_layer_kinds() -> Mapping[str, tuple[type | str, ...]]:
    """Return them.

    Sigmoids and softmaxes are gates and probabilities, not activations; poolings to a fixed size and stochastic depth
    are none, either.
    """
    from zoo_plugins._layer_kinds import KINDS

    return KINDS
