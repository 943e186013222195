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
from zoo.errors import BuildError, PluginError
from zoo.network.builder import build
from zoo.network.roles import roles
from zoo.registry import Registry
from zoo.registry.source import plugins_used
from zoo.train import streams
from zoo.train.checkpoint import restore, save
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.gate import gate
from zoo.train.groups import Groups
from zoo.train.kept import go_on, why_useless
from zoo.train.metrics import macro_recall
from zoo.train.places import kept_file
from zoo.train.run import RunKey
from zoo.train.training import Training
from zoo_plugins.schedules import plateau

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
    assert gate(small(REGISTRY, sets=sets), DATA, device="cpu", registry=REGISTRY) == ""


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
    ids=lambda value: str(value) if isinstance(value, dict) else "trained",
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


# What stands between gradients and updates

RECIPES = """
import torch
import zoo


class Sam(torch.optim.SGD):
    def step(self, closure):
        loss = closure()
        held = [(p, p.detach().clone()) for g in self.param_groups for p in g["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p, _ in held]).norm()
        with torch.no_grad():
            for p, _ in held:
                p.add_(p.grad * (0.05 / (norm + 1e-12)))
        closure()
        with torch.no_grad():
            for p, old in held:
                p.copy_(old)
        super().step()
        return loss


class Curved(torch.optim.SGD):
    def step(self, closure):
        loss = closure(create_graph=True)
        held = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
        curvatures = torch.autograd.grad([p.grad for p in held], held, [torch.ones_like(p) for p in held])
        for p, curvature in zip(held, curvatures):
            p.grad = p.grad.detach() / (1 + curvature.abs())
        super().step()
        return loss


class Averaged(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            assert group["training"]
            for p in group["params"]:
                state = self.state[p]
                state["count"] = state.get("count", 0) + 1
                mean = state.setdefault("mean", torch.zeros_like(p))
                mean.add_((p.detach() - mean) / state["count"])

    def _swap(self, training):
        for group in self.param_groups:
            if group.get("training", False) != training:
                for p in group["params"]:
                    if "mean" in self.state[p]:
                        held = p.detach().clone()
                        p.data.copy_(self.state[p]["mean"])
                        self.state[p]["mean"].copy_(held)
            group["training"] = training

    def train(self):
        self._swap(True)

    def eval(self):
        self._swap(False)


class Silent(torch.optim.SGD):
    def step(self, closure):
        pass


def made(kind):
    def make(parameters, *, learning_rate: zoo.PositiveFloat = 0.1, momentum: zoo.Fraction = 0.9):
        return kind(parameters, lr=learning_rate, momentum=momentum)

    return make


@zoo.hookimpl
def zoo_register_optimizers(register):
    for name, kind in {"sam": Sam, "curved": Curved, "averaged": Averaged, "silent": Silent}.items():
        register(f"test_{name}", made(kind))


def noisy(parameters, names, *, size: zoo.PositiveFloat = 0.1):
    for name, parameter in zip(names, parameters):
        if not name.startswith("output"):
            parameter.grad.add_(torch.randn_like(parameter.grad), alpha=size)


@zoo.hookimpl
def zoo_register_gradients(register):
    register("test_noisy", noisy)
"""
"""Sharpness-aware minimization, division by the Hessian's row sums, and a mean of weights that is evaluated."""


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    file = tmp_path_factory.mktemp("recipes") / "recipes.py"
    file.write_text(RECIPES, encoding="utf-8")
    return Registry(files=[PLUGIN, file]).require_sound()


