"""Starting weights that a spec names: where their file is, and what it holds."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from zoo.errors import SpecError, near_misses
from zoo.registry import Registry
from zoo.registry.hookspecs import PublishedWeights
from zoo.spec.fields import FROM_FILE, Weights


def own_file(weights: Weights) -> Path | None:
    """Return the file that `file:PATH` names; None where the weights are published ones."""
    return Path(weights.source.removeprefix(FROM_FILE)) if weights.source.startswith(FROM_FILE) else None


def published(weights: Weights, architecture: str, registry: Registry) -> PublishedWeights:
    """Return where published weights are.

    Raises:
        SpecError: the architecture has none of this name.
        PluginError: its plugin cannot tell.
    """
    known = registry.published_weights(architecture)
    if weights.source not in known:
        raise SpecError(
            f"{architecture} has no weights {weights.source!r}{near_misses(weights.source, known)} It has "
            f"{', '.join(known) or 'none'}; file:PATH starts from a safetensors file"
        )
    return known[weights.source]


def digest_at_hand(weights: Weights, architecture: str, registry: Registry) -> str | None:
    """Return the SHA-256 of the content of the weights' file; None where it is not there.

    Raises:
        SpecError: the architecture has no weights of this name.
        PluginError: its plugin cannot tell.
    """
    file = own_file(weights) or published(weights, architecture, registry).file
    return content_digest(file) if file.is_file() else None


def content_digest(file: Path) -> str:
    """Return the SHA-256 of what a file holds; a file that looks as it did before is not read again.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        status = file.stat()
        return _digest(file.resolve(), status.st_size, status.st_mtime_ns, status.st_ino)
    except OSError as error:
        raise SpecError(f"{file} cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _digest(file: Path, *_: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
