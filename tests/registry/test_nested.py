"""Variants within variants, and what factories may ask for of where they stand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import PluginError
from zoo.network.builder import build, construct
from zoo.registry import Registry
from zoo.registry.source import plugins_used, source_digest
from zoo.spec import paths, structure
from zoo.spec.resolve import resolve

NESTED = """
import torch
from torch import nn

import zoo


class Activated(nn.Sequential):
    pass


def activated(
    shape, make, *, normalization: zoo.Choice["normalization"] = "batch", activation: zoo.Choice["activation"] = "relu"
):
    '''A normalization, and an activation after it.'''
    return Activated(make(normalization), make(activation))


def pooled(shape, make, *, activation: zoo.Choice["activation"] = "relu"):
    '''An activation of maps of half the size, made as large again.'''
    small = (shape[0], shape[1] // 2, shape[2] // 2) if len(shape) == 3 else shape
    return make(activation, shape=small)


@zoo.hookimpl
def zoo_register_normalizations(register):
    register("activated", activated)


class Standing(nn.Module):
    def __init__(self, index, count):
        super().__init__()
        self.index, self.count = index, count

    def forward(self, x):
        return x


def standing(index, count):
    '''Knows where it stands.'''
    return Standing(index, count)


def by_layer(weight, module, name, role):
    '''Fills each parameter with what it is.'''
    assert getattr(module, name.rpartition(".")[2]) is weight
    weight.fill_({"filter": 1, "linear": 2, "bias": 3, "normalization": 4}[role])


def halved(parameters, make, *, learning_rate: zoo.PositiveFloat = 0.1, optimizer: zoo.Choice["optimizer"] = "sgd"):
    '''Another optimizer with half the learning rate.'''
    return make(optimizer, learning_rate=learning_rate / 2)


def wrong(shape, make, *, schedule: zoo.Choice["schedule"] = "cosine"):
    '''Asks for what a layer has not.'''
    return make(schedule)


@zoo.hookimpl
def zoo_register_activations(register):
    register("standing", standing)
    register("pooled", pooled)
    register("wrong", wrong)


@zoo.hookimpl
def zoo_register_initializers(register):
    register("by_layer", by_layer)


@zoo.hookimpl
def zoo_register_optimizers(register):
    register("halved", halved)
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nested")
    (folder / "nested.py").write_text(NESTED, encoding="utf-8")
    (folder / "other.py").write_text(
        "import zoo\n\ndef gentle():\n    import torch\n    return torch.nn.Tanh()\n\n@zoo.hookimpl\n"
        "def zoo_register_activations(register):\n    register('gentle', gentle)\n",
        encoding="utf-8",
    )
    return Registry(files=[folder / "nested.py", folder / "other.py"]).require_sound()


def spec(registry, **sets):
    return paths.apply(resolve("starter/default", registry=registry), sets, registry)


NORMALIZATION = "network.features.0.normalization"


def test_a_variant_makes_the_ones_that_it_is_given(registry):
    made = spec(registry, **{NORMALIZATION: {"name": "activated", "activation": {"name": "leaky_relu", "slope": 0.2}}})
    layer = construct(made, (1, 8, 8), 10, seed=0, registry=registry).network.get_submodule("features.0.normalization")
    assert isinstance(layer[0], nn.BatchNorm2d)
    assert layer[0].num_features == 24, "it has the shape of the layer around it"
    assert isinstance(layer[1], nn.LeakyReLU)
    assert layer[1].negative_slope == 0.2


def test_a_choice_within_a_choice_is_varied_and_counts(registry):
    base = spec(registry, **{NORMALIZATION: "activated"})
    changed = paths.apply(base, {"normalization.activation": "gentle"}, registry)
    assert str(changed.network.features[0].normalization) == "activated(activation=gentle)"
    assert changed.identity != base.identity
    other = registry.variant("activation", "gentle").plugin
    assert other in plugins_used(changed, registry)
    assert other not in plugins_used(base, registry)
    assert source_digest(changed, registry) != source_digest(base, registry)
    with pytest.raises(zoo.ZooError, match="no activation is called 'gentl'; did you mean gentle"):
        paths.apply(base, {"normalization.activation": "gentl"}, registry)


def test_an_option_of_the_other_may_be_stated(registry):
    optimizer = registry.make(
        spec(
            registry, **{"training.optimizer": {"name": "halved", "optimizer": {"name": "sgd", "momentum": 0.9}}}
        ).training.optimizer,
        parameters=[nn.Parameter(torch.ones(1))],
    )
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.05, 0.9)


