"""Completion as Bash asks for it: its words are split at `=` and `:` too, and only what follows is replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from zoo.cli import main
from zoo.cli.main import COMMANDS
from zoo.registry import Registry
from zoo.registry.hookspecs import KINDS


def complete(*words: str, shell: str = "bash") -> list[str]:
    """Return what completes the last word."""
    environment = {
        "_ZOO_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "\n".join(("zoo", *words)),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(main, [], prog_name="zoo", env=environment)
    assert result.exit_code == 0, result.output
    lines = result.stdout.strip().splitlines()
    return lines[1::3] if shell == "zsh" else [line.removeprefix("plain,") for line in lines]


def test_commands() -> None:
    assert complete("") == list(COMMANDS)
    assert sorted(complete("data", "")) == ["get", "info", "list", "remove", "show"]
    assert {"install", "list", "lock", "show", "uninstall"} < set(complete("plugins", ""))
    assert sorted(complete("study", "")) == ["list", "plan", "report", "run", "show"]


@pytest.mark.parametrize("command", ["benchmark", "results", "show", "time"])
def test_specs(command: str, registry: Registry) -> None:
    expected = [name for name in registry.specs if name.startswith("starter/4")]
    assert len(expected) > 3
    assert complete(command, "starter/4") == expected
    assert complete(command, "starter/default", "starter/4") == (expected if command != "show" else [])


@pytest.mark.parametrize("command", ["show", "plan", "run", "report"])
def test_studies(command: str, registry: Registry) -> None:
    assert complete("study", command, "eq2425-") == [name for name in registry.studies if name.startswith("eq2425-")]
    assert complete("study", command, "--base", "modern/") == ["modern/residual"]
    assert complete("study", command, "min") == ["file,min"]


def test_what_is_no_spec_may_be_a_file() -> None:
    assert complete("benchmark", "min") == ["file,min"]


def test_kinds() -> None:
    assert complete("list", "--kind", "") == ["spec", *KINDS]
    assert complete("list", "--kind", "dr") == ["dropout"]
    assert complete("list", "--kind", "sp") == ["spec"]


@pytest.mark.parametrize("option", ["--vary", "--set"])
def test_variants(option: str, registry: Registry) -> None:
    assert "activation=" in complete("benchmark", option, "act")
    assert complete("benchmark", option, "activation", "=", "squ") == ["squared_relu"]
    assert complete("benchmark", option, "activation", "=", "relu,squ") == ["relu,squared_relu"]
    assert complete("benchmark", option, "activation", "=") == list(registry.variants("activation"))
    assert complete("benchmark", option, "network.features.0.pooling", "=", "global_a") == ["global_average"]
    assert complete("benchmark", option, "training.epochs", "=", "1") == []


def test_other_shells_do_not_split_words() -> None:
    assert complete("benchmark", "--vary", "activation=squ", shell="zsh") == ["activation=squared_relu"]


def test_a_word_after_a_value_is_a_word_of_its_own() -> None:
    assert complete("benchmark", "--vary", "activation", "=", "relu", "modern/") == ["modern/residual"]


def test_variants_to_show() -> None:
    assert complete("show", "pooling", ":", "global") == ["global_average"]
    assert "pooling:max" in complete("show", "pooling:m", shell="zsh")


def test_data_sets() -> None:
    assert complete("benchmark", "--data", "cifar1") == ["cifar10", "cifar100"]
    assert complete("data", "get", "fo") == ["folder:"]
    assert complete("benchmark", "--data", "folder", ":", "ima") == ["file,ima"]


def test_plugins() -> None:
    assert complete("plugins", "zoo_plugins.st") == ["zoo_plugins.starter", "zoo_plugins.studies"]


def test_choices_and_options() -> None:
    assert complete("benchmark", "--device", "c") == ["cpu", "cuda"]
    assert complete("benchmark", "--bu") == ["--budget"]


def test_a_single_file_plugin_is_completed_too(folder: Path, plugin: Callable[[str, str], str], boom: str) -> None:
    file = plugin("loud.py", boom)
    assert complete("--plugin", file, "benchmark", "--vary", "activation", "=", "tw") == ["twice"]
    assert complete("-p", "no", ":", "activations", "benchmark", "--vary", "activation", "=", "re") == []


def test_a_broken_plugin_does_not_stop_completion(folder: Path, plugin: Callable[[str, str], str]) -> None:
    assert complete("--plugin", plugin("broken.py", "1 / 0"), "show", "modern/") == ["modern/residual"]
