"""Steps as the best recipes make them, against loops by hand with torch alone, in float64."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from small_runs import PLUGIN, figures, small
from torch import nn
from torch.nn import functional as F

from zoo.data import Dataset, Split
from zoo.errors import BuildError
from zoo.network.builder import build
from zoo.network.roles import roles
from zoo.registry import Registry
from zoo.registry.source import plugins_used
from zoo.train import streams
from zoo.train.checkpoint import restore, save
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.gate import gate
from zoo.train.groups import Groups
from zoo.train.kept import why_useless
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
CAPTURED = partial(CapturedTraining, chain=2, warm_up=1)
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def made_data(images=23, validation=0):
    generator = np.random.default_rng(0)

    def part(count):
        pixels = torch.from_numpy(generator.integers(0, 256, (count, 1, 6, 6), dtype=np.uint8))
        return Split(pixels, torch.from_numpy(generator.permutation(np.arange(count) % 4)))

    held_out = part(validation) if validation else None
    return Dataset("made", "Made", ("a", "b", "c", "d"), part(images), part(8), held_out, "digest", (), False)


DATA = made_data()


def make(sets=None, kind=Training, *, on=DATA, registry=REGISTRY, precision="float64"):
    spec = small(registry, sets={"training.shuffle": True, **(sets or {})})
    return kind(spec, 0, on, device="cpu", registry=registry, precision=precision)


def weights(training):
    return torch.cat([p.detach().flatten() for p in training.network.parameters()])


def by_hand(training, optimizer, *, steps=20, before_step=lambda parameters, step: None, set_rates=lambda step: None):
    """Train with torch alone, from the training's own start; return the loss of each epoch and the last weights."""
    spec, data = training.spec.training, training.dataset.train
    net = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(27, 5), nn.ReLU(), nn.Linear(5, 4)),
    ).double()
    net.load_state_dict(dict(zip(net.state_dict(), training.network.state_dict().values(), strict=True)))
    names = [name for name, _ in training.network.named_parameters()]
    made = optimizer(dict(zip(names, net.parameters(), strict=True)))
    count, step, losses, epoch = len(data.labels), 0, [], 0
    while step < steps:
        epoch += 1
        order = torch.randperm(count, generator=streams.generator("cpu", training.seed, "order", epoch))
        total = seen = 0
        for of_step in torch.split(order, spec.batch_size * spec.accumulate):
            if step == steps:
                break
            set_rates(made, step)
            made.zero_grad()
            for chosen in torch.split(of_step, spec.batch_size):
                logits = net(data.images[chosen].double() / 255 - 0.5)
                loss = F.cross_entropy(logits, data.labels[chosen], reduction="sum")
                (loss / len(of_step)).backward()
                total += loss.item()
            before_step(list(net.parameters()), step)
            made.step()
            step, seen = step + 1, seen + len(of_step)
        losses.append(total / seen)
    return losses, torch.cat([p.detach().flatten() for p in net.parameters()])


def sgd(parameters, **options):
    return torch.optim.SGD(parameters.values(), **{"lr": 0.1, "momentum": 0.9, **options})


def assert_by_hand(sets, optimizer=sgd, *, steps, **others):
    """Train as a spec says with both engines, and by hand."""
    training = make(sets)
    losses, expected = by_hand(training, optimizer, steps=steps, **others)
    records = list(training.epochs())
    np.testing.assert_allclose([record.loss for record in records], losses, rtol=1e-12)
    torch.testing.assert_close(weights(training), expected, **EXACT)
    assert_engines_agree(sets)
    return records


def assert_engines_agree(sets, on=DATA):
    one, other = make(sets, on=on), make(sets, CAPTURED, on=on)
    assert figures(one.epochs()) == figures(other.epochs())
    assert torch.equal(weights(one), weights(other))


def fixed(optimizer, step):
    pass


# Gradients of several batches, and their norm


@pytest.mark.parametrize("norm", [0.05, 100.0], ids=["scaled", "never reached"])
def test_a_gradient_is_scaled_down_to_the_norm(norm):
    def clip(parameters, step):
        nn.utils.clip_grad_norm_(parameters, norm)

    sets = {"training.epochs": 4, "training.clip_norm": norm}
    assert_by_hand(sets, steps=4 * 5, before_step=clip, set_rates=fixed)


