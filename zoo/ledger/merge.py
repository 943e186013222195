"""Merging ledgers: what was trained apart comes together."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import attrs

from zoo.errors import LedgerError
from zoo.ledger.encoding import KEY_COLUMNS, UNREADABLE, key_of, read_run, unpacked
from zoo.ledger.file import RESTORE
from zoo.ledger.schema import ENDED, KEY, VERSION, insert
from zoo.ledger.store import Ledger
from zoo.train.places import kept_file


@attrs.frozen
class Merged:
    """What came from one ledger.

    Attributes:
        path: the ledger.
        added: how many runs were not there yet, or only as failed ones.
        known: how many were there already.
        elsewhere: how many of these were trained on another device there, with the same figures.
        under_way: how many attempts have not ended, and were left where they are.
        states: how many final states came along that runs were kept with.
        left_out: why it was not looked at; empty where it was.
    """

    path: Path
    added: int = 0
    known: int = 0
    under_way: int = 0
    states: int = 0
    left_out: str = ""
    elsewhere: int = 0


Origins = dict[int, tuple[Path, int]]
"""Of runs of the target that came in this merging: the ledger that they came from, and their number there."""


def merge(into: Path, sources: Sequence[Path], *, say: Callable[[str], None] = lambda line: None) -> list[Merged]:
    """Copy all runs of some ledgers that have ended or failed into another, which is made where it is missing.

    A run that ended takes the place of one that failed. All is done in one transaction: after an error, or when the
    process is killed, nothing has changed. Doing it again changes nothing. The sources are only read, each as it is at
    one moment. Final states that were kept of runs are copied when the runs are stored.

    Args:
        into: the ledger to copy to.
        sources: those to copy from. One that is named twice counts once, and `into` itself does not count.
        say: is given a line when `into` is upgraded.

    Returns:
        What came from each that was named.

    Raises:
        LedgerError: a ledger cannot be used, two hold one run with different figures, or a state cannot be copied.
    """
    left_out = _left_out(into, sources)
    with ExitStack() as stack:
        opened = {
            number: stack.enter_context(Ledger(path, create=False))
            for number, path in enumerate(sources)
            if number not in left_out
        }
        for source in opened.values():
            source.file.connection.execute("PRAGMA query_only = ON")
            _require_sound(source)
        merged = _merge_all(into, list(opened.values()), say) if opened else []
        states = [_copy_states(into, source) for source in opened.values()]
    found = {number: Merged(sources[number], left_out=reason) for number, reason in left_out.items()}
    for number, each, copied in zip(opened, merged, states, strict=True):
        found[number] = attrs.evolve(each, states=copied)
    return [found[number] for number in sorted(found)]


def _left_out(into: Path, sources: Sequence[Path]) -> dict[int, str]:
    """Return which sources are not read, and why. A hard link to a file is that file."""
    reasons = {}
    for number, path in enumerate(sources):
        if _is_same(path, into):
            reasons[number] = "it is the ledger that is merged into"
        elif any(_is_same(path, other) for other in sources[:number]):
            reasons[number] = "it was named before"
    return reasons


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _merge_all(into: Path, sources: Sequence[Ledger], say: Callable[[str], None]) -> list[Merged]:
    """Merge the sources. A target that would have to be made or upgraded first is left alone if they do not fit."""
    with Ledger(into, create=False, absent_ok=True) as trial:
        _require_sound(trial)
        if trial.file.is_copy:
            trial.file.connection.execute("PRAGMA query_only = OFF")
            merged = _merge_each(trial, sources)
            if trial.file.version < VERSION and not any(each.added for each in merged):
                return merged
    with Ledger(into, say=say) as target:
        return _merge_each(target, sources)


def _require_sound(ledger: Ledger) -> None:
    """Refuse a file that is damaged, also where what would be read of it is not."""
    if damage := ledger.file.damage():
        raise LedgerError(
            f"the ledger {ledger.path} is damaged, and nothing was merged. SQLite says: {damage[0]} "
            f"(`zoo ledger check` lists all); {RESTORE}."
        )


def _merge_each(target: Ledger, sources: Sequence[Ledger]) -> list[Merged]:
    origins: Origins = {}
    with target.file.transaction("IMMEDIATE"):
        return [_merge_one(target, source, origins) for source in sources]


def _merge_one(target: Ledger, source: Ledger, origins: Origins) -> Merged:
    counts: Counter[str] = Counter()
    with source.file.transaction("DEFERRED") as connection:
        for row in connection.execute("SELECT * FROM run ORDER BY id"):
            counts[_merge_run(target, source, row, origins)] += 1
    known = counts["known"] + counts["elsewhere"]
    return Merged(source.path, counts["added"], known, counts["under_way"], elsewhere=counts["elsewhere"])


def _copy_states(into: Path, source: Ledger) -> int:
    """Copy the final states that were kept of a ledger's runs to where the target's are, and return how many."""
    if not source.checkpoints.is_dir():
        return 0
    folder = into.with_name(f"{into.name}-checkpoints")
    with source.file.transaction("DEFERRED") as connection:
        keys = [key_of(row) for row in connection.execute(f"SELECT * FROM run WHERE {ENDED} ORDER BY id")]
    return sum(_copy_state(kept_file(source.checkpoints, key), kept_file(folder, key)) for key in keys)


def _copy_state(file: Path, copy: Path) -> bool:
    """Copy a file where it is and its copy is not, whole or not at all; tell whether it was done."""
    if not file.exists() or copy.exists():
        return False
    new = copy.with_suffix(f".{os.getpid()}.new")
    try:
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, new)
        os.replace(new, copy)
    except OSError as error:
        raise LedgerError(
            f"the runs are merged, but the state {file}, which was kept of one of them, cannot be copied to "
            f"{copy.parent}: {error.strerror or error}. Mend that and merge again."
        ) from error
    finally:
        with suppress(OSError):
            new.unlink()
    return True


def _merge_run(target: Ledger, source: Ledger, row: sqlite3.Row, origins: Origins) -> str:
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
            _compare(target, present, source, row, origins)
        devices = {present["device_name"], row["device_name"]} - {None}  # early versions stored none
        return "elsewhere" if len(devices) > 1 else "known"
    if present is not None and row["status"] == "failed":
        return "known"
    target.file.connection.execute(f"DELETE FROM run WHERE {KEY} AND status = 'failed'", key)
    origins[_copy(target, source, row)] = source.path, row["id"]
    return "added"


def _copy(target: Ledger, source: Ledger, row: sqlite3.Row) -> int:
    """Copy a run, and return its number in the target."""
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
    return number


def _evaluations(ledger: Ledger, row: sqlite3.Row) -> list[sqlite3.Row]:
    query = "SELECT * FROM evaluation WHERE run = ? ORDER BY rowid"
    return ledger.file.connection.execute(query, [row["id"]]).fetchall()


def _compare(target: Ledger, mine: sqlite3.Row, source: Ledger, other: sqlite3.Row, origins: Origins) -> None:
    """See that two runs with one key have the same figures.

    Raises:
        LedgerError: they have not.
    """
    difference = _difference(target, mine, source, other)
    if difference is None:
        return
    # What came in this merging is rolled back: it is to be found where it came from.
    path, number = origins.get(mine["id"], (target.path, mine["id"]))
    raise LedgerError(
        f"the ledgers {path} and {source.path} hold different figures of one run, {mine['name']} seed "
        f"{mine['seed']} on {mine['dataset']}: {difference}. "
        f"{path}, run {number}: {_origin(mine)}. {source.path}, run {other['id']}: {_origin(other)}. "
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
