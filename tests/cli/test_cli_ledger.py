from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import pandas as pd
import pytest
from click.testing import Result

from zoo.ledger import Ledger
from zoo.report import layout
from zoo.train.run import Run

Zoo = Callable[..., Result]

OLD = Path(__file__).parents[1] / "v0_1_0" / "ledger.sqlite"


@pytest.fixture
def old(folder: Path) -> Path:
    """A ledger of zoo 0.1.0: five finished runs, one that diverged, one that was cut short."""
    return Path(shutil.copy(OLD, folder / "zoo.sqlite"))


def store(path: Path, run: Run) -> None:
    with Ledger(path) as ledger:
        attempt = ledger.claim(run)
        assert attempt is not None
        for epoch in run.epochs:
            ledger.add_epoch(attempt, epoch)
        ledger.finish(attempt, run)


def stored(path: Path) -> list[Run]:
    with Ledger(path, create=False) as ledger:
        return ledger.runs()


def listed(zoo: Zoo, *arguments: str) -> list[int]:
    return [row["id"] for row in json.loads(zoo("ledger", "runs", *arguments, "--json").stdout)]


def test_the_commands_import_no_torch(old: Path) -> None:
    script = (
        "import sys; from zoo.cli import main; main({!r}, standalone_mode=False); assert 'torch' not in sys.modules"
    )
    for arguments in (["info"], ["runs"], ["show", "1"], ["remove", "--stale", "--dry-run"], ["check"]):
        subprocess.run([sys.executable, "-c", script.format(["ledger", *arguments])], check=True, capture_output=True)


def test_info(zoo: Zoo, old: Path) -> None:
    text = zoo("ledger", "info").stdout
    assert text.splitlines()[:3] == [
        "ledger       zoo.sqlite (94.2 kB, version 1)",
        "runs         5 finished, 1 diverged, 1 cut short; 5 specs",
        "data sets    digits (6)",
    ]
    record = json.loads(zoo("ledger", "info", "--json").stdout)
    assert record["runs"] == {"finished": 5, "diverged": 1, "failed": 0, "running": 0, "cut short": 1}
    assert record["training"] == []


def test_info_says_who_trains(zoo: Zoo, old: Path) -> None:
    run = stored(old)[0]
    with Ledger(old) as ledger:
        ledger.claim(attrs.evolve(run, key=attrs.evolve(run.key, seed=99)))
        (training,) = json.loads(zoo("ledger", "info", "--json").stdout)["training"]
        assert training["runs"] == 1
        assert (
            f"training     1 run on {training['host']}, process {training['pid']}: zoo" in zoo("ledger", "info").stdout
        )
        refused = zoo("ledger", "remove", "starter/*", "--yes")
        assert refused.exit_code == 1
        assert "starter/default seed 99 on digits, is being trained (" in refused.stderr


def test_runs_are_listed(zoo: Zoo, old: Path) -> None:
    lines = zoo("ledger", "runs", "starter/4?").stdout.splitlines()
    assert [line.split() for line in lines if not line.startswith("-")] == [
        ["run", "spec", "seed", "epochs", "data", "set", "status", "recall", "training", "started"],
        ["2", "starter/4c", "0", "2", "digits", "finished", "0.5992", "0.20", "s", "2026-11-27", "02:41"],
        ["4", "starter/4c", "1", "2", "digits", "finished", "0.6521", "0.18", "s", "2026-11-27", "02:41"],
        ["7", "starter/4e", "0", "50", "digits", "cut", "short"],
    ]
    assert listed(zoo) == list(range(1, 8))
    assert listed(zoo, "--status", "diverged", "--status", "cut short") == [6, 7]
    assert listed(zoo, "--failed") == []
    assert zoo("ledger", "runs", "--failed").stdout == "No runs.\n"


@pytest.mark.parametrize("command", [["runs"], ["remove", "--dry-run"]])
def test_runs_that_look_alike_are_told_apart(zoo: Zoo, old: Path, command: list[str]) -> None:
    first = stored(old)[0]

    def like(identity: str, sets: dict[str, dict[str, object]], **key: str) -> Run:
        spec = {**first.spec, **{section: {**first.spec[section], **values} for section, values in sets.items()}}
        return attrs.evolve(first, key=attrs.evolve(first.key, spec=identity * 64, **key), spec=spec)

    store(old, like("a", {"training": {"epochs": 3}}))
    store(old, like("b", {"training": {"epochs": 3, "batch_size": 9}}))
    store(old, like("b", {"training": {"epochs": 3, "batch_size": 9}}, precision="bf16"))
    store(old, like("b", {"training": {"epochs": 3, "batch_size": 9}}, dataset="d" * 64))
    store(old, like("b", {"training": {"epochs": 3, "batch_size": 9}}, source="e" * 64))
    lines = zoo("ledger", *command, "starter/default").stdout.splitlines()[2:]
    shown = [line[: line.index(" finished")].split(maxsplit=1)[1] for line in lines if " finished" in line]
    assert len(set(shown)) == len(shown) == 7
    assert "batch_size=9" in shown[3]
    assert "2 of 3" in shown[2]


