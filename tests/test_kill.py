"""`zoo benchmark`, killed at several moments and given again: the same table, and nothing that was stored twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from zoo.ledger import Ledger

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills groups of processes")

EPOCHS = 3
RUNS = 4
COMMAND = [
    *(str(Path(sys.executable).with_name("zoo")), "benchmark", "starter/default", "starter/4d"),
    *("--seeds", str(RUNS // 2), "--epochs", str(EPOCHS), "--device", "cpu", "--json"),
]
TIMES = {"seconds_training"}
PATIENCE = 120.0
"""Seconds after which what is waited for is taken not to happen."""


def command(ledger, jobs):
    return [*COMMAND, "--jobs", str(jobs), "--ledger", str(ledger)]


def table(ledger, jobs):
    """Run to the end and return the JSON table without its times."""
    done = subprocess.run(command(ledger, jobs), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return [{key: value for key, value in row.items() if key not in TIMES} for row in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return table(tmp_path_factory.mktemp("undisturbed") / "zoo.sqlite", jobs=1)


def query(ledger, text):
    """Ask the file, past zoo's own ways of reading it; nothing while it is not there or has no tables yet."""
    if not ledger.exists():
        return []
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            return connection.execute(text).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise


def ended_runs(ledger):
    """Return the stored runs that have ended, with the times of their epochs, which a second training would change."""
    return query(
        ledger,
        "SELECT run.id, spec_digest, seed, epoch, epoch.seconds_training FROM run JOIN epoch ON epoch.run = run.id "
        "WHERE status = 'finished' ORDER BY run.id, epoch",
    )


def kill_when(ledger, epochs, jobs, whole_group):
    """Start the command, kill it when so many epochs are stored in all, and wait until all its processes are gone."""
    group = subprocess.Popen(
        command(ledger, jobs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + PATIENCE
    state = f"SELECT (SELECT count(*) FROM run WHERE pid = {group.pid}), (SELECT count(*) FROM epoch)"
    while not any(begun and stored >= epochs for begun, stored in query(ledger, state)):
        assert group.poll() is None, f"it ended before {epochs} epochs were stored"
        assert time.monotonic() < deadline, f"{epochs} epochs were not stored within {PATIENCE} s"
        time.sleep(0.02)
    if whole_group:
        os.killpg(group.pid, signal.SIGKILL)
    else:
        group.kill()
    group.wait()
    while processes_of(group.pid):
        assert time.monotonic() < deadline, f"processes are left: {processes_of(group.pid)}"
        time.sleep(0.02)


def processes_of(session):
    """Return the processes that were started in the session and run."""
    listed = subprocess.run(["ps", "-e", "-o", "sess=,stat=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [line for line in lines if line[0] == str(session) and not line[1].startswith("Z")]


@pytest.mark.parametrize(
    ("jobs", "whole_group", "moments", "checkpoint_every"),
    [(1, True, [2, 7], "60"), (2, True, [0, 8], "0"), (2, False, [3], "0")],
    ids=["one process", "whole group, with checkpoints", "parent only, with checkpoints"],
)
def test_killed_at_several_moments_it_ends_as_if_undisturbed(
    undisturbed, tmp_path, monkeypatch, jobs, whole_group, moments, checkpoint_every
):
    """A moment is when so many epochs are stored: with 0, the first is being trained."""
    monkeypatch.setenv("ZOO_CHECKPOINT_EVERY", checkpoint_every)
    ledger = tmp_path / "zoo.sqlite"
    stored = []
    for epochs in moments:
        kill_when(ledger, epochs, jobs, whole_group)
        assert query(ledger, "PRAGMA integrity_check") == [("ok",)]
        now = ended_runs(ledger)
        assert set(stored) <= set(now), "a run that was stored is gone, or was trained again"
        stored = now
    assert table(ledger, jobs) == undisturbed
    finished = ended_runs(ledger)
    assert set(stored) <= set(finished), "a run that was stored is gone, or was trained again"
    assert len(finished) == RUNS * EPOCHS
    assert query(ledger, "SELECT count(*) FROM run") == [(RUNS,)], "attempts that were cut short are left"
    with Ledger(ledger) as opened:
        assert [[epoch.epoch for epoch in run.epochs] for run in opened.runs()] == [[1, 2, 3]] * RUNS
