"""Looking after a ledger: what it holds, what is taken out of it, whether it is sound."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import attrs

from zoo.data.names import digests_of, shown_names
from zoo.errors import LedgerError, ZooError, near_misses
from zoo.ledger.encoding import UNREADABLE, key_of, read_run, recall_of
from zoo.ledger.owners import Owner, is_alive
from zoo.ledger.schema import ENDED, OPEN
from zoo.ledger.store import Ledger
from zoo.registry import Registry
from zoo.registry.source import source_digest
from zoo.spec import structure
from zoo.train.places import CHECKPOINT_SUFFIX, checkpoint_file, kept_file
from zoo.train.run import Run, RunKey

STATUSES = ("finished", "diverged", "failed", "running", "cut short")
"""What an entry's status may be. A run is "cut short" whose attempt has not ended, and that nobody trains now."""

_NAME_OF_A_STATE = re.compile(r"[0-9a-f]{32}(\.kept)?(" + re.escape(CHECKPOINT_SUFFIX) + r"|\.\d+\.new)")
"""What zoo names files of states, and those that it writes them to first."""
_WRITTEN_WITHIN = 3600.0
"""Seconds within which a file that is being written was written to."""


@attrs.frozen
class Entry:
    """One attempt, by what the view `runs` has of it.

    Attributes:
        columns: the view's, by name; a running attempt that nobody makes any more has the status "cut short".
        owner: who trains it now.
        key: the run's key.
        content: the resolved spec as plain data.
    """

    columns: Mapping[str, Any]
    owner: Owner | None
    key: RunKey
    content: Mapping[str, Any] = attrs.field(eq=False, repr=False)

    @property
    def id(self) -> int:
        """The number that the ledger gave it."""
        return int(self.columns["id"])

    @property
    def status(self) -> str:
        """One of `STATUSES`."""
        return str(self.columns["status"])

    def __str__(self) -> str:
        return f"{self.columns['spec']} seed {self.key.seed} on {self.columns['dataset']}"


@attrs.frozen
class Vacuumed:
    """What vacuuming did.

    Attributes:
        before: the size of the ledger in bytes.
        after: the same afterwards.
        removed: the files that no run needed, and the size of each.
    """

    before: int
    after: int
    removed: Mapping[Path, int]


def matches(name: str, pattern: str) -> bool:
    """Tell whether a spec's name is meant by a pattern."""
    if pattern.endswith(".toml"):
        pattern = Path(pattern).stem
    # The name of a spec that was varied has brackets, which a shell pattern would read as a set of characters.
    return name == pattern or fnmatchcase(name, pattern)


def is_stale(spec: Mapping[str, Any], name: str, key: RunKey, registry: Registry) -> bool:
    """Tell whether the source of a run's variants, or the identity of its spec, is no longer what it was.

    The same benchmark would train it anew.
    """
    try:
        now = structure(spec, name, registry)
        return source_digest(now, registry) != key.source or now.identity != key.spec
    except ZooError:  # of a plugin that is not loaded now, which is not to say that it has changed
        return False


def entries(
    ledger: Ledger,
    *,
    patterns: Sequence[str] = (),
    dataset: str | None = None,
    statuses: Sequence[str] = (),
    ids: Sequence[int] = (),
    stale_for: Registry | None = None,
) -> list[Entry]:
    """Return the attempts that a ledger holds, in the order in which they were begun.

    Args:
        ledger: the ledger.
        patterns: only of specs with such names.
        dataset: only on the data sets that were given this name, whatever the run itself calls them.
        statuses: only with one of these.
        ids: only with these numbers.
        stale_for: only those that are stale with what is registered there.
    """
    with ledger.file.transaction("DEFERRED") as connection:
        return _entries(connection, ledger, patterns, dataset, statuses, ids, stale_for)


def unfinished(ledger: Ledger, *, patterns: Sequence[str] = (), dataset: str | None = None) -> list[tuple[Entry, Run]]:
    """Return the attempts that have not ended, with the epochs that they came to, as for `entries`.

    One that is cut short, and has no epochs, is left out: nothing is known of it.
    """
    found = entries(ledger, patterns=patterns, dataset=dataset, statuses=("running", "cut short"))
    with ledger.file.transaction("DEFERRED") as connection:
        rows = [connection.execute("SELECT * FROM run WHERE id = ?", [entry.id]).fetchone() for entry in found]
        runs = [(entry, _read(ledger, row)) for entry, row in zip(found, rows, strict=True) if row is not None]
    return [(entry, run) for entry, run in runs if run.epochs or entry.owner]


def require_known(ledger: Ledger, patterns: Sequence[str], dataset: str | None) -> None:
    """See that there are runs of all specs and on the data set that were asked for.

    Raises:
        LedgerError: there are none; it says which names are like it.
    """
    if not patterns and dataset is None:
        return
    held = entries(ledger, dataset=dataset)
    where = f"the ledger {ledger.path} holds no run"
    if not held and dataset is not None:
        names = {entry.columns["dataset"] for entry in entries(ledger)}
        raise LedgerError(f"{where} on the data set {dataset!r}{near_misses(dataset, names)}")
    specs = {entry.columns["spec"] for entry in held}
    on = f" on the data set {dataset!r}" if dataset is not None else ""
    for pattern in patterns:
        if not any(matches(name, pattern) for name in specs):
            raise LedgerError(f"{where} of {pattern!r}{on}{near_misses(pattern, specs)}")


