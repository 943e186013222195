"""From a spec to a network: its structure, sizes and starting weights, and what is said when it cannot be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from distributions import Install
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from zoo.errors import BuildError, PluginError, SpecError, UnknownNameError
from zoo.network.builder import Built, build, construct
from zoo.registry import Registry, default_registry
from zoo.spec.resolve import resolve

CIFAR = (3, 32, 32)


def built(registry: Registry, name: str = "eq2425/default", *, seed: int = 0, **sets: Any) -> Built:
    """Build a registered spec for 3x32x32, with the given changes (`a__b` is the path a.b)."""
    changes = {path.replace("__", "."): value for path, value in sets.items()}
    spec = resolve({"base": name, "set": changes} if sets else name, registry=registry)
    return construct(spec, CIFAR, 10, seed=seed, registry=registry)


def network_of(registry: Registry, name: str = "eq2425/default", **sets: Any) -> Any:
    """The network itself, for tests that reach into it."""
    return built(registry, name, **sets).network


def by_hand() -> nn.Sequential:
    """The study's default network, written out."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(48, 96, 3),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(384, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    )


# Structure.

PRINTED = """\
Sequential(
  (features): Sequential(
    (0): Sequential(
      (filter): Conv2d(3, 24, kernel_size=(5, 5), stride=(1, 1))
      (activation): ReLU()
      (pooling): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    )
    (1): Sequential(
      (filter): Conv2d(24, 48, kernel_size=(3, 3), stride=(1, 1))
      (activation): ReLU()
      (pooling): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    )
    (2): Sequential(
      (filter): Conv2d(48, 96, kernel_size=(3, 3), stride=(1, 1))
      (pooling): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    )
  )
  (flatten): Flatten(start_dim=1, end_dim=-1)
  (classifier): Sequential(
    (0): Sequential(
      (linear): Linear(in_features=384, out_features=512, bias=True)
      (activation): ReLU()
    )
  )
  (output): Linear(in_features=512, out_features=10, bias=True)
)"""


def test_a_network_reads_like_its_spec(registry: Registry) -> None:
    assert str(built(registry).network) == PRINTED


def test_the_default_computes_what_the_network_written_by_hand_computes(registry: Registry) -> None:
    network, reference = network_of(registry), by_hand()
    with torch.no_grad():
        for mine, its in zip(network.parameters(), reference.parameters(), strict=True):
            its.copy_(mine)
    x = torch.randn(4, *CIFAR, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x), reference(x))


def test_sizes_parameters_and_flops_are_those_counted_by_hand(registry: Registry) -> None:
    default = built(registry)
    by_path = {layer.path: layer for layer in default.layers}
    convolutions = [(3, 24, 5, 28), (24, 48, 3, 12), (48, 96, 3, 4)]
    total = 0
    for index, (channels, filters, size, side) in enumerate(convolutions):
        layer = by_path[f"features.{index}.filter"]
        weights = channels * filters * size**2
        assert layer.output_shape == (filters, side, side)
        assert layer.parameters == weights + filters
        assert layer.flops == 2 * weights * side**2, "a multiply-add counts as two, and the bias does not count"
        total += layer.flops
    for path, inputs, units in (("classifier.0.linear", 384, 512), ("output", 512, 10)):
        assert by_path[path].parameters == inputs * units + units
        assert by_path[path].flops == 2 * inputs * units
        total += by_path[path].flops
    assert default.flops == total
    assert default.parameters == sum(p.numel() for p in by_hand().parameters())
    for layer, after in zip(default.layers, default.layers[1:], strict=False):
        assert after.input_shape in (layer.output_shape, (384,)), f"{after.path} is not given what {layer.path} makes"


def test_only_what_is_trained_counts_as_a_parameter(install: Install) -> None:
    text = "p = nn.Conv2d(shape[0], filters, 1); p.weight.requires_grad_(False); return p"
    frozen = built(single(install, filters=text), network__features__0__filter="mine")
    assert frozen.layers[0].parameters == 24
    assert frozen.parameters == sum(layer.parameters for layer in frozen.layers)


