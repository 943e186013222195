"""From a name, a pattern or a file to resolved specs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import attrs

from zoo.errors import SpecError, UnknownNameError, ZooError, near_misses
from zoo.registry import Registry, default_registry
from zoo.spec import Spec, check_keys, paths, read_toml, structure, unstructure

Named = str | Path | Mapping[str, Any] | Spec
"""What stands for a spec: a registered name, a TOML file (a path, or a text ending in .toml), a mapping, or itself."""


def resolve(spec: Named, *, registry: Registry | None = None) -> Spec:
    """Return the resolved spec for what stands for it.

    Raises:
        SpecError: it is not valid; the message names each wrong value by its path.
        UnknownNameError: nothing is registered under that name.
    """
    registry = registry or default_registry()
    if isinstance(spec, Spec):
        return spec
    if isinstance(spec, Mapping):
        return _resolve("(unnamed)", spec, registry, (), Path())
    if not isinstance(spec, str | Path):
        raise SpecError(f"expected the name of a spec, a TOML file, a mapping or a spec, got {spec!r}")
    if isinstance(spec, Path) or spec.endswith(".toml"):
        return _from_file(Path(spec), registry, ())
    return _registered(spec, registry, ())


def select(patterns: Iterable[Named], *, registry: Registry) -> tuple[list[Spec], list[str]]:
    """Return the specs that are named, some by patterns (`eq2425/*`), each once, in the order registered.

    A spec that only a wildcard names and that is not valid (it needs a plugin that failed, say) is left out; the
    second list has a line for each.

    Raises:
        UnknownNameError: a pattern matches nothing.
        SpecError: a spec that was named itself is not valid, or two specs have one name.
    """
    chosen: dict[str, Spec] = {}
    broken: list[str] = []
    for pattern in patterns:
        if not isinstance(pattern, str) or not _is_wildcard(pattern) or pattern.endswith(".toml"):
            spec = resolve(pattern, registry=registry)
            if chosen.setdefault(spec.name, spec) != spec:
                what = pattern if isinstance(pattern, str | Path) else spec.name
                raise SpecError(f"{what}: another spec is called {spec.name!r} too; rename one of the two files")
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


def vary(specs: Iterable[Spec], variations: Mapping[str, Sequence[Any]], *, registry: Registry) -> list[Spec]:
    """Return every spec with every combination of the values given for each path, each combination once.

    The values are tried one after another on each spec. One that the spec has already leaves it as it is, with its
    reference.

    Raises:
        SpecError: a path matches nothing, or a value is not valid.
    """
    varied_specs: dict[str, Spec] = {}
    for spec in specs:
        for values in product(*variations.values()):
            varied = spec
            labels = []
            for path, value in zip(variations, values, strict=True):
                labels.append(change_label(path, value))
                try:
                    varied = paths.apply(varied, {path: value}, registry)
                except paths.NoChangeError:
                    continue
            name = changed_name(spec.name, labels)
            varied_specs[name] = attrs.evolve(varied, name=name, reference=spec.reference if varied == spec else None)
    return list(varied_specs.values())


def change_label(path: str, value: Any) -> str:
    """Write one change: "activation=mish", "dropout=dropout(rate=0.3)"."""
    if isinstance(value, Mapping):
        options = ",".join(f"{k}={v}" for k, v in value.items() if k != "name")
        value = f"{value.get('name', '')}({options})"
    return f"{path}={value}"


def changed_name(name: str, changes: list[str]) -> str:
    """Return the name of a spec with changes made to it: "starter/default[activation=mish, filter.size=5]"."""
    if not changes:
        return name
    before = f"{name[:-1]}, " if name.endswith("]") else f"{name}["
    return f"{before}{', '.join(changes)}]"


def _registered(name: str, registry: Registry, below: tuple[str, ...]) -> Spec:
    if name in below:
        raise SpecError(f"spec {name!r} is its own base: {' -> '.join((*below, name))}")
    source = registry.spec(name).source
    tree = read_toml(source) if isinstance(source, Path) else source
    folder = source.parent if isinstance(source, Path) else Path()
    return _resolve(name, tree, registry, (*below, name), folder)


def _from_file(file: Path, registry: Registry, below: tuple[str, ...]) -> Spec:
    name = str(file.resolve())
    if name in below:
        raise SpecError(f"spec {file} is its own base: {' -> '.join((*below, name))}")
    return _resolve(file.stem, read_toml(file), registry, (*below, name), file.parent)


def _resolve(name: str, tree: Mapping[str, Any], registry: Registry, below: tuple[str, ...], folder: Path) -> Spec:
    """Resolve plain data; a base that is a file is looked up in `folder`."""
    check_keys(tree, name)
    if "base" not in tree:
        return _of_itself(structure(tree, name, registry))
    base, sets = tree["base"], tree.get("set", {})
    if not isinstance(base, str):
        raise SpecError(f"spec {name!r}: base: expected the name of a registered spec or a TOML file, got {base!r}")
    if not isinstance(sets, Mapping):
        raise SpecError(f"spec {name!r}: set: expected a table of paths and values, got {sets!r}")
    spec = attrs.evolve(_base(name, base, registry, below, folder), name=name, reference=None)
    spec = paths.apply(spec, sets, registry)
    own = {key: tree[key] for key in ("description", "reference") if key in tree}
    return _of_itself(structure({**unstructure(spec), **own}, name, registry))


def _base(name: str, base: str, registry: Registry, below: tuple[str, ...], folder: Path) -> Spec:
    if base.endswith(".toml"):
        return _from_file(folder / base, registry, below)
    try:
        registry.spec(base)
    except UnknownNameError as error:
        raise UnknownNameError(f"spec {name!r}: base: {error}") from None
    return _registered(base, registry, below)


def _of_itself(spec: Spec) -> Spec:
    """Let a reference say what it is of, before epochs or data set are changed by who trains the spec."""
    if spec.reference is None:
        return spec
    epochs, dataset = spec.reference.epochs or spec.training.epochs, spec.reference.dataset or spec.data.dataset
    return attrs.evolve(spec, reference=attrs.evolve(spec.reference, epochs=epochs, dataset=dataset))
