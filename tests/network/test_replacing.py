"""Variants in place of an architecture's layers: every place, or an error; all else starts equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import BuildError, SpecError
from zoo.network.builder import Built, construct
from zoo.network.proof import prove
from zoo.registry import Registry
from zoo.registry.options import Choice
from zoo.spec import Spec, structure, unstructure
from zoo.spec.paths import apply
from zoo.spec.resolve import resolve

SHAPE = (1, 8, 8)
RESNET = {"name": "cifar_resnet", "depth": 8}
VIT = {"name": "vit", "patch": 2, "depth": 2, "width": 12, "heads": 3}
CONVNEXT = {"name": "convnext", "patch": 1, "depths": [1, 1], "width": 8}


def spec(registry: Registry, architecture: Any, **replace: Any) -> Spec:
    network = {"architecture": architecture, "replace": replace}
    return structure({"network": network, "training": {"epochs": 1}, "data": {"dataset": "digits"}}, "x", registry)


def built(registry: Registry, architecture: Any, **replace: Any) -> Built:
    return construct(spec(registry, architecture, **replace), SHAPE, 10, seed=0, registry=registry)


def of_type(network: nn.Module, kind: type) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, kind)]


def test_a_layer_used_twice_becomes_two(registry: Registry) -> None:
    made = built(registry, RESNET, activation="prelu")
    assert len(made.replaced) == 7
    assert {done.what for done in made.replaced} == {"ReLU"}
    assert not of_type(made.network, nn.ReLU)
    weights = [module.weight for module in made.network.modules() if isinstance(module, nn.PReLU)]
    assert len({id(weight) for weight in weights}) == 7
    made.network(torch.randn(2, *SHAPE)).sum().backward()
    assert all(weight.grad is not None for weight in weights)


@pytest.mark.parametrize(
    ("architecture", "replace"),
    [
        (RESNET, {"activation": "mish"}),
        (RESNET, {"normalization": {"name": "group", "groups": 4}, "filter": "weight_standardized"}),
        ({"name": "vgg", "width": 8}, {"pooling": "average"}),
        (VIT, {"activation": "prelu", "dropout": "channel", "normalization": "instance"}),
        (CONVNEXT, {"activation": "silu", "normalization": "batch"}),
    ],
)
def test_all_else_starts_equal(registry: Registry, architecture: Any, replace: dict[str, Any]) -> None:
    own, made = built(registry, architecture), built(registry, architecture, **replace)
    places = tuple(f"{done.path}." for done in made.replaced)
    kept = {name: t for name, t in own.network.state_dict().items() if not name.startswith(places)}
    now = made.network.state_dict()
    assert kept
    assert all(torch.equal(tensor, now[name]) for name, tensor in kept.items())
    assert {name for name in now if not name.startswith(places)} == kept.keys()
    made.network.train()(torch.randn(2, *SHAPE)).square().sum().backward()
    assert all(weight.grad is not None for weight in made.network.parameters())


def test_what_is_replaced_by_the_same_computes_the_same(registry: Registry) -> None:
    own = built(registry, RESNET)
    made = built(registry, RESNET, activation="relu", filter="conv", normalization="batch")
    made.network.load_state_dict(own.network.state_dict())
    x = torch.randn(4, *SHAPE)
    for training in (True, False):
        assert torch.equal(own.network.train(training)(x), made.network.train(training)(x))
    assert (own.parameters, own.flops) == (made.parameters, made.flops)


def test_features_that_stand_last_are_moved_and_that_is_said(registry: Registry) -> None:
    made = built(registry, VIT, normalization="instance")
    said = {done.path: done.new for done in made.replaced}
    assert said["encoder.ln"] == "InstanceNorm2d(12, affine=True), given 17x12 as 12x17x1"
    x = torch.randn(2, 17, 12)
    expected = nn.functional.instance_norm(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(made.network.get_submodule("encoder.ln")(x), expected)


def test_maps_and_features_that_stand_last_are_told_apart(registry: Registry) -> None:
    made = built(registry, CONVNEXT, normalization={"name": "group", "groups": 4})
    said = {done.path: done.new for done in made.replaced}
    assert said["features.0.1"] == "GroupNorm(4, 8)", "torchvision's LayerNorm2d takes maps"
    assert said["classifier.0"] == "GroupNorm(4, 16)", "also after a block whose dense layers have them last"
    assert said["features.1.0.block.2"] == "GroupNorm(4, 8), given 8x8x8 as 8x8x8"


FUNCTIONS = """
import torch
from torch import nn
from torch.nn import functional as F
import zoo

