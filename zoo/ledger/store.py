"""The store of runs: one SQLite file, to which each epoch is written as it comes.

A row of table `run` is one attempt at a run: "running" until `Ledger.finish` gives it another status. Of all
attempts with one key at most one has ended ("finished" or "diverged"), and a "failed" one is kept only while none
has. So a command can be killed at any moment and given again: what has ended is found, the rest is tried again.

Several processes of one host may use the same file at once, each with a `Ledger` of its own.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import attrs

from zoo.errors import LedgerError
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

VARIABLE = "ZOO_LEDGER"
APPLICATION_ID = int.from_bytes(b"zool")
"""Marks an SQLite file as a ledger (PRAGMA application_id)."""
VERSION = 1
"""Version of the tables (PRAGMA user_version)."""

_ENDED = "status IN ('finished', 'diverged')"
_OPEN = "status IN ('running', 'failed')"
_KEY_COLUMNS = ("spec_digest", "seed", "dataset_digest", "source_digest", "precision")
_KEY = " AND ".join(f"{column} = ?" for column in _KEY_COLUMNS)

# - AUTOINCREMENT: the id of a deleted attempt is never given to another, which a process that still writes to the
#   deleted one would then write to.
# - seed is text because it may need 64 bits without a sign, which SQLite's integers do not have. `seed = 3` works.
# - spec and provenance stand last: SQLite reads the columns before them without the long texts.
# - loss is NULL where it is not a number, as SQLite stores it.
# - evaluations is JSON, {"test": {"confusion": [[...]], "batch_recall": null}}: most counts have one to three
#   digits, which makes it smaller than 32-bit integers, and SQL can read it (json_extract).
_SCHEMA = (
    """
    CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        spec_digest TEXT NOT NULL,
        seed TEXT NOT NULL,
        dataset_digest TEXT NOT NULL,
        source_digest TEXT NOT NULL,
        precision TEXT NOT NULL,
        name TEXT NOT NULL,
        dataset TEXT NOT NULL,
        status TEXT NOT NULL,
        reason TEXT NOT NULL,
        seconds_setup REAL NOT NULL,
        parameters INTEGER NOT NULL,
        flops INTEGER NOT NULL,
        peak_memory INTEGER NOT NULL,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        spec TEXT NOT NULL,
        provenance TEXT NOT NULL
    )
    """,
    f"CREATE UNIQUE INDEX run_ended ON run ({', '.join(_KEY_COLUMNS)}) WHERE {_ENDED}",
    f"CREATE INDEX run_open ON run ({', '.join(_KEY_COLUMNS)}) WHERE {_OPEN}",
    "CREATE INDEX run_name ON run (name, dataset)",
    """
    CREATE TABLE epoch (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        epoch INTEGER NOT NULL,
        loss REAL,
        seconds_training REAL NOT NULL,
        seconds_evaluation REAL NOT NULL,
        evaluations TEXT NOT NULL,
        PRIMARY KEY (run, epoch)
    )
    """,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)

_ELSEWHERE = f"name another file with --ledger or {VARIABLE}"
_NOT_OPENED = (
    "cannot be opened: its folder or one of its files (those that end in -wal and -shm belong to it) cannot be read "
    f"or written. Change the permissions, copy all its files to a folder of your own, or {_ELSEWHERE}"
)
_PROBLEMS = {
    sqlite3.SQLITE_BUSY: f"is locked by another process that does not release it: wait for that one, or {_ELSEWHERE}",
    sqlite3.SQLITE_CANTOPEN: _NOT_OPENED,
    sqlite3.SQLITE_CORRUPT: (
        "is damaged. Restore a copy, save what can be read with the `.recover` command of the sqlite3 program, "
        f"or {_ELSEWHERE}"
    ),
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: (
        "no longer holds the attempt that was to be written: another process took it for dead. Run the command again"
    ),
    sqlite3.SQLITE_FULL: (
        "cannot grow: the disk is full. Free some space and run the command again; what was stored is kept"
    ),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: the disk may be full, out of reach or failing. Mend that and run the command again"
    ),
    sqlite3.SQLITE_NOTADB: f"is not a ledger: it is no SQLite file. It is left as it is; {_ELSEWHERE}",
    sqlite3.SQLITE_PERM: _NOT_OPENED,
    sqlite3.SQLITE_READONLY: (
        f"cannot be written: the file or its folder is read-only. Change the permissions, or {_ELSEWHERE}"
    ),
}


def default_path() -> Path:
    """Return the ledger's path where none is given: ZOO_LEDGER, else zoo.sqlite in the current folder."""
    return Path(os.environ.get(VARIABLE) or "zoo.sqlite")


