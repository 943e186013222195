"""What the methods of a lab are given, brought to one form, or refused in one message."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import attrs

from zoo.errors import ZooError
from zoo.spec import Spec
from zoo.spec.length import read_epochs

Kind = TypeVar("Kind")

Duration = float | str
"""Seconds, or a text such as "90s", "30m", "1h30m"."""
Shard = tuple[int, int] | str
"""Which of how many shares: (3, 16) or "3/16"."""

SEEDS_AT_ONCE = 1_000_000
"""How many seeds may be asked for at once: so many can be planned."""
LARGEST_SEED = 2**63 - 1
"""The largest that other programs read from a ledger as a number."""

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?|(\d+)")


def whole(value: object) -> int | None:
    """Return a whole number as an int, NumPy's too; None for what is none, such as True."""
    return operator.index(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def plain(value: Any) -> Any:
    """Return a number as Python's own, wherever it stands in a value of a spec, and all else as it is."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    if isinstance(value, Real) and not isinstance(value, bool | int | float):
        return int(value) if isinstance(value, Integral) else float(value)
    return value


def several(named: Sequence[Any]) -> list[Any]:
    """Return what was named one by one, or in one list: plan("a", "b") and plan(["a", "b"]).

    Raises:
        ZooError: nothing is in the list, which is not to say that all is meant.
    """
    found = [each for name in named for each in (name if isinstance(name, list | tuple | set | frozenset) else [name])]
    if named and not found:
        raise ZooError("expected at least one spec, got an empty list; leave it out to mean all")
    return found


def files(given: str | Path | Iterable[str | Path], what: str) -> list[str | Path]:
    """Return names that were given in a list, or one alone."""
    if isinstance(given, str | Path):
        return [given]
    found = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(each, str | Path) for each in found):
        raise ZooError(f"{what}: expected a name or a list of names, got {given!r}")
    return found


def specs(named: Sequence[Any]) -> list[Any]:
    """Return what stands for specs.

    Raises:
        ZooError: something stands for none, or nothing is in a list.
    """
    found = several(named)
    for name in found:
        if not isinstance(name, str | Path | Mapping | Spec):
            raise ZooError(f"expected the name of a spec, a pattern, a TOML file, a mapping or a spec, got {name!r}")
    return found


def sets(given: object) -> dict[str, Any]:
    """Return values to set by path.

    Raises:
        ZooError: it is no mapping.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ZooError(f"sets: expected values by path, such as {{'training.epochs': 5}}, got {given!r}")
    return {_path(path, "sets"): _value(value, f"sets: {path}") for path, value in given.items()}


def variations(given: object, what: str = "vary") -> dict[str, list[Any]]:
    """Return values to try by path, given as the argument `what`.

    Raises:
        ZooError: it is no mapping, or holds anything but lists of values.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ZooError(f"{what}: expected lists by path, such as {{'activation': ['relu', 'mish']}}, got {given!r}")
    found = {}
    for path, values in given.items():
        if what == "tune" and isinstance(values, Mapping):  # a range
            values = [values]
        listed = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
        path = _path(path, "vary")
        found[path] = [_value(value, f"vary: {path}") for value in values] if listed else []
        if not found[path]:
            raise ZooError(f"{what}: {path}: expected a list of values, such as ['relu', 'mish'], got {values!r}")
    return found


def _path(given: object, what: str) -> str:
    if not isinstance(given, str):
        raise ZooError(f"{what}: expected a path in a spec, such as 'training.epochs', got {given!r}")
    return given


def _value(given: object, what: str) -> Any:
    """Return a value of a spec; whether it fits its place is found where it is set."""
    if not (given is None or isinstance(given, str | Real | Mapping | list | tuple) or attrs.has(type(given))):
        raise ZooError(
            f"{what}: expected the name of a variant, a number, a truth value, a list or a mapping, got {given!r}"
        )
    return plain(given)


def seconds(given: object, what: str) -> float | None:
    """Return a duration in seconds, from a number or a text such as "30m".

    Raises:
        ZooError: it is none, or not above 0.
    """
    if given is None:
        return None
    found = read_duration(given) if isinstance(given, str) else given
    if not isinstance(found, Real) or isinstance(found, bool) or not 0 < float(found) < math.inf:
        raise ZooError(
            f"{what}: expected a number of seconds above 0, or a text such as '30m' or '1h30m', got {given!r}"
        )
    return float(found)


def read_duration(text: str) -> float | None:
    """Return the seconds of a text such as "90s", "30m" or "1h30m"; None where it is none, or 0."""
    match = _DURATION.fullmatch(text.strip())
    units = (3600, 60, 1, 1)
    return sum(float(n or 0) * unit for n, unit in zip(match.groups(), units, strict=True)) or None if match else None


def shard(given: object) -> tuple[int, int] | None:
    """Return which of how many shares, from a pair of numbers or a text such as "3/16".

    Raises:
        ZooError: it is neither.
    """
    if given is None:
        return None
    pair: Sequence[object] = given if isinstance(given, tuple | list) else ()
    if isinstance(given, str) and (match := re.fullmatch(r"(\d+)/(\d+)", given.strip())):
        pair = [int(match[1]), int(match[2])]
    match [whole(number) for number in pair]:
        case [int(number), int(count)]:
            if not 1 <= number <= count:
                raise ZooError(f"shard {number}/{count}: there are shards 1/{count} to {count}/{count}")
            return number, count
    raise ZooError(f"shard: expected which and of how many, such as (3, 16) or '3/16', got {given!r}")


def seeds(given: object) -> list[int]:
    """Return which seeds, from how many, or which.

    Raises:
        ZooError: it is neither, or one is negative or too large, or there are too many.
    """
    numbers: list[int | None] = []
    if (count := whole(given)) is not None:
        if count > SEEDS_AT_ONCE:
            raise ZooError(f"seeds: expected how many, up to {SEEDS_AT_ONCE}, or a list of which, got {given!r}")
        numbers = list(range(count))
    elif isinstance(given, Iterable) and not isinstance(given, str):
        given = list(given)
        numbers = [whole(number) for number in given]
    found = [number for number in numbers if number is not None and number >= 0]
    if not found or len(found) < len(numbers):
        raise ZooError(f"seeds: expected how many, from 1, or numbers from 0, got {given!r}")
    return list(dict.fromkeys(seed(each, "seeds") for each in found))


def seed(given: object, what: str = "seed") -> int:
    """Return which seed.

    Raises:
        ZooError: it is no whole number, negative, or too large.
    """
    found = number(given, what, least=0)
    if found > LARGEST_SEED:
        raise ZooError(f"{what}: the largest is 2**63 - 1, got {given!r}")
    return found


def number(given: object, what: str, *, least: int, most: int | None = None) -> int:
    """Return a whole number.

    Raises:
        ZooError: it is none, too small, or too large.
    """
    found = whole(given)
    if found is None or found < least or (most is not None and found > most):
        to = "" if most is None else f" to {most}"
        raise ZooError(f"{what}: expected a number from {least}{to}, got {given!r}")
    return found


def epochs(given: object) -> float:
    """Return a number of epochs, also with a fraction.

    Raises:
        ZooError: it is none, or not above 0.
    """
    found = read_epochs(given)
    if found is None:
        raise ZooError(f"epochs: expected a number above 0, such as 20 or 9.9, got {given!r}")
    return found


def file(given: object, what: str) -> Path:
    """Return a file's path.

    Raises:
        ZooError: it is none, or empty.
    """
    if not isinstance(given, str | PathLike) or not str(given):
        raise ZooError(f"{what}: expected the name of a file, got {given!r}")
    return Path(given)


def instance(given: Any, kind: type[Kind], what: str, such_as: str) -> Kind:
    """Return an object of a kind.

    Raises:
        ZooError: it is of another.
    """
    if not isinstance(given, kind):
        raise ZooError(f"{what}: expected {such_as}, got {given!r}")
    return given


def axes(given: object) -> None:
    """Refuse what nothing can be drawn on; None stands for new axes.

    Raises:
        ZooError: it is no Axes of matplotlib.
    """
    if given is None:
        return
    from matplotlib.axes import Axes

    instance(given, Axes, "ax", "Axes of matplotlib, as `plt.subplots()` returns them")
