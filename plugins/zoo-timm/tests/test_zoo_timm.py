"""timm's models and layers as zoo has them. With ZOO_SLOW set, each layer goes through all of zoo's checks."""

import os

import pytest
import timm
import timm.optim
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from zoo_timm import activations, blocks, filters, normalizations, optimizers
from zoo_timm.models import PREFIX, models

import zoo
import zoo.testing
from zoo.cli import main
from zoo.network.builder import construct
from zoo.network.layers import alike
from zoo.spec import structure
from zoo.train import streams

LAYERS_CHECKED = ("activations", "normalizations", "dropouts", "poolings", "filters", "blocks", "optimizers")


@zoo.testing.conformance("zoo_timm.losses")
def test_losses(check):
    check()


@zoo.testing.conformance("zoo_timm.schedules")
def test_schedules(check):
    check()


@pytest.mark.skipif("ZOO_SLOW" not in os.environ, reason="takes minutes; set ZOO_SLOW to run it")
@pytest.mark.parametrize("module", LAYERS_CHECKED)
def test_layers_pass_all_checks(module):
    ended = CliRunner().invoke(main, ["check", f"zoo_timm.{module}"])
    assert ended.exit_code == 0, ended.output


@pytest.fixture(scope="module")
def registry():
    return zoo.default_registry()


def spec(name, **network):
    tree = {"network": {"architecture": PREFIX + name, **network}, "training": {"epochs": 1},
            "data": {"dataset": "digits"}}  # fmt: skip
    return structure(tree, name, zoo.default_registry())


def built(name, shape=(3, 32, 32), **network):
    return construct(spec(name, **network), shape, 10, seed=0, registry=zoo.default_registry())


def test_all_models_are_registered_and_none_besides(registry):
    assert sorted(models()) == sorted(timm.list_models())
    assert {name for name in registry.variants("architecture") if name.startswith(PREFIX)} == {
        PREFIX + name for name in timm.list_models()
    }
    assert registry.variant("architecture", "timm_resnet18").description == "resnet18 of timm."


def test_optimizers_are_timm_s_less_those_of_other_packages():
    names = [name for name, _ in optimizers.optimizers()]
    left_out = set(timm.optim.list_optimizers()) - set(names)
    assert set(names) <= set(timm.optim.list_optimizers())
    assert left_out <= {*optimizers.LEFT_OUT, *(name for name in left_out if name.startswith(("bnb", "fused")))}


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnetv2_50x1_bit", "edgenext_xx_small"])
def test_parting_changes_no_bit(name):
    side = 64
    made = built(name, (3, side, side)).network
    with streams.seeded(0, "initialization", "architecture"):
        own = timm.create_model(name, num_classes=10)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    for training in (True, False):
        results = []
        for network in (made, own):
            with streams.seeded(1, "test"), torch.no_grad():
                results.append(network.train(training)(images))
        assert torch.equal(*results)


def test_activation_and_normalization_of_one_layer_are_replaced_apart():
    own = built("mobilenetv3_small_050", (3, 64, 64))
    for kind, variant, places in (("activation", "mish", 33), ("normalization", "batch", 34)):
        changed = built("mobilenetv3_small_050", (3, 64, 64), replace={kind: variant})
        assert len(changed.replaced) == places
        paths = tuple(f"{done.path}." for done in changed.replaced)
        before, after = own.network.state_dict(), changed.network.state_dict()
        assert all(alike(before[key], after[key]) for key in after if not key.startswith(paths))


def test_a_layer_that_cannot_be_parted_is_named():
    with pytest.raises(zoo.ZooError, match="is activation and normalization in one layer, which cannot be parted"):
        built("resnetv2_50d_evos", (3, 64, 64), replace={"activation": "mish"})


@pytest.mark.parametrize("channels", [1, 3])
def test_it_starts_from_a_file(tmp_path, channels):
    file = tmp_path / "w.safetensors"
    torch.manual_seed(3)
    own = timm.create_model("mobilenetv3_small_050", num_classes=7)
    save_file(own.state_dict(), file)
    made = built("mobilenetv3_small_050", (channels, 32, 32), weights=f"file:{file}")
    assert made.starting.left == ("classifier.weight", "classifier.bias")
    assert made.starting.adapted == (("conv_stem.weight",) if channels == 1 else ())
    stem = own.conv_stem.weight
    assert torch.equal(made.network.conv_stem.weight, stem.sum(1, keepdim=True) if channels == 1 else stem)
    assert torch.equal(made.network.bn1.norm.weight, own.bn1.weight)


def test_published_weights_are_timm_s_and_are_not_downloaded(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    told = registry.published_weights("timm_resnet18")
    assert {"a1_in1k", "tv_in1k"} <= set(told)
    assert told["a1_in1k"].url == "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    with pytest.raises(zoo.ZooError, match=r"there is no .*model.safetensors in .*, and zoo downloads no weights"):
        built("resnet18", weights="a1_in1k")


def test_sizes_and_options(registry):
    assert built("vit_tiny_patch16_224").parameters < built("vit_tiny_patch16_224", (3, 64, 64)).parameters
    with pytest.raises(zoo.ZooError, match=r"timm cannot make it with \{'global_pool': 'catavgmax'"):
        construct(spec_with(global_pool="catavgmax"), (3, 32, 32), 10, seed=0, registry=registry)


def spec_with(**options):
    tree = {"network": {"architecture": {"name": "timm_vit_tiny_patch16_224", **options}},
            "training": {"epochs": 1}, "data": {"dataset": "digits"}}  # fmt: skip
    return structure(tree, "options", zoo.default_registry())


LAYERS = [
    *(("activation", name) for name in activations.CLASSES),
    *(("normalization", name) for name in normalizations.CLASSES),
    *(("filter", name) for name in (*filters.CONVOLUTIONS, "conditional", "mixed", "selective_kernel",
                                    "split_attention")),
    *(("pooling", name) for name in ("blur", "same", "adaptive", "lse_plus")),
    *(("dropout", name) for name in ("drop_block", "drop_path")),
    *(("block", name) for name in blocks.ATTENTIONS),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), LAYERS)
def test_each_layer_is_built_in_a_network(registry, kind, name):
    first = {"filters": 8, "filter": {"name": "conv", "padding": "same"}}
    block = {"filters": 16, "filter": {"name": "conv", "padding": "same"}, kind: f"timm_{name}"}
    tree = {"network": {"features": [first, block]}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    network = construct(structure(tree, name, registry), (3, 16, 16), 10, seed=0, registry=registry).network
    network(torch.randn(2, 3, 16, 16)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(("progress", "factor"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_schedules_know_the_progress(registry, progress, factor):
    choice = registry.variant("schedule", "timm_cosine")
    made = choice.make({"final": 0.0, "cycles": 1, "cycle_decay": 1.0, "k_decay": 1.0}, progress=progress)
    assert made == pytest.approx(factor, abs=1e-6)
