"""Changes that the command line makes to specs: --epochs, --data, --set and --vary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from zoo.errors import SpecError
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.spec.paths import NoChangeError, apply, parse_set, parse_values
from zoo.spec.resolve import change_label, changed_name, vary

_IN_TITLE = ("training.epochs", "data.dataset", "data.resize", "data.validation")
"""What the title of a table says, so that a spec's name need not."""


def overridden(
    specs: Iterable[Spec], registry: Registry, *, sets: Sequence[str], data: str | None, epochs: int | None = None
) -> list[Spec]:
    """Return the specs with the values set; a spec that has a value already keeps it.

    Raises:
        SpecError: a value or a path is not valid, or a path is set twice.
    """
    overrides = read_overrides(sets=sets, data=data, epochs=epochs)
    return [_overridden(spec, overrides, registry) for spec in specs]


def read_overrides(*, sets: Sequence[str], data: str | None, epochs: int | None) -> dict[str, Any]:
    """Return the values by path that --set, --data and --epochs state.

    Raises:
        SpecError: a text is no path and value, or a path is set twice.
    """
    overrides: dict[str, Any] = {}
    if epochs is not None:
        overrides["training.epochs"] = epochs
    if data is not None:
        overrides["data.dataset"] = data
    for text in sets:
        path, value = parse_set(text)
        if path in overrides:
            raise SpecError(f"{path} is set twice on the command line")
        overrides[path] = value
    return overrides


def _overridden(spec: Spec, overrides: dict[str, Any], registry: Registry) -> Spec:
    """Return the spec with the values set; what --set changed stands in its name, and leaves it without a reference."""
    changes = []
    for path, value in overrides.items():
        try:
            spec = apply(spec, {path: value}, registry)
        except NoChangeError:
            continue
        if path not in _IN_TITLE:
            changes.append(change_label(path, value))
    return attrs.evolve(spec, name=changed_name(spec.name, changes), reference=None if changes else spec.reference)


def varied(specs: Sequence[Spec], registry: Registry, *, variations: Sequence[str], sets: Sequence[str]) -> list[Spec]:
    """Return every spec with every combination of the values after --vary.

    Raises:
        SpecError: a value or a path is not valid, or a path is given twice.
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
        if path in (parse_set(set_)[0] for set_ in sets):
            raise SpecError(f"{path} is both set and varied; say --set or --vary")
        values[path] = parse_values(items)
    return vary(specs, values, registry=registry) if values else list(specs)
