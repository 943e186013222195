"""Ledgers of version 1, and what other programs read of one."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_runs import CONFUSION, make_epoch, make_run, record, rows, unprivileged_folder

from zoo.errors import LedgerError
from zoo.ledger import VERSION, Ledger
from zoo.ledger.encoding import packed, unpacked
from zoo.study.measure import epoch_recall, measured
from zoo.train.run import EpochRecord, Evaluation, Run

OLD = Path(__file__).parents[1] / "v0_1_0" / "ledger.sqlite"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger of zoo 0.1.0: five finished runs, one that diverged, one that was cut short after 33 epochs."""
    return Path(shutil.copy(OLD, tmp_path / "zoo.sqlite"))


def read_old(path: Path) -> list[Run]:
    """Read a ledger of version 1 as version 0.1.0 did."""
    runs = []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute("SELECT * FROM run WHERE status <> 'running' ORDER BY id").fetchall():
            epochs = connection.execute("SELECT * FROM epoch WHERE run = ? ORDER BY epoch", [row["id"]]).fetchall()
            plain = ("name", "dataset", "status", "reason", "seconds_setup", "parameters", "flops", "peak_memory")
            key = make_run(int(row["seed"])).key
            digests = {"spec": row["spec_digest"], "dataset": row["dataset_digest"], "source": row["source_digest"]}
            runs.append(
                Run(
                    key=attrs.evolve(key, **digests, precision=row["precision"]),
                    spec=json.loads(row["spec"]),
                    provenance=json.loads(row["provenance"]),
                    epochs=tuple(map(read_old_epoch, epochs)),
                    **{column: row[column] for column in plain},
                )
            )
    return runs


def read_old_epoch(row: sqlite3.Row) -> EpochRecord:
    return EpochRecord(
        row["epoch"],
        math.nan if row["loss"] is None else row["loss"],
        row["seconds_training"],
        row["seconds_evaluation"],
        {
            part: Evaluation(tuple(map(tuple, evaluation["confusion"])), evaluation["batch_recall"])
            for part, evaluation in json.loads(row["evaluations"]).items()
        },
    )


def test_a_ledger_of_0_1_0_is_read_as_it_is(old: Path) -> None:
    expected, content = read_old(old), old.read_bytes()
    assert len(expected) == 6
    with Ledger(old, create=False) as ledger:
        assert ledger.file.version == 1
        assert ledger.runs() == expected
        assert [ledger.find(run.key) for run in expected] == expected
        with pytest.raises(LedgerError, match="cannot be written"):
            ledger.claim(make_run())
    assert old.read_bytes() == content, "reading changed it"


def test_a_ledger_of_0_1_0_is_upgraded_when_it_is_written(old: Path) -> None:
    expected = read_old(old)
    with Ledger(old) as ledger:
        assert ledger.runs() == expected
        record(ledger, make_run())
    with Ledger(old, create=False) as ledger:
        assert ledger.file.version == VERSION
        assert ledger.runs() == [*expected, make_run()]
    assert rows(old, "PRAGMA user_version") == [(VERSION,)]
    assert rows(old, "SELECT id, owner FROM run WHERE status = 'running'") == [(7, None)]
    assert rows(old, "SELECT max(id) FROM run") == [(8,)], "an id was given twice"
    assert rows(old, "SELECT count(*) FROM epoch WHERE run = 7") == [(33,)]
    assert rows(old, "PRAGMA foreign_key_check") == []
    assert rows(old, "SELECT name FROM sqlite_master WHERE name LIKE 'old%'") == []


def test_what_was_cut_short_in_0_1_0_is_free(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM run WHERE status = 'running'").fetchone()
    digests = {"spec": row["spec_digest"], "dataset": row["dataset_digest"], "source": row["source_digest"]}
    run = make_run()
    run = attrs.evolve(run, key=attrs.evolve(run.key, **digests, seed=0, precision=row["precision"]))
    with Ledger(old) as ledger:
        assert ledger.claim(run) == 8
    assert rows(old, "SELECT count(*) FROM epoch WHERE run = 7") == [(0,)]


def test_a_deleted_id_is_not_given_again_after_the_upgrade(old: Path) -> None:
    rows(old, "DELETE FROM run WHERE id = 7")
    with Ledger(old) as ledger:
        assert record(ledger, make_run()) == 8


def test_a_ledger_of_0_1_0_that_cannot_be_written() -> None:
    with unprivileged_folder() as folder:
        path = Path(shutil.copy(OLD, folder / "zoo.sqlite"))
        folder.chmod(0o555)
        with Ledger(path, create=False) as ledger:
            assert ledger.runs() == read_old(OLD)
        assert [file.name for file in folder.iterdir()] == ["zoo.sqlite"]
        with pytest.raises(LedgerError, match="cannot be written: the file or its folder is read-only"):
            Ledger(path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE run SET spec = '{'",
        "UPDATE run SET seed = 'x'",
        "UPDATE epoch SET evaluations = '{\"test\": {}}'",
        "UPDATE epoch SET evaluations = '[]'",
        'UPDATE epoch SET evaluations = \'{"test": {"confusion": [1], "batch_recall": null}}\'',
    ],
)
def test_damage_of_one_run_is_of_that_run_after_the_upgrade(old: Path, damage: str) -> None:
    others = read_old(old)[1:]
    rows(old, f"{damage} WHERE rowid = 1")
    for create in (False, True):
        with Ledger(old, create=create) as ledger:
            with pytest.raises(LedgerError, match="is damaged"):
                ledger.runs()
            assert [ledger.find(run.key) for run in others] == others