def _entries(
    connection: sqlite3.Connection,
    ledger: Ledger,
    patterns: Sequence[str],
    dataset: str | None,
    statuses: Sequence[str],
    ids: Sequence[int],
    stale_for: Registry | None,
) -> list[Entry]:
    alive = {owner.token: owner for owner in _owners(connection) if is_alive(owner)}
    stale: dict[tuple[str, str], bool] = {}
    contents: dict[str, Mapping[str, Any]] = {}
    given_names = [tuple(row) for row in connection.execute("SELECT DISTINCT dataset_digest, dataset FROM run")]
    digests = None if dataset is None else digests_of(dataset, given_names)
    found = []
    rows = zip(
        connection.execute("SELECT * FROM runs ORDER BY id"),
        connection.execute("SELECT * FROM run ORDER BY id"),
        strict=True,
    )
    for shown, row in rows:
        try:
            key = key_of(row)
            if key.spec not in contents:
                contents[key.spec] = json.loads(row["spec"])
            entry = _entry(shown, key, alive.get(row["owner"]), contents[key.spec])
            kind = key.spec, key.source
            if stale_for is not None and kind not in stale:
                stale[kind] = is_stale(entry.content, row["name"], key, stale_for)
        except UNREADABLE as error:
            raise ledger.file.error(sqlite3.SQLITE_CORRUPT) from error
        if (
            (not patterns or any(matches(entry.columns["spec"], pattern) for pattern in patterns))
            and (digests is None or key.dataset in digests)
            and (not statuses or entry.status in statuses)
            and (not ids or entry.id in ids)
            and (stale_for is None or stale[kind])
        ):
            found.append(entry)
    return found


def _entry(shown: sqlite3.Row, key: RunKey, owner: Owner | None, content: Mapping[str, Any]) -> Entry:
    columns = {**dict(shown), "seed": key.seed}
    if columns["status"] == "running" and owner is None:
        columns["status"] = "cut short"
    return Entry(columns, owner, key, content)


def _owners(connection: sqlite3.Connection) -> list[Owner]:
    return [Owner(**row) for row in connection.execute("SELECT * FROM owner")]


def info(ledger: Ledger) -> dict[str, Any]:
    """Return what a ledger holds, in figures, as plain data."""
    held = entries(ledger)
    training = Counter(entry.owner for entry in held if entry.owner)
    checkpoints = _checkpoint_files(ledger)
    names = shown_names((entry.key.dataset, entry.columns["dataset"]) for entry in held)
    ended = [{**entry.columns, "dataset": names[entry.key.dataset]} for entry in held if entry.status in STATUSES[:3]]
    return {
        "ledger": str(ledger.path),
        "bytes": size(ledger.path),
        "version": ledger.file.version,
        "runs": {status: sum(entry.status == status for entry in held) for status in STATUSES},
        "specs": len({entry.columns["identity"] for entry in held}),
        **{
            name: dict(Counter(columns[column] or "unknown" for columns in ended))
            for name, column in (("datasets", "dataset"), ("devices", "device_name"), ("precisions", "precision"))
        },
        "training": [
            {"host": owner.host, "pid": owner.pid, "command": owner.command, "runs": count}
            for owner, count in training.items()
        ],
        "checkpoints": {
            "folder": str(ledger.checkpoints),
            "files": len(checkpoints),
            "bytes": sum(file.stat().st_size for file in checkpoints),
        },
    }


