from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def garbage_stays() -> Iterator[None]:
    """Keep statsmodels from collecting garbage at each Holm correction; with all that pytest has loaded, it is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda: 0)
        yield
