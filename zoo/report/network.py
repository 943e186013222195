"""The layers of a network as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zoo.report import markup
from zoo.report.text import quantity

if TYPE_CHECKING:
    from zoo.network.builder import Built

HEADERS = ("layer", "variant", "output", "parameters", "FLOPs")
ALIGN = ("left", "left", "left", "right", "right")


def rows(built: Built) -> list[list[str]]:
    """Return a row for each layer, and one for all of them together."""
    layers = [
        [layer.path, layer.description, sizes(layer.output_shape), quantity(layer.parameters), quantity(layer.flops)]
        for layer in built.layers
    ]
    return [*layers, ["total", "", "", quantity(built.parameters), quantity(built.flops)]]


def render(built: Built, format_: str) -> str:
    """Return the table in a format of tabulate's."""
    return markup.table(rows(built), HEADERS, ALIGN, format_)


def sizes(shape: Iterable[int]) -> str:
    """Write a shape as people do: "3x32x32"."""
    return "x".join(map(str, shape))
