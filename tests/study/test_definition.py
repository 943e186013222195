"""Reading a study: from TOML, from a mapping, from what is registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo.errors import SpecError, UnknownNameError
from zoo.registry import Registry, default_registry
from zoo.spec.resolve import resolve
from zoo.study.definition import read_study
from zoo.study.designs import most_cells, search

TREE: dict[str, Any] = {
    "base": "starter/default",
    "changes": {
        "leaky": {"activation": "leaky_relu"},
        "size": {"levels": {"5": {"network.features.1.filter.size": 5}, "7": {"network.features.1.filter.size": 7}}},
    },
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return default_registry()


def test_combinations_have_names_and_specs(registry: Registry) -> None:
    study = read_study(TREE, registry=registry)
    assert study.arm_name((0, 0)) == "base"
    assert study.arm_name((1, 2)) == "leaky + size=7"
    spec = study.spec((1, 2), registry)
    assert spec.name == "starter/default[leaky, size=7]"
    assert spec.network.features[1].filter.values()["size"] == 7
    assert all(block.activation.name == "leaky_relu" for block in spec.network.features)
    assert study.spec((0, 0), registry) == study.base


def test_a_quarter_is_held_out_where_the_base_does_not_say(registry: Registry) -> None:
    assert read_study(TREE, registry=registry).base.data.validation == 0.25
    stated = read_study({**TREE, "set": {"data.validation": 0.1}}, registry=registry)
    assert stated.base.data.validation == 0.1
    faithful = read_study({**TREE, "select": "test"}, registry=registry)
    assert faithful.base == resolve("starter/default", registry=registry)


def test_a_file_says_the_same(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text(
        'base = "starter/default"\n[changes.leaky]\nactivation = "leaky_relu"\n'
        '[changes.size.levels]\n5 = {"network.features.1.filter.size" = 5}\n'
        '7 = {"network.features.1.filter.size" = 7}\n'
    )
    read = read_study(file, registry=registry)
    assert read.name == "two"
    assert read.factors == read_study(TREE, registry=registry).factors


def test_overrides_leave_what_is_so_already(registry: Registry) -> None:
    study = read_study(TREE, registry=registry, overrides={"training.epochs": 10, "data.dataset": "digits"})
    assert study.base.training.epochs == 10


def test_every_variant_of_a_kind(registry: Registry) -> None:
    study = read_study({**TREE, "changes": {"activation": {"every": "activation"}}}, registry=registry)
    (factor,) = study.factors
    assert {level.name for level in factor.levels} == set(registry.variants("activation")) - {"relu"}


PLUGIN = '''
import zoo


@zoo.hookimpl
def zoo_register_activations(register):
    register("halved", halved)


def halved():
    """Half the identity."""
    from torch import nn

    class Halved(nn.Module):
        def forward(self, x):
            return x / 2

    return Halved()


@zoo.hookimpl
def zoo_register_studies(register):
    register("mine", {"base": "starter/default", "changes": {"halved": {"activation": "halved"}}})
'''


def test_what_a_plugin_adds_appears_in_the_studies(tmp_path: Path) -> None:
    file = tmp_path / "halved.py"
    file.write_text(PLUGIN)
    registry = Registry(files=[file]).require_sound()
    (factor,) = read_study("activations", registry=registry).factors
    assert "halved" in {level.name for level in factor.levels}
    assert read_study("mine", registry=registry).arm_name((1,)) == "halved"
    assert registry.studies["mine"].plugin.name == "halved"


@pytest.mark.parametrize("name", default_registry().studies)
def test_registered_studies_are_sound(registry: Registry, name: str) -> None:
    study = read_study(name, registry=registry)
    cells = next(search(study))
    assert study.base_cell in cells
    for cell in cells:
        study.spec(cell, registry)
    assert 1 <= len(cells) <= most_cells(study)


def test_the_faithful_study_trains_the_registered_specs(registry: Registry) -> None:
    study = read_study("eq2425", registry=registry)
    assert study.design.select == "test"
    for cell in study.single_changes():
        code = study.arm_name(cell)
        assert study.spec(cell, registry).identity == resolve(f"eq2425/{code}", registry=registry).identity


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in TREE.items() if k != key}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (without("base"), "study 'x': base: required, but not there; expected the name of a spec"),
        (without("changes"), "study 'x': changes: required, but not there"),
        ({**TREE, "changes": {}}, "study 'x': changes: expected at least one change"),
        ({**TREE, "changes": {"a": {}}}, "study 'x': changes.a: it changes nothing"),
        ({**TREE, "changes": {"a": 3}}, "study 'x': changes.a: expected a table of paths and values, got 3"),
        ({**TREE, "changes": {"a": {"levels": {}}}}, "study 'x': changes.a.levels: expected at least one level"),
        ({**TREE, "changes": {"a+b": {"activation": "mish"}}}, "must be without = + , [ and ]"),
        ({**TREE, "changes": {"base": {"activation": "mish"}}}, "study 'x': 'base' cannot be the name of a change"),
        ({**TREE, "changes": {"a": {"levels": {"seed": {"activation": "mish"}}}}}, "'seed' cannot be the name of"),
        (
            {**TREE, "changes": {"a=1": {"activation": "mish"}}},
            "study 'x': changes.a=1: the name of a change must be without = + , [ and ]",
        ),
        (
            {**TREE, "changes": {"a\a": {"activation": "mish"}}},
            "the name holds \\u0007, which is no text; take another",
        ),
        (
            {**TREE, "changes": {"a": {"levels": {"x\n": {"activation": "mish"}}}}},
            "the name holds \\u000a, which is no text; take another name",
        ),
        ({**TREE, "description": "a\x1b"}, "study 'x': description: expected text without control characters, got"),
        ({**TREE, "changes": {"a": {"every": "acti"}}}, "study 'x': changes.a.every: no kind is called 'acti'"),
        (
            {**TREE, "changes": {"a": {"every": "initializer", "path": "evaluation.every"}}},
            "study 'x': changes.a: no initializer can be set at 'evaluation.every' (",
        ),
        (
            {**TREE, "changes": {"a": {"every": "loss", "path": "1"}}},
            "study 'x': changes.a: no loss can be set at '1' (",
        ),
        ({**TREE, "changes": {"a": {"every": 3}}}, "study 'x': changes.a: expected the name of a kind, and a path"),
        (
            {**TREE, "changes": {"a": {"activation": "relu"}}},
            "study 'x': change 'a': starter/default: activation = 'relu' changes nothing: it is that already",
        ),
        (
            {**TREE, "changes": {"a": {"activatoin": "mish"}}},
            "nothing in the spec is called 'activatoin'; did you mean activation?",
        ),
        ({**TREE, "desing": "factorial"}, "study 'x': unknown key 'desing'; did you mean design?"),
        (
            {**TREE, "design": "full"},
            'study \'x\': design: expected one of "one-at-a-time", "leave-one-out", "stepwise", "forward", "backward", '
            '"factorial", "fractional", got "full"',
        ),
        ({**TREE, "seeds": 0}, "study 'x': seeds: expected a positive int, got 0"),
        ({**TREE, "margin": -1.0}, "study 'x': margin: expected a positive number, got -1.0"),
        ({**TREE, "resolution": 6}, "study 'x': resolution: expected 3, 4 or 5, got 6"),
        ({**TREE, "set": 3}, "study 'x': set: expected a table of paths and values, got 3"),
        ({**TREE, "base": 3}, "study 'x': base: expected the name of a spec, got 3"),
        (
            {**TREE, "design": "fractional"},
            "study 'x': a fractional design needs changes of one level each, and 'size' has several",
        ),
        (
            {**TREE, "design": "leave-one-out", "changes": {"leaky": {"activation": "leaky_relu"}}},
            "study 'x': a leave-one-out design needs at least two changes",
        ),
        (
            {**TREE, "changes": {"m": {"evaluation.measure": "eq2425"}}},
            "study 'x': change 'm': its recall is not to be compared with the base's: measure final and eq2425; set",
        ),
        (
            {**TREE, "changes": {"images": {"levels": {"c": {"data.dataset": "cifar10"}}}}},
            "study 'x': change 'images=c': its recall is not to be compared with the base's: data digits and cifar10",
        ),
        (
            {
                "base": "starter/default",
                "design": "fractional",
                "resolution": 5,
                "changes": {f"c{number}": {"training.epochs": 20 + number} for number in range(18)},
            },
            "study 'x': no fraction of resolution 5 is known for 18 changes, only for up to 17; take fewer changes, or "
            "resolution 4 for up to 32",
        ),
        (
            {
                "base": "starter/default",
                "design": "factorial",
                "changes": {"f": {"network.features.0.filters": 32}, "g": {"network.features.0.filters": 40}},
            },
            "study 'x': 'f' changes nothing beside 'g': they set the same places; make them levels of one change",
        ),
        (
            {"base": "small/wide_resnet", "changes": {"deep": {"architecture.depth": 16}}, "match": "flops"},
            "study 'x': match makes the base wider, and its architecture wide_resnet(depth=10, widening=1) has no "
            "option 'width' for that; leave it out, or take another base",
        ),
        (
            {**TREE, "design": "factorial", "match": "flops"},
            "study 'x': match compares single changes with a base as large, and a factorial design has effects",
        ),
    ],
)
def test_what_is_wrong_is_said(registry: Registry, tree: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as raised:
        read_study(tree, registry=registry, name="x")
    assert message in str(raised.value)


def test_unknown_names(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="no study is called 'eq2452'; did you mean eq2425"):
        read_study("eq2452", registry=registry)
    with pytest.raises(UnknownNameError, match="study 'x': no spec is called 'starter/defualt'; did you mean"):
        read_study({**TREE, "base": "starter/defualt"}, registry=registry, name="x")
    with pytest.raises(SpecError, match=r"cannot read the spec file nowhere.toml"):
        read_study("nowhere.toml", registry=registry)
