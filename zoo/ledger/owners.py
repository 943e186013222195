"""Who trains: the processes that hold claims to runs, and whether they still live."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

import attrs

from zoo.invocation import command

HEARTBEAT_EVERY = 10.0
"""Seconds after which an owner says again that it lives."""
HEARTBEAT_LIMIT = 120.0
"""Seconds after which an owner that cannot be seen, and was not heard of, is taken for dead."""

_BEAT_TIMEOUT = 5.0


@attrs.frozen
class Owner:
    """An open ledger of one process, which may hold claims.

    Attributes:
        token: tells it from all others.
        host: the name of its host.
        boot: tells one start of the host's kernel from another; empty where the system cannot tell.
        namespace: which processes its number counts among (containers count for themselves); empty likewise.
        pid: the number of its process.
        process_start: when the process began, in the kernel's ticks; it tells it from a later one of that number.
        heartbeat: when it last said that it lives, in seconds since 1970.
        command: what was typed.
    """

    token: str
    host: str
    boot: str
    namespace: str
    pid: int
    process_start: int | None
    heartbeat: float
    command: str

    def __str__(self) -> str:
        return f"{self.host}, process {self.pid}"


def new_owner() -> Owner:
    """Return one of this process."""
    return Owner(
        token=uuid4().hex,
        host=socket.gethostname(),
        boot=_boot(),
        namespace=_namespace(),
        pid=os.getpid(),
        process_start=_start_of(os.getpid())[1],
        heartbeat=time.time(),
        command=command(),
    )


OPEN_OWNERS: set[str] = set()
"""Tokens of the owners of this process that have not been closed."""


def is_alive(owner: Owner) -> bool:
    """Tell whether an owner still lives: by its process where that can be seen from here, else by its heartbeat.

    One of this process lives until it is closed. A heartbeat that lies in the future counts like one as long ago: a
    clock was set back, here or there.
    """
    if (owner.host, owner.boot, owner.namespace) == (socket.gethostname(), _boot(), _namespace()):
        if owner.pid == os.getpid() and owner.process_start == _start_of(owner.pid)[1]:
            return owner.token in OPEN_OWNERS
        if is_gone(owner.pid):
            return False
        state, start = _start_of(owner.pid)
        if state in ("Z", "X"):
            return False
        if start is not None and owner.process_start is not None:
            return start == owner.process_start
    return abs(time.time() - owner.heartbeat) <= HEARTBEAT_LIMIT


def is_gone(pid: int) -> bool:
    """Tell whether there is no process with this id on this host; False where that cannot be known."""
    if os.name != "posix":  # there os.kill ends the process whatever the signal
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


class Heartbeat:
    """A thread that says, from time to time, that an owner lives. Whatever happens to it harms nobody.

    Args:
        path: the ledger.
        owner: whose heartbeat it is.
    """

    def __init__(self, path: Path, owner: Owner) -> None:
        self._uri = f"{path.absolute().as_uri()}?mode=rw"
        self._token = owner.token
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, name="zoo ledger heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Let it end; without waiting."""
        self._stopped.set()

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_EVERY):
            # A file that is locked, full or gone: the next one may come through, and the limit allows for several.
            with suppress(sqlite3.Error, OSError):
                connection = sqlite3.connect(self._uri, uri=True, timeout=_BEAT_TIMEOUT, isolation_level=None)
                with closing(connection):
                    connection.execute("UPDATE owner SET heartbeat = ? WHERE token = ?", [time.time(), self._token])


def _start_of(pid: int) -> tuple[str, int | None]:
    """Return a process's state and when it began, from Linux's /proc (proc(5): fields 3 and 22 of stat)."""
    try:
        # The second field, the command's name in brackets, may hold spaces and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return "", None


@cache
def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _namespace() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""
