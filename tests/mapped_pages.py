"""What this process holds of mapped files, as Linux tells it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux only")


def held(ending: str) -> int:
    """Return the bytes in memory of the mapped files whose names end so; at least one is mapped."""
    maps = re.split(r"(?m)^(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text())
    found = [one for one in maps if one.partition("\n")[0].endswith(ending)]
    assert found
    return sum(1024 * int(size) for one in found for size in re.findall(r"(?m)^Rss:\s+(\d+) kB", one))
