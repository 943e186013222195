"""How a run stands in rows, and how it is read back."""

from __future__ import annotations

import json
import math
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from zoo.errors import DataError
from zoo.train.metrics import best_epoch, epochs_that_count, macro_recall, mean_recall, measure_of
from zoo.train.run import Confusion, EpochRecord, Evaluation, Run, RunKey

KEY_COLUMNS = ("spec_digest", "seed", "dataset_digest", "source_digest", "precision")
RECALLS = {"recall": "test", "train_recall": "train", "validation_recall": "validation"}
"""The part of the data by the column that holds a run's recall on it."""

_LARGEST = 2**63 - 1


def key_values(key: RunKey) -> tuple[str, ...]:
    """Return what stands in `KEY_COLUMNS`."""
    return key.spec, str(int(key.seed)), key.dataset, key.source, key.precision


def key_of(row: sqlite3.Row) -> RunKey:
    """Read a run's key."""
    return RunKey(row["spec_digest"], int(row["seed"]), row["dataset_digest"], row["source_digest"], row["precision"])


def identifying(run: Run) -> dict[str, Any]:
    """Return the columns that say which run it is."""
    return {
        **dict(zip(KEY_COLUMNS, key_values(run.key), strict=True)),
        "seed_number": seed_number(run.key.seed),
        "name": run.name,
        "dataset": run.dataset,
        "measure": measure_of(run.spec),
        "spec": as_json(run.spec),
    }


def outcome(run: Run) -> dict[str, Any]:
    """Return the columns that say what came of a run, less those that its epochs decide."""
    return {
        "status": run.status,
        "reason": run.reason,
        "seconds_setup": run.seconds_setup,
        "parameters": run.parameters,
        "flops": run.flops,
        "peak_memory": run.peak_memory,
        **provenance_columns(run.provenance),
        "provenance": as_json(run.provenance),
    }


def seed_number(seed: int) -> int | None:
    """Return a seed as SQLite's integers can hold it, if they can."""
    return seed if -_LARGEST <= seed <= _LARGEST else None


def provenance_columns(provenance: Mapping[str, Any]) -> dict[str, str | None]:
    """Return those of a run's provenance that have columns of their own."""
    found = {column: provenance.get(column) for column in ("started", "device", "device_name", "zoo")}
    return {column: value if isinstance(value, str) else None for column, value in found.items()}


def evaluation_rows(epoch: EpochRecord) -> list[tuple[str, float | None, float | None, str | bytes]]:
    """Return part, macro recall, batch recall and confusion matrix of each evaluation of an epoch."""
    return [
        (part, recall_of(evaluation.confusion), evaluation.batch_recall, packed(evaluation.confusion))
        for part, evaluation in epoch.evaluations.items()
    ]


def recall_of(confusion: Confusion) -> float | None:
    """Return macro recall, or None where there is none."""
    try:
        recall = macro_recall(confusion)
    except (DataError, OverflowError, ValueError):  # no image was counted; or a plugin counts what cannot be
        return None
    return recall if math.isfinite(recall) else None


def packed(confusion: Confusion) -> str | bytes:
    """Return a confusion matrix as JSON, or as that compressed by zlib where it is shorter so."""
    text = json.dumps(confusion, separators=(",", ":"))
    compressed = zlib.compress(text.encode())
    return compressed if len(compressed) < len(text) else text


def unpacked(stored: str | bytes) -> Confusion:
    """Read a confusion matrix.

    Raises:
        ValueError: it is damaged; a TypeError or a `zlib.error` may be raised as well.
    """
    text = zlib.decompress(stored) if isinstance(stored, bytes) else stored
    return tuple(map(tuple, json.loads(text)))


def summary(connection: sqlite3.Connection, run: int, measured_by: str) -> dict[str, Any]:
    """Return the columns of a run that its stored epochs decide."""
    epochs = connection.execute(
        "SELECT loss, seconds_training, seconds_evaluation FROM epoch WHERE run = ? ORDER BY epoch", [run]
    ).fetchall()
    parts: dict[str, dict[int, float | None]] = {}
    for part, epoch, recall, batch_recall in connection.execute(
        "SELECT part, epoch, recall, batch_recall FROM evaluation WHERE run = ? ORDER BY epoch", [run]
    ):
        parts.setdefault(part, {})[epoch] = (batch_recall or 0.0) if measured_by == "eq2425" else recall
    best = best_epoch({epoch: recall for epoch, recall in parts.get("validation", {}).items() if recall is not None})
    return {
        "epochs": len(epochs),
        "loss": epochs[-1][0] if epochs else None,
        "seconds_training": sum(epoch[1] for epoch in epochs),
        "seconds_evaluation": sum(epoch[2] for epoch in epochs),
        **{column: _over_epochs(parts.get(part, {}), measured_by, best) for column, part in RECALLS.items()},
    }


def _over_epochs(recalls: Mapping[int, float | None], measured_by: str, best: int | None) -> float | None:
    counted = [recalls[epoch] for epoch in epochs_that_count(measured_by, list(recalls), best)]
    recall = mean_recall([math.nan if recall is None else recall for recall in counted])
    return recall if math.isfinite(recall) else None


def read_run(connection: sqlite3.Connection, row: sqlite3.Row) -> Run:
    """Read a run and its epochs, given its row.

    Raises:
        ValueError: it is damaged; see `UNREADABLE`.
    """
    return Run(
        key=key_of(row),
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
        epochs=tuple(_epochs(connection, row["id"])),
    )


UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, zlib.error)
"""What reading a damaged row may raise. SQLite has no checksums: a damaged page may still be a valid one."""


def _epochs(connection: sqlite3.Connection, run: int) -> Iterator[EpochRecord]:
    evaluations: dict[int, dict[str, Evaluation]] = {}
    for row in connection.execute("SELECT * FROM evaluation WHERE run = ? ORDER BY rowid", [run]):
        evaluations.setdefault(row["epoch"], {})[row["part"]] = Evaluation(
            unpacked(row["confusion"]), row["batch_recall"]
        )
    for row in connection.execute("SELECT * FROM epoch WHERE run = ? ORDER BY epoch", [run]):
        yield EpochRecord(
            epoch=row["epoch"],
            loss=math.nan if row["loss"] is None else row["loss"],
            seconds_training=row["seconds_training"],
            seconds_evaluation=row["seconds_evaluation"],
            evaluations=evaluations.get(row["epoch"], {}),
        )


def as_json(value: Mapping[str, Any]) -> str:
    """Return a mapping as JSON without spaces."""
    return json.dumps(dict(value), separators=(",", ":"))
