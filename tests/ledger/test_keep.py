"""Looking after a ledger: what it holds, what is taken out, whether it is sound."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pandas as pd
import pytest
from ledger_runs import make_epoch, make_run, record, rows, start_elsewhere

from zoo.errors import LedgerError, ZooError
from zoo.ledger import Ledger, mounts, on_network_file_system
from zoo.ledger.export import export, frame
from zoo.ledger.keep import STATUSES, check, chosen, entries, info, remove, require_known, show, size, vacuum
from zoo.ledger.owners import HEARTBEAT_LIMIT
from zoo.train.places import checkpoint_file, kept_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "zoo.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Two finished runs, one that failed, one that is trained elsewhere, one that was cut short."""
    with Ledger(path) as opened:
        record(opened, make_run(0))
        record(opened, make_run(1, name="net[activation=relu]", dataset="mnist"))
        record(opened, make_run(2, status="failed", reason="out of memory", epochs=()))
        start_elsewhere(opened, make_run(3), host="elsewhere", pid=42)
        start_elsewhere(opened, make_run(4), token="dead", host="elsewhere", heartbeat=0.0)
        yield opened


RUNS: list[tuple[int, dict[str, Any]]] = [(0, {}), (1, {"dataset": "mnist"}), (2, {}), (3, {}), (4, {})]
"""What tells the runs of the fixture apart."""


def ids(ledger: Ledger, **conditions: object) -> list[int]:
    return [entry.id for entry in entries(ledger, **conditions)]  # type: ignore[arg-type]


def test_entries_are_chosen(ledger: Ledger) -> None:
    assert [entry.status for entry in entries(ledger)] == ["finished", "finished", "failed", "running", "cut short"]
    assert ids(ledger, patterns=["study/*"]) == [1, 3, 4, 5]
    assert ids(ledger, patterns=["net[activation=relu]", "nothing"]) == [2], "brackets are no pattern"
    assert ids(ledger, dataset="mnist") == [2]
    assert ids(ledger, statuses=["failed", "cut short"]) == [3, 5]
    assert ids(ledger, ids=[1, 5], patterns=["study/*"]) == [1, 5]
    assert [str(entry.owner) for entry in entries(ledger, ids=[4])] == ["elsewhere, process 42"]


@pytest.mark.parametrize(
    ("patterns", "dataset", "problem"),
    [
        (["study/default", "study/defualt"], None, "of 'study/defualt'; did you mean study/default?"),
        (["other/*"], None, "of 'other/*'."),
        ([], "digitz", "on the data set 'digitz'; did you mean digits?"),
        (["study/*"], "mnist", "of 'study/*' on the data set 'mnist'."),
    ],
)
def test_what_is_not_there_is_an_error(ledger: Ledger, patterns: list[str], dataset: str | None, problem: str) -> None:
    message = re.escape(f"zoo.sqlite holds no run {problem}")
    with pytest.raises(LedgerError, match=message):
        require_known(ledger, patterns, dataset)
    with pytest.raises(LedgerError, match=message):
        chosen(ledger, patterns=patterns, dataset=dataset)


def test_info(ledger: Ledger) -> None:
    ledger.checkpoints.mkdir()
    checkpoint_file(ledger.checkpoints, make_run(3).key).write_bytes(b"12345")
    held = info(ledger)
    assert held["runs"] == dict(zip(STATUSES, (2, 0, 1, 1, 1), strict=True))
    assert held["datasets"] == {"digits": 2, "mnist": 1}
    assert held["devices"] == {"unknown": 3}
    assert held["precisions"] == {"fp32": 3}
    assert [(owner["host"], owner["pid"], owner["runs"]) for owner in held["training"]] == [("elsewhere", 42, 1)]
    assert (held["checkpoints"]["files"], held["checkpoints"]["bytes"]) == (1, 5)
    assert held["bytes"] == size(ledger.path) >= ledger.path.stat().st_size


def test_show(ledger: Ledger) -> None:
    shown = show(ledger, 1)
    assert (shown["spec"], shown["seed"], shown["provenance"]) == ("study/default", 0, {"device": "cpu"})
    assert [epoch["epoch"] for epoch in shown["history"]] == [1, 2]
    assert shown["history"][0]["evaluations"]["test"]["confusion"] == ((50, 3), (4, 43))
    assert show(ledger, 4)["trained_by"] == "elsewhere, process 42"
    with pytest.raises(LedgerError, match=r"holds no run 99: `zoo ledger runs` lists them"):
        show(ledger, 99)


