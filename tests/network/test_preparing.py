"""Layers that are prepared with training images: once, in order, the same in every engine; and the whitening filter."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from small_runs import PLUGIN, figures, small
from tape import TapedTraining
from torch import nn

from zoo.errors import BuildError, PluginError, SpecError
from zoo.network.builder import build
from zoo.network.preparing import prepare, shown
from zoo.registry import Registry
from zoo.spec import structure
from zoo.spec.paths import apply
from zoo.train import streams
from zoo.train.checkpoint import restore, save
from zoo.train.engines.captured import CapturedTraining
from zoo.train.execute import dataset
from zoo.train.training import Training
from zoo_plugins.whitening import whitening

REGISTRY = Registry(files=[PLUGIN]).require_sound()
WHITENED = {
    "training.epochs": 3,
    "training.shuffle": True,
    "network.features.0.filters": 8,
    "network.features.0.filter": {"name": "whitening"},
}


def made(sets, kind=Training, precision="float64"):
    spec = small(REGISTRY, sets=sets)
    return kind(spec, 0, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY, precision=precision)


def airbench(images, epsilon):
    """The filters of airbench94's `init_whitening_conv`, in its own words."""
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).transpose(1, 3).reshape(-1, images.shape[1], 2, 2)
    flat = patches.reshape(len(patches), -1)
    values, vectors = torch.linalg.eigh((flat.T @ flat) / len(flat), UPLO="U")
    filters = vectors.T.reshape(-1, images.shape[1], 2, 2).flip(0)
    scaled = filters / torch.sqrt(values.flip(0).view(-1, 1, 1, 1) + epsilon)
    return torch.cat((scaled, -scaled))


