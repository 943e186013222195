"""Mutations of valid specs and command lines: an error that can be read, or none; never a traceback.

`ZOO_FUZZ=10000 pytest tests/fuzz` tries that many of each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.cli import main
from zoo.cli.main import Plugins
from zoo.errors import INTERRUPTED, WORK_FAILED, WRONG_USAGE, ZooError
from zoo.lab.lab import Lab
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec import unstructure
from zoo.spec.resolve import resolve
from zoo.study.definition import Study, read_study
from zoo.study.places import read_any

COUNT = int(os.environ.get("ZOO_FUZZ", "40"))
fuzzed = settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    derandomize=COUNT <= 40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
LOAD = Plugins.load
"""As it is: all examples of a test share its `monkeypatch`, and one laid over the other is deep after a thousand."""
CODES = {0, WORK_FAILED, WRONG_USAGE, INTERRUPTED}

ODD_TEXTS = [
    "", " ", ".", "..", "*", "+", "=", "[", "]", "{}", "-", "--", "-1", "0", "1", "1e999", "nan", "x" * 300,
    "\x1b]0;x\x07",
    "\x00", "a\nb", "é", "\udc80", "<b>", "a|b", "../../x", "/dev/null", "none", "relu", "starter/default", "name",
    "*.*", "network", "network.features.*", "network.features.+", "features.0", "training.epochs", "{name='relu'}",
    "folder:", "npz:", "folder:x", "npz:.", ".toml", "no:", "cuda:99",
]  # fmt: skip
"""What people mistype, and what they paste."""
ODD = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1, 2**63, 10**9, 0.5, -0.0, float("nan"), float("inf"), [], {}, [[]]]),
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=5),
    st.sampled_from([{"name": "relu"}, {"name": 3}, {"rate": "x"}, ["relu"], {"": ""}, {"name": "relu", "slope": {}}]),
)


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in a tree."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield (*at, key)
        yield from places(child, (*at, key))


@st.composite
def mutated(draw: st.DrawFn, original: dict[str, Any]) -> dict[str, Any]:
    """A tree with up to three places replaced, taken out, or added to."""
    tree = _copy(original)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(tree))
        if not found:
            break
        *above, last = draw(st.sampled_from(found))
        parent: Any = tree
        for key in above:
            parent = parent[key]
        what = draw(st.sampled_from(["replace", "replace", "take out", "add"]))
        if what == "take out":
            del parent[last]
        elif what == "replace" or not isinstance(parent, dict):
            parent[last] = _copy(draw(ODD))
        else:
            parent[draw(st.sampled_from(ODD_TEXTS))] = _copy(draw(ODD))
    return tree


def _copy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copy(child) for key, child in tree.items()}
    return [_copy(child) for child in tree] if isinstance(tree, list) else tree


STUDY: dict[str, Any] = {
    "base": "starter/default",
    "description": "a study",
    "design": "factorial",
    "seeds": 2,
    "set": {"training.epochs": 1},
    "changes": {
        "a": {"activation": "elu"},
        "b": {"levels": {"x": {"pooling": "average"}, "y": {"pooling": "none"}}},
        "c": {"every": "loss", "path": "training.loss"},
    },
}


TUNED: dict[str, Any] = {
    "base": "starter/default",
    "tune": {"learning_rate": [0.01, 0.1], "momentum": [0.0, 0.9]},
    "tune_seeds": 2,
    "tune_budget": 3,
    "tune_widen": 1,
    "changes": {"a": {"activation": "elu"}},
}
SUGGESTED: dict[str, Any] = {
    "base": "starter/default",
    "tune": {"learning_rate": {"low": 0.001, "high": 0.3, "log": True}, "momentum": {"low": 0, "high": 0.9}},
    "tune_budget": 5,
    "tune_sampler": "optuna:tpe",
    "changes": {"a": {"activation": "elu"}},
}


@pytest.fixture(scope="module")
def whole_spec(registry: Registry) -> dict[str, Any]:
    tree: dict[str, Any] = unstructure(resolve("starter/conclusion", registry=registry))
    return {key: value for key, value in tree.items() if key not in ("name", "reference")}


@given(data=st.data())
@fuzzed
def test_mappings_are_specs_or_one_error(data: st.DataObject, whole_spec: dict[str, Any], registry: Registry) -> None:
    tree = data.draw(
        mutated(whole_spec) | mutated({"base": "starter/default", "set": {"activation": "elu", "units": 9}})
    )
    with suppress(ZooError):
        spec = resolve(tree, registry=registry)
        assert len(spec.identity) == 64
        assert construct(spec, (1, 8, 8), 10, seed=0, registry=registry).parameters > 0


@given(data=st.data())
@fuzzed
def test_mappings_are_studies_or_one_error(data: st.DataObject, registry: Registry) -> None:
    with suppress(ZooError):
        study = read_study(data.draw(mutated(STUDY) | mutated(TUNED) | mutated(SUGGESTED)), registry=registry)
        assert all(factor.levels for factor in study.factors)


POOLED: dict[str, Any] = {
    "bases": ["starter/default", "starter/residual"],
    "data": ["digits", "cifar10"],
    "resplit": True,
    "changes": {"a": {"activation": "elu"}, "b": {"network.features.*.block": "plain"}},
}


@given(data=st.data())
@fuzzed
def test_mappings_are_studies_over_several_bases_or_one_error(data: st.DataObject, registry: Registry) -> None:
    with suppress(ZooError):
        study = read_any(data.draw(mutated(POOLED)), registry=registry)
        assert isinstance(study, Study) or all(place.study.factors for place in study.places)


TOML = """\
description = "a spec"
base = "starter/default"