@pytest.mark.parametrize("command", [["runs"], ["runs", "--json"], ["remove", "--yes"], ["remove", "--dry-run"]])
def test_what_is_not_there_is_an_error(zoo: Zoo, old: Path, command: list[str]) -> None:
    before = old.read_bytes()
    for arguments, problem in (
        (["starter/defualt"], "of 'starter/defualt'; did you mean starter/default"),
        (["--data", "digitz"], "on the data set 'digitz'; did you mean digits?\n"),
    ):
        result = zoo("ledger", *command, *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: the ledger zoo.sqlite holds no run {problem}")
    assert old.read_bytes() == before


def test_the_list_fits_a_terminal(zoo: Zoo, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "terminal_width", lambda: 80)
    lines = zoo("ledger", "runs").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("finished" in line for line in lines) == 5


def test_show(zoo: Zoo, old: Path) -> None:
    text = zoo("ledger", "show", "5").stdout
    assert "starter/default[evaluation.measure=eq2425]" in text
    assert "\nprovenance\n  zoo           0.1.0\n" in text
    assert text.splitlines()[-1].split() == ["2", "2.2800", "0.5014", "0.5110", "0.4935", "0.08", "s"]
    record = json.loads(zoo("ledger", "show", "5", "--json").stdout)
    run = stored(old)[4]
    assert record["content"] == run.spec
    assert record["history"][1]["evaluations"]["test"]["confusion"] == [
        list(row) for row in run.epochs[1].evaluations["test"].confusion
    ]
    assert "reason\n  diverged at epoch 1: the training loss is nan" in zoo("ledger", "show", "6").stdout
    absent = zoo("ledger", "show", "77")
    assert (absent.exit_code, absent.stderr) == (
        1,
        "Error: the ledger zoo.sqlite holds no run 77: `zoo ledger runs` lists them.\n",
    )


def test_reading_leaves_an_old_ledger_as_it_is(zoo: Zoo, old: Path) -> None:
    before = old.read_bytes()
    for arguments in (["info"], ["runs"], ["show", "1"], ["check"], ["export", "t"], ["remove", "*", "--dry-run"]):
        assert zoo("ledger", *arguments).exit_code == 0
    assert old.read_bytes() == before


def test_runs_are_removed_after_a_question(zoo: Zoo, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.read_bytes()
    nobody = zoo("ledger", "remove", "starter/4c")
    assert nobody.exit_code == 2
    assert nobody.stderr == ("Error: nothing was removed: there is no terminal to ask on; say --yes to remove it\n")
    monkeypatch.setattr("zoo.cli.asking.interactive", lambda: True)
    dry = zoo("ledger", "remove", "starter/4c", "--dry-run")
    assert dry.exit_code == 0
    assert dry.stdout.count("starter/4c") == 2
    no = zoo("ledger", "remove", "starter/4c", input="n\n")
    assert no.exit_code == 0
    assert no.stderr == "Remove 2 runs from zoo.sqlite? [y/N]: n\nNothing was removed.\n"
    assert old.read_bytes() == before, "it was changed without need"
    assert zoo("ledger", "remove", "starter/4c", input="").exit_code == 130
    yes = zoo("ledger", "remove", "starter/4c", input="y\n")
    assert yes.stdout.endswith("Removed 2 runs.\n")
    assert "The ledger zoo.sqlite was upgraded from version 1 to 2. Earlier versions" in yes.stderr
    assert zoo("ledger", "remove", "--run", "1", "--run", "3", "--yes").exit_code == 0
    assert listed(zoo) == [5, 6, 7]
    assert zoo("ledger", "remove", "--failed").stdout == "No runs.\n"


def test_stale_runs_are_removed(zoo: Zoo, ledger: Path) -> None:
    run = stored(ledger)[0]
    store(ledger, attrs.evolve(run, key=attrs.evolve(run.key, source="before")))
    store(ledger, attrs.evolve(run, key=attrs.evolve(run.key, spec="other")))
    assert zoo("ledger", "remove", "--stale", "--yes").stdout.endswith("Removed 2 runs.\n")
    assert len(stored(ledger)) == 4
    assert zoo("-p", "no:activations", "ledger", "remove", "--stale").stdout == "No runs." + "\n"


def test_removing_nothing_in_particular_is_wrong_usage(zoo: Zoo, old: Path) -> None:
    result = zoo("ledger", "remove", "--yes")
    assert result.exit_code == 2
    assert "say which runs: a SPEC-PATTERN, --data, --failed, --stale or --run" in result.stderr


def test_merge(zoo: Zoo, old: Path) -> None:
    result = zoo("ledger", "merge", "all.sqlite", "zoo.sqlite", "./zoo.sqlite")
    assert result.stdout == (
        "zoo.sqlite: 6 runs added, 0 known already; 1 not ended, left there\n"
        "zoo.sqlite: left out, as it was named before\n"
    )
    again = zoo("ledger", "merge", "all.sqlite", "zoo.sqlite", "all.sqlite")
    assert again.stdout == (
        "zoo.sqlite: 0 runs added, 6 known already; 1 not ended, left there\n"
        "all.sqlite: left out, as it is the ledger that is merged into\n"
    )
    assert zoo("results", "--ledger", "all.sqlite").stdout == zoo("results").stdout
    with closing(sqlite3.connect("all.sqlite")) as connection, connection:
        connection.execute("UPDATE run SET device_name = 'another' WHERE id = 3")
    assert zoo("ledger", "merge", "all.sqlite", "zoo.sqlite").stdout == (
        "zoo.sqlite: 0 runs added, 6 known already (1 trained on another device with the same figures: to compare on "
        "each device, give the ledgers apart, by --ledger for each); 1 not ended, left there\n"
    )
    with closing(sqlite3.connect("all.sqlite")) as connection, connection:
        connection.execute("UPDATE epoch SET loss = 7 WHERE run = 2 AND epoch = 1")
    conflict = zoo("ledger", "merge", "all.sqlite", "zoo.sqlite")
    assert conflict.exit_code == 1
    assert "starter/4c seed 0 on digits: at epoch 1 the loss is 7.0 and 2.2958" in conflict.stderr
    assert conflict.stderr.count("zoo 0.1.0, torch 2.14.1+cu130, cpu, AMD EPYC.") == 2


def test_export(zoo: Zoo, old: Path) -> None:
    assert zoo("ledger", "export", "tables").stdout == "tables/runs.csv: 7 runs\ntables/epochs.csv: 43 epochs\n"
    assert zoo("ledger", "export", "-o", "e.parquet", "--table", "epochs").stdout == "e.parquet: 43 epochs\n"
    assert list(pd.read_csv("tables/epochs.csv")["recall"]) == list(pd.read_parquet("e.parquet")["recall"])
    assert zoo("ledger", "export", "one", "--table", "epochs").stdout == "one/epochs.csv: 43 epochs\n"
    assert [file.name for file in Path("one").iterdir()] == ["epochs.csv"]
    ignored = zoo("ledger", "export", "-o", "e.csv", "--format", "parquet")
    assert ignored.exit_code == 2
    assert "--format is of the files in DIR: the ending of FILE says its own" in ignored.stderr
    unknown = zoo("ledger", "export", "-o", "runs.xls")
    assert unknown.exit_code == 2
    assert unknown.stderr == ("Error: runs.xls: no table is written to files that end so. Known: .csv, .parquet.\n")
    for arguments in ([], ["tables", "-o", "runs.csv"]):
        assert "give either DIR or --output FILE" in zoo("ledger", "export", *arguments).stderr


def test_vacuum(zoo: Zoo, old: Path) -> None:
    zoo("ledger", "remove", "--run", "7", "--yes")
    text = zoo("ledger", "vacuum").stdout
    assert text.startswith("zoo.sqlite: ")
    assert text.endswith(f"{old.stat().st_size / 1000:.3g} kB after\n")


def test_check(zoo: Zoo, old: Path) -> None:
    assert zoo("ledger", "check").stdout == "zoo.sqlite: nothing is wrong\n"
    file = Path("zoo.sqlite-checkpoints") / f"{'0123' * 8}.safetensors"
    file.parent.mkdir()
    file.touch()
    result = zoo("ledger", "check")
    assert result.exit_code == 1
    assert result.stdout == f"{file} is left over: no run needs it; `zoo ledger vacuum` removes it\n"
    assert result.stderr == "zoo.sqlite: 1 problem\n"
    assert zoo("ledger", "vacuum").stdout.startswith(f"{file}: removed, as no run needs it (0 B)\nzoo.sqlite: ")
    assert zoo("ledger", "check").exit_code == 0


@pytest.mark.parametrize("command", ["info", "runs", "vacuum", "check", "export tables", "show 1", "remove x"])
def test_a_ledger_that_is_not_there(zoo: Zoo, folder: Path, command: str) -> None:
    result = zoo("ledger", *command.split())
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: there is no ledger zoo.sqlite: ")
    assert list(folder.iterdir()) == []
