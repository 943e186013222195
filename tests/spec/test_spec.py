"""Specs: pure data, fully checked when read, with an identity that all that decides the figures goes into."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo import spec
from zoo.errors import SpecError
from zoo.registry import Registry
from zoo.registry.options import Choice
from zoo.spec import (
    Block,
    Dense,
    Spec,
    canonical_json,
    check_keys,
    merge,
    paths,
    read_toml,
    split_path,
    structure,
    unstructure,
)
from zoo.spec.resolve import resolve


def small(**network: Any) -> dict[str, Any]:
    """A small spec as plain data."""
    return {
        "network": {"features": [{"filters": 4}], **network},
        "training": {"epochs": 1},
        "data": {"dataset": "digits"},
    }


def message(tree: dict[str, Any], registry: Registry) -> str:
    with pytest.raises(SpecError) as caught:
        structure(tree, "test", registry)
    return str(caught.value).removeprefix("spec 'test': ")


# Reading.


def test_a_spec_is_frozen(registry: Registry) -> None:
    read = structure(small(), "test", registry)
    for part in (read, read.network, read.network.features[0], read.training, read.data, read.evaluation):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(part, attrs.fields(type(part))[0].name, None)
    assert isinstance(read.network.features, tuple)
    hash(read)


def test_every_default_is_written_out(registry: Registry) -> None:
    tree = unstructure(structure(small(), "test", registry))
    assert tree["network"]["features"] == [
        {
            "filters": 4,
            "block": {"name": "plain"},
            "filter": {
                "name": "conv", "size": 3, "stride": 1, "padding": "valid", "dilation": 1, "groups": 1, "bias": True,
            },
            "normalization": {"name": "none"},
            "activation": {"name": "relu"},
            "pooling": {"name": "none"},
            "dropout": {"name": "none"},
            "order": ["filter", "normalization", "activation", "pooling", "dropout"],
        }
    ]  # fmt: skip
    assert tree["network"]["classifier"] == []
    assert (tree["training"]["batch_size"], tree["training"]["shuffle"], tree["training"]["warmup"]) == (64, True, 0.0)
    assert tree["data"] == {
        "dataset": "digits",
        "resize": None,
        "fit": "stretch",
        "skip_damaged": False,
        "test": 0.0,
        "group_by": None,
        "limit": None,
        "validation": 0.0,
        "resplit": False,
        "mean": 0.5,
        "std": 1.0,
    }
    expected = {"every": 1, "measure": "final", "prediction": {"name": "plain"}, "keep": "last", "stop": None}
    expected |= {"train": "last", "target": None}
    assert tree["evaluation"] == expected


TOML = """
description = "one of each"

[network]
features = [{ filters = 4 }, { filters = 8, filter = { size = 5 }, order = ["filter", "activation"] }]
classifier = [{ units = 16, dropout = "dropout" }]

[network.defaults]
filter = { name = "conv", padding = "same" }
pooling = { name = "max", size = 2 }

[training]
epochs = 2
optimizer = { name = "sgd", learning_rate = 1, momentum = 0.9 }
augmentation = ["horizontal_flip"]

[data]
dataset = "digits"
mean = "train"

