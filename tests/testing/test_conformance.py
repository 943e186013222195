"""`zoo.testing.conformance` and `expected_failures`, as an author uses them."""

from __future__ import annotations

import subprocess
import sys

import broken
import pytest

import zoo.testing
from zoo.errors import PluginError, UnknownNameError
from zoo.registry import Registry
from zoo.testing import suite
from zoo.testing.check import Check, FailedError, SkippedError, run
from zoo.testing.declared import declared


@zoo.testing.conformance("dropout:dropout")
def test_a_name_becomes_one_test_for_each_check(check):
    check()


@zoo.testing.conformance("schedule:cosine")
class TestAClass:
    def test_it_is_given_each_check(self, check):
        check()


TESTS = """
from pathlib import Path

import zoo
import zoo.testing

REGISTRY = zoo.Registry(files=[Path(__file__).with_name("mine.py")])


@zoo.testing.conformance("mine.py", registry=REGISTRY)
def test_mine(check):
    check()
"""
MINE = """
import torch
from torch import nn

import zoo
from zoo.testing import expected_failures


class Centre(nn.Module):
    def forward(self, x):
        return x - 0.5 * x.mean(0, keepdim=True)


@expected_failures({"batch_independence": "it centres the batch on purpose"})
def meant():
    '''Centres the batch and says so.'''
    return Centre()


def unmeant():
    '''Centres the batch.'''
    return Centre()


@expected_failures({"batch_independence": "it did so once"})
def stale():
    '''Is sound by now.'''
    return nn.ReLU()


@zoo.hookimpl
def zoo_register_activations(register):
    register("meant", meant)
    register("unmeant", unmeant)
    register("stale", stale)
"""


def test_pytest_shows_failures_skips_and_expected_failures(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "test_mine.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rA",
        "-p",
        "no:cacheprovider",
        "-k",
        "batch_independence or options_usable",
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    lines = result.stdout.splitlines()
    assert (
        "XFAIL test_mine.py::test_mine[activation:meant-batch_independence] - it centres the batch on purpose" in lines
    )
    assert any(
        line.startswith("FAILED test_mine.py::test_mine[activation:unmeant-batch_independence]") for line in lines
    )
    assert any(line.startswith("FAILED test_mine.py::test_mine[activation:stale-batch_independence]") for line in lines)
    assert "it passes, but is declared to fail" in result.stdout
    assert "in evaluation use running statistics" in result.stdout, "a failure says how to mend it"
    assert "it has no options with values to try" in result.stdout, "a skip gives its reason"
    assert "Traceback" not in result.stdout
    assert result.stdout.count("batch_independence.py") == 0
    assert "2 failed, " in lines[-1]
    assert "3 skipped" in lines[-1]
    assert "1 xfailed" in lines[-1]


def test_slow_checks_are_skipped_unless_they_are_asked_for():
    def made(slow):
        (mark,) = [zoo.testing.conformance("relu", slow=slow)]
        return next(param.values[0] for param in mark.args[1] if param.id == "compiled")

    with pytest.raises(pytest.skip.Exception, match="ask for it with slow"):
        made(False)()
    assert made(True).slow


def passes(subject):
    """Passes."""


def fails(subject):
    """Fails."""
    raise FailedError("a reason")


def raises(subject):
    """Raises."""
    raise KeyError("key")


def skips(subject):
    """Skips."""
    raise SkippedError("no GPU")


def states(subject):
    """States."""
    return "a fact"


@pytest.mark.parametrize(
    ("function", "expected", "result", "note"),
    [
        (passes, {}, "passed", ""),
        (fails, {}, "failed", "a reason"),
        (raises, {}, "failed", "it raised KeyError: 'key'"),
        (skips, {}, "skipped", "no GPU"),
        (states, {}, "fact", "a fact"),
        (fails, {"fails": "known"}, "expected failure", "known"),
        (raises, {"raises": "known"}, "expected failure", "known"),
        (skips, {"skips": "known"}, "skipped", "no GPU"),
        (
            passes,
            {"passes": "known"},
            "failed",
            'it passes, but is declared to fail: "known"; delete that declaration',
        ),
    ],
)
def test_a_check_has_a_result_and_a_note(function, expected, result, note):
    outcome = run(Check(function), object(), expected=expected)
    assert (outcome.result, outcome.note) == (result, note)


def test_an_expected_failure_needs_a_reason():
    with pytest.raises(PluginError, match="say in words why the check 'gradient' fails, not ' '"):
        zoo.testing.expected_failures({"gradient": " "})


def test_expected_failures_are_the_factorys_own():
    @zoo.testing.expected_failures({"gradient": "because"})
    class Above:
        pass

    class Below(Above):
        pass

    assert declared(Above) == {"gradient": "because"}
    assert declared(Below) == {}


def test_an_expected_failure_of_a_check_that_does_not_exist_is_refused(registry):
    (subject,) = suite.find("relu", registry)
    with pytest.raises(UnknownNameError, match=r"relu declares to fail the check 'gradent'.*; did you mean gradient"):
        suite.expected(subject, {"gradent": "why not"})


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mish", ["activation mish"]),
        ("activation:mish", ["activation mish"]),
        ("spec:starter/default", ["spec starter/default"]),
        ("starter/default", ["spec starter/default"]),
        ("zoo_plugins.blocks", ["block plain", "block residual", "block squeeze_excitation"]),
        ("blocks", ["block plain", "block residual", "block squeeze_excitation"]),
    ],
)
def test_what_a_name_stands_for(name, found, registry):
    assert [str(subject) for subject in suite.find(name, registry)] == found


def test_a_distribution_stands_for_all_that_it_registers(install):
    install("outside", {"outside.py": broken.PLUGIN}, "outside")
    found = suite.find("outside", Registry())
    assert len(found) == len(broken.BROKEN)


def test_a_file_stands_for_all_that_it_registers(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    found = suite.find(str(file), Registry(files=[file]))
    assert [subject.name for subject in found] == ["meant", "stale", "unmeant"]


def test_an_unknown_name_is_an_error_with_the_nearest(registry):
    with pytest.raises(UnknownNameError, match=r"no variant, .* is called 'mishh'; did you mean mish"):
        suite.find("mishh", registry)
    with pytest.raises(UnknownNameError, match="no activation is called 'mishh'; did you mean mish"):
        suite.find("activation:mishh", registry)
    with pytest.raises(UnknownNameError, match=r"zoo_plugins\.studies registers nothing that can be checked"):
        suite.find("zoo_plugins.studies", registry)


def test_an_unknown_name_may_be_in_a_plugin_that_failed(install):
    install("outside", {"outside.py": "raise ValueError('no')"}, "outside")
    with pytest.raises(UnknownNameError, match="It may be in one that failed to load: plugin outside"):
        suite.find("swishish", Registry())


def test_importing_it_imports_neither_torch_nor_pytest():
    code = "import sys, zoo.testing; print([name for name in ('torch', 'pytest') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