class Functions(nn.Module):
    def __init__(self, how, classes):
        super().__init__()
        self.how = how
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, classes)
    def forward(self, x):
        x = self.first(x)
        if self.how == "looks" and x.sum() > 1e9:
            x = -x
        x = F.relu(x) if self.how != "mode" or self.training else F.gelu(x)
        x = F.dropout(x.flatten(1), 0.25, training=self.training)
        return self.second(torch.tanh(x).relu())

class Both(nn.Module):
    def forward(self, x):
        return F.relu(x - x.mean())

def functions(input_shape, classes, *, how: str = "plain"):
    "Functions."
    if how == "both":
        return nn.Sequential(Both(), nn.Flatten(), nn.Linear(64, classes))
    return Functions(how, classes)

@zoo.hookimpl
def zoo_register_architectures(register):
    register("functions", functions)

@zoo.hookimpl
def zoo_layer_kinds():
    return {"activation": (Both,), "normalization": (Both,)}
"""


@pytest.fixture
def extended(tmp_path: Path) -> Registry:
    (tmp_path / "functions_plugin.py").write_text(FUNCTIONS, encoding="utf-8")
    return Registry(files=[tmp_path / "functions_plugin.py"]).require_sound()


@pytest.mark.parametrize("dropout", ["own", {"name": "dropout", "rate": 0.75}])
def test_functions_are_replaced(extended: Registry, dropout: Any) -> None:
    made = built(extended, "functions", activation="prelu", dropout=dropout)
    activations = [("activation", "relu"), ("activation", "tanh"), ("activation", "relu")]
    assert [(done.kind, done.what) for done in made.replaced] == activations + (
        [] if dropout == "own" else [("dropout", "dropout")]
    )
    assert len(of_type(made.network, nn.PReLU)) == 3
    x = torch.randn(1, *SHAPE)
    evaluated = [made.network.eval()(x) for _ in range(2)]
    assert torch.equal(*evaluated), "dropout knows the mode"
    trained = [made.network.train()(x) for _ in range(2)]
    assert not torch.equal(*trained)


WHAT = "x: network.replace.activation: mish: "


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("looks", f"{WHAT}the network itself calls functions for it, and cannot be traced ("),
        ("mode", f"{WHAT}the network itself calls functions for it in a way that cannot be rewritten"),
        ("both", f"{WHAT}0 is activation and normalization in one layer, which cannot be parted"),
    ],
)
def test_what_cannot_be_reached_is_named(extended: Registry, how: str, text: str) -> None:
    with pytest.raises(BuildError) as caught:
        built(extended, {"name": "functions", "how": how}, activation="mish")
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("architecture", "replace", "text"),
    [
        (RESNET, {"pooling": "max"}, "x: network.replace.pooling: max: cifar_resnet(depth=8) has no pooling"),
        (RESNET, {"normalization": {"name": "group", "groups": 7}}, "group(groups=7) at bn1 does not fit its input of"),
        (CONVNEXT, {"filter": "depthwise_separable"}, "it has no option 'groups', which is 8 here"),
        (VIT, {"dropout": {"name": "drop_block", "block_size": 3}}, "block_size = 3 is larger than its map of 17x1"),
    ],
)
def test_what_does_not_fit_is_named(registry: Registry, architecture: Any, replace: dict[str, Any], text: str) -> None:
    with pytest.raises(BuildError) as caught:
        built(registry, architecture, **replace)
    assert text in str(caught.value)


def test_the_proof_names_every_place(registry: Registry) -> None:
    base = resolve("small/resnet", registry=registry)
    sets = {"activation": "mish"}
    lines = prove(base, apply(base, sets, registry), sets, input_shape=SHAPE, classes=10, registry=registry)
    assert lines[0] == "~ activation: own -> mish at 7 of 7 ReLU"
    assert lines[1] == "~ relu: ReLU(inplace=True) -> Mish()"
    assert len(lines) == 8


def test_short_paths_lead_to_it_and_own_takes_it_back(registry: Registry) -> None:
    base = resolve("small/vit", registry=registry)
    changed = apply(base, {"normalization": {"name": "batch", "momentum": 0.2}}, registry)
    assert changed.network.replace is not None
    assert isinstance(changed.network.replace.normalization, Choice)
    assert apply(changed, {"normalization": "own"}, registry) == base
    assert structure(unstructure(changed), changed.name, registry) == changed
    assert changed.identity != base.identity


def test_blocks_have_nothing_to_replace(registry: Registry) -> None:
    tree = {"network": {"features": [], "replace": {}}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    with pytest.raises(SpecError) as caught:
        structure(tree, "x", registry)
    assert str(caught.value) == "spec 'x': network.replace: only the layers of an architecture are replaced"
    with pytest.raises(SpecError, match="no activation is called 'own'"):
        apply(resolve("starter/default", registry=registry), {"activation": "own"}, registry)
