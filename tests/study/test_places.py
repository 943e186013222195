"""Reading a study over several bases and data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo.errors import SpecError, UnknownNameError
from zoo.registry import Registry
from zoo.study.definition import Study, read_study
from zoo.study.places import OWN_DATA, SEEDS_APART, PooledStudy, read_any

BN = {"network.features.*.normalization": "batch"}
LEAKY = {"activation": "leaky_relu"}
TREE: dict[str, Any] = {
    "bases": ["starter/default", "starter/residual"],
    "changes": {"bn": BN, "leaky": LEAKY},
}


def pooled(registry: Registry, **stated: Any) -> PooledStudy:
    found = read_any({**TREE, **stated}, registry=registry, name="q")
    assert isinstance(found, PooledStudy)
    return found


def test_each_base_on_each_data_set_is_an_ordinary_study(registry: Registry) -> None:
    study = pooled(registry, data=["digits", "cifar10"])
    assert [place.name for place in study.places] == [
        "starter/default on digits",
        "starter/residual on digits",
        "starter/default on cifar10",
        "starter/residual on cifar10",
    ]
    alone = read_study(
        {"base": "starter/residual", "changes": TREE["changes"]},
        registry=registry,
        name="q",
        overrides={"data.dataset": "cifar10"},
    )
    assert study.places[3].study == alone
    assert [place.first_seed for place in study.places] == [SEEDS_APART * i for i in range(4)]


def test_places_go_by_what_tells_them_apart(registry: Registry) -> None:
    assert [p.name for p in pooled(registry).places] == ["starter/default", "starter/residual"]
    one = read_any({"base": "starter/default", "data": ["digits", "cifar10"], "changes": {"bn": BN}}, registry=registry)
    assert isinstance(one, PooledStudy)
    assert [p.name for p in one.places] == ["digits", "cifar10"]
    own = pooled(registry, bases=["starter/default", "modern/residual"], changes={"leaky": LEAKY})
    assert {p.data for p in own.places} == {OWN_DATA}


@pytest.mark.parametrize(
    "stated",
    [
        {"base": "starter/default"},
        {"bases": ["starter/default"]},
        {"base": "starter/default", "data": ["digits"]},
    ],
)
def test_one_place_is_an_ordinary_study(registry: Registry, stated: dict[str, Any]) -> None:
    changes = {"bn": BN}
    assert read_any({**stated, "changes": changes}, registry=registry, name="q") == read_study(
        {"base": "starter/default", "changes": changes}, registry=registry, name="q"
    )


def test_what_is_stated_elsewhere_takes_the_place_of_the_studys(registry: Registry) -> None:
    found = read_any(TREE, registry=registry, name="q", bases=["starter/4d"], data=["cifar10"])
    assert isinstance(found, Study)
    assert (found.base.name, found.base.data.dataset) == ("starter/4d", "cifar10")


def test_a_change_that_a_base_does_not_take_is_left_out_there_and_said(registry: Registry) -> None:
    study = pooled(registry, bases=["starter/default", "starter/residual", "starter/squeeze_excitation"])
    assert [[f.name for f in p.study.factors] for p in study.places] == [["bn", "leaky"], ["bn", "leaky"], ["leaky"]]
    assert study.refused == (
        "starter/squeeze_excitation: change 'bn': network.features.*.normalization = 'batch' changes nothing: it is "
        "that already",
    )
    whole = pooled(registry, design="factorial", bases=["starter/default", "starter/squeeze_excitation"])
    assert [place.name for place in whole.places] == ["starter/default"], "a factorial design needs all changes"
    assert len(whole.refused) == 1


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ({"base": "starter/default"}, "study 'q': expected either base, the name of a spec, or bases, a list of them"),
        ({"bases": "starter/default"}, "study 'q': bases: expected a list of names, such as [\"starter/default\"], "
         "got 'starter/default'"),
        ({"bases": []}, 'study \'q\': bases: expected a list of names, such as ["starter/default"], got []'),
        ({"data": "digits"}, 'study \'q\': data: expected a list of names, such as ["digits"], got \'digits\''),
        ({"data": [3]}, "study 'q': data: expected the name of a data set, got 3"),
        ({"data": ["digits", "digits"]}, "study 'q': data: 'digits' is there twice"),
        ({"bases": ["starter/default", "starter/default"]}, "study 'q': bases: 'starter/default' is there twice"),
        ({"design": "stepwise"}, "study 'q': a stepwise search goes its own way at each base, so that there is nothing "
         "to be said over several; take a design that is no search"),
        ({"tune": {"learning_rate": [0.01, 0.1]}}, "study 'q': tune: it goes with one base and one data set: a verdict "
         "over several does not know which other settings each of them might have chosen; take a study for each"),
        ({"changes": {"bn": BN, "x": {"activation": "leaky_rleu"}}}, "leaky_rleu"),
        ({"changes": {}}, "study 'q': changes: expected at least one change"),
        ({"margin": -1}, "margin"),
        ({"sed": 3}, "study 'q': unknown key 'sed'"),
    ],
)  # fmt: skip
def test_what_is_wrong_everywhere_is_one_error(registry: Registry, stated: dict[str, Any], text: str) -> None:
    with pytest.raises((SpecError, UnknownNameError)) as error:
        pooled(registry, **stated)
    assert text in str(error.value)


def test_bases_that_cannot_stand_together_are_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="study 'q': bases: no spec"):
        pooled(registry, bases=["starter/default", "starter/residul"])
    twin = tmp_path / "twin.toml"
    twin.write_text('base = "starter/residual"\n[set]\n"network.features.*.block" = "plain"\n')
    with pytest.raises(SpecError, match="starter/default and twin are one network, which would count twice"):
        pooled(registry, bases=["starter/default", str(twin)])
    with pytest.raises(SpecError, match="bases: two are called 'twin'; rename a file"):
        pooled(registry, bases=[str(twin), f"{tmp_path}/./twin.toml"])
    with pytest.raises(SpecError, match="bases: expected the name of a spec, or a TOML file, got 3"):
        pooled(registry, bases=["starter/default", 3])
    eq = {"bases": ["starter/default", "eq2425/default"], "changes": {"bn": BN}}
    with pytest.raises(
        SpecError, match=r"are not to be pooled: measure final and eq2425; set evaluation\.measure alike"
    ):
        read_any(eq, registry=registry, name="q", data=["digits"])


def test_a_split_of_each_seeds_own_is_set_in_the_base(registry: Registry) -> None:
    tree = {"base": "starter/default", "changes": {"bn": BN}}
    study = read_study({**tree, "resplit": True}, registry=registry)
    assert study.base.data.resplit
    assert study.base.data.validation == 0.25
    assert not read_study(tree, registry=registry).base.data.resplit
    with pytest.raises(
        SpecError,
        match=r"^study '\(unnamed\)': resplit draws the validation part anew with each seed, and the study selects on",
    ):
        read_study({**tree, "resplit": True, "select": "test"}, registry=registry)
    changed = {**tree, "changes": {"anew": {"data.resplit": True}}}
    with pytest.raises(SpecError, match="held out 25% and 25%, anew with each seed"):
        read_study(changed, registry=registry)


def test_folds_are_set_in_the_base(registry: Registry) -> None:
    tree = {"base": "starter/default", "changes": {"bn": BN}}
    data = read_study({**tree, "folds": 5}, registry=registry).base.data
    assert (data.validation, data.resplit) == (0.2, "folds")
    with pytest.raises(SpecError, match="and folds takes each fold in turn; leave one of the two out"):
        read_study({**tree, "folds": 5, "resplit": True}, registry=registry)
    with pytest.raises(
        SpecError, match="folds draws the validation part anew with each seed, and the study selects on"
    ):
        read_study({**tree, "folds": 5, "select": "test"}, registry=registry)
    with pytest.raises(SpecError, match="folds: expected a number of folds, 2 or more, got 1"):
        read_study({**tree, "folds": 1}, registry=registry)
