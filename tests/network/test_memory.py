"""Networks that no machine has memory for: refused before the memory is taken."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from zoo import torch_settings
from zoo.errors import BuildError
from zoo.network import memory
from zoo.network.builder import construct
from zoo.network.memory import MemoryLimit, machine_memory
from zoo.registry import Registry
from zoo.spec.resolve import resolve

BASE = {"base": "starter/default"}


def test_the_memory_of_this_machine() -> None:
    assert 2**28 < machine_memory() < 2**50


@pytest.mark.parametrize(
    ("sets", "where"),
    [
        ({"units": 10**9}, "classifier.0.linear: linear(1000000000)"),
        ({"filters": 10**6}, "network.features[1].filter: conv(padding=same)"),
        ({"network.features.0.filter.size": 10**6 + 1}, "network.features[0].filter: conv(size=1000001, padding=same)"),
    ],
)
def test_huge_options_are_one_error_at_once(registry: Registry, sets: dict[str, int], where: str) -> None:
    spec = resolve({**BASE, "set": sets}, registry=registry)
    began = time.process_time()
    with pytest.raises(BuildError) as error:
        construct(spec, (1, 8, 8), 10, seed=0, registry=registry)
    assert str(error.value).startswith(f"(unnamed): {where} needs ")
    assert str(error.value).endswith(" GB in this machine: make it smaller")
    assert time.process_time() - began < 5


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of one megabyte."""
    monkeypatch.setattr(memory, "machine_memory", lambda: 1e6)


@pytest.mark.usefixtures("small")
def test_what_makes_much_out_of_little_is_refused_too() -> None:
    little = torch.zeros(1, 1, 100, 100)
    with MemoryLimit("it"), pytest.raises(BuildError):
        little.repeat(1, 100, 1, 1)
    with MemoryLimit("it"), pytest.raises(BuildError):
        nn.functional.conv2d(little, torch.zeros(100, 1, 1, 1))
    with MemoryLimit("it"), pytest.raises(BuildError):
        torch.eye(1000)


@pytest.mark.usefixtures("small")
def test_views_and_changes_in_place_take_nothing() -> None:
    tensor = torch.zeros(200_000)
    with MemoryLimit("it"):
        tensor.view(200, 1000).t().expand(100, 1000, 200)
        tensor.add_(1)


@pytest.mark.usefixtures("small")
def test_what_was_built_before_counts() -> None:
    with MemoryLimit("it") as limit:
        limit.hold(nn.Linear(300, 400))
        with pytest.raises(BuildError):
            nn.Linear(300, 500)


@pytest.mark.usefixtures("small")
def test_what_was_found_for_one_operation_is_not_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = memory._asked_bytes
    monkeypatch.setattr(memory, "_known", {})
    monkeypatch.setattr(memory, "_asked_bytes", lambda *arguments: asked.append(arguments) or original(*arguments))
    with MemoryLimit("it"):
        for _ in range(2):
            torch.full((600, 600), True)
        assert len(asked) == 1
        with pytest.raises(BuildError):
            torch.full((600, 600), 1.0)
        torch.full((600, 600), 1, dtype=torch.int8)

    assert len(asked) == 3


@pytest.mark.usefixtures("small")
def test_the_default_dtype_counts() -> None:
    with MemoryLimit("it"):
        torch.zeros(200_000)
        with torch_settings.kept():
            torch.set_default_dtype(torch.float64)
            with pytest.raises(BuildError):
                torch.zeros(200_000)


@pytest.mark.usefixtures("small")
def test_what_depends_on_values_is_done() -> None:
    with MemoryLimit("it"):
        assert torch.tensor([0, 3]).nonzero().tolist() == [[1]]
