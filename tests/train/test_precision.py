"""One policy for every kernel, and runs of different precision are different runs."""

from __future__ import annotations

import attrs
import pytest
import torch
from small_runs import PLUGIN, figures, planned_run, small

from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.train.execute import dataset, execute
from zoo.train.precision import autocast, choose_precision, dtype, memory_format, set_policy
from zoo.train.training import Training


@pytest.fixture(scope="module")
def registry():
    return Registry(files=[PLUGIN]).require_sound()


def made(registry, precision):
    spec = small(registry)
    return Training(spec, 0, dataset(spec, registry, "cpu"), device="cpu", registry=registry, precision=precision)


def test_auto_is_the_reference_and_tf32_needs_an_nvidia_gpu():
    assert choose_precision("auto", "cpu") == "fp32"
    assert choose_precision("bf16", "cpu") == "bf16"
    assert choose_precision("tf32", "cuda") == "tf32"
    with pytest.raises(ZooError, match="only NVIDIA GPUs have it, not cpu; use fp32 or bf16"):
        choose_precision("tf32", "cpu")


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_the_policy_holds_for_convolutions_and_matrix_products_alike(precision, allowed):
    set_policy(precision)
    try:
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
    finally:
        set_policy("fp32")


def test_bf16_computes_in_bfloat16_and_keeps_parameters_and_logits_in_float32(registry):
    seen = []
    training = made(registry, "bf16")
    training.network.output.register_forward_hook(lambda module, given, result: seen.append(result.dtype))
    list(training.epochs())
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in training.network.parameters()} == {torch.float32}
    assert training.predict(training.dataset.test.images).dtype == torch.int64


def test_float64_is_double_throughout_and_near_float32(registry):
    double, single = made(registry, "float64"), made(registry, "fp32")
    assert {p.dtype for p in double.network.parameters()} == {torch.float64}
    losses = [[record.loss for record in training.epochs()] for training in (double, single)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != losses[1]


def test_dtype_and_autocast_follow_the_precision():
    assert [dtype(p) for p in ("fp32", "tf32", "bf16", "float64")] == [torch.float32] * 3 + [torch.float64]
    with autocast("bf16", torch.device("cpu")):
        assert torch.is_autocast_enabled("cpu")
    with autocast("fp32", torch.device("cpu")):
        assert not torch.is_autocast_enabled("cpu")


def test_a_run_is_trained_in_the_precision_of_its_key(registry):
    run = planned_run(small(registry), registry)
    by_precision = {}
    for precision in ("fp32", "bf16"):
        *records, ended = execute(attrs.evolve(run, key=attrs.evolve(run.key, precision=precision)), registry, "cpu")
        assert ended.status == "finished", ended.reason
        by_precision[precision] = figures(records)
    assert by_precision["fp32"] != by_precision["bf16"]


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("fp32", "cuda:0", torch.contiguous_format),
        ("tf32", "cuda", torch.contiguous_format),
        ("float64", "cuda", torch.contiguous_format),
        ("bf16", "cuda", torch.channels_last),
        ("fp32", "cpu", torch.channels_last),
        ("bf16", "cpu", torch.channels_last),
    ],
)
def test_the_order_in_memory_is_the_fastest_one(precision, device, expected):
    assert memory_format(precision, torch.device(device)) is expected
