"""The blocks, against torchvision's and against the papers' formulas written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock
from torchvision.ops import SqueezeExcitation

from zoo.errors import BuildError
from zoo.network.builder import Built, construct
from zoo.registry import Registry
from zoo.spec import structure

CHANNELS = 6


def block(registry: Registry, shape: tuple[int, int, int] = (CHANNELS, 8, 7), **parts: Any) -> Built:
    """Build a network of one block, with 3x3 filters of its own size and batch normalization."""
    stated = {
        "filters": CHANNELS,
        "filter": {"name": "conv", "size": 3, "padding": "same", "bias": False},
        "normalization": "batch",
        **parts,
    }
    tree = {"network": {"features": [stated]}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    return construct(structure(tree, "test", registry), shape, 10, seed=0, registry=registry)


def module(built: Built) -> Any:
    """The one block of the network."""
    network: Any = built.network
    return network.features[0]


def batch(*shape: int) -> Tensor:
    return torch.randn(4, *(shape or (CHANNELS, 8, 7)), generator=torch.Generator().manual_seed(0))


def copy(to: nn.Module, of: nn.Module) -> None:
    to.load_state_dict(of.state_dict())


# Residual.


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("stride", "filters"), [(1, CHANNELS), (2, 10), (2, CHANNELS), (1, 10)])
def test_the_residual_block_is_torchvision_s_basic_block(
    registry: Registry, stride: int, filters: int, training: bool
) -> None:
    built = block(registry, filters=filters, block={"name": "residual", "stride": stride})
    mine = module(built).train(training)
    downsample = None
    if stride != 1 or filters != CHANNELS:
        downsample = nn.Sequential(nn.Conv2d(CHANNELS, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))
        copy(downsample, mine.shortcut)
    reference = BasicBlock(CHANNELS, filters, stride, downsample).train(training)
    copy(reference.conv1, mine.first.filter)
    copy(reference.bn1, mine.first.normalization)
    copy(reference.conv2, mine.second.filter)
    copy(reference.bn2, mine.second.normalization)
    torch.testing.assert_close(mine(batch()), reference(batch()), rtol=1e-5, atol=1e-6)
    count = sum(p.numel() for p in reference.parameters())
    assert sum(p.numel() for p in mine.parameters()) == count, "it has parameters that the reference does not have"
    assert sum(layer.parameters for layer in built.layers if layer.path.startswith("features")) == count
    torch.testing.assert_close(mine.first.normalization.running_mean, reference.bn1.running_mean)


@pytest.mark.parametrize("filters", [CHANNELS, 10])
def test_with_the_activation_before_the_filter_it_is_the_pre_activation_block(registry: Registry, filters: int) -> None:
    order = ["normalization", "activation", "filter"]
    mine = module(block(registry, filters=filters, block="residual", order=order)).eval()
    x = batch()
    between = mine.first.filter(F.relu(mine.first.normalization(x)))
    branch = mine.second.filter(F.relu(mine.second.normalization(between)))
    torch.testing.assert_close(mine(x), branch + mine.shortcut(x), rtol=1e-5, atol=1e-6)
    assert isinstance(mine.shortcut, nn.Identity) == (filters == CHANNELS)
    assert (mine(x) < 0).any(), "nothing follows the addition"


def test_pooling_and_dropout_come_once_and_last(registry: Registry) -> None:
    built = block(registry, block="residual", pooling="max", dropout="channel", shape=(CHANNELS, 8, 8))
    assert [layer.path.removeprefix("features.0.") for layer in built.layers[:-1]] == [
        "first.filter",
        "first.normalization",
        "first.activation",
        "second.filter",
        "second.normalization",
        "after.activation",
        "after.pooling",
        "after.dropout",
    ]
    assert built.layers[-2].output_shape == (CHANNELS, 4, 4)


def test_a_shortcut_is_listed_with_its_parameters(registry: Registry) -> None:
    built = block(registry, filters=10, block={"name": "residual", "stride": 2})
    listed = {layer.path: layer for layer in built.layers}
    shortcut = listed["features.0.shortcut.filter"]
    assert shortcut.description == "conv(size=1, stride=2, bias=False)"
    assert shortcut.parameters == CHANNELS * 10
    assert shortcut.output_shape == (10, 4, 4)
    assert listed["features.0.shortcut.normalization"].parameters == 20


def test_the_shortcut_has_a_bias_where_the_filters_have_one(registry: Registry) -> None:
    stated = {"name": "conv", "size": 3, "padding": "same"}
    mine = module(block(registry, filters=10, filter=stated, normalization="none", block="residual"))
    assert mine.shortcut[0].bias is not None
    assert mine.second.filter.bias is not None


@pytest.mark.parametrize("name", ["depthwise_separable", "asymmetric", "weight_standardized"])
def test_any_filter_can_be_in_a_residual_block(registry: Registry, name: str) -> None:
    stated = {"name": name, "size": 3, "padding": "same"}
    built = block(registry, filters=10, filter=stated, block={"name": "residual", "stride": 2})
    assert module(built)(batch()).shape == (4, 10, 4, 4)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"order": ["normalization", "activation"]}, "a residual block needs the filter in its order"),
        ({"filter": {"name": "conv", "size": 3}}, "its filters make 6x4x3 of 6x8x7, which no 1x1 shortcut of stride 1 "
            'does; use a filter with padding = "same", and the option `stride` of the block'),
        ({"filter": {"name": "conv", "size": 5, "padding": 1}}, "its filters make 6x4x3 of 6x8x7, which no 1x1"),
    ],
)  # fmt: skip
def test_a_residual_block_that_cannot_be(registry: Registry, parts: dict[str, Any], reason: str) -> None:
    with pytest.raises(BuildError) as caught:
        block(registry, block="residual", **parts)
    start = f"test: network.features[0].block: residual does not fit its input of 6x8x7: {reason}"
    assert str(caught.value).startswith(start)


def test_a_filter_that_does_not_fit_is_named_before_the_block(registry: Registry) -> None:
    with pytest.raises(BuildError) as caught:
        block(registry, filter={"name": "conv", "size": 9}, block="residual")
    assert str(caught.value).startswith(
        "test: network.features[0].filter: conv(size=9) does not fit its input of 6x8x7"
    )


# Squeeze and excitation.


@pytest.mark.parametrize("inner", ["plain", "residual", {"name": "residual", "stride": 2}])
def test_squeeze_and_excitation_gates_another_block(registry: Registry, inner: Any) -> None:
    gated = block(registry, filters=12, block={"name": "squeeze_excitation", "inner": inner, "reduction": 3})
    mine, alone = module(gated).eval(), module(block(registry, filters=12, block=inner)).eval()
    copy(alone, mine.inner)
    gate = SqueezeExcitation(12, 4)
    copy(gate, mine.gate)
    y = alone(batch())
    torch.testing.assert_close(mine(batch()), gate(y))
    means = y.mean((2, 3), keepdim=True)
    weights = torch.sigmoid(mine.gate.fc2(F.relu(mine.gate.fc1(means))))
    torch.testing.assert_close(mine(batch()), y * weights, rtol=1e-5, atol=1e-6)
    row = gated.layers[-2]
    assert (row.path, row.description, row.parameters) == ("features.0.gate", "gate(4)", 12 * 4 + 4 + 4 * 12 + 12)
    assert row.flops == 2 * 2 * 12 * 4


def test_a_gate_squeezes_to_at_least_one_channel(registry: Registry) -> None:
    built = block(registry, filters=3, block={"name": "squeeze_excitation", "reduction": 16})
    assert module(built).gate.fc1.out_channels == 1


def test_gates_can_be_nested(registry: Registry) -> None:
    nested = {"name": "squeeze_excitation", "inner": {"name": "squeeze_excitation", "inner": "residual"}}
    built = block(registry, block=nested)
    assert [layer.path for layer in built.layers if "gate" in layer.path] == [
        "features.0.inner.gate",
        "features.0.gate",
    ]
    assert module(built)(batch()).shape == (4, CHANNELS, 8, 7)


# Plain.


def test_the_plain_block_is_its_parts_in_their_order(registry: Registry) -> None:
    order = ["activation", "filter", "normalization"]
    mine = module(block(registry, filters=10, order=order)).eval()
    assert [name for name, _ in mine.named_children()] == order
    x = batch()
    assert torch.equal(mine(x), mine.normalization(mine.filter(F.relu(x))))


def test_a_block_of_no_parts_passes_its_input_on(registry: Registry) -> None:
    assert torch.equal(module(block(registry, order=[]))(batch()), batch())