[set]
activation = "elu"
"training.epochs" = 3
"network.features.*.pooling" = {name = "max", size = 2}
units = 16
"""


DAMAGE = [b"[" * 2000, b"9" * 5000, b"\xef\xbb\xbf", b'"', b"\n", b"=", b"\\u"]


@given(data=st.data())
@fuzzed
def test_files_are_specs_or_one_error(data: st.DataObject, tmp_path: Path, registry: Registry) -> None:
    content = bytearray(TOML.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 6))] = data.draw(
            st.binary(max_size=3) | st.sampled_from(DAMAGE)
        )
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with suppress(ZooError):
        assert resolve(file, registry=registry).name == "mine"


LINES = [
    "list --kind activation", "list --json", "show starter/default", "show starter/default --set activation=elu --spec",
    "show activation:relu", "show filter:conv --json", "plugins list", "plugins show activations --json", "data list",
    "benchmark starter/default --plan --epochs 1 --seeds 1 --vary activation=relu,elu --set units=8 --ledger l.sqlite",
    "results --ledger l.sqlite --format csv --sort recall", "study list", "study show starter-factorial",
    "study show --base starter/default --change a:activation=elu --design one-at-a-time --margin 0.1",
    "study report starter-factorial --ledger l.sqlite --format html -o r.html", "ledger info --ledger l.sqlite",
    "export starter/default --ledger l.sqlite -o x.safetensors", "-p no:zoo_plugins.losses list --kind loss",
    "new-plugin --kind activation",
]  # fmt: skip


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A valid command line with up to three words changed, taken out or put in."""
    words = draw(st.sampled_from(LINES)).split()
    others = sorted({word for line in LINES for word in line.split()} - {"new-plugin"})
    word = st.sampled_from(ODD_TEXTS) | st.sampled_from(others) | st.text(max_size=4)
    word = word.filter(lambda word: "\x00" not in word)  # which no system passes to a program
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(1, len(words)))
        left, equals, _value = words[at - 1].partition("=")
        kind = draw(st.integers(0, 3))
        if kind == 0:
            words[at : at + 1] = []
        elif kind == 1:
            words.insert(at, draw(word))
        elif kind == 2 and equals:
            words[at - 1] = f"{left}={draw(word)}"
        else:
            words[at : at + 1] = [draw(word)]
    return words


@given(words=command_lines())
@fuzzed
def test_command_lines_end_with_a_documented_code(
    words: list[str], tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plugins, "load", lambda self: LOAD(self) if self.left_out or self.files else registry)
    monkeypatch.setattr(Lab, "carry_out", _trains_nothing)
    monkeypatch.chdir(tmp_path)
    before = set(os.listdir())
    result = CliRunner().invoke(main, words, prog_name="zoo")
    unexpected = None if isinstance(result.exception, SystemExit | None) else result.exception
    assert unexpected is None, (words, unexpected)
    assert result.exit_code in CODES, words
    assert "Traceback" not in result.output
    assert result.exit_code == 0 or set(os.listdir()) <= before, words


def _trains_nothing(*arguments: object, **more: object) -> None:
    raise ZooError("nothing is trained here")
