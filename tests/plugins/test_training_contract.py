"""What every registered initializer, optimizer, schedule, loss, augmentation and block must do, whoever registered it.

Each test runs over all variants of its kind with their default options; a new plugin is covered by being installed.
"""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from zoo.errors import SpecError
from zoo.registry import default_registry
from zoo.spec import read_as, structure, unstructure
from zoo.spec.resolve import resolve
from zoo.testing import fitting
from zoo.testing.subject import VariantSubject
from zoo.train import streams

KINDS = ("block", "initializer", "optimizer", "schedule", "loss", "augmentation")
REGISTRY = default_registry()
PLACES = {
    "block": ("network", "features", 0, "block"),
    "initializer": ("network", "initializer"),
    "optimizer": ("training", "optimizer"),
    "schedule": ("training", "schedule"),
    "loss": ("training", "loss"),
    "augmentation": ("training", "augmentation", 0),
}


def label(variant):
    return f"{variant.kind} {variant.name}"


def each(*kinds):
    variants = [variant for kind in kinds for variant in REGISTRY.variants(kind).values()]
    return pytest.mark.parametrize("variant", variants, ids=label)


def make(variant, **supplied):
    defaults = attrs.asdict(read_as(variant.options, {}, label(variant), REGISTRY), recurse=False)
    return variant.make(defaults, **supplied)


def spec_with(variant, options):
    """Return starter/default as plain data, with the variant in its place."""
    tree = unstructure(resolve("starter/default"))
    tree["training"]["augmentation"] = ["none"]
    node = tree
    *steps, last = PLACES[variant.kind]
    for step in steps:
        node = node[step]
    node[last] = {"name": variant.name, **options}
    return tree


@each(*KINDS)
def test_the_description_is_one_sentence(variant):
    assert variant.description.endswith("."), (
        f"{label(variant)}: the first line of the factory's docstring is {variant.description!r}; `zoo list` shows it, "
        "so it must be a sentence that ends in a period"
    )


@each(*KINDS)
def test_options_are_validated_when_a_spec_is_read(variant):
    assert structure(spec_with(variant, {}), "contract", REGISTRY), f"{label(variant)}: its defaults are not valid"
    with pytest.raises(SpecError, match="unknown option 'no_such_option'"):
        structure(spec_with(variant, {"no_such_option": 1}), "contract", REGISTRY)
    for option in attrs.fields(variant.options):
        with pytest.raises(SpecError) as caught:
            structure(spec_with(variant, {option.name: {"a": "table"}}), "contract", REGISTRY)
        assert option.name in str(caught.value), f"{label(variant)}: the error does not name {option.name!r}"


@each("block")
def test_a_block_in_a_network_learns_and_keeps_its_figures_over_a_state_dict(variant):
    from zoo.network.builder import construct

    spec = structure(spec_with(variant, {}), "contract", REGISTRY)
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network, twin, other = (construct(spec, (1, 8, 8), 10, seed=seed, registry=REGISTRY).network for seed in (0, 0, 1))
    logits = network(images)
    assert logits.shape == (8, 10)
    assert torch.equal(logits, twin(images)), f"{label(variant)}: the same seed built another network"
    logits.sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{label(variant)}: no gradient reaches {name}"
        assert parameter.grad.isfinite().all(), f"{label(variant)}: the gradient of {name} is not finite"
    other.load_state_dict(network.state_dict())
    assert torch.equal(other.eval()(images), network.eval()(images)), (
        f"{label(variant)}: its state_dict does not hold all that decides its output"
    )


