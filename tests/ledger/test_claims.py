"""Several commands on one ledger: each run is trained by one of them, and a dead one's runs by another."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from ledger_runs import begin, make_epoch, make_run, other_owner, record, rows, start_elsewhere, unprivileged_folder

from zoo.errors import ClaimLostError, LedgerError
from zoo.ledger import Ledger, owners
from zoo.ledger.owners import HEARTBEAT_LIMIT, is_alive, new_owner
from zoo.train.places import checkpoint_file

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "zoo.sqlite"


def test_a_run_is_given_to_one_ledger(path: Path) -> None:
    with Ledger(path) as first, Ledger(path) as second:
        attempt = first.claim(make_run())
        assert attempt is not None
        assert second.claim(make_run()) is None
        assert second.claim(make_run(1)) is not None, "another run is free"
        key = make_run().key
        elsewhere = second.training_elsewhere([key, make_run(1).key, make_run(2).key])
        assert {k: str(owner) for k, owner in elsewhere.items()} == {
            key: f"{socket.gethostname()}, process {os.getpid()}"
        }
        assert first.training_elsewhere([key]) == {}, "what it trains itself is not elsewhere"
        first.finish(attempt, make_run(epochs=()))
        assert second.claim(make_run()) is None, "it has ended"
        assert second.training_elsewhere([key]) == {}


def test_a_failed_run_is_free(path: Path) -> None:
    with Ledger(path) as first, Ledger(path) as second:
        record(first, make_run(status="failed"))
        assert second.claim(make_run()) is not None
        assert rows(path, "SELECT status FROM run") == [("running",)], "the failed attempt is left"


def test_a_claim_is_given_back(path: Path) -> None:
    with Ledger(path) as first, Ledger(path) as second:
        attempt = first.claim(make_run())
        assert attempt is not None
        first.add_epoch(attempt, make_epoch(1))
        second.release(attempt)
        assert second.claim(make_run()) is None, "another's claim was given back"
        first.release(attempt)
        first.release(attempt)
        assert rows(path, "SELECT owner, (SELECT count(*) FROM epoch) FROM run") == [(None, 1)]
        assert second.claim(make_run()) is not None
        with pytest.raises(ClaimLostError):
            first.add_epoch(attempt, make_epoch(2))


def test_an_attempt_with_epochs_or_a_checkpoint_stays_until_the_run_is_claimed_again(path: Path) -> None:
    """A checkpoint is of a run that the ledger knows, and the epochs are the run's so far."""
    with Ledger(path) as ledger:
        ledger.checkpoints.mkdir()
        checkpoint_file(ledger.checkpoints, make_run(0).key).touch()
        attempts = [ledger.claim(make_run(seed)) for seed in range(3)]
        ledger.add_epoch(attempts[1], make_epoch(1))
        ledger.release(attempts[1])
    assert rows(path, "SELECT seed, status, owner FROM run") == [("0", "running", None), ("1", "running", None)]
    assert rows(path, "SELECT run, epoch FROM epoch") == [(attempts[1], 1)]
    with Ledger(path) as ledger:
        assert ledger.runs() == []
        assert ledger.claim(make_run(1)) is not None
    assert rows(path, "SELECT * FROM epoch") == []
    assert rows(path, "SELECT seed FROM run") == [("0",)]


def test_an_ended_run_is_not_given_back(path: Path) -> None:
    with Ledger(path) as ledger:
        attempt = record(ledger, make_run())
        ledger.release(attempt)
        assert ledger.runs() == [make_run()]


def test_closing_gives_back_all_claims(path: Path) -> None:
    with Ledger(path) as first:
        record(first, make_run(0))
        for seed in (1, 2):
            first.claim(make_run(seed))
        assert len(rows(path, "SELECT * FROM owner")) == 1
    assert rows(path, "SELECT seed, status FROM run") == [("0", "finished")]
    assert rows(path, "SELECT * FROM owner") == []


def test_the_claims_of_this_ledger_are_its_own_to_take(path: Path) -> None:
    with Ledger(path) as ledger:
        attempt = ledger.claim(make_run())
        assert attempt is not None
        newer = ledger.claim(make_run())
        assert newer is not None
        assert newer > attempt
        with pytest.raises(ClaimLostError):
            ledger.add_epoch(attempt, make_epoch(1))