def test_what_is_removed_is_gone_with_its_checkpoint(ledger: Ledger) -> None:
    ledger.checkpoints.mkdir()
    files = [checkpoint_file(ledger.checkpoints, make_run(seed).key) for seed in range(5)]
    for file in files:
        file.touch()
    remove(ledger, chosen(ledger, ids=[1, 3, 5]))
    assert ids(ledger) == [2, 4]
    assert rows(ledger.path, "SELECT count(*) FROM epoch") == [(2,)]
    assert [file.exists() for file in files] == [False, True, False, True, False]


def test_what_is_being_trained_is_not_removed(ledger: Ledger) -> None:
    message = (
        r"run 4 of the ledger .*, study/default seed 3 on digits, is being trained \(elsewhere, process 42\): stop "
        "that command first, or leave the run out. Nothing was removed"
    )
    with pytest.raises(LedgerError, match=message):
        chosen(ledger, patterns=["study/*"])
    found = chosen(ledger, ids=[1, 5])
    with Ledger(ledger.path) as other:
        assert other.claim(make_run(4)) is not None
        remove(ledger, found)  # the attempt that was chosen is gone; the new one stays
        assert [entry.status for entry in entries(ledger, patterns=["study/*"])] == ["failed", "running", "running"]
    rows(ledger.path, f"UPDATE owner SET heartbeat = {HEARTBEAT_LIMIT} WHERE token = 'other'")
    remove(ledger, chosen(ledger, patterns=["study/*"]))


def test_a_run_that_is_trained_since_it_was_chosen_is_not_removed(path: Path) -> None:
    with Ledger(path) as ledger:
        start_elsewhere(ledger, make_run(), host="elsewhere", heartbeat=0.0)
        found = chosen(ledger, ids=[1])
        rows(path, f"UPDATE owner SET heartbeat = {time.time()}")
        with pytest.raises(LedgerError, match="is being trained"):
            remove(ledger, found)
        assert ids(ledger) == [1]


def test_an_unknown_run_is_not_removed(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"holds no run 77, 99: `zoo ledger runs` lists them"):
        chosen(ledger, ids=[77, 1, 99])


def test_vacuum_gives_space_back(path: Path) -> None:
    with Ledger(path) as ledger:
        for seed in range(20):
            record(ledger, make_run(seed, reason="x" * 20_000))
        remove(ledger, entries(ledger)[1:])
        done = vacuum(ledger)
        assert done.after < done.before / 2
        assert ledger.runs() == [make_run(0, reason="x" * 20_000)]


# Soundness


NARROWER = "replace(sql, 'reason TEXT NOT NULL', 'reason TEXT NOT NULL CHECK (length(reason) > 99)')"


def test_a_sound_ledger(ledger: Ledger) -> None:
    assert check(ledger) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE evaluation SET confusion = '['", "run 1 (study/default) cannot be read: "),
        ("UPDATE run SET spec = '{'", "run 1 (study/default) cannot be read: "),
        ("DELETE FROM run WHERE id = 2", "table epoch, row 3: belongs to no row of table run"),
        (f"PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = {NARROWER} WHERE name = 'run'", "CHECK"),
    ],
)
def test_what_is_wrong_is_said(ledger: Ledger, damage: str, problem: str) -> None:
    ledger.close()
    with closing(sqlite3.connect(ledger.path)) as connection, connection:
        connection.executescript(damage)
    with Ledger(ledger.path) as opened:
        problems = check(opened)
    assert any(problem in line for line in problems), problems
    assert all("\n" not in line for line in problems)


def test_checkpoints_that_nothing_goes_on_from(ledger: Ledger) -> None:
    ledger.checkpoints.mkdir()
    for seed in (0, 2, 3, 4, 77):
        checkpoint_file(ledger.checkpoints, make_run(seed).key).touch()
    unused = {checkpoint_file(ledger.checkpoints, make_run(seed).key) for seed in (0, 77)}
    assert set(check(ledger)) == {
        f"{file} is left over: no run needs it; `zoo ledger vacuum` removes it" for file in unused
    }


