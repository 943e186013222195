"""Changes: which places a path names, and what a value put there does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import SpecError
from zoo.registry import Registry
from zoo.spec import Spec, paths, structure, unstructure
from zoo.spec.paths import NoChangeError, parse_set, parse_values
from zoo.spec.resolve import resolve


@pytest.fixture(scope="module")
def default(registry: Registry) -> Spec:
    """Three blocks, the third without activation, and one dense layer."""
    return resolve("eq2425/default", registry=registry)


def changed(before: Spec, after: Spec) -> dict[str, Any]:
    """The leaves that differ, by path."""

    def leaves(tree: Any, path: str = "") -> dict[str, Any]:
        items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
        if items is None:
            return {path: tree}
        return {k: v for key, value in items for k, v in leaves(value, f"{path}.{key}".lstrip(".")).items()}

    old, new = leaves(unstructure(before)), leaves(unstructure(after))
    return {path: new.get(path) for path in {**old, **new} if old.get(path, ...) != new.get(path, ...)}


@pytest.mark.parametrize(
    ("path", "value", "differing"),
    [
        ("network.features.1.filters", 7, ["network.features.1.filters"]),
        ("network.features[1].filters", 7, ["network.features.1.filters"]),
        ("network.features.*.filters", 7, [f"network.features.{i}.filters" for i in range(3)]),
        ("network.features[*].filter.size", 1, [f"network.features.{i}.filter.size" for i in range(3)]),
        ("filter.size", 7, [f"network.features.{i}.filter.size" for i in range(3)]),
        ("learning_rate", 0.5, ["training.optimizer.learning_rate"]),
        ("features.0.filters", 7, ["network.features.0.filters"]),
        ("units", 7, ["network.classifier.0.units"]),
        ("training", {"epochs": 3}, ["training.epochs"]),
        ("training", {"epochs": 3, "optimizer": {"momentum": 0.5}}, ["training.epochs", "training.optimizer.momentum"]),
        ("network.features.0", {"filters": 7, "filter": {"size": 1}},
            ["network.features.0.filters", "network.features.0.filter.size"]),
        ("network.features.2.order", ["filter"], [f"network.features.2.order.{i}" for i in (1, 2, 3)]),
    ],
)  # fmt: skip
def test_a_path_names_its_places(
    registry: Registry, default: Spec, path: str, value: Any, differing: list[str]
) -> None:
    after = paths.apply(default, {path: value}, registry)
    assert sorted(changed(default, after)) == sorted(differing)
    assert default == resolve("eq2425/default", registry=registry), "the spec itself was changed"


def test_a_short_path_names_every_place_that_ends_like_it(registry: Registry, default: Spec) -> None:
    after = paths.apply(default, {"activation": "tanh"}, registry)
    assert [b.activation.name for b in after.network.features] == ["tanh"] * 3
    assert [d.activation.name for d in after.network.classifier] == ["tanh"]


def test_a_path_reaches_into_nested_choices(registry: Registry, default: Spec) -> None:
    inner = {"name": "squeeze_excitation", "inner": "residual"}
    spec = paths.apply(default, {"network.features.1.block": inner, "block.inner.stride": 2}, registry)
    assert str(spec.network.features[1].block) == "squeeze_excitation(inner=residual(stride=2))"


def test_plus_appends(registry: Registry, default: Spec) -> None:
    sets = {"network.classifier.+": {"units": 128}, "training.augmentation.+": "horizontal_flip"}
    after = paths.apply(default, sets, registry)
    assert [dense.units for dense in after.network.classifier] == [512, 128]
    assert after.network.classifier[1].activation.name == "relu", "what is not stated is the default"
    assert [str(a) for a in after.training.augmentation] == ["horizontal_flip"]
    assert paths.apply(after, {"classifier.+": {"units": 1}}, registry).network.classifier[2].units == 1


# A bare name, a table without name, a table with name.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("asymmetric", "asymmetric(size=5, padding=same)"),
        ({"size": 7}, "conv(size=7, padding=same, bias=False)"),
        ({"name": "conv", "size": 7}, "conv(size=7)"),
        ({"name": "asymmetric"}, "asymmetric"),
        ({"bias": True, "stride": 2}, "conv(size=5, stride=2, padding=same)"),
    ],
)
def test_what_a_value_does_to_a_chosen_variant(registry: Registry, default: Spec, value: Any, expected: str) -> None:
    start = {"name": "conv", "size": 5, "padding": "same", "bias": False}
    spec = paths.apply(default, {"network.features.0.filter": start}, registry)
    if value == "asymmetric":
        spec = paths.apply(spec, {"network.features.0.filter.bias": True}, registry)
    after = paths.apply(spec, {"network.features.0.filter": value}, registry)
    assert str(after.network.features[0].filter) == expected


def test_a_swap_by_bare_name_drops_only_what_the_new_variant_does_not_have(registry: Registry, default: Spec) -> None:
    spec = paths.apply(default, {"optimizer": {"name": "sgd", "learning_rate": 0.5, "momentum": 0.3}}, registry)
    swapped = paths.apply(spec, {"optimizer": "adam"}, registry).training.optimizer
    assert (swapped.name, swapped.options.learning_rate) == ("adam", 0.5)
    assert not hasattr(swapped.options, "momentum")


def test_one_value_at_several_places_is_not_shared(registry: Registry, default: Spec) -> None:
    value = {"name": "conv", "size": 3, "padding": "same"}
    spec = paths.apply(default, {"filter": value}, registry)
    again = paths.apply(spec, {"network.features.0.filter.size": 5}, registry)
    assert [b.filter.options.size for b in again.network.features] == [5, 3, 3]
    assert value == {"name": "conv", "size": 3, "padding": "same"}


# What is refused.


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.epochs", 300),
        ("activation", "relu"),
        ("network.features.*.filter", {"padding": "valid"}),
        ("training.optimizer.momentum", 0.9),
        ("training", {}),
        ("training.shuffle", False),
    ],
)
def test_a_set_that_changes_nothing_is_an_error(registry: Registry, default: Spec, path: str, value: Any) -> None:
    with pytest.raises(NoChangeError) as caught:
        paths.apply(default, {path: value}, registry)
    assert str(caught.value) == f"eq2425/default: {path} = {value!r} changes nothing: it is that already"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("training.epoch", "training has no 'epoch'; did you mean epochs? It has epochs, batch_size, shuffle,"),
        ("network.features.5.filters", "network.features has no '5'. It has 0, 1, 2."),
        ("network.features.0.filter.sise", "network.features.0.filter has no 'sise'; did you mean size or "
            "stride? It has name,"),
        ("network.features.*.filtr", "network.features.* has no 'filtr'; did you mean filter or filters?"),
        ("training.epochs.x", "training.epochs has no 'x'. It has nothing below it."),
        ("network.defaults.activation", "defaults are written into the blocks when a spec is read; set "
            "`network.features.*` instead."),
        ("fliter.size", "nothing in the spec is called 'fliter'; did you mean filter or filters or fit?"),
        ("filter.sise", "filter has no 'sise'; did you mean size or stride? It has name, size, stride,"),
        ("learnin_rate", "nothing in the spec is called 'learnin_rate'; did you mean learning_rate?"),
        ("description", "nothing in the spec is called 'description'; did you mean"),
        ("network.classifier.0.+", "network.classifier.0 has no '+'. It has units, normalization,"),
        ("", "nothing in the spec is called ''."),
        ("training..epochs", "training has no ''. It has epochs,"),
    ],
)  # fmt: skip
def test_a_path_that_matches_nothing_is_an_error(registry: Registry, default: Spec, path: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        paths.apply(default, {path: 1}, registry)
    assert str(caught.value).startswith(f"eq2425/default: the path {path!r} matches nothing: {hint}")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("filter.size", "5x5", 'network.features[0].filter.size: expected a positive int, got "5x5"'),
        ("training.epochs", {"x": 1}, 'training.epochs: expected a positive number, got {"x": 1}'),
        ("training", {"epoch": 3}, "training: unknown option 'epoch'; did you mean epochs?"),
        ("network.features", {"0": {"filters": 3}}, "network.features: expected a list, got"),
        ("filter", {"sise": 5}, "network.features[0].filter: unknown option 'sise'; did you mean size or"),
        ("filter", 5, "network.features[0].filter: expected the name of a filter, or a table with `name`"),
        ("network.classifier.+", "x", 'network.classifier[1]: expected a table, got "x"'),
    ],
)
def test_a_value_that_is_not_valid_is_an_error(
    registry: Registry, default: Spec, path: str, value: Any, expected: str
) -> None:
    with pytest.raises(SpecError) as caught:
        paths.apply(default, {path: value}, registry)
    assert expected in str(caught.value)


def test_an_unknown_variant_is_an_error(registry: Registry, default: Spec) -> None:
    with pytest.raises(Exception, match=r"no activation is called 'relru'; did you mean relu"):
        paths.apply(default, {"activation": "relru"}, registry)


def test_the_name_of_a_variant_is_not_set_alone(registry: Registry, default: Spec) -> None:
    with pytest.raises(SpecError) as caught:
        paths.apply(default, {"network.features.1.filter.name": "asymmetric"}, registry)
    assert str(caught.value) == (
        "eq2425/default: network.features.1.filter.name: set the variant itself, "
        'network.features.1.filter = "asymmetric"'
    )


# Properties.

DISJOINT = {
    "network.features.0.filters": 7,
    "network.features.1.activation": "tanh",
    "network.classifier.+": {"units": 3},
    "training.epochs": 2,
    "training.optimizer.learning_rate": 0.5,
    "loss": "cross_entropy",
    "data.mean": "train",
}


@given(st.permutations(list(DISJOINT)))
def test_changes_of_different_places_can_come_in_any_order(registry: Registry, default: Spec, order: list[str]) -> None:
    expected = paths.apply(default, DISJOINT, registry)
    assert paths.apply(default, {path: DISJOINT[path] for path in order}, registry) == expected


@given(st.dictionaries(st.sampled_from(list(DISJOINT)), st.none(), min_size=1))
def test_a_changed_spec_is_the_same_as_one_written_in_full(
    registry: Registry, default: Spec, chosen: dict[str, None]
) -> None:
    after = paths.apply(default, {path: DISJOINT[path] for path in chosen}, registry)
    full = structure(unstructure(after), after.name, registry)
    assert full == after
    assert full.identity == after.identity != default.identity


# The command line's texts.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training.epochs=3", ("training.epochs", 3)),
        (" activation = relu ", ("activation", "relu")),
        ("optimizer.learning_rate=1e-3", ("optimizer.learning_rate", 0.001)),
        ("shuffle=true", ("shuffle", True)),
        ('filter={name="conv", size=5}', ("filter", {"name": "conv", "size": 5})),
        ('order=["filter"]', ("order", ["filter"])),
        ('activation="relu"', ("activation", "relu")),
        ("data.dataset=npz:/a=b.npz", ("data.dataset", "npz:/a=b.npz")),
        ("x=", ("x", "")),
    ],
)
def test_parse_set(text: str, expected: tuple[str, Any]) -> None:
    assert parse_set(text) == expected


@pytest.mark.parametrize("text", ["training.epochs", "=3", "", "  = 3"])
def test_a_set_without_path_or_value_is_an_error(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_set(text)
    assert str(caught.value) == f"expected path=value, got {text!r}; for example --set training.epochs=3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relu,mish", ["relu", "mish"]),
        ("1, 2.5,x", [1, 2.5, "x"]),
        ('relu,{name="leaky_relu", slope=0.2}', ["relu", {"name": "leaky_relu", "slope": 0.2}]),
        ('[1,2],[3]', [[1, 2], [3]]),
        ('"a,b",c', ["a,b", "c"]),
        ("'a,]',[1]", ["a,]", [1]]),
        ("relu", ["relu"]),
        ("", [""]),
    ],
)  # fmt: skip
def test_parse_values(text: str, expected: list[Any]) -> None:
    assert parse_values(text) == expected


@given(
    st.lists(
        st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False), min_size=1
    )
)
def test_values_are_read_back_as_they_were_written(values: list[Any]) -> None:
    text = ",".join(repr(value).lower() for value in values)
    assert parse_values(text) == values


def test_a_path_that_begins_at_a_section_may_end_anywhere_below_it(registry: Registry) -> None:
    spec = resolve("starter/default", registry=registry)
    below = paths.apply(spec, {"network.activation": "leaky_relu"}, registry)
    assert below == paths.apply(spec, {"activation": "leaky_relu"}, registry)
    assert (
        paths.apply(spec, {"training.learning_rate": 0.5}, registry).training.optimizer.values()["learning_rate"] == 0.5
    )
    with pytest.raises(SpecError, match=r"the path 'training.activation' matches nothing"):
        paths.apply(spec, {"training.activation": "mish"}, registry)


@pytest.mark.parametrize("path", ["0", "*"])
def test_a_path_to_places_that_lie_in_each_other_is_an_error(path: str, registry: Registry, default: Spec) -> None:
    with pytest.raises(SpecError) as caught:
        paths.apply(default, {path: 3}, registry)
    assert str(caught.value) == (
        f"eq2425/default: the path {path!r} names places that lie in each other; name one of them"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 2000 + "]" * 2000, "it is nested too deep"),
        ("9" * 5000, "it has a whole number of more than 64 bits"),
        ("0x" + "f" * 5000, "it has a whole number of more than 64 bits"),
        (str(2**63), "it has a whole number of more than 64 bits"),
    ],
    ids=["deep", "digits", "hex", "65 bits"],
)
def test_a_value_that_toml_does_not_allow_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_set(f"a={text}")
    assert str(caught.value) == f"{text[:20]}... cannot be a value: {reason}"
    assert parse_set(f"a={2**63 - 1}") == ("a", 2**63 - 1)


@pytest.mark.parametrize(
    ("sets", "epochs", "steps"),
    [
        ({"training.steps": 9}, None, 9),
        ({"training": {"steps": 9}}, None, 9),
        ({"steps": 9, "training.epochs": 2.5}, 2.5, None),
        ({"training": {"steps": 9, "batch_size": 8}, "training.batch_size": 9}, None, 9),
    ],
    ids=str,
)
def test_setting_one_of_two_fields_that_exclude_each_other_leaves_out_the_other(registry, sets, epochs, steps):
    changed = paths.apply(resolve("starter/default", registry=registry), sets, registry)
    assert (changed.training.epochs, changed.training.steps) == (epochs, steps)
