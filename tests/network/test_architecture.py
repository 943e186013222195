"""A spec that states a whole network: reading it, building it, what is refused, and that all else works alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import BuildError, SpecError
from zoo.network.builder import construct
from zoo.network.proof import prove
from zoo.registry import Registry
from zoo.spec import Spec, structure, unstructure
from zoo.spec.paths import apply
from zoo.spec.resolve import resolve, vary
from zoo.study.capacity import widened

SMALL = (1, 8, 8)


def spec(registry: Registry, architecture: Any, **network: Any) -> Spec:
    tree = {
        "network": {"architecture": architecture, **network},
        "training": {"epochs": 1},
        "data": {"dataset": "digits"},
    }
    return structure(tree, "whole", registry)


def test_it_is_read_and_written(registry: Registry) -> None:
    read = spec(registry, {"name": "cifar_resnet", "depth": 8})
    assert str(read.network.architecture) == "cifar_resnet(depth=8)"
    assert read.network.features == ()
    assert structure(unstructure(read), "whole", registry) == read


def test_a_spec_of_blocks_has_the_identity_that_it_had(registry: Registry) -> None:
    tree = unstructure(resolve("starter/default", registry=registry))
    assert tree["network"]["architecture"] is None, "it is written out, and left out of the identity"


@pytest.mark.parametrize(
    ("network", "text"),
    [
        ({}, "spec 'whole': network.features: required, but not there"),
        ({"architecture": None}, "spec 'whole': network.features: required, but not there"),
        (
            {"architecture": "resnet18", "features": [{"filters": 4}], "defaults": {"activation": "tanh"}},
            "spec 'whole': network: it has an architecture, and features and defaults too; a network is one or the "
            "other: leave out one of them",
        ),
        ({"architecture": "resnet81"}, "spec 'whole': network.architecture: no architecture is called 'resnet81'"),
        (
            {"architecture": {"name": "resnet18", "stem": "tiny"}},
            'spec \'whole\': network.architecture.stem: expected one of "own", "small", got "tiny"',
        ),
    ],
)
def test_what_is_no_network_is_refused(registry: Registry, network: dict[str, Any], text: str) -> None:
    with pytest.raises(zoo.ZooError) as caught:
        structure({"network": network, "training": {"epochs": 1}, "data": {"dataset": "digits"}}, "whole", registry)
    assert str(caught.value).startswith(text)


def test_paths_lead_to_it_and_options_are_kept(registry: Registry) -> None:
    base = resolve("small/resnet", registry=registry)
    assert str(apply(base, {"architecture.depth": 14}, registry).network.architecture) == "cifar_resnet(depth=14)"
    varied = vary([base], {"architecture": ["cifar_resnet", "mlp_mixer"]}, registry=registry)
    assert [str(s.network.architecture) for s in varied] == ["cifar_resnet(depth=8)", "mlp_mixer(depth=8, width=16)"]


def test_equal_seeds_start_equal_and_layers_add_up(registry: Registry) -> None:
    base = resolve("small/vit", registry=registry)
    one, two, other = (construct(base, SMALL, 10, seed=seed, registry=registry) for seed in (0, 0, 1))
    for (name, a), b in zip(one.network.named_parameters(), two.network.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(one.network.conv_proj.weight, other.network.conv_proj.weight)
    assert one.parameters == sum(layer.parameters for layer in one.layers) > 0
    places = [layer.path for layer in one.layers]
    assert places[:2] == ["network", "conv_proj"]
    assert len(places) == len(set(places))
    assert one.network.training


def test_operations_of_attention_are_counted(registry: Registry) -> None:
    built = construct(spec(registry, {"name": "vit", "patch": 2, "depth": 1, "width": 8, "heads": 2}), SMALL, 10,
                      seed=0, registry=registry)  # fmt: skip
    tokens, width = 17, 8
    dense = 2 * (4 * tokens * width * width + 2 * tokens * width * 4 * width)
    attention = 2 * 2 * tokens * tokens * width
    assert built.flops == dense + attention + 2 * (16 * 4 * width + width * 10)


def test_an_initializer_fills_weights_and_nothing_else(registry: Registry) -> None:
    own = construct(spec(registry, "convnext"), SMALL, 10, seed=0, registry=registry).network.state_dict()
    he = construct(spec(registry, "convnext", initializer="he"), SMALL, 10, seed=0, registry=registry)
    for name, tensor in he.network.state_dict().items():
        filled = tensor.dim() > 1 and name.endswith("weight")
        assert torch.equal(tensor, own[name]) is not filled, name


PLUGIN = """
import torch
from torch import nn
import zoo

