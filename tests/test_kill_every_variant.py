"""Every registered variant, killed at random moments with a checkpoint after each epoch: the figures of no kill.

`ZOO_KILLS=500 pytest -n 0 -s tests/test_kill_every_variant.py` kills so often in all, and prints what became of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.registry.hookspecs import KINDS

KILLER = Path(__file__).with_name("variant_killer.py")
KILLED = [kind for kind, each in KINDS.items() if each.in_specs and kind != "dataset"]
"""Each is also the path at which a spec chooses a variant of it."""
KILLS = int(os.environ.get("ZOO_KILLS", "0"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes that it kills")
@pytest.mark.parametrize("kind", KILLED if KILLS else ["pooling"])
def test_killed_it_ends_as_if_undisturbed(kind: str, tmp_path: Path) -> None:
    kills = -(-KILLS // len(KILLED)) or 4
    done = subprocess.run(
        [sys.executable, str(KILLER), kind, str(tmp_path), str(kills), "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    print(kind, done.stdout)
    assert counts["variants"] > 1
    assert counts["killed"] >= kills
    assert counts["different"] == []