def test_gradients_are_changed_in_order_and_then_clipped():
    def change(parameters, step):
        for parameter in parameters:
            if parameter.dim() > 1:
                parameter.grad -= parameter.grad.mean(tuple(range(1, parameter.dim())), keepdim=True)
        for parameter in parameters[:4]:
            dims = tuple(range(1, parameter.dim())) if parameter.dim() > 1 else (0,)
            norms = parameter.detach().pow(2).sum(dims, keepdim=True).sqrt().clamp_min(1e-3)
            most = 0.02 * norms / parameter.grad.pow(2).sum(dims, keepdim=True).sqrt().clamp_min(1e-6)
            parameter.grad *= most.clamp_max(1.0)
        nn.utils.clip_grad_norm_(parameters, 0.1)

    sets = {
        "training.epochs": 4,
        "training.gradient": ["centralize", {"name": "adaptive_clip", "limit": 0.02}],
        "training.clip_norm": 0.1,
    }
    assert_by_hand(sets, steps=20, before_step=change, set_rates=fixed)
    assert gate(small(REGISTRY, sets=sets), DATA, device="cpu", registry=REGISTRY) == ""


def test_what_changes_gradients_draws_from_the_runs_own_stream(recipes):
    sets = {"training.gradient": ["test_noisy"], "training.epochs": 3}
    one, again, other = (make(sets, kind, registry=recipes) for kind in (Training, Training, CAPTURED))
    expected = figures(one.epochs())
    assert figures(again.epochs()) == expected == figures(other.epochs())
    assert torch.equal(weights(one), weights(other))


@pytest.mark.parametrize("sets", [{}, {"training.accumulate": 2}, {"training.clip_norm": 0.2}], ids=str)
def test_an_optimizer_asks_for_the_gradients_again(recipes, sets):
    """Sharpness-aware minimization, against the same written out."""
    sets = {**sets, "training.epochs": 4, "training.optimizer": "test_sam"}
    training, again = make(sets, registry=recipes), make(sets, registry=recipes)
    records = list(training.epochs())
    parameters = list(again.network.parameters())
    plain = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

    def gradients(images, labels):
        plain.zero_grad()
        found = F.cross_entropy(again.network(images.double() / 255 - 0.5), labels)
        found.backward()
        if limit := again.spec.training.clip_norm:
            nn.utils.clip_grad_norm_(parameters, limit)
        return found.item() * len(labels)

    losses = []
    for epoch in range(1, 5):
        total = 0.0
        for images, labels, _ in again.batches(epoch):
            total += gradients(images, labels)
            norm = torch.cat([p.grad.flatten() for p in parameters]).norm()
            moved = [p.grad * (0.05 / (norm + 1e-12)) for p in parameters]
            with torch.no_grad():
                torch._foreach_add_(parameters, moved)
            gradients(images, labels)
            with torch.no_grad():
                torch._foreach_sub_(parameters, moved)
            plain.step()
        losses.append(total / 23)
    np.testing.assert_allclose([record.loss for record in records], losses, rtol=1e-12)
    torch.testing.assert_close(weights(training), weights(again), **EXACT)


@pytest.mark.parametrize("name", ["test_sam", "test_curved", "test_averaged"])
def test_recipes_are_restored_and_recorded(recipes, name, tmp_path):
    sets = {"training.epochs": 4, "training.optimizer": name}
    whole, records = make(sets, registry=recipes), []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 2:
            save(tmp_path / "run", whole, records)
    resumed, recorded = make(sets, registry=recipes), make(sets, CAPTURED, registry=recipes)
    assert figures([*restore(tmp_path / "run", resumed), *resumed.epochs(first=3)]) == figures(records)
    assert figures(recorded.epochs()) == figures(records)
    for other in (resumed, recorded):
        assert torch.equal(weights(other), weights(whole))


def test_second_derivatives_are_those_of_the_whole_step(recipes):
    """Of two batches in a step as of one that has the images of both."""
    sets = {"training.epochs": 2, "training.optimizer": "test_curved"}
    one = make({**sets, "training.batch_size": 10}, registry=recipes)
    two = make({**sets, "training.accumulate": 2}, registry=recipes)
    for training in (one, two):
        list(training.epochs())
    torch.testing.assert_close(weights(one), weights(two), **EXACT)


