"""From a name, a pattern or a file to resolved specs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import attrs

from zoo import paths
from zoo.errors import SpecError, UnknownNameError, ZooError, near_misses
from zoo.registry import Registry, default_registry
from zoo.spec import Spec, check_keys, read_toml, structure, unstructure


def resolve(spec: str | Path | Mapping[str, Any] | Spec, *, registry: Registry | None = None) -> Spec:
    """Return the resolved spec for a registered name, a TOML file (a path, or a text ending in .toml) or a mapping.

    Raises:
        SpecError: it is not valid; the message names each wrong value by its path.
        UnknownNameError: nothing is registered under that name.
    """
    registry = registry or default_registry()
    if isinstance(spec, Spec):
        return spec
    if isinstance(spec, Mapping):
        return _resolve("(unnamed)", spec, registry, ())
    if isinstance(spec, Path) or spec.endswith(".toml"):
        return _resolve(Path(spec).stem, read_toml(Path(spec)), registry, ())
    return _registered(spec, registry, ())


def select(patterns: Iterable[str], *, registry: Registry) -> tuple[list[Spec], list[str]]:
    """Return the specs that the patterns (`eq2425/*`, names, TOML files) name, each once, in the order registered.

    A spec that only a wildcard names and that is not valid (it needs a plugin that failed, say) is left out; the
    second list has a line for each.

    Raises:
        UnknownNameError: a pattern matches nothing.
        SpecError: a spec that was named itself is not valid.
    """
    chosen: dict[str, Spec] = {}
    broken: list[str] = []
    for pattern in patterns:
        if not _is_wildcard(pattern) or pattern.endswith(".toml"):
            spec = resolve(pattern, registry=registry)
            chosen.setdefault(spec.name, spec)
            continue
        names = [name for name in registry.specs if fnmatchcase(name, pattern)]
        if not names:
            raise UnknownNameError(
                f"no spec matches {pattern!r}{near_misses(pattern, registry.specs)} "
                f"`zoo list --kind spec` shows all {len(registry.specs)}."
            )
        for name in names:
            try:
                chosen.setdefault(name, resolve(name, registry=registry))
            except ZooError as error:
                broken.append(f"Left out: {name}: {error}")
    return list(chosen.values()), broken


def _is_wildcard(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")


def vary(specs: Iterable[Spec], variations: Mapping[str, list[Any]], *, registry: Registry) -> list[Spec]:
    """Return every spec with every combination of the varied values, the spec's own among them."""
    result = []
    for spec in specs:
        for values in product(*variations.values()):
            varied = spec
            labels = []
            for path, value in zip(variations, values, strict=True):
                labels.append(f"{path}={_label(value)}")
                try:
                    varied = paths.apply(varied, {path: value}, registry)
                except paths.NoChangeError:
                    continue
            name = f"{spec.name}[{', '.join(labels)}]" if labels else spec.name
            result.append(attrs.evolve(varied, name=name, reference=varied.reference if varied == spec else None))
    return result


def _label(value: Any) -> str:
    if isinstance(value, Mapping):
        options = ",".join(f"{k}={v}" for k, v in value.items() if k != "name")
        return f"{value.get('name', '')}({options})"
    return str(value)


def _registered(name: str, registry: Registry, below: tuple[str, ...]) -> Spec:
    if name in below:
        raise SpecError(f"spec {name!r} is its own base: {' -> '.join((*below, name))}")
    source = registry.spec(name).source
    tree = read_toml(source) if isinstance(source, Path) else source
    return _resolve(name, tree, registry, (*below, name))


def _resolve(name: str, tree: Mapping[str, Any], registry: Registry, below: tuple[str, ...]) -> Spec:
    check_keys(tree, name)
    if "base" not in tree:
        return structure(tree, name, registry)
    base = _registered(tree["base"], registry, below)
    spec = attrs.evolve(base, name=name, description=tree.get("description", base.description), reference=None)
    spec = paths.apply(spec, tree.get("set", {}), registry)
    if "reference" in tree:
        spec = structure({**unstructure(spec), "reference": tree["reference"]}, name, registry)
    return spec
