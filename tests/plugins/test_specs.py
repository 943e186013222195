"""What every registered spec must be, and that the EQ2425 study's are what was run."""

from __future__ import annotations

from typing import Any

import pytest
from made_images import registered_specs

from zoo.network.builder import construct
from zoo.registry import Registry, default_registry
from zoo.registry.options import Choice
from zoo.spec import Spec, structure, unstructure
from zoo.spec.resolve import resolve

NAMES = list(default_registry().specs)
STUDY = ["4a1", "4a2", "4b", "4c", "4d", "4e", "5a", "5b", "5c"]
INPUTS = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28)}

each_spec = pytest.mark.parametrize("name", NAMES)
each_study = pytest.mark.parametrize("family", ["eq2425", "eq2425-corrected", "starter"])


def get(name: str) -> Spec:
    return resolve(name)


# Every registered spec.


@each_spec
def test_it_resolves_to_itself(name: str, registry: Registry) -> None:
    spec = resolve(name, registry=registry)
    assert spec.name == name
    assert structure(unstructure(spec), name, registry) == spec


@each_spec
def test_it_says_in_one_line_what_it_is(name: str) -> None:
    description = get(name).description
    assert description, f"{name}: `zoo list` has nothing to show for it"
    assert "\n" not in description
    assert len(description) <= 120, f"{name}: its description of {len(description)} characters does not fit a line"


@each_spec
def test_its_data_set_is_registered(name: str, registry: Registry) -> None:
    dataset = get(name).data.dataset.partition(":")[0]
    assert dataset in registry.variants("dataset"), f"{name}: no data set is called {dataset!r}"


@pytest.mark.parametrize("name", registered_specs())
def test_its_network_fits_its_data_set(name: str, registry: Registry) -> None:
    spec = get(name)
    shape = INPUTS.get(spec.data.dataset.partition(":")[0], (3, 32, 32))
    shape = (shape[0], spec.data.resize or shape[1], spec.data.resize or shape[2])
    built = construct(spec, shape, 10, seed=0, registry=registry)
    assert built.layers[-1].output_shape == (10,)
    assert built.parameters == sum(layer.parameters for layer in built.layers), "the rows do not add up to the total"


@each_spec
def test_its_reference_is_a_possible_recall(name: str) -> None:
    reference = get(name).reference
    for recall in (reference.train_recall, reference.test_recall) if reference else ():
        assert recall is None or 0 <= recall <= 1, f"{name}: recalls are from 0 to 1"


def test_no_two_specs_are_the_same() -> None:
    seen: dict[tuple[str, str], str] = {}
    for spec in map(get, NAMES):
        key = (spec.identity, spec.data.dataset)
        assert key not in seen, f"{spec.name} and {seen[key]} are one spec under two names"
        seen[key] = spec.name


# The study: its ten configurations and what it reports for them.

REPORTED = {
    "default": (0.6065, 0.5245, "3h10min"),
    "4a1": (0.6635, 0.5713, None),
    "4a2": (0.5599, 0.4956, None),
    "4b": (0.5900, 0.5126, None),
    "4c": (0.6310, 0.5329, None),
    "4d": (0.6105, 0.5379, None),
    "4e": (0.8574, 0.6633, None),
    "5a": (0.3700, 0.3606, "1h47min"),
    "5b": (0.1007, 0.1011, "2h1min"),
    "5c": (0.6588, 0.5434, "3h31min"),
}


@pytest.mark.parametrize("code", REPORTED)
def test_the_study_s_figures_stand_beside_its_specs(code: str) -> None:
    reference = get(f"eq2425/{code}").reference
    assert reference is not None
    assert (reference.train_recall, reference.test_recall, reference.runtime) == REPORTED[code]
    assert reference.source == "EQ2425 project report, 2021"


def test_figures_stand_only_beside_what_was_run() -> None:
    with_figures = {name for name in NAMES if (reference := get(name).reference) and reference.test_recall is not None}
    assert {name for name in with_figures if name.startswith(("eq2425", "starter"))} == {
        f"eq2425/{code}" for code in REPORTED
    }
    notebook = get("eq2425/notebook").reference
    assert notebook is not None
    assert notebook.note == "training loss 2.280 and 2.219, test recall 0.257 and 0.317 after epochs 1 and 2"


def test_the_default_is_the_study_s_network() -> None:
    built = construct(get("eq2425/default"), (3, 32, 32), 10, seed=0, registry=default_registry())
    assert [(layer.path, layer.description, layer.output_shape) for layer in built.layers] == [
        ("features.0.filter", "conv(size=5)", (24, 28, 28)),
        ("features.0.activation", "relu", (24, 28, 28)),
        ("features.0.pooling", "max", (24, 14, 14)),
        ("features.1.filter", "conv", (48, 12, 12)),
        ("features.1.activation", "relu", (48, 12, 12)),
        ("features.1.pooling", "max", (48, 6, 6)),
        ("features.2.filter", "conv", (96, 4, 4)),
        ("features.2.pooling", "max", (96, 2, 2)),
        ("classifier.0.linear", "linear(512)", (512,)),
        ("classifier.0.activation", "relu", (512,)),
        ("output", "linear(10)", (10,)),
    ]
    options = get("eq2425/default").network.features[1].filter.values()
    assert (options["size"], options["stride"], options["padding"]) == (3, 1, "valid")
    assert get("eq2425/default").network.features[1].pooling.values()["size"] == 2


