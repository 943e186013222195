"""Made-up runs in ledgers, and what looks into the file past the ledger's methods."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from zoo.ledger import Ledger, Owner
from zoo.ledger.owners import new_owner
from zoo.ledger.schema import insert
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

CONFUSION = ((50, 3), (4, 43))


def make_run(seed: int = 0, digest: str = "", **changes: Any) -> Run:
    digest = digest or {"digits": "data digest"}.get(changes.get("dataset", "digits"), "digest of other data")
    run = Run(
        key=RunKey("spec digest", seed, digest, "source digest", "fp32"),
        name="study/default",
        spec={"network": {"features": [{"filters": 24}]}},
        dataset="digits",
        status="finished",
        seconds_setup=0.5,
        parameters=1234,
        flops=5678,
        peak_memory=9,
        provenance={"device": "cpu"},
        epochs=(make_epoch(1), make_epoch(2)),
    )
    return attrs.evolve(run, **changes)


def make_epoch(number: int) -> EpochRecord:
    return EpochRecord(
        number, 1 / number, 2.0, 0.25, {"test": Evaluation(CONFUSION, 0.9), "train": Evaluation(CONFUSION)}
    )


def begin(ledger: Ledger, run: Run) -> int:
    attempt = ledger.claim(run)
    assert attempt is not None
    return attempt


def record(ledger: Ledger, run: Run) -> int:
    attempt = begin(ledger, run)
    for epoch in run.epochs:
        ledger.add_epoch(attempt, epoch)
    ledger.finish(attempt, run)
    return attempt


def rows(path: Path, query: str) -> list[Any]:
    """Look into the file past the ledger's methods, or change it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(query).fetchall()


def read(path: Path) -> list[Run]:
    with Ledger(path, create=False) as ledger:
        return ledger.runs()


def other_owner(path: Path, **changes: Any) -> Owner:
    """Store an owner that is not this process, but the one that started it, unless `changes` say otherwise."""
    parent = {"token": "other", "pid": os.getppid(), "process_start": None, **changes}
    owner = attrs.evolve(new_owner(), **parent)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        insert(connection, "owner", attrs.asdict(owner))
    return owner


def start_elsewhere(ledger: Ledger, run: Run, **changes: Any) -> int:
    """Start a run as if in another process that lives; started in this one it would be replaced by the next."""
    attempt = begin(ledger, run)
    owner = other_owner(ledger.path, **changes)
    rows(ledger.path, f"UPDATE run SET owner = '{owner.token}' WHERE id = {attempt}")
    return attempt


@contextmanager
def unprivileged_folder() -> Iterator[Path]:
    """Make a folder whose permissions bind this process: root is another user for the time being."""
    folder = Path(tempfile.mkdtemp())
    user = os.getuid()
    try:
        if user == 0:
            os.chown(folder, 65534, 65534)
            os.setresuid(65534, 65534, 0)
        yield folder
    finally:
        if user == 0:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)
        shutil.rmtree(folder)
