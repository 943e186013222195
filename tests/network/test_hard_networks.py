"""Replacing layers of networks that do it in unusual ways: every place, with the same meaning, or an error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import ZooError
from zoo.network.builder import Built, construct
from zoo.registry import Registry
from zoo.spec import structure

NETWORKS = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
import zoo


class Scripted(nn.Module):
    def forward(self, x):
        return torch.relu(x)


SCRIPTED = {}


def script():  # when it is needed, since torch warns of it
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not SCRIPTED:
            SCRIPTED["module"] = torch.jit.script(Scripted())
            SCRIPTED["function"] = torch.jit.script(plain)
    return SCRIPTED


def plain(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x)


class Dense(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return F.relu(self.layer(x))


class NormalizedAndActivated(nn.BatchNorm2d):
    def __init__(self, features):
        super().__init__(features)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(super().forward(x))


class Network(nn.Module):
    def __init__(self, how, classes):
        super().__init__()
        self.how, self.conv, self.act = how, nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()
        if how in ("shared block", "shared sizes", "apart"):
            self.inner = Dense(nn.Conv2d(8, 8, 1))
        if how == "list":
            self.inner = nn.ModuleList([nn.ReLU()])
        if how.startswith("encoder"):
            act = nn.GELU() if how == "encoder of a layer" else F.gelu
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=act, batch_first=True)
            self.inner = nn.TransformerEncoder(layer, 2)
        if how == "recurrent":
            self.inner = nn.RNN(8, 8, num_layers=2, dropout=0.5, nonlinearity="relu", batch_first=True)
        if how == "gated":
            self.inner = nn.GRU(8, 8, batch_first=True)
        if how == "scripted module":
            self.inner = script()["module"]
        if how == "normalized":
            self.inner = NormalizedAndActivated(8)
        if how == "sequence":
            self.inner = nn.Sequential(nn.Conv1d(8, 8, 3, padding=1), nn.InstanceNorm1d(8), nn.Dropout1d(0.5))
        if how == "parametrized":
            self.conv = weight_norm(self.conv)
        if how == "hooked":
            self.act.register_forward_hook(lambda module, given, made: 2 * made)
        if how == "indices":
            self.inner, self.back = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        if how.startswith("tied"):
            self.inner = nn.ModuleList([nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)])
            self.inner[1].weight = self.inner[0].weight
        if how.startswith("used twice"):
            self.inner = nn.Conv2d(8, 8, 3, padding=1)
        if how == "slope":
            self.slope = nn.Parameter(torch.tensor([0.1]))
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        x = self.conv(x)
        if self.how == "asks":
            return self.fc(self.act(x if self.act.inplace else x + 1).mean((2, 3)))
        x = self.act(input=x) if self.how == "named" else self.act(x)
        if self.how in ("shared block", "normalized", "scripted module"):
            x = self.inner(x)
            x = self.inner(x) if self.how == "shared block" else x
        if self.how == "shared sizes":
            x = self.inner(F.max_pool2d(self.inner(x), 2))
        if self.how == "tied":
            x = self.inner[1](self.inner[0](x))
        if self.how.startswith("used twice"):
            x = self.inner(x[..., ::2] if self.how.endswith("sizes") else x).mean() + self.inner(x)
        if self.how == "list":
            x = self.inner[0](self.inner[0](x) - 0.5)
        if self.how.startswith("encoder"):
            return self.fc(self.inner(x.flatten(2).transpose(1, 2)).mean(1))
        if self.how in ("recurrent", "gated"):
            return self.fc(self.inner(x[:, :, 0].transpose(1, 2))[0][:, -1])
        if self.how == "sequence":
            return self.fc(self.inner(x.flatten(2)).mean(2))
        if self.how == "scripted function":
            x = script()["function"](x)
        if self.how == "slope":
            x = F.prelu(x, self.slope)
        if self.how == "indices":
            x = self.back(*self.inner(x))
        if self.how == "apart":
            x = self.inner(F.relu(F.relu(x)))
        if self.how == "without gradients":
            with torch.no_grad():
                x = F.relu(x)
        if self.how == "rare":
            x = torch.selu_(F.softshrink(F.tanhshrink(F.hardshrink(F.threshold(x, 0.1, 0.0)))))
        return self.fc(x.mean((2, 3)))


def hard(input_shape, classes, *, how: str = "list"):
    "Hard."
    return Network(how, classes)


@zoo.hookimpl
def zoo_register_architectures(register):
    register("hard", hard)
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    path = tmp_path_factory.mktemp("hard") / "hard_networks.py"
    path.write_text(NETWORKS, encoding="utf-8")
    return Registry(files=[path]).require_sound()


def built(registry: Registry, how: str, **replace: Any) -> Built:
    network = {"architecture": {"name": "hard", "how": how}, "replace": replace}
    spec = structure({"network": network, "training": {"epochs": 1}, "data": {"dataset": "digits"}}, "x", registry)
    return construct(spec, (1, 8, 8), 10, seed=0, registry=registry)


@pytest.mark.parametrize(
    ("how", "replace", "places"),
    [
        ("shared block", {"activation": "prelu"}, ["act: ReLU", "inner.relu_1: relu"]),
        ("list", {"activation": "prelu"}, ["act: ReLU", "inner_0_1: ReLU", "inner_0_2: ReLU"]),
        ("gated", {"activation": "mish"}, ["act: ReLU"]),
        ("parametrized", {"activation": "mish"}, ["act: ReLU"]),
        (
            "rare",
            {"activation": "mish"},
            ["act: ReLU", *(f"{name}_1: {name}" for name in ("_threshold", "hardshrink", "tanhshrink", "softshrink")),
             "selu__1: selu_"],
        ),
    ],
)  # fmt: skip
def test_every_place_is_found(extended: Registry, how: str, replace: dict[str, Any], places: list[str]) -> None:
    assert [f"{done.path}: {done.what}" for done in built(extended, how, **replace).replaced] == places


def test_uses_that_share_weights_go_on_sharing_them(extended: Registry) -> None:
    made = built(extended, "used twice", **{"inner": {"filter": "conv"}})
    assert [(done.path, done.variant) for done in made.replaced] == [("conv", "own"), ("inner", "conv")]
    assert made.parameters == built(extended, "used twice").parameters


def test_ties_of_layers_that_stay_are_no_matter(extended: Registry) -> None:
    made = built(extended, "tied", activation="mish")
    assert made.network.inner[0].weight is made.network.inner[1].weight


def test_functions_that_are_left_are_counted(extended: Registry) -> None:
    made = built(extended, "apart", **{"inner.*": {"activation": "mish"}})
    places = [(done.path, done.what, done.variant, done.uses) for done in made.replaced]
    assert places == [
        ("act", "ReLU", "own", 1),
        ("inner.relu_1", "relu", "mish", 1),
        ("relu", "relu", "own", 2),
    ]


@pytest.mark.parametrize("how", ["encoder of a layer", "encoder of a function"])
@pytest.mark.parametrize("replace", [{"activation": "hardtanh"}, {"normalization": "batch"}])
def test_an_encoder_evaluates_what_it_trains(extended: Registry, how: str, replace: dict[str, Any]) -> None:
    """torch computes an encoder by an operation of its own where no gradients are wanted."""
    made = built(extended, how, **replace)
    assert len(made.replaced) == {"activation": 3, "normalization": 4}[next(iter(replace))]
    network, x = made.network.eval(), torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        evaluated = network(x)
    torch.testing.assert_close(evaluated, network(x))


def test_what_is_given_a_sequence_of_features_keeps_their_place(extended: Registry) -> None:
    made = built(extended, "sequence", normalization={"name": "group", "groups": 4}, dropout="channel")
    assert [done.new for done in made.replaced] == [
        "GroupNorm(4, 8), given 8x64 as 8x64x1",
        "Dropout2d(p=0.5), given 8x64 as 8x64x1",
    ]
    x = torch.randn(2, 8, 64)
    assert isinstance(made.network.inner, nn.Sequential)
    torch.testing.assert_close(made.network.inner[1](x), nn.GroupNorm(4, 8)(x))


WITHIN = "within another operation, such as attention or a function of TorchScript, cannot be reached, in"


@pytest.mark.parametrize(
    ("how", "replace", "text"),
    [
        ("scripted function", {"activation": "mish"}, f"mish: the activation {WITHIN} the network itself"),
        ("recurrent", {"activation": "mish"}, f"mish: the activation {WITHIN} inner"),
        ("recurrent", {"dropout": "dropout"}, f"dropout: the dropout {WITHIN} inner"),
        (
            "scripted module",
            {},
            "inner is a module of TorchScript, in which layers cannot be seen; use the module that",
        ),
        (
            "tied",
            {"filter": "conv"},
            "filter: conv: inner.0, inner.1 share weights, and layers in their places would have weights of their own; "
            'leave them with replace."inner.0".filter = "own"',
        ),
        ("used twice in sizes", {"filter": "conv"}, "conv at inner: it is one layer for inputs of several sizes"),
        ("slope", {"activation": "mish"}, "mish: the network itself calls prelu in a way that cannot be rewritten"),
        ("normalized", {"normalization": "group"}, "group: inner computes an activation too, which cannot be parted"),
        ("hooked", {"activation": "mish"}, "mish: act has hooks or a parametrization of its own"),
        ("parametrized", {"filter": "conv"}, "conv: conv has hooks or a parametrization of its own"),
        (
            "indices",
            {"pooling": "average"},
            "average: inner makes more than one tensor, and a layer in its place makes",
        ),
        ("named", {"activation": "mish"}, "mish: act is given its input by name, which a layer in its place may call"),
        ("without gradients", {"activation": "mish"}, "does not compute the same (its gradients are others)"),
        ("shared sizes", {"activation": "mish"}, "mish at inner.relu_1: it is one layer for inputs of several sizes"),
        (
            "asks",
            {"activation": "prelu"},
            "hard(how=asks), in which layers were replaced: plugin hard_networks (single",
        ),
    ],
)
def test_what_would_change_more_is_an_error(extended: Registry, how: str, replace: dict[str, Any], text: str) -> None:
    with pytest.raises(ZooError) as caught:
        built(extended, how, **replace)
    assert text in str(caught.value)