def test_vacuum_removes_what_no_run_needs(ledger: Ledger) -> None:
    ledger.checkpoints.mkdir()
    kept = [kept_file(ledger.checkpoints, make_run(seed, **changes).key) for seed, changes in RUNS]
    checkpoints = [checkpoint_file(ledger.checkpoints, make_run(seed, **changes).key) for seed, changes in RUNS]
    dropped = kept_file(ledger.checkpoints, make_run(77).key)
    written, forgotten = (kept[0].with_suffix(f".{number}.new") for number in (1, 2))
    others = [ledger.checkpoints / name for name in ("mine.safetensors", "notes.txt")]
    for file in (*kept, *checkpoints, dropped, written, forgotten, *others):
        file.write_bytes(b"12345")
    os.utime(forgotten, (0, 0))
    unneeded = {dropped, forgotten, *checkpoints[:2]}  # the first two runs have ended
    assert len(check(ledger)) == len(unneeded)
    assert vacuum(ledger).removed == dict.fromkeys(unneeded, 5)
    assert set(ledger.checkpoints.iterdir()) == {*kept, *checkpoints[2:], written, *others}
    assert check(ledger) == []
    assert not vacuum(ledger).removed


def test_vacuum_removes_nothing_where_a_run_cannot_be_read(ledger: Ledger) -> None:
    ledger.checkpoints.mkdir()
    file = checkpoint_file(ledger.checkpoints, make_run(0).key)
    file.touch()
    rows(ledger.path, "UPDATE run SET seed = 'x' WHERE id = 3")
    with pytest.raises(LedgerError, match="is damaged"):
        vacuum(ledger)
    assert file.exists()


# Tables


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_are_written_whole(ledger: Ledger, tmp_path: Path, ending: str) -> None:
    read = pd.read_csv if ending == "csv" else pd.read_parquet
    for view, count in (("runs", 5), ("epochs", 4)):
        file = tmp_path / "new" / f"{view}.{ending}"
        assert export(ledger, view, file) == count  # type: ignore[arg-type]
        table, expected = read(file), frame(ledger, view)  # type: ignore[arg-type]
        assert list(table) == list(expected)
        for column in table:
            # CSV does not tell a text that is empty from one that is not there.
            present, stored = (each[column].replace("", None).dropna() for each in (table, expected))
            pd.testing.assert_series_equal(present, stored, check_dtype=False)
    assert sorted(os.listdir(tmp_path / "new")) == [f"epochs.{ending}", f"runs.{ending}"]


def test_a_table_of_another_kind(ledger: Ledger, tmp_path: Path) -> None:
    message = r"runs\.parket: no table is written to files that end so; did you mean parquet\? Known: \.csv, \.parquet"
    with pytest.raises(ZooError, match=message):
        export(ledger, "runs", tmp_path / "runs.parket")


def test_a_table_that_cannot_be_written(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"runs\.csv cannot be written: "):
        export(ledger, "runs", tmp_path / "file" / "runs.csv")


# Where a ledger should not lie


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / {folder} rw shared:2 - nfs4 server:/export rw,vers=4.2
31 30 0:27 / {folder}/with\\040space rw - cifs //server/share rw
32 30 0:28 / {folder}/local rw - tmpfs tmpfs rw
33 32 0:29 / {folder}/local rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        ("zoo.sqlite", "nfs4"),
        ("new/zoo.sqlite", "nfs4"),
        ("with space/z", "cifs"),
        ("local/z", None),
        ("localhost", "nfs4"),
    ],
)
def test_network_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, expected: str | None
) -> None:
    folder = tmp_path / "mounted"
    listed = tmp_path / "mountinfo"
    listed.write_text(MOUNTS.format(folder=folder))
    monkeypatch.setattr(mounts, "_MOUNTS", listed)
    assert on_network_file_system(folder / below) == expected
    assert on_network_file_system(tmp_path / "zoo.sqlite") is None


def test_where_the_system_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "none")
    assert on_network_file_system(tmp_path / "zoo.sqlite") is None


def test_an_epoch_of_zero_seconds_is_shown(path: Path) -> None:
    with Ledger(path) as ledger:
        record(ledger, make_run(epochs=(attrs.evolve(make_epoch(1), loss=float("nan")),)))
        assert show(ledger, 1)["history"][0]["loss"] is None
