"""Where files of a run are kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs

from zoo.spec import canonical_json
from zoo.train.run import RunKey

CHECKPOINT_SUFFIX = ".safetensors"


def checkpoint_file(folder: Path, key: RunKey) -> Path:
    """Return where the checkpoint of a run is kept."""
    digest = hashlib.sha256(canonical_json(attrs.asdict(key)).encode()).hexdigest()
    return folder / f"{digest[:32]}{CHECKPOINT_SUFFIX}"


def kept_file(folder: Path, key: RunKey) -> Path:
    """Return where the final state of a run is kept."""
    return checkpoint_file(folder, key).with_suffix(f".kept{CHECKPOINT_SUFFIX}")
