"""The ledger's file: opening it, transactions, and what SQLite says of it in words for people."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from zoo.errors import LedgerError
from zoo.ledger.owners import is_gone
from zoo.ledger.schema import APPLICATION_ID, VERSION, make, upgrade

VARIABLE = "ZOO_LEDGER"

_ELSEWHERE = f"name another file as the ledger, also by {VARIABLE}"
_NOT_OPENED = (
    "cannot be opened: its folder or one of its files (those that end in -wal and -shm belong to it) cannot be read "
    f"or written. Change the permissions, copy all its files to a folder of your own, or {_ELSEWHERE}"
)
RESTORE = "restore a copy, or save what can be read with the `.recover` command of the sqlite3 program"
"""What can be done about a damaged file."""
_PROBLEMS = {
    sqlite3.SQLITE_BUSY: f"is locked by another process that does not release it: wait for that one, or {_ELSEWHERE}",
    sqlite3.SQLITE_CANTOPEN: _NOT_OPENED,
    sqlite3.SQLITE_CORRUPT: (
        "is damaged. Restore a copy, save what can be read with the `.recover` command of the sqlite3 program, "
        f"or {_ELSEWHERE}"
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


class LedgerFile:
    """An open file of this version. One of an earlier version is upgraded if it is opened to be written.

    Otherwise it stays as it is, and what is open is an upgraded copy of it, which cannot be written.

    Attributes:
        connection: to the file, or to the copy.
        version: the version of the file as it is on the disk.
        is_copy: whether what is open is a copy, or stands for a file that is not there.
        is_new: whether there was no file, and this made it.

    Args:
        path: the file.
        create: whether to make a missing or an empty file a ledger. Without, a ledger in a folder without write
            permission can be read.
        write: whether to refuse a file that cannot be written.
        absent_ok: whether a missing or an empty file, which is not to be made a ledger, is one without runs.
        timeout: how many seconds to wait while another process writes.
        say: is given a line when the file is upgraded.

    Raises:
        LedgerError: the file cannot be opened, or it is no ledger that this version reads.
    """

    def __init__(
        self, path: Path, *, create: bool, write: bool, absent_ok: bool, timeout: float, say: Callable[[str], None]
    ) -> None:
        self.path = path
        self.version = VERSION
        self.is_copy = False
        self.is_new = False
        self._place: tuple[int, int] | None = None
        self._timeout = timeout
        self._say = say
        _check_file(path, needed=not (create or absent_ok))
        if absent_ok and not create and not (path.exists() and path.stat().st_size):
            self._use_copy(None)
            return
        was_absent = not path.exists()
        with self.explained():
            self.connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?{_open_mode(path, write=write, create=create)}",
                uri=True,
                timeout=timeout,
                isolation_level=None,  # transactions are begun explicitly
            )
        self._place = _place(path)
        try:
            self.is_new = self._prepare(create=create, write=write) and was_absent
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def remove_unused(self) -> None:
        """Remove the file if this made it, nothing is stored in it, and nobody else has it open."""
        with suppress(LedgerError, sqlite3.Error, OSError):
            if not self.is_new or self._is_used() or _place(self.path) != self._place:
                return
            self.connection.execute("PRAGMA busy_timeout = 0")
            self.connection.execute("PRAGMA journal_mode = DELETE")  # which SQLite does only for who is alone
            self.connection.execute("BEGIN EXCLUSIVE")
            if not self._is_used():
                self.path.unlink()
            self.connection.rollback()

    def _is_used(self) -> bool:
        query = "SELECT EXISTS (SELECT 1 FROM run) OR EXISTS (SELECT 1 FROM owner)"
        return bool(self.connection.execute(query).fetchone()[0])

    @contextmanager
    def transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[sqlite3.Connection]:
        """Carry out the body as one transaction: DEFERRED to read, IMMEDIATE to write.

        A transaction that begins by reading cannot wait for its turn to write.
        """
        with self.explained(), self.connection:
            if kind == "IMMEDIATE":
                self._require_in_place()
            if self.connection.in_transaction:  # an interruption came between the end of one and its commit
                self.connection.rollback()
            self.connection.execute(f"BEGIN {kind}")
            yield self.connection

    def _require_in_place(self) -> None:
        """See that the file is still where it was opened: what is written to one that was removed is lost."""
        if not self.is_copy and (self._place is None or _place(self.path) != self._place):
            raise LedgerError(
                f"the ledger {self.path} was removed, moved or replaced while it was in use, and what this command "
                "stored went with it. Put it back if you can, and run the command again."
            )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what SQLite raises on account of the file into a `LedgerError`; its other errors are bugs here."""
        try:
            yield
        except UnicodeEncodeError as error:
            raise LedgerError(
                f"the ledger {self.path} cannot hold the text {error.object!r}, which is not valid Unicode: "
                "rename what it names."
            ) from error
        except UnicodeDecodeError as error:  # a text of SQLite's own, such as a name in a damaged schema
            raise self.error(sqlite3.SQLITE_CORRUPT) from error
        except IndexError as error:
            if "No item with that key" not in str(error):
                raise
            raise self.error(sqlite3.SQLITE_CORRUPT) from error  # a column's name is not what it was
        except sqlite3.DatabaseError as error:
            # Text that is not UTF-8 is reported without a code.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if isinstance(error, sqlite3.ProgrammingError):
                raise
            if isinstance(error, sqlite3.IntegrityError) and code not in _PROBLEMS:
                raise
            raise self.error(code, f"cannot be used: {error}") from error

    def error(self, code: int, other: str = "") -> LedgerError:
        """Return the error for one of SQLite's result codes."""
        # The low byte of a code is the problem; the rest is a detail.
        problem = _PROBLEMS.get(code) or _PROBLEMS.get(code & 0xFF) or other
        return LedgerError(f"the ledger {self.path} {problem}.")

    def damage(self) -> list[str]:
        """Return what SQLite finds wrong with the file, a line each."""
        with self.explained():
            texts = [str(row[0]) for row in self.connection.execute("PRAGMA integrity_check")]
        lines = [line for text in texts for line in text.splitlines()]
        return [line for line in lines if line != "ok" and not line.startswith("***")]

    def pragma(self, name: str) -> int:
        """Return a setting of the file that is a number."""
        return int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _prepare(self, *, create: bool, write: bool) -> bool:
        """Make an empty file a ledger where it may be made, and see that any other is one of this version.

        Returns:
            Whether it was made one here.
        """
        made = False
        self._set_up()
        with self.explained():
            empty = self._is_empty()
        if empty and not create:
            raise LedgerError(
                f"the ledger {self.path} is an empty file, in which nothing was stored. It is left as it is; "
                "`zoo benchmark`, or `zoo ledger merge` where one was killed, makes it a ledger; "
                f"or {_ELSEWHERE}."
            )
        if empty:
            with self.transaction("IMMEDIATE") as connection:
                if self._is_empty():  # still: another process may have been first
                    make(connection)
                    made = True
        with self.explained():
            version = self._checked_version()
        if empty or write:
            self._use_wal()
        if version < VERSION and not write:
            self.version = version
            self._use_copy(self.connection)
        if write:
            # Even BEGIN IMMEDIATE succeeds on a read-only file; only a write tells, and better now than in an hour.
            with self.transaction("IMMEDIATE") as connection:
                version = self._checked_version()
                if version < VERSION:
                    self._refuse_while_used(connection)
                    upgrade(connection)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            if version < VERSION:
                self._say(
                    f"The ledger {self.path} was upgraded from version {version} to {VERSION}. Earlier versions of zoo "
                    "cannot read it any more; no copy of it as it was is kept."
                )
        return made

    def _refuse_while_used(self, connection: sqlite3.Connection) -> None:
        """Refuse to upgrade a file that an earlier zoo is training into: it could not write its next epoch."""
        under_way = connection.execute("SELECT DISTINCT host, pid FROM run WHERE status = 'running'")
        for host, pid in under_way.fetchall():
            if host == socket.gethostname() and pid != os.getpid() and not is_gone(pid):
                raise LedgerError(
                    f"the ledger {self.path} is used by an earlier version of zoo (process {pid}), which could not go "
                    f"on after it is upgraded: wait for that one, or {_ELSEWHERE}."
                )

    def _set_up(self) -> None:
        self.connection.row_factory = sqlite3.Row
        with self.explained():
            self.connection.execute("PRAGMA foreign_keys = ON")
            # In WAL mode NORMAL keeps every transaction when the process dies. When the power fails the last few may
            # be lost, but the file stays sound; FULL would wait for the disk at each epoch to keep those too.
            self.connection.execute("PRAGMA synchronous = NORMAL")

    def _checked_version(self) -> int:
        if self.pragma("application_id") != APPLICATION_ID:
            raise LedgerError(
                f"the ledger {self.path} is not a ledger but an SQLite file of another program. "
                f"It is left as it is; {_ELSEWHERE}."
            )
        version = self.pragma("user_version")
        if version > VERSION:
            raise LedgerError(
                f"the ledger {self.path} is of version {version} and this zoo reads version {VERSION}: "
                f"upgrade zoo, or {_ELSEWHERE}."
            )
        return version

    def _use_copy(self, original: sqlite3.Connection | None) -> None:
        """Go on with an upgraded copy, which SQLite keeps in a temporary file of its own; an empty one without."""
        self.is_copy = True
        self._place = None
        with self.explained():
            self.connection = sqlite3.connect("", isolation_level=None)
            if original is not None:
                try:
                    original.backup(self.connection)
                finally:
                    original.close()
        self._set_up()
        with self.transaction("IMMEDIATE") as connection:
            if original is None:
                make(connection)
            elif self._checked_version() < VERSION:  # still: another process may have upgraded it meanwhile
                upgrade(connection)
        self.connection.execute("PRAGMA query_only = ON")

    def _use_wal(self) -> None:
        # Of two processes that switch one file at once, SQLite refuses one without waiting.
        deadline = time.monotonic() + self._timeout
        with self.explained():
            while True:
                try:
                    self.connection.execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)

    def _is_empty(self) -> bool:
        tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return not (tables or self.pragma("application_id") or self.pragma("user_version"))


def _check_file(path: Path, *, needed: bool) -> None:
    """Refuse what SQLite would call "unable to open database file", with the reason."""
    try:
        if path.exists():
            if not path.is_file():
                what = "a folder" if path.is_dir() else "no regular file"
                raise LedgerError(f"the ledger {path} is {what}: {_ELSEWHERE}.")
        elif needed:
            raise LedgerError(f"there is no ledger {path}: `zoo benchmark` makes one; or {_ELSEWHERE}.")
        elif not path.parent.is_dir():
            raise LedgerError(f"the ledger {path} cannot be made: there is no folder {path.parent}. Make it first.")
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be opened: {error.strerror}; {_ELSEWHERE}.") from error


def _place(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_mode(path: Path, *, write: bool, create: bool) -> str:
    """Return the parameters of SQLite's file URI."""
    if create:
        return "mode=rwc"
    # To read a ledger SQLite makes two files beside it, unless told that nobody writes: where there is no -wal file,
    # nobody has it open.
    if not write and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        return "mode=ro&immutable=1"
    return "mode=rw"
