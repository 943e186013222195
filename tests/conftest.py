from __future__ import annotations

import os

# Before torch is imported: one thread gives the same figures everywhere, and lets tests run side by side.
os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributions import Distributions, Install
from hypothesis import settings

from zoo.registry import Registry
from zoo.settings import KEYS

# The same examples each time: a test suite that fails now and then says nothing. HYPOTHESIS_SEARCH looks for new ones.
settings.register_profile("zoo", deadline=None, derandomize="HYPOTHESIS_SEARCH" not in os.environ)
settings.load_profile("zoo")


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache and settings out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("zoo-cache")))
        for name in ("ZOO_PROJECT", *(key.variable for key in KEYS)):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def registry() -> Registry:
    """All installed plugins."""
    return Registry().require_sound()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install distributions for one test."""
    distributions = Distributions(tmp_path / "site", monkeypatch)
    yield distributions.install
    distributions.forget()
