from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from click.testing import Result

from zoo.ledger import Ledger
from zoo.train.run import Run

Zoo = Callable[..., Result]


def store(ledger: Path, run: Run) -> None:
    with Ledger(ledger) as opened:
        attempt = opened.claim(run)
        assert attempt is not None
        for epoch in run.epochs:
            opened.add_epoch(attempt, epoch)
        opened.finish(attempt, run)


def stored(ledger: Path) -> list[Run]:
    with Ledger(ledger) as opened:
        return opened.runs()


def specs(result: Result) -> list[str]:
    return [row["spec"] for row in json.loads(result.stdout)]


def test_results_prints_what_benchmark_printed(zoo: Zoo, ledger: Path) -> None:
    trained = zoo("benchmark", "starter/default", "starter/4c", "--epochs", "1", "--seeds", "2", "--jobs", "1")
    assert "Nothing to train: 4 runs in zoo.sqlite already." in trained.stderr
    result = zoo("results")
    assert result.exit_code == 0
    assert result.stdout == trained.stdout
    assert "2 seeds (0, 1), 1 epoch" in result.stdout


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["starter/4c"], ["starter/4c"]),
        (["starter/*"], ["starter/default", "starter/4c"]),
        (["starter/4?", "starter/default"], ["starter/default", "starter/4c"]),
        (["folder/starter/default.toml", "starter/4c"], ["starter/4c"]),
    ],
)
def test_patterns_choose_rows(zoo: Zoo, ledger: Path, patterns: list[str], expected: list[str]) -> None:
    assert specs(zoo("results", *patterns, "--json")) == expected


