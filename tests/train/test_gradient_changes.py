"""What stands between gradients and updates: changes of them, closures, optimizers with modes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loops_by_hand import CAPTURED, DATA, EXACT, REGISTRY, assert_by_hand, fixed, make, weights
from small_runs import PLUGIN, figures, small
from torch import nn
from torch.nn import functional as F

from zoo.errors import BuildError, PluginError
from zoo.registry import Registry
from zoo.train.checkpoint import restore, save
from zoo.train.engines.gate import gate
from zoo.train.training import Training

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
        (
            {"training.optimizer": "test_averaged", "training.averaging": "ema"},
            BuildError,
            r"^small: training\.averaging: ema averages the weights that are trained, and test_averaged has a mean of "
            r"its own that is evaluated: leave out training\.averaging, or take another optimizer$",
        ),
    ],
    ids=["silent", "differentiated", "averaged twice"],
)
def test_optimizers_that_cannot_be_used_are_errors(recipes, sets, error, message):
    with pytest.raises(error, match=message):
        list(make(sets, registry=recipes).epochs())
