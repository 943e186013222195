"""Checks that a layer can leave Python: torch.export, ONNX, torch.compile."""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial

import torch
from torch import Tensor, nn

from zoo.testing.check import SkippedError
from zoo.testing.subject import Case, LayerSubject, applied, attempt, same, same_but_rounding
from zoo.train import streams

_ONNX = ("onnx", "onnxscript", "onnxruntime")
_INSTALL = "pip install 'layer-zoo[check]'"
_OTHER_COUNT = 3
"""Images in a batch that the layer was not exported with."""


def exported(layer: LayerSubject) -> None:
    """`torch.export` makes a program of it that takes batches of any size and computes the same.

    Why: that is how a trained network is used elsewhere.

    Mend: let Python's control flow depend on shapes and options only, never on values (`torch.where` instead of `if`,
    no `.item()`), and do not keep the batch size.
    """
    for case in layer.cases:
        module = case.build(training=False)
        with _quiet():
            program = attempt(partial(_exported, module, case), f"{case}:").module()
            other = case.batch(seed=5, count=_OTHER_COUNT)
            found = f"{case}, {_OTHER_COUNT} images"
            actual = attempt(partial(applied, program, other), f"{found}:")
            same_but_rounding(actual, applied(module, other), found)


def _exported(module: nn.Module, case: Case) -> torch.export.ExportedProgram:
    dynamic = ({0: torch.export.Dim.AUTO},)
    return torch.export.export(module, (case.batch(),), dynamic_shapes=dynamic)


def onnx(layer: LayerSubject) -> None:
    """Exported to ONNX, it gives the same numbers in onnxruntime.

    Why: ONNX is what most other runtimes read.

    Mend: build it from operations that ONNX has; torch names in its error the one that has no translation.
    """
    absent = [name for name in _ONNX if importlib.util.find_spec(name) is None]
    if absent:
        raise SkippedError(f"not installed: {', '.join(absent)} ({_INSTALL})")
    import onnxruntime  # type: ignore[import-untyped]

    case = layer.cases[0]
    module = case.build(training=False)
    with _quiet():
        model = attempt(partial(_onnx_model, module, case), f"{case}:")
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        x = case.batch(seed=5, count=_OTHER_COUNT)
        (given,) = session.get_inputs()
        (actual,) = session.run(None, {given.name: x.numpy()})
    with torch.no_grad():
        same(torch.from_numpy(actual), applied(module, x), f"{case}", rtol=1e-4, atol=1e-5)


def _onnx_model(module: nn.Module, case: Case) -> bytes:
    program = torch.onnx.export(
        module, (case.batch(),), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False
    )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def compiled(layer: LayerSubject) -> None:
    """`torch.compile` makes code of it that gives the same output and the same gradients, in training too.

    Why: a compiled network is several times as fast on a GPU.

    Mend: keep to torch's operations in `forward`; what an extension computes needs `torch.library.custom_op`.
    """
    from torch._inductor import config
    from torch._inductor.exc import InvalidCxxCompiler

    case = layer.cases[0]
    for training in (True, False):
        module = case.build(training=training)
        other = case.build(training=training)
        torch._dynamo.reset()
        # So that a dropout drops the same elements.
        with _quiet(), config.patch(fallback_random=True):
            try:
                actual = _output_and_gradient(torch.compile(module), case)
            except InvalidCxxCompiler as error:
                raise SkippedError("torch.compile finds no C++ compiler") from error
        for one, two in zip(actual, _output_and_gradient(other, case), strict=True):
            same(one, two, f"{case}", rtol=1e-4, atol=1e-5)


def _output_and_gradient(module: Callable[[Tensor], Tensor], case: Case) -> tuple[Tensor, Tensor]:
    x = case.batch().requires_grad_()
    with streams.seeded(2, "check", "forward"):
        y = module(x.clone())
    y.square().sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return y.detach(), x.grad


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to themselves what exporters print, log and warn about."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