[reference]
source = "nobody"
test_recall = 0.5
"""

PYTHON = {
    "description": "one of each",
    "network": {
        "features": (
            {"filters": 4, "filter": {"name": "conv", "padding": "same"}, "pooling": {"name": "max", "size": 2}},
            {
                "filters": 8,
                "filter": {"name": "conv", "padding": "same", "size": 5},
                "pooling": {"size": 2, "name": "max"},
                "order": ("filter", "activation"),
            },
        ),
        "classifier": ({"units": 16, "dropout": {"name": "dropout"}},),
    },
    "training": {
        "epochs": 2,
        "optimizer": {"name": "sgd", "learning_rate": 1.0, "momentum": 0.9},
        "augmentation": "horizontal_flip",
    },
    "data": {"dataset": "digits", "mean": "train"},
    "reference": {"source": "nobody", "test_recall": 0.5},
}


def test_toml_and_python_give_the_same(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "test.toml"
    file.write_text(TOML)
    from_toml = resolve(file, registry=registry)
    from_python = attrs.evolve(resolve(PYTHON, registry=registry), name="test")
    assert from_toml == from_python
    assert from_toml.identity == from_python.identity


def test_a_spec_in_python_may_hold_parts_of_other_specs(registry: Registry) -> None:
    read = structure(PYTHON, "test", registry)
    tree = {**PYTHON, "network": read.network, "training": attrs.asdict(read.training, recurse=False)}
    assert structure(tree, "test", registry) == read
    assert structure(small(features=[Block(filters=4)]), "test", registry).network.features[0].filter.name == "conv"


def test_blocks_state_what_differs_from_the_defaults(registry: Registry) -> None:
    defaults = {"filter": {"name": "conv", "size": 5, "padding": "same"}, "pooling": "max", "activation": "leaky_relu"}
    blocks = [
        {"filters": 4},
        {"filters": 4, "filter": {"size": 3}},
        {"filters": 4, "filter": {"name": "conv", "size": 3}},
        {"filters": 4, "filter": "asymmetric"},
        {"filters": 4, "pooling": {"size": 3}, "activation": {"slope": 0.2}},
    ]
    read = structure(small(features=blocks, defaults=defaults), "test", registry).network.features
    assert [(b.filter.name, b.filter.options.size, b.filter.options.padding) for b in read] == [
        ("conv", 5, "same"),
        ("conv", 3, "same"),
        ("conv", 3, "valid"),
        ("asymmetric", 3, "valid"),
        ("conv", 5, "same"),
    ]
    assert [str(b.pooling) for b in read] == ["max"] * 4 + ["max(size=3)"]
    assert [str(b.activation) for b in read] == ["leaky_relu"] * 4 + ["leaky_relu(slope=0.2)"]


@pytest.mark.parametrize(
    ("default", "own", "merged"),
    [
        ("conv", {"size": 5}, {"name": "conv", "size": 5}),
        ({"name": "conv", "size": 3}, {"padding": "same"}, {"name": "conv", "size": 3, "padding": "same"}),
        ({"name": "conv", "size": 3}, {"name": "conv"}, {"name": "conv"}),
        ({"name": "conv", "size": 3}, "asymmetric", "asymmetric"),
        (None, {"size": 5}, {"size": 5}),
        (24, 48, 48),
    ],
)
def test_merge(default: Any, own: Any, merged: Any) -> None:
    assert merge(default, own) == merged


# What is wrong is said, by its path.


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({"features": None}, "network.features: expected a list, got null"),
        ({"features": [5]}, "network.features[0]: expected a table, got 5"),
        ({"features": [{"filters": 4}, {}]}, "network.features[1].filters: required, but not there"),
        ({"features": [{"filters": 0}]}, "network.features[0].filters: expected a positive int, got 0"),
        ({"features": [{"filters": 2**63}]},
            "network.features[0].filters: expected a whole number of at most 64 bits, got 9223372036854775808"),
        ({"features": [{"filters": 4, "filter": {"name": "conv", "size": "5x5"}}]},
            'network.features[0].filter.size: expected a positive int, got "5x5"'),
        ({"features": [{"filters": 4, "actvation": "relu"}]},
            "network.features[0]: unknown option 'actvation'; did you mean activation? It takes filters, block,"),
        ({"features": [{"filters": 4, 1: 2}]}, "network.features[0]: unknown option '1'. It takes"),
        ({"features": [{"filters": 4, "activation": 5}]}, "network.features[0].activation: expected the name of an "
            "activation, or a table with `name` and its options, got 5"),
        ({"features": [{"filters": 4, "activation": "relru"}]},
            "network.features[0].activation: no activation is called 'relru'; did you mean relu"),
        ({"features": [{"filters": 4, "order": "filter"}]},
            'network.features[0].order: expected a list of parts, each at most once, got "filter"'),
        ({"features": [{"filters": 4, "order": ["filter", "filter"]}]},
            "network.features[0].order: expected a list of parts, each at most once, got "
            '["filter", "filter"]'),
        ({"features": [{"filters": 4, "order": ["filter", "linear"]}]},
            'network.features[0].order[1]: expected one of "filter", "normalization", "activation", "pooling", '
            '"dropout", got "linear"'),
        ({"classifier": [{"units": 4, "order": ["filter"]}]}, "network.classifier[0].order[0]: expected one of"),
        ({"defaults": 5}, "network.defaults: expected a table, got 5"),
        ({"defaults": {"poling": "max"}, "features": [{"filters": 4}] * 3},
            "network.defaults: unknown option 'poling'; did you mean pooling?"),
        ({"defaults": {"filter": {"name": "conv", "size": 0}}, "features": [{"filters": 4}] * 3},
            "network.defaults.filter.size: expected a positive int, got 0"),
        ({"initializer": "kaiming"}, "network.initializer: no initializer is called 'kaiming'"),
    ],
)  # fmt: skip
def test_a_wrong_value_in_the_network(registry: Registry, network: dict[str, Any], expected: str) -> None:
    text = message(small(**network), registry)
    assert text.startswith(expected)
    assert "\n" not in text, "one mistake is said once"


@pytest.mark.parametrize(
    ("section", "value", "expected"),
    [
        ("network", 5, "network: expected a table, got 5"),
        ("network", {}, "network.features: required, but not there"),
        ("training", {"epochs": 0}, "training.epochs: expected a positive number, got 0"),
        ("training", {"batch_size": 8}, "training: epochs is required, or steps, and neither is there"),
        ("training", {"epochs": 2, "steps": 8}, "training: it has epochs, and steps too; leave out one of them"),
        ("training", {"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.1}}, "training.optimizer: unknown option 'lr'"),
        ("training", {"epochs": 1, "augmentation": ["flip"]}, "training.augmentation[0]: no augmentation is called"),
        ("training", {"epochs": 1, "optimizer": {"name": "sgd", "learning_rate": 10**400}},
            "training.optimizer.learning_rate: expected a whole number of at most 64 bits, got 1"),
        ("data", {"dataset": 5}, "data.dataset: expected a string, got 5"),
        ("data", {"dataset": "digits", "mean": "each"},
            'data.mean: expected a finite number or one of "train", got "each"'),
        ("data", {"dataset": "digits", "std": 0}, 'data.std: expected a positive number or one of "train", got 0'),
        ("data", {"dataset": "digits", "resize": 0}, "data.resize: expected a positive int, got 0"),
        ("data", {"dataset": "digits", "validation": 1.0}, "data.validation: expected a number from 0 up to"),
        (
            "evaluation",
            {"measure": "last"},
            'evaluation.measure: expected one of "final", "last_quarter", "eq2425", got "last"',
        ),
        ("reference", {"source": "a", "test_recall": "0.5"}, "reference"),
    ],
)  # fmt: skip
def test_a_wrong_value_in_a_section(registry: Registry, section: str, value: Any, expected: str) -> None:
    assert message({**small(), section: value}, registry).startswith(expected)


def test_all_that_is_wrong_is_listed(registry: Registry) -> None:
    tree = {"network": {"features": [{"filters": 0}, {"filters": 4, "activation": "no"}]}, "training": {"epoch": 1}}
    assert message(tree, registry).splitlines() == [
        "spec 'test' is not valid:",
        "  network.features[0].filters: expected a positive int, got 0",
        "  network.features[1].activation: no activation is called 'no'; did you mean none? "
        f"`zoo list --kind activation` shows all {len(registry.variants('activation'))}.",
        "  training: unknown option 'epoch'; did you mean epochs? It takes "
        f"{', '.join(field.name for field in attrs.fields(spec.TrainingSpec))}.",
        "  data: required, but not there",
    ]


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"netwrok": {}}, "spec 'x': unknown key 'netwrok'; did you mean network? It takes base, network, "
            "training, data, evaluation, description, reference."),
        ({"set": {}}, "spec 'x': it has a set, but no base whose values it could change"),
        ({"base": "b", 1: 2}, "spec 'x': unknown key 1. It takes base, set, description, reference."),
        ({"base": "b", "network": {}},
            "spec 'x': it has a base, so it changes [network] by paths under [set], not by a section"),
        ({"base": "b", "sets": {}}, "spec 'x': unknown key 'sets'; did you mean set? It takes base, set, description, "
            "reference."),
    ],
)  # fmt: skip
def test_unknown_keys_are_refused(tree: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_keys(tree, "x")
    assert str(caught.value) == expected


# TOML files.


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a = 1\nb = = 2\n", r"x\.toml is not valid TOML: Invalid value \(at line 2, column 5\)$"),
        (b"a = " + b"[" * 2000 + b"]" * 2000, r"x\.toml is not valid TOML: it is nested too deep$"),
        (b"a = " + b"9" * 5000, r"x\.toml is not valid TOML: it has a whole number of more than 64 bits$"),
        (b"a = 1\na = 2\n", r"x\.toml is not valid TOML: Cannot overwrite a value \(at line 2, column 6\)$"),
        (b"a = '\xff'\n", r"cannot read the spec file .*x\.toml: it is not UTF-8 text$"),
        (None, r"cannot read the spec file .*x\.toml: No such file or directory$"),
        ("folder", r"cannot read the spec file .*x\.toml: Is a directory$"),
    ],
)
def test_a_file_that_cannot_be_read(
    tmp_path: Path, registry: Registry, content: bytes | str | None, expected: str
) -> None:
    file = tmp_path / "x.toml"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "folder":
        file.mkdir()
    for read in (
        read_toml,
        lambda path: resolve(path, registry=registry),
        lambda p: resolve(str(p), registry=registry),
    ):
        with pytest.raises(SpecError, match=expected):
            read(file)


# Round trip and identity.

ACTIVATIONS = st.sampled_from(["relu", "none", {"name": "leaky_relu", "slope": 0.2}, {"name": "elu", "alpha": 2}])
NORMALIZATIONS = st.sampled_from(["none", "batch", "layer"])
DROPOUTS = st.sampled_from(["none", "channel", {"name": "dropout", "rate": 0.25}])


def tables(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(required, optional=optional)


TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\t\n"), max_size=5)
BLOCKS = tables(
    {"filters": st.integers(1, 64)},
    block=st.sampled_from(["plain", "residual", {"name": "squeeze_excitation", "inner": "residual", "reduction": 2}]),
    filter=st.sampled_from(["conv", "asymmetric", {"name": "conv", "size": 5, "padding": 2}]),
    normalization=NORMALIZATIONS,
    activation=ACTIVATIONS,
    pooling=st.sampled_from(["none", "max", {"name": "max", "size": 3}]),
    dropout=DROPOUTS,
    order=st.permutations(["filter", "normalization", "activation", "pooling"]),
)
DENSES = tables({"units": st.integers(1, 64)}, normalization=NORMALIZATIONS, activation=ACTIVATIONS, dropout=DROPOUTS)
TREES = tables(
    {
        "network": tables(
            {"features": st.lists(BLOCKS, max_size=3)},
            classifier=st.lists(DENSES, max_size=2),
            initializer=st.sampled_from(["default", "he"]),
        ),
        "training": tables(
            {"epochs": st.integers(1, 9)},
            batch_size=st.integers(1, 256),
            shuffle=st.booleans(),
            warmup=st.floats(0, 0.9),
            augmentation=st.lists(st.sampled_from(["horizontal_flip", {"name": "translate", "pixels": 2}]), max_size=2),
        ),
        "data": tables(
            {"dataset": st.just("digits")},
            mean=st.sampled_from(["train", 0.5, 0]),
            resize=st.none() | st.integers(1, 64),
        ),
    },
    evaluation=tables({}, every=st.integers(0, 3), measure=st.sampled_from(["final", "eq2425"])),
    description=TEXTS,
    reference=tables({"source": TEXTS}, test_recall=st.floats(0, 1)),
)


def shuffled(tree: Any, order: random.Random) -> Any:
    """The same tree with the keys of every table in another order."""
    if isinstance(tree, dict):
        items = [(key, shuffled(value, order)) for key, value in tree.items()]
        order.shuffle(items)
        return dict(items)
    return [shuffled(item, order) for item in tree] if isinstance(tree, list) else tree


@given(TREES, st.randoms(use_true_random=False))
def test_reading_writing_and_the_order_of_keys_change_nothing(
    registry: Registry, tree: dict[str, Any], order: random.Random
) -> None:
    read = structure(tree, "test", registry)
    written = unstructure(read)
    assert json.loads(json.dumps(written)) == written, "a spec is plain data"
    assert structure(written, "test", registry) == read
    again = structure(shuffled(tree, order), "another name", registry)
    assert again.identity == read.identity
    assert structure(shuffled(written, order), "test", registry).identity == read.identity


@given(TREES, BLOCKS)
def test_the_identity_does_not_depend_on_what_the_defaults_are_written_into(
    registry: Registry, tree: dict[str, Any], defaults: dict[str, Any]
) -> None:
    blocks = tree["network"]["features"]
    with_defaults = {**tree, "network": {**tree["network"], "defaults": defaults}}
    written = {**tree, "network": {**tree["network"], "features": [{**defaults, **block} for block in blocks]}}
    identities = [structure(t, "test", registry).identity for t in (with_defaults, written)]
    assert identities[0] == identities[1]


@given(TREES, TREES)
def test_specs_have_one_identity_exactly_if_they_differ_in_nothing_that_counts(
    registry: Registry, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = structure(one, "test", registry), structure(other, "test", registry)
    counts = [attrs.evolve(s, description="", reference=None) for s in (first, second)]
    assert (first.identity == second.identity) == (counts[0] == counts[1])


def test_the_identity_is_the_digest_of_canonical_json(registry: Registry) -> None:
    assert canonical_json({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))
    identity = structure(small(), "test", registry).identity
    assert len(identity) == 64
    assert set(identity) <= set("0123456789abcdef")


FULL = {
    **small(
        features=[{"filters": 4, "filter": "conv", "activation": "leaky_relu", "pooling": "max", "dropout": "dropout"}],
        classifier=[{"units": 8}],
    ),
    "reference": {"source": "nobody"},
}

# One other value for each field of a spec.
OTHER_VALUES: dict[str, Any] = {
    "network.features.0.filters": 5,
    "network.features.0.block": "residual",
    "network.features.0.filter": "asymmetric",
    "network.features.0.filter.size": 5,
    "network.features.0.filter.bias": False,
    "network.features.0.normalization": "batch",
    "network.features.0.activation": "relu",
    "network.features.0.activation.slope": 0.02,
    "network.features.0.pooling": "none",
    "network.features.0.dropout": "none",
    "network.features.0.dropout.rate": 0.25,
    "network.features.0.order": ["filter", "activation"],
    "network.features": [],
    "network.classifier.0.units": 9,
    "network.classifier.0.normalization": "batch",
    "network.classifier.0.activation": "tanh",
    "network.classifier.0.dropout": "dropout",
    "network.classifier.0.order": ["linear"],
    "network.classifier": [],
    "network.initializer": "he",
    "network.output": {"bias": False},
    "training.epochs": 2,
    "training.steps": 9,
    "training.accumulate": 2,
    "training.clip_norm": 0.5,
    "training.minutes": 2,
    "training.gradient": ["centralize"],
    "training.groups": [{"at": "output.*", "weight_decay": 0}],
    "training.batch_size": 65,
    "training.shuffle": False,
    "training.sampling": "balanced",
    "training.repeats": 2,
    "training.drop_last": True,
    "training.optimizer": "adam",
    "training.optimizer.learning_rate": 0.5,
    "training.schedule": "cosine",
    "training.warmup": 0.5,
    "training.loss": "multi_margin",
    "training.augmentation": ["horizontal_flip"],
    "training.averaging": "ema",
    "data.resize": 16,
    "data.fit": "pad",
    "data.skip_damaged": True,
    "data.test": 0.25,
    "data.group_by": "patient",
    "data.limit": 100,
    "data.validation": 0.5,
    "data.resplit": True,
    "data.mean": 0.25,
    "data.std": 0.5,
    "evaluation.every": 2,
    "evaluation.measure": "eq2425",
    "evaluation.prediction": "flip",
    "evaluation.keep": "best",
    "evaluation.stop": {"patience": 3},
}
WHOLE = {
    "network": {"architecture": "cifar_resnet"},
    "training": {"epochs": 1},
    "data": {"dataset": "digits"},
}
OTHER_WHOLES: dict[str, Any] = {
    "network.architecture": "mlp_mixer",
    "network.architecture.depth": 8,
    "network.replace.activation": "relu",
    "network.replace.normalization": "batch",
    "network.replace.dropout": "dropout",
    "network.replace.filter": "conv",
    "network.replace.pooling": "max",
    'network.replace."layer4.*".activation': "mish",
    "network.replace.places": [{"at": "layer4.*", "filter": "conv"}],
    "network.weights": "file:weights.safetensors",
}
NOT_IN_THE_IDENTITY = {"name", "description", "reference", "data.dataset", "train", "target"}


@pytest.mark.parametrize(
    ("tree", "path", "value"),
    [*((FULL, *other) for other in OTHER_VALUES.items()), *((WHOLE, *other) for other in OTHER_WHOLES.items())],
    ids=[*OTHER_VALUES, *OTHER_WHOLES],
)
def test_each_field_goes_into_the_identity(registry: Registry, tree: dict[str, Any], path: str, value: Any) -> None:
    read = structure(tree, "test", registry)
    assert paths.apply(read, {path: value}, registry).identity != read.identity


def test_a_value_was_tried_for_each_field() -> None:
    paths = [*OTHER_VALUES, *OTHER_WHOLES]
    stated = {step for path in paths for step in split_path(path)} | NOT_IN_THE_IDENTITY | {"dataset", "at"}
    for cls in (
        Spec,
        Block,
        Dense,
        spec.NetworkSpec,
        spec.Replace,
        spec.TrainingSpec,
        spec.DataSpec,
        spec.EvaluationSpec,
    ):
        for field in attrs.fields(cls):
            assert field.name in stated, f"no test says whether {cls.__name__}.{field.name} goes into the identity"


def test_what_is_only_recorded_does_not_go_into_the_identity(registry: Registry) -> None:
    spec = structure(FULL, "test", registry)
    for change in ({"evaluation.train": "every"}, {"evaluation.target": 0.9}):
        assert paths.apply(spec, change, registry).identity == spec.identity


def test_name_description_reference_and_data_set_do_not_go_into_the_identity(registry: Registry) -> None:
    identity = structure(FULL, "test", registry).identity
    for key in sorted(NOT_IN_THE_IDENTITY - {"name", "train", "target"}):
        tree = json.loads(json.dumps(FULL))
        place, _, last = key.rpartition(".")
        (tree[place] if place else tree)[last] = {"reference": {"source": "somebody"}}.get(key, "cifar10")
        assert structure(tree, "test", registry).identity == identity, key
    assert structure(FULL, "other", registry).identity == identity


def test_choices_are_all_found_nested_ones_included(registry: Registry) -> None:
    block = {"filters": 4, "block": {"name": "squeeze_excitation", "inner": "residual"}}
    read = structure(small(features=[block], classifier=[{"units": 4}]), "test", registry)
    names = [choice.name for choice in read.choices()]
    assert all(isinstance(choice, Choice) for choice in read.choices())
    block_names = ["squeeze_excitation", "residual", "conv", "none", "relu", "none", "none"]
    dense_names = ["none", "relu", "none"]
    assert sorted(names) == sorted([*block_names, *dense_names, "default", "sgd", "constant", "cross_entropy"]), (
        "it counts what the spec uses, in any order"
    )


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("network.features[1].filter.size", ("network", "features", "1", "filter", "size")),
        ("network.features.1.filter.size", ("network", "features", "1", "filter", "size")),
        ("network.features[*].activation", ("network", "features", "*", "activation")),
        ("activation", ("activation",)),
        ('replace."layer[34].*".activation', ("replace", "layer[34].*", "activation")),
        ('replace."layer4', ("replace", '"layer4')),
    ],
)
def test_split_path(path: str, steps: tuple[str, ...]) -> None:
    assert split_path(path) == steps