# What is stored of an evaluation


counts = st.one_of(st.integers(0, 3), st.integers(0, 2**63 - 1))
square = st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.tuples(*[counts] * n)] * n))


@given(square)
def test_a_confusion_matrix_is_stored_exactly(confusion: tuple[tuple[int, ...], ...]) -> None:
    assert unpacked(packed(confusion)) == confusion


def test_a_small_confusion_matrix_is_not_larger_and_a_large_one_is_small() -> None:
    assert packed(CONFUSION) == "[[50,3],[4,43]]"
    draw = random.Random(0)
    large = [[0] * 1000 for _ in range(1000)]
    for _ in range(4000):
        large[draw.randrange(1000)][draw.randrange(1000)] += 1
    confusion = tuple(map(tuple, large))
    stored = packed(confusion)
    assert isinstance(stored, bytes)
    assert len(stored) < 20_000
    assert unpacked(stored) == confusion


# The views


def with_measure(run: Run, measure: str) -> Run:
    return attrs.evolve(run, spec={"evaluation": {"measure": measure}})


def test_the_views_have_zoos_own_figures(tmp_path: Path, old: Path) -> None:
    path = tmp_path / "new.sqlite"
    other = EpochRecord(3, math.nan, 1.0, 0.5, {"validation": Evaluation(((1, 0), (2, 5)), 0.3)})
    rising = tuple(
        EpochRecord(number, 0.5, 1.0, 0.5, {"test": Evaluation(((number, 1), (2, 5)))}) for number in range(1, 7)
    )
    runs = [
        with_measure(make_run(0), "final"),
        with_measure(make_run(1, epochs=(make_epoch(1), make_epoch(2), other)), "eq2425"),
        with_measure(make_run(3, epochs=rising), "last_quarter"),
        with_measure(make_run(2, status="diverged", epochs=()), "final"),
        with_measure(make_run(2**70, epochs=(EpochRecord(1, 0.5, 1.0, 0.0),)), "final"),
    ]
    with Ledger(path) as ledger:
        for run in runs:
            record(ledger, run)
    Ledger(old).close()
    for file, expected in ((path, runs), (old, read_old(OLD))):
        with closing(sqlite3.connect(file)) as connection:
            frame = pd.read_sql_query("SELECT * FROM runs WHERE status <> 'running' ORDER BY id", connection)
            epochs = pd.read_sql_query("SELECT * FROM epochs WHERE status <> 'running'", connection)
        assert len(frame) == len(expected)
        for row, run in zip(frame.to_dict("records"), expected, strict=True):
            for column, part in (("recall", "test"), ("train_recall", "train"), ("validation_recall", "validation")):
                assert same(row[column], measured(run, part)), (column, run.name)
            loss = run.epochs[-1].loss if run.epochs else math.nan
            figures = (run.name, run.dataset, run.status, run.parameters, run.flops, len(run.epochs))
            assert tuple(row[c] for c in ("spec", "dataset", "status", "parameters", "flops", "epochs")) == figures
            assert (row["seconds"], row["seconds_evaluation"]) == (run.seconds_training, run.seconds_evaluation)
            assert same(row["loss"], loss)
            assert same(row["seed"], run.key.seed if run.key.seed < 2**63 else None)
            assert row["identity"] == run.key.spec
            assert row["device"] == run.provenance["device"]
            of_run = epochs[epochs["run"] == row["id"]].to_dict("records")
            for stored, epoch in zip(of_run, run.epochs, strict=True):
                assert same(stored["recall"], epoch_recall(epoch, "test"))
                assert same(stored["train_recall"], epoch_recall(epoch, "train"))
                assert same(stored["validation_recall"], epoch_recall(epoch, "validation"))
                assert same(stored["loss"], epoch.loss)
                assert stored["seconds"] == epoch.seconds_training


def same(stored: float | None, expected: float | None) -> bool:
    """Whether two figures are equal, where NULL stands for none."""
    missing = [value is None or math.isnan(value) for value in (stored, expected)]
    return all(missing) if any(missing) else stored == expected


def test_every_column_of_a_view_has_a_type(tmp_path: Path) -> None:
    """Programs such as DuckDB take the type of a column from the table that it comes from."""
    path = tmp_path / "zoo.sqlite"
    Ledger(path).close()
    for view in ("runs", "epochs"):
        types = {row[1]: row[2] for row in rows(path, f"PRAGMA table_info({view})")}
        assert set(types.values()) == {"INTEGER", "REAL", "TEXT"}, types


def test_evaluations_without_images_have_no_recall(tmp_path: Path) -> None:
    path = tmp_path / "zoo.sqlite"
    with Ledger(path) as ledger:
        record(ledger, make_run(epochs=(EpochRecord(1, 0.5, 1.0, 0.0, {"test": Evaluation(((0, 0), (0, 0)))}),)))
    assert rows(path, "SELECT recall FROM runs") == [(None,)]


def test_a_ledger_that_an_earlier_zoo_trains_into_is_not_upgraded(tmp_path):
    path = Path(shutil.copy(OLD, tmp_path / "zoo.sqlite"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "UPDATE run SET host = ?, pid = ? WHERE status = 'running'", [socket.gethostname(), os.getppid()]
        )
        connection.commit()
    with pytest.raises(LedgerError, match=rf"is used by an earlier version of zoo \(process {os.getppid()}\)"):
        Ledger(path)
    with Ledger(path, create=False) as ledger:
        assert len(ledger.runs()) == 6
