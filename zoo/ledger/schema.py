"""The tables and views of a ledger, and how one of an earlier version becomes one of this."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from zoo.ledger.encoding import (
    KEY_COLUMNS,
    UNREADABLE,
    evaluation_rows,
    provenance_columns,
    seed_number,
    summary,
)
from zoo.train.metrics import measure_of
from zoo.train.run import EpochRecord, Evaluation

APPLICATION_ID = int.from_bytes(b"zool")
"""Marks an SQLite file as a ledger (PRAGMA application_id)."""
VERSION = 2
"""Version of the tables (PRAGMA user_version)."""

ENDED = "status IN ('finished', 'diverged')"
OPEN = "status IN ('running', 'failed')"
KEY = " AND ".join(f"{column} = ?" for column in KEY_COLUMNS)

# - AUTOINCREMENT: the id of a deleted attempt is never given to another, which a process that still writes to the
#   deleted one would then write to.
# - seed is text because it may need 64 bits without a sign, which SQLite's integers do not have. seed_number is for
#   the views: the number, or NULL where it does not fit.
# - What the views show stands in columns: the type of a view's column is known to other programs only if it is one of
#   a table, and a spec or a provenance need not be JSON that SQLite can read.
# - owner is the token of who trains a running attempt.
# - spec and provenance stand last: SQLite reads the columns before them without the long texts.
# - loss is NULL where it is not a number, as SQLite stores it.
# - confusion is JSON, [[...]], or that compressed by zlib where it is shorter so.
_TABLES = (
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
        owner TEXT,
        seed_number INTEGER,
        measure TEXT NOT NULL,
        epochs INTEGER,
        loss REAL,
        recall REAL,
        train_recall REAL,
        validation_recall REAL,
        seconds_training REAL,
        seconds_evaluation REAL,
        started TEXT,
        device TEXT,
        device_name TEXT,
        zoo TEXT,
        spec TEXT NOT NULL,
        provenance TEXT NOT NULL
    )
    """,
    f"CREATE UNIQUE INDEX run_ended ON run ({', '.join(KEY_COLUMNS)}) WHERE {ENDED}",
    f"CREATE INDEX run_open ON run ({', '.join(KEY_COLUMNS)}) WHERE {OPEN}",
    "CREATE INDEX run_owner ON run (owner) WHERE owner IS NOT NULL",
    "CREATE INDEX run_name ON run (name, dataset)",
    """
    CREATE TABLE epoch (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        epoch INTEGER NOT NULL,
        loss REAL,
        seconds_training REAL NOT NULL,
        seconds_evaluation REAL NOT NULL,
        PRIMARY KEY (run, epoch)
    )
    """,
    """
    CREATE TABLE evaluation (
        run INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        part TEXT NOT NULL,
        recall REAL,
        batch_recall REAL,
        confusion BLOB NOT NULL,
        PRIMARY KEY (run, epoch, part),
        FOREIGN KEY (run, epoch) REFERENCES epoch ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE owner (
        token TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        boot TEXT NOT NULL,
        namespace TEXT NOT NULL,
        pid INTEGER NOT NULL,
        process_start INTEGER,
        heartbeat REAL NOT NULL,
        command TEXT NOT NULL
    )
    """,
)
_VIEWS = (
    """
    CREATE VIEW runs AS SELECT
        id,
        name AS spec,
        seed_number AS seed,
        dataset,
        status,
        recall,
        train_recall,
        validation_recall,
        loss,
        epochs,
        seconds_training AS seconds,
        seconds_evaluation,
        seconds_setup,
        parameters,
        flops,
        peak_memory,
        device,
        device_name,
        precision,
        measure,
        started,
        host,
        zoo,
        reason,
        spec_digest AS identity,
        source_digest AS source,
        dataset_digest
    FROM run
    """,
    """
    CREATE VIEW epochs AS SELECT
        epoch.run,
        run.name AS spec,
        run.seed_number AS seed,
        run.dataset,
        run.status,
        epoch.epoch,
        epoch.loss,
        test.recall AS recall,
        train.recall AS train_recall,
        validation.recall AS validation_recall,
        epoch.seconds_training AS seconds,
        epoch.seconds_evaluation
    FROM epoch
        JOIN run ON run.id = epoch.run
        LEFT JOIN evaluation AS test
            ON test.run = epoch.run AND test.epoch = epoch.epoch AND test.part = 'test'
        LEFT JOIN evaluation AS train
            ON train.run = epoch.run AND train.epoch = epoch.epoch AND train.part = 'train'
        LEFT JOIN evaluation AS validation
            ON validation.run = epoch.run AND validation.epoch = epoch.epoch AND validation.part = 'validation'
    """,
)


