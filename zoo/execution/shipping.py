"""Plugins on the way to another machine: a registry packed as bytes here, and made again there.

Sent are the plugins' packages and single files, and the modules that they import and that are followed
(`zoo.registry.source`), so that a plugin in development trains everywhere what it trains here. zoo itself and the
distributions that plugins import besides must be installed there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import invalidate_caches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs

import zoo
from zoo.data import cache_dir, scratch
from zoo.errors import PluginError
from zoo.registry import ENTRY_POINT_GROUP, Registry
from zoo.registry.registry import BLOCK_VARIABLE
from zoo.registry.source import SAME_FIGURES, installed, plugin_source

MOST_BYTES = 20_000_000
"""A larger distribution is not sent, and must be installed on the other machine."""

Files = tuple[tuple[str, bytes], ...]
"""Paths, relative and with slashes, and what the files hold."""


@attrs.frozen
class Distribution:
    """A distribution that has plugins.

    Attributes:
        name: its own.
        version: as its metadata has it.
        entry_points: the names and values of its plugins.
        files: empty where it is not sent.
        installed: those of its top-level modules of which other distributions' plugins do not follow edits.
    """

    name: str
    version: str
    entry_points: tuple[tuple[str, str], ...]
    files: Files
    installed: tuple[str, ...]


@attrs.frozen
class Shipment:
    """All that a registry is made of.

    Attributes:
        distributions: those that have plugins.
        single_files: for each single-file plugin its file, and the table of vouched edits beside it.
        helpers: what the plugins import that is in no package of theirs, with the tables of vouched edits beside it.
        block: what is left out, the environment's included.
    """

    distributions: tuple[Distribution, ...]
    single_files: tuple[Files, ...]
    helpers: Files
    block: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all files, paths and versions."""
        digest = hashlib.sha256()
        for distribution in self.distributions:
            digest.update(repr(attrs.astuple(distribution, filter=attrs.filters.exclude("files"))).encode())
        for files in (*(distribution.files for distribution in self.distributions), *self.single_files, self.helpers):
            for name, content in files:
                digest.update(f"\0{name}\0{len(content)}\0".encode(errors="surrogateescape") + content)
        return digest.hexdigest()


def pack(registry: Registry) -> Shipment:
    """Return what the registry is made of."""
    arguments: Mapping[str, Any] = registry.arguments
    points = defaultdict(list)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.dist:
            points[point.dist.name, point.dist.version].append(point)
    distributions = []
    for (name, version), found in sorted(points.items(), key=lambda item: item[0]):
        modules = sorted({point.module.partition(".")[0] for point in found})
        named = tuple((point.name, point.value) for point in found)
        put_there = tuple(module for module in modules if _installed_by(name, module))
        distributions.append(Distribution(name, version, named, _files(modules), put_there))
    single_files = dict.fromkeys(file.resolve() for file in arguments["files"])
    from_environment = (name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(","))
    return Shipment(
        tuple(distributions),
        tuple(_present([file, file.with_name(SAME_FIGURES)], file.parent) for file in single_files),
        _helpers(registry),
        (*arguments["block"], *filter(None, from_environment)),
    )


def unpack(shipment: Shipment) -> Registry:
    """Make the registry in this process, from files that are written to the cache folder.

    Plugins that only this machine has are left out. What fails to load is in the registry's failures.

    Raises:
        DataError: the cache folder cannot be written.
    """
    folder = cache_dir() / "plugins" / shipment.digest[:32]
    if not folder.is_dir():
        with scratch(folder.parent) as new:
            complete = new / "complete"
            _write(shipment, complete)
            with suppress(OSError):  # another process was first, which is as good
                complete.rename(folder)
    sys.path.insert(0, str(folder / "packages"))
    invalidate_caches()
    ours = {distribution.name for distribution in shipment.distributions}
    theirs = {point.dist.name for point in entry_points(group=ENTRY_POINT_GROUP) if point.dist}
    os.environ.pop(BLOCK_VARIABLE, None)
    files = [folder / "files" / str(index) / files[0][0] for index, files in enumerate(shipment.single_files)]
    return Registry(block=(*shipment.block, *sorted(theirs - ours)), files=files)


@cache
def zoo_digest() -> str:
    """Return the SHA-256 of zoo's own source, without its plugins."""
    folder = Path(zoo.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _installed_by(distribution: str, module: str) -> bool:
    """Whether a top-level module lies where the distribution is installed; an editable one's lies elsewhere."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return False
    root = Path(spec.origin).parents[spec.submodule_search_locations is not None]
    found = installed(root).get(module)
    return found is not None and found.name == distribution


def _files(modules: Sequence[str]) -> Files:
    """Return the files of top-level modules and packages; none where they are too large or are no files."""
    paths: list[tuple[Path, Path]] = []
    for module in modules:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            return ()
        file = Path(spec.origin)
        if spec.submodule_search_locations is None:
            paths += [(file, file.parent), (file.with_name(SAME_FIGURES), file.parent)]
        else:
            paths += [(below, file.parent.parent) for below in sorted(file.parent.rglob("*"))]
    paths = [(path, root) for path, root in paths if path.is_file() and "__pycache__" not in path.parts]
    if sum(path.stat().st_size for path, _ in paths) > MOST_BYTES:
        return ()
    return tuple((path.relative_to(root).as_posix(), path.read_bytes()) for path, root in paths)


def _helpers(registry: Registry) -> Files:
    found: dict[str, bytes] = {}
    for plugin in registry.plugins.values():
        with suppress(PluginError):  # what uses it is not trained, and says so
            for file, path in plugin_source(plugin).helpers.items():
                found[path] = file.read_bytes()
                table = file.with_name(SAME_FIGURES)
                if table.is_file():
                    found[Path(path).with_name(SAME_FIGURES).as_posix()] = table.read_bytes()
    return tuple(sorted(found.items()))


def _present(paths: list[Path], root: Path) -> Files:
    return tuple((path.relative_to(root).as_posix(), path.read_bytes()) for path in paths if path.is_file())


def _write(shipment: Shipment, folder: Path) -> None:
    packages = folder / "packages"
    packages.mkdir(parents=True)
    for distribution in shipment.distributions:
        if not distribution.files:
            continue
        points = "".join(f"{name} = {value}\n" for name, value in distribution.entry_points)
        metadata = packages / f"{distribution.name.replace('-', '_')}-{distribution.version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution.name}\nVersion: {distribution.version}\n", encoding="utf-8"
        )
        (metadata / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{points}", encoding="utf-8")
        (metadata / "top_level.txt").write_text("\n".join(distribution.installed), encoding="utf-8")
        _write_files(distribution.files, packages)
    _write_files(shipment.helpers, packages)
    for index, files in enumerate(shipment.single_files):
        _write_files(files, folder / "files" / str(index))


def _write_files(files: Files, folder: Path) -> None:
    for name, content in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
