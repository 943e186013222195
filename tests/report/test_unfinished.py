"""Runs that have not ended: in the ledger, as a table, from Python."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import attrs
import matplotlib as mpl
import pytest

import zoo
from zoo.cli import main
from zoo.errors import ZooError
from zoo.ledger import Ledger
from zoo.ledger.keep import unfinished
from zoo.report.unfinished import NONE, render
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

mpl.use("agg")

SPEC = {
    "training": {"epochs": 10},
    "data": {"validation": 0.0, "dataset": "digits", "resize": None},
    "evaluation": {"measure": "final"},
}


def run(seed: int, name: str = "net", epochs: int = 0) -> Run:
    """Return a run whose recall after an epoch is a tenth of the epoch's number."""
    records = [
        EpochRecord(
            epoch=number,
            loss=1.0 / number,
            seconds_training=2.0,
            seconds_evaluation=0.1,
            evaluations={"test": Evaluation(((number, 10 - number), (10 - number, number)))},
        )
        for number in range(1, epochs + 1)
    ]
    return Run(RunKey("s", seed, "d", "c", "fp32"), name, SPEC, "digits", epochs=tuple(records))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "zoo.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Path]:
    """One run that ended, one cut short after 7 epochs, one under way after 2, one that has only begun."""
    with Ledger(path) as stopped:
        ended = attrs.evolve(run(0, epochs=10), status="finished")
        for one in (ended, run(1, "net[activation=mish]", 7), run(4)):
            attempt = stopped.claim(one)
            assert attempt is not None
            for epoch in one.epochs:
                stopped.add_epoch(attempt, epoch)
            if one.status == "finished":
                stopped.finish(attempt, one)
    with Ledger(path) as going_on:
        for one in (run(2, epochs=2), run(3)):
            attempt = going_on.claim(one)
            assert attempt is not None
            for epoch in one.epochs:
                going_on.add_epoch(attempt, epoch)
        yield path


TABLE = """\
  run  spec                    seed  data set    status       epochs    loss  test recall (after epoch)                         training
-----  --------------------  ------  ----------  ---------  --------  ------  ----------------------------------------------  ----------
    2  net[activation=mish]       1  digits      cut short   7 of 10  0.1429  0.1000 (1), 0.3000 (3), 0.5000 (5), 0.7000 (7)      14.0 s
    4  net                        2  digits      running     2 of 10  0.5000  0.1000 (1), 0.2000 (2)                              4.00 s
    5  net                        3  digits      running     0 of 10"""  # noqa: E501


def test_each_run_is_a_row_with_how_recall_went(ledger: Path) -> None:
    table = zoo.Lab(ledger).results(partial=True)
    assert [line.rstrip() for line in str(table).splitlines()] == TABLE.splitlines()
    narrow = table.render(width=80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert narrow.endswith("\nNo room for: loss, training, data set, run; format_='csv' has all.")
    assert [line.split()[1] for line in table.render(sort="recall").splitlines()[2:]] == [
        "net[activation=mish]", "net", "net",
    ]  # fmt: skip


def test_the_command_prints_it(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["results", "--partial", "net", "--ledger", str(ledger)], prog_name="zoo")
    assert end.value.code == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["4", "5"]


def test_as_data(ledger: Path) -> None:
    table = zoo.Lab(ledger).results(partial=True)
    first, second, third = json.loads(table.render("json"))
    assert (first["run"], first["status"], first["trained_by"], first["epochs_asked"]) == (2, "cut short", None, 10)
    assert [epoch["test_recall"] for epoch in first["epochs"]] == [number / 10 for number in range(1, 8)]
    assert second["status"] == "running"
    assert "pytest" in second["trained_by"] or "process" in second["trained_by"]
    assert third["epochs"] == []
    rows = list(csv.DictReader(io.StringIO(table.render("csv"))))
    assert [(row["run"], row["epoch"]) for row in rows] == [
        *(("2", str(n)) for n in range(1, 8)),
        ("4", "1"),
        ("4", "2"),
    ]
    epochs = table.epochs()
    assert list(epochs["run"]) == [2] * 7 + [4] * 2
    assert list(table.frame()["epochs"]) == [7, 2, 0]
    axes = table.curves()
    assert [text.get_text().replace("\n", " ") for text in axes.texts] == ["net[activation=mish] seed 1", "net seed 2"]


def test_without_such_runs(path: Path) -> None:
    with Ledger(path):
        pass
    assert str(zoo.Lab(path).results(partial=True)) == NONE
    assert render([], format_="csv") == ""
    assert render([], format_="json") == "[]"


def test_what_is_not_there_is_an_error(ledger: Path) -> None:
    with pytest.raises(ZooError, match="holds no run of 'nte'; did you mean net"):
        zoo.Lab(ledger).results("nte", partial=True)


def test_a_run_that_goes_on_is_there_once(ledger: Path) -> None:
    with Ledger(ledger) as again:
        attempt = again.claim(run(1, epochs=7))
        assert attempt is not None
        assert [entry.id for entry, _ in unfinished(again)] == [4, 5, attempt]


def test_where_no_run_has_ended_the_table_says_where_those_begun_are(path: Path) -> None:
    with Ledger(path) as begun:
        assert begun.claim(run(0)) is not None
        with pytest.raises(ZooError) as caught:
            zoo.Lab(path).results()
    assert str(caught.value) == (f"there is no run that has ended in {path}: `zoo results --partial` shows those begun")
