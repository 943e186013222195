"""`zoo config`, and how the project file reaches the commands."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zoo.cli import main

PLUGIN = '''
import torch
import zoo

@zoo.hookimpl
def zoo_register_activations(register):
    register("double", double)

def double():
    """Doubles."""
    return torch.nn.Identity()
'''
FILE = 'plugins = ["double.py"]\nledger = "runs.sqlite"\ndata = "digits"\nepochs = 1\nseeds = 2\njobs = 1\n'


@pytest.fixture
def below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: one below that of a project."""
    (folder / "double.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "zoo.toml").write_text(FILE, encoding="utf-8")
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    return folder / "below"


def test_it_says_what_holds_and_who_says_so(
    zoo: Callable[..., Result], below: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_SEEDS", "7")
    lines = zoo("--plugin", "mine.py", "-p", "no:modern", "config").stdout.splitlines()
    assert lines[0] == f"project file: {below.parent / 'zoo.toml'}"
    cells = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[4:]}
    assert cells["plugins"].startswith(f"{below.parent / 'double.py'}, mine.py zoo.toml, --plugin ")
    assert cells["block"].startswith("modern -p ")
    assert cells["ledger"].startswith(f"{below.parent / 'runs.sqlite'} zoo.toml ")
    assert cells["seeds"].startswith("7 $ZOO_SEEDS ")
    assert cells["device"].startswith("auto default ")
    assert cells["executor"].startswith("what suits their number default ")


def test_as_json(zoo: Callable[..., Result], below: Path) -> None:
    record = json.loads(zoo("config", "--json").stdout)
    assert record["file"] == str(below.parent / "zoo.toml")
    assert record["settings"]["epochs"] == {"value": 1, "from": str(below.parent / "zoo.toml")}
    assert record["settings"]["executor"] == {"value": None, "from": "default"}
    assert record["settings"]["ledger"]["value"] == str(below.parent / "runs.sqlite")


def test_without_a_file(zoo: Callable[..., Result]) -> None:
    result = zoo("config")
    assert result.stdout.startswith(
        "project file: none (no zoo.toml here or in a parent, nor a pyproject.toml with [tool.zoo])\n"
    )
    assert result.stdout.endswith("\nNothing is set.\n")


def test_commands_take_what_it_says_and_options_win(zoo: Callable[..., Result], below: Path) -> None:
    double = ("--set", "activation=double")

    def planned(*options: str) -> list[tuple[int, int]]:
        plan = json.loads(zoo("benchmark", "starter/default", *double, "--plan", "--json", *options).stdout)
        return [(spec["epochs"], spec["to_train"]) for spec in plan]

    assert planned() == [(1, 2)]
    assert planned("--epochs", "2", "--seeds", "1") == [(2, 1)]
    assert planned("--set", "training.epochs=3") == [(3, 2)]
    assert "no variant" not in zoo("list", "--kind", "activation").stdout
    assert "double" in zoo("list", "--kind", "activation").stdout
    assert "double" not in zoo("--no-project", "list", "--kind", "activation").stdout
    assert "double" not in zoo("-p", "no:double", "list", "--kind", "activation").stdout
    assert zoo("results").stderr.startswith(f"Error: there is no ledger {below.parent / 'runs.sqlite'}: ")
    assert zoo("ledger", "info").stderr.startswith(f"Error: there is no ledger {below.parent / 'runs.sqlite'}: ")
    assert zoo("results", "--ledger", "mine.sqlite").stderr.startswith("Error: there is no ledger mine.sqlite: ")


def test_a_study_s_command_repeats_it_without_the_file(zoo: Callable[..., Result], below: Path) -> None:
    change = ("--base", "starter/default", "--change", "d:activation=double", "--yes")
    result = zoo("study", "run", *change, "-o", "result.html")
    assert result.exit_code == 0, result.output
    above = below.parent
    command = (
        f"zoo --plugin {above / 'double.py'} study run --change d:activation=double --base starter/default --epochs 1 "
        f"--data digits --seeds 2 --ledger {above / 'runs.sqlite'}"
    )
    assert command in Path("result.html").read_text(encoding="utf-8")
    assert (above / "runs.sqlite").exists()


def test_completion_knows_the_project_s_plugins(below: Path) -> None:
    words = ("zoo", "benchmark", "--vary", "activation=doub")
    environment = {"_ZOO_COMPLETE": "zsh_complete", "COMP_WORDS": "\n".join(words), "COMP_CWORD": "3"}
    result = CliRunner().invoke(main, [], prog_name="zoo", env=environment)
    assert result.stdout.splitlines()[1] == "activation=double"


def test_a_broken_file_leaves_the_help_alone(zoo: Callable[..., Result], below: Path) -> None:
    (below / "zoo.toml").write_text('base = "starter/default"\n', encoding="utf-8")
    assert zoo("--help").exit_code == 0
    assert zoo("benchmark", "--help").exit_code == 0
    for arguments in (("list",), ("config",), ("results",), ("ledger", "info")):
        result = zoo(*arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith(
            "Error: zoo.toml: it has 'base', as specs and studies have, and zoo.toml is the "
        )


def test_project_options_go_before_the_command(zoo: Callable[..., Result], below: Path) -> None:
    assert "--no-project goes before the command: zoo --no-project list ..." in zoo("list", "--no-project").stderr
    result = zoo("--project", "zoo.toml", "--no-project", "list")
    assert result.stderr.endswith("Error: --project and --no-project do not go together\n")


def test_it_imports_no_torch(script: str, below: Path, process_environment: Mapping[str, str]) -> None:
    program = "import sys\nfrom zoo.cli import main\ntry:\n    main(['config'])\nexcept SystemExit:\n    pass\n"
    program += "sys.exit('torch' in sys.modules)"
    python = os.path.join(os.path.dirname(script), "python")
    done = subprocess.run([python, "-c", program], capture_output=True, env=dict(process_environment), text=True)
    assert done.returncode == 0, done.stderr