@pytest.mark.parametrize("accumulate", [2, 3, 9])
def test_a_step_is_made_from_the_mean_over_the_images_of_its_batches(accumulate):
    """The last step of an epoch has 3 of 23 images, or 8, or all of them, and counts them all the same."""
    steps = 4 * -(-23 // (5 * accumulate))
    sets = {"training.epochs": 4, "training.accumulate": accumulate, "training.schedule": "cosine"}

    def cosine(optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 + np.cos(np.pi * step / steps)) / 2

    assert_by_hand(sets, steps=steps, set_rates=cosine)


def test_accumulated_batches_without_normalization_are_one_large_batch():
    whole, parted = make({"training.batch_size": 10}), make({"training.accumulate": 2})
    for training in (whole, parted):
        list(training.epochs())
    torch.testing.assert_close(weights(parted), weights(whole), **EXACT)


@pytest.mark.parametrize("sets", [{"training.accumulate": 2}, {"training.clip_norm": 0.1}], ids=str)
def test_recorded_steps_pass_the_gate(sets):
    assert gate(small(REGISTRY, sets=sets), DATA, device="cpu", registry=REGISTRY) == ""


def test_an_estimate_is_of_whole_steps():
    assert make({"training.accumulate": 2, "training.clip_norm": 1.0}).estimate() > 0


# Runs that end within an epoch


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("length", [{"training.epochs": 3.5}, {"training.steps": 13}], ids=str)
def test_a_run_that_ends_within_an_epoch(length, accumulate):
    """The schedule is that of all steps, and the last record that of the images which were seen."""
    sets = {**length, "training.accumulate": accumulate, "training.schedule": "cosine", "evaluation.every": 0}
    steps = make(sets).length.steps
    assert steps == (13 if "training.steps" in length else {1: 18, 2: 11}[accumulate])

    def cosine(optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 + np.cos(np.pi * step / steps)) / 2

    records = assert_by_hand(sets, steps=steps, set_rates=cosine)
    assert [bool(record.evaluations) for record in records] == [*[False] * (len(records) - 1), True]


def test_a_run_of_steps_goes_on_from_its_checkpoint(tmp_path):
    whole, records = make({"training.steps": 13}), []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 2:
            save(tmp_path / "run", whole, records)
    resumed = make({"training.steps": 13})
    behind = restore(tmp_path / "run", resumed)
    assert figures([*behind, *resumed.epochs(first=3)]) == figures(records)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("length", [{"training.epochs": 1.5}, {"training.steps": 5}], ids=str)
def test_only_whole_epochs_are_gone_on_with(length):
    assert why_useless(make(length), REGISTRY) == "only a run of a number of whole epochs is gone on with"


# Groups of parameters


def with_groups(*groups, **sets):
    decay = {"training.optimizer.weight_decay": 0.01}
    return {**decay, "training.epochs": 4, "training.groups": list(groups), **sets}


def test_factors_are_those_of_torchs_groups():
    """Also where a parameter is in two groups."""

    def by_torch(named):
        biases = [p for name, p in named.items() if name.endswith("bias") and not name.startswith("output")]
        weights = [p for name, p in named.items() if name.endswith("weight") and not name.startswith("output")]
        groups = [
            {"params": weights},
            {"params": biases, "lr": 0.1 * 3, "weight_decay": 0.0},
            {"params": [named["output.weight"]], "lr": 0.1 * 0.5},
            {"params": [named["output.bias"]], "lr": 0.1 * 3 * 0.5, "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01)

    sets = with_groups(
        {"roles": ["bias"], "learning_rate": 3, "weight_decay": 0}, {"at": "output.*", "learning_rate": 0.5}
    )
    assert_by_hand(sets, by_torch, steps=20, set_rates=fixed)


@pytest.mark.parametrize("name", REGISTRY.variants("optimizer"))
def test_every_optimizer_takes_groups(name):
    """A group of factor 0 stays as it is, and recorded steps are those of the reference."""
    optimizer = {"training.optimizer": {"name": name, "learning_rate": 0.01}}
    sets = with_groups({"at": "output.*", "learning_rate": 0}, **optimizer)
    del sets["training.optimizer.weight_decay"]
    training = make(sets)
    before = training.network.output.weight.detach().clone()
    list(training.epochs())
    assert torch.equal(training.network.output.weight, before)
    assert_engines_agree(sets)


def test_a_group_has_a_schedule_of_its_own():
    def rates(optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.1
        optimizer.param_groups[1]["lr"] = 0.1 * 2 * (1 + np.cos(np.pi * step / 20)) / 2

    def by_torch(named):
        rest = [p for name, p in named.items() if not name.startswith("output")]
        output = [p for name, p in named.items() if name.startswith("output")]
        groups = [{"params": rest}, {"params": output}]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01)

    sets = with_groups({"at": "output.*", "learning_rate": 2, "schedule": "cosine"})
    assert_by_hand(sets, by_torch, steps=20, set_rates=rates)


@pytest.mark.parametrize(
    ("stated", "frozen"),
    [
        ({"frozen_until": 0.35}, lambda step: step < 7),
        ({"frozen_until": 12}, lambda step: step < 12),
        ({"frozen_after": 0.3}, lambda step: step >= 6),
        ({"frozen_until": 3, "frozen_after": 8}, lambda step: step < 3 or step >= 8),
        ({"frozen_after": 0.0}, lambda step: True),
    ],
    ids=str,
)
def test_what_is_frozen_is_left_alone(stated, frozen):
    """Neither weight decay nor momentum moves it, whichever step of an epoch it is frozen in."""

    def without_gradient(parameters, step):
        for parameter in parameters[:2]:
            if frozen(step):
                parameter.grad = None

    sets = with_groups({"at": "features.*", **stated})
    decaying = partial(sgd, weight_decay=0.01)
    assert_by_hand(sets, decaying, steps=20, before_step=without_gradient, set_rates=fixed)
    assert gate(small(REGISTRY, sets=sets), DATA, device="cpu", registry=REGISTRY) == ""


def test_between_epochs_nothing_is_frozen_and_a_run_goes_on(tmp_path):
    sets = with_groups({"at": "features.*", "frozen_until": 7})
    whole, records = make(sets), []
    for record in whole.epochs():
        records.append(record)
        assert all(parameter.requires_grad for parameter in whole.network.parameters())
        if record.epoch == 1:
            save(tmp_path / "run", whole, records)
    resumed = make(sets)
    assert figures([*restore(tmp_path / "run", resumed), *resumed.epochs(first=2)]) == figures(records)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize(
    ("stated", "like"), [({"frozen_until": 7}, True), ({"frozen_after": 3}, True), ({"frozen_until": 0.5}, False)]
)
def test_a_share_depends_on_how_long_a_run_is(stated, like):
    assert make(with_groups({"at": "output.*", **stated})).begins_like(2) == like


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            [{"at": "feature.*"}],
            'small: training.groups[0]: no parameter is called "feature.*"; the parameters are '
            "features.0.filter.weight, features.0.filter.bias, ",
        ),
        (
            [{"at": "output.*", "roles": ["normalization", "pooling"]}],
            'small: training.groups[0]: no parameter is called "output.*" and is normalization or pooling',
        ),
        (
            [{"schedule": "cosine"}, {"at": "output.*", "schedule": "step"}],
            "small: training.groups: output.weight is in the groups 0 and 1, which both have a schedule; let one of",
        ),
        ([{"frozen_until": 5}], "small: training.groups: all parameters are frozen in step 1"),
    ],
)
def test_groups_that_make_no_sense_are_errors(groups, message):
    with pytest.raises(BuildError) as error:
        make(with_groups(*groups))
    assert str(error.value).startswith(message)


