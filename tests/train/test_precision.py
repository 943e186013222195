"""One policy for every kernel, and runs of different precision are different runs."""

from __future__ import annotations

import attrs
import pytest
import torch
from small_runs import PLUGIN, figures, planned_run, small

from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.train import precision as precision_module
from zoo.train.checkpoint import restore, save
from zoo.train.execute import dataset, execute, in_order
from zoo.train.precision import arithmetic, autocast, choose_precision, dtype, is_fast, memory_format, set_policy
from zoo.train.training import Training


@pytest.fixture(scope="module")
def registry():
    return Registry(files=[PLUGIN]).require_sound()


def made(registry, precision, sets=None):
    spec = small(registry, sets=sets)
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
    for precision in ("fp32", "bf16", "fp16", "half"):
        *records, ended = execute(attrs.evolve(run, key=attrs.evolve(run.key, precision=precision)), registry, "cpu")
        assert ended.status == "finished", ended.reason
        by_precision[precision] = figures(records)
    losses = [records[-1][1] for records in by_precision.values()]
    assert len(set(losses)) == len(losses)
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-2)


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("fp32", "cuda:0", torch.contiguous_format),
        ("tf32", "cuda", torch.contiguous_format),
        ("float64", "cuda", torch.contiguous_format),
        ("bf16", "cuda", torch.channels_last),
        ("fp16", "cuda", torch.channels_last),
        ("half+fast", "cuda", torch.channels_last),
        ("fp32+fast", "cuda", torch.contiguous_format),
        ("fp32", "cpu", torch.channels_last),
        ("bf16", "cpu", torch.channels_last),
    ],
)
def test_the_order_in_memory_is_the_fastest_one(precision, device, expected):
    assert memory_format(precision, torch.device(device)) is expected


HALF = {"network.features.*.normalization": "batch", "training.epochs": 4, "training.averaging": "ema"}


def test_half_is_float16_throughout_but_for_normalizations_averages_and_losses(registry):
    training = made(registry, "half", HALF)
    given = []
    training.network.features.register_forward_pre_hook(lambda module, args: given.append(args[0].dtype))
    list(training.epochs())
    assert set(given) == {torch.float16}
    normalized = {name: "normalization" in name for name in dict(training.network.named_parameters())}
    for name, parameter in training.network.named_parameters():
        assert parameter.dtype == (torch.float32 if normalized[name] else torch.float16)
        assert training.optimizer.state[parameter]["momentum_buffer"].dtype == parameter.dtype
    assert {tensor.dtype for tensor in training.beside.values()} == {torch.float32}
    training.conclude()
    network = training.in_float32()
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_run_in_half_goes_on_from_its_checkpoint(registry, tmp_path):
    whole, file, records = made(registry, "half", HALF), tmp_path / "run.safetensors", []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 2:
            save(file, whole, records)
    resumed = made(registry, "half", HALF)
    held = restore(file, resumed)
    assert len(held) == 2
    assert figures(held + list(resumed.epochs(first=3))) == figures(records)


@pytest.mark.parametrize("name", ["fp16", "half"])
def test_a_device_that_cannot_compute_in_float16_is_told(name, monkeypatch):
    def broken(*args, **keywords):
        raise RuntimeError("\"slow_conv2d\" not implemented for 'Half'")

    monkeypatch.setattr(precision_module.nn, "Conv2d", broken)
    precision_module._why_no_half.cache_clear()
    try:
        with pytest.raises(ZooError) as error:
            choose_precision(name, "cpu")
    finally:
        precision_module._why_no_half.cache_clear()
    assert str(error.value) == (
        f'precision={name!r}: torch {torch.__version__} cannot train in float16 on cpu (RuntimeError: "slow_conv2d" '
        "not implemented for 'Half'); use fp32 or bf16"
    )


def test_fast_is_part_of_the_precision_and_for_nvidia_gpus():
    assert choose_precision("auto", "cuda:0", fast=True) == "fp32+fast"
    assert choose_precision("tf32", "cuda:0", fast=True) == "tf32+fast"
    assert (arithmetic("bf16+fast"), is_fast("bf16+fast"), is_fast("bf16")) == ("bf16", True, False)
    with pytest.raises(ZooError, match=r"^fast: cuDNN's kernels are for NVIDIA GPUs, not cpu; leave it out$"):
        choose_precision("fp32", "cpu", fast=True)


def test_fast_lets_cudnn_choose_for_the_time_of_a_run():
    def chosen():
        return torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic

    before = chosen()
    with in_order("cuda:0", "bf16+fast"):
        assert chosen() == (True, False)
    with in_order("cuda:0", "bf16"):
        assert chosen() == (False, True)
    assert chosen() == before


def test_a_fast_run_says_so_with_its_precision(registry):
    run = planned_run(small(registry), registry)
    *_, ended = execute(attrs.evolve(run, key=attrs.evolve(run.key, precision="fp32+fast")), registry, "cpu")
    assert (ended.status, ended.key.precision) == ("finished", "fp32+fast")