def size(path: Path) -> int:
    """Return how many bytes a ledger takes: the file, and what was written lately and stands beside it."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def show(ledger: Ledger, number: int) -> dict[str, Any]:
    """Return all that a ledger holds of one attempt, as plain data. What is not a number is None.

    Raises:
        LedgerError: there is none of that number.
    """
    (entry,) = _known(ledger, [number])
    with ledger.file.transaction("DEFERRED") as connection:
        row = connection.execute("SELECT * FROM run WHERE id = ?", [number]).fetchone()
        run = _read(ledger, row)
    return {
        **entry.columns,
        "trained_by": str(entry.owner) if entry.owner else None,
        "provenance": dict(run.provenance),
        "content": dict(run.spec),
        "history": [
            {
                **attrs.asdict(epoch, recurse=False),
                "loss": epoch.loss if math.isfinite(epoch.loss) else None,
                "evaluations": {
                    part: {"recall": recall_of(evaluation.confusion), **attrs.asdict(evaluation)}
                    for part, evaluation in epoch.evaluations.items()
                },
            }
            for epoch in run.epochs
        ],
    }


def _read(ledger: Ledger, row: sqlite3.Row) -> Run:
    try:
        return read_run(ledger.file.connection, row)
    except UNREADABLE as error:
        raise ledger.file.error(sqlite3.SQLITE_CORRUPT) from error


def _known(ledger: Ledger, ids: Sequence[int]) -> list[Entry]:
    found = entries(ledger, ids=ids)
    absent = [str(number) for number in ids if number not in {entry.id for entry in found}]
    if absent:
        raise LedgerError(f"the ledger {ledger.path} holds no run {', '.join(absent)}: `zoo ledger runs` lists them.")
    return found


def chosen(
    ledger: Ledger,
    *,
    patterns: Sequence[str] = (),
    dataset: str | None = None,
    statuses: Sequence[str] = (),
    ids: Sequence[int] = (),
    stale_for: Registry | None = None,
) -> list[Entry]:
    """Return what is to be removed: the attempts that meet all conditions, as for `entries`.

    Raises:
        LedgerError: there is no run of a given number, of a given spec or on the data set, or one that is chosen is
            being trained.
    """
    _known(ledger, ids)
    require_known(ledger, patterns, dataset)
    found = entries(ledger, patterns=patterns, dataset=dataset, statuses=statuses, ids=ids, stale_for=stale_for)
    _refuse_training(ledger, found)
    return found


def _refuse_training(ledger: Ledger, found: Iterable[Entry]) -> None:
    for entry in found:
        if entry.owner:
            raise LedgerError(
                f"run {entry.id} of the ledger {ledger.path}, {entry}, is being trained ({entry.owner}): stop that "
                "command first, or leave the run out. Nothing was removed."
            )


def remove(ledger: Ledger, found: Sequence[Entry]) -> None:
    """Remove attempts, with their epochs and checkpoints.

    Raises:
        LedgerError: one of them is being trained by now; nothing is removed then.
    """
    ids = [entry.id for entry in found]
    with ledger.file.transaction("IMMEDIATE") as connection:
        _refuse_training(ledger, _entries(connection, ledger, (), None, (), ids, None) if ids else ())
        connection.executemany("DELETE FROM run WHERE id = ?", [[number] for number in ids])
        needed = _needed(connection, ledger)
    places = (checkpoint_file, kept_file)
    for file in {place(ledger.checkpoints, entry.key) for entry in found for place in places} - needed:
        with suppress(OSError):
            file.unlink()


def vacuum(ledger: Ledger) -> Vacuumed:
    """Give back the space of what was removed, and remove the states beside the ledger that no run needs."""
    removed = {}
    # No run begins or ends meanwhile, so that no state comes to be needed.
    with ledger.file.transaction("IMMEDIATE") as connection:
        for file in _left_over(connection, ledger):
            with suppress(OSError):
                bytes_ = file.stat().st_size
                file.unlink()
                removed[file] = bytes_
    with ledger.file.explained():
        ledger.file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = size(ledger.path)
        ledger.file.connection.execute("VACUUM")
        ledger.file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return Vacuumed(before, size(ledger.path), removed)


def check(ledger: Ledger) -> list[str]:
    """Return what is wrong with a ledger, a line each; where its file is damaged, only that."""
    if damage := ledger.file.damage():
        return damage
    with ledger.file.transaction("DEFERRED") as connection:
        problems = [
            f"table {row['table']}, row {row['rowid']}: belongs to no row of table {row['parent']}"
            for row in connection.execute("PRAGMA foreign_key_check")
        ]
        if problems:
            return problems
        for row in connection.execute("SELECT * FROM run ORDER BY id"):
            try:
                read_run(connection, row)
            except UNREADABLE as error:
                problems.append(f"run {row['id']} ({row['name']}) cannot be read: {error}")
        if not problems:
            problems += [
                f"{file} is left over: no run needs it; `zoo ledger vacuum` removes it"
                for file in _left_over(connection, ledger)
            ]
    return problems


def _checkpoint_files(ledger: Ledger) -> list[Path]:
    return sorted(ledger.checkpoints.glob(f"*{CHECKPOINT_SUFFIX}"))


def _left_over(connection: sqlite3.Connection, ledger: Ledger) -> list[Path]:
    """Return the states beside a ledger, and parts of them, that no run of it needs and nobody is writing."""
    needed = _needed(connection, ledger)
    found = []
    for file in sorted(ledger.checkpoints.glob("*")):
        if _NAME_OF_A_STATE.fullmatch(file.name) and file not in needed:
            with suppress(OSError):
                if file.suffix == CHECKPOINT_SUFFIX or time.time() - file.stat().st_mtime > _WRITTEN_WITHIN:
                    found.append(file)
    return found


def _needed(connection: sqlite3.Connection, ledger: Ledger) -> set[Path]:
    """Return where states are, or would be, that are needed: of ended runs those that were kept, of others both kinds.

    A run's final state is kept before its end is stored.
    """
    try:
        ended = {key_of(row) for row in connection.execute(f"SELECT * FROM run WHERE {ENDED}")}
        others = {key_of(row) for row in connection.execute(f"SELECT * FROM run WHERE {OPEN}")} - ended
    except UNREADABLE as error:
        raise ledger.file.error(sqlite3.SQLITE_CORRUPT) from error
    return {kept_file(ledger.checkpoints, key) for key in ended | others} | {
        checkpoint_file(ledger.checkpoints, key) for key in others
    }