def test_what_is_evaluated_is_what_the_optimizer_evaluates(recipes):
    """The mean of the parameters so far, however often it is looked at."""
    sets = {"training.epochs": 3, "training.optimizer": "test_averaged"}
    training, seldom = make(sets, registry=recipes), make({**sets, "evaluation.every": 0}, registry=recipes)
    plain = make({"training.epochs": 3})
    seen, step = [], plain.step
    plain.step = lambda *given: (step(*given), seen.append(weights(plain)))[0]
    for record, _ in zip(training.epochs(), plain.epochs(), strict=True):
        torch.testing.assert_close(weights(training), torch.stack(seen).mean(0), **EXACT)
        assert training.evaluate(record.epoch) == record.evaluations
    list(seldom.epochs())
    assert torch.equal(weights(seldom), weights(training))
    training.estimate()
    assert not training.optimizer.param_groups[0]["training"], "an estimate leaves it as it evaluates"


@pytest.mark.parametrize(
    ("sets", "error", "message"),
    [
        ({"training.optimizer": "test_silent"}, PluginError, r"test_silent: its step did not call its closure$"),
        (
            {"training.optimizer": "test_curved", "training.clip_norm": 1.0},
            BuildError,
            r"^small: training\.optimizer: test_curved differentiates gradients again, which training\.gradient and "
            r"training\.clip_norm would change; leave those out$",
        ),
    ],
    ids=["silent", "differentiated"],
)
def test_optimizers_that_cannot_be_used_are_errors(recipes, sets, error, message):
    with pytest.raises(error, match=message):
        list(make(sets, registry=recipes).epochs())


# Schedules that go by what was validated

HELD_OUT = made_data(validation=9)
PLATEAU = {
    "training.epochs": 6,
    "training.schedule": {"name": "plateau", "factor": 0.5, "patience": 0},
    "training.optimizer.learning_rate": 0.5,
}


def rates_and_recalls(training, first=1):
    rates, recalls = [], []
    for record in training.epochs(first):
        rates.append(training.learning_rates(0)[0])
        recalls.append(macro_recall(record.evaluations["validation"].confusion))
    return rates, recalls


def test_a_plateau_goes_by_the_epochs_before():
    training = make(PLATEAU, on=HELD_OUT)
    assert training.learning_rates(0) == [0.5]
    rates, recalls = rates_and_recalls(training)
    expected = [0.5 * plateau(tuple(recalls[:epoch]), factor=0.5, patience=0) for epoch in range(1, 7)]
    assert rates == expected
    assert len(set(rates)) > 1, "recall must fall once for this to say something"
    assert_engines_agree(PLATEAU, on=HELD_OUT)


def test_a_plateau_of_a_run_that_goes_on_is_that_of_one_in_one_go(tmp_path):
    """Also where a shorter run had been evaluated only because it ended."""
    sets = {**PLATEAU, "evaluation.every": 2}
    whole, records = make(sets, on=HELD_OUT), []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 3:
            save(tmp_path / "run", whole, records)
    resumed = make(sets, on=HELD_OUT)
    assert figures([*restore(tmp_path / "run", resumed), *resumed.epochs(first=4)]) == figures(records)
    shorter = make({**sets, "training.epochs": 3}, on=HELD_OUT)
    spec_key = RunKey(shorter.spec.identity, 0, "digest", "source", "float64")
    save(kept_file(tmp_path, spec_key), shorter, list(shorter.epochs()))
    longer = make(sets, on=HELD_OUT)
    key = RunKey(longer.spec.identity, 0, "digest", "source", "float64")
    behind = go_on(longer, tmp_path, key)
    assert len(behind) == 3
    assert figures([*behind, *longer.epochs(first=4)]) == figures(records)
    assert torch.equal(weights(longer), weights(whole))


def test_a_plateau_needs_a_validation_part():
    with pytest.raises(BuildError) as error:
        make(PLATEAU)
    assert str(error.value) == (
        "small: training.schedule: plateau(factor=0.5, patience=0) goes by the recall on validation images, and there "
        "are none; hold some out with data.validation"
    )
