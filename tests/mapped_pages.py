"""What this process holds of mapped files, as Linux tells it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux only")


def held(folder: Path, ending: str) -> int:
    """Return the bytes in memory of the mapped files in a folder whose names end so; at least one is mapped."""
    maps = re.split(r"(?m)^(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text())
    found = [one for one in maps if str(folder.resolve()) in (name := one.partition("\n")[0]) and name.endswith(ending)]
    assert found
    return sum(1024 * int(size) for one in found for size in re.findall(r"(?m)^Rss:\s+(\d+) kB", one))