def test_the_name_of_a_varied_spec_is_no_shell_pattern(zoo: Zoo, ledger: Path) -> None:
    name = "starter/default[activation=relu]"
    key = attrs.evolve(stored(ledger)[0].key, spec="another")
    store(ledger, attrs.evolve(stored(ledger)[0], name=name, key=key))
    assert specs(zoo("results", name, "--json")) == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing/*"], "there is no run of 'nothing/*' in zoo.sqlite; it holds runs of 2 specs"),
        (["--data", "mnist"], "there is no run that has ended on mnist in zoo.sqlite; it holds runs of 2 specs"),
    ],
)
def test_nothing_to_show(zoo: Zoo, ledger: Path, arguments: list[str], message: str) -> None:
    result = zoo("results", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr


def test_csv_and_json_hold_the_same(zoo: Zoo, ledger: Path) -> None:
    from_json = json.loads(zoo("results", "--format", "json").stdout)
    from_csv = list(csv.DictReader(io.StringIO(zoo("results", "--format", "csv").stdout)))
    assert [row["spec"] for row in from_csv] == [row["spec"] for row in from_json]
    assert [float(row["test_recall"]) for row in from_csv] == [row["test_recall"] for row in from_json]
    assert zoo("results", "--json").stdout == zoo("results", "--format", "json").stdout


def test_rows_are_sorted(zoo: Zoo, ledger: Path) -> None:
    recalls = [row["test_recall"] for row in json.loads(zoo("results", "--sort", "recall", "--json").stdout)]
    assert recalls == sorted(recalls, reverse=True)


def test_another_device_has_a_table_of_its_own(zoo: Zoo, ledger: Path) -> None:
    run = stored(ledger)[0]
    key = attrs.evolve(run.key, seed=7)
    store(ledger, attrs.evolve(run, key=key, provenance={**run.provenance, "device_name": "Another"}))
    text = zoo("results").stdout
    assert text.count("mean ± 95% interval over seeds") == 2
    assert "digits, Another, fp32; 1 seed (7), 1 epoch" in text


def test_runs_of_a_changed_source_are_marked(zoo: Zoo, ledger: Path) -> None:
    run = stored(ledger)[0]
    store(ledger, attrs.evolve(run, key=attrs.evolve(run.key, source="before")))
    rows = json.loads(zoo("results", "--json").stdout)
    assert [(row["source"] == "before", row["stale"]) for row in rows] == [(False, False), (False, False), (True, True)]
    text = zoo("results").stdout
    assert text.count(" (stale)") == 1
    assert "stale: the source of its variants is no longer what it was" in text


def test_runs_of_a_plugin_that_is_not_loaded_are_not_called_stale(zoo: Zoo, ledger: Path) -> None:
    result = zoo("-p", "no:activations", "results", "--json")
    assert [row["stale"] for row in json.loads(result.stdout)] == [False, False]


def test_compare_is_another_spelling_of_against(zoo: Zoo, ledger: Path) -> None:
    judged = zoo("results", "starter/4c", "--against", "starter/default").stdout
    assert "undecided" in judged, "no verdict stands below the table"
    assert zoo("results", "starter/4c", "--compare", "starter/default").stdout == judged


def test_a_changed_spec_has_the_change_in_its_name(zoo: Zoo, ledger: Path) -> None:
    zoo("benchmark", "starter/default", "--epochs", "1", "--seeds", "1", "--set", "learning_rate=0.02", "--jobs", "1")
    assert specs(zoo("results", "starter/default*", "--json")) == [
        "starter/default",
        "starter/default[learning_rate=0.02]",
    ]


def test_runs_of_one_spec_under_several_names_are_one_row(zoo: Zoo, ledger: Path) -> None:
    run = stored(ledger)[0]
    store(ledger, attrs.evolve(run, key=attrs.evolve(run.key, seed=7), name=f"{run.name}[activation=relu]"))
    rows = {row["spec"]: row for row in json.loads(zoo("results", "--json").stdout)}
    assert f"{run.name}[activation=relu]" not in rows
    assert 7 in rows[run.name]["seeds"]


def test_failed_and_diverged_runs_say_why(zoo: Zoo, ledger: Path) -> None:
    assert zoo("results", "--failed").stdout == "No run failed or diverged.\n"
    assert json.loads(zoo("results", "--failed", "--json").stdout) == []
    run = stored(ledger)[0]
    trace = "RuntimeError: no\nTraceback (most recent call last):\n  File ..."
    nan = "diverged at epoch 2: the training loss is nan"
    for bad in (
        attrs.evolve(run, key=attrs.evolve(run.key, seed=7), status="failed", reason=trace, epochs=()),
        attrs.evolve(run, key=attrs.evolve(run.key, seed=8), status="diverged", reason=nan, epochs=()),
    ):
        store(ledger, bad)
    assert zoo("results", "--failed").stdout == (
        "starter/default seed 7 on digits: failed\n"
        "  RuntimeError: no\n  Traceback (most recent call last):\n    File ...\n\n"
        "starter/default seed 8 on digits: diverged\n"
        "  diverged at epoch 2: the training loss is nan\n"
    )
    records = json.loads(zoo("results", "--failed", "--json").stdout)
    assert [(record["seed"], record["status"]) for record in records] == [(7, "failed"), (8, "diverged")]
    assert records[0]["reason"] == trace
    (row,) = json.loads(zoo("results", "starter/default", "--json").stdout)
    assert (row["runs"], row["failed"], row["diverged"]) == (2, 1, 1)


@pytest.mark.parametrize("option", [["--format", "gihtub"], ["--sort", "recal"]])
def test_an_unknown_format_or_column_is_wrong_usage(zoo: Zoo, option: list[str]) -> None:
    result = zoo("results", *option)
    assert result.exit_code == 2
    assert f"is called '{option[1]}'; did you mean " in result.stderr


WRITES = """
import zoo


@zoo.hookimpl
def zoo_write_runs(runs, to, place):
    if to != "nowhere":
        return None
    if place == "breaks":
        raise OSError("no room")
    return f"{len(runs)} runs with {sum(len(run.epochs) for run in runs)} epochs at {place}"
"""


def test_stored_runs_are_written_elsewhere(zoo: Zoo, folder: Path) -> None:
    (folder / "writes.py").write_text(WRITES)
    assert zoo("benchmark", "starter/default", "--epochs", "1", "--jobs", "1", "--seeds", "2").exit_code == 0
    result = zoo("--plugin", "writes.py", "results", "--to", "nowhere:a:b")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith("2 runs with 2 epochs at a:b\n")
    result = zoo("results", "--to", "tensorbord:x")
    assert result.exit_code == 2
    assert "--to tensorbord:x: no plugin has written runs to 'tensorbord'" in result.stderr
    result = zoo("--plugin", "writes.py", "results", "--to", "nowhere:breaks")
    assert result.exit_code == 2
    assert "its hook zoo_write_runs raised OSError: no room" in result.stderr
