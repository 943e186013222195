"""Layers that change the number of channels: what follows is built for what they give, and counted so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import PLUGIN, TREE
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import zoo
from zoo.errors import BuildError, PluginError, ZooError
from zoo.network.builder import Built, construct
from zoo.network.proof import prove
from zoo.registry import Registry
from zoo.spec import Spec, paths, structure
from zoo.spec.resolve import resolve
from zoo.study.capacity import widened

SHAPE = (1, 8, 8)
BOTH = {"activation": "glu", "pooling": "concat"}


def starter(registry: Registry, sets: dict[str, Any]) -> Spec:
    spec = resolve("starter/default", registry=registry)
    return paths.apply(spec, sets, registry) if sets else spec


def built(spec: Spec, registry: Registry, shape: tuple[int, int, int] = SHAPE) -> Built:
    return construct(spec, shape, 10, seed=0, registry=registry)


def one_block(registry: Registry, *, channels: int = 6, **parts: Any) -> Built:
    stated = {"filters": 6, "filter": {"name": "conv", "padding": "same"}, "normalization": "batch", **parts}
    tree = {"network": {"features": [stated]}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    return built(structure(tree, "mine", registry), registry, (channels, 8, 8))


def batch(*shape: int) -> Tensor:
    return torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))


class Gated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, 1)
        return value * torch.sigmoid(gate)


class MaximaAndMeans(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.max_pool2d(x, 2), F.avg_pool2d(x, 2)], 1)


def by_hand() -> nn.Sequential:
    """starter/default with gated linear units, concatenated poolings and batch normalization, written out."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2),
        nn.BatchNorm2d(24),
        Gated(),
        MaximaAndMeans(),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.BatchNorm2d(48),
        Gated(),
        MaximaAndMeans(),
        nn.Conv2d(48, 96, 3, padding=1),
        nn.BatchNorm2d(96),
        MaximaAndMeans(),
        nn.Flatten(),
        nn.Linear(192, 512),
        Gated(),
        nn.Linear(256, 10),
    )


