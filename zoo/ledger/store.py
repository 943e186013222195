"""The store of runs: one SQLite file, to which each epoch is written as it comes.

A row of table `run` is one attempt at a run: "running" until `Ledger.finish` gives it another status. Of all
attempts with one key at most one has ended ("finished" or "diverged"), and a "failed" one is kept only while none
has. So a command can be killed at any moment and given again: what has ended is found, the rest is tried again.

Several processes may use the same file at once, each with a `Ledger` of its own. A running attempt is a claim: while
the ledger that made it is open, and its process lives, nobody else is given the run.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from zoo.data.names import digests_of
from zoo.errors import ClaimLostError, LedgerError
from zoo.ledger.encoding import UNREADABLE, evaluation_rows, identifying, key_of, key_values, outcome, read_run, summary
from zoo.ledger.file import LedgerFile
from zoo.ledger.owners import OPEN_OWNERS, Heartbeat, Owner, is_alive, new_owner
from zoo.ledger.schema import ENDED, KEY, OPEN, add_evaluations, insert, update
from zoo.train.places import checkpoint_file
from zoo.train.run import EpochRecord, Run, RunKey

_TIME_TO_CLOSE = 2000
"""Milliseconds that giving claims back may wait for another process; whoever looks for them finds us gone anyway."""


class Ledger:
    """An open ledger: a context manager that closes it. For use by the thread and the process that opened it.

    Args:
        path: the file. A missing or an empty one is made a ledger, and one of an earlier version upgraded.
        create: whether to make one, and to refuse a file that cannot be written. Without, a ledger in a folder
            without write permission can be read, and one of an earlier version is read as it is.
        write: whether to upgrade the file, and to refuse one that cannot be written; as `create` when left out.
        absent_ok: without `create`: whether a missing or an empty file is read as a ledger without runs.
        keep_unused: whether a file that this makes stays when it is closed with nothing stored in it.
        timeout: how many seconds to wait while another process writes.
        say: is given a line when the file is upgraded.

    Raises:
        LedgerError: here and in every method: the file cannot be read or written, or it is no ledger of this
            version. Whatever the error, what was stored before is kept.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        write: bool | None = None,
        absent_ok: bool = False,
        keep_unused: bool = True,
        timeout: float = 30.0,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.path = path
        self.file = LedgerFile(
            path,
            create=create,
            write=create if write is None else write,
            absent_ok=absent_ok,
            timeout=timeout,
            say=say,
        )
        self._keep_unused = keep_unused
        self._owner = new_owner()
        self._heartbeat: Heartbeat | None = None
        OPEN_OWNERS.add(self._owner.token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def checkpoints(self) -> Path:
        """The folder beside the file that checkpoints of runs under way are kept in. It may not exist."""
        return self.path.with_name(f"{self.path.name}-checkpoints")

    def close(self) -> None:
        """Give back all claims that have not ended, and close the file."""
        OPEN_OWNERS.discard(self._owner.token)
        if self._heartbeat is not None and os.getpid() == self._owner.pid:
            self._heartbeat.stop()
            self._heartbeat = None
            # If it fails, the claims are free when this process is gone.
            with suppress(LedgerError, sqlite3.Error):
                self.file.connection.execute(f"PRAGMA busy_timeout = {_TIME_TO_CLOSE}")
                with self.file.transaction("IMMEDIATE") as connection:
                    self._give_back("status = 'running'")
                    connection.execute("DELETE FROM owner WHERE token = ?", [self._owner.token])
        if not self._keep_unused and os.getpid() == self._owner.pid:
            self.file.remove_unused()
        self.file.close()

    def find(self, key: RunKey) -> Run | None:
        """Return the ended run (finished or diverged) with this key and its epochs, or None."""
        with self.file.transaction("DEFERRED") as connection:
            row = connection.execute(f"SELECT * FROM run WHERE {KEY} AND {ENDED}", key_values(key)).fetchone()
            return self._run(row) if row else None

    def find_failed(self, key: RunKey) -> Run | None:
        """Return the last attempt at a run with this key if it failed, or None."""
        with self.file.transaction("DEFERRED") as connection:
            query = f"SELECT * FROM run WHERE {KEY} AND {OPEN} AND status = 'failed' ORDER BY id DESC"
            row = connection.execute(query, key_values(key)).fetchone()
            return self._run(row) if row else None

    def ended(self, keys: Iterable[RunKey]) -> set[RunKey]:
        """Return those of the keys whose runs have ended (finished or diverged)."""
        with self.file.transaction("DEFERRED"):
            return {key for key in keys if self._has_ended(key)}

    def claim(self, run: Run) -> int | None:
        """Begin a new attempt at a run, without epochs, for this ledger alone, and return its id.

        Earlier attempts are removed, with their epochs, where they failed, where their owner is gone, and where they
        are this ledger's own.

        Returns:
            None where the run has ended, or another owner that lives is training it.
        """
        with self.file.transaction("IMMEDIATE"):
            if self._has_ended(run.key) or self._free(run.key):
                return None
            return self._begin(run)

    def release(self, attempt: int) -> None:
        """Give a claim back, unless the attempt has ended.

        The attempt stays until the run is claimed again, if it has epochs, or a checkpoint from which it can go on.
        """
        with self.file.transaction("IMMEDIATE"):
            self._give_back("status = 'running' AND id = ?", attempt)

    def training_elsewhere(self, keys: Iterable[RunKey]) -> dict[RunKey, Owner]:
        """Return those of the keys whose runs other owners that live are training, and the owners."""
        return self._owners(keys, alive=True)

    def left_behind(self, keys: Iterable[RunKey]) -> dict[RunKey, Owner]:
        """Return those of the keys whose runs other owners were training that are gone, and the owners."""
        return self._owners(keys, alive=False)

    def _owners(self, keys: Iterable[RunKey], *, alive: bool) -> dict[RunKey, Owner]:
        query = f"SELECT owner.* FROM run JOIN owner ON token = run.owner WHERE {KEY} AND {OPEN} AND token <> ?"
        lives: dict[str, bool] = {}
        found = {}
        with self.file.transaction("DEFERRED") as connection:
            for key in keys:
                for row in connection.execute(query, [*key_values(key), self._owner.token]):
                    owner = Owner(**row)
                    if owner.token not in lives:
                        lives[owner.token] = is_alive(owner)
                    if lives[owner.token] is alive:
                        found[key] = owner
        return found

    def add_epoch(self, attempt: int, epoch: EpochRecord) -> None:
        """Store an epoch of an attempt. It outlives this process from when this returns.

        Raises:
            ClaimLostError: another process has taken the run over.
        """
        evaluations = evaluation_rows(epoch)
        values = (attempt, epoch.epoch, epoch.loss, epoch.seconds_training, epoch.seconds_evaluation)
        with self.file.transaction("IMMEDIATE") as connection:
            self._check_attempt(attempt)
            connection.execute("INSERT INTO epoch VALUES (?, ?, ?, ?, ?)", values)
            add_evaluations(connection, attempt, epoch.epoch, evaluations)

    def finish(self, attempt: int, run: Run) -> None:
        """Store what came of an attempt: all of `run` but its key, names, spec and epochs.

        The attempt is dropped if another one with the same key has ended meanwhile.

        Raises:
            ClaimLostError: another process has taken the run over.
            ValueError: the run's status is still "running".
        """
        if run.status == "running":
            raise ValueError("a run that is finished needs the status finished, diverged or failed")
        with self.file.transaction("IMMEDIATE") as connection:
            measured_by = self._check_attempt(attempt)
            if self._has_ended(run.key):
                self._delete(attempt)
                return
            connection.execute(f"DELETE FROM run WHERE {KEY} AND {OPEN} AND status = 'failed'", key_values(run.key))
            values = {**outcome(run), **summary(connection, attempt, measured_by), "owner": None}
            update(connection, attempt, values)

    def numbers(self, keys: Iterable[RunKey]) -> dict[RunKey, int]:
        """Return the number that `zoo ledger runs` shows of each of the keys' runs that came to an end."""
        query = f"SELECT max(id) FROM run WHERE {KEY} AND status <> 'running'"
        with self.file.transaction("DEFERRED") as connection:
            found = {key: connection.execute(query, key_values(key)).fetchone()[0] for key in keys}
        return {key: number for key, number in found.items() if number is not None}

    def of_another_source(self, keys: Iterable[RunKey]) -> set[RunKey]:
        """Return those of the keys whose run has ended with another source of the variants, and not with theirs."""
        query = (
            "SELECT 1 FROM run WHERE spec_digest = ? AND seed = ? AND dataset_digest = ? AND source_digest <> ? "
            f"AND precision = ? AND {ENDED}"
        )
        with self.file.transaction("DEFERRED") as connection:
            return {
                key
                for key in keys
                if connection.execute(query, key_values(key)).fetchone() and not self._has_ended(key)
            }

    def names(self, *, identity: str | None = None) -> list[str]:
        """Return the names of the specs that runs are stored of, in alphabetical order.

        Args:
            identity: only names that the spec of this identity was trained under.
        """
        condition, values = ("", []) if identity is None else ("WHERE spec_digest = ?", [identity])
        with self.file.transaction("DEFERRED") as connection:
            query = f"SELECT DISTINCT name FROM run {condition} ORDER BY name"
            return [row["name"] for row in connection.execute(query, values)]

    def runs(self, *, names: Iterable[str] | None = None, dataset: str | None = None) -> list[Run]:
        """Return every run that came to an end, with its epochs, in the order in which they were started.

        That is one run for each key: the ended one, or else the last that failed. Attempts that are under way, or
        whose process was killed, are no results and left out.

        Args:
            names: only runs of specs with these names.
            dataset: only runs on the data sets that were given this name, whatever the run itself calls them.
        """
        conditions, values = ["status <> 'running'"], []
        if names is not None:
            values += list(names)
            conditions.append(f"name IN ({', '.join('?' * len(values))})")
        with self.file.transaction("DEFERRED") as connection:
            if dataset is not None:
                known = connection.execute("SELECT DISTINCT dataset_digest, dataset FROM run").fetchall()
                digests = digests_of(dataset, map(tuple, known))
                values += digests
                conditions.append(f"dataset_digest IN ({', '.join('?' * len(digests))})")
            query = f"SELECT * FROM run WHERE {' AND '.join(conditions)} ORDER BY id"
            return [self._run(row) for row in connection.execute(query, values)]

    def _run(self, row: sqlite3.Row) -> Run:
        """Read the rest of a run whose row is given."""
        try:
            return read_run(self.file.connection, row)
        except UNREADABLE as error:
            raise self.file.error(sqlite3.SQLITE_CORRUPT) from error

    def _has_ended(self, key: RunKey) -> bool:
        query = f"SELECT 1 FROM run WHERE {KEY} AND {ENDED}"
        return self.file.connection.execute(query, key_values(key)).fetchone() is not None

    def _delete(self, attempt: int) -> None:
        self.file.connection.execute(f"DELETE FROM run WHERE id = ? AND {OPEN}", [attempt])

    def _free(self, key: RunKey) -> bool:
        """Remove the attempts at a run that nobody else is making, and tell whether there is one that stays."""
        others = False
        rows = self.file.connection.execute(
            f"SELECT run.id, status, owner.* FROM run LEFT JOIN owner ON token = run.owner WHERE {KEY} AND {OPEN}",
            key_values(key),
        ).fetchall()
        for row in rows:
            values = dict(row)
            attempt, status = values.pop("id"), values.pop("status")
            if status == "running" and values["token"] not in (None, self._owner.token) and is_alive(Owner(**values)):
                others = True
            else:
                self._delete(attempt)
        return others

    def _give_back(self, condition: str, *values: int) -> None:
        connection = self.file.connection
        claims = f"SELECT * FROM run WHERE owner = ? AND {condition}"
        for row in connection.execute(claims, [self._owner.token, *values]).fetchall():
            epochs = connection.execute("SELECT 1 FROM epoch WHERE run = ?", [row["id"]]).fetchone()
            if epochs or checkpoint_file(self.checkpoints, key_of(row)).exists():
                update(connection, row["id"], {"owner": None})
            else:
                self._delete(row["id"])

    def _begin(self, run: Run) -> int:
        self._register()
        values = {
            **identifying(run),
            **outcome(run),
            "status": "running",
            "host": self._owner.host,
            "pid": self._owner.pid,
            "owner": self._owner.token,
        }
        return insert(self.file.connection, "run", values)

    def _register(self) -> None:
        """Store that this owner lives. Its row may be gone: others remove owners that they take for dead."""
        connection = self.file.connection
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self.path, self._owner)
            unused = "SELECT * FROM owner WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.owner = token)"
            for row in connection.execute(unused).fetchall():
                if not is_alive(Owner(**row)):
                    connection.execute("DELETE FROM owner WHERE token = ?", [row["token"]])
        connection.execute("DELETE FROM owner WHERE token = ?", [self._owner.token])
        insert(connection, "owner", attrs.asdict(attrs.evolve(self._owner, heartbeat=time.time())))

    def _check_attempt(self, attempt: int) -> str:
        """See that an attempt is still there, and return its measure."""
        row = self.file.connection.execute("SELECT measure FROM run WHERE id = ?", [attempt]).fetchone()
        if row is None:
            raise ClaimLostError(
                f"the ledger {self.path} no longer holds this attempt at the run: another process has taken the run "
                "over, as this one was not heard of for too long. What is missing is trained there."
            )
        return str(row["measure"])
