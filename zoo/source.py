"""Digests of the source of what a run used, so that editing a variant invalidates its runs and no others."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from zoo.errors import PluginError
from zoo.registry import SINGLE_FILE, Plugin, Registry
from zoo.spec import Spec


def source_digest(spec: Spec, registry: Registry) -> str:
    """Return the SHA-256 over the source of every variant that the spec uses.

    Data sets are left out: their content has a digest of its own.
    """
    plugins = {registry.variant(choice.kind, choice.name).plugin for choice in spec.choices()}
    files = frozenset[Path]().union(*(source_files(plugin) for plugin in plugins))
    digest = hashlib.sha256()
    for content in sorted(_content_digest(file) for file in files):
        digest.update(content)
    return digest.hexdigest()


@cache
def source_files(plugin: Plugin) -> frozenset[Path]:
    """Return the file of a plugin and those of its own package that it imports, directly or not.

    Raises:
        PluginError: one of them is not valid Python.
    """
    if plugin.distribution == SINGLE_FILE:
        # It has no package, though its name may be that of one.
        return frozenset({Path(plugin.file)})
    module = plugin.name.partition(":")[0]
    package = module.partition(".")[0]
    found: set[Path] = set()
    waiting = [(Path(plugin.file), module)]
    while waiting:
        file, name = waiting.pop()
        if file not in found:
            found.add(file)
            inside = (imported for imported in _imports(file, name) if imported.partition(".")[0] == package)
            waiting += [place for imported in inside for place in _locate(imported)]
    return frozenset(found)


def _imports(file: Path, name: str) -> set[str]:
    """Return the modules that a file may import, inside functions too; names imported from a package included."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise PluginError(f"{file} is not valid Python: line {error.lineno}: {error.msg}") from error
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # it leads out of the package and fails when it is run
                continue
            imported |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return imported


def _locate(module: str) -> list[tuple[Path, str]]:
    """Find a module's file without importing the modules above it, as `find_spec` would: they may import torch."""
    name, *steps = module.split(".")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    for step in steps:
        if spec is None or spec.submodule_search_locations is None:
            return []
        name = f"{name}.{step}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return []
    return [(Path(spec.origin), module)]


@cache
def _content_digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()
