"""`zoo check`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Zoo = Callable[..., Result]

MINE = """
from torch import nn

import zoo
from zoo.testing import expected_failures


class Centre(nn.Module):
    def forward(self, x):
        return x - 0.5 * x.mean(0, keepdim=True)


def centre():
    '''Centres the batch.'''
    return Centre()


@expected_failures({"batch_independence": "it centres the batch on purpose"})
def meant():
    '''Centres the batch, on purpose.'''
    return Centre()


@zoo.hookimpl
def zoo_register_normalizations(register):
    register("centre", centre)
    register("meant", meant)
"""


def row(result: Result, first: str) -> list[str]:
    (line,) = [line for line in result.stdout.splitlines() if line.startswith(first + " ")]
    return line.split()


def test_a_sound_variant_has_a_table_of_its_checks(zoo: Zoo) -> None:
    result = zoo("check", "schedule:cosine")
    assert result.exit_code == 0
    assert result.stdout.startswith("schedule cosine (zoo_plugins.schedules, layer-zoo)\n\ncheck ")
    assert row(result, "memoryless")[1] == "passed"
    assert row(result, "engines")[1] == "fact"
    assert result.stdout.endswith("8 checks of schedule cosine: 7 passed, 1 fact.\n")
    assert "FAILED" not in result.stdout


def test_a_broken_one_is_explained(zoo: Zoo, plugin: Callable[[str, str], str]) -> None:
    result = zoo("--plugin", plugin("mine.py", MINE), "check", "centre")
    assert result.exit_code == 1
    assert row(result, "batch_independence")[1] == "FAILED"
    explained = result.stdout.partition("normalization centre fails batch_independence\n")[2].splitlines()
    assert explained[0].startswith("  found:     at 3x8x8: alone an image gives another output")
    assert explained[1] == (
        "  expected:  In evaluation the output for an image does not depend on the other images of its batch."
    )
    assert explained[2].startswith("  why:       recall would depend on the batch size")
    assert explained[3].startswith("  to mend:   in evaluation use running statistics")


def test_an_expected_failure_is_shown_and_is_none(zoo: Zoo, plugin: Callable[[str, str], str]) -> None:
    result = zoo("--plugin", plugin("mine.py", MINE), "check", "meant")
    assert result.exit_code == 0
    assert "expected failure  it centres the batch on purpose" in result.stdout
    assert "1 expected failure, " in result.stdout


def test_a_file_is_checked_whole_without_being_a_plugin(zoo: Zoo, plugin: Callable[[str, str], str]) -> None:
    result = zoo("check", plugin("mine.py", MINE))
    assert result.exit_code == 1
    assert "normalization centre" in result.stdout
    assert (
        "expected failure: batch_independence: it centres the batch on purpose (normalization meant)" in result.stdout
    )
    assert "checks of 2 variants and specs" in result.stdout.splitlines()[-1]


def test_a_plugin_is_checked_whole(zoo: Zoo) -> None:
    result = zoo("check", "schedules")
    assert result.exit_code == 0
    assert [row(result, f"schedule {name}")[1] for name in ("constant", "cosine", "one_cycle", "step")] == [
        "constant",
        "cosine",
        "one_cycle",
        "step",
    ]
    assert "skipped: options_usable: it has no options with values to try (schedule constant)" in result.stdout


def test_several_names_and_patterns_are_checked_once_each(zoo: Zoo) -> None:
    arguments = ["schedule:cosine", "schedule:[cs]*", "zoo_plugins.sch*", "starter/4[cd]"]
    found = json.loads(zoo("check", *arguments, "--json").stdout)
    names = [record["name"] for record in found]
    assert names[0] == "cosine"
    assert names[-2:] == ["starter/4c", "starter/4d"]
    assert len(set(names)) == len(names) > 4
    missing = zoo("check", "schedule:cosine", "schedule:z*")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert missing.stderr == "Error: nothing that can be checked matches 'schedule:z*'; `zoo list` shows all\n"


def test_json_has_everything(zoo: Zoo) -> None:
    (record,) = json.loads(zoo("check", "schedule:cosine", "--json").stdout)
    assert (record["kind"], record["name"]) == ("schedule", "cosine")
    assert (record["plugin"], record["distribution"]) == ("zoo_plugins.schedules", "layer-zoo")
    by_name = {check["name"]: check for check in record["checks"]}
    assert by_name["factors"]["result"] == "passed"
    assert by_name["factors"]["mend"].startswith("return `float(...)`")
    assert by_name["engines"]["note"].startswith("sequential and captured")


def test_json_of_a_broken_one_ends_with_1(zoo: Zoo, plugin: Callable[[str, str], str]) -> None:
    result = zoo("check", plugin("mine.py", MINE), "--json")
    assert result.exit_code == 1
    assert {record["name"] for record in json.loads(result.stdout)} == {"centre", "meant"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mishh",), "no variant, spec, plugin or distribution is called 'mishh'; did you mean mish"),
        (("activation:mishh",), "no activation is called 'mishh'; did you mean mish"),
        (("activations:mish",), "no kind is called 'activations'; did you mean activation"),
        (("nowhere.py",), "there is no file"),
    ],
)
def test_what_cannot_be_found_is_one_message(zoo: Zoo, arguments: tuple[str, ...], message: str) -> None:
    result = zoo("check", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_declaration_of_no_check_is_one_message(zoo: Zoo, plugin: Callable[[str, str], str]) -> None:
    result = zoo("check", plugin("mine.py", MINE.replace('"batch_independence"', '"batch_independance"')))
    assert result.exit_code == 2
    assert "normalization meant declares to fail the check 'batch_independance'" in result.stderr
    assert "did you mean batch_independence" in result.stderr


def test_checks_of_an_executor_leave_the_cache_alone(zoo: Zoo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(folder / "cache"))
    result = zoo("check", "executor:here")
    assert result.exit_code == 0, result.output
    assert not (folder / "cache").exists()
    assert os.environ["ZOO_CACHE"] == str(folder / "cache")
