"""Variants in place of an architecture's layers: every place, or an error; all else starts equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import BuildError, PluginError, SpecError, ZooError
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


def test_a_pooling_after_dense_layers_takes_maps(extended: Registry) -> None:
    made = built(extended, {"name": "functions", "how": "swapped"}, pooling="average")
    assert [done.new for done in made.replaced] == ["AvgPool2d(2, stride=2)"]


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

class Optional(nn.Module):  # of which torch.fx sees the case in which it is given a shortcut
    def __init__(self, how):
        super().__init__()
        self.how, self.layer = how, nn.Conv2d(1, 1, 3, padding=1)
    def forward(self, x, shortcut=None):
        if shortcut is None:
            x = self.layer(x)
        return F.relu(x) if self.how == "skipped" else F.relu(x + (0 if shortcut is None else shortcut))

class Attention(nn.Module):
    def forward(self, x):
        x = x.flatten(2)
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.1 if self.training else 0.0).flatten(1)

class InTraining(nn.Module):  # with a branch that only training reaches, and perhaps a layer that nothing reaches
    def __init__(self, dead):
        super().__init__()
        self.first, self.act, self.last = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(4 * 36, 3)
        self.side, self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), nn.Linear(4 * 36, 3)
        if dead:
            self.dead = nn.Sequential(nn.ReLU())
    def forward(self, x):
        x = self.act(self.first(x))
        logits = self.last(x.flatten(1))
        if self.training:
            logits = logits + self.head(self.side(x).flatten(1))
        return logits

class SideEffect(nn.Module):  # with a layer that changes what it is given, which is used again
    def __init__(self, how):
        super().__init__()
        self.first, self.last, self.how = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 3), how
        self.act, self.fine = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
    def forward(self, x):
        x = self.fine(self.first(x))
        x = x - 0.5
        if self.how == "module":
            y = self.act(x)
        if self.how == "statement":
            y = x * 2
            torch.relu_(x)
        if self.how == "training":
            y = self.act(x) if self.training else self.act(x.clone())
        return self.last((x + y).flatten(1))

class Tied(nn.Module):  # with one PReLU at three places, and one normalization at two
    def __init__(self):
        super().__init__()
        self.first, self.last, self.norm, self.act = nn.Conv2d(1, 4, 3), nn.Linear(4, 3), nn.BatchNorm2d(4), nn.PReLU()
    def forward(self, x):
        x = self.first(x)
        for _ in range(2):
            x = self.act(self.norm(x))
        return self.last(self.act(x - 0.5).mean((2, 3)))

class Swap(nn.Module):
    def forward(self, x):
        return x.swapaxes(1, 3)

class Both(nn.Module):
    def forward(self, x):
        return F.relu(x - x.mean())

PADDED = {
    "mode of circles": {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    "same": {"kernel_size": 3, "padding": "same"},
    "even": {"kernel_size": 2, "padding": "same"},
    "odd": {"kernel_size": 5, "padding": 1},
    "valid": {"kernel_size": 3, "padding": "valid"},
}

def functions(input_shape, classes, *, how: str = "plain"):
    "Functions."
    if how == "swapped":
        dense = nn.Sequential(nn.Conv2d(1, 4, 1), Swap(), nn.Linear(4, 6), Swap(), nn.MaxPool2d(2), nn.Flatten())
        return nn.Sequential(*dense, nn.LazyLinear(classes))
    if how in PADDED:
        return nn.Sequential(nn.Conv2d(1, 1, **PADDED[how]), nn.Flatten(), nn.LazyLinear(classes))
    if how == "both":
        return nn.Sequential(Both(), nn.Flatten(), nn.Linear(64, classes))
    if how == "attention":
        return nn.Sequential(Attention(), nn.Linear(64, classes))
    if how == "tied":
        return Tied()
    if how in ("skipped", "added"):
        return nn.Sequential(Optional(how), nn.Flatten(), nn.Linear(64, classes))
    if how in ("auxiliary", "dead"):
        return InTraining(how == "dead")
    if how in ("module", "statement", "training"):
        return SideEffect(how)
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


@pytest.mark.parametrize(("how", "why"), [("skipped", r"$"), ("added", r" \(TypeError: unsupported operand")])
def test_a_forward_of_which_one_case_is_traced_is_refused(extended: Registry, how: str, why: str) -> None:
    told = r"activation: mish: 0 would have to be rewritten, and what torch.fx traces there does not compute the same"
    with pytest.raises(BuildError, match=told + why):
        built(extended, {"name": "functions", "how": how}, activation="mish")


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


def with_classes(registry: Registry, classes: int, how: str, **replace: Any) -> Built:
    return construct(spec(registry, {"name": "functions", "how": how}, **replace), SHAPE, classes, seed=0,
                     registry=registry)  # fmt: skip


def test_what_only_training_reaches_is_replaced_too(extended: Registry) -> None:
    own = with_classes(extended, 3, "auxiliary").network
    made = with_classes(extended, 3, "auxiliary", activation="prelu", normalization={"name": "group", "groups": 2})
    assert [(done.path, done.kind, done.what) for done in made.replaced] == [
        ("act", "activation", "ReLU"),
        ("side.2", "activation", "ReLU"),
        ("side.1", "normalization", "BatchNorm2d"),
    ]
    assert len(of_type(made.network, nn.PReLU)) == 2
    assert not of_type(made.network, nn.BatchNorm2d)
    made.network.train()(torch.randn(2, *SHAPE)).sum().backward()
    assert all(weight.grad is not None for weight in made.network.parameters())
    assert own.side[1].num_batches_tracked == 0, "looking at it in training changed it"


def test_what_nothing_reaches_is_an_error_unless_it_is_left(extended: Registry) -> None:
    with pytest.raises(BuildError) as caught:
        with_classes(extended, 3, "dead", activation="mish")
    assert str(caught.value) == (
        "x: network.replace.activation: mish: no image reaches dead.0, neither in an evaluation nor in training, so "
        'that it cannot be seen what is computed there; leave it with replace."dead.0".activation = "own"'
    )
    made = with_classes(extended, 3, "dead", activation="mish", **{"dead.0": {"activation": "own"}})
    assert len(made.replaced) == 2


@pytest.mark.parametrize(("how", "place"), [("module", "act"), ("statement", "relu__1"), ("training", "act")])
def test_a_layer_whose_change_of_its_input_is_used_is_an_error(extended: Registry, how: str, place: str) -> None:
    with pytest.raises(BuildError) as caught:
        with_classes(extended, 3, how, activation="mish")
    assert str(caught.value) == (
        f"x: network.replace.activation: mish: {place} changes what it is given in place, and the network uses that "
        "again; a layer in its place would leave it as it was. Let the architecture use what the layer returns"
    )


def test_dropout_within_a_function_is_named(extended: Registry) -> None:
    text = r"the dropout within another operation, such as attention or a function of TorchScript, cannot be reached"
    with pytest.raises(BuildError, match=text + ", in 0$"):
        with_classes(extended, 3, "attention", dropout="dropout")


WHAT = "x: network.replace.activation: mish: "


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("looks", f"{WHAT}the network itself calls functions for it, and cannot be traced ("),
        (
            "mode",
            f"{WHAT}the network itself would have to be rewritten, and its forward does something else in training",
        ),
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
        (
            RESNET,
            {"filter": {"name": "conv", "size": 5}},
            "conv(size=5) at conv1: it takes over size = 3 from the layer in whose place it stands, and the spec "
            "states size = 5: leave that out",
        ),
        (
            {"name": "vgg", "width": 8},
            {"pooling": {"name": "max", "stride": 3}},
            "it takes over stride = 2 from the layer in whose place it stands, and the spec states stride = 3",
        ),
        (VIT, {"dropout": {"name": "drop_block", "block_size": 3}}, "block_size = 3 is larger than its map of 17x1"),
    ],
)
def test_what_does_not_fit_is_named(registry: Registry, architecture: Any, replace: dict[str, Any], text: str) -> None:
    with pytest.raises(BuildError) as caught:
        built(registry, architecture, **replace)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("mode of circles", "its padding is of the mode 'circular', and a variant pads with zeros"),
        pytest.param(
            "even",
            'its padding of 0.5 for a size of 2 is neither "same" nor "valid"',
            marks=pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths"),
        ),
        ("odd", 'its padding of 1 for a size of 5 is neither "same" nor "valid"'),
    ],
)
def test_a_padding_that_no_variant_has_is_named(extended: Registry, how: str, text: str) -> None:
    with pytest.raises(BuildError) as caught:
        built(extended, {"name": "functions", "how": how}, filter="conv")
    assert str(caught.value) == f"x: network.replace.filter: conv at 0: {text}"


@pytest.mark.parametrize("how", ["same", "valid"])
def test_a_padding_in_words_is_kept(extended: Registry, how: str) -> None:
    own, made = (built(extended, {"name": "functions", "how": how}, filter=filter_) for filter_ in ("own", "conv"))
    made.network.load_state_dict(own.network.state_dict())
    x = torch.randn(2, *SHAPE)
    assert torch.equal(own.network(x), made.network(x))


def test_the_proof_names_every_place(registry: Registry) -> None:
    base = resolve("small/resnet", registry=registry)
    sets = {"activation": "mish"}
    lines = prove(base, apply(base, sets, registry), sets, input_shape=SHAPE, classes=10, registry=registry)
    assert lines[0] == "~ activation: own -> mish at 7 of 7 ReLU"
    assert lines[1] == "~ relu: ReLU(inplace=True) -> Mish()"
    assert len(lines) == 9
    assert lines[-1] == "  and 44 tensors elsewhere start equal"


def test_the_proof_says_what_it_did_not_compare(registry: Registry) -> None:
    base = resolve("small/resnet", registry=registry)
    sets = {"activation": "mish", "initializer": "he", "training.epochs": 3}
    lines = prove(base, apply(base, sets, registry), sets, input_shape=SHAPE, classes=10, registry=registry)
    assert lines[-3:] == (
        "~ initializer: default -> he: other starting values in 8 tensors, which are not compared",
        "  and 36 tensors elsewhere start equal",
        "training.epochs: 10 -> 3",
    )


def test_the_proof_holds_layers_that_were_one_against_each_other(extended: Registry) -> None:
    base = spec(extended, {"name": "functions", "how": "tied"})
    sets = {"activation": "prelu", "normalization": "batch"}
    lines = prove(base, apply(base, sets, extended), sets, input_shape=SHAPE, classes=3, registry=extended)
    assert lines[0] == "~ activation: own -> prelu at 3 of 3 PReLU"
    assert "~ normalization: own -> batch at 2 of 2 BatchNorm2d" in lines
    assert lines[-1] == "  and 4 tensors elsewhere start equal"


def places(registry: Registry, at: dict[str, Any], **replace: Any) -> dict[str, str]:
    return {done.path: done.variant for done in built(registry, RESNET, **replace, **at).replaced}


def test_a_pattern_limits_what_is_replaced(registry: Registry) -> None:
    some = places(registry, {"stages.2.*": {"activation": "mish"}})
    assert {path for path, variant in some.items() if variant == "mish"} == {"stages.2.0.relu_1", "stages.2.0.relu_2"}
    assert {variant for path, variant in some.items() if not path.startswith("stages.2.")} == {"own"}
    at = {"stages.[01].*": {"activation": "own"}, "relu": {"activation": "tanh"}}
    others = places(registry, at, activation="mish")
    assert {path for path, variant in others.items() if variant == "mish"} == {"stages.2.0.relu_1", "stages.2.0.relu_2"}
    assert others["relu"] == "tanh"
    base, sets = resolve("small/resnet", registry=registry), {'replace."stages.2.*".activation': "mish"}
    lines = prove(base, apply(base, sets, registry), sets, input_shape=SHAPE, classes=10, registry=registry)
    assert lines[0] == "~ activation: own -> mish at 2 of 7 ReLU"


def test_one_use_of_a_layer_is_replaced_and_the_others_stay_one(extended: Registry) -> None:
    made = with_classes(extended, 3, "tied", **{"act_2": {"activation": "mish"}})
    assert [(done.path, done.variant) for done in made.replaced] == [("act", "own"), ("act_2", "mish")]
    assert len(of_type(made.network, nn.PReLU)) == 1
    all_but = with_classes(extended, 3, "tied", activation="mish", **{"act_2": {"activation": "own"}})
    assert {done.path: done.variant for done in all_but.replaced} == {"act_1": "mish", "act": "own", "act_3": "mish"}
    base = spec(extended, {"name": "functions", "how": "tied"})
    sets = {'replace."act_2".activation': "mish"}
    lines = prove(base, apply(base, sets, extended), sets, input_shape=SHAPE, classes=3, registry=extended)
    assert lines[0] == "~ activation: own -> mish at 1 of 3 PReLU"
    assert lines[-1] == "  and 10 tensors elsewhere start equal"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ({"stages.9.*": {"activation": "mish"}},
            'x: network.replace."stages.9.*".activation: cifar_resnet(depth=8) has no activation at a place that it '
            "matches: it has relu, stages.0.0.relu, stages.1.0.relu, stages.2.0.relu"),
        ({"stages.*": {"activation": "mish"}, "*.relu_1": {"activation": "tanh"}},
            'x: network.replace: stages.2.0.relu_1 is matched by "*.relu_1" and "stages.*", which put different things '
            "in place of its activation; let one of them match"),
    ],
)  # fmt: skip
def test_a_pattern_that_decides_nothing_is_named(registry: Registry, at: dict[str, Any], text: str) -> None:
    with pytest.raises(BuildError) as caught:
        built(registry, RESNET, **at)
    assert str(caught.value) == text


def test_patterns_are_read_set_and_written(registry: Registry) -> None:
    base = resolve("small/resnet", registry=registry)
    sets = {'replace."stages.2.*".activation': "leaky_relu", 'network.replace."a.b".normalization': "batch"}
    changed = apply(base, sets, registry)
    tables = {"stages.2.*": {"activation": "leaky_relu"}, "a.b": {"normalization": "batch"}}
    assert changed.network.replace == spec(registry, "resnet18", **tables).network.replace
    assert structure(unstructure(changed), changed.name, registry) == changed
    assert changed.identity != base.identity
    slope = apply(changed, {'replace."stages.2.*".activation.slope': 0.5}, registry)
    assert str(slope.network.replace.places[1].activation) == "leaky_relu(slope=0.5)"  # type: ignore[union-attr]
    every = apply(changed, {"activation": "mish"}, registry).network.replace
    assert every is not None
    assert str(every.activation) == str(every.places[1].activation) == "mish"
    assert every.places[0].activation is None
    with pytest.raises(SpecError, match="changes nothing"):
        apply(changed, {'replace."stages.2.*".activation': "leaky_relu"}, registry)


@pytest.mark.parametrize(
    ("replace", "text"),
    [
        ({"layer4.*": {"activation": "mihs"}},
            "spec 'x': network.replace.places[0].activation: no activation is called 'mihs'"),
        ({"layer4.*": {"activaton": "mish"}},
            "spec 'x': network.replace.places[0]: unknown option 'activaton'; did you mean activation?"),
        ({"*": {"activation": "mish"}}, "spec 'x': network.replace.\"*\": what stands everywhere is stated without a"),
        ({"a": {"activation": "mish"}, "places": [{"at": "a"}]}, "spec 'x': network.replace.\"a\": it is stated twice"),
        ({"places": 5}, "spec 'x': network.replace.places: expected a list, got 5"),
        ({"places": [{"at": 5}]}, "spec 'x': network.replace.places[0].at: expected a string, got 5"),
    ],
)  # fmt: skip
def test_a_pattern_that_cannot_be_read_is_named(registry: Registry, replace: dict[str, Any], text: str) -> None:
    with pytest.raises(ZooError) as caught:
        spec(registry, RESNET, **replace)
    assert str(caught.value).startswith(text)


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


HOOK = """
import zoo

@zoo.hookimpl
def zoo_layer_kinds():
    {body}
"""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("raise KeyError('a')", "raised KeyError: 'a'"),
        ("return [1]", "must return a mapping from kinds to tuples, not [1]"),
        ("return {'activaton': ()}", "tells layers of the kind 'activaton'; did you mean activation?"),
        ("return {'activation': (5,)}", "must return classes and names of functions for activation, not (5,)"),
    ],
)
def test_a_hook_that_tells_something_else_is_named(tmp_path: Path, body: str, text: str) -> None:
    file = tmp_path / "kinds_plugin.py"
    file.write_text(HOOK.format(body=body), encoding="utf-8")
    registry = Registry(files=[file]).require_sound()
    with pytest.raises(PluginError) as caught:
        built(registry, RESNET, activation="mish")
    assert str(caught.value).startswith(f"plugin kinds_plugin (single file, {file}): its hook zoo_layer_kinds {text}")
