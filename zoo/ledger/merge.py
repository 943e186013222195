"""Merging ledgers: what was trained apart comes together."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from zoo.errors import LedgerError
from zoo.ledger.encoding import KEY_COLUMNS, UNREADABLE, read_run, unpacked
from zoo.ledger.schema import KEY, insert
from zoo.ledger.store import Ledger


@attrs.frozen
class Merged:
    """What came from one ledger.

    Attributes:
        path: the ledger.
        added: how many runs were not there yet, or only as failed ones.
        known: how many were there already.
        under_way: how many attempts have not ended, and were left where they are.
    """

    path: Path
    added: int
    known: int
    under_way: int


def merge(into: Path, sources: Sequence[Path]) -> list[Merged]:
    """Copy all runs of some ledgers that have ended or failed into another, which is made where it is missing.

    A run that ended takes the place of one that failed. All is done in one transaction: after an error, or when the
    process is killed, nothing has changed. Doing it again changes nothing. The sources are only read, each as it is at
    one moment.

    Args:
        into: the ledger to copy to.
        sources: those to copy from. One that is named twice counts once, and `into` itself does not count.

    Returns:
        What came from each.

    Raises:
        LedgerError: a ledger cannot be used, or two hold one run with different figures.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(Ledger(path, create=False)) for path in _distinct(into, sources)]
        for source in opened:
            source.file.connection.execute("PRAGMA query_only = ON")
        target = stack.enter_context(Ledger(into))
        with target.file.transaction("IMMEDIATE"):
            return [_merge_one(target, source) for source in opened]


def _distinct(into: Path, sources: Sequence[Path]) -> list[Path]:
    """Return the sources, each once, without the target; a hard link to a file is that file."""
    found: list[Path] = []
    for path in sources:
        if not any(_is_same(path, other) for other in (into, *found)):
            found.append(path)
    return found


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _merge_one(target: Ledger, source: Ledger) -> Merged:
    counts = {"added": 0, "known": 0, "under_way": 0}
    with source.file.transaction("DEFERRED") as connection:
        for row in connection.execute("SELECT * FROM run ORDER BY id"):
            counts[_merge_run(target, source, row)] += 1
    return Merged(source.path, **counts)


def _merge_run(target: Ledger, source: Ledger, row: sqlite3.Row) -> str:
    """Copy one run where it is missing, and say what was done."""
    if row["status"] == "running":
        return "under_way"
    key = [row[column] for column in KEY_COLUMNS]
    present = target.file.connection.execute(
        # An ended one comes before a failed one.
        f"SELECT * FROM run WHERE {KEY} AND status <> 'running' ORDER BY status = 'failed' LIMIT 1",
        key,
    ).fetchone()
    if present is not None and present["status"] != "failed":
        if row["status"] != "failed":
            _compare(target, present, source, row)
        return "known"
    if present is not None and row["status"] == "failed":
        return "known"
    target.file.connection.execute(f"DELETE FROM run WHERE {KEY} AND status = 'failed'", key)
    _copy(target, source, row)
    return "added"


def _copy(target: Ledger, source: Ledger, row: sqlite3.Row) -> None:
    try:
        read_run(source.file.connection, row)
    except UNREADABLE as error:
        raise source.file.error(sqlite3.SQLITE_CORRUPT) from error
    values = {column: row[column] for column in row.keys() if column != "id"}  # noqa: SIM118 - a row is no mapping
    number = insert(target.file.connection, "run", {**values, "owner": None})
    for epoch in source.file.connection.execute("SELECT * FROM epoch WHERE run = ?", [row["id"]]):
        insert(target.file.connection, "epoch", {**dict(epoch), "run": number})
    for evaluation in _evaluations(source, row):
        insert(target.file.connection, "evaluation", {**dict(evaluation), "run": number})


def _evaluations(ledger: Ledger, row: sqlite3.Row) -> list[sqlite3.Row]:
    query = "SELECT * FROM evaluation WHERE run = ? ORDER BY rowid"
    return ledger.file.connection.execute(query, [row["id"]]).fetchall()


