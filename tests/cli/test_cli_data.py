from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Zoo = Callable[..., Result]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds digits, and what a download has left."""
    path = tmp_path / "cache"
    monkeypatch.setenv("ZOO_CACHE", str(path))
    return path


@pytest.fixture
def filled(zoo: Zoo, cache: Path) -> Path:
    zoo("data", "get", "digits")
    download = cache / "downloads" / "mnist"
    download.mkdir(parents=True)
    (download / "images").write_bytes(bytes(1000))
    return cache


def test_an_empty_cache(zoo: Zoo, cache: Path) -> None:
    assert zoo("data", "info").stdout == f"{cache}: 0 B\n"
    assert json.loads(zoo("data", "info", "--json").stdout) == []
    assert zoo("data", "remove", "--all").stdout == "The cache is empty.\n"
    result = zoo("data", "remove", "digits")
    assert result.exit_code == 2
    assert f"the cache {cache} holds nothing of 'digits'. It is empty." in result.stderr


def test_info(zoo: Zoo, filled: Path) -> None:
    lines = zoo("data", "info").stdout.splitlines()
    assert lines[0] == f"{filled}: 131 kB"
    assert lines[2].split() == ["data", "set", "content", "size", "last", "used"]
    assert [line.split()[:4] for line in lines[4:]] == [
        ["mnist", "downloaded", "1", "kB"],
        ["digits", "decoded", "130", "kB"],
    ]
    download, decoded = json.loads(zoo("data", "info", "--json").stdout)
    assert (download["bytes"], download["last_used"], download["runs"]) == (1000, None, None)
    assert decoded["path"].startswith(str(filled))
    assert decoded["last_used"] is not None


def test_runs_of_the_ledger_are_counted(zoo: Zoo, filled: Path, ledger: Path) -> None:
    records = json.loads(zoo("data", "info", "--json").stdout)
    assert [record["runs"] for record in records] == [None, 4]
    assert zoo("data", "info").stdout.splitlines()[-1].split()[-1] == "4"
    missing = zoo("data", "info", "--ledger", "none.sqlite")
    assert missing.exit_code == 1
    assert "there is no ledger none.sqlite" in missing.stderr


def test_data_sets_are_removed_after_a_question(zoo: Zoo, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = zoo("data", "remove", "digits")
    assert nobody.exit_code == 2
    assert nobody.stderr == "Error: nothing was removed: there is no terminal to ask on; say --yes to remove it\n"
    monkeypatch.setattr("zoo.cli.asking.interactive", lambda: True)
    assert "digits" in zoo("data", "remove", "digits", "--dry-run").stdout
    no = zoo("data", "remove", "digits", input="n\n")
    assert no.exit_code == 0
    assert no.stderr == "Remove 1 folder, 130 kB, from the cache? [y/N]: n\nNothing was removed.\n"
    assert len(json.loads(zoo("data", "info", "--json").stdout)) == 2
    assert zoo("data", "remove", "digits", "--yes").stdout.endswith("Removed 130 kB.\n")
    assert [held["dataset"] for held in json.loads(zoo("data", "info", "--json").stdout)] == ["mnist"]
    assert zoo("data", "remove", "--all", "--yes").exit_code == 0
    assert json.loads(zoo("data", "info", "--json").stdout) == []
    assert zoo("data", "get", "digits").exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["digits", "--all"]])
def test_what_to_remove_must_be_said(zoo: Zoo, filled: Path, arguments: list[str]) -> None:
    result = zoo("data", "remove", *arguments)
    assert result.exit_code == 2
    assert "give either names of data sets or --all" in result.stderr


def test_an_unknown_name_removes_nothing(zoo: Zoo, filled: Path) -> None:
    result = zoo("data", "remove", "digits", "digit", "--yes")
    assert result.exit_code == 2
    assert "holds nothing of 'digit'; did you mean digits? It holds digits, mnist." in result.stderr
    assert len(json.loads(zoo("data", "info", "--json").stdout)) == 2