def test_it_is_the_network_written_by_hand_in_numbers_gradients_and_counts(registry: Registry) -> None:
    mine = built(starter(registry, {**BOTH, "network.features.*.normalization": "batch"}), registry)
    reference = by_hand()
    with FlopCounterMode(display=False) as counter:
        reference(torch.zeros(2, *SHAPE))
    assert 2 * mine.flops == counter.get_total_flops()
    with torch.no_grad():
        for own, its in zip(mine.network.parameters(), reference.parameters(), strict=True):
            its.copy_(own)
    losses = [
        F.cross_entropy(network.double()(batch(*SHAPE).double()), torch.arange(4))
        for network in (mine.network, reference)
    ]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=0)
    gradients = [
        torch.autograd.grad(loss, list(network.parameters()))
        for loss, network in zip(losses, (mine.network, reference), strict=True)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
    assert mine.parameters == sum(weight.numel() for weight in reference.parameters())
    assert mine.parameters == sum(layer.parameters for layer in mine.layers)


def test_what_follows_is_built_for_what_they_give(registry: Registry) -> None:
    order = ["filter", "activation", "normalization", "pooling"]
    mine = one_block(registry, order=order, activation="glu", pooling="concat")
    assert [layer.output_shape for layer in mine.layers] == [(6, 8, 8), (3, 8, 8), (3, 8, 8), (6, 4, 4), (10,)]
    assert mine.network.get_submodule("features.0.normalization").num_features == 3


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("channels", [6, 3], ids=["identity", "projection"])
def test_a_residual_block_gates_within_and_after_the_addition(
    registry: Registry, channels: int, training: bool
) -> None:
    mine = one_block(registry, channels=channels, block="residual", **BOTH)
    block: Any = mine.network.train(training).get_submodule("features.0")
    x, gate, parts = batch(channels, 8, 8), Gated(), (block.first, block.second)
    assert [part.filter.in_channels for part in parts] == [channels, 3]
    once = gate(parts[0].normalization(parts[0].filter(x)))
    sum_ = parts[1].normalization(parts[1].filter(once)) + block.shortcut(x)
    expected = MaximaAndMeans()(gate(sum_))
    mine = one_block(registry, channels=channels, block="residual", **BOTH)
    torch.testing.assert_close(mine.network.train(training).get_submodule("features.0")(x), expected)
    assert expected.shape == (4, 6, 4, 4)
    assert isinstance(block.shortcut, nn.Identity) == (channels == 6)


def test_a_pre_activation_block_and_one_with_a_gate(registry: Registry) -> None:
    order = ["normalization", "activation", "filter", "pooling"]
    block = {"name": "squeeze_excitation", "inner": "residual"}
    mine = one_block(registry, block=block, order=order, **BOTH)
    inner: Any = mine.network.get_submodule("features.0.inner")
    assert [part.filter.in_channels for part in (inner.first, inner.second)] == [3, 3]
    assert {layer.path: layer.output_shape for layer in mine.layers}["features.0.gate"] == (12, 4, 4)


# What does not fit.


@pytest.mark.parametrize(
    ("sets", "text"),
    [
        (
            {"network.features.0": {"filters": 5, "activation": "glu"}},
            "network.features[0].activation: glu does not fit its input of 5x8x8: a gated linear unit needs an even "
            "number of channels, of which one half gates the other",
        ),
        (
            {"network.classifier.0": {"units": 9, "activation": "glu"}},
            "network.classifier[0].activation: glu does not fit its input of 9: a gated linear unit needs an even "
            "number of units, of which one half gates the other",
        ),
        (
            {"network.features.0.pooling": {"name": "concat", "size": 9}},
            "network.features[0].pooling: concat(size=9) does not fit its input of 24x8x8: its window of 9x9 is larger "
            "than its map of 8x8",
        ),
        (
            {"network.features.0.activation": "glu", "network.features.1.filter": {"name": "conv", "groups": 8}},
            "network.features[1].filter: conv(groups=8) does not fit its input of 12x4x4: ",
        ),
    ],
)
def test_what_does_not_fit_is_named(registry: Registry, sets: dict[str, Any], text: str) -> None:
    with pytest.raises(BuildError) as caught:
        built(starter(registry, sets), registry)
    assert text in str(caught.value)


OWN = """
import zoo
from torch import nn


class Skip(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


def skip(shape, parts):
    '''A shortcut that is always the identity.'''
    return Skip(parts.sequence(shape)[0])


class Part(nn.Module):
    def __init__(self, which):
        super().__init__()
        self.which = which

    def forward(self, x):
        return x[self.which]


def plain(shape, *, up: bool = False):
    '''Half of the channels, without a word.'''
    return Part((slice(None), slice(shape[0] // 2)))


@zoo.changes_channels
def lower(shape):
    '''Half of the height.'''
    return Part((slice(None), slice(None), slice(shape[1] // 2)))


@zoo.changes_channels
def same():
    '''One that may change them, and does not.'''
    return nn.Tanh()


class Marked(nn.Module):
    '''A class that says so.'''

    def forward(self, x):
        return x[:, :2]


class Heir(Marked):
    '''One that inherits from it, and says nothing.'''


zoo.changes_channels(Marked)


@zoo.hookimpl
def zoo_register_blocks(register):
    register("skip", skip)


@zoo.hookimpl
def zoo_register_activations(register):
    for factory in (plain, lower, same, Marked, Heir):
        register(factory.__name__.lower(), factory)


@zoo.hookimpl
def zoo_register_poolings(register):
    register("plain", plain)
"""
MARK = "; where other channels are meant, mark its factory with zoo.changes_channels"


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    file = tmp_path_factory.mktemp("own") / "own.py"
    file.write_text(OWN, encoding="utf-8")
    return Registry(files=[file]).require_sound()


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            {"block": "skip", "activation": "glu"},
            "mine: network.features[0].block: skip does not fit its input of 6x8x8: The size of tensor a (6) must "
            "match the size of tensor b (3) at non-singleton dimension 1",
        ),
        (
            {"activation": "plain"},
            "mine: network.features[0].activation: plain does not fit its input of 6x8x8: it makes 3x8x8 of 6x8x8, and "
            f"an activation must keep the shape{MARK}",
        ),
        (
            {"pooling": "plain"},
            "mine: network.features[0].pooling: plain does not fit its input of 6x8x8: it makes 3x8x8 of 6x8x8, and a "
            f"pooling must keep the channels{MARK}",
        ),
        (
            {"activation": "lower"},
            "mine: network.features[0].activation: lower does not fit its input of 6x8x8: it makes 6x4x8 of 6x8x8, and "
            "an activation must keep height and width",
        ),
        ({"activation": "heir"}, f"it makes 2x8x8 of 6x8x8, and an activation must keep the shape{MARK}"),
    ],
)
def test_what_is_not_promised_is_refused_in_one_message(extended: Registry, parts: dict[str, Any], text: str) -> None:
    with pytest.raises(BuildError) as caught:
        one_block(extended, **parts)
    assert text in str(caught.value)


