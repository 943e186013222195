"""Digests of the source of what a run used, so that editing a variant invalidates its runs and no others."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
import sysconfig
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from zoo.errors import PluginError
from zoo.registry.loaded import file_digest
from zoo.registry.registry import SINGLE_FILE, Plugin, Registry

if TYPE_CHECKING:
    from zoo.spec import Spec

SAME_FIGURES = "same_figures.toml"
"""The file of a package that lets edits which change no figure, such as of a comment, keep the runs from before."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ZOO = ("zoo", "zoo_plugins")
"""The packages of zoo, whose version is stored with each run."""
_IMPORTING_BY_NAME = ("import_module", "__import__")
_IMPORTING = (*_IMPORTING_BY_NAME, "spec_from_file_location", "run_path", "run_module")


def plugins_used(spec: Spec, registry: Registry) -> list[Plugin]:
    """Return the plugins whose code decides what a spec trains, each once.

    They are those of its variants, and those that say which layers are of which kind, where that is asked.
    """
    initializer = spec.network.initializer
    asked = spec.replaces or spec.names_roles or "role" in registry.variant("initializer", initializer.name).given
    chosen = [registry.variant(choice.kind, choice.name).plugin for choice in spec.choices()]
    return list(dict.fromkeys([*chosen, *(registry.layer_kind_plugins if asked else ())]))


def source_digest(spec: Spec, registry: Registry) -> str:
    """Return the SHA-256 over the source of every variant that the spec uses.

    Data sets are left out: their content has a digest of its own.
    """
    plugins = plugins_used(spec, registry)
    found: dict[Path, bytes] = {}
    for plugin in plugins:
        found |= _digests(plugin)
    for plugin in plugins:  # its own file last: as it was loaded, also where others import it
        if plugin.content is not None:
            found[Path(plugin.file)] = _vouched(Path(plugin.file), hashlib.sha256(plugin.content).hexdigest())
    digest = hashlib.sha256()
    for content in sorted(found.values()):
        digest.update(content)
    return digest.hexdigest()


def library_versions(spec: Spec, registry: Registry) -> dict[str, str]:
    """Return the versions of the installed distributions that the variants of a spec import, without zoo's own."""
    sources = [plugin_source(plugin) for plugin in plugins_used(spec, registry)]
    return {name: version for source in sources for name, version in source.libraries.items()}


def _digests(plugin: Plugin) -> dict[Path, bytes]:
    """Return the digests of a plugin's files; its imports are followed anew where one of them was edited meanwhile."""
    for _ in range(2):
        source = plugin_source(plugin)
        own = {Path(plugin.file)} if plugin.content is not None else set()
        now = {file: file_digest(file, module) for file, module in source.modules.items() if file not in own}
        if all(_followed.setdefault((plugin, file), digest) == digest for file, digest in now.items()):
            break
        for file, digest in now.items():
            _followed[plugin, file] = digest
        plugin_source.cache_clear()
    return {file: _vouched(file, digest) for file, digest in now.items()}


_followed: dict[tuple[Plugin, Path], str] = {}
"""What the files held whose imports were followed."""


@attrs.frozen
class Source:
    """What a plugin is made of, as far as an edit of it is noticed.

    Attributes:
        modules: the plugin's own file and those that it imports, directly or not, each with the name of its module.
        helpers: those of the files that are not in the plugin's own package, each with its path below the folder that
            it is imported from.
        libraries: the installed distributions that are imported and not followed, with their versions; zoo is left out.
        unseen: what is imported and not followed, in words; the standard library and zoo are left out.
    """

    modules: Mapping[Path, str]
    helpers: Mapping[Path, str]
    libraries: Mapping[str, str]
    unseen: tuple[str, ...]

    @property
    def files(self) -> frozenset[Path]:
        """The files without the names of their modules."""
        return frozenset(self.modules)


def source_files(plugin: Plugin) -> frozenset[Path]:
    """Return the file of a plugin and those that it imports, directly or not, see `plugin_source`.

    Raises:
        PluginError: one of them is not valid Python.
    """
    return plugin_source(plugin).files


@cache
def plugin_source(plugin: Plugin) -> Source:
    """Follow the imports of a plugin's file.

    Followed is all that may be edited in place: the plugin's own package and distribution, and modules that belong to
    no installed distribution or to one that was installed as editable. The standard library, zoo and installed
    distributions are not followed, nor is what is imported under a name that is computed.

    Raises:
        PluginError: one of the files is not valid Python.
    """
    # A single file has no package, though its name may be that of one.
    name = "" if plugin.distribution == SINGLE_FILE else plugin.name.partition(":")[0]
    package = name.partition(".")[0]
    files: dict[Path, str] = {}
    helpers: dict[Path, str] = {}
    libraries: dict[str, str] = {}
    unseen: set[str] = set()
    waiting = [(Path(plugin.file), name)]
    while waiting:
        file, name = waiting.pop()
        if file in files:
            continue
        files[file] = name
        own = plugin.content if file == Path(plugin.file) else None
        imported, untold = _imports(file, name, file.read_bytes() if own is None else own)
        unseen |= untold
        for wanted in imported:
            top = wanted.partition(".")[0]
            if package and top == package:
                waiting += [(place, wanted) for place in _source_of(_locate(wanted))]
            elif top not in _ZOO:
                found, library, why_not = _helpers(wanted, plugin)
                helpers |= {place: path for _, place, path in found}
                waiting += [(place, module) for module, place, _ in found]
                libraries |= library
                unseen |= {why_not} - {""}
    helpers.pop(Path(plugin.file), None)
    return Source(files, dict(sorted(helpers.items())), libraries, tuple(sorted(unseen)))


