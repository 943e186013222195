"""Distributions that exist for one test: folders on sys.path with the metadata that importlib.metadata reads."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest


class Install(Protocol):
    """Installs a distribution: `install("name", {"package/module.py": "..."}, "package")`; returns its folder."""

    def __call__(self, name: str, files: Mapping[str, str], *entry_points: str) -> Path: ...


class Distributions:
    """The distributions of one test, each in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch

    def install(self, name: str, files: Mapping[str, str], *entry_points: str) -> Path:
        """Install a distribution whose entry points in the group "zoo" name the given modules."""
        folder = self.folder / name
        points = "".join(f"{name}{index} = {value}\n" for index, value in enumerate(entry_points))
        metadata = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            "entry_points.txt": f"[zoo]\n{points}",
            "RECORD": "",
        }
        for path, text in {**files, **{f"{name}-1.0.dist-info/{k}": v for k, v in metadata.items()}}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        self.monkeypatch.syspath_prepend(folder)
        return folder

    def forget(self) -> None:
        """Forget the modules that were imported from them."""
        for name, module in list(sys.modules.items()):
            if self.folder in Path(getattr(module, "__file__", None) or "").parents:
                del sys.modules[name]
        importlib.invalidate_caches()