def test_a_class_may_say_so_too(extended: Registry) -> None:
    assert one_block(extended, activation="marked").layers[-1].input_shape == (2 * 8 * 8,)


def test_other_kinds_keep_their_promise(tmp_path: Path) -> None:
    file = tmp_path / "wide.py"
    file.write_text(
        "import zoo\nfrom torch import nn\n\n@zoo.changes_channels\ndef wide():\n    '''Nothing.'''\n    "
        "return nn.Identity()\n\n@zoo.hookimpl\ndef zoo_register_dropouts(register):\n    register('wide', wide)\n"
    )
    with pytest.raises(PluginError) as caught:
        Registry(files=[file]).require_sound()
    assert "dropout 'wide': it is marked with zoo.changes_channels, which is for activation or pooling only" in str(
        caught.value
    )


# Architectures, whose other layers are there already.


@pytest.mark.parametrize(
    ("architecture", "replace", "text"),
    [
        (
            {"name": "cifar_resnet", "depth": 8},
            {"activation": "glu"},
            "x: network.replace.activation: glu at relu does not fit its input of 16x8x8: it makes 8x8x8 of 16x8x8, "
            "and relu made 16x8x8, for which the layers after it are made",
        ),
        (
            {"name": "vgg", "width": 8},
            {"pooling": "concat"},
            "made 8x4x4, for which the layers after it are made",
        ),
    ],
)
def test_in_an_architecture_they_are_refused(
    registry: Registry, architecture: dict[str, Any], replace: dict[str, Any], text: str
) -> None:
    network = {"architecture": architecture, "replace": replace}
    spec = structure({"network": network, "training": {"epochs": 1}, "data": {"dataset": "digits"}}, "x", registry)
    with pytest.raises(BuildError) as caught:
        built(spec, registry)
    assert text in str(caught.value)


def test_in_an_architecture_one_that_fits_its_place_is_put_there(extended: Registry) -> None:
    network = {"architecture": {"name": "cifar_resnet", "depth": 8}, "replace": {"activation": "same"}}
    spec = structure({"network": network, "training": {"epochs": 1}, "data": {"dataset": "digits"}}, "x", extended)
    assert {done.new for done in built(spec, extended).replaced} == {"Tanh()"}


# Change proof, capacity.


def proved(registry: Registry, base: Spec, sets: dict[str, Any]) -> list[str]:
    changed = paths.apply(base, sets, registry)
    return list(prove(base, changed, sets, input_shape=SHAPE, classes=10, registry=registry))


def test_the_proof_says_which_sizes_follow(registry: Registry) -> None:
    base = starter(registry, {"network.features.*.normalization": "batch"})
    order = ["filter", "activation", "normalization", "pooling", "dropout"]
    base = paths.apply(base, {"network.features.1.order": order}, registry)
    assert proved(registry, base, {"activation": "glu"}) == [
        "~ features.0.activation: ReLU() -> GLU(dim=1)",
        "  so features.1.filter: Conv2d(24, 48, 3x3, padding=1x1) -> Conv2d(12, 48, 3x3, padding=1x1)",
        "~ features.1.activation: ReLU() -> GLU(dim=1)",
        "  so features.1.normalization: BatchNorm2d(48) -> BatchNorm2d(24)",
        "  so features.2.filter: Conv2d(48, 96, 3x3, padding=1x1) -> Conv2d(24, 96, 3x3, padding=1x1)",
        "~ classifier.0.activation: ReLU() -> GLU(dim=1)",
        "  so output: Linear(512, 10) -> Linear(256, 10)",
    ]


