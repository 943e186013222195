"""The small architectures: their sizes, what they refuse, and that the registered specs learn."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

import zoo
from zoo.network.builder import construct
from zoo.registry import Registry
from zoo.spec.resolve import resolve
from zoo_plugins._cifar_resnet import EverySecond

SLOW = "ZOO_SLOW" in os.environ


PUBLISHED = [("resnet20", 0.27e6), ("wide_resnet16_8", 11.0e6)]
if SLOW:
    PUBLISHED += [("resnet32", 0.46e6), ("resnet44", 0.66e6), ("resnet56", 0.85e6)]
    PUBLISHED += [("wide_resnet40_4", 8.9e6), ("wide_resnet28_10", 36.5e6)]


@pytest.mark.parametrize(("name", "published"), PUBLISHED)
def test_networks_for_cifar_are_as_large_as_published(registry: Registry, name: str, published: float) -> None:
    spec = resolve(f"cifar/{name}", registry=registry)
    assert spec.reference is not None
    assert spec.reference.test_recall is not None
    built = construct(spec, (3, 32, 32), 10, seed=0, registry=registry)
    assert built.parameters == pytest.approx(published, rel=0.02)


def test_the_shortcut_without_parameters_takes_every_second_place() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    made = EverySecond(1, 4)(x)
    assert made.shape == (1, 4, 2, 2)
    assert torch.equal(made[0, 1], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))
    assert not made[0, [0, 2, 3]].any()


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("cifar_resnet", {"depth": 21}, "depth = 21: it has 6n + 2 layers, so 8, 14, 20 and so on"),
        ("wide_resnet", {"depth": 4}, "depth = 4: it has 6n + 4 layers, so 10, 16, 22 and so on"),
        ("vgg", {"depth": 12}, "depth = 12: it has 11, 13, 16, 19 layers"),
        ("vit", {"patch": 3}, "patch = 3 does not divide images of 8x8"),
        ("vit", {"heads": 5}, "heads = 5 does not divide width = 192"),
        ("convnext", {"depths": (1,)}, "depths: it needs two blocks or more"),
        ("convnext", {"patch": 4}, "3 stages after patches of 4 leave nothing of images of 8x8"),
        ("mlp_mixer", {"patch": 3}, "patch = 3 does not divide images of 8x8"),
    ],
)
def test_what_does_not_fit_is_refused(registry: Registry, name: str, options: dict, text: str) -> None:
    variant = registry.variant("architecture", name)
    defaults = {field.name: field.default for field in variant.options.__attrs_attrs__}
    with pytest.raises(ValueError, match=re.escape(text)):
        variant.make({**defaults, **options}, input_shape=(1, 8, 8), classes=10)


@pytest.mark.parametrize("name", ["vgg", *(["resnet", "wide_resnet", "vit", "convnext", "mixer"] if SLOW else [])])
def test_a_small_network_learns_the_digits(name: str, tmp_path: Path) -> None:
    lab = zoo.Lab(tmp_path / "zoo.sqlite", device="cpu", jobs=1)
    table = lab.benchmark(f"small/{name}", seeds=1, epochs=5 if name == "vit" else 2)
    assert table.frame()["test_recall"].iloc[0] > 0.3
