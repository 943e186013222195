"""Half precision is for all of a network but what stays in float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.network.half import halve
from zoo.registry import Registry


@pytest.fixture(scope="module")
def registry():
    return Registry()


class Careful(nn.Module):
    """Computes in float32, whatever it is given."""

    stays_in_float32 = True

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x, *, scale):
        assert {x.dtype, scale.dtype, self.inner.weight.dtype} == {torch.float32}
        return self.inner(x) * scale


class Mine(nn.Module):
    """A normalization that only its block knows of."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return x * self.weight


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.careful = nn.Linear(4, 4), nn.LayerNorm(4), Careful()
        self.block = nn.ModuleDict({"normalization": Mine()})
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x):
        return self.block["normalization"](self.careful(self.norm(self.first(x)), scale=self.scale))


def test_what_stays_and_what_does_not(registry):
    network = Network()
    before = dict(network.named_parameters())
    undo = halve(network, registry)
    after = dict(network.named_parameters())
    assert {name for name, weight in after.items() if weight.dtype == torch.float16} == {"first.weight", "first.bias"}
    assert {name for name, weight in after.items() if weight.dtype == torch.float32} == {
        "norm.weight", "norm.bias", "careful.inner.weight", "careful.inner.bias", "block.normalization.weight",
    }  # fmt: skip
    assert all(after[name] is weight for name, weight in before.items())
    assert (network.scale.dtype, network.count.dtype) == (torch.float16, torch.int64)
    x = torch.randn(3, 4)
    made = network(x.half())
    assert made.dtype == torch.float16
    made.float().sum().backward()
    assert all(weight.grad.dtype == weight.dtype for weight in after.values())
    undo()
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    single = network(x)
    assert single.dtype == torch.float32
    assert torch.allclose(single, made.float(), atol=1e-2)