def _helpers(wanted: str, plugin: Plugin) -> tuple[list[tuple[str, Path, str]], dict[str, str], str]:
    """Return the modules that importing one outside the plugin's package runs, packages above it included.

    Each with its file and its path below where it is imported from. The second is the version of the installed
    distribution that is not followed, by its name; the third in words what is not.
    """
    steps = wanted.split(".")
    beside = Path(plugin.file).parent if plugin.distribution == SINGLE_FILE else None
    found: list[tuple[str, Path, str]] = []
    for depth in range(1, len(steps) + 1):
        module = ".".join(steps[:depth])
        spec = _locate(module, beside)
        if spec is None:
            absent = depth == 1 and module not in sys.stdlib_module_names
            return found, {}, f"{module} (not found)" if absent else ""
        if spec.origin is None:  # a folder that is a package without a file of its own
            continue
        file = Path(spec.origin)
        root = file.parents[min(depth - (file.stem != "__init__"), len(file.parents) - 1)]
        standard = _standard_library() in (root, root.parent) or not spec.has_location
        if steps[0] in sys.stdlib_module_names and standard:
            return found, {}, ""
        distribution = installed(root).get(steps[0])
        if distribution is not None and distribution.name != plugin.distribution:
            of = "" if distribution.name == steps[0] else f" ({distribution.name})"
            return found, {distribution.name: distribution.version}, f"{steps[0]}{of}"
        if not _source_of(spec):
            return found, {}, f"{module} (no Python source)"
        found.append((module, file, file.relative_to(root).as_posix()))
    return found, {}, ""


def _imports(file: Path, name: str, content: bytes) -> tuple[set[str], set[str]]:
    """Return the modules that a file may import, inside functions too, and in words the imports that cannot be told.

    Names imported from a package are among the modules.
    """
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    try:
        tree = ast.parse(content)
    except SyntaxError as error:
        raise PluginError(f"{file} is not valid Python: line {error.lineno}: {error.msg}") from error
    imported: set[str] = set()
    untold: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            imported |= {base, *(f"{base}.{alias.name}" for alias in node.names)} if base else set()
        elif isinstance(node, ast.Call) and _called(node) in _IMPORTING:
            match node.args:
                case [ast.Constant(value=str(module)), *_] if _called(node) in _IMPORTING_BY_NAME:
                    imported |= {_absolute(module, package)} - {""}
                case _:
                    untold.add(f"what line {node.lineno} of {file.name} imports by {_called(node)}")
    return imported, untold


def _called(node: ast.Call) -> str:
    """Return the last word of the name of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _absolute(module: str, package: str) -> str:
    """Return a module's absolute name; empty where it leads out of the package, which fails when it is run."""
    try:
        return importlib.util.resolve_name(module, package)
    except ImportError:
        return ""


def _locate(module: str, beside: Path | None = None) -> ModuleSpec | None:
    """Find a module without importing the modules above it, as `find_spec` would: they may import torch.

    Args:
        module: its absolute name.
        beside: where to look last, for a single file that puts its folder on the path only when it is used.
    """
    name, *steps = module.split(".")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None and beside is not None:
        spec = PathFinder.find_spec(name, [str(beside)])
    for step in steps:
        if spec is None or spec.submodule_search_locations is None:
            return None
        # By its last word alone: of a nested folder without a file of its own, the parent would have to be imported.
        spec = PathFinder.find_spec(step, [*spec.submodule_search_locations])
    return spec


def _source_of(spec: ModuleSpec | None) -> list[Path]:
    """Return the file of a module, if it is Python source."""
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return []
    return [file for file in [Path(spec.origin)] if file.is_file()]


@cache
def _standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


@cache
def installed(folder: Path) -> Mapping[str, Distribution]:
    """Return the distributions that are installed in a folder, by the modules and packages that they put there."""
    found: dict[str, Distribution] = {}
    for distribution in distributions(path=[str(folder)]):
        if distribution.read_text("SOURCES.txt") is not None:
            continue  # an editable installation leaves it beside the source
        tops = (distribution.read_text("top_level.txt") or "").split()
        # Not `distribution.files`, which takes half a second for what torch brings.
        record = "" if tops else distribution.read_text("RECORD") or ""
        tops += {line.partition(",")[0].partition("/")[0].removesuffix(".py") for line in record.splitlines()}
        found |= dict.fromkeys(tops, distribution)
    return found


def _vouched(file: Path, digest: str) -> bytes:
    """Return the digest of a content, or that of an earlier one that its package vouches gives the same figures."""
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
