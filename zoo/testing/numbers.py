"""Checks of a layer's numbers: that they are finite, that its gradients are right, and what types they may have."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zoo.network.half import halve
from zoo.testing.check import FailedError, SkippedError, require
from zoo.testing.gradients import near, require_gradient
from zoo.testing.subject import Case, LayerSubject, applied, attempt, mode
from zoo.train import streams

LARGE, TINY = 1e4, 1e-20
_INPUT = "the input"
_BF16_TOLERANCE = 0.05
"""Of the output's root mean square: bfloat16 has 8 bits, and a layer adds some hundred products."""
_BF16_ROUNDED = 4.0
"""How many times as far off as by rounding its input and parameters to bfloat16 alone an output may be."""


def finite(layer: LayerSubject) -> None:
    """For a standard normal batch, the output and all gradients are finite.

    Why: one step with a gradient that is not a number destroys the network.

    Mend: look for a logarithm, a root, a power or a division that can meet 0 or a negative number.
    """
    for case, training in layer.runs:
        _require_finite(case.build(training=training), case.batch(), f"{case}, {mode(training)}")


def finite_at_extremes(layer: LayerSubject) -> None:
    """Output and gradients are finite for large (10^4) and tiny (10^-20) inputs, and images and channels of one value.

    Why: after a ReLU many inputs are exactly 0, an image may be of one colour, and activations grow in training.

    Mend: add a small epsilon below a root or a division, and let large values through before an exponential, as
    `torch.nn.Softplus` does.
    """
    for case, training in layer.runs:
        normal = case.batch()
        inputs = {
            "large": normal * LARGE,
            "tiny": normal * TINY,
            "zero": _partly(normal, 0.0),
            "constant": _partly(normal, 1.0),
        }
        for name, x in inputs.items():
            _require_finite(case.build(training=training), x, f"{case}, {mode(training)}, {name} input")


def _partly(x: Tensor, value: float) -> Tensor:
    """Return a batch of which half the images and the first channel have one value.

    Not the whole batch: where nothing varies, each of many batch normalizations multiplies gradients by some hundred.
    """
    x = x.clone()
    x[: len(x) // 2] = value
    x[:, 0] = value
    return x


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
    """Its gradients, for input and parameters, are those of finite differences, within the precision it computes in.

    Why: with a wrong gradient training goes somewhere else, which looks like a layer that does not help.

    Mend: leave the gradient to autograd, or mend the `backward` of your `torch.autograd.Function`. Declare the failure
    where the gradient is meant to be another, as that of a straight-through estimator is.
    """
    for case, training in layer.runs:
        module = case.build(dtype=torch.float64, training=training)
        trained = {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}
        points = [{_INPUT: case.batch(seed=seed, dtype=torch.float64), **near(trained, seed)} for seed in (1, 2, 3)]
        # And where they start: one may be bound, such as to be positive.
        points.append({**points[0], **trained})
        try:
            require_gradient(partial(_output, module, tuple(trained)), points)
        except FailedError as error:
            raise FailedError(f"{case}, {mode(training)}: {error}") from error


def _output(module: nn.Module, names: tuple[str, ...], x: Tensor, *weights: Tensor) -> Tensor:
    """Compute a layer's output from its input and its parameters, and leave its buffers as they are."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with streams.seeded(2, "check", "forward"):
        y: Tensor = functional_call(module, {**buffers, **dict(zip(names, weights, strict=True))}, (x.clone(),))
    return y


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
        state = {name: value.clone() for name, value in module.state_dict().items()}

        def exact(x: Tensor, state: dict[str, Tensor] = state, case: Case = case, training: bool = training) -> Tensor:
            other = case.build(training=training)
            other.load_state_dict(state)
            with torch.no_grad():
                y: Tensor = applied(other, x).float()
            return y

        expected = exact(case.batch())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = attempt(partial(applied, module, x.clone()), f"{where}:")
        require(y.shape == expected.shape, f"{where}: the shape is {tuple(y.shape)}, not {tuple(expected.shape)}")
        difference, size = _rms(y.float() - expected), max(_rms(expected), 1e-6)
        if difference > _BF16_TOLERANCE * size:
            # What divides by small differences is as far off for an input that was rounded.
            rounded = {name: _rounded(value) for name, value in state.items()}
            allowed = _BF16_ROUNDED * _rms(exact(_rounded(case.batch()), rounded) - expected)
            found = f"{where}: it is off by {difference:.2g}, where values are of size {size:.2g} (root mean squares)"
            require(difference <= allowed, found)
        if y.requires_grad:
            attempt(_weighted(y).backward, f"{where}, in the backward pass:")
            require(
                x.grad is None or _all_finite(x.grad) or not _all_finite(expected), f"{where}: a gradient is not finite"
            )


def half(layer: LayerSubject) -> None:
    """In half precision it runs, and gives finite numbers of float16 and finite gradients.

    Why: with `--precision half` parameters and images are float16, but in normalizations.

    Mend: make tensors of the input's type (`x.dtype`), not of one by name; where float16 cannot hold what it computes,
    give the module the attribute `stays_in_float32 = True`.
    """
    for case, training in layer.runs:
        where = f"{case}, {mode(training)}"
        module = case.build(training=training)
        halve(nn.ModuleDict({layer.kind: module}), layer.registry)
        x = case.batch().half().requires_grad_()
        y = attempt(partial(_in_half, module, x.clone()), f"{where}:")
        require(y.dtype == torch.float16, f"{where}: the output is of {y.dtype}")
        if not _all_finite(applied(case.build(training=training), case.batch())):
            raise SkippedError("nor is its output finite in float32; see finite")
        require(_all_finite(y), f"{where}: the output is not finite")
        if y.requires_grad:
            attempt(_weighted(y).backward, f"{where}, in the backward pass:")
            require(x.grad is None or _all_finite(x.grad), f"{where}: a gradient is not finite")


def _in_half(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer.

    Raises:
        SkippedError: torch has not what it needs for float16 here.
    """
    try:
        y: Tensor = applied(module, x)
    except RuntimeError as error:
        if "not implemented for 'Half'" in str(error):
            raise SkippedError(f"torch: {error}") from error
        raise
    return y


def _rms(values: Tensor) -> float:
    return values.detach().double().square().mean().sqrt().item()


def _rounded(values: Tensor) -> Tensor:
    return values.bfloat16().to(values.dtype) if values.is_floating_point() else values


def _weighted(y: Tensor) -> Tensor:
    # Not the plain sum, whose gradient through a normalization is 0.
    return (y.float() * torch.randn(y.shape, generator=torch.Generator().manual_seed(3))).sum()


def _gradients(module: nn.Module, x: Tensor) -> dict[str, Tensor | None]:
    named = {name: weight.grad for name, weight in module.named_parameters() if weight.requires_grad}
    return {"the input": x.grad, **named}


def _all_finite(values: Tensor) -> bool:
    return bool(values.isfinite().all())