def test_a_variant_that_asks_for_what_it_is_not_given_is_named(registry):
    with pytest.raises(PluginError, match="the schedule 'cosine' asks for 'progress', which whoever makes it does not"):
        build(spec(registry, **{"network.features.0.activation": "wrong"}), (1, 8, 8), 10, registry=registry)


def test_a_kind_that_there_is_not_is_an_error(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(NESTED.replace('zoo.Choice["schedule"]', 'zoo.Choice["scedule"]'), encoding="utf-8")
    with pytest.raises(PluginError) as error:
        Registry(files=[file]).require_sound()
    text = "activation 'wrong': option 'schedule' chooses from the kind 'scedule', which there is not; did you mean"
    assert text in str(error.value)


def test_layers_know_where_they_stand(registry):
    tree = {
        "network": {
            "features": [{"filters": 4, "activation": "standing"}] * 3,
            "classifier": [{"units": 4, "activation": "standing"}] * 2,
        },
        "training": {"epochs": 1},
        "data": {"dataset": "digits"},
    }
    found = [
        (module.index, module.count)
        for module in build(tree, (1, 16, 16), 10, registry=registry).modules()
        if type(module).__name__ == "Standing"
    ]
    assert found == [(0, 3), (1, 3), (2, 3), (0, 2), (1, 2)]


def test_layers_in_place_of_others_know_where_they_stand(registry):
    network = {"architecture": {"name": "cifar_resnet", "depth": 8}, "replace": {"activation": "standing"}}
    tree = {"network": network, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    modules = build(tree, (3, 16, 16), 10, registry=registry).modules()
    found = [(module.index, module.count) for module in modules if type(module).__name__ == "Standing"]
    assert sorted(found) == [(index, len(found)) for index in range(len(found))]
    assert len(found) > 4


@pytest.mark.parametrize("network", [{"features": [{"filters": 4, "normalization": "batch"}]}, {"architecture": "vit"}])
def test_an_initializer_that_asks_for_the_role_is_given_every_parameter(registry, network):
    tree = {"network": {**network, "initializer": "by_layer"}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    if "architecture" in network:
        with pytest.raises(PluginError, match="KeyError: 'other'"):  # its class token is none of the four
            build(tree, (1, 8, 8), 10, registry=registry)
        return
    parameters = dict(build(tree, (1, 8, 8), 10, registry=registry).named_parameters())
    assert {name: value.unique().tolist() for name, value in parameters.items()} == {
        "features.0.filter.weight": [1],
        "features.0.filter.bias": [3],
        "features.0.normalization.weight": [4],
        "features.0.normalization.bias": [4],
        "output.weight": [2],
        "output.bias": [3],
    }
    kinds = registry.layer_kind_plugins
    assert set(kinds) <= set(plugins_used(structure(tree, "x", registry), registry))


def test_the_last_scale_of_each_residual_block_begins_at_zero(registry):
    block = {"filters": 4, "block": "residual", "filter": {"padding": "same", "name": "conv"}, "normalization": "batch"}
    tree = {
        "network": {
            "features": [block] * 2,
            "initializer": {"name": "constant_at", "at": "*.second.normalization.weight", "others": "he"},
        },
        "training": {"epochs": 1},
        "data": {"dataset": "digits"},
    }
    parameters = dict(build(tree, (1, 8, 8), 10, registry=registry).named_parameters())
    zero = [name for name, value in parameters.items() if name.endswith("weight") and not value.any()]
    assert zero == ["features.0.second.normalization.weight", "features.1.second.normalization.weight"]
    assert parameters["features.0.first.normalization.weight"].eq(1).all()
    others = parameters["features.1.first.filter.weight"]
    assert others.std().item() == pytest.approx((2 / (4 * 9)) ** 0.5, rel=0.3), "that of He"


def test_residual_blocks_are_left_out_more_often_the_deeper_they_are(registry):
    block = {
        "filters": 4,
        "block": {"name": "residual", "drop_path": 0.3},
        "filter": {"padding": "same", "name": "conv"},
    }
    tree = {"network": {"features": [block] * 3}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    network = build(tree, (4, 8, 8), 10, registry=registry)
    rates = [module.p for module in network.modules() if type(module).__name__ == "StochasticDepth"]
    assert rates == pytest.approx([0.1, 0.2, 0.3])
    block = network.get_submodule("features.2").train()
    x = torch.rand(400, 4, 8, 8)
    shortcut = block.after(block.shortcut(x))
    left_out = (block(x) == shortcut).flatten(1).all(1).double().mean().item()
    assert left_out == pytest.approx(0.3, abs=0.1)


def test_the_type_of_an_option_may_be_written_in_two_ways():
    assert zoo.Choice["activation"].__metadata__ == (zoo.Kind("activation"),)