def test_a_weight_decay_that_there_is_not_cannot_be_scaled():
    class Plain(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {"lr": 0.1})

    groups = Groups(small(REGISTRY, sets=with_groups({"weight_decay": 0})), make().network, REGISTRY)
    with pytest.raises(BuildError, match=r"training\.groups\[0\]\.weight_decay: the optimizer has no weight decay"):
        groups.scale(Plain(groups.given))


def test_an_optimizer_must_keep_groups_apart():
    groups = Groups(small(REGISTRY, sets=with_groups({"at": "output.*"})), make().network, REGISTRY)
    together = torch.optim.SGD([p for part in groups.given for p in part["params"]], lr=0.1)
    with pytest.raises(BuildError, match="trains parameters of unlike groups together; its factory must keep"):
        groups.scale(together)


def test_the_key_holds_what_decides_roles():
    one, other = (small(REGISTRY, sets=with_groups(group)) for group in ({"at": "output.*"}, {"roles": ["bias"]}))
    kinds = REGISTRY.layer_kind_plugins
    assert not set(kinds) & set(plugins_used(one, REGISTRY))
    assert set(kinds) <= set(plugins_used(other, REGISTRY))


def test_roles_of_blocks_and_of_architectures():
    sets = {"network.features.0.normalization": "batch", "network.features.0.activation": "prelu"}
    assert roles(make(sets).network, REGISTRY) == {
        "features.0.filter.weight": "filter",
        "features.0.filter.bias": "bias",
        "features.0.normalization.weight": "normalization",
        "features.0.normalization.bias": "normalization",
        "features.0.activation.weight": "activation",
        "classifier.0.linear.weight": "linear",
        "classifier.0.linear.bias": "bias",
        "output.weight": "linear",
        "output.bias": "bias",
    }
    tree = {"network": {"architecture": "vit"}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    found = roles(build(tree, (1, 8, 8), 10, registry=REGISTRY), REGISTRY)
    assert {found[name] for name in found if ".ln" in name} == {"normalization"}
    assert set(found.values()) == {"filter", "linear", "bias", "normalization", "other"}
