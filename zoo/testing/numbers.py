"""Checks of a layer's numbers: that they are finite, that its gradients are right, and what types they may have."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.func import functional_call

from zoo.errors import text_of
from zoo.testing.check import FailedError, require
from zoo.testing.subject import LayerSubject, applied, attempt, mode
from zoo.train import streams

LARGE, TINY = 1e4, 1e-20
_BF16_TOLERANCE = 0.05
"""Of the largest output: bfloat16 has 8 bits, and a layer adds some hundred products."""


def finite(layer: LayerSubject) -> None:
    """For a standard normal batch, the output and all gradients are finite.

    Why: one step with a gradient that is not a number destroys the network.

    Mend: look for a logarithm, a root, a power or a division that can meet 0 or a negative number.
    """
    for case, training in layer.runs:
        _require_finite(case.build(training=training), case.batch(), f"{case}, {mode(training)}")


def finite_at_extremes(layer: LayerSubject) -> None:
    """For large (10^4), tiny (10^-20), zero and constant inputs, the output and all gradients are finite.

    Why: after a ReLU many inputs are exactly 0, an image may be of one colour, and activations grow in training.

    Mend: add a small epsilon below a root or a division, and let large values through before an exponential, as
    `torch.nn.Softplus` does.
    """
    for case, training in layer.runs:
        normal = case.batch()
        inputs = {
            "large": normal * LARGE,
            "tiny": normal * TINY,
            "zero": torch.zeros_like(normal),
            "constant": torch.ones_like(normal),
        }
        for name, x in inputs.items():
            _require_finite(case.build(training=training), x, f"{case}, {mode(training)}, {name} input")


def _require_finite(module: nn.Module, x: Tensor, where: str) -> None:
    x = x.requires_grad_()
    # A copy, for a leaf cannot be changed in place; that a layer does so is said by another check.
    y = applied(module, x.clone())
    require(_all_finite(y), f"{where}: the output is not finite")
    _weighted(y).backward()  # type: ignore[no-untyped-call]
    for name, gradient in _gradients(module, x).items():
        require(gradient is None or _all_finite(gradient), f"{where}: the gradient of {name} is not finite")


def gradients_reach_all(layer: LayerSubject) -> None:
    """In training a gradient reaches the input and every parameter.

    Why: what no gradient reaches is not trained, and neither is anything before the layer.

    Mend: look for a `detach`, a `torch.no_grad`, `.data`, a rounding, or a parameter that the output does not
    depend on.
    """
    for case in layer.cases:
        module = case.build()
        x = case.batch().requires_grad_()
        y = applied(module, x.clone())
        require(y.requires_grad, f"{case}: the output has no gradient at all")
        _weighted(y).backward()  # type: ignore[no-untyped-call]
        for name, gradient in _gradients(module, x).items():
            require(gradient is not None, f"{case}: none reaches {name}")
        require(bool(x.grad is not None and x.grad.any()), f"{case}: that of the input is 0 everywhere")


def gradient(layer: LayerSubject) -> None:
    """In float64 its gradients, for input and parameters, are those of finite differences.

    Why: with a wrong gradient training goes somewhere else, which looks like a layer that does not help.

    Mend: leave the gradient to autograd, or mend the `backward` of your `torch.autograd.Function`. Declare the failure
    where the gradient is meant to be another, as that of a straight-through estimator is.
    """
    for case, training in layer.runs:
        module = case.build(dtype=torch.float64, training=training)
        names = [name for name, weight in module.named_parameters() if weight.requires_grad]
        weights = [module.get_parameter(name).detach().clone().requires_grad_() for name in names]

        def output(
            x: Tensor, *values: Tensor, module: nn.Module = module, names: tuple[str, ...] = tuple(names)
        ) -> Tensor:
            with streams.seeded(2, "check", "forward"):
                y: Tensor = functional_call(module, dict(zip(names, values, strict=True)), (x.clone(),))
            return y

        x = case.batch(dtype=torch.float64, count=3).requires_grad_()
        if not output(x, *weights).requires_grad:
            continue  # said by gradients_reach_all
        try:
            gradcheck(output, (x, *weights), fast_mode=True, check_undefined_grad=False)
        except RuntimeError as error:
            text = " ".join(text_of(error).split())
            raise FailedError(f"{case}, {mode(training)}: {text[:200]}") from error


def dtypes(layer: LayerSubject) -> None:
    """Moved to float32, float64 or bfloat16, it gives numbers of the type of its input.

    Why: engines are compared in float64; a layer that gives another type fails the next one.

    Mend: keep tensors as parameters or buffers, which `module.to(dtype)` converts, and make new ones with
    `torch.zeros_like(x)` or `dtype=x.dtype`.
    """
    for case, training in layer.runs:
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            where = f"{case}, {mode(training)}, {dtype}"
            module = case.build(dtype=dtype, training=training)
            y = attempt(partial(applied, module, case.batch(dtype=dtype)), f"{where}:")
            require(y.dtype == dtype, f"{where}: the output is of {y.dtype}")


def autocast(layer: LayerSubject) -> None:
    """Under autocast to bfloat16 it runs, has finite gradients, and gives nearly what it gives in float32.

    Why: `--precision bf16` trains under autocast, where convolutions and matrix products give bfloat16.

    Mend: let tensors of both types meet only in operations that promote them (`+`, `torch.cat`), or convert with
    `.to(other.dtype)`; do not ask for a type by name.
    """
    for case, training in layer.runs:
        where = f"{case}, {mode(training)}"
        module, x = case.build(training=training), case.batch().requires_grad_()
        other = case.build(training=training)
        other.load_state_dict(module.state_dict())
        exact = applied(other, case.batch()).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = attempt(partial(applied, module, x.clone()), f"{where}:")
        require(y.shape == exact.shape, f"{where}: the shape is {tuple(y.shape)}, not {tuple(exact.shape)}")
        largest = exact.abs().max().item()
        difference = (y.float() - exact).abs().max().item()
        require(
            not difference > _BF16_TOLERANCE * max(largest, 1e-6),
            f"{where}: it is off by {difference:.2g}, where the largest value is {largest:.2g}",
        )
        if y.requires_grad:
            attempt(_weighted(y).backward, f"{where}, in the backward pass:")
            require(
                x.grad is None or _all_finite(x.grad) or not _all_finite(exact), f"{where}: a gradient is not finite"
            )


def _weighted(y: Tensor) -> Tensor:
    # Not the plain sum, whose gradient through a normalization is 0.
    return (y.float() * torch.randn(y.shape, generator=torch.Generator().manual_seed(3))).sum()


def _gradients(module: nn.Module, x: Tensor) -> dict[str, Tensor | None]:
    named = {name: weight.grad for name, weight in module.named_parameters() if weight.requires_grad}
    return {"the input": x.grad, **named}


def _all_finite(values: Tensor) -> bool:
    return bool(values.isfinite().all())
