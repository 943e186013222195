import math
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_runs import CONFUSION, begin, make_epoch, make_run, read, record, rows, unprivileged_folder

from zoo.errors import LedgerError
from zoo.ledger import APPLICATION_ID, VERSION, ClaimLostError, Ledger, default_path
from zoo.ledger.keep import entries, info
from zoo.ledger.merge import merge
from zoo.ledger.schema import ENDED, KEY, OPEN
from zoo.train.metrics import macro_recall
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

WRITER = Path(__file__).with_name("ledger_writer.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "zoo.sqlite"


@pytest.fixture
def stored(path: Path) -> list[Run]:
    """Three runs, stored in the file at `path`."""
    runs = [make_run(0), make_run(1, status="diverged", reason="diverged at epoch 3"), make_run(2)]
    with Ledger(path) as ledger:
        for run in runs:
            record(ledger, run)
    return runs


# What is stored, and what of it is returned


def test_default_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_LEDGER", raising=False)
    assert default_path() == Path("zoo.sqlite")
    monkeypatch.setenv("ZOO_LEDGER", "")
    assert default_path() == Path("zoo.sqlite"), "an empty variable is an unset one"
    monkeypatch.setenv("ZOO_LEDGER", "/elsewhere/runs.sqlite")
    assert default_path() == Path("/elsewhere/runs.sqlite")


def test_a_ledger_needs_no_torch() -> None:
    subprocess.run([sys.executable, "-c", "import sys, zoo.ledger; assert 'torch' not in sys.modules"], check=True)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
int64 = st.integers(min_value=0, max_value=2**63 - 1)
seconds = st.floats(min_value=0, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
tables = st.dictionaries(st.text(max_size=10), json_values, max_size=4)
confusions = st.integers(1, 4).flatmap(lambda n: st.tuples(*[st.tuples(*[int64] * n)] * n))
evaluations = st.builds(Evaluation, confusions, st.none() | st.floats(0, 1))
epochs = st.builds(EpochRecord, int64, st.floats(), seconds, seconds, st.dictionaries(text, evaluations, max_size=3))
any_run = st.builds(
    Run,
    key=st.builds(RunKey, text, st.integers(), text, text, text),
    name=text,
    spec=tables,
    dataset=text,
    status=st.sampled_from(["finished", "diverged", "failed"]),
    reason=text,
    seconds_setup=seconds,
    parameters=int64,
    flops=int64,
    peak_memory=int64,
    provenance=tables,
    epochs=st.lists(epochs, max_size=4, unique_by=lambda e: e.epoch).map(
        lambda es: tuple(sorted(es, key=lambda e: e.epoch))
    ),
)


def comparable(run: Run) -> Run:
    """Put something equal to itself where the loss is not a number."""
    losses = ["nan" if math.isnan(e.loss) else e.loss for e in run.epochs]
    return attrs.evolve(
        run,
        epochs=tuple(attrs.evolve(e, loss=loss) for e, loss in zip(run.epochs, losses, strict=True)),  # type: ignore[arg-type]
    )


@given(runs=st.lists(any_run, min_size=1, max_size=3, unique_by=lambda run: run.key))
@settings(max_examples=40, deadline=None)
def test_what_is_stored_is_returned_exactly(runs: list[Run]) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "zoo.sqlite") as ledger:
        for run in runs:
            record(ledger, run)
        assert [comparable(run) for run in ledger.runs()] == [comparable(run) for run in runs]
        for run in runs:
            found = ledger.find(run.key)
            if run.status == "failed":
                assert found is None
            else:
                assert found is not None
                assert comparable(found) == comparable(run)
        assert ledger.ended(run.key for run in runs) == {run.key for run in runs if run.status != "failed"}


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_the_loss_of_a_diverged_run(path: Path, loss: float) -> None:
    with Ledger(path) as ledger:
        record(ledger, make_run(status="diverged", epochs=(EpochRecord(1, loss, 1.0, 0.0),)))
        (run,) = ledger.runs()
    assert str(run.epochs[0].loss) == str(loss)


def test_any_difference_in_the_key_is_another_run(path: Path) -> None:
    key = make_run().key
    others = [
        attrs.evolve(key, seed=7),
        attrs.evolve(key, spec="other"),
        attrs.evolve(key, dataset="other"),
        attrs.evolve(key, source="other"),
        attrs.evolve(key, precision="other"),
    ]
    with Ledger(path) as ledger:
        record(ledger, make_run())
        assert ledger.ended([key, *others]) == {key}
        assert [ledger.find(other) for other in others] == [None] * 5


def test_runs_are_chosen_by_name_and_dataset(path: Path) -> None:
    runs = [make_run(0), make_run(1, name="it's"), make_run(2, dataset="cifar10"), make_run(3, name="it's")]
    with Ledger(path) as ledger:
        for run in runs:
            record(ledger, run)
        assert ledger.runs() == runs
        assert ledger.runs(names=["it's"]) == [runs[1], runs[3]]
        assert ledger.runs(names=["it's", "study/default"], dataset="digits") == [runs[0], runs[1], runs[3]]
        assert ledger.runs(dataset="cifar10") == [runs[2]]
        assert ledger.runs(names=[]) == []


def test_a_data_set_is_found_by_each_of_its_names(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [
        make_run(seed, digest, dataset=name)
        for seed, (digest, name) in enumerate(
            [("1", "folder:d"), ("1", "folder:moved/d"), ("2", "folder:d"), ("3", "npz:d")]
        )
    ]
    with Ledger(path) as ledger:
        for run in runs:
            record(ledger, run)
        for name in ("folder:d", "folder:./d/", f"folder:{tmp_path}/x/../d"):
            assert ledger.runs(dataset=name) == runs[:3]
            assert [entry.id for entry in entries(ledger, dataset=name)] == [1, 2, 3]
        assert ledger.runs(dataset="folder:moved/d") == runs[:2]
        assert ledger.runs(dataset="npz:./d") == runs[3:]
        assert ledger.runs(dataset="folder:other") == []
        assert info(ledger)["datasets"] == {"folder:d": 3, "npz:d": 1}


def test_the_file_can_be_read_with_plain_sql(path: Path, stored: list[Run]) -> None:
    assert rows(path, "SELECT spec, status, recall FROM runs WHERE seed = 1") == [
        ("study/default", "diverged", macro_recall(CONFUSION))
    ]
    query = """
        SELECT json_extract(confusion, '$[1][0]') FROM evaluation JOIN run ON run.id = evaluation.run
        WHERE seed = 1 AND epoch = 2 AND part = 'test'
    """
    assert rows(path, query) == [(4,)], "a small confusion matrix is JSON"


def test_a_path_with_special_characters(tmp_path: Path) -> None:
    path = tmp_path / "50% of runs? #1 é.sqlite"
    with Ledger(path) as ledger:
        record(ledger, make_run())
    assert path.is_file()
    assert read(path) == [make_run()]


# Attempts


def test_an_attempt_under_way_is_no_result(path: Path) -> None:
    with Ledger(path) as ledger:
        attempt = begin(ledger, make_run())
        ledger.add_epoch(attempt, make_epoch(1))
        assert ledger.runs() == []
        assert ledger.find(make_run().key) is None
        assert ledger.ended([make_run().key]) == set()


def test_finish_stores_what_was_learnt_since_start(path: Path) -> None:
    begun = make_run(status="running", seconds_setup=0.0, parameters=0, flops=0, peak_memory=0, provenance={})
    ended = make_run(status="diverged", reason="diverged at epoch 3")
    with Ledger(path) as ledger:
        attempt = begin(ledger, begun)
        for epoch in ended.epochs:
            ledger.add_epoch(attempt, epoch)
        ledger.finish(attempt, ended)
        assert ledger.find(ended.key) == ended


def test_finish_wants_an_end(path: Path) -> None:
    with Ledger(path) as ledger:
        attempt = begin(ledger, make_run())
        with pytest.raises(ValueError, match="needs the status finished, diverged or failed"):
            ledger.finish(attempt, make_run(status="running"))


def test_a_failed_run_is_tried_again(path: Path) -> None:
    failed = make_run(status="failed", reason="out of memory")
    with Ledger(path) as ledger:
        record(ledger, failed)
        assert ledger.runs() == [failed]
        assert ledger.ended([failed.key]) == set()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE run SET host = 'elsewhere'")
        begin(ledger, failed)
        assert rows(path, "SELECT status FROM run") == [("running",)], "the failed attempt is left"
        record(ledger, attrs.evolve(failed, reason="out of memory again"))
        assert [run.reason for run in ledger.runs()] == ["out of memory again"]
        record(ledger, make_run())
        assert ledger.runs() == [make_run()]
    assert rows(path, "SELECT count(*) FROM epoch") == [(2,)], "epochs of the failed attempts are left"


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_a_failed_run_that_is_merged_while_it_is_tried_again(path: Path, tmp_path: Path, status: Any) -> None:
    with Ledger(path) as ledger, Ledger(tmp_path / "other.sqlite") as other:
        attempt = begin(ledger, make_run())
        record(other, make_run(status="failed", epochs=()))
        merge(path, [other.path])
        ledger.finish(attempt, make_run(status=status, epochs=()))
        assert ledger.runs() == [make_run(status=status, epochs=())], "more than the last of two failures is returned"


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_a_run_that_is_merged_while_it_is_trained_is_the_run(path: Path, tmp_path: Path, status: Any) -> None:
    mine, ended = make_run(parameters=1, status=status), make_run(parameters=2, epochs=(make_epoch(1),))
    with Ledger(path) as ledger, Ledger(tmp_path / "other.sqlite") as other:
        attempt = begin(ledger, mine)
        ledger.add_epoch(attempt, make_epoch(1))
        record(other, ended)
        merge(path, [other.path])
        ledger.add_epoch(attempt, make_epoch(2))
        ledger.finish(attempt, mine)
        assert ledger.runs() == [ended]
        ((number,),) = rows(path, "SELECT id FROM run")
        ledger.finish(number, mine)
        assert ledger.runs() == [ended], "an ended run was removed"


def test_an_attempt_that_was_removed(path: Path, stored: list[Run]) -> None:
    message = r"no longer holds this attempt at the run: another process has taken the run over, as this one was not "
    with Ledger(path) as ledger:
        attempt = begin(ledger, make_run(9))
        newer = begin(ledger, make_run(9))
        assert newer > attempt
        with pytest.raises(ClaimLostError, match=message):
            ledger.add_epoch(attempt, make_epoch(1))
        with pytest.raises(ClaimLostError, match=message):
            ledger.finish(attempt, make_run(9))
        assert ledger.runs() == stored


# Files that cannot be used. Whatever happens, what was stored is still there.


def test_a_missing_file(path: Path) -> None:
    with pytest.raises(
        LedgerError, match=r"there is no ledger .*zoo\.sqlite: `zoo benchmark` makes one; or name another"
    ):
        Ledger(path, create=False)
    assert not path.exists()


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"cannot be made: there is no folder .*nowhere\. Make it first"):
        Ledger(tmp_path / "nowhere" / "zoo.sqlite")


@pytest.mark.parametrize("create", [True, False])
def test_a_folder(tmp_path: Path, create: bool) -> None:
    with pytest.raises(LedgerError, match=r"is a folder: name another file as the ledger, also by ZOO_LEDGER"):
        Ledger(tmp_path, create=create)


def test_a_device() -> None:
    with pytest.raises(LedgerError, match="/dev/null is no regular file: name another"):
        Ledger(Path("/dev/null"))


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be opened: File name too long"):
        Ledger(tmp_path / ("x" * 300))


def test_an_empty_file_becomes_a_ledger_when_it_is_written(path: Path) -> None:
    path.touch()
    for write in (False, True):
        with pytest.raises(
            LedgerError, match=r"zoo\.sqlite is an empty file, .*`zoo ledger merge` where one was killed"
        ):
            Ledger(path, create=False, write=write)
        assert path.read_bytes() == b""
    with Ledger(path) as ledger:
        assert ledger.runs() == []
        record(ledger, make_run())
    assert read(path) == [make_run()]


@pytest.mark.parametrize("content", [b"\n\n", b"name,recall\nrelu,0.57\n" * 100, random.Random(0).randbytes(5000)])
def test_a_file_that_is_not_sqlite(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"is not a ledger: it is no SQLite file\. It is left as it is; name another"):
        Ledger(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE photo (id)", "PRAGMA user_version = 3", "PRAGMA application_id = 3"]
)
def test_the_file_of_another_program(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    content = path.read_bytes()
    with pytest.raises(
        LedgerError, match=r"is not a ledger but an SQLite file of another program\. It is left as it is"
    ):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_newer_version(path: Path, stored: list[Run]) -> None:
    assert rows(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    rows(path, f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(LedgerError, match="is of version 3 and this zoo reads version 2: upgrade zoo, or name another"):
        Ledger(path)
    rows(path, f"PRAGMA user_version = {VERSION}")
    assert read(path) == stored


@pytest.mark.parametrize("start", [100, 4096], ids=["schema", "tables"])
def test_a_damaged_file(path: Path, stored: list[Run], start: int) -> None:
    good = path.read_bytes()
    path.write_bytes(good[:start] + b"\xff" * (len(good) - start))
    with pytest.raises(LedgerError, match=r"is damaged\. Restore a copy, save what can be read with the `\.recover`"):
        read(path)
    path.write_bytes(good)
    assert read(path) == stored


def test_a_file_that_was_cut_off(path: Path, stored: list[Run]) -> None:
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(LedgerError, match="is damaged"):
        read(path)
    path.write_bytes(good)
    assert read(path) == stored


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE run SET spec = '{'",
        "UPDATE run SET seed = 'x'",
        "UPDATE run SET name = CAST(x'ff' AS TEXT)",
        "UPDATE evaluation SET confusion = '[1]'",
        "UPDATE evaluation SET confusion = '['",
        "UPDATE evaluation SET confusion = x'ff'",
        "UPDATE evaluation SET confusion = 7",
    ],
)
def test_damage_that_sqlite_does_not_notice(path: Path, stored: list[Run], damage: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"{damage} WHERE rowid = 1")
    with Ledger(path) as ledger:
        with pytest.raises(LedgerError, match="is damaged"):
            ledger.runs()
        assert ledger.find(stored[1].key) == stored[1]


def test_a_table_that_is_not_there(path: Path, stored: list[Run]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE epoch")
    with pytest.raises(LedgerError, match=r"zoo\.sqlite cannot be used: no such table: epoch"):
        read(path)


@pytest.mark.parametrize(
    ("name", "damaged"), [(b"CREATE TABLE run", b"CREATE T\xffBLE run"), (b"peak_memory", b"peak_nemory")]
)
def test_a_name_that_a_bit_has_changed(path: Path, stored: list[Run], name: bytes, damaged: bytes) -> None:
    rows(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    path.write_bytes(content.replace(name, damaged, 1))
    with pytest.raises(LedgerError, match=r"zoo\.sqlite (is damaged|cannot be used: )"):
        read(path)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_removed_while_it_is_used(path: Path, replaced: bool) -> None:
    with Ledger(path) as ledger:
        attempt = begin(ledger, make_run())
        moved = path.rename(path.with_name("moved.sqlite"))
        if replaced:
            Ledger(path).close()
        with pytest.raises(
            LedgerError, match="was removed, moved or replaced while it was in use, and what this command"
        ):
            ledger.add_epoch(attempt, make_epoch(1))
        if not replaced:
            moved.rename(path)
            ledger.add_epoch(attempt, make_epoch(1))


def test_a_lock_that_is_not_released(path: Path, stored: list[Run]) -> None:
    message = "is locked by another process that does not release it: wait for that one, or name another file"
    with Ledger(path, timeout=0.05) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        attempt = begin(ledger, make_run(9))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match=message):
            begin(ledger, make_run(8))
        with pytest.raises(LedgerError, match=message):
            ledger.add_epoch(attempt, make_epoch(1))
        with pytest.raises(LedgerError, match=message):
            ledger.finish(attempt, make_run(9))
        with pytest.raises(LedgerError, match=message):
            Ledger(path, timeout=0.05)
        assert ledger.runs() == read(path) == stored, "reading waits for no writer"
        other.execute("COMMIT")
        ledger.add_epoch(attempt, make_epoch(1))
        ledger.finish(attempt, make_run(9))
        assert ledger.runs() == [*stored, make_run(9, epochs=(make_epoch(1),))]


def test_a_lock_is_waited_for(path: Path, stored: list[Run]) -> None:
    with Ledger(path) as ledger, closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM run WHERE seed = 2")
        release = threading.Timer(0.1, other.execute, ["COMMIT"])
        release.start()
        record(ledger, make_run(9))
        release.join()
        assert ledger.runs() == [*stored[:2], make_run(9)]


def test_a_file_that_is_locked_before_it_is_a_ledger(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="is locked by another process"):
            Ledger(path, timeout=0.05)
        other.execute("COMMIT")
        # A reader keeps a file from being switched to write-ahead logging, and SQLite does not wait for it.
        with Ledger(path):
            pass
        rows(path, "PRAGMA journal_mode = DELETE")
        other.execute("BEGIN")
        other.execute("SELECT * FROM run").fetchall()
        with pytest.raises(LedgerError, match="is locked by another process"):
            Ledger(path, timeout=0.05)
        release = threading.Timer(0.1, other.execute, ["COMMIT"])
        release.start()
        with Ledger(path) as ledger:
            record(ledger, make_run())
        release.join()
    assert read(path) == [make_run()]


def test_a_full_disk(path: Path, stored: list[Run]) -> None:
    counts = random.Random(0)
    confusion = tuple(tuple(counts.randrange(10**6) for _ in range(200)) for _ in range(200))
    large = EpochRecord(1, 0.5, 1.0, 0.0, {"test": Evaluation(confusion)})
    message = "cannot grow: the disk is full. Free some space and run the command again; what was stored is kept"
    with Ledger(path) as ledger:
        attempt = begin(ledger, make_run(8))
        (pages,) = ledger.file.connection.execute("PRAGMA page_count").fetchone()
        ledger.file.connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerError, match=message):
            ledger.add_epoch(attempt, large)
        with pytest.raises(LedgerError, match=message):
            begin(ledger, make_run(9, spec={"long": "x" * 50_000}))
        with pytest.raises(LedgerError, match=message):
            ledger.finish(attempt, make_run(8, reason="x" * 50_000))
        assert ledger.runs() == stored
        ledger.file.connection.execute("PRAGMA max_page_count = 100000")
        ledger.add_epoch(attempt, large)
        ledger.finish(attempt, make_run(8))
    assert read(path) == [*stored, make_run(8, epochs=(large,))]


def test_text_that_is_not_unicode(path: Path, stored: list[Run]) -> None:
    with Ledger(path) as ledger:
        with pytest.raises(
            LedgerError, match=r"cannot hold the text 'folder:/data/\\udcff', which is not valid Unicode"
        ):
            begin(ledger, make_run(9, dataset=os.fsdecode(b"folder:/data/\xff")))
        assert ledger.runs() == stored


def test_misuse_is_not_blamed_on_the_file(path: Path) -> None:
    with Ledger(path) as ledger:
        attempt = begin(ledger, make_run())
        ledger.add_epoch(attempt, make_epoch(1))
        with pytest.raises(sqlite3.IntegrityError, match=r"epoch\.run, epoch\.epoch"):
            ledger.add_epoch(attempt, make_epoch(1))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        ledger.runs()


def test_a_folder_that_can_only_be_read() -> None:
    with unprivileged_folder() as folder:
        path = folder / "zoo.sqlite"
        with Ledger(path) as ledger:
            record(ledger, make_run())
            folder.chmod(0o555)
            assert read(path) == [make_run()], "while someone writes"
            folder.chmod(0o755)
        folder.chmod(0o555)
        assert read(path) == [make_run()]
        message = "cannot be written: the file or its folder is read-only. Change the permissions, or name another file"
        with pytest.raises(LedgerError, match=message):
            Ledger(path)
        with Ledger(path, create=False) as ledger, pytest.raises(LedgerError, match=message):
            begin(ledger, make_run(1))
        with pytest.raises(LedgerError, match=r"cannot be opened: its folder or one of its files .* cannot be read"):
            Ledger(folder / "new.sqlite")
        assert os.listdir(folder) == ["zoo.sqlite"]


def test_a_file_that_can_only_be_read() -> None:
    with unprivileged_folder() as folder:
        path = folder / "zoo.sqlite"
        with Ledger(path) as ledger:
            record(ledger, make_run())
        path.chmod(0o444)
        assert read(path) == [make_run()]
        with pytest.raises(LedgerError, match="cannot be written: the file or its folder is read-only"):
            Ledger(path)
        path.chmod(0o000)
        with pytest.raises(LedgerError, match="cannot be opened: its folder or one of its files"):
            Ledger(path)
        path.chmod(0o644)
        assert read(path) == [make_run()]


def test_a_killed_writers_ledger_in_a_folder_that_can_only_be_read() -> None:
    # What it wrote last is in the -wal file, which SQLite can read only with another file beside it.
    with unprivileged_folder() as folder, tempfile.TemporaryDirectory() as other:
        path = Path(other) / "zoo.sqlite"
        with Ledger(path) as ledger:
            record(ledger, make_run())
            for name in ("zoo.sqlite", "zoo.sqlite-wal"):
                shutil.copy(Path(other) / name, folder / name)
        folder.chmod(0o555)
        with pytest.raises(LedgerError, match="copy all its files to a folder of your own"):
            read(folder / "zoo.sqlite")
        folder.chmod(0o755)
        assert read(folder / "zoo.sqlite") == [make_run()]


def test_a_folder_that_cannot_be_entered() -> None:
    with unprivileged_folder() as folder:
        folder.chmod(0o000)
        for create in (True, False):
            with pytest.raises(LedgerError, match="cannot be opened: Permission denied; name another file"):
                Ledger(folder / "zoo.sqlite", create=create)


# Several processes, and kills


def writer(path: Path, pause: float = 0.0) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(WRITER), str(path), str(pause)], stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """What the writer leaves when nothing disturbs it."""
    path = tmp_path_factory.mktemp("undisturbed") / "zoo.sqlite"
    with writer(path) as process:
        process.communicate()
    assert process.returncode == 0
    runs = read(path)
    assert len(runs) == 40
    assert {len(run.epochs) for run in runs} == {4}
    return runs


def test_a_writer_that_is_killed_again_and_again(path: Path, undisturbed: list[Run]) -> None:
    moments = random.Random(0)
    progress = [0]
    for _ in range(7):
        with writer(path, pause=0.002) as process:
            assert process.stdout is not None
            announced = [process.stdout.readline() for _ in range(moments.randint(1, 12))]
            time.sleep(moments.uniform(0.0, 0.01))
            process.kill()
            announced += process.stdout
        stored = {f"{run} {epoch}\n" for run, epoch in rows(path, "SELECT run, epoch FROM epoch")}
        assert {line for line in announced if line.endswith("\n")} <= stored, "an epoch that was stored is lost"
        assert rows(path, "PRAGMA quick_check") == [("ok",)]
        ended = read(path)
        assert ended == undisturbed[: len(ended)]
        assert len(rows(path, "SELECT * FROM run")) <= len(ended) + 1, "more than the killed attempt is left"
        progress.append(len(ended))
    assert progress == sorted(progress)
    assert 0 < progress[-1] < 40, "the kills did not fall into the work"
    with writer(path) as process:
        assert process.stdout is not None
        lines = len(process.stdout.readlines())
    assert lines == 4 * (40 - progress[-1]), "only what is missing is done again"
    assert read(path) == undisturbed
    assert rows(path, "SELECT count(*) FROM run") == [(40,)]
    assert rows(path, "SELECT count(*) FROM epoch") == [(160,)]


def test_a_process_that_is_killed_while_it_makes_ledgers(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from zoo.ledger import Ledger
for i in range(10_000):
    Ledger(Path(sys.argv[1]) / f"{i}.sqlite").close()
    print(i, flush=True)
"""
    moments = random.Random(1)
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with subprocess.Popen(
            [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.02))
            process.kill()
            process.stdout.read()
        for path in folder.glob("*.sqlite"):
            with Ledger(path) as ledger:
                record(ledger, make_run())
            assert read(path) == [make_run()]


def test_a_ledger_that_is_made_by_several_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=30)

    def make_ledgers() -> None:
        for i in range(50):
            together.wait()
            Ledger(tmp_path / f"{i}.sqlite").close()

    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(make_ledgers) for _ in range(4)]:
            made.result()
    # Of those that close at once, none may see that it is the last, and remove the -wal and -shm files.
    assert len(list(tmp_path.glob("*.sqlite"))) == 50


def test_processes_at_once_on_one_file(path: Path, undisturbed: list[Run]) -> None:
    processes = [writer(path) for _ in range(3)]
    readings = []
    while any(process.poll() is None for process in processes):
        if path.exists() and path.stat().st_size:
            readings.append(read(path))
        time.sleep(0.01)
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert len(readings) > 1
    by_seed = {run.key.seed: run for run in undisturbed}
    for runs in readings:
        assert all(run == by_seed[run.key.seed] for run in runs), "a reader saw half a run"
    assert sorted(read(path), key=lambda run: run.key.seed) == undisturbed
    assert rows(path, "SELECT count(*) FROM run") == [(40,)], "an attempt that came second is left"


# Speed


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of 100,000 runs with one epoch each."""
    path = tmp_path_factory.mktemp("large") / "zoo.sqlite"
    with Ledger(path) as ledger:
        record(ledger, make_run(0, epochs=(make_epoch(1),)))
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(run)")]
        copied = ", ".join({"id": "n", "seed": "n"}.get(column, column) for column in columns)
        numbers = "WITH RECURSIVE number(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < 100000)"
        connection.execute(f"{numbers} INSERT INTO run SELECT {copied} FROM number, run WHERE run.id = 1")
        connection.execute("INSERT INTO epoch SELECT run.id, 1, 0.5, 1.0, 0.1 FROM run WHERE run.id > 1")
    return path


def milliseconds(repeats: int, action: Any) -> float:
    """Return the median time of an action."""
    times = []
    for i in range(repeats):
        start = time.perf_counter()
        action(i)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def test_a_large_ledger_is_fast(large: Path, record_property: Any) -> None:
    # The bound leaves room for a busy machine; a hundred searches of the whole table would take seconds.
    keys = [make_run(seed).key for seed in range(99_950, 100_050)]
    with Ledger(large) as ledger:
        attempt = begin(ledger, make_run(-1))
        medians = {
            "open": milliseconds(5, lambda _: Ledger(large).close()),
            "ended, 100 keys": milliseconds(5, lambda _: ledger.ended(keys)),
            "find": milliseconds(5, lambda _: ledger.find(keys[0])),
            "add_epoch": milliseconds(50, lambda i: ledger.add_epoch(attempt, make_epoch(i + 1))),
            "claim": milliseconds(20, lambda i: begin(ledger, make_run(-2 - i))),
        }
        assert ledger.ended(keys) == {key for key in keys if key.seed <= 100_000}
    record_property("milliseconds", medians)
    assert max(medians.values()) < 20, medians


def test_lookups_by_key_use_an_index(path: Path) -> None:
    with Ledger(path) as ledger:
        for condition in (ENDED, OPEN):
            query = f"EXPLAIN QUERY PLAN SELECT * FROM run WHERE {KEY} AND {condition}"
            (step,) = ledger.file.connection.execute(query, [""] * 5).fetchall()
            assert "USING INDEX run_" in step["detail"], step["detail"]


def test_a_file_that_was_made_and_not_used_is_removed(path: Path) -> None:
    with Ledger(path, keep_unused=False) as ledger:
        attempt = begin(ledger, make_run(0))
        assert path.exists()
        ledger.release(attempt)
    assert not list(path.parent.iterdir())
    with Ledger(path):
        pass
    with Ledger(path, keep_unused=False):
        pass
    assert path.exists(), "another one made it"


def test_a_file_that_another_has_open_is_not_removed(path: Path) -> None:
    with Ledger(path, keep_unused=False) as first:
        other = Ledger(path, keep_unused=False)
        first.release(begin(first, make_run(0)))
    with other:
        record(other, make_run(0))
    assert len(read(path)) == 1
    with Ledger(path) as ledger:
        assert ledger.file.pragma("user_version") == VERSION


def test_a_file_that_is_used_stays(path: Path) -> None:
    with Ledger(path, keep_unused=False) as ledger:
        record(ledger, make_run(0))
    assert len(read(path)) == 1
