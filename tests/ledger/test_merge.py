"""Merging ledgers that were filled apart."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from ledger_runs import CONFUSION, make_epoch, make_run, read, record, rows, start_elsewhere, unprivileged_folder

from zoo.errors import LedgerError
from zoo.ledger import Ledger
from zoo.ledger.merge import Merged, merge
from zoo.train.metrics import macro_recall
from zoo.train.places import checkpoint_file, kept_file
from zoo.train.run import Evaluation, Run

OLD = Path(__file__).parents[1] / "v0_1_0" / "ledger.sqlite"


def ledger_of(path: Path, *runs: Run) -> Path:
    with Ledger(path) as ledger:
        for run in runs:
            record(ledger, run)
    return path


def content(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("run", "epoch", "evaluation")]


def test_runs_come_together(tmp_path: Path) -> None:
    runs = [make_run(seed) for seed in range(4)]
    into = ledger_of(tmp_path / "into.sqlite", runs[0])
    first = ledger_of(tmp_path / "first.sqlite", runs[0], runs[1])
    second = ledger_of(tmp_path / "second.sqlite", runs[1], attrs.evolve(runs[2], status="diverged"), runs[3])
    before = content(first), content(second)
    assert merge(into, [first, second]) == [Merged(first, 1, 1, 0), Merged(second, 2, 1, 0)]
    assert read(into) == [runs[0], runs[1], attrs.evolve(runs[2], status="diverged"), runs[3]]
    assert (content(first), content(second)) == before
    after = content(into)
    assert merge(into, [first, second, into]) == [
        Merged(first, 0, 2, 0),
        Merged(second, 0, 3, 0),
        Merged(into, left_out="it is the ledger that is merged into"),
    ]
    assert content(into) == after, "merging again changed something"
    assert rows(into, "SELECT count(*) FROM runs WHERE recall > 0.9") == [(4,)], "what SQL reads came along"


def test_the_target_is_made_and_named_twice_is_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ledger_of(tmp_path / "source.sqlite", make_run())
    monkeypatch.chdir(tmp_path)
    into = tmp_path / "into.sqlite"
    merged = merge(into, [source, Path("source.sqlite"), Path("into.sqlite")])
    assert merged == [
        Merged(source, 1, 0, 0),
        Merged(Path("source.sqlite"), left_out="it was named before"),
        Merged(Path("into.sqlite"), left_out="it is the ledger that is merged into"),
    ]
    assert read(into) == [make_run()]


def test_a_run_that_ended_takes_the_place_of_one_that_failed(tmp_path: Path) -> None:
    failed = [make_run(seed, status="failed", reason="out of memory") for seed in range(3)]
    into = ledger_of(tmp_path / "into.sqlite", failed[0], make_run(1), failed[2])
    source = ledger_of(tmp_path / "source.sqlite", make_run(0), failed[1], attrs.evolve(failed[2], reason="other"))
    merge(into, [source])
    assert sorted(read(into), key=lambda run: run.key.seed) == [make_run(0), make_run(1), failed[2]]
    merge(source, [into])
    assert sorted(read(source), key=lambda run: run.key.seed)[:2] == [make_run(0), make_run(1)]
    assert rows(into, "SELECT count(*) FROM run") == [(3,)]


def changed(run: Run, **changes: Any) -> Run:
    return attrs.evolve(run, epochs=(run.epochs[0], attrs.evolve(run.epochs[1], **changes)))


PROVENANCE = {"zoo": "0.2.0", "torch": "2.9", "device": "cuda", "device_name": "NVIDIA H100"}


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (changed(make_run(), loss=0.25), "at epoch 2 the loss is 0.5 and 0.25"),
        (
            changed(make_run(), evaluations={"test": Evaluation(((53, 0), (4, 43)), 0.9)}),
            f"at epoch 2 on test recall is {macro_recall(CONFUSION)} and {macro_recall(((53, 0), (4, 43)))}",
        ),
        (
            changed(make_run(), evaluations={**make_epoch(2).evaluations, "test": Evaluation(((50, 3), (4, 43)), 0.8)}),
            "at epoch 2 on test the mean recall of batches is 0.9 and 0.8",
        ),
        (
            changed(make_run(), evaluations={**make_epoch(2).evaluations, "train": Evaluation(((43, 4), (3, 50)))}),
            "at epoch 2 on train the confusion matrices differ, with equal recall",
        ),
        (
            changed(make_run(), evaluations={"test": make_epoch(2).evaluations["test"]}),
            "at epoch 2 on train only one was evaluated",
        ),
        (make_run(epochs=(make_epoch(1),)), "they have 2 and 1 epochs"),
        (make_run(status="diverged"), "one is finished, the other diverged"),
    ],
)
def test_different_figures_of_one_run_are_an_error(tmp_path: Path, other: Run, difference: str) -> None:
    into = ledger_of(tmp_path / "into.sqlite", make_run(1), make_run(0))
    source = ledger_of(tmp_path / "source.sqlite", make_run(7), attrs.evolve(other, provenance=PROVENANCE))
    before = content(into)
    with pytest.raises(LedgerError) as raised:
        merge(into, [source])
    text = str(raised.value)
    assert difference in text
    assert f"{into} and {source} hold different figures of one run, study/default seed 0 on digits: " in text
    assert f"{into}, run 2: zoo unknown, torch unknown, cpu. " in text
    assert f"{source}, run 2: zoo 0.2.0, torch 2.9, cuda, NVIDIA H100. Nothing was merged. Remove the one " in text
    assert content(into) == before


@pytest.mark.parametrize("content_before", [None, b""])
def test_of_two_sources_that_differ_both_are_named_and_no_target_is_made(
    tmp_path: Path, content_before: bytes | None
) -> None:
    into = tmp_path / "into.sqlite"
    if content_before is not None:
        into.write_bytes(content_before)
    first = ledger_of(tmp_path / "first.sqlite", make_run(5), make_run(6), make_run())
    second = ledger_of(tmp_path / "second.sqlite", changed(make_run(), loss=0.25))
    with pytest.raises(LedgerError) as raised:
        merge(into, [first, second])
    text = str(raised.value)
    assert f"the ledgers {first} and {second} hold different figures of one run" in text
    assert f"{first}, run 3: " in text
    assert f"{second}, run 1: " in text
    assert (into.read_bytes() if into.exists() else None) == content_before
    assert not any(file.name.startswith("into.sqlite-") for file in tmp_path.iterdir())


def test_an_old_target_is_upgraded_only_if_something_is_added(tmp_path: Path) -> None:
    into = Path(shutil.copy(OLD, tmp_path / "into.sqlite"))
    same, other = Path(shutil.copy(OLD, tmp_path / "same.sqlite")), ledger_of(tmp_path / "other.sqlite", make_run())
    conflicting = ledger_of(tmp_path / "conflicting.sqlite", changed(make_run(), loss=0.25))
    before, said = into.read_bytes(), []
    assert merge(into, [same], say=said.append) == [Merged(same, 0, 6, 1)]
    with pytest.raises(LedgerError, match="hold different figures"):
        merge(into, [other, conflicting], say=said.append)
    assert (into.read_bytes(), said) == (before, [])
    assert merge(into, [other], say=said.append) == [Merged(other, 1, 0, 0)]
    assert [line.partition(". ")[0] for line in said] == [f"The ledger {into} was upgraded from version 1 to 2"]


@pytest.mark.parametrize("content_before", [None, b""])
def test_an_empty_source_stays_empty(tmp_path: Path, content_before: bytes | None) -> None:
    into, source = tmp_path / "into.sqlite", tmp_path / "source.sqlite"
    if content_before is not None:
        into.write_bytes(content_before)
    source.touch()
    with pytest.raises(LedgerError, match=r"source\.sqlite is an empty file, in which nothing was stored"):
        merge(into, [ledger_of(tmp_path / "good.sqlite", make_run()), source])
    assert source.read_bytes() == b""
    assert (into.read_bytes() if into.exists() else None) == content_before


def test_kept_states_come_along(tmp_path: Path) -> None:
    into = ledger_of(tmp_path / "into.sqlite", make_run(0), make_run(1))
    source = ledger_of(tmp_path / "source.sqlite", *(make_run(seed) for seed in range(4)))
    theirs, ours = (path.with_name(f"{path.name}-checkpoints") for path in (source, into))
    theirs.mkdir()
    for seed in (0, 1, 2, 99):
        kept_file(theirs, make_run(seed).key).write_bytes(b"theirs")
    checkpoint_file(theirs, make_run(3).key).write_bytes(b"of no use elsewhere")
    ours.mkdir()
    kept_file(ours, make_run(1).key).write_bytes(b"ours")
    assert merge(into, [source]) == [Merged(source, 2, 2, 0, states=2)]
    assert {file: file.read_bytes() for file in ours.iterdir()} == {
        kept_file(ours, make_run(seed).key): text for seed, text in ((0, b"theirs"), (1, b"ours"), (2, b"theirs"))
    }
    assert merge(into, [source]) == [Merged(source, 0, 4, 0)]


def test_a_state_that_cannot_be_copied(tmp_path: Path) -> None:
    into, source = tmp_path / "into.sqlite", ledger_of(tmp_path / "source.sqlite", make_run())
    file = kept_file(source.with_name("source.sqlite-checkpoints"), make_run().key)
    file.parent.mkdir()
    file.write_bytes(b"state")
    blocking = tmp_path / "into.sqlite-checkpoints"
    blocking.touch()
    message = r"the runs are merged, but the state .* cannot be copied to .*into\.sqlite-checkpoints: .*merge again"
    with pytest.raises(LedgerError, match=message):
        merge(into, [source])
    blocking.unlink()
    assert merge(into, [source]) == [Merged(source, 0, 1, 0, states=1)]


def test_times_and_names_may_differ(tmp_path: Path) -> None:
    slow = tuple(attrs.evolve(epoch, seconds_training=9.0, seconds_evaluation=9.0) for epoch in make_run().epochs)
    into = ledger_of(tmp_path / "into.sqlite", make_run())
    source = ledger_of(
        tmp_path / "source.sqlite", make_run(epochs=slow, name="other", seconds_setup=9.0, provenance=PROVENANCE)
    )
    assert merge(into, [source]) == [Merged(source, 0, 1, 0)]
    assert read(into) == [make_run()]


def test_equal_matrices_may_be_stored_otherwise(tmp_path: Path) -> None:
    confusion = tuple(tuple(range(30)) for _ in range(30))
    run = make_run(epochs=(attrs.evolve(make_epoch(1), evaluations={"test": Evaluation(confusion)}),))
    into, source = ledger_of(tmp_path / "into.sqlite", run), ledger_of(tmp_path / "source.sqlite", run)
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("UPDATE evaluation SET confusion = ?", [json.dumps(confusion)])
    assert merge(into, [source]) == [Merged(source, 0, 1, 0)]


def test_a_ledger_of_0_1_0_is_merged_and_stays(tmp_path: Path) -> None:
    source = Path(shutil.copy(OLD, tmp_path / "old.sqlite"))
    before = source.read_bytes()
    into = tmp_path / "into.sqlite"
    assert merge(into, [source]) == [Merged(source, 6, 0, 1)]
    assert read(into) == read(source)
    assert source.read_bytes() == before


def test_a_ledger_that_can_only_be_read_is_merged() -> None:
    with unprivileged_folder() as folder, unprivileged_folder() as own:
        source = ledger_of(folder / "source.sqlite", make_run())
        folder.chmod(0o555)
        assert merge(own / "into.sqlite", [source]) == [Merged(source, 1, 0, 0)]
        assert [file.name for file in folder.iterdir()] == ["source.sqlite"]


def test_what_is_under_way_stays_where_it_is(tmp_path: Path) -> None:
    into, source = tmp_path / "into.sqlite", tmp_path / "source.sqlite"
    with Ledger(source) as writer:
        record(writer, make_run(0))
        attempt = writer.claim(make_run(1))
        assert attempt is not None
        writer.add_epoch(attempt, make_epoch(1))
        assert merge(into, [source]) == [Merged(source, 1, 0, 1)]
        writer.add_epoch(attempt, make_epoch(2))
        writer.finish(attempt, make_run(1))
        assert merge(into, [source]) == [Merged(source, 1, 1, 0)]
    assert read(into) == [make_run(0), make_run(1)]


def test_a_run_that_the_target_is_training_is_merged(tmp_path: Path) -> None:
    into, source = tmp_path / "into.sqlite", ledger_of(tmp_path / "source.sqlite", make_run())
    with Ledger(into) as ledger:
        attempt = start_elsewhere(ledger, make_run())
        merge(into, [source])
        ledger.finish(attempt, make_run(epochs=()))
        assert ledger.runs() == [make_run()]


def test_damage_that_merging_would_not_meet_is_found(tmp_path: Path) -> None:
    good = ledger_of(tmp_path / "good.sqlite", make_run(1))
    bad = ledger_of(tmp_path / "bad.sqlite", make_run(2))
    ((page,),) = rows(bad, "SELECT rootpage FROM sqlite_master WHERE name = 'run_name'")
    ((size,),) = rows(bad, "PRAGMA page_size")
    with bad.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"Z" * size)
    assert len(rows(bad, "SELECT * FROM run ORDER BY id")) == 1
    for into, source in ((tmp_path / "into.sqlite", bad), (bad, good)):
        with pytest.raises(LedgerError, match=r"bad\.sqlite is damaged"):
            merge(into, [source])


def test_what_breaks_a_rule_of_the_tables_is_not_merged(tmp_path: Path) -> None:
    bad = ledger_of(tmp_path / "bad.sqlite", make_run(2))
    narrower = "replace(sql, 'reason TEXT NOT NULL', 'reason TEXT NOT NULL CHECK (length(reason) > 99)')"
    with closing(sqlite3.connect(bad)) as connection, connection:
        connection.executescript(
            f"PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = {narrower} WHERE name = 'run'"
        )
    with pytest.raises(LedgerError, match=r"bad\.sqlite is damaged, and nothing was merged\. SQLite says: CHECK"):
        merge(tmp_path / "into.sqlite", [bad])
    assert not (tmp_path / "into.sqlite").exists()


def test_a_damaged_or_missing_source_changes_nothing(tmp_path: Path) -> None:
    into = ledger_of(tmp_path / "into.sqlite", make_run(1))
    good = ledger_of(tmp_path / "good.sqlite", make_run(2))
    bad = ledger_of(tmp_path / "bad.sqlite", make_run(3))
    rows(bad, "UPDATE evaluation SET confusion = '['")
    with pytest.raises(LedgerError, match=r"bad\.sqlite is damaged"):
        merge(into, [good, bad])
    with pytest.raises(LedgerError, match=r"there is no ledger .*none\.sqlite"):
        merge(tmp_path / "new.sqlite", [good, tmp_path / "none.sqlite"])
    assert read(into) == [make_run(1)]
    assert not (tmp_path / "new.sqlite").exists()