def _compare(target: Ledger, mine: sqlite3.Row, source: Ledger, other: sqlite3.Row) -> None:
    """See that two runs with one key have the same figures.

    Raises:
        LedgerError: they have not.
    """
    difference = _difference(target, mine, source, other)
    if difference is None:
        return
    raise LedgerError(
        f"the ledgers {target.path} and {source.path} hold different figures of one run, {mine['name']} seed "
        f"{mine['seed']} on {mine['dataset']}: {difference}. "
        f"{target.path}, run {mine['id']}: {_origin(mine)}. {source.path}, run {other['id']}: {_origin(other)}. "
        "Nothing was merged. Remove the one that you do not trust, with `zoo ledger remove --run ID --ledger FILE`, "
        "and merge again."
    )


def _difference(target: Ledger, mine: sqlite3.Row, source: Ledger, other: sqlite3.Row) -> str | None:
    """Say where the figures of two runs first differ, if they do."""
    mine_epochs, other_epochs = _losses(target, mine), _losses(source, other)
    mine_evaluations, other_evaluations = _by_place(target, mine), _by_place(source, other)
    parts = sorted({part for _, part in mine_evaluations.keys() | other_evaluations.keys()})
    for epoch in sorted(mine_epochs.keys() & other_epochs.keys()):
        if mine_epochs[epoch] != other_epochs[epoch]:
            return f"at epoch {epoch} the loss is {mine_epochs[epoch]} and {other_epochs[epoch]}"
        for part in parts:
            a, b = mine_evaluations.get((epoch, part)), other_evaluations.get((epoch, part))
            different = _different_evaluation(target, a, source, b)
            if different:
                return f"at epoch {epoch} on {part} {different}"
    if mine_epochs.keys() != other_epochs.keys():
        return f"they have {len(mine_epochs)} and {len(other_epochs)} epochs"
    if mine["status"] != other["status"]:
        return f"one is {mine['status']}, the other {other['status']}"
    return None


def _losses(ledger: Ledger, row: sqlite3.Row) -> dict[int, float | None]:
    epochs = ledger.file.connection.execute("SELECT epoch, loss FROM epoch WHERE run = ?", [row["id"]])
    return {epoch["epoch"]: epoch["loss"] for epoch in epochs}


def _by_place(ledger: Ledger, row: sqlite3.Row) -> dict[tuple[int, str], sqlite3.Row]:
    return {(evaluation["epoch"], evaluation["part"]): evaluation for evaluation in _evaluations(ledger, row)}


def _different_evaluation(target: Ledger, a: sqlite3.Row | None, source: Ledger, b: sqlite3.Row | None) -> str | None:
    if a is None or b is None:
        return None if a is b else "only one was evaluated"
    if a["batch_recall"] != b["batch_recall"]:
        return f"the mean recall of batches is {a['batch_recall']} and {b['batch_recall']}"
    # The same counts may be compressed to other bytes by another version of zlib.
    if a["confusion"] == b["confusion"] or _counts(target, a) == _counts(source, b):
        return None
    if a["recall"] != b["recall"]:
        return f"recall is {a['recall']} and {b['recall']}"
    return "the confusion matrices differ, with equal recall"


def _counts(ledger: Ledger, row: sqlite3.Row) -> Any:
    try:
        return unpacked(row["confusion"])
    except UNREADABLE as error:
        raise ledger.file.error(sqlite3.SQLITE_CORRUPT) from error


def _origin(row: sqlite3.Row) -> str:
    """Say in short what made a run."""
    try:
        provenance = json.loads(row["provenance"])
    except ValueError:
        provenance = {}
    known: Mapping[str, Any] = provenance if isinstance(provenance, dict) else {}
    device = ", ".join(str(known[name]) for name in ("device", "device_name") if known.get(name))
    versions = [f"{name} {known.get(name, 'unknown')}" for name in ("zoo", "torch")]
    return ", ".join([*versions, device or "device unknown"])
