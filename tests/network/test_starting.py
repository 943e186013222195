"""Starting from weights of a file: what is loaded, what is left, what is said of it, and what is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

import zoo
from zoo.errors import BuildError, PluginError, SpecError
from zoo.execution.cluster.trainer import Setup, Trainer
from zoo.network.builder import construct
from zoo.network.proof import prove
from zoo.registry import Registry
from zoo.spec import Spec, structure, unstructure
from zoo.spec.paths import apply
from zoo.train.run import Run, RunKey
from zoo_plugins._torchvision_weights import published, read

SMALL = (1, 8, 8)
PLUGIN = """
from functools import partial
from pathlib import Path
import torch
from torch import nn
import zoo


class Net(nn.Module):
    def __init__(self, channels, classes, width):
        super().__init__()
        self.first, self.norm, self.act = nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU()
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.act(self.norm(self.first(x))).mean((2, 3)))


def plain(input_shape, classes, *, width: int = 6):
    '''A small network.'''
    return Net(input_shape[0], classes, width)


def fitted(input_shape, classes, load, *, how: str = "sound"):
    '''One that is fitted to images in shades of grey.'''
    net = Net(3, classes, 6)
    if load is not None and how != "forgets":
        load(net)
    net.first.weight = nn.Parameter(net.first.weight.detach().sum(1, keepdim=True))
    return net


def moved(input_shape, classes, load):
    '''One that puts layers elsewhere after it has loaded them.'''
    net = Net(input_shape[0], classes, 6)
    if load is not None:
        load(net)
    net.norm = nn.Sequential(net.norm, nn.Identity())
    return net


def lazy(input_shape, classes):
    '''One whose sizes are known when it is used.'''
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(classes))


def known(name):
    if name == "raises":
        raise RuntimeError("no idea")
    if name == "wrong":
        return {"A": "a.pth"}
    file = Path(__file__).with_name(f"{name}.pt")
    reads = lambda path: torch.load(path, weights_only=True)
    return {"A": zoo.PublishedWeights(file, "https://example.org/a.pt", reads, "00" if name == "damaged" else "")}


@zoo.hookimpl
def zoo_register_architectures(register):
    register("plain", plain)
    register("fitted", fitted, weights=partial(known, "fitted"))
    register("lazy", lazy)
    register("moved", moved)
    for name in ("raises", "wrong", "damaged"):
        register(name, partial_of(name), weights=partial(known, name))


def partial_of(name):
    def made(input_shape, classes):
        '''The same.'''
        return Net(input_shape[0], classes, 6)
    return made
