"""Processes that work on ledgers, killed at random moments: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes that it kills")

KILLER = Path(__file__).with_name("ledger_killer.py")
KILLS = int(os.environ.get("ZOO_KILLS", "10"))
"""How many of each kind."""


@pytest.mark.parametrize("what", ["claims", "merge", "upgrade"])
def test_killed_at_random_moments(tmp_path: Path, what: str) -> None:
    done = subprocess.run(
        [sys.executable, str(KILLER), what, str(tmp_path), str(KILLS), "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["killed"] >= KILLS
    assert counts["lost"] == 0
    assert counts.get("doubled", 0) == 0
    assert counts.get("partly", 0) == 0
