"""The command that trains a comparison anew."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from zoo.errors import ZooError
from zoo.gallery.effects import Arm, Field, choices, path
from zoo.registry import Registry
from zoo.spec import Spec, paths, unstructure
from zoo.spec.paths import NoChangeError
from zoo.spec.resolve import resolve

_NO_SETTING = (("name",), ("description",), ("reference",), ("data", "dataset"))


def command(field: Field, arm: Arm, registry: Registry) -> str:
    """Return the command that trains an arm and its base as they were; "" where no short one does.

    It was tried: the specs that it makes have the identities of those that were trained.
    """
    try:
        sets = _sets(field.base, registry)
        named = resolve(_name(field.base), registry=registry)
        base = _applied(named, sets, registry)
        found = _variation(field, arm, base, registry) if base.identity == _identity(field.base) else None
    except ZooError:  # a plugin is not there, or the spec is another by now
        return ""
    if found is None or list(field.seeds) != list(range(len(field.seeds))):
        return ""
    where, value = found
    options = [item for name, each in sets.items() for item in ("--set", f"{name}={_toml(each)}")]
    if field.heading.dataset != named.data.dataset:
        options += ["--data", field.heading.dataset]
    words = ["zoo", "benchmark", named.name, *options]
    words += ["--vary", f"{where}={field.base.variant},{value}", "--seeds", str(len(field.seeds))]
    return shlex.join(words)


def _name(base: Arm) -> str:
    """Return the name of what a base is a variation of, or its own."""
    return base.name.partition("[")[0]


def _identity(arm: Arm) -> str:
    return arm.runs[0].key.spec


def _sets(base: Arm, registry: Registry) -> dict[str, Any]:
    """Return what was set in a spec since it was registered, apart from the data set."""
    registered = dict(_leaves(unstructure(resolve(_name(base), registry=registry)), ()))
    trained = dict(_leaves(base.spec, ()))
    return {
        path(place): value
        for place, value in trained.items()
        if place not in _NO_SETTING and place in registered and registered[place] != value
    }


def _leaves(node: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if place in _NO_SETTING:
        return
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _leaves(child, (*place, key))
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from _leaves(child, (*place, index))
    else:
        yield place, node


def _applied(spec: Spec, sets: Mapping[str, Any], registry: Registry) -> Spec:
    for name, value in sets.items():
        try:
            spec = paths.apply(spec, {name: value}, registry)
        except NoChangeError:
            continue
    return spec


def _variation(field: Field, arm: Arm, base: Spec, registry: Registry) -> tuple[str, str] | None:
    """Return a path and a value of it that make the arm of its base."""
    options = {
        key: value
        for place, (kind, chosen) in choices(arm.spec).items()
        if kind == field.kind and place in arm.places
        for key, value in chosen.options.items()
    }
    values: list[Any] = [arm.variant, {"name": arm.variant, **arm.options}, {"name": arm.variant, **options}]
    for where in _paths(field, arm):
        for value in values:
            if _applied(base, {where: value}, registry).identity == _identity(arm):
                return where, _toml(value)
    return None


def _paths(field: Field, arm: Arm) -> list[str]:
    """Return paths that may lead to all places where an arm differs from its base."""
    if len(arm.places) == 1:
        return [path(arm.places[0])]
    blocks = {("*" if isinstance(step, int) else step) for place in arm.places for step in place[1:-1]}
    return [field.kind, *(f"network.{name}.*.{field.kind}" for name in ("features", "classifier") if name in blocks)]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml_value(each)}" for key, each in value.items() if each is not None) + "}"
    return str(value) if isinstance(value, str) else _toml_value(value)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