def test_closing_waits_for_no_lock_and_raises_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.ledger.store._TIME_TO_CLOSE", 10)
    other = LockedElsewhere(path)
    with Ledger(path) as ledger:
        ledger.claim(make_run())
        other.lock()
    other.release()
    assert rows(path, "SELECT status FROM run") == [("running",)]


class LockedElsewhere:
    """A connection that keeps others from writing."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)

    def lock(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._connection.close()


def test_two_processes_train_each_run_once(path: Path) -> None:
    script = Path(__file__).with_name("ledger_claimer.py")
    command = [sys.executable, str(script), str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:  # type: ignore[call-overload]
        for process in (first, second):
            assert process.stdout.readline() == "ready\n"
        for process in (first, second):
            process.stdin.write("go\n")
            process.stdin.flush()
        shares = [process.communicate()[0].split() for process in (first, second)]
    assert all(shares), "one of them trained all"
    assert sorted(map(int, shares[0] + shares[1])) == list(range(40))
    assert rows(path, "SELECT count(*), count(DISTINCT seed), max(id) FROM run") == [(40, 40, 40)]
    assert rows(path, "SELECT * FROM owner") == []


# Who lives


def gone_process() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


STALE = HEARTBEAT_LIMIT + 5
ELSEWHERE = {"host": "elsewhere"}
CONTAINER = {"namespace": "pid:[1]"}
REBOOTED = {"boot": "another"}


@pytest.mark.parametrize(
    ("changes", "age", "is_taken"),
    [
        pytest.param({}, STALE, False, id="process alive, whatever its heartbeat says"),
        pytest.param({"pid": gone_process}, 0, True, id="process gone"),
        pytest.param({"process_start": 1}, 0, True, id="another process of that number", marks=LINUX),
        pytest.param({"process_start": 1, "pid": os.getpid}, 0, True, id="before this process", marks=LINUX),
        pytest.param(ELSEWHERE, 0, False, id="another host, heard of"),
        pytest.param(ELSEWHERE, STALE, True, id="another host, not heard of"),
        pytest.param(ELSEWHERE, -5, False, id="another host whose clock is a little ahead"),
        pytest.param(ELSEWHERE, -STALE, True, id="a clock was set back"),
        pytest.param({**CONTAINER, "pid": gone_process}, 0, False, id="another container, heard of"),
        pytest.param({**CONTAINER, "pid": os.getpid}, STALE, True, id="another container, not heard of"),
        pytest.param({**REBOOTED, "pid": os.getpid}, STALE, True, id="before the host was started"),
    ],
)
def test_the_runs_of_the_dead_are_free(path: Path, changes: dict[str, Any], age: float, is_taken: bool) -> None:
    changes = {name: value() if callable(value) else value for name, value in changes.items()}
    if "process_start" not in changes and {"host", "boot", "namespace"}.isdisjoint(changes):
        changes = {"process_start": owners._start_of(os.getppid())[1], **changes}
    with Ledger(path) as ledger:
        old = start_elsewhere(ledger, make_run(), heartbeat=time.time() - age, **changes)
        rows(path, f"INSERT INTO epoch VALUES ({old}, 1, 0.5, 1.0, 0.1)")
        assert (ledger.training_elsewhere([make_run().key]) == {}) is is_taken
        assert (ledger.claim(make_run()) is not None) is is_taken
    assert len(rows(path, "SELECT * FROM epoch")) == (0 if is_taken else 1)


@pytest.mark.skipif(os.getpid() == 1, reason="needs a process of another user")
def test_the_process_of_another_user_is_alive() -> None:
    with unprivileged_folder() as folder, Ledger(folder / "zoo.sqlite") as ledger:
        start_elsewhere(ledger, make_run(), pid=1, process_start=owners._start_of(1)[1])
        assert ledger.claim(make_run()) is None


@LINUX
def test_a_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        wait_for(lambda: owners._start_of(process.pid)[0] == "Z")
        start = owners._start_of(process.pid)[1]
        assert not is_alive(attrs.evolve(new_owner(), pid=process.pid, process_start=start))


def test_where_the_system_tells_little_the_heartbeat_decides(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "_start_of", lambda pid: ("", None))
    with Ledger(path) as ledger:
        start_elsewhere(ledger, make_run(0), token="heard of")
        start_elsewhere(ledger, make_run(1), token="silent", heartbeat=time.time() - STALE)
        start_elsewhere(ledger, make_run(2), token="gone", pid=gone_process())
        assert [ledger.claim(make_run(seed)) is None for seed in range(3)] == [True, False, False]


def test_owners_that_are_gone_are_forgotten(path: Path) -> None:
    with Ledger(path) as ledger:
        start_elsewhere(ledger, make_run(0), token="with a claim", pid=gone_process())
    other_owner(path, token="without", pid=gone_process())
    other_owner(path, token="alive", process_start=owners._start_of(os.getppid())[1])
    with Ledger(path) as ledger:
        ledger.claim(make_run(1))
        tokens = {row[0] for row in rows(path, "SELECT token FROM owner")}
    assert {"with a claim", "alive"} <= tokens
    assert "without" not in tokens


def test_an_owner_that_was_taken_for_dead_comes_back(path: Path) -> None:
    with Ledger(path) as suspended, Ledger(path) as other:
        lost, kept = suspended.claim(make_run(0)), suspended.claim(make_run(1))
        assert lost is not None
        assert kept is not None
        rows(path, f"UPDATE owner SET host = 'elsewhere', heartbeat = {time.time() - STALE}")
        taken = other.claim(make_run(0))
        assert taken is not None
        with pytest.raises(ClaimLostError, match="another process has taken the run over"):
            suspended.add_epoch(lost, make_epoch(1))
        with pytest.raises(LedgerError, match="another process has taken the run over"):
            suspended.finish(lost, make_run(0))
        suspended.add_epoch(kept, make_epoch(1))
        suspended.finish(kept, make_run(1, epochs=()))
        assert suspended.claim(make_run(2)) is not None
        assert other.claim(make_run(2)) is None, "it lives again"
        other.finish(taken, make_run(0, epochs=()))
        assert [run.key.seed for run in other.runs()] == [1, 0]


# The heartbeat


def test_a_heartbeat_is_renewed_and_ends_with_the_ledger(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "HEARTBEAT_EVERY", 0.01)
    with Ledger(path) as ledger:
        assert not heartbeats(), "without a claim there is none"
        ledger.claim(make_run())
        (first,) = rows(path, "SELECT heartbeat FROM owner")
        wait_for(lambda: rows(path, "SELECT heartbeat FROM owner")[0] > first)
        monkeypatch.setattr(owners.time, "time", lambda clock=time.time: clock() - 3600)
        wait_for(lambda: rows(path, "SELECT heartbeat FROM owner")[0] < first)
        assert ledger.claim(make_run(1)) is not None
        with Ledger(path) as other:
            assert other.claim(make_run()) is None, "a clock that is set back takes nothing from the living"
        ledger.finish(begin(ledger, make_run(2)), make_run(2))
    wait_for(lambda: not heartbeats())


def test_a_heartbeat_that_fails_harms_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "HEARTBEAT_EVERY", 0.01)
    monkeypatch.setattr(owners, "_BEAT_TIMEOUT", 0.01)
    with Ledger(path) as ledger:
        attempt = ledger.claim(make_run())
        assert attempt is not None
        other = LockedElsewhere(path)
        other.lock()
        time.sleep(0.2)
        (locked,) = rows(path, "SELECT heartbeat FROM owner")
        other.release()
        wait_for(lambda: rows(path, "SELECT heartbeat FROM owner")[0] > locked)
        ledger.finish(attempt, make_run(epochs=()))


def heartbeats() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "zoo ledger heartbeat"]


def wait_for(what: Any) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_owner_of_this_process_that_was_closed_is_gone(path, monkeypatch):
    """Also if it could not write so: a notebook's process lives for days."""
    first = Ledger(path)
    first.claim(make_run(1))
    monkeypatch.setattr(Ledger, "_give_back", lambda *arguments: (_ for _ in ()).throw(LedgerError("locked")))
    first.close()
    monkeypatch.undo()
    with Ledger(path) as second:
        assert second.claim(make_run(1)) is not None
