"""Looking after a ledger: what it holds, what is taken out of it, whether it is sound."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import attrs

from zoo.data.names import digests_of, shown_names
from zoo.errors import LedgerError, ZooError
from zoo.ledger.encoding import UNREADABLE, key_of, read_run, recall_of
from zoo.ledger.owners import Owner, is_alive
from zoo.ledger.schema import ENDED
from zoo.ledger.store import Ledger
from zoo.registry import Registry
from zoo.registry.source import source_digest
from zoo.spec import structure
from zoo.train.places import CHECKPOINT_SUFFIX, checkpoint_file, kept_file
from zoo.train.run import Run, RunKey

STATUSES = ("finished", "diverged", "failed", "running", "cut short")
"""What an entry's status may be. A run is "cut short" whose attempt has not ended, and that nobody trains now."""


@attrs.frozen
class Entry:
    """One attempt, by what the view `runs` has of it.

    Attributes:
        columns: the view's, by name; a running attempt that nobody makes any more has the status "cut short".
        owner: who trains it now.
        key: the run's key.
    """

    columns: Mapping[str, Any]
    owner: Owner | None
    key: RunKey

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
            entry = _entry(shown, key, alive.get(row["owner"]))
            kind = key.spec, key.source
            if stale_for is not None and kind not in stale:
                stale[kind] = is_stale(json.loads(row["spec"]), row["name"], key, stale_for)
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


def _entry(shown: sqlite3.Row, key: RunKey, owner: Owner | None) -> Entry:
    columns = {**dict(shown), "seed": key.seed}
    if columns["status"] == "running" and owner is None:
        columns["status"] = "cut short"
    return Entry(columns, owner, key)


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
        LedgerError: there is no run of a given number, or one that is chosen is being trained.
    """
    _known(ledger, ids)
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
        kept = _checkpoints_in_use(connection, ledger)
    places = (checkpoint_file, kept_file)
    for file in {place(ledger.checkpoints, entry.key) for entry in found for place in places} - kept:
        with suppress(OSError):
            file.unlink()


def vacuum(ledger: Ledger) -> tuple[int, int]:
    """Give back the space of what was removed, and return the size in bytes before and after."""
    with ledger.file.explained():
        ledger.file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = size(ledger.path)
        ledger.file.connection.execute("VACUUM")
        ledger.file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return before, size(ledger.path)


def check(ledger: Ledger) -> list[str]:
    """Return what is wrong with a ledger, a line each."""
    with ledger.file.transaction("DEFERRED") as connection:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        problems += [
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
            unused = set(_checkpoint_files(ledger)) - _checkpoints_in_use(connection, ledger)
            problems += [
                f"{file} is a checkpoint of no run that has begun and not ended, nor the state of one that has"
                for file in sorted(unused)
            ]
    return problems


def _checkpoint_files(ledger: Ledger) -> list[Path]:
    return sorted(ledger.checkpoints.glob(f"*{CHECKPOINT_SUFFIX}"))


def _checkpoints_in_use(connection: sqlite3.Connection, ledger: Ledger) -> set[Path]:
    """Return where checkpoints of attempts would be from which a run can go on, and states of ended runs are kept."""
    not_ended = connection.execute("SELECT * FROM run WHERE status IN ('running', 'failed')")
    ended = {key_of(row) for row in connection.execute(f"SELECT * FROM run WHERE {ENDED}")}
    open_keys = {key_of(row) for row in not_ended} - ended
    return {checkpoint_file(ledger.checkpoints, key) for key in open_keys} | {
        kept_file(ledger.checkpoints, key) for key in ended
    }
