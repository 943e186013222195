"""The suite finds what is broken, and only that; and it finds nothing in what comes with zoo."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy

import broken
import pytest
from snippets import ROOT

from zoo.registry import Registry, default_registry
from zoo.spec import unstructure
from zoo.testing import sources, suite
from zoo.testing.check import run

TAKES_SECONDS = {"onnx", "compiled", "survives_lost_workers"}
# Executors are checked in tests/plugins/test_executors.py, and once is enough.
INSTALLED = [subject for subject in suite.subjects(default_registry()) if subject.kind != "executor"]


def is_large(subject) -> bool:
    """Whether it is a network of which the checks take seconds to minutes."""
    if subject.kind == "architecture":
        return subject.name not in ("cifar_resnet", "convnext", "mlp_mixer")
    return subject.kind == "spec" and subject.name.startswith("cifar/") and subject.name != "cifar/resnet20"


if "ZOO_SLOW" not in os.environ:
    INSTALLED = [subject for subject in INSTALLED if not is_large(subject)]
each_installed = pytest.mark.parametrize("subject", INSTALLED, ids=str)


@pytest.fixture
def with_broken(install) -> Registry:
    install("outside", {"outside.py": broken.PLUGIN}, "outside")
    return Registry().require_sound()


def results(subject, names=None):
    return {
        check.name: run(check, subject, expected=suite.expected(subject, {}))
        for check in suite.checks(subject)
        if (check.name not in TAKES_SECONDS if names is None else check.name in names)
    }


@each_installed
def test_what_comes_with_zoo_passes_every_check(subject):
    failed = [
        suite.explanation(subject, outcome) for outcome in results(subject).values() if outcome.result == "failed"
    ]
    assert not failed, "\n\n".join(failed)


@pytest.mark.parametrize(
    ("kind", "name", "checks"), broken.BROKEN, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_broken_fails_exactly_its_checks(kind, name, checks, with_broken):
    (subject,) = suite.find(f"{kind}:{name}", with_broken)
    outcomes = results(subject)
    failed = {check: outcome.note for check, outcome in outcomes.items() if outcome.result == "failed"}
    assert set(failed) == checks, f"{subject} should fail {checks}; it fails {failed}"
    assert all(failed.values()), "a failure says what was found"


def test_each_check_has_something_that_it_finds_broken():
    found = {(kind, check) for kind, _, checks in broken.BROKEN for check in checks}
    layers = {check for kind, check in found if kind in ("activation", "dropout")}
    anywhere = {check for _, check in found}
    for kind, checks in suite.CHECKS.items():
        for check in checks:
            # Facts that cannot fail, one that no variant of zoo's own types can, and those that are tested below.
            if check.name in {"speed", "options_swappable", "round_trip", *TAKES_SECONDS}:
                continue
            if check.function.__module__.endswith(("declarations", "use")):
                assert check.name in anywhere, f"nothing breaks {check.name}"
            elif kind in suite.LAYERS:
                assert check.name in layers, f"no layer breaks {check.name}"
            else:
                assert (kind, check.name) in found, f"no {kind} breaks {check.name}"


def test_every_check_says_what_is_expected_why_and_how_to_mend_it():
    for check in {check for checks in suite.CHECKS.values() for check in checks}:
        for part in ("expected", "why", "mend"):
            text = getattr(check, part)
            assert text.endswith("."), f"{check.name}: {part} is {text!r}"


def test_the_checks_of_a_kind_have_names_of_their_own():
    for kind, checks in suite.CHECKS.items():
        names = [check.name for check in checks]
        assert len(set(names)) == len(names), kind


def test_checks_md_is_what_is_checked():
    page = runpy.run_path(str(ROOT / "docs/generate_checks.py"))["checks_page"]()
    current = (ROOT / "docs/reference/checks.md").read_text(encoding="utf-8")
    assert current == page, "docs/reference/checks.md is out of date; write it anew: python docs/generate_checks.py"


def test_speed_is_a_ratio_to_the_usual_variant(registry):
    (mish,), (relu,) = suite.find("mish", registry), suite.find("relu", registry)
    outcome = results(mish, {"speed"})["speed"]
    assert outcome.result == "fact"
    assert re.fullmatch(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\] times as long as relu, forward and backward", outcome.note)
    assert results(relu, {"speed"})["speed"].result == "skipped"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("LooksAtValues", "it looks at values, which recorded steps cannot"),
        ("PlainTensor", "it does not run on another device; see devices"),
    ],
)
def test_that_steps_cannot_be_recorded_is_a_fact(name, reason, with_broken):
    (subject,) = suite.find(f"activation:{name}", with_broken)
    outcome = results(subject, {"engines"})["engines"]
    assert (outcome.result, outcome.note) == ("fact", f"sequential; not captured: {reason}")


def test_a_round_trip_that_changes_a_spec_is_found(registry, monkeypatch):
    (subject,) = suite.find("starter/default", registry)
    monkeypatch.setattr(sources, "unstructure", lambda spec: {**unstructure(spec), "training": {"epochs": 77}})
    assert results(subject, {"round_trip"})["round_trip"].result == "failed"


EXPORTABLE = ["activation:rrelu", "normalization:batch", "filter:asymmetric", "pooling:lp", "block:residual"]


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
@pytest.mark.parametrize("name", EXPORTABLE)
def test_some_of_each_kind_are_the_same_in_onnx(name, registry):
    (subject,) = suite.find(name, registry)
    outcome = results(subject, {"onnx"})["onnx"]
    assert outcome.result == "passed", outcome.note


def test_without_onnx_the_check_is_skipped_with_what_to_install(registry, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (subject,) = suite.find("relu", registry)
    outcome = results(subject, {"onnx"})["onnx"]
    assert outcome.result == "skipped"
    assert outcome.note == "not installed: onnx, onnxscript, onnxruntime (pip install 'layer-zoo[check]')"


def skip_where_absent(outcome):
    if outcome.note.startswith(("not installed", "torch.compile finds no C++ compiler")):
        pytest.skip(outcome.note)


OTHERWISE_ELSEWHERE = """
import torch
import zoo
from torch import nn