def test_the_proof_follows_through_residual_blocks(registry: Registry) -> None:
    base = resolve("starter/residual", registry=registry)
    poolings = "MaxPool2d(2, stride=2) -> ConcatPool2d[MaxPool2d(2, stride=2), AvgPool2d(2, stride=2)]"
    assert proved(registry, base, {"network.features.0.pooling": "concat"}) == [
        f"~ features.0.pooling: {poolings}",
        "  so features.1.first.filter: Conv2d(24, 48, 3x3, padding=1x1) -> Conv2d(48, 48, 3x3, padding=1x1)",
        "  so - Conv2d(24, 48, 1x1) at features.1.shortcut.0",
    ]
    assert proved(registry, base, {"network.features.1.activation": "glu"}) == [
        "~ features.1.first.activation: ReLU() -> GLU(dim=1)",
        "  so features.1.second.filter: Conv2d(48, 48, 3x3, padding=1x1) -> Conv2d(24, 48, 3x3, padding=1x1)",
        "~ features.1.after.activation: ReLU() -> GLU(dim=1)",
        "  so features.2.first.filter: Conv2d(48, 96, 3x3, padding=1x1) -> Conv2d(24, 96, 3x3, padding=1x1)",
        "  so features.2.shortcut.0: Conv2d(48, 96, 1x1) -> Conv2d(24, 96, 1x1)",
    ]


SMALL = {
    "network": {
        "features": [{"filters": 4, "filter": {"name": "conv", "padding": "same"}, "pooling": "max"}],
        "classifier": [{"units": 6, "activation": "relu"}],
    },
    "training": TREE["training"],
    "data": {"dataset": "squares"},
}


@pytest.fixture(scope="module")
def squares() -> Registry:
    return Registry(files=[PLUGIN]).require_sound()


def test_a_base_with_gates_is_made_as_large(squares: Registry) -> None:
    base = paths.apply(structure(SMALL, "small", squares), {"activation": "glu"}, squares)
    like = paths.apply(base, {"pooling": "concat"}, squares)
    wide = widened(base, like, "parameters", input_shape=SHAPE, classes=10, registry=squares)
    assert wide is not None
    assert built(wide, squares).parameters == pytest.approx(built(like, squares).parameters, rel=0.1)
    assert wide.network.features[0].filters % 2 == wide.network.classifier[0].units % 2 == 0


# Training.


def test_varied_they_train_on_digits(tmp_path: Path, registry: Registry) -> None:
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, device="cpu", registry=registry, say=lambda line: None)
    normalized = {"network.features.*.normalization": "batch"}
    arguments: dict[str, Any] = {"seeds": 1, "epochs": 2, "sets": normalized}
    runs = lab.benchmark("starter/default", vary={"activation": ["relu", "glu"]}, **arguments).runs()
    runs = [
        *runs.itertuples(),
        *lab.benchmark("starter/default", vary={"pooling": ["concat"]}, **arguments).runs().itertuples(),
    ]
    assert [run.status for run in runs] == ["finished"] * 3
    assert all(run.test_recall > 0.5 for run in runs), [run.test_recall for run in runs]
    for run, sets in zip(runs, ({}, {"activation": "glu"}, {"pooling": "concat"}), strict=True):
        assert run.parameters == built(starter(registry, {**normalized, **sets}), registry).parameters


def test_a_study_compares_them_also_with_a_base_as_large(tmp_path: Path, squares: Registry) -> None:
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, device="cpu", registry=squares, say=lambda line: None)
    changes = {"glu": {"activation": "glu"}, "concat": {"pooling": "concat"}}
    study = {"base": SMALL, "changes": changes, "select": "test", "match": "parameters"}
    odd = {**study, "changes": {"odd": {"network.features.0": {"filters": 3, "activation": "glu"}}}}
    with pytest.raises(ZooError, match="a gated linear unit needs an even number of channels"):
        lab.study(odd, seeds=3)
    runs = lab.study(study, seeds=3).runs()
    assert set(runs["status"]) == {"finished"}
    parameters = runs.groupby("arm")["parameters"].first()
    assert parameters.to_dict() == {"base": 290, "glu": 170, "concat": 506, "base, as many parameters as concat": 536}
