"""Change proofs: what a change did is said line by line, and what it must not have done is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import PluginError, SpecError
from zoo.network.proof import prove
from zoo.registry import Registry, default_registry
from zoo.registry.hookspecs import KINDS
from zoo.spec import Spec, paths
from zoo.spec.resolve import resolve
from zoo_plugins.eq2425 import changes

INPUTS = {"starter/default": (1, 8, 8), "eq2425-corrected/default": (3, 32, 32)}
BASES = list(INPUTS)


def spec_of(registry: Registry, sets: Mapping[str, Any], base: str = "starter/default") -> Spec:
    return paths.apply(resolve(base, registry=registry), sets, registry)


def proved(
    registry: Registry,
    sets: Mapping[str, Any],
    *,
    base: str = "starter/default",
    before: Mapping[str, Any] | None = None,
    also: Mapping[str, Any] | None = None,
) -> list[str]:
    """Prove a change of a registered spec with the values `before` set; `also` is changed without being named."""
    control = spec_of(registry, before or {}, base)
    changed = attrs.evolve(paths.apply(control, {**sets, **(also or {})}, registry), name="changed")
    return list(prove(control, changed, sets, input_shape=INPUTS[base], classes=10, registry=registry))


def refusal(registry: Registry, sets: Mapping[str, Any], **options: Any) -> str:
    with pytest.raises(SpecError) as caught:
        proved(registry, sets, **options)
    return str(caught.value)


# What the lines say.

STUDY = {
    "4a1": [
        "~ features.0.filter: Conv2d(3, 24, 5x5) -> Conv2d(3, 64, 5x5)",
        "~ features.1.filter: Conv2d(24, 48, 3x3) -> Conv2d(64, 128, 3x3)",
        "~ features.2.filter: Conv2d(48, 96, 3x3) -> Conv2d(128, 256, 3x3)",
        "  so classifier.0.linear: Linear(384, 512) -> Linear(1024, 512)",
    ],
    "4a2": [
        "+ Linear(512, 128) after classifier.0.activation",
        "+ ReLU() after classifier.1.linear",
        "  so output: Linear(512, 10) -> Linear(128, 10)",
    ],
    "4b": [
        "~ features.0.filter: Conv2d(3, 24, 5x5) -> Conv2d(3, 24, 7x7)",
        "~ features.1.filter: Conv2d(24, 48, 3x3) -> Conv2d(24, 48, 5x5)",
        "  so classifier.0.linear: Linear(384, 512) -> Linear(96, 512)",
    ],
    "4c": [
        f"~ {place}.activation: ReLU() -> LeakyReLU(negative_slope=0.01)"
        for place in ("features.0", "features.1", "classifier.0")
    ],
    "4d": ["+ Dropout(p=0.3) after classifier.0.activation"],
    "4e": [f"+ BatchNorm2d({channels}) after features.{index}.filter" for index, channels in enumerate((24, 48, 96))],
    "5a": ["training.batch_size: 64 -> 256"],
    "5b": ["training.optimizer.learning_rate: 0.001 -> 0.1"],
    "5c": ["training.shuffle: false -> true"],
    "conclusion": [
        "~ features.0.filter: Conv2d(3, 24, 5x5) -> Conv2d(3, 64, 5x5)",
        "+ BatchNorm2d(64) after features.0.filter",
        "~ features.0.activation: ReLU() -> LeakyReLU(negative_slope=0.01)",
        "~ features.1.filter: Conv2d(24, 48, 3x3) -> Conv2d(64, 128, 3x3)",
        "+ BatchNorm2d(128) after features.1.filter",
        "~ features.1.activation: ReLU() -> LeakyReLU(negative_slope=0.01)",
        "~ features.2.filter: Conv2d(48, 96, 3x3) -> Conv2d(128, 256, 3x3)",
        "+ BatchNorm2d(256) after features.2.filter",
        "  so classifier.0.linear: Linear(384, 512) -> Linear(1024, 512)",
        "~ classifier.0.activation: ReLU() -> LeakyReLU(negative_slope=0.01)",
        "+ Dropout(p=0.3) after classifier.0.activation",
        "training.shuffle: false -> true",
    ],
}


@pytest.mark.parametrize("code", changes(always_on=False))
def test_the_changes_of_the_study(registry: Registry, code: str) -> None:
    assert proved(registry, changes(always_on=False)[code], base="eq2425-corrected/default") == STUDY[code]


DROPOUT = {"network.classifier.0.dropout": {"name": "dropout", "rate": 0.3, "always_on": True}}
RESIDUAL = {"network.features.1.block": "residual"}
GATED = {"network.features.0.block": "squeeze_excitation"}

LINES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "a dropout that is always on": ({}, DROPOUT, ["+ Dropout(p=0.3, always on) after classifier.0.activation"]),
    "that it is no longer always on": (
        DROPOUT,
        {"network.classifier.0.dropout": {"always_on": False}},
        ["~ classifier.0.dropout: Dropout(p=0.3, always on) -> Dropout(p=0.3)"],
    ),
    "what is removed": (
        DROPOUT,
        {"network.classifier.0.dropout": "none"},
        ["- Dropout(p=0.3, always on) at classifier.0.dropout"],
    ),
    "a filter of two convolutions": (
        {},
        {"network.features.0.filter": "asymmetric"},
        [
            "~ features.0.filter: Conv2d(1, 24, 5x5, padding=2x2) -> "
            "[Conv2d(1, 24, 1x5, padding=0x2, bias=False), Conv2d(24, 24, 5x1, padding=2x0)]"
        ],
    ),
    "an option that the module's text leaves out": (
        {"network.features.0.filter": "weight_standardized"},
        {"network.features.0.filter.epsilon": 0.001},
        [
            "~ features.0.filter: WeightStandardizedConv2d(1, 24, 5x5, padding=2x2) with epsilon=1e-05 -> "
            "WeightStandardizedConv2d(1, 24, 5x5, padding=2x2) with epsilon=0.001"
        ],
    ),
    "sizes that follow, normalization too": (
        {"network.features.*.normalization": "batch"},
        {"network.features.0.filters": 32},
        [
            "~ features.0.filter: Conv2d(1, 24, 5x5, padding=2x2) -> Conv2d(1, 32, 5x5, padding=2x2)",
            "  so features.0.normalization: BatchNorm2d(24) -> BatchNorm2d(32)",
            "  so features.1.filter: Conv2d(24, 48, 3x3, padding=1x1) -> Conv2d(32, 48, 3x3, padding=1x1)",
        ],
    ),
    "another order": (
        {},
        {"network.features.0.order": ["filter", "pooling", "activation"]},
        ["~ features.0: filter, activation, pooling -> filter, pooling, activation"],
    ),
    "other starting weights": (
        {},
        {"network.initializer": "he"},
        [
            f"~ {place}: other starting weights"
            for place in (
                "features.0.filter",
                "features.1.filter",
                "features.2.filter",
                "classifier.0.linear",
                "output",
            )
        ],
    ),
    "a gate": (
        {},
        GATED,
        [
            "- Conv2d(1, 24, 5x5, padding=2x2) at features.0.filter",
            "- ReLU() at features.0.activation",
            "- MaxPool2d(2, stride=2) at features.0.pooling",
            "+ Conv2d(1, 24, 5x5, padding=2x2) at features.0.inner.filter",
            "+ ReLU() after features.0.inner.filter",
            "+ MaxPool2d(2, stride=2) after features.0.inner.activation",
            "+ SqueezeExcitation[AdaptiveAvgPool2d(1), Conv2d(24, 6, 1x1), Conv2d(6, 24, 1x1), ReLU(), Sigmoid()] "
            "after features.0.inner.pooling",
        ],
    ),
    "a shortcut that is no longer needed": (
        RESIDUAL,
        {"network.features.0.filters": 48},
        [
            "~ features.0.filter: Conv2d(1, 24, 5x5, padding=2x2) -> Conv2d(1, 48, 5x5, padding=2x2)",
            "  so features.1.first.filter: Conv2d(24, 48, 3x3, padding=1x1) -> Conv2d(48, 48, 3x3, padding=1x1)",
            "  so - Conv2d(24, 48, 1x1) at features.1.shortcut.0",
        ],
    ),
    "values of the training": (
        {"training.augmentation": ["horizontal_flip"]},
        {
            "training.augmentation": [{"name": "horizontal_flip", "probability": 0.25}, "translate"],
            "training.optimizer": "adam",
            "data.resize": 8,
            "evaluation.measure": "eq2425",
        },
        [
            "training.optimizer: sgd(learning_rate=0.05, momentum=0.9) -> adam(learning_rate=0.05)",
            "training.augmentation.0.probability: 0.5 -> 0.25",
            "+ training.augmentation.1: translate",
            "data.resize: none -> 8",
            "evaluation.measure: final -> eq2425",
        ],
    ),
    "an augmentation less": (
        {"training.augmentation": ["horizontal_flip"]},
        {"training.augmentation": []},
        ["- training.augmentation.0: horizontal_flip"],
    ),
    "nothing but what the second of two sets left": (
        {},
        {"network.features.0.filter.size": 3, "filter.size": 1},
        [
            "~ features.0.filter: Conv2d(1, 24, 5x5, padding=2x2) -> Conv2d(1, 24, 1x1)",
            "~ features.1.filter: Conv2d(24, 48, 3x3, padding=1x1) -> Conv2d(24, 48, 1x1)",
            "~ features.2.filter: Conv2d(48, 96, 3x3, padding=1x1) -> Conv2d(48, 96, 1x1)",
        ],
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_the_lines_say_what_is_different(registry: Registry, case: str) -> None:
    before, sets, lines = LINES[case]
    assert proved(registry, sets, before=before) == lines


# Every registered variant, and changes on top of others.

BEFORE = {"whitening": {"network.features.*.pooling": "none"}}
"""What a variant takes to fit: it makes maps smaller, of which the last pooling would leave nothing."""
PLACES = {
    **dict.fromkeys(("activation", "normalization", "dropout", "filter", "block"), "network.features.0."),
    "pooling": "network.features.2.",
    "initializer": "network.",
    "augmentation": "training.",
    "gradient": "training.",
    "prediction": "evaluation.",
}
VARIANTS = [
    (kind, name)
    for kind in KINDS
    if kind not in ("dataset", "executor", "architecture")
    for name in default_registry().variants(kind)
]


@pytest.mark.parametrize(("kind", "name"), VARIANTS, ids=lambda value: value)
def test_every_variant_can_be_proved(registry: Registry, kind: str, name: str) -> None:
    path = f"{PLACES.get(kind, 'training.')}{kind}"
    try:
        lines = proved(registry, {path: name}, before=BEFORE.get(name))
    except paths.NoChangeError:
        # The other way round: away from what the base has.
        other = next(other for other in registry.variants(kind) if other != name)
        lines = proved(registry, {path: name}, before={path: other})
    assert lines
    own = path.removeprefix("network.").rpartition(".")[0] if path.startswith("network.features") else path
    for line in lines:
        assert line.startswith("  so ") or own in line or kind == "initializer", f"{path} = {name} also did: {line}"


CODES = sorted(changes(always_on=False).keys() - {"conclusion"})


def merged(codes: list[str]) -> dict[str, Any]:
    return {path: value for code in codes for path, value in changes(always_on=False)[code].items()}


@settings(max_examples=15)
@given(codes=st.lists(st.sampled_from(CODES), unique=True, min_size=1, max_size=4))
def test_changes_together_do_all_that_they_do_alone_and_hide_nothing(codes: list[str]) -> None:
    registry = default_registry()
    lines = proved(registry, merged(codes))
    assert len(lines) >= len(codes)
    *named, hidden = codes
    text = refusal(registry, merged(named), also=merged([hidden]))
    assert text.startswith("changed: it differs from starter/default in more than its change of ")


OWN = {
    "4a1": ["filter"],
    "4a2": ["+ Linear(512, 128)", "after classifier.1.linear"],
    "4b": ["filter"],
    "4c": ["LeakyReLU"],
    "4d": ["Dropout"],
    "4e": ["BatchNorm2d"],
}


@settings(max_examples=15)
@given(codes=st.lists(st.sampled_from(CODES), unique=True, min_size=2, max_size=4))
def test_a_change_on_top_of_others_is_proved_alone(codes: list[str]) -> None:
    *before, last = codes
    lines = proved(default_registry(), merged([last]), before=merged(before))
    assert lines, "it did something"
    for line in lines:
        assert line.startswith("  so ") or any(word in line for word in OWN.get(last, ["training."])), line


# What is refused.


def test_an_option_of_a_part_that_is_not_built_alters_nothing(registry: Registry) -> None:
    text = refusal(registry, {"network.features.2.activation": "tanh"})
    assert text.startswith(
        "changed: the change of network.features.2.activation altered nothing: network and training are those of "
        "starter/default. Leave the change out, or mend the factory that ignores it (plugin zoo_plugins.activations ("
    )


def test_specs_that_are_equal_alter_nothing(registry: Registry) -> None:
    base = resolve("starter/default", registry=registry)
    with pytest.raises(SpecError) as caught:
        prove(base, base, {}, input_shape=(1, 8, 8), classes=10, registry=registry)
    assert str(caught.value) == (
        "starter/default: the change of no path altered nothing: network and training are those of starter/default. "
        "Leave the change out, or mend the factory that ignores it"
    )


def test_what_differs_without_being_named_is_an_error(registry: Registry) -> None:
    text = refusal(registry, {"activation": "tanh"}, also={"training.batch_size": 256, "network.features.0.filters": 8})
    assert text == (
        "changed: it differs from starter/default in more than its change of activation: network.features.0.filters: "
        "24 -> 8; training.batch_size: 64 -> 256. Name that in the change too, or leave it as it is"
    )


PLUGIN = '''
from collections import OrderedDict

import torch
from torch import nn

import zoo
from zoo.registry.options import Float

STATE = {"scale": 1.0}
DRAWS = torch.Generator().manual_seed(0)


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * x


class Hidden(nn.Module):
    def __init__(self, function):
        super().__init__()
        self._function = function

    def forward(self, x):
        return self._function(x, self.training)


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


def ignores(*, strength: Float = 1.0):
    """Ignores its option."""
    return nn.ReLU()


def conceals(*, strength: Float = 1.0):
    """Has its option where nobody sees it."""
    return Hidden(lambda x, training: strength * x)


def in_training(*, strength: Float = 1.0):
    """Has its option where nobody sees it, and only in training."""
    return Hidden(lambda x, training: strength * x if training else x)


def poisons():
    """Changes what other factories make."""
    STATE["scale"] = 2.0
    return nn.ReLU()


def widens():
    """Changes the type of the numbers of all that is built later."""
    torch.set_default_dtype(torch.float64)
    return nn.ReLU()


def scaled():
    """Is built from the plugin's state."""
    return Scaled(STATE["scale"])