@each("initializer")
@pytest.mark.parametrize("shape", [(16, 8), (16, 8, 3, 3), (8, 1, 1, 1)], ids=str)
def test_an_initializer_fills_in_place_and_draws_from_the_global_generator(variant, shape):
    def initialized():
        weight = torch.nn.Parameter(torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape))
        with streams.seeded(0, "test"), torch.no_grad():
            given = {"module": torch.nn.Module(), "name": "filter.weight", "role": "filter", "images": None}
            result = make(variant, weight=weight, **given)
        assert result is None or result is weight, f"{label(variant)}: it must fill the weight that it is given"
        return weight

    first, second = initialized(), initialized()
    assert first.shape == shape
    assert first.isfinite().all(), f"{label(variant)}: it made a weight that is not finite"
    assert torch.equal(first, second), f"{label(variant)}: the same stream gave other values"


@each("optimizer")
@pytest.mark.parametrize(
    "check",
    [fitting.learning_rate, fitting.lowers_loss, fitting.groups_kept, fitting.state_stored],
    ids=lambda check: check.__name__,
)
def test_an_optimizer_keeps_what_is_promised(variant, check):
    check(VariantSubject(variant, REGISTRY))


@each("schedule")
def test_a_schedule_is_a_pure_function_from_zero_to_one(variant):
    factors = [
        make(variant, progress=progress, validation=(0.5, 0.4), steps=100)
        for progress in np.linspace(0, 1, 101).tolist()
    ]
    assert all(isinstance(factor, float) for factor in factors), f"{label(variant)}: a factor is a Python float"
    assert all(0 <= factor <= 1 for factor in factors), f"{label(variant)}: a factor lies from 0 to 1"
    assert max(factors) > 0, f"{label(variant)}: nothing would be learned"
    assert factors == [
        make(variant, progress=progress, validation=(0.5, 0.4), steps=100)
        for progress in np.linspace(0, 1, 101).tolist()
    ]


@each("loss")
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4], ids=["zero", "usual", "huge"])
def test_a_loss_is_a_finite_scalar_that_prefers_the_true_class(variant, scale):
    labels = torch.tensor([0, 1, 2, 3])
    right = torch.eye(4) * scale
    logits = right.clone().requires_grad_()
    given = {"labels": labels, "class_sizes": torch.ones(4)}
    loss = make(variant, logits=logits, views=torch.stack([logits, logits * 0.5]), **given)
    assert loss.shape == ()
    assert loss.isfinite(), f"{label(variant)}: {loss} for logits of {scale}"
    loss.backward()
    assert logits.grad.isfinite().all(), f"{label(variant)}: the gradient is not finite for logits of {scale}"
    if scale:
        wrong = make(variant, logits=right.roll(1, dims=1), views=right.roll(1, dims=1).expand(2, -1, -1), **given)
        assert loss < wrong, f"{label(variant)}: wrong logits cost less ({wrong}) than right ones ({loss})"


def augmented(variant, images):
    supplied = {"labels": torch.eye(4)[torch.arange(len(images)) % 4], "indices": torch.arange(len(images))}
    generator = streams.generator("cpu", 0, "augmentation")
    made = make(variant, images=images, generator=generator, epoch=torch.tensor(1), **supplied)
    return made[0] if isinstance(made, tuple) else made


@each("augmentation")
@pytest.mark.parametrize("shape", [(16, 3, 32, 32), (16, 1, 8, 8)], ids=str)
def test_an_augmentation_keeps_the_form_of_its_input_and_draws_only_from_its_generator(variant, shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    given = images.clone()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    try:
        first, second = (augmented(variant, images) for _ in range(2))
    except ValueError:
        assert shape == (16, 1, 8, 8), f"{label(variant)}: its defaults must fit images of 32x32"
        return
    assert first.shape == images.shape
    assert first.dtype == images.dtype
    assert ((first >= 0) & (first <= 1)).all(), f"{label(variant)}: pixels left the range from 0 to 1"
    assert torch.equal(images, given), f"{label(variant)}: it changed its input, which evaluation may still need"
    assert torch.equal(first, second), f"{label(variant)}: the same generator gave other images"
    assert torch.equal(torch.get_rng_state(), before), f"{label(variant)}: it drew from the global generator"
