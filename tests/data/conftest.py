from __future__ import annotations

from pathlib import Path

import pytest
from data_fakes import FakeSource

from zoo.registry import Registry


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry()


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache of its own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ZOO_CACHE", str(folder))
    return folder


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    """A source in memory, which `load` finds under every name."""
    source = FakeSource()
    monkeypatch.setattr("zoo.data.dataset.source", lambda name, registry: source)
    return source