def conceals_state():
    """Is built from the plugin's state, where nobody sees it."""
    scale = STATE["scale"]
    return Hidden(lambda x, training: scale * x)


def raises():
    """Raises in training."""

    def work(x, training):
        if training:
            raise KeyError("no")
        return x

    return Hidden(work)


def filled(shape, filters):
    """A convolution whose weights are the plugin's state."""
    convolution = nn.Conv2d(shape[0], filters, 3, padding=1)
    nn.init.constant_(convolution.weight, STATE["scale"])
    return convolution


def shared(shape, filters, *, frozen: bool = False):
    """A convolution whose weights come from a generator that all of them share."""
    convolution = nn.Conv2d(shape[0], filters, 3, padding=1)
    with torch.no_grad():
        convolution.weight.copy_(torch.randn(convolution.weight.shape, generator=DRAWS))
    return convolution.requires_grad_(not frozen)


def frozen(shape, filters, *, frozen: bool = False):
    """A convolution that may be kept as it is."""
    return nn.Conv2d(shape[0], filters, 3, padding=1).requires_grad_(not frozen)


def doubled(shape, parts):
    """Twice the plain block."""
    return Doubled(OrderedDict(parts.sequence(shape)[0].named_children()))


@zoo.hookimpl
def zoo_register_activations(register):
    for factory in (ignores, conceals, in_training, poisons, widens, scaled, conceals_state, raises):
        register(factory.__name__, factory)


