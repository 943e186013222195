"""The optimizers, against the formulas of their papers in NumPy and against torch.optim."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

from zoo_plugins import optimizers
from zoo_plugins.optimizers import adam, adamw, rmsprop, sgd

OPTIMIZERS = [sgd, adam, adamw, rmsprop]
START = np.array([1.0, -2.0, 0.5])

rates = st.floats(1e-3, 0.3)
shares = st.floats(0.0, 0.95)
decays = st.floats(0.0, 0.1)


def gradient(weights, step):
    """A gradient that depends on the weights and on the step, so that running means matter."""
    return weights * np.array([1.0, 0.3, -0.7]) + np.cos(step + np.arange(3))


def weights_after(factory, steps=5, **options):
    weights = torch.nn.Parameter(torch.tensor(START))
    optimizer = factory(iter([weights]), **options)
    for step in range(steps):
        weights.grad = torch.from_numpy(gradient(weights.detach().numpy(), step))
        optimizer.step()
    return weights.detach().numpy()


@settings(deadline=None, max_examples=25)
@given(learning_rate=rates, momentum=shares, nesterov=st.booleans(), weight_decay=decays)
def test_sgd_follows_its_formula(learning_rate, momentum, nesterov, weight_decay):
    nesterov = nesterov and momentum > 0
    weights, velocity = START, 0.0
    for step in range(5):
        g = gradient(weights, step) + weight_decay * weights
        velocity = momentum * velocity + g
        weights = weights - learning_rate * (g + momentum * velocity if nesterov else velocity)
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    np.testing.assert_allclose(weights_after(sgd, learning_rate=learning_rate, **options), weights, rtol=1e-9)


@settings(deadline=None, max_examples=25)
@given(
    factory=st.sampled_from([adam, adamw]),
    learning_rate=rates,
    beta1=shares,
    beta2=shares,
    epsilon=st.floats(1e-8, 0.1),
    weight_decay=decays,
)
def test_adam_and_adamw_follow_their_formulas(factory, learning_rate, beta1, beta2, epsilon, weight_decay):
    weights, mean, square = START, 0.0, 0.0
    for step in range(5):
        g = gradient(weights, step)
        if factory is adam:
            g = g + weight_decay * weights
        else:
            weights = weights * (1 - learning_rate * weight_decay)
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * g**2
        unbiased = mean / (1 - beta1 ** (step + 1)), square / (1 - beta2 ** (step + 1))
        weights = weights - learning_rate * unbiased[0] / (np.sqrt(unbiased[1]) + epsilon)
    options = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "weight_decay": weight_decay}
    np.testing.assert_allclose(weights_after(factory, learning_rate=learning_rate, **options), weights, rtol=1e-9)


@settings(deadline=None, max_examples=25)
@given(
    learning_rate=rates,
    decay=st.floats(0.3, 0.95),
    epsilon=st.floats(1e-3, 0.1),
    momentum=shares,
    weight_decay=decays,
    centered=st.booleans(),
)
def test_rmsprop_follows_its_formula(learning_rate, decay, epsilon, momentum, weight_decay, centered):
    weights, mean, square, velocity = START, 0.0, 0.0, 0.0
    for step in range(5):
        g = gradient(weights, step) + weight_decay * weights
        mean = decay * mean + (1 - decay) * g
        square = decay * square + (1 - decay) * g**2
        velocity = momentum * velocity + g / (np.sqrt(square - mean**2 * centered) + epsilon)
        weights = weights - learning_rate * velocity
    options = {"decay": decay, "epsilon": epsilon, "momentum": momentum, "weight_decay": weight_decay}
    result = weights_after(rmsprop, learning_rate=learning_rate, centered=centered, **options)
    np.testing.assert_allclose(result, weights, rtol=1e-7)


@pytest.mark.parametrize(
    ("factory", "torchs"),
    [(adam, torch.optim.Adam), (adamw, torch.optim.AdamW), (rmsprop, torch.optim.RMSprop)],
)
def test_defaults_are_those_of_torch(factory, torchs):
    weights = torch.nn.Parameter(torch.zeros(1))
    assert factory([weights]).defaults == torchs([weights]).defaults


def test_sgd_by_default_is_without_momentum_and_decay():
    defaults = sgd([torch.nn.Parameter(torch.zeros(1))]).defaults
    assert (defaults["lr"], defaults["momentum"], defaults["weight_decay"], defaults["nesterov"]) == (0.01, 0, 0, False)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_fused_step_takes_a_parameter_whose_first_gradient_comes_later(monkeypatch, nesterov):
    """As of a layer that some steps leave out. Here the fused step is the CPU's, which is made by the same code."""
    found = []
    for fused in (False, True):
        monkeypatch.setattr(optimizers, "_on_cuda", lambda parameters, fused=fused: fused)
        weights = [torch.nn.Parameter(torch.tensor(START)) for _ in range(2)]
        optimizer = sgd(weights, learning_rate=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01)
        assert bool(optimizer.defaults["fused"]) == fused
        for step in range(5):
            for weight in weights[: 1 + step % 2]:
                weight.grad = torch.from_numpy(gradient(weight.detach().numpy(), step))
            optimizer.step()
            optimizer.zero_grad()
        found.append([weight.detach().numpy() for weight in weights])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(
        ValueError, match=r"^nesterov = true needs a momentum above 0, such as 0\.9; set momentum or leave"
    ):
        sgd([torch.nn.Parameter(torch.zeros(1))], nesterov=True)


def made_for_capture(optimizer):
    """Say whether the step reads a learning rate on the device without the host."""
    return bool(optimizer.defaults.get("capturable") or optimizer.defaults.get("fused"))


@pytest.mark.parametrize("factory", OPTIMIZERS)
def test_made_for_a_captured_graph_on_cuda_only(factory):
    with FakeTensorMode():  # a CUDA parameter without a CUDA device
        assert made_for_capture(factory([torch.nn.Parameter(torch.empty(1, device="cuda"))]))
    assert not made_for_capture(factory([torch.nn.Parameter(torch.empty(1))]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="captures a CUDA graph")
@pytest.mark.parametrize("factory", OPTIMIZERS)
def test_a_captured_step_follows_the_learning_rate(factory):
    options = {} if factory in (adam, adamw) else {"momentum": 0.9}
    rates = [0.1, 0.1, 0.1, 0.05, 0.025]
    expected = torch.nn.Parameter(torch.tensor(START))
    captured = torch.nn.Parameter(torch.tensor(START, device="cuda"))
    expected.grad, captured.grad = torch.ones_like(expected), torch.ones_like(captured)
    reference, optimizer = factory([expected], **options), factory([captured], **options)
    for rate in rates:
        reference.param_groups[0]["lr"] = rate
        reference.step()
    learning_rate = optimizer.param_groups[0]["lr"] = torch.tensor(rates[0], device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        optimizer.step()  # makes the state, which must not happen in the graph
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    for rate in rates[1:]:
        learning_rate.fill_(rate)
        graph.replay()
    torch.testing.assert_close(captured.detach().cpu(), expected.detach(), rtol=1e-6, atol=1e-6)