def test_the_default_is_the_study_s_training() -> None:
    spec = get("eq2425/default")
    training = spec.training
    assert (training.epochs, training.batch_size, training.shuffle, training.warmup) == (300, 64, False, 0.0)
    assert str(training.optimizer) == "sgd(learning_rate=0.001, momentum=0.9)"
    assert (str(training.schedule), str(training.loss)) == ("constant", "cross_entropy_of_softmax")
    assert training.augmentation == ()
    assert (spec.data.dataset, spec.data.resize, spec.data.validation) == ("cifar10", None, 0.0)
    assert (spec.data.mean, spec.data.std) == (0.5, 1.0)
    assert (spec.evaluation.measure, spec.evaluation.every) == ("eq2425", 1)
    assert str(spec.network.initializer) == "default"


# The changes, as the differences from the family's default.


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of plain data by path; a variant is a leaf, by its text."""
    if isinstance(tree, dict):
        return {k: v for key, value in tree.items() for k, v in leaves(value, f"{path}.{key}".lstrip(".")).items()}
    if isinstance(tree, tuple):
        return {k: v for i, value in enumerate(tree) for k, v in leaves(value, f"{path}.{i}").items()}
    if isinstance(tree, Choice):
        return {path: str(tree)}
    if hasattr(tree, "__attrs_attrs__"):
        return leaves({field.name: getattr(tree, field.name) for field in tree.__attrs_attrs__}, path)
    return {path: tree}


def difference(name: str, base: str) -> dict[str, Any]:
    """What a spec has where its base has another value or nothing."""
    old, new = leaves(get(base)), leaves(get(name))
    about = ("name", "description", "reference")
    paths = [path for path in {**old, **new} if not path.startswith(about) and old.get(path) != new.get(path)]
    return {path: new.get(path) for path in paths}


def expected_changes(family: str) -> dict[str, dict[str, Any]]:
    always_on = ", always_on=True" if family == "eq2425" else ""
    padding = ", padding=same" if family == "starter" else ""
    return {
        "4a1": {f"network.features.{i}.filters": n for i, n in enumerate((64, 128, 256))},
        "4a2": {
            "network.classifier.1.units": 128,
            "network.classifier.1.normalization": "none",
            "network.classifier.1.activation": "relu",
            "network.classifier.1.dropout": "none",
            **{
                f"network.classifier.1.order.{i}": part
                for i, part in enumerate(("linear", "normalization", "activation", "dropout"))
            },
        },
        "4b": {
            "network.features.0.filter": f"conv(size=7{padding})",
            "network.features.1.filter": f"conv(size=5{padding})",
        },
        "4c": {
            **{f"network.features.{i}.activation": "leaky_relu" for i in range(3)},
            "network.classifier.0.activation": "leaky_relu",
        },
        "4d": {"network.classifier.0.dropout": f"dropout(rate=0.3{always_on})"},
        "4e": {f"network.features.{i}.normalization": "batch" for i in range(3)},
        "5a": {"training.batch_size": 256},
        "5b": {"training.optimizer": "sgd(learning_rate=0.1, momentum=0.9)"},
        "5c": {"training.shuffle": True},
    }


@each_study
@pytest.mark.parametrize("code", STUDY)
def test_a_change_changes_what_the_study_says_and_nothing_else(family: str, code: str) -> None:
    assert difference(f"{family}/{code}", f"{family}/default") == expected_changes(family)[code]


@each_study
def test_the_conclusion_is_its_five_changes_together(family: str) -> None:
    together = {k: v for code in ("4a1", "4c", "4d", "4e", "5c") for k, v in expected_changes(family)[code].items()}
    assert difference(f"{family}/conclusion", f"{family}/default") == together
    spec = get(f"{family}/conclusion")
    assert [b.filter.values()["size"] for b in spec.network.features] == [5, 3, 3]
    assert spec.network.classifier[0].activation.values() == {"slope": 0.01}


def test_the_notebook_s_last_network_is_the_conclusion_with_larger_batches() -> None:
    assert difference("eq2425/notebook", "eq2425/conclusion") == {"training.batch_size": 256}


@pytest.mark.parametrize("code", ["default", *STUDY, "conclusion"])
def test_the_corrected_family_corrects_three_things(code: str) -> None:
    corrected = {"training.loss": "cross_entropy", "evaluation.measure": "final"}
    if code in ("4d", "conclusion"):
        corrected["network.classifier.0.dropout"] = "dropout(rate=0.3)"
    assert difference(f"eq2425-corrected/{code}", f"eq2425/{code}") == corrected


@each_study
def test_batch_normalization_stands_between_convolution_and_activation(family: str) -> None:
    spec = get(f"{family}/4e")
    shape = (1, 8, 8) if family == "starter" else (3, 32, 32)
    built = construct(spec, shape, 10, seed=0, registry=default_registry())
    parts = [layer.path.split(".")[2] for layer in built.layers if layer.path.startswith("features")]
    first = ["filter", "normalization", "activation", "pooling"]
    assert parts == [*first, *first, "filter", "normalization", "pooling"]


@each_study
def test_dropout_stands_between_the_dense_layers(family: str) -> None:
    shape = (1, 8, 8) if family == "starter" else (3, 32, 32)
    built = construct(get(f"{family}/4d"), shape, 10, seed=0, registry=default_registry())
    after_flatten = [layer.path for layer in built.layers if not layer.path.startswith("features")]
    assert after_flatten == ["classifier.0.linear", "classifier.0.activation", "classifier.0.dropout", "output"]


def test_the_starter_family_is_for_the_digits_and_not_mistaken() -> None:
    for name in NAMES:
        if name.startswith("starter/"):
            spec = get(name)
            assert spec.data.dataset == "digits"
            assert (str(spec.training.loss), spec.evaluation.measure) == ("cross_entropy", "final")
            assert not any(choice.values().get("always_on") for choice in spec.choices())
