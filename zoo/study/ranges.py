"""The values that a path is tuned over: a list of them, or a range of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from zoo.errors import SpecError

_DIGITS = 3
"""To which values within a range are rounded: settings have names that people can type."""
_MOST = 1e100
"""Of an end of a range; with larger ones cannot be reckoned."""


@attrs.frozen(kw_only=True)
class Range:
    """Numbers from `low` to `high`: whole ones where both are; with `log`, of equal ratios rather than differences."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + " (log)" * self.log

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.low, self.high

    def at(self, share: float) -> float:
        """Return the value that so much of the range lies below."""
        by_ratio, by_difference = (self.high / self.low) ** share if self.log else 1.0, (self.high - self.low) * share
        return self.nearest(self.low * by_ratio if self.log else self.low + by_difference)

    def nearest(self, value: float) -> float:
        """Return a value as it is tried: rounded, within the range."""
        rounded = round(value) if self.is_whole else float(f"{value:.{_DIGITS}g}")
        return min(max(rounded, self.low), self.high)

    def share(self, value: float) -> float:
        """Return how much of the range lies below a value."""
        low, high, at = map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return (at - low) / (high - low)


Values = tuple[Any, ...] | Range
"""What a path is tuned over."""


def read_values(where: str, stated: object) -> Values:
    """Read a list of values, or a table of `low`, `high` and perhaps `log`; on the command line it is in a list alone.

    Raises:
        SpecError: it is neither.
    """
    if isinstance(stated, list | tuple) and len(stated) == 1 and _is_range(stated[0]):
        stated = stated[0]
    if _is_range(stated):
        return _range(where, stated)
    if not isinstance(stated, list | tuple) or not stated:
        raise SpecError(f"{where}: expected a list of values, such as [0.01, 0.1], or a range, such as "
                        f"{{ low = 0.001, high = 0.1, log = true }}, got {stated!r}")  # fmt: skip
    twice = [value for position, value in enumerate(stated) if value in stated[:position]]
    if twice:
        raise SpecError(f"{where}: {twice[0]!r} is there twice")
    return tuple(stated)


def _is_range(stated: object) -> bool:
    return isinstance(stated, Mapping) and bool({"low", "high"} & set(stated))


def _range(where: str, stated: Any) -> Range:
    unknown = sorted(set(stated) - {"low", "high", "log"})
    if unknown:
        raise SpecError(f"{where}: unknown key {unknown[0]!r}; a range has low, high and log")
    low, high, log = stated.get("low"), stated.get("high"), stated.get("log", False)
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST:
            raise SpecError(f"{where}.{name}: expected a number, got {value!r}")
    if not isinstance(log, bool):
        raise SpecError(f"{where}.log: expected true or false, got {log!r}")
    if low >= high:
        raise SpecError(f"{where}: low is to be less than high, got {low!r} and {high!r}")
    if log and low <= 0:
        raise SpecError(f"{where}: ratios are of positive numbers, and low is {low!r}; leave log out, or raise low")
    return Range(low=low, high=high, log=log)


def count(values: Sequence[Values]) -> float:
    """Return how many combinations of values there are; infinite where a range of numbers is among them."""
    return math.prod(math.inf if isinstance(each, Range) else len(each) for each in values)