def test_the_order_of_parts_is_that_of_the_spec(registry: Registry) -> None:
    order = ["normalization", "activation", "filter", "dropout", "pooling"]
    network = network_of(registry, "eq2425/4e", network__features__1__order=order)
    assert list(dict(network.features[1].named_children())) == ["normalization", "activation", "filter", "pooling"]
    assert network.features[1].normalization.num_features == 24, "before the filter it has the filter's input"


def test_a_network_without_blocks_or_dense_layers(registry: Registry) -> None:
    network = network_of(registry, network__features=[], network__classifier=[])
    assert [name for name, _ in network.named_children()] == ["features", "flatten", "output"]
    assert network.output.in_features == 3 * 32 * 32
    assert network(torch.zeros(2, *CIFAR)).shape == (2, 10)


def test_build_takes_what_resolve_takes(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "eq2425/default"\n')
    for spec in ("eq2425/default", file, {"base": "eq2425/default"}, resolve("eq2425/default", registry=registry)):
        network = build(spec, CIFAR, 7, registry=registry)
        assert network(torch.zeros(2, *CIFAR)).shape == (2, 7)
        assert network.training, "a new network is in training mode"
    with pytest.raises(UnknownNameError):
        build("eq2425/defalt", CIFAR, 10)
    with pytest.raises(SpecError):
        build({"base": "eq2425/default", "set": {"filter.size": 0}}, CIFAR, 10)


# Starting weights.


@pytest.mark.parametrize("code", ["4a2", "4b", "4c", "4d", "4e", "5a"])
def test_layers_that_two_specs_share_start_equal(registry: Registry, code: str) -> None:
    default, changed = network_of(registry).state_dict(), network_of(registry, f"eq2425/{code}").state_dict()
    weights = [name.removesuffix(".weight") for name in default if name.endswith(".weight")]
    shared = [n for n in weights if changed.get(f"{n}.weight", torch.empty(0)).shape == default[f"{n}.weight"].shape]
    expected = {"4a2": weights[:-1], "4b": [weights[2], weights[4]]}.get(code, weights)
    assert shared == expected
    for name in (f"{layer}.{part}" for layer in shared for part in ("weight", "bias")):
        assert torch.equal(default[name], changed[name]), f"{name} starts otherwise than in the default"


def test_another_seed_gives_other_weights_and_the_same_seed_the_same(registry: Registry) -> None:
    first, again, other = (network_of(registry, seed=seed).state_dict() for seed in (0, 0, 1))
    for name, weight in first.items():
        assert torch.equal(weight, again[name]), name
        assert not torch.equal(weight, other[name]), name


def test_layers_of_one_shape_start_differently(registry: Registry) -> None:
    twice = network_of(registry, network__classifier=[{"units": 8}] * 3).classifier
    assert not torch.equal(twice[1].linear.weight, twice[2].linear.weight)


@pytest.mark.parametrize("name", ["eq2425/conclusion", "modern/residual", "starter/squeeze_excitation"])
def test_building_leaves_the_global_random_state_alone(registry: Registry, name: str) -> None:
    # The conclusion's dropout is active in evaluation: it draws even when its shape is tried.
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = network_of(registry, name).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    for key, weight in network_of(registry, name).state_dict().items():
        assert torch.equal(weight, first[key]), f"{key} depends on the global random state"


def test_trying_the_shapes_leaves_no_trace(registry: Registry) -> None:
    for name, buffer in built(registry, "eq2425/4e").network.named_buffers():
        expected = torch.ones_like(buffer) if name.endswith("var") else torch.zeros_like(buffer)
        assert torch.equal(buffer, expected), f"{name}: the running statistics have seen an image of zeros"


def test_an_initializer_fills_each_weight_with_numbers_of_its_own(registry: Registry) -> None:
    default = network_of(registry, "eq2425/4e").state_dict()
    filled = network_of(registry, "eq2425/4e", network__initializer="orthogonal")
    for name, weight in filled.state_dict().items():
        if weight.dim() < 2:
            assert torch.equal(weight, default[name]), f"{name} is no weight of a layer, and was changed"
            continue
        matrix = weight.flatten(1)
        product = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
        torch.testing.assert_close(product, torch.eye(len(product)), rtol=0, atol=1e-4, msg=f"{name} is not orthogonal")
    alike = network_of(registry, network__initializer="he", network__classifier=[{"units": 8}] * 3).classifier
    assert not torch.equal(alike[1].linear.weight, alike[2].linear.weight)


# What cannot be built.


def test_a_shape_that_shrinks_to_nothing_is_reported_with_layer_and_sizes(registry: Registry) -> None:
    with pytest.raises(BuildError) as caught:
        build("eq2425/default", (1, 8, 8), 10, registry=registry)
    text = str(caught.value)
    assert text.startswith("eq2425/default: network.features[1].filter: conv does not fit its input of 24x2x2: ")
    assert "3" in text.partition("24x2x2")[2], "it does not say how large the window is"


HEAD = "import torch\nfrom torch import nn\nfrom zoo import hookimpl\n"


def single(install: Install, **bodies: str) -> Registry:
    """A registry with a variant `mine` of each kind named, whose factory has the given body."""
    given = {"filters": "shape, filters", "blocks": "shape, parts", "initializers": "weight"}
    text = HEAD
    for kind, body in bodies.items():
        text += f"def {kind}({given.get(kind, 'shape')}):\n    {body}\n"
        text += f"@hookimpl\ndef zoo_register_{kind}(register): register('mine', {kind})\n"
    install("mine", {"mine.py": text}, "mine")
    return Registry().require_sound()


PLACE = "(unnamed): network.features[1].activation: mine"


@pytest.mark.parametrize(
    ("body", "error", "expected"),
    [
        ("raise ValueError('an  odd\\n map')", BuildError, f"{PLACE} does not fit its input of 48x12x12: an odd map"),
        ("raise RuntimeError('bad')", PluginError,
            f"{PLACE}: plugin mine (mine, FILE): its factory raised RuntimeError: bad"),
        ("return torch.zeros(2, 3)", PluginError, f"{PLACE}: plugin mine (mine, FILE) raised TypeError: its factory "
            "must return a torch.nn.Module, not a tensor of 2x3; what it computes on a batch belongs into the module's "
            "forward"),
        ("return nn.Conv2d(1, 1, 1)", BuildError, f"{PLACE} does not fit its input of 48x12x12: Given groups=1"),
        ("return nn.Flatten()", BuildError,
            f"{PLACE} does not fit its input of 48x12x12: it makes 1x6912 of a batch of 1x48x12x12"),
        ("return nn.Flatten(0, 1)", BuildError, f"{PLACE} does not fit its input of 48x12x12: it makes 48x12x12 of a"),
        ("return nn.ZeroPad2d(-6)", BuildError, f"{PLACE} does not fit its input of 48x12x12: nothing is left of it: "
            "48x0x0"),
        ("raise KeyError('oops')", PluginError, f"{PLACE}: plugin mine (mine, FILE) raised KeyError: 'oops'"),
        ("return shape.no_such", PluginError, f"{PLACE}: plugin mine (mine, FILE) raised AttributeError: "),
        ("import no_such_module", PluginError, f"{PLACE}: plugin mine (mine, FILE) raised ModuleNotFoundError: "),
        ("pass", PluginError, f"{PLACE}: plugin mine (mine, FILE) raised TypeError: its factory must return a "
            "torch.nn.Module, not None"),
        ("return nn.functional.relu", PluginError, f"{PLACE}: plugin mine (mine, FILE) raised TypeError: its factory "
            "must return a torch.nn.Module, not <function relu"),
        ("return nn.ReLU", PluginError, f"{PLACE}: plugin mine (mine, FILE) raised TypeError: its factory must return "
            "a torch.nn.Module, not the class ReLU: return ReLU(...)"),
        ("m = nn.Identity(); m.forward = lambda x: (x, x); return m", PluginError,
            f"{PLACE}: plugin mine (mine, FILE) raised TypeError: its forward must return one tensor, not tuple"),
        ("m = nn.Identity(); m.forward = lambda x: x.nowhere; return m", PluginError,
            f"{PLACE}: plugin mine (mine, FILE) raised AttributeError: 'Tensor' object has no attribute 'nowhere'"),
        ("class L(nn.Module): pass\n    return L()", PluginError,
            f"{PLACE}: plugin mine (mine, FILE) raised NotImplementedError: "),
    ],
)  # fmt: skip
def test_a_layer_that_cannot_be_built_is_reported_with_its_place(
    install: Install, tmp_path: Path, body: str, error: type[Exception], expected: str
) -> None:
    registry = single(install, activations=body)
    with pytest.raises(error) as caught:
        built(registry, network__features__1__activation="mine")
    assert str(caught.value).replace(str(tmp_path / "site/mine/mine.py"), "FILE").startswith(expected)


def test_a_faulty_layer_of_the_classifier_is_reported_with_its_place(install: Install) -> None:
    registry = single(install, dropouts="raise ValueError('only maps')")
    with pytest.raises(BuildError) as caught:
        built(registry, network__classifier__0__dropout="mine")
    assert str(caught.value) == (
        "(unnamed): network.classifier[0].dropout: mine does not fit its input of 512: only maps"
    )


def test_a_faulty_initializer_is_reported_with_the_weight(install: Install) -> None:
    registry = single(install, initializers="raise ValueError('too small')")
    with pytest.raises(BuildError) as caught:
        built(registry, network__initializer="mine")
    assert str(caught.value) == (
        "(unnamed): network.initializer: mine on features.0.filter.weight does not fit its input of 24x3x5x5: too small"
    )


def test_a_faulty_layer_in_a_nested_block_is_blamed_once(install: Install) -> None:
    registry = single(install, activations="raise KeyError('oops')")
    block = {"name": "squeeze_excitation", "inner": "residual"}
    with pytest.raises(PluginError) as caught:
        built(
            registry, network__features__1__block=block, network__features__1__activation="mine", filter__padding="same"
        )
    assert str(caught.value).startswith("(unnamed): network.features[1].activation: mine: plugin mine (mine, ")
    assert str(caught.value).endswith("raised KeyError: 'oops'")


def test_a_block_may_do_as_it_likes(install: Install) -> None:
    body = (
        "branch, after = parts.sequence(shape, ['filter'], at='a'); "
        "gate = nn.Conv2d(after[0], 1, 1); after = parts.note(gate, 'gate', after, at='gate'); "
        "return nn.Sequential(branch, gate)"
    )
    made = built(single(install, blocks=body), network__features__2__block="mine")
    assert [(layer.path, layer.output_shape) for layer in made.layers if "features.2" in layer.path] == [
        ("features.2.a.filter", (96, 4, 4)),
        ("features.2.gate", (1, 4, 4)),
    ]
    assert {layer.path: layer.input_shape for layer in made.layers}["classifier.0.linear"] == (16,)


def test_a_block_that_asks_for_an_option_that_the_filter_lacks(install: Install) -> None:
    registry = single(install, filters="return nn.Conv2d(shape[0], filters, 3, padding=1)")
    with pytest.raises(BuildError) as caught:
        built(registry, network__features__0={"filter": "mine", "block": "residual"})
    assert str(caught.value) == (
        "(unnamed): network.features[0].filter: this block needs a filter with the option 'stride'; mine has none"
    )


def test_a_lazy_layer_starts_from_its_own_stream(install: Install) -> None:
    registry = single(install, filters="return nn.LazyConv2d(filters, 3)")
    torch.manual_seed(0)
    first = network_of(registry, network__features__0__filter="mine")
    torch.manual_seed(1)
    again = network_of(registry, network__features__0__filter="mine")
    assert torch.equal(first.features[0].filter.weight, again.features[0].filter.weight)
    assert F.relu(first(torch.zeros(1, *CIFAR))).shape == (1, 10)


PROMISES = {
    "activation": ("lambda: Half()", "an? activation must keep the shape"),
    "normalization": ("lambda: Half()", "a normalization must keep the shape"),
    "pooling": ("lambda: Half()", "a pooling must keep the channels"),
    "filter": ("lambda: nn.Conv2d(1, 7, 3)", "a filter must give 24 channels"),
}


@pytest.mark.parametrize("kind", PROMISES)
def test_a_part_that_breaks_the_promise_of_its_kind_is_refused(tmp_path, kind):
    factory, message = PROMISES[kind]
    file = tmp_path / f"broken_{kind}.py"
    plural = {"filter": "filters", "pooling": "poolings"}.get(kind, f"{kind}s")
    file.write_text(
        "import zoo\nfrom torch import nn\n\n"
        "class Half(nn.Module):\n    def forward(self, x):\n        return x[:, : x.shape[1] // 2]\n\n"
        f"@zoo.hookimpl\ndef zoo_register_{plural}(register):\n    register('broken', {factory})\n"
    )
    registry = Registry(files=[file]).require_sound()
    spec = {"base": "starter/default", "set": {f"network.features.0.{kind}": {"name": "broken"}}}
    with pytest.raises(BuildError, match=message):
        build(spec, (1, 8, 8), 10, registry=registry)


@pytest.mark.parametrize("name", ["layer", "rms"])
def test_an_initializer_leaves_scale_and_offset_of_a_normalization(registry: Registry, name: str) -> None:
    sets = {"network.features.*.normalization": name, "network.initializer": "he"}
    network = build({"base": "eq2425/4e", "set": sets}, (3, 32, 32), 10, registry=registry)
    scale = network.get_submodule("features.0.normalization").weight
    assert scale.dim() > 1
    assert torch.equal(scale, torch.ones_like(scale))


FORGETFUL = '''
import zoo
from torch import nn


class Forgetful(nn.Module):
    def __init__(self, told, own):
        super().__init__()
        self.told, self.own = told, own

    def forward(self, x):
        return self.own(self.told(x))


def forgetful(shape, parts):
    """A block with a convolution that it does not tell of."""
    told, after = parts.sequence(shape)
    return Forgetful(told, nn.Conv2d(after[0], after[0], 3, padding=1, bias=False))


@zoo.hookimpl
def zoo_register_blocks(register):
    register("forgetful", forgetful)
'''


def test_what_a_block_does_not_tell_of_is_counted_and_shown_as_its_own(tmp_path: Path) -> None:
    (tmp_path / "forgetful.py").write_text(FORGETFUL, encoding="utf-8")
    own = Registry(files=[tmp_path / "forgetful.py"]).require_sound()
    tree = {"features": [{"filters": 4, "filter": {"name": "conv", "padding": "same"}, "block": "forgetful"}]}
    spec = resolve({"network": tree, "training": {"epochs": 1}, "data": {"dataset": "digits"}}, registry=own)
    built = construct(spec, (1, 8, 8), 10, seed=0, registry=own)
    with FlopCounterMode(display=False) as counter:
        built.network(torch.zeros(1, 1, 8, 8))
    assert built.flops == counter.get_total_flops()
    assert sum(layer.parameters for layer in built.layers) == built.parameters
    (rest,) = (layer for layer in built.layers if layer.is_rest)
    assert (rest.path, rest.description, rest.parameters, rest.flops) == ("features.0", "forgetful", 144, 18432)


@pytest.mark.parametrize("name", ["starter/residual", "starter/squeeze_excitation", "starter/default"])
def test_blocks_that_tell_of_all_have_no_rest(name: str) -> None:
    spec = resolve(name)
    built = construct(spec, (1, 8, 8), 10, seed=0, registry=default_registry())
    assert not any(layer.is_rest for layer in built.layers)
