"""The optimizers of recent recipes, against the libraries that they come from and against their formulas."""

from __future__ import annotations

import sys
from functools import partial

import pytest
import pytorch_optimizer
import torch
from torch import nn

import zoo
from zoo_plugins import recent_optimizers as ours

LIBRARY = {
    "adafactor": (ours.adafactor, partial(torch.optim.Adafactor, lr=0.01)),
    "lamb": (ours.lamb, partial(pytorch_optimizer.Lamb, lr=0.001, max_grad_norm=0.0)),
    "lion": (ours.lion, partial(pytorch_optimizer.Lion, lr=1e-4)),
    "adan": (ours.adan, partial(pytorch_optimizer.Adan, lr=0.001)),
    "schedule_free_sgd": (ours.schedule_free_sgd, partial(pytorch_optimizer.ScheduleFreeSGD, lr=0.1)),
    "schedule_free_adamw": (ours.schedule_free_adamw, partial(pytorch_optimizer.ScheduleFreeAdamW, lr=0.0025)),
}


def parameters():
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 2, 3, 3), (5, 16), (3, 5), (3,))]


def loss_of(weights):
    return torch.stack([(weight.sin() * weight).sum() for weight in weights]).sum()


def descended(make, steps=4):
    weights = parameters()
    optimizer = make(weights)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(weights).backward()
        optimizer.step()
    return torch.cat([weight.detach().flatten() for weight in weights])


@pytest.mark.parametrize("name", LIBRARY)
def test_an_optimizer_of_a_library_is_the_librarys(name):
    mine, theirs = LIBRARY[name]
    assert torch.equal(descended(mine), descended(theirs))


def test_muon_trains_matrices_and_filters_but_not_the_last():
    def by_library(weights):
        groups = [{"params": weights[:2], "use_muon": True}, {"params": weights[2:], "use_muon": False, "lr": 3e-4}]
        return pytorch_optimizer.Muon(groups)

    assert torch.equal(descended(lambda weights: ours.muon(weights, nn.ParameterList(weights))), descended(by_library))


def test_sam_steps_from_the_gradient_at_the_worst_point_nearby():
    weights, plain = parameters(), parameters()
    optimizer = ours.sam(weights, learning_rate=0.1, momentum=0.0, radius=0.2)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    gradients = torch.autograd.grad(loss_of(plain), plain)
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    worst = [(weight + 0.2 * gradient / norm).detach() for weight, gradient in zip(plain, gradients, strict=True)]
    for found, start, point in zip(weights, plain, worst, strict=True):
        (there,) = torch.autograd.grad(loss_of([point.requires_grad_()]), point)
        torch.testing.assert_close(found, start - 0.1 * there)


def test_adahessian_asks_for_gradients_to_be_differentiated():
    weight = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = ours.adahessian([weight], learning_rate=0.5)
    asked = []

    def closure(*, create_graph=False):
        asked.append(create_graph)
        weight.grad = torch.autograd.grad((weight**2 * torch.tensor([1.0, 10.0])).sum(), weight, create_graph=True)[0]
        return torch.zeros(())

    optimizer.step(closure)
    assert asked == [True]
    # Of a quadratic the first step is the learning rate times Newton's, whatever the curvatures are.
    torch.testing.assert_close(weight.detach(), torch.tensor([1.5, -1.0]))


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(zoo.ZooError, match=r"cannot be imported \(.*\): pip install 'layer-zoo\[optimizers\]'$"):
        ours.lion(parameters())
