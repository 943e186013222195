"""Digests of the source of what a run used, so that editing a variant invalidates its runs and no others."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import tomllib
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import PluginError
from zoo.registry.registry import SINGLE_FILE, Plugin, Registry

if TYPE_CHECKING:
    from zoo.spec import Spec

SAME_FIGURES = "same_figures.toml"
"""The file of a package that lets edits which change no figure, such as of a comment, keep the runs from before."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


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
    """Return the SHA-256 of a file, or that of an earlier content that its package vouches gives the same figures."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return bytes.fromhex(_same_figures(file.parent).get(digest, digest))


@cache
def _same_figures(folder: Path) -> dict[str, str]:
    """Return, for the digests of contents that gave the figures of an earlier one, the digest of that.

    Raises:
        PluginError: the folder has a table that says so and that cannot be read.
    """
    table = folder / SAME_FIGURES
    try:
        vouched = tomllib.loads(table.read_text(encoding="utf-8"))
        found = {later: earlier for files in vouched.values() for later, earlier in files.items()}
        if all(_DIGEST.fullmatch(digest) for pair in found.items() for digest in pair):
            return found
        reason = "it takes tables of SHA-256 digests, each with the earlier one whose figures are the same"
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        reason = str(error)
    raise PluginError(f"{table} cannot be used: {reason}")
