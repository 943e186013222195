"""What was typed, as it is stored with a run."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from zoo.invocation import command

SAY = "from zoo.invocation import command\nprint(command())\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["script.py", "3", "a b"], "script.py 3 'a b'"),
        (["-m", "script", "3"], "python -m script 3"),
        (["-m", "package", "--fast"], "python -m package --fast"),
        (["-c", SAY], "python -c"),
    ],
)
def test_what_was_typed(arguments, expected, tmp_path):
    (tmp_path / "script.py").write_text(SAY)
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__main__.py").write_text(SAY)
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{expected}\n"


def test_the_installed_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))
    monkeypatch.setattr("sys.argv", ["/some/where/bin/zoo", "benchmark", "starter/*"])
    assert command() == "zoo benchmark 'starter/*'"
