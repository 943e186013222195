from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zoo.cli import main

Zoo = Callable[..., Result]

SPECS = ("starter/default", "starter/4c")
TINY = ("--epochs", "1", "--jobs", "1")

BOOM = '''
import zoo


@zoo.hookimpl
def zoo_register_activations(register):
    register("boom", boom)
    register("twice", twice)


def boom():
    """Raises in training."""
    from torch import nn

    class Boom(nn.Module):
        def forward(self, x):
            if self.training:
                raise RuntimeError("too loud")
            return x

    return Boom()


def twice():
    """Twice the identity."""
    from torch import nn

    class Twice(nn.Module):
        def forward(self, x):
            return 2 * x

    return Twice()
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["zoo"])
    return tmp_path


@pytest.fixture
def zoo(folder: Path) -> Zoo:
    """Runs `zoo` with arguments in this process; what is not an error of the user's is raised."""

    def run(*arguments: str, **options: object) -> Result:
        result = CliRunner().invoke(main, arguments, prog_name="zoo", **options)  # type: ignore[arg-type]
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory, environment: None) -> Path:
    ledger = tmp_path_factory.mktemp("trained") / "zoo.sqlite"
    arguments = ["benchmark", *SPECS, *TINY, "--seeds", "2", "--ledger", str(ledger)]
    result = CliRunner().invoke(main, arguments, prog_name="zoo", catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return ledger


@pytest.fixture
def ledger(_trained: Path, folder: Path) -> Path:
    """A ledger in the current folder that holds two seeds of `SPECS`, one epoch each."""
    return Path(shutil.copy(_trained, folder / "zoo.sqlite"))


@pytest.fixture
def plugin(folder: Path) -> Callable[[str, str], str]:
    """Writes a single-file plugin and returns its path."""

    def write(name: str, text: str) -> str:
        (folder / name).write_text(text, encoding="utf-8")
        return name

    return write


@pytest.fixture(scope="session")
def script() -> str:
    """The installed command."""
    return str(Path(sysconfig.get_path("scripts")) / "zoo")


@pytest.fixture(scope="session")
def process_environment(environment: None) -> Mapping[str, str]:
    """The environment for processes, without what would change how they print."""
    changing = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return {**{k: v for k, v in os.environ.items() if k not in changing}, "TERM": "xterm-256color"}


@pytest.fixture(scope="session")
def boom() -> str:
    """The text of a plugin whose activation `boom` raises in training; `twice` does not."""
    return BOOM
