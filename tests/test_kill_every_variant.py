"""Every registered variant, killed at random moments with a checkpoint after each epoch: the figures of no kill.

`ZOO_KILLS=500 pytest -n 0 -s tests/test_kill_every_variant.py` kills so often in all, and prints what became of it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from test_kill import PATIENCE, processes_of, query

from zoo.errors import ZooError
from zoo.ledger import Ledger
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.registry.hookspecs import KINDS as REGISTERED
from zoo.spec.changes import overridden
from zoo.spec.resolve import resolve

KILLS = int(os.environ.get("ZOO_KILLS", "0"))
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="kills groups of processes"),
    pytest.mark.skipif(not KILLS, reason="takes minutes; set ZOO_KILLS to how many kills"),
]
KINDS = [kind for kind, each in REGISTERED.items() if each.in_specs and kind != "dataset"]
"""Each is also the path at which a spec chooses a variant of it."""
BASE = {"architecture": "small/resnet"}
LARGE = "torchvision's"
"""The first word about networks of which a step takes seconds."""


def trained(registry: Registry, kind: str) -> list[str]:
    """Return the variants of the kind that fit the digits with their own options."""
    base = resolve(BASE.get(kind, "starter/default"), registry=registry)
    found = []
    for name in registry.variants(kind):
        if registry.variant(kind, name).description.startswith(LARGE):
            continue
        with suppress(ZooError):
            spec = overridden(base, {kind: name}, registry=registry)
            construct(spec, (1, 8, 8), 10, seed=0, registry=registry)
            found.append(name)
    return found


def figures(ledger: Path) -> dict[str, list[object]]:
    """Return the losses and counts of all epochs of each run."""
    with Ledger(ledger) as opened:
        runs = opened.runs()
    assert all(run.status == "finished" for run in runs), [(run.name, run.reason) for run in runs]
    return {run.name: [(e.epoch, e.loss, e.evaluations) for e in run.epochs] for run in runs}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_it_ends_as_if_undisturbed(
    kind: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CHECKPOINT_EVERY", "0")
    moments = random.Random(kind)
    names = trained(registry, kind)
    command = [
        *(str(Path(sys.executable).with_name("zoo")), "benchmark", BASE.get(kind, "starter/default"), "--yes"),
        *("--vary", f"{kind}={','.join(names)}", "--seeds", "1", "--epochs", "5", "--set", "data.limit=400"),
        *("--device", "cpu", "--jobs", "2"),
    ]
    subprocess.run([*command, "--ledger", str(tmp_path / "whole.sqlite")], capture_output=True, check=True)
    undisturbed = figures(tmp_path / "whole.sqlite")
    assert len(undisturbed) == len(names)
    wanted, killed, rounds, amid = -(-KILLS // len(KINDS)), 0, 0, 0
    while killed < wanted:
        rounds += 1
        ledger = tmp_path / f"{rounds}.sqlite"
        while not _ended_by_itself([*command, "--ledger", str(ledger)], ledger, moments):
            killed += 1
            amid += bool(list(Path(f"{ledger}-checkpoints").glob("*.safetensors")))
        assert figures(ledger) == undisturbed
    print(f"{kind}: {len(names)} variants, {killed} kills, {amid} with a run to go on with, {rounds} times the whole")


def _ended_by_itself(command: list[str], ledger: Path, moments: random.Random) -> bool:
    """Begin the command and kill it with all its processes a little after the first run of its own has begun."""
    begun = len(query(ledger, "SELECT 1 FROM epoch"))
    with ledger.with_suffix(".txt").open("w") as said:
        group = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    deadline = time.monotonic() + PATIENCE
    while group.poll() is None and len(query(ledger, "SELECT 1 FROM epoch")) <= begun:
        assert time.monotonic() < deadline, f"nothing was stored within {PATIENCE} s"
        time.sleep(0.01)
    time.sleep(moments.expovariate(2.0))
    if group.poll() is not None:
        assert group.returncode == 0, ledger.with_suffix(".txt").read_text()
        return True
    os.killpg(group.pid, signal.SIGKILL)
    group.wait()
    while processes_of(group.pid):
        assert time.monotonic() < deadline, f"processes are left: {processes_of(group.pid)}"
        time.sleep(0.02)
    return False