class Ledger:
    """An open ledger: a context manager that closes it. For use by the thread and the process that opened it.

    Args:
        path: the file. A missing or an empty one is made a ledger.
        create: whether to make a missing file, and to refuse one that cannot be written. Without, a ledger in a
            folder without write permission can be read.
        timeout: how many seconds to wait while another process writes.

    Raises:
        LedgerError: here and in every method: the file cannot be read or written, or it is no ledger of this
            version. Whatever the error, what was stored before is kept.
    """

    def __init__(self, path: Path, *, create: bool = True, timeout: float = 30.0) -> None:
        self.path = path
        self._timeout = timeout
        _check_file(path, create=create)
        with self._explained():
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?{_open_mode(path, create=create)}",
                uri=True,
                timeout=timeout,
                isolation_level=None,  # transactions are begun explicitly
            )
        try:
            self._prepare(writable=create)
        except BaseException:
            self.close()
            raise

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
        """Close the file."""
        self._connection.close()

    def find(self, key: RunKey) -> Run | None:
        """Return the ended run (finished or diverged) with this key and its epochs, or None."""
        with self._transaction("DEFERRED"):
            row = self._connection.execute(f"SELECT * FROM run WHERE {_KEY} AND {_ENDED}", _key_values(key)).fetchone()
            return self._run(row) if row else None

    def ended(self, keys: Iterable[RunKey]) -> set[RunKey]:
        """Return those of the keys whose runs have ended (finished or diverged)."""
        with self._transaction("DEFERRED"):
            return {key for key in keys if self._has_ended(key)}

    def start(self, run: Run) -> int:
        """Store a new attempt at a run, without epochs, and return its id.

        Earlier attempts with the same key are removed if they failed or their process is gone: it ran on this host
        and is no more, or it had this process's id.
        """
        host = socket.gethostname()
        key = _key_values(run.key)
        with self._transaction("IMMEDIATE"):
            for row in self._connection.execute(f"SELECT * FROM run WHERE {_KEY} AND {_OPEN}", key).fetchall():
                here = row["host"] == host
                if row["status"] == "failed" or (here and (row["pid"] == os.getpid() or _is_gone(row["pid"]))):
                    self._delete(row["id"])
            values = {
                **dict(zip(_KEY_COLUMNS, key, strict=True)),
                "name": run.name,
                "dataset": run.dataset,
                **_outcome(run),
                "status": "running",
                "host": host,
                "pid": os.getpid(),
                "spec": _json(run.spec),
            }
            columns, places = ", ".join(values), ", ".join(f":{column}" for column in values)
            attempt = self._connection.execute(f"INSERT INTO run ({columns}) VALUES ({places})", values).lastrowid
        assert attempt is not None
        return attempt

    def add_epoch(self, attempt: int, epoch: EpochRecord) -> None:
        """Store an epoch of an attempt. It outlives this process from when this returns."""
        evaluations = {part: attrs.asdict(e, recurse=False) for part, e in epoch.evaluations.items()}
        values = (epoch.loss, epoch.seconds_training, epoch.seconds_evaluation, _json(evaluations))
        with self._explained():
            self._connection.execute("INSERT INTO epoch VALUES (?, ?, ?, ?, ?, ?)", (attempt, epoch.epoch, *values))

    def finish(self, attempt: int, run: Run) -> None:
        """Store what came of an attempt: all of `run` but its key, names, spec and epochs.

        The attempt is dropped if another one with the same key has ended meanwhile.

        Raises:
            ValueError: the run's status is still "running".
        """
        if run.status == "running":
            raise ValueError("a run that is finished needs the status finished, diverged or failed")
        with self._transaction("IMMEDIATE"):
            if self._has_ended(run.key):
                self._delete(attempt)
                return
            values = _outcome(run)
            self._connection.execute(
                f"DELETE FROM run WHERE {_KEY} AND {_OPEN} AND status = 'failed'", _key_values(run.key)
            )
            assignments = ", ".join(f"{column} = :{column}" for column in values)
            result = self._connection.execute(f"UPDATE run SET {assignments} WHERE id = :id", {**values, "id": attempt})
            if not result.rowcount:
                raise self._error(sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY)

    def names(self, *, identity: str | None = None) -> list[str]:
        """Return the names of the specs that runs are stored of, in alphabetical order.

        Args:
            identity: only names that the spec of this identity was trained under.
        """
        condition, values = ("", []) if identity is None else ("WHERE spec_digest = ?", [identity])
        with self._transaction("DEFERRED"):
            query = f"SELECT DISTINCT name FROM run {condition} ORDER BY name"
            return [row["name"] for row in self._connection.execute(query, values)]

    def runs(self, *, names: Iterable[str] | None = None, dataset: str | None = None) -> list[Run]:
        """Return every run that came to an end, with its epochs, in the order in which they were started.

        That is one run for each key: the ended one, or else the last that failed. Attempts that are under way, or
        whose process was killed, are no results and left out.

        Args:
            names: only runs of specs with these names.
            dataset: only runs on the data set given by this name.
        """
        conditions, values = ["status <> 'running'"], []
        if names is not None:
            values += list(names)
            conditions.append(f"name IN ({', '.join('?' * len(values))})")
        if dataset is not None:
            values.append(dataset)
            conditions.append("dataset = ?")
        with self._transaction("DEFERRED"):
            query = f"SELECT * FROM run WHERE {' AND '.join(conditions)} ORDER BY id"
            return [self._run(row) for row in self._connection.execute(query, values)]

    def _prepare(self, *, writable: bool) -> None:
        """Make an empty file a ledger, and see that any other is one."""
        self._connection.row_factory = sqlite3.Row
        with self._explained():
            self._connection.execute("PRAGMA foreign_keys = ON")
            # In WAL mode NORMAL keeps every transaction when the process dies. When the power fails the last few may
            # be lost, but the file stays sound; FULL would wait for the disk at each epoch to keep those too.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            empty = self._is_empty()
        if empty:
            with self._transaction("IMMEDIATE"):
                if self._is_empty():  # still: another process may have been first
                    for statement in _SCHEMA:
                        self._connection.execute(statement)
        with self._explained():
            if self._pragma("application_id") != APPLICATION_ID:
                raise LedgerError(
                    f"the ledger {self.path} is not a ledger but an SQLite file of another program. "
                    f"It is left as it is; {_ELSEWHERE}."
                )
            version = self._pragma("user_version")
            if version > VERSION:
                raise LedgerError(
                    f"the ledger {self.path} is of version {version} and this zoo reads version {VERSION}: "
                    f"upgrade zoo, or {_ELSEWHERE}."
                )
        if empty or writable:
            self._use_wal()
        if writable:
            # Even BEGIN IMMEDIATE succeeds on a read-only file; only a write tells, and better now than in an hour.
            with self._transaction("IMMEDIATE"):
                self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _use_wal(self) -> None:
        # Of two processes that switch one file at once, SQLite refuses one without waiting.
        deadline = time.monotonic() + self._timeout
        with self._explained():
            while True:
                try:
                    self._connection.execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _is_empty(self) -> bool:
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return not (tables or self._pragma("application_id") or self._pragma("user_version"))

    def _has_ended(self, key: RunKey) -> bool:
        query = f"SELECT 1 FROM run WHERE {_KEY} AND {_ENDED}"
        return self._connection.execute(query, _key_values(key)).fetchone() is not None

    def _delete(self, attempt: int) -> None:
        self._connection.execute(f"DELETE FROM run WHERE id = ? AND {_OPEN}", [attempt])

    def _run(self, row: sqlite3.Row) -> Run:
        """Read the rest of a run whose row is given."""
        epochs = self._connection.execute("SELECT * FROM epoch WHERE run = ? ORDER BY epoch", [row["id"]]).fetchall()
        try:
            return Run(
                key=RunKey(
                    spec=row["spec_digest"],
                    seed=int(row["seed"]),
                    dataset=row["dataset_digest"],
                    source=row["source_digest"],
                    precision=row["precision"],
                ),
                name=row["name"],
                spec=json.loads(row["spec"]),
                dataset=row["dataset"],
                status=row["status"],
                reason=row["reason"],
                seconds_setup=row["seconds_setup"],
                parameters=row["parameters"],
                flops=row["flops"],
                peak_memory=row["peak_memory"],
                provenance=json.loads(row["provenance"]),
                epochs=tuple(_epoch(epoch) for epoch in epochs),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # SQLite has no checksums: a damaged page may still be a valid one with another content.
            raise self._error(sqlite3.SQLITE_CORRUPT) from error

    @contextmanager
    def _transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
        """Carry out the body as one transaction: DEFERRED to read, IMMEDIATE to write.

        A transaction that begins by reading cannot wait for its turn to write.
        """
        with self._explained(), self._connection:
            self._connection.execute(f"BEGIN {kind}")
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite raises on account of the file into a `LedgerError`; its other errors are bugs here."""
        try:
            yield
        except UnicodeEncodeError as error:
            raise LedgerError(
                f"the ledger {self.path} cannot hold the text {error.object!r}, which is not valid Unicode: "
                "rename what it names."
            ) from error
        except sqlite3.DatabaseError as error:
            # Text that is not UTF-8 is reported without a code.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if isinstance(error, sqlite3.ProgrammingError):
                raise
            if isinstance(error, sqlite3.IntegrityError) and code not in _PROBLEMS:
                raise
            raise self._error(code, f"cannot be used: {error}") from error

    def _error(self, code: int, other: str = "") -> LedgerError:
        # The low byte of a code is the problem; the rest is a detail.
        problem = _PROBLEMS.get(code) or _PROBLEMS.get(code & 0xFF) or other
        return LedgerError(f"the ledger {self.path} {problem}.")


def _check_file(path: Path, *, create: bool) -> None:
    """Refuse what SQLite would call "unable to open database file", with the reason."""
    try:
        if path.exists():
            if not path.is_file():
                what = "a folder" if path.is_dir() else "no regular file"
                raise LedgerError(f"the ledger {path} is {what}: {_ELSEWHERE}.")
        elif not create:
            raise LedgerError(f"there is no ledger {path}: `zoo benchmark` makes one; or {_ELSEWHERE}.")
        elif not path.parent.is_dir():
            raise LedgerError(f"the ledger {path} cannot be made: there is no folder {path.parent}. Make it first.")
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be opened: {error.strerror}; {_ELSEWHERE}.") from error


def _open_mode(path: Path, *, create: bool) -> str:
    """Return the parameters of SQLite's file URI."""
    if create:
        return "mode=rwc"
    # To read a ledger SQLite makes two files beside it, unless told that nobody writes: where there is no -wal file,
    # nobody has it open.
    if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        return "mode=ro&immutable=1"
    return "mode=rw"


def _is_gone(pid: int) -> bool:
    """Tell whether there is no process with this id on this host; False where that cannot be known."""
    if os.name != "posix":  # there os.kill ends the process whatever the signal
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _key_values(key: RunKey) -> tuple[str, ...]:
    return key.spec, str(key.seed), key.dataset, key.source, key.precision


def _outcome(run: Run) -> dict[str, Any]:
    """Return the columns that `Ledger.finish` writes."""
    return {
        "status": run.status,
        "reason": run.reason,
        "seconds_setup": run.seconds_setup,
        "parameters": run.parameters,
        "flops": run.flops,
        "peak_memory": run.peak_memory,
        "provenance": _json(run.provenance),
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), separators=(",", ":"))


def _epoch(row: sqlite3.Row) -> EpochRecord:
    return EpochRecord(
        epoch=row["epoch"],
        loss=math.nan if row["loss"] is None else row["loss"],
        seconds_training=row["seconds_training"],
        seconds_evaluation=row["seconds_evaluation"],
        evaluations={
            part: Evaluation(tuple(tuple(counts) for counts in values["confusion"]), values["batch_recall"])
            for part, values in json.loads(row["evaluations"]).items()
        },
    )