def test_the_filters_are_those_of_airbench94():
    images = torch.randn(600, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = whitening((3, 8, 8), 24, epsilon=0.01).double()
    layer.prepare(images)
    expected = airbench(images, 0.01)
    # An eigenvector may be its negative; both are among the filters.
    sign = (layer.weight * expected).sum((1, 2, 3)).sign()
    torch.testing.assert_close(layer.weight, nn.Parameter(expected * sign[:, None, None, None], False))
    assert not layer.weight.requires_grad
    out = layer(images)[:, :12] - layer.bias[:12, None, None]
    moments = torch.einsum("bchw,bdhw->cd", out, out) / out[:, 0].numel()
    assert (moments - torch.diag(moments.diag())).abs().max() < 1e-12, "what it makes is white"
    assert ((moments.diag() > 0.9) & (moments.diag() < 1)).all()


@pytest.mark.parametrize(("filters", "sizes"), [(7, "7"), (26, "26")])
def test_a_number_of_filters_that_there_is_not_is_refused(filters, sizes):
    tree = {"network": {"features": [{"filters": filters, "filter": "whitening"}]}, "training": {"epochs": 1}}
    with pytest.raises(BuildError, match=f"it makes an even number of filters, 24 at most, and not {sizes}$"):
        build({**tree, "data": {"dataset": "digits"}}, (3, 8, 8), 10)


def test_in_a_run_it_is_measured_from_the_images_as_the_network_is_given_them():
    training = made(WHITENED)
    images = training.dataset.train.images
    order = torch.randperm(len(images), generator=streams.generator("cpu", 0, "preparation"))
    expected = airbench(images[order].double() / 255 - 0.5, 5e-4)
    weight = training.network.features[0].filter.weight
    sign = (weight * expected).sum((1, 2, 3)).sign()
    torch.testing.assert_close(weight.detach(), expected * sign[:, None, None, None], rtol=0, atol=1e-9)
    list(training.epochs())
    assert torch.equal(weight, training.network.features[0].filter.weight), "it is not trained"


LSUV = {"training.epochs": 3, "training.shuffle": True, "network.initializer": {"name": "lsuv", "tolerance": 1e-6}}


@pytest.mark.parametrize("sets", [WHITENED, LSUV, WHITENED | LSUV], ids=["layer", "initializer", "both"])
@pytest.mark.parametrize("engine", [partial(CapturedTraining, chain=2, warm_up=1), partial(TapedTraining, chain=2)])
def test_each_engine_and_a_checkpoint_give_the_same(engine, sets, tmp_path):
    one, other = made(sets, precision="fp32"), made(sets, engine, "fp32")
    records = []
    for record in one.epochs():
        records.append(record)
        if record.epoch == 2:
            save(tmp_path / "state.safetensors", one, records)
    assert figures(other.epochs()) == figures(records)
    resumed = made(sets, engine, "fp32")
    assert len(restore(tmp_path / "state.safetensors", resumed)) == 2
    assert figures(resumed.epochs(first=3)) == figures(records[2:])


class Centred(nn.Module):
    def __init__(self, calls):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.calls = calls

    def prepare(self, images):
        self.calls.append(images.mean().item())
        self.mean.copy_(images.mean() + 1)

    def forward(self, x):
        return x - self.mean


def test_layers_are_prepared_in_order_each_with_what_reaches_it():
    calls = []
    tail = nn.Linear(4, 2)
    network = nn.Sequential(Centred(calls), Centred(calls), tail)
    tail.forward = lambda x: pytest.fail("nothing is left to do behind the last of them")
    prepare(network, torch.full((3, 4), 5.0), "mine")
    assert calls == [5, -1]
    assert network.training


def test_a_layer_that_fails_or_is_never_reached_is_named():
    class Fails(nn.Identity):
        def prepare(self, images):
            raise KeyError("no")

    with pytest.raises(PluginError, match=r"^mine: 0 \(Fails\) cannot be prepared with training images: .*KeyError"):
        prepare(nn.Sequential(Fails()), torch.zeros(1, 2), "mine")

    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Centred([])

        def forward(self, x):
            return x

    with pytest.raises(PluginError, match=r"^mine: inner \(Centred\) has a method prepare, and no image reaches it$"):
        prepare(Unused(), torch.zeros(1, 2), "mine")


def test_an_initializer_measures_the_images_that_reach_each_layer():
    training = made(LSUV | {"network.features.0.activation": "tanh"})
    images = training.dataset.train.images
    order = torch.randperm(len(images), generator=streams.generator("cpu", 0, "preparation"))
    x = images[order].double() / 255 - 0.5
    built = build(training.spec, (1, 6, 6), 4, registry=REGISTRY).double()
    variances = []

    def note(module, given, made):
        variances.append(made.var().item())

    measured = [module for module in training.network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for module in measured:
        module.register_forward_hook(note)
    training.network.eval()(x)
    assert variances == pytest.approx([1, 1, 1], abs=1e-5)
    assert not any(module.bias.abs().sum() == 0 for module in measured), "biases are those of the layers"
    for own, other in zip(measured, (m for m in built.modules() if isinstance(m, nn.Conv2d | nn.Linear)), strict=True):
        rows = other.weight.detach().flatten(1)
        gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
        torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-5)
        scale = (own.weight / other.weight).detach()
        torch.testing.assert_close(scale, scale.flatten()[0].expand_as(scale), rtol=1e-4, atol=0, check_stride=False)


def test_an_initializer_within_another_measures_too():
    outer = {"name": "constant_at", "value": 0.25, "others": {"name": "lsuv", "tolerance": 1e-6}}
    training = made({"network.initializer": outer})
    first = training.network.features[0].filter
    assert (first.bias == 0.25).all()
    made_of = first(training.dataset.train.images.double() / 255 - 0.5)
    assert made_of.var().item() == pytest.approx(1, abs=1e-5)


def test_weights_that_no_image_reaches_by_themselves_are_filled_without():
    tree = {
        "network": {"architecture": {"name": "vit", "patch": 2, "depth": 1, "width": 8, "heads": 2}},
        "training": {"epochs": 1},
        "data": {"dataset": "squares"},
    }
    spec = structure(tree, "vit", REGISTRY)
    spec = apply(spec, {"network.initializer": "lsuv"}, REGISTRY)
    training = Training(spec, 0, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY)
    rows = [w.detach() for name, w in training.network.named_parameters() if name.endswith("out_proj.weight")]
    assert rows
    for each in rows:
        torch.testing.assert_close(each @ each.T, torch.eye(8), rtol=0, atol=1e-5)


REFUSING = """
import zoo


def refusing(weight, images):
    if images is not None:
        raise ValueError("these images are too few")


@zoo.hookimpl
def zoo_register_initializers(register):
    register("refusing", refusing)
"""


def test_an_initializer_that_refuses_images_is_named(tmp_path):
    file = tmp_path / "refusing.py"
    file.write_text(REFUSING, encoding="utf-8")
    registry = Registry(files=[PLUGIN, file]).require_sound()
    spec = small(registry, sets={"network.initializer": "refusing"})
    with pytest.raises(BuildError) as error:
        Training(spec, 0, dataset(spec, registry, "cpu"), device="cpu", registry=registry)
    assert str(error.value) == (
        "small: network.initializer: refusing on features.0.filter.weight does not fit its input of 3x1x3x3: these "
        "images are too few"
    )


def test_of_large_images_fewer_are_shown():
    assert shown(torch.empty(6000, 3, 32, 32, device="meta")) == 5000
    assert shown(torch.empty(6000, 3, 224, 224, device="meta")) == 445
    assert shown(torch.empty(20, 3, 224, 224, device="meta")) == 20


def test_the_output_layer_without_bias_and_scaled():
    plain, scaled = made({}), made({"network.output": {"bias": False, "scale": 0.25}})
    output = scaled.network.output
    assert output.bias is None
    assert torch.equal(output.weight, plain.network.output.weight), "one seed, one weight"
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(output(x), 0.25 * x @ output.weight.T)
    assert plain.parameters - scaled.parameters == 4
    assert plain.flops == scaled.flops
    with pytest.raises(SpecError, match=r"network.output: only of blocks; an architecture makes its own logits$"):
        build(
            {
                "network": {"architecture": "cifar_resnet", "output": {"bias": False}},
                "training": {"epochs": 1},
                "data": {"dataset": "digits"},
            },
            (3, 32, 32),
            10,
        )
