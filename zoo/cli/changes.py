"""The texts after --set and --vary as values by path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from zoo.errors import SpecError
from zoo.spec.changes import joined
from zoo.spec.paths import parse_set, parse_values


def read_sets(sets: Iterable[str], *, data: str | None = None, epochs: int | None = None) -> dict[str, Any]:
    """Return the values by path that --set, --data and --epochs state.

    Raises:
        SpecError: a text is no path and value, or a path is set twice.
    """
    return joined((parse_set(text) for text in sets), epochs=epochs, data=data)


def read_variations(variations: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values to try by path that --vary states.

    Raises:
        SpecError: a text is no path and values, or a path is given twice.
    """
    values: dict[str, list[Any]] = {}
    for text in variations:
        path, equals, items = text.partition("=")
        path = path.strip()
        if not equals or not path or not items:
            raise SpecError(
                f"expected path=a,b,... after --vary, got {text!r}; for example --vary activation=relu,mish"
            )
        if path in values:
            raise SpecError(f"{path} is varied twice; write all of its values after one --vary")
        values[path] = parse_values(items)
    return values
