"""What files held when this process loaded them: an edit afterwards changes nothing of what runs here."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType

import attrs

from zoo.errors import PluginError


@attrs.define
class _Look:
    """What was seen of a file when it was last looked at.

    Attributes:
        state: time, size and number of the file.
        spec: of the module that was loaded from it; None where none was. A reload makes another.
        digest: of what the file held; empty where it was not read yet.
    """

    state: tuple[int, ...]
    spec: object
    digest: str = ""


_looks: dict[Path, _Look] = {}


def look(module: ModuleType) -> None:
    """Note a module that was loaded just now, without reading its file."""
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None)
    if isinstance(origin, str) and origin.endswith(".py") and (state := _state(Path(origin))):
        _looks[Path(origin)] = _Look(state, spec)


def file_digest(file: Path, module: str) -> str:
    """Return the SHA-256 of what a file held when its module was loaded; of what it holds, where it was not.

    Raises:
        PluginError: it was edited between two looks, and it cannot be known which of the two contents was loaded.
    """
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if getattr(spec, "origin", None) != str(file):  # a module of that name from elsewhere
        spec = None
    state, seen = _state(file), _looks.get(file)
    if seen is not None and state == seen.state:
        seen.spec = spec
        seen.digest = seen.digest or _read(file)
        return seen.digest
    if seen is None or spec is None:
        _looks[file] = _Look(state, spec, _read(file))
        return _looks[file].digest
    if seen.digest and (spec is seen.spec or _read(file) == seen.digest):
        return seen.digest
    raise PluginError(
        f"{file} was edited after it was loaded, or shortly before, and what runs here may be of either content: begin "
        "anew in a new process (restart the kernel of a notebook)"
    )


def forget() -> None:
    """Forget all looks, as a new process has none."""
    _looks.clear()


def _state(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
