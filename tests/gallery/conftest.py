from __future__ import annotations

from pathlib import Path

import pytest
from small_gallery import few, trained

from zoo.registry import Registry


@pytest.fixture(scope="session")
def small_registry(environment: None) -> Registry:
    return few()


@pytest.fixture(scope="session")
def runs_of_three(small_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("gallery"), small_registry)