def make(connection: sqlite3.Connection) -> None:
    """Make an empty file a ledger, within a transaction of the caller's."""
    for statement in (*_TABLES, *_VIEWS):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def upgrade(connection: sqlite3.Connection) -> None:
    """Make a ledger of version 1 one of this version, within a transaction of the caller's.

    What cannot be read of it stays as it is, and is reported when it is asked for.
    """
    for index in ("run_ended", "run_open", "run_name"):
        connection.execute(f"DROP INDEX {index}")
    connection.execute("ALTER TABLE epoch RENAME TO old_epoch")
    connection.execute("ALTER TABLE run RENAME TO old_run")
    make(connection)
    for row in connection.execute("SELECT * FROM old_run ORDER BY id"):
        insert(connection, "run", {**dict(row), **_new_columns(row)})
    # A run that was deleted by hand may have left its epochs.
    for row in connection.execute("SELECT * FROM old_epoch WHERE run IN (SELECT id FROM run) ORDER BY run, epoch"):
        _upgrade_epoch(connection, row)
    for row in connection.execute("SELECT id, measure FROM run WHERE status <> 'running'").fetchall():
        update(connection, row["id"], summary(connection, row["id"], row["measure"]))
    # An id that was given once is not given again.
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'old_run'").fetchone()
    if last:
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'run'")
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('run', ?)", [last["seq"]])
    connection.execute("DROP TABLE old_epoch")
    connection.execute("DROP TABLE old_run")


def insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> int:
    """Insert a row, and return its number."""
    columns, places = ", ".join(values), ", ".join(f":{column}" for column in values)
    number = connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", values).lastrowid
    assert number is not None
    return number


def update(connection: sqlite3.Connection, run: int, values: Mapping[str, Any]) -> None:
    """Set columns of a run."""
    assignments = ", ".join(f"{column} = :{column}" for column in values)
    connection.execute(f"UPDATE run SET {assignments} WHERE id = :id", {**values, "id": run})


def _new_columns(old: sqlite3.Row) -> dict[str, Any]:
    """Return the columns of a run that version 1 did not have. Nobody is known to train it."""
    try:
        number = seed_number(int(old["seed"]))
    except ValueError:
        number = None
    return {
        "seed_number": number,
        "measure": measure_of(_mapping(old["spec"])),
        **provenance_columns(_mapping(old["provenance"])),
    }


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _upgrade_epoch(connection: sqlite3.Connection, old: sqlite3.Row) -> None:
    values = {column: old[column] for column in ("run", "epoch", "loss", "seconds_training", "seconds_evaluation")}
    insert(connection, "epoch", values)
    try:
        evaluations = {
            part: Evaluation(tuple(map(tuple, evaluation["confusion"])), evaluation["batch_recall"])
            for part, evaluation in json.loads(old["evaluations"]).items()
        }
        rows = evaluation_rows(EpochRecord(**{k: v for k, v in values.items() if k != "run"}, evaluations=evaluations))
    except UNREADABLE:
        rows = [("", None, None, str(old["evaluations"]).encode())]  # as bytes it is no confusion matrix
    add_evaluations(connection, old["run"], old["epoch"], rows)


def add_evaluations(
    connection: sqlite3.Connection, run: int, epoch: int, rows: list[tuple[str, float | None, float | None, Any]]
) -> None:
    """Store what `zoo.ledger.encoding.evaluation_rows` returned."""
    connection.executemany("INSERT INTO evaluation VALUES (?, ?, ?, ?, ?, ?)", [(run, epoch, *row) for row in rows])