@zoo.hookimpl
def zoo_register_filters(register):
    for factory in (filled, shared, frozen):
        register(factory.__name__, factory)


@zoo.hookimpl
def zoo_register_blocks(register):
    register("doubled", doubled)
'''


@pytest.fixture
def odd(tmp_path: Path) -> Registry:
    """A registry with layers that do what a layer must not do."""
    file = tmp_path / "odd.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return Registry(files=[file]).require_sound()


FIRST, DENSE = "network.features.0.activation", "network.classifier.0.activation"


def test_an_option_that_its_factory_ignores_is_an_error(odd: Registry) -> None:
    text = refusal(odd, {f"{FIRST}.strength": 2.0}, before={FIRST: "ignores"})
    assert text.startswith(f"changed: the change of {FIRST}.strength altered nothing: network and training are those")
    assert "mend the factory that ignores it (plugin odd (single file, " in text


@pytest.mark.parametrize("name", ["conceals", "in_training"])
def test_an_option_that_only_the_outputs_show_is_found(odd: Registry, name: str) -> None:
    assert proved(odd, {f"{FIRST}.strength": 2.0}, before={FIRST: name}) == [
        "~ features.0.activation: Hidden() computes something else"
    ]


def test_a_block_that_only_connects_its_layers_otherwise_is_found(odd: Registry) -> None:
    assert proved(odd, {"network.features.1.block": "doubled"}) == [
        "~ features.1: the same layers, connected otherwise"
    ]


def test_weights_that_are_frozen_are_found(odd: Registry) -> None:
    place = "network.features.0.filter"
    text = "Conv2d(1, 24, 3x3, padding=1x1) with weight 24x1x3x3 torch.float32{0}, bias 24 torch.float32{0}"
    assert proved(odd, {f"{place}.frozen": True}, before={place: {"name": "frozen"}}) == [
        f"~ features.0.filter: {text.format('')} -> {text.format(' (frozen)')}"
    ]


def test_a_layer_that_raises_in_training_can_be_proved(odd: Registry) -> None:
    assert proved(odd, {FIRST: "raises"}) == ["~ features.0.activation: ReLU() -> Hidden()"]
    assert proved(odd, {DENSE: "tanh"}, before={FIRST: "raises"}) == ["~ classifier.0.activation: ReLU() -> Tanh()"]
    assert proved(odd, {FIRST: "conceals"}, before={FIRST: "raises"}) == [
        "~ features.0.activation: Hidden() computes something else"
    ]


SIDE_EFFECTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an option": (
        {DENSE: "scaled"},
        {FIRST: "poisons"},
        "classifier.0.activation: Scaled() with scale=1.0 -> Scaled() with scale=2.0",
    ),
    "what is computed": (
        {DENSE: "conceals_state"},
        {FIRST: "poisons"},
        "classifier.0.activation: Hidden() computes something else",
    ),
    "starting weights": (
        {"network.features.1.filter": "filled"},
        {FIRST: "poisons"},
        "features.1.filter: other starting weights",
    ),
    "draws of another layer": (
        {"network.features.1.filter": "shared"},
        {"network.features.0.filter": "shared"},
        "features.1.filter: other starting weights",
    ),
}


@pytest.mark.parametrize("case", SIDE_EFFECTS)
def test_a_factory_that_reaches_beyond_its_layer_is_an_error(odd: Registry, case: str) -> None:
    before, sets, what = SIDE_EFFECTS[case]
    text = refusal(odd, sets, before=before)
    assert text.startswith(
        f"changed: the change of {', '.join(sets)} also altered what it does not name: {what}. A factory must touch "
        "nothing but its own layer; mend it or leave the change out (plugin odd (single file, "
    )


def test_a_factory_that_changes_the_type_of_all_numbers_is_an_error(odd: Registry) -> None:
    with pytest.raises(PluginError) as caught:
        proved(odd, {DENSE: "widens"})
    text = str(caught.value)
    assert text.startswith("changed: network.classifier[0].activation: widens: plugin odd (single file, ")
    assert text.endswith(
        "changed what holds for all of torch: the default dtype from float32 to float64. Figures would not be those of "
        "the spec; leave it as it was, or change it in a context manager around what needs it"
    )
    assert torch.get_default_dtype() == torch.float32