"""
NAMES = models.list_models(module=models)
FEW = ["squeezenet1_1", "googlenet"]
"""One whose output layer is a convolution, and one with auxiliary outputs."""
each_model = pytest.mark.parametrize("name", NAMES if "ZOO_SLOW" in os.environ else FEW)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("starting")


@pytest.fixture(scope="module")
def registry(folder: Path) -> Registry:
    (folder / "starting_plugin.py").write_text(PLUGIN)
    return Registry(files=[folder / "starting_plugin.py"]).require_sound()


@pytest.fixture
def file(registry: Registry, tmp_path: Path) -> Path:
    """Weights of the plain network for 4 classes."""
    return saved(tmp_path / "plain.safetensors", registry.variant("architecture", "plain").make({}, **images(4)))


def images(classes: int, channels: int = 1) -> dict[str, Any]:
    return {"input_shape": (channels, 8, 8), "classes": classes, "load": None}


def saved(path: Path, network: nn.Module, **others: torch.Tensor) -> Path:
    generator = torch.Generator().manual_seed(5)
    tensors = {**network.state_dict(), **others}
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    save_file(tensors, path)
    return path


def spec(registry: Registry, architecture: Any, weights: Any, name: str = "net", **network: Any) -> Spec:
    tree = {"network": {"architecture": architecture, "weights": weights, **network}, "training": {"epochs": 1},
            "data": {"dataset": "digits"}}  # fmt: skip
    return structure(tree, name, registry)


def test_all_but_the_output_layer_for_other_classes_starts_equal(registry: Registry, file: Path) -> None:
    built = construct(spec(registry, "plain", f"file:{file}"), SMALL, 10, seed=0, registry=registry)
    drawn = construct(spec(registry, "plain", "none"), SMALL, 10, seed=0, registry=registry).network.state_dict()
    stored = load_file(file)
    for name, tensor in built.network.state_dict().items():
        assert torch.equal(tensor, (drawn if name.startswith("head") else stored)[name]), name
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    assert str(built.starting) == (
        f"file:{file} (SHA-256 {digest}), 7 tensors; not loaded, for another number of classes: head.weight, head.bias"
    )
    same = construct(spec(registry, "plain", f"file:{file}"), SMALL, 4, seed=0, registry=registry)
    assert same.starting is not None
    assert (len(same.starting.equal), same.starting.left, same.starting.adapted) == (9, (), ())


def test_replaced_layers_start_as_variants_do(registry: Registry, file: Path) -> None:
    given = {"activation": "prelu", "normalization": {"name": "group", "groups": 2}}
    without = spec(registry, "plain", "none", replace=given)
    built, drawn = (
        construct(each, SMALL, 4, seed=0, registry=registry).network.state_dict()
        for each in (spec(registry, "plain", f"file:{file}", replace=given), without)
    )
    stored = load_file(file)
    assert {name.partition(".")[0] for name in built} == {"first", "norm", "act", "head"}
    for name, tensor in built.items():
        replaced = name.startswith(("norm", "act"))
        assert torch.equal(tensor, (drawn if replaced else stored)[name]), name


def test_an_architecture_that_fits_layers_to_the_images_loads_before(registry: Registry, tmp_path: Path) -> None:
    network = registry.variant("architecture", "plain").make({}, **images(10, channels=3))
    file = saved(tmp_path / "colour.safetensors", network)
    built = construct(spec(registry, "fitted", f"file:{file}"), SMALL, 10, seed=0, registry=registry)
    assert torch.equal(built.network.first.weight, load_file(file)["first.weight"].sum(1, keepdim=True))
    assert built.starting is not None
    assert built.starting.adapted == ("first.weight",)
    assert str(built.starting).endswith("8 tensors; adapted to the images: first.weight")
    forgets = spec(registry, {"name": "fitted", "how": "forgets"}, f"file:{file}")
    with pytest.raises(PluginError, match="the architecture's factory asked for `load`, and did not call it"):
        construct(forgets, SMALL, 10, seed=0, registry=registry)


def test_layers_that_were_put_elsewhere_are_the_file_s_still(registry: Registry, file: Path) -> None:
    built = construct(spec(registry, "moved", f"file:{file}"), SMALL, 4, seed=0, registry=registry)
    assert built.starting is not None
    assert "norm.0.running_var" in built.starting.equal
    assert (len(built.starting.equal), built.starting.adapted) == (9, ())


def test_layers_whose_sizes_are_known_when_they_are_used(registry: Registry, tmp_path: Path) -> None:
    network = construct(spec(registry, "lazy", "none"), SMALL, 10, seed=1, registry=registry).network
    file = saved(tmp_path / "lazy.safetensors", network)
    built = construct(spec(registry, "lazy", f"file:{file}"), SMALL, 10, seed=0, registry=registry)
    assert built.starting is not None
    assert len(built.starting.equal) == 4


def test_the_key_is_of_the_content_and_not_of_the_path(registry: Registry, file: Path, tmp_path: Path) -> None:
    one = spec(registry, "plain", f"file:{file}")
    moved = file.rename(tmp_path / "moved.safetensors")
    other = spec(registry, "plain", f"file:{moved}")
    assert one != other
    assert one.identity == other.identity != spec(registry, "plain", "none").identity
    assert structure(unstructure(other), "net", registry) == other
    saved(moved, registry.variant("architecture", "plain").make({"width": 5}, **images(4)))
    assert structure(unstructure(other), "net", registry) == other, "what is stored keeps what it was trained with"
    assert apply(one, {"weights": f"file:{moved}"}, registry).identity != other.identity
    with pytest.raises(BuildError, match="is not the file that the spec was read with: the SHA-256 of its content is"):
        construct(other, SMALL, 4, seed=0, registry=registry)


def test_published_weights_of_another_architecture_are_looked_for_anew(registry: Registry, folder: Path) -> None:
    torch.save({}, folder / "fitted.pt")
    published_ones = spec(registry, "fitted", "A")
    assert published_ones.network.weights is not None
    assert published_ones.network.weights.digest
    (folder / "fitted.pt").unlink()
    assert apply(published_ones, {"training.epochs": 2}, registry).network.weights == published_ones.network.weights
    absent = apply(published_ones, {"architecture.how": "other"}, registry)
    assert absent.network.weights == attrs.evolve(published_ones.network.weights, digest=None)


def _plain(registry: Registry, **options: int) -> nn.Module:
    return registry.variant("architecture", "plain").make(options, **images(4))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda registry, file: saved(file, _plain(registry, width=5)),
            "does not fit the architecture: first.weight is 5x1x3x3 in it and 6x1x3x3 in the network, first.bias is 5 "
            "in it and 6 in the network, norm.weight is 5 in it and 6 in the network and 4 more",
        ),
        (
            lambda registry, file: saved(file, nn.Sequential(nn.Linear(2, 2))),
            "does not fit the architecture: it has no first.weight, first.bias, norm.weight and 5 more; the network "
            "has no 0.bias, 0.weight",
        ),
        (
            lambda registry, file: saved(file, _plain(registry), more=torch.zeros(2)),
            "does not fit the architecture: the network has no more",
        ),
        (lambda registry, file: file.write_bytes(b"none"), "is no safetensors file, or it is damaged: "),
        (lambda registry, file: file.unlink(missing_ok=True), "there is no file FILE"),
    ],
)
def test_what_does_not_fit_is_said_in_one_message(
    registry: Registry, tmp_path: Path, make: Callable[[Registry, Path], Any], text: str
) -> None:
    file = tmp_path / "w.safetensors"
    make(registry, file)
    with pytest.raises(BuildError) as caught:
        construct(spec(registry, "plain", f"file:{file}"), SMALL, 4, seed=0, registry=registry)
    assert str(caught.value).startswith(f"net: network.weights: file:{file}")
    assert text.replace("FILE", str(file)) in str(caught.value)


def test_an_initializer_beside_them_is_refused(registry: Registry, file: Path) -> None:
    with pytest.raises(BuildError) as caught:
        construct(spec(registry, "plain", f"file:{file}", initializer="he"), SMALL, 4, seed=0, registry=registry)
    assert str(caught.value) == (
        "net: network.initializer: he would fill what network.weights takes from a file; leave out one of the two"
    )


@pytest.mark.parametrize(
    ("architecture", "weights", "text"),
    [
        ("plain", 5, 'network.weights: expected "file:PATH", the name of published weights, or "none", got 5'),
        (
            "plain",
            "A",
            "spec 'net': network.weights: plain has no weights 'A'. It has none; file:PATH starts from a safetensors "
            "file",
        ),
        (
            "fitted",
            "AB",
            "spec 'net': network.weights: fitted has no weights 'AB'; did you mean A? It has A; file:PATH starts from "
            "a safetensors file",
        ),
        ("raises", "A", "what tells the weights of raises raised RuntimeError: no idea"),
        ("wrong", "A", "what tells the weights of wrong must return a mapping from names to zoo.PublishedWeights, not"),
        (None, "A", "spec 'net': network.weights: only an architecture starts from weights of a file"),
    ],
)  # fmt: skip
def test_names_that_are_none(registry: Registry, architecture: str | None, weights: object, text: str) -> None:
    with pytest.raises(zoo.ZooError) as caught:
        spec(registry, architecture, weights, **({} if architecture else {"features": []}))
    assert text in str(caught.value)


def test_published_weights_that_are_not_there_or_damaged(registry: Registry, folder: Path) -> None:
    with pytest.raises(BuildError) as caught:
        construct(spec(registry, "fitted", "A"), SMALL, 4, seed=0, registry=registry)
    assert str(caught.value) == (
        f"net: network.weights: A: there is no fitted.pt in {folder}, and zoo downloads no weights: get it from "
        "https://example.org/a.pt and put it there"
    )
    torch.save({}, folder / "damaged.pt")
    with pytest.raises(BuildError, match=r"damaged.pt is damaged: its SHA-256 begins with \w\w, and that of what is"):
        construct(spec(registry, "damaged", "A"), SMALL, 4, seed=0, registry=registry)
    (folder / "fitted.pt").write_bytes(b"pickled?")
    try:
        with pytest.raises(BuildError, match=r"fitted.pt cannot be read: \w+Error: "):
            construct(spec(registry, "fitted", "A"), SMALL, 4, seed=0, registry=registry)
    finally:
        (folder / "fitted.pt").unlink()


def test_only_architectures_have_weights(tmp_path: Path) -> None:
    file = tmp_path / "odd_plugin.py"
    file.write_text("import zoo\n\n@zoo.hookimpl\ndef zoo_register_filters(register):\n"
                    "    register('odd', lambda: None, weights=dict)\n")  # fmt: skip
    with pytest.raises(PluginError, match="filter 'odd': only an architecture has weights"):
        Registry(files=[file]).require_sound()


def test_the_change_proof_says_what_it_starts_from(registry: Registry, file: Path, tmp_path: Path) -> None:
    base = spec(registry, "plain", "none")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    def lines(base: Spec, **sets: str) -> tuple[str, ...]:
        return prove(base, apply(base, sets, registry), sets, input_shape=SMALL, classes=10, registry=registry)

    assert lines(base, weights=f"file:{file}") == (
        f"~ starting weights: none -> file:{file}",
        f"  now file:{file} (SHA-256 {digest[:12]}), 7 tensors; not loaded, for another number of classes: "
        "head.weight, head.bias",
    )
    started = apply(base, {"weights": f"file:{file}"}, registry)
    assert lines(started, activation="mish")[-1] == "  and 9 tensors elsewhere start equal"
    assert lines(started, weights="none")[0] == f"~ starting weights: file:{file} -> none"
    other = saved(tmp_path / "other.safetensors", _plain(registry), **{})
    assert lines(started, weights=f"file:{other}")[0] == f"~ starting weights: file:{file} -> file:{other}"


def test_a_worker_on_another_machine_must_have_the_file(registry: Registry, file: Path) -> None:
    trained = spec(registry, "plain", f"file:{file}")
    file.unlink()
    worker = object.__new__(Trainer)
    worker._registry = registry
    worker._setup = Setup.__new__(Setup)
    run = Run(RunKey(trained.identity, 0, "", zoo.registry.source.source_digest(trained, registry), "fp32"), "net",
              unstructure(trained), "digits")  # fmt: skip
    with pytest.raises(BuildError, match="there is no file"):
        worker._spec(run)


@each_model
def test_torchvision_models_start_equal_outside_replaced_places(registry: Registry, tmp_path: Path, name: str) -> None:
    options = {"aux_logits": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    file = saved(tmp_path / "w.safetensors", models.get_model(name, weights=None, num_classes=20, **options))
    stored = load_file(file)
    given = spec(registry, name, f"file:{file}", replace={"activation": "prelu"})
    side = 96 if name == "inception_v3" else 224 if name.startswith(("maxvit", "vit")) else 64
    built = construct(given, (3, side, side), 10, seed=0, registry=registry)
    assert built.starting is not None
    assert not built.starting.adapted
    places = tuple(f"{place}." for done in built.replaced for place in (done.path, done.origin) if place)
    assert built.starting.left
    outputs = {name.rpartition(".")[0] for name in built.starting.left}
    assert len(outputs) == 1
    for key, tensor in built.network.state_dict().items():
        if not key.startswith((*places, *outputs)):
            assert torch.equal(tensor, stored[key]), key


def test_published_files_of_torchvision(tmp_path: Path) -> None:
    found = {f"{name}.{key}": weights for name in NAMES for key, weights in published(name).items()}
    assert len(found) >= len(NAMES)
    resnet = found["resnet18.IMAGENET1K_V1"]
    assert resnet.url == "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert resnet.file == Path(torch.hub.get_dir(), "checkpoints", "resnet18-f37072fd.pth")
    assert resnet.sha256 == "f37072fd"
    assert all(weights.sha256 for weights in found.values())
    old = (
        "features.denseblock1.denselayer1.norm.1.weight",
        "features.denseblock1.denselayer1.conv.2.weight",
        "encoder.layers.encoder_layer_0.mlp.linear_1.bias",
        "encoder.layers.encoder_layer_0.mlp.linear_2.bias",
        "x.weight",
    )
    torch.save(dict.fromkeys(old, torch.zeros(1)), tmp_path / "old.pth")
    assert set(read(tmp_path / "old.pth")) == {
        "features.denseblock1.denselayer1.norm1.weight",
        "features.denseblock1.denselayer1.conv2.weight",
        "encoder.layers.encoder_layer_0.mlp.0.bias",
        "encoder.layers.encoder_layer_0.mlp.3.bias",
        "x.weight",
    }


def test_a_digest_that_the_spec_states_is_kept_to(registry: Registry, file: Path) -> None:
    pinned = {"source": f"file:{file}", "digest": "0" * 64}
    with pytest.raises(BuildError, match="and was 000000000000"):
        construct(spec(registry, "plain", pinned), SMALL, 4, seed=0, registry=registry)
    with pytest.raises(SpecError, match=r"network\.weights"):
        spec(registry, "plain", {"digest": "0" * 64})