class Odd(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.LazyLinear(3), how
    def forward(self, x):
        y = self.layer(x.flatten(1))
        return (y, y) if self.how == "two" else y

def odd(input_shape, classes, *, how: str = "two", ignored: int = 0):
    '''Odd.'''
    if how == "sound":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    if how == "none":
        return 5
    return Odd(how)

@zoo.hookimpl
def zoo_register_architectures(register):
    register("odd", odd)
"""


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("two", zoo.ZooError, "its forward must return one tensor, not tuple"),
        ("few", BuildError, "odd(how=few) does not fit its input of 1x8x8: it makes 1x3 of one image, and an"),
        ("none", zoo.ZooError, "its factory must return a torch.nn.Module, not 5"),
    ],
)
def test_what_breaks_the_contract_is_named(tmp_path: Path, how: str, error: type, text: str) -> None:
    (tmp_path / "odd_plugin.py").write_text(PLUGIN, encoding="utf-8")
    registry = Registry(files=[tmp_path / "odd_plugin.py"]).require_sound()
    with pytest.raises(error) as caught:
        construct(spec(registry, {"name": "odd", "how": how}), SMALL, 10, seed=0, registry=registry)
    assert text in str(caught.value)
    assert str(caught.value).startswith("whole: network.architecture: odd")


def test_a_change_of_architecture_is_told_in_numbers(registry: Registry) -> None:
    base = resolve("small/resnet", registry=registry)
    sets = {"architecture": "mlp_mixer", "training.epochs": 3}
    lines = prove(base, apply(base, sets, registry), sets, input_shape=SMALL, classes=10, registry=registry)
    assert lines[0].startswith("~ network: cifar_resnet(depth=8) -> mlp_mixer(depth=8, width=16) (layers ")
    assert "parameters 75,002 -> " in lines[0]
    assert lines[1:] == ("training.epochs: 10 -> 3",)


@pytest.mark.parametrize("sets", [{"architecture.ignored": 1}, {"architecture.ignored": 1, "training.epochs": 2}])
def test_an_option_without_effect_is_refused(tmp_path: Path, sets: dict[str, Any]) -> None:
    (tmp_path / "odd_plugin.py").write_text(PLUGIN, encoding="utf-8")
    registry = Registry(files=[tmp_path / "odd_plugin.py"]).require_sound()
    base = spec(registry, {"name": "odd", "how": "sound"})
    with pytest.raises(SpecError) as caught:
        prove(base, apply(base, sets, registry), sets, input_shape=SMALL, classes=10, registry=registry)
    text = str(caught.value)
    assert text.startswith("whole: the change of ")
    assert "altered nothing: the network is that of whole. Leave the change out, or mend the factory that" in text
    assert text.endswith(f"(plugin odd_plugin (single file, {tmp_path / 'odd_plugin.py'}))")


def test_a_change_of_architecture_says_what_else_changed_in_the_network(registry: Registry) -> None:
    base = resolve("small/resnet", registry=registry)
    sets = {"architecture.depth": 14, "activation": "mish", "initializer": "he"}
    lines = prove(base, apply(base, sets, registry), sets, input_shape=SMALL, classes=10, registry=registry)
    assert lines[0].startswith("~ network: cifar_resnet(depth=8) -> cifar_resnet(depth=14) (layers ")
    assert sorted(lines[1:]) == ["network.initializer: default -> he", "network.replace.activation: own -> mish"]


def test_a_base_is_widened_by_the_option_width(registry: Registry) -> None:
    base = resolve("small/resnet", registry=registry)
    like = apply(base, {"architecture.depth": 14}, registry)
    made = widened(base, like, "parameters", input_shape=SMALL, classes=10, registry=registry)
    assert made is not None
    assert made.network.architecture is not None
    assert made.network.architecture.values()["width"] > 16
    assert made.name.startswith("small/resnet[width x1.")


def test_an_architecture_without_a_width_is_not_widened(registry: Registry) -> None:
    base = resolve("small/wide_resnet", registry=registry)
    like = apply(base, {"architecture.depth": 16}, registry)
    with pytest.raises(BuildError, match=r"the architecture wide_resnet\(depth=10, widening=1\) has no option 'width'"):
        widened(base, like, "parameters", input_shape=SMALL, classes=10, registry=registry)


def test_blocks_do_not_become_an_architecture_by_a_bare_name(registry: Registry) -> None:
    with pytest.raises(SpecError, match="it has an architecture, and features and classifier too"):
        apply(resolve("starter/default", registry=registry), {"architecture": "vgg11"}, registry)
