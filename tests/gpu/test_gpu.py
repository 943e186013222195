"""What only a CUDA device can show: recorded steps, streams side by side, and running out of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from contextlib import ExitStack
from functools import partial

import attrs
import pytest
import torch
from made_images import on_made_images, registered_specs
from small_runs import DRAWING, PLUGIN, figures, planned_run, small, work

from zoo.data import Options, load
from zoo.execution.events import Ended, EpochFinished, Lost, Started
from zoo.execution.here import here
from zoo.execution.processes import processes
from zoo.execution.streams import own_stream
from zoo.execution.streams import streams as at_once
from zoo.registry import Registry
from zoo.train import execute as execute_module
from zoo.train import streams
from zoo.train.checkpoint import restore, save
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.gate import gate
from zoo.train.execute import dataset, execute
from zoo.train.machine import devices, make_deterministic
from zoo.train.placing import placed
from zoo.train.training import Training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SETS = DRAWING | {
    "training.epochs": 6,
    "training.shuffle": True,
    "training.schedule": "cosine",
    "network.features.*.normalization": "batch",
}
NOT_RECORDABLE = (
    *("counts_in_group", "counts_in_attribute", "keeps_a_list"),
    *("adafactor", "sam", "schedule_free_adamw", "schedule_free_sgd"),  # ask for a value, or make a number of the rate
    *("adahessian", "adan", "lamb", "muon"),  # correct for a count of steps that is Python's
)
"""Optimizers that keep numbers or references in Python."""
OF_THE_LIBRARY = ("adahessian", "adan", "lamb", "lion", "muon", "schedule_free_adamw", "schedule_free_sgd")
SHORT_CHAIN = partial(CapturedTraining, chain=2)


@pytest.fixture(autouse=True)
def _deterministic():
    make_deterministic("cuda")


def make(kind, sets=SETS, *, seed=0, precision="fp32"):
    spec = small(REGISTRY, sets=sets)
    on = dataset(spec, REGISTRY, "cuda")
    return kind(spec, seed, on, device="cuda", registry=REGISTRY, precision=precision)


@pytest.mark.parametrize("name", registered_specs())
def test_every_registered_spec_passes_the_gate(registry, name):
    spec, data = on_made_images(name, registry, device="cuda")
    assert gate(spec, data, device="cuda", registry=registry) == ""


def require_library(optimizer):
    """Skip where the optimizer is of a library that is not installed."""
    if optimizer in OF_THE_LIBRARY:
        pytest.importorskip("pytorch_optimizer")


@pytest.mark.parametrize("optimizer", REGISTRY.variants("optimizer"))
def test_every_optimizer_passes_the_gate_that_keeps_all_on_the_device(optimizer):
    require_library(optimizer)
    spec = small(REGISTRY, sets=SETS | {"training.optimizer": optimizer})
    why_not = gate(spec, dataset(spec, REGISTRY, "cuda"), device="cuda", registry=REGISTRY)
    assert (why_not != "") == (optimizer in NOT_RECORDABLE), why_not


def test_a_layer_that_counts_in_python_does_not_pass():
    spec = small(REGISTRY, sets={"network.features.0.activation": {"name": "explodes", "step": 9}})
    assert gate(spec, dataset(spec, REGISTRY, "cuda"), device="cuda", registry=REGISTRY) != ""


def test_a_layer_that_looks_at_values_cannot_be_recorded_and_does_no_harm():
    def looks(module, inputs):
        return inputs[0] * inputs[0].abs().max().item()

    training = make(SHORT_CHAIN)
    training.network.features.register_forward_pre_hook(looks)
    with pytest.raises(RuntimeError):
        list(training.epochs())
    assert len(list(make(SHORT_CHAIN).epochs())) == 6
    # Memory is given back as before.
    large = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    held = torch.cuda.memory_reserved()
    del large
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= held - 2**30


def test_the_same_run_twice_is_the_same_bit_for_bit():
    assert figures(make(SHORT_CHAIN).epochs()) == figures(make(SHORT_CHAIN).epochs())


def test_dropout_goes_on_where_it_was():
    device = torch.device("cuda", torch.cuda.current_device())
    drawing = streams.Resumed(device)
    drawing.begin(3, "dropout", 1)
    before = torch.cuda.get_rng_state()
    parts = []
    for _ in range(2):
        with drawing.current():
            parts.append(torch.rand(5, device=device))
        torch.rand(7, device=device)
    torch.cuda.set_rng_state(before)
    with streams.seeded(3, "dropout", 1, device="cuda"):
        for part in parts:
            assert torch.equal(part, torch.rand(5, device=device))


@pytest.mark.parametrize("engine", ["sequential", "captured"])
def test_a_run_in_company_is_the_run_alone(engine):
    runs = [planned_run(small(REGISTRY, sets=SETS), REGISTRY, seed) for seed in range(4)]
    together = {run.key: [] for run in runs}
    for event in at_once(work(runs, REGISTRY, devices=("cuda",), jobs=4, engine=engine)):
        if isinstance(event, EpochFinished):
            together[event.run.key].append(event.record)
    for run in runs:
        *alone, _ = execute(run, REGISTRY, "cuda", engine=engine)
        assert figures(together[run.key]) == figures(alone)


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16", "half", "fp32+fast", "half+fast"])
@pytest.mark.parametrize("engine", ["sequential", "captured"])
def test_a_run_in_every_precision_is_near_that_in_fp32(precision, engine):
    (run,) = planned(1)
    *plain, _ = execute(run, REGISTRY, "cuda")
    *found, ended = execute(
        attrs.evolve(run, key=attrs.evolve(run.key, precision=precision)), REGISTRY, "cuda", engine=engine
    )
    assert ended.status == "finished", ended.reason
    assert [record.loss for record in found] == pytest.approx([record.loss for record in plain], rel=0.05)
    assert ended.provenance["engine"] == ("sequential" if precision == "fp16" else engine), ended.provenance


def test_recorded_steps_in_half_are_those_made_one_by_one():
    losses = [[r.loss for r in make(kind, precision="half").epochs()] for kind in (Training, SHORT_CHAIN)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_first_step_in_fp16_that_overflows_is_left_out(optimizer):
    training = make(Training, SETS | {"training.optimizer": optimizer}, precision="fp16")
    before = [parameter.detach().clone() for parameter in training.network.parameters()]
    handle = next(training.network.parameters()).register_hook(lambda gradient: gradient * torch.inf)
    training.set_mode(training=True)
    images, labels, indices = next(training.batches(1))
    training.set_learning_rate(0)
    training.step(images, labels, torch.Generator("cuda"), indices)
    assert all(map(torch.equal, before, training.network.parameters()))
    assert training.beside["scaling.scale"].item() == 2**15
    handle.remove()
    assert all(record.loss == record.loss and record.loss < 10 for record in training.epochs())


@pytest.mark.parametrize("engine", ["sequential", "captured"])
@pytest.mark.parametrize(
    "sets",
    [
        {"training.sampling": "balanced"},
        {"training.groups": [{"at": "features.*", "frozen_until": 0.5}]},
        {"training.groups": [{"at": "features.*", "frozen_after": 0.5}]},
    ],
    ids=["drawn by class", "frozen at first", "frozen later"],
)
def test_a_run_on_the_device_is_near_that_on_the_cpu(engine, sets):
    spec = small(REGISTRY, sets={"training.epochs": 6, "training.shuffle": True, **sets})
    run = planned_run(spec, REGISTRY)
    *expected, _ = execute(run, REGISTRY, "cpu")
    *found, ended = execute(run, REGISTRY, "cuda", engine=engine)
    assert (ended.status, ended.provenance["engine"]) == ("finished", engine), ended
    assert [record.loss for record in found] == pytest.approx([record.loss for record in expected], rel=1e-3)


def test_images_that_stay_in_memory_give_the_figures_of_those_on_the_device(monkeypatch):
    (run,) = planned(1)
    *expected, _ = execute(run, REGISTRY, "cuda", engine="sequential")
    spec = small(REGISTRY, sets=SETS)
    data = placed(load(spec.data.dataset, REGISTRY, Options.of(spec.data)), "cuda", "memory")
    *found, ended = execute(run, REGISTRY, "cuda", engine="captured", data=data)
    assert ended.status == "finished", ended.reason
    assert ended.provenance["engine"] == "sequential"
    assert "its images stay in memory" in ended.provenance["engine_why_not"]
    assert figures(found) == figures(expected)


def test_a_fault_in_a_kernel_fails_its_run_and_no_other():
    """In worker processes, for this one would do nothing more on the device."""
    sets = {"network.features.0.activation": "reads_out_of_range"}
    spoilt, *plain = planned_run(small(REGISTRY, "spoilt", sets), REGISTRY), *planned(2)
    events = list(processes(work([spoilt, *plain], REGISTRY, devices=("cuda:0",), jobs=1)))
    ended = {event.run.key: event.run for event in events if isinstance(event, Ended)}
    assert not any(isinstance(event, Lost) for event in events)
    assert ended[spoilt.key].reason.startswith("cuda:0 stopped in it, as at an index out of range in a kernel (")
    assert [ended[run.key].status for run in plain] == ["finished"] * 2


def test_a_compiled_run_trains_as_the_plain_one():
    (run,) = planned(1)
    *plain, _ = execute(run, REGISTRY, "cuda")
    *found, ended = execute(run, REGISTRY, "cuda", engine="compiled")
    assert (ended.status, ended.provenance["engine"]) == ("finished", "compiled"), ended.provenance
    assert [record.loss for record in found] == pytest.approx([record.loss for record in plain], rel=1e-3)


def test_no_two_runs_share_a_stream():
    """torch hands out 32 streams and then the same again; those that are in use are not handed out."""
    free: deque[torch.cuda.Stream] = deque()
    used = set()
    for _ in range(40):
        with ExitStack() as stack:
            now = []
            for _ in range(4):
                stack.enter_context(own_stream("cuda", free))
                now.append(torch.cuda.current_stream())
            assert len(set(now)) == 4
            assert torch.cuda.default_stream() not in now
            used.update(now)
    assert len(used) == 4


def test_steps_are_recorded_on_the_stream_of_the_thread():
    with own_stream("cuda", deque()):
        assert make(SHORT_CHAIN)._stream == torch.cuda.current_stream()
    assert make(SHORT_CHAIN)._stream != torch.cuda.default_stream()


@pytest.mark.parametrize("optimizer", [name for name in REGISTRY.variants("optimizer") if name not in NOT_RECORDABLE])
def test_a_run_goes_on_from_its_checkpoint(tmp_path, optimizer):
    require_library(optimizer)
    sets = SETS | {"training.optimizer": {"name": optimizer, "learning_rate": 0.01}}
    whole, file, records = make(SHORT_CHAIN, sets), tmp_path / "run.safetensors", []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 4:
            save(file, whole, records)
    resumed = make(SHORT_CHAIN, sets)
    list(resumed.epochs())
    held = restore(file, resumed)
    assert figures(held + list(resumed.epochs(first=5))) == figures(records)


def test_out_of_memory(monkeypatch, tmp_path):
    """The device really has none left for one of the runs, once."""
    monkeypatch.setenv(execute_module.CHECKPOINT_VARIABLE, "0")
    tried = []
    original = Training.train_epoch

    def hungry(self, epoch):
        if epoch == 3 and not tried:
            tried.append(epoch)
            torch.empty(2**45, dtype=torch.uint8, device="cuda")
        return original(self, epoch)

    monkeypatch.setattr(Training, "train_epoch", hungry)
    runs = [planned_run(small(REGISTRY, sets=SETS), REGISTRY, seed) for seed in range(2)]
    events = list(at_once(work(runs, REGISTRY, devices=("cuda",), jobs=2, checkpoints=tmp_path, engine="sequential")))
    assert sum(isinstance(event, Started) for event in events) == 3
    assert [event.run.status for event in events if isinstance(event, Ended)] == ["finished"] * 2


# Devices by number, and several of them.

several = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
LAST = f"cuda:{max(torch.cuda.device_count() - 1, 0)}"
EXECUTORS = {"streams": at_once, "processes": processes}


def planned(count=4):
    return [planned_run(small(REGISTRY, sets=SETS), REGISTRY, seed) for seed in range(count)]


def records(events):
    found = {}
    for event in events:
        if isinstance(event, Started):
            found[event.run.key] = []
        elif isinstance(event, EpochFinished):
            found[event.run.key].append(event.record)
    return {key: figures(epochs) for key, epochs in found.items()}


@pytest.mark.parametrize("engine", ["sequential", "captured"])
def test_a_device_by_number_gives_the_figures_of_the_current_one(engine):
    (run,) = planned(1)
    *plain, first = execute(run, REGISTRY, "cuda", engine=engine)
    *numbered, other = execute(run, REGISTRY, LAST, engine=engine)
    assert figures(plain) == figures(numbered)
    assert other.provenance["engine"] == engine, other.provenance
    assert other.peak_memory > 0
    assert (first.provenance["device"], other.provenance["device"]) == ("cuda", "cuda")
    assert torch.cuda.current_device() == 0


@several
def test_the_other_device_s_generator_is_seeded_and_restored():
    before = torch.cuda.get_rng_state(0), torch.cuda.get_rng_state(LAST)
    with streams.seeded(3, "dropout", device=LAST):
        drawn = torch.rand(5, device=LAST)
    assert torch.equal(drawn, torch.rand(5, device=LAST, generator=streams.generator(LAST, 3, "dropout")))
    for state, device in zip(before, (0, LAST), strict=True):
        assert torch.equal(torch.cuda.get_rng_state(device), state)


@several
def test_nothing_is_put_on_the_first_device_for_a_run_on_another():
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(0)
    torch.cuda.reset_peak_memory_stats(0)
    for engine in ("sequential", "captured"):
        list(execute(planned(1)[0], REGISTRY, LAST, engine=engine))
    assert torch.cuda.max_memory_allocated(0) == before


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("engine", ["sequential", "captured"])
def test_executors_give_the_figures_of_here_on_all_devices(name, engine):
    runs, all_devices = planned(), devices("cuda")
    alone = records(here(work(runs, REGISTRY, devices=all_devices[:1], engine=engine)))
    jobs = 2 * len(all_devices)
    events = list(EXECUTORS[name](work(runs, REGISTRY, devices=all_devices, jobs=jobs, engine=engine)))
    assert records(events) == alone
    ended = [event.run for event in events if isinstance(event, Ended)]
    assert [(run.status, run.reason) for run in ended] == [("finished", "")] * 4
    assert all((run.peak_memory > 0) == (name == "processes") for run in ended)


def test_the_process_that_commands_workers_needs_no_cuda():
    """So that it takes no memory on a device, and may be forked."""
    program = (
        "import torch\n"
        "from small_runs import PLUGIN, planned_run, small, work\n"
        "from zoo.execution.events import Ended\n"
        "from zoo.execution.processes import processes\n"
        "from zoo.registry import Registry\n"
        "registry = Registry(files=[PLUGIN])\n"
        "events = processes(work([planned_run(small(registry), registry)], registry, devices=('cuda:0',)))\n"
        "assert [event.run.status for event in events if isinstance(event, Ended)] == ['finished']\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    path = os.pathsep.join(filter(None, [str(PLUGIN.parent), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
