"""Blocks: another block, and after it one of timm's attentions over channels or places."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zoo
from zoo.testing import expected_failures

if TYPE_CHECKING:
    from torch import nn

ATTENTIONS = {
    "se": "squeeze and excitation (arXiv:1709.01507)",
    "ese": "effective squeeze and excitation (arXiv:1911.06667)",
    "eca": "efficient channel attention (arXiv:1910.03151)",
    "ecam": "efficient channel attention with a hidden layer (arXiv:1910.03151)",
    "ceca": "efficient channel attention, circular (arXiv:1910.03151)",
    "gc": "global context, multiplied (arXiv:1904.11492)",
    "gca": "global context, added (arXiv:1904.11492)",
    "cbam": "convolutional block attention (arXiv:1807.06521)",
    "lcbam": "convolutional block attention, light (arXiv:1807.06521)",
    "coord": "coordinate attention (arXiv:2103.02907)",
    "scoord": "coordinate attention, simple (arXiv:2103.02907)",
    "ela": "efficient local attention (arXiv:2403.01123)",
    "strip": "strip attention (arXiv:2405.00587)",
    "lambda": "lambda layer (arXiv:2102.08602)",
    "bottleneck": "self-attention over a map (arXiv:2101.11605)",
    "halo": "self-attention over blocks with a halo (arXiv:2103.12731)",
    "nl": "non-local attention (arXiv:1711.07971)",
    "bat": "bilinear attention (arXiv:1909.02218)",
}
"""By timm's name, what it is."""
EXPECTED = {
    "bat": {"finite_at_extremes": "it multiplies a map with two of its own: values of 10^4 leave the range of float32"}
}
"""Checks that are expected to fail, and why."""
_OF_THE_SIZE = ("lambda", "bottleneck")
"""Those that must be told the size of the map."""


@zoo.hookimpl
def zoo_register_blocks(register: zoo.Register) -> None:
    """Register them."""
    for name, text in ATTENTIONS.items():
        register(f"timm_{name}", _factory(name, text))


def _factory(name: str, text: str) -> Callable[..., nn.Module]:
    def attention(shape: zoo.Shape, parts: zoo.Parts, *, inner: zoo.BlockChoice = zoo.chosen("plain")) -> nn.Module:
        from timm.layers import create_attn
        from torch import nn

        block, after = parts.block(inner, shape, at="inner")
        options: dict[str, Any] = {"feat_size": tuple(after[1:])} if name in _OF_THE_SIZE else {}
        if name == "bat":  # blocks of which the map has a whole number
            options["block_size"] = max(size for size in range(1, 8) if not after[1] % size and not after[2] % size)
        try:
            gate = create_attn(name, after[0], **options)
            parts.note(gate, f"timm's {name}", after, at="gate")
        except AssertionError as error:
            raise ValueError(f"timm's {name} is not for maps of {after[0]}x{after[1]}x{after[2]} {error}") from error
        return nn.Sequential(OrderedDict(inner=block, gate=gate))

    attention.__doc__ = f"Another block, then timm's {name}: {text}."
    return expected_failures(EXPECTED[name])(attention) if name in EXPECTED else attention
