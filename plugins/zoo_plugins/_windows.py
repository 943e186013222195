"""Where a sliding window goes: shared by filters and poolings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from zoo import NonNegativeInt

if TYPE_CHECKING:
    from zoo import Shape

Padding = Literal["valid", "same"] | NonNegativeInt
"""What filters accept: none, as much as keeps the size (over the stride, rounded up), or that much on each side."""


def extent(size: int, dilation: int = 1) -> int:
    """Return how many places a window spans."""
    return dilation * (size - 1) + 1


def padded_sides(padding: Padding, size: int, dilation: int = 1) -> tuple[int, int]:
    """Return how many zeros go before and after a dimension.

    With "same" a dimension of n becomes ceil(n / stride) for every stride. Where the zeros are odd in number, the
    extra one goes after; unlike TensorFlow's, they do not depend on n and the stride.
    """
    if padding == "valid":
        return 0, 0
    if padding == "same":
        zeros = extent(size, dilation) - 1
        return zeros // 2, zeros - zeros // 2
    return padding, padding


def require_fit(shape: Shape, span: int, sides: tuple[int, int] = (0, 0)) -> None:
    """Check that a square window of `span` places fits a map with that padding.

    Raises:
        ValueError: it does not; names the sizes.
    """
    _, height, width = shape
    if span > min(height, width) + sum(sides):
        padded = f" padded to {height + sum(sides)}x{width + sum(sides)}" if any(sides) else ""
        raise ValueError(f"its window of {span}x{span} is larger than its map of {height}x{width}{padded}")