class OtherInOnnx(nn.Module):
    '''Is another function in ONNX.'''

    def forward(self, x):
        return x * 2 if torch.onnx.is_in_onnx_export() else x


class OtherWhenCompiled(nn.Module):
    '''Is another function when compiled.'''

    def forward(self, x):
        return x * 2 if torch.compiler.is_dynamo_compiling() else x


@zoo.hookimpl
def zoo_register_activations(register):
    register("other_in_onnx", OtherInOnnx)
    register("other_when_compiled", OtherWhenCompiled)
"""


@pytest.mark.parametrize(("name", "check"), [("other_in_onnx", "onnx"), ("other_when_compiled", "compiled")])
def test_what_is_otherwise_elsewhere_is_found(name, check, install):
    install("elsewhere", {"elsewhere.py": OTHERWISE_ELSEWHERE}, "elsewhere")
    (subject,) = suite.find(name, Registry())
    (tried,) = [each for each in suite.checks(subject) if each.name == check]
    outcome = run(tried, subject, expected={}, slow=True)
    skip_where_absent(outcome)
    assert outcome.result == "failed", outcome.note
    assert all(other.result != "failed" for other in results(subject).values())


@pytest.mark.parametrize("name", ["activation:mish", "dropout:dropout"])
def test_some_are_the_same_compiled(name, registry):
    (subject,) = suite.find(name, registry)
    (compiled,) = [check for check in suite.checks(subject) if check.name == "compiled"]
    outcome = run(compiled, subject, expected={}, slow=True)
    skip_where_absent(outcome)
    assert outcome.result == "passed", outcome.note


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_an_executor_that_gives_up_with_the_first_lost_process_is_found(with_broken):
    (subject,) = suite.find("executor:gives_up", with_broken)
    (tried,) = [check for check in suite.checks(subject) if check.name == "survives_lost_workers"]
    outcome = run(tried, subject, expected={}, slow=True)
    assert (outcome.result, outcome.note) == (
        "failed",
        "of a process that died once: ['Started', 'failed']",
    )
