"""What comes of a run: finished, diverged or failed, with a reason that a person can use."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import attrs
import pytest
import torch
from small_runs import DRAWING, PLUGIN, figures, planned_run, small

from zoo import __version__
from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.train import machine
from zoo.train.execute import dataset, execute
from zoo.train.machine import choose_device, devices, make_deterministic, provenance
from zoo.train.run import Run
from zoo.train.training import Training


@pytest.fixture(scope="module")
def registry():
    return Registry(files=[PLUGIN]).require_sound()


@pytest.fixture
def outcome(registry):
    """Execute a small run with sets; return its epochs and the run as it ended."""

    def outcome(sets=None, **changes):
        run = attrs.evolve(planned_run(small(registry, sets=sets), registry), **changes)
        *epochs, ended = execute(run, registry, "cpu")
        assert isinstance(ended, Run)
        return epochs, ended

    return outcome


def activation(name, **options):
    return {"network.features.0.activation": {"name": name, **options}}


def test_a_run_that_finishes(outcome, registry):
    epochs, ended = outcome(DRAWING)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert (ended.status, ended.reason, ended.epochs) == ("finished", "", ())
    spec = small(registry, sets=DRAWING)
    reference = Training(spec, 0, dataset(spec, registry, "cpu"), device="cpu", registry=registry)
    assert (ended.parameters, ended.flops) == (reference.parameters, reference.flops)
    assert ended.seconds_setup > 0
    assert all(epoch.seconds_training > 0 and epoch.seconds_evaluation > 0 for epoch in epochs)
    assert figures(epochs) == figures(reference.epochs())
    assert ended.provenance.items() >= provenance("cpu").items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", ended.provenance["started"])


def test_a_run_that_diverges_keeps_its_epochs(outcome):
    epochs, ended = outcome(activation("explodes", step=8))
    assert [epoch.epoch for epoch in epochs] == [1]
    assert (ended.status, ended.reason) == ("diverged", "diverged at epoch 2: the training loss is nan")
    assert ended.parameters > 0


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        ("raises", "KeyError: 'no such\\nkey'"),
        ("raises_in_backward", "KeyError: 'no such\\nkey'"),
        ("exits", "SystemExit: 3"),
        ("gives_up", "GivesUpError: no more"),
    ],
)
def test_a_layer_that_raises_fails_its_run_and_is_named(outcome, layer, what):
    epochs, ended = outcome(activation(layer))
    assert not epochs
    assert ended.status == "failed"
    first, _, trace = ended.reason.partition("\n")
    plugin = rf"misbehaving_plugin \(single file, {re.escape(str(PLUGIN))}\)"
    what = re.escape(" ".join(what.split()))
    assert re.fullmatch(rf"plugin {plugin} raised {what} \(line \d+ of {re.escape(str(PLUGIN))}\)", first)
    assert trace.startswith("Traceback")


def test_what_no_plugin_raised_names_none(outcome):
    """A layer gives a wrong shape, and torch's own layer after it raises."""
    _, ended = outcome(activation("shrinks"))
    assert ended.status == "failed"
    first = ended.reason.partition("\n")[0]
    assert re.fullmatch(r"RuntimeError: .*mat1 and mat2 shapes cannot be multiplied \(5x18 and 27x5\)", first)


def test_what_stops_everything_is_not_taken_for_a_failure(outcome):
    with pytest.raises(KeyboardInterrupt):
        outcome(activation("interrupts"))


def test_a_run_can_be_closed(registry):
    state = torch.get_rng_state()
    events = execute(planned_run(small(registry, sets=DRAWING), registry), registry, "cpu")
    next(events)
    events.close()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_spec_that_does_not_fit_fails_with_the_builders_message(outcome):
    _, ended = outcome({"network.features.0.filter": {"name": "conv", "size": 9, "padding": "valid"}})
    assert ended.status == "failed"
    assert ended.reason.startswith("small: network.features[0].filter: conv(size=9) does not fit its input of 1x6x6: ")
    assert "\n" not in ended.reason


def test_a_data_set_that_changed_since_the_plan_is_not_trained_on(outcome, registry):
    run = planned_run(small(registry), registry)
    epochs, ended = outcome(key=attrs.evolve(run.key, dataset="another"))
    assert not epochs
    assert ended.status == "failed"
    assert ended.reason == "the data set squares has changed since the run was planned: run the command again"


def test_global_state_is_left_as_it_was(outcome):
    state = torch.get_rng_state()
    outcome(DRAWING)
    outcome(activation("raises"))
    assert torch.equal(torch.get_rng_state(), state)


def test_provenance():
    make_deterministic("cpu")
    told = provenance("cpu")
    assert told["zoo"] == __version__
    assert told["torch"] == torch.__version__
    assert told["python"] == platform.python_version()
    assert (told["device"], told["engine"], told["threads"]) == ("cpu", "sequential", "1")


def test_the_processors_name_is_its_makers():
    name = machine._processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and "model name" in cpuinfo.read_text():
        assert f": {name}\n" in cpuinfo.read_text()
    assert name.strip() == name != ""


@pytest.mark.parametrize(("processor", "architecture", "name"), [("arm", "arm64", "arm"), ("", "arm64", "arm64")])
@pytest.mark.parametrize("content", ["processor : 0\n", None])
def test_the_processors_name_elsewhere(monkeypatch, processor, architecture, name, content):
    def read_text(self, encoding):
        if content is None:
            raise FileNotFoundError
        return content

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(platform, "processor", lambda: processor)
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    assert machine._processor() == name


@pytest.fixture
def present(monkeypatch):
    def present(gpus=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return present


@pytest.mark.parametrize(
    ("here", "best"),
    [
        ({"gpus": 2}, ("cuda:0", "cuda:1")),
        ({"mps": True}, ("mps",)),
        ({"gpus": 1, "mps": True}, ("cuda:0",)),
        ({}, ("cpu",)),
    ],
)
def test_the_best_devices_are_chosen(present, here, best):
    present(**here)
    assert devices("auto") == best
    assert devices(best[0].partition(":")[0]) == best
    assert devices(best[-1]) == best[-1:]
    assert devices("cpu") == ("cpu",)
    assert choose_device("auto") == best[0]


def test_one_of_several_gpus_is_chosen(present):
    present(gpus=3)
    assert devices("cuda:2") == ("cuda:2",)


@pytest.mark.parametrize(
    ("here", "name", "message"),
    [
        ({"mps": True}, "cuda", "there is none here; what there is: mps, cpu"),
        ({}, "cuda:1", "there is none here; what there is: cpu"),
        ({"gpus": 1}, "mps", "there is none here; what there is: cuda:0, cpu"),
        ({"gpus": 2}, "cuda:3", "there are 2 GPUs here; what there is: cuda:0, cuda:1"),
        ({"gpus": 1}, "cuda:1", "there is 1 GPU here; what there is: cuda:0"),
        ({}, "tpu", "there is no such device; it is auto, cpu, cuda, mps, or one GPU as in cuda:1"),
        ({"gpus": 2}, "cuda:x", "there is no such device; it is auto, cpu, cuda, mps, or one GPU as in cuda:1"),
        ({"gpus": 2}, "cuda:01", "there are 2 GPUs here; what there is: cuda:0, cuda:1"),
    ],
)
def test_a_device_that_is_not_there(present, here, name, message):
    present(**here)
    with pytest.raises(ZooError) as caught:
        devices(name)
    assert str(caught.value) == f"device={name!r}: {message}"


def test_a_gpu_s_number_is_not_recorded(monkeypatch):
    named = {"cuda:0": "One GPU", "cuda:1": "Another"}
    monkeypatch.setattr(torch.cuda, "get_device_name", named.get)
    told = [provenance.__wrapped__(device) for device in named]
    assert [each["device"] for each in told] == ["cuda", "cuda"]
    assert [each["device_name"] for each in told] == list(named.values())


def test_a_data_set_is_loaded_once(registry):
    one, other = (dataset(small(registry, sets=sets), registry, "cpu") for sets in ({}, DRAWING))
    assert one is other
    assert dataset(small(registry), registry, "meta") is not one, "each device has its own"
    assert dataset(small(registry, sets={"data.validation": 0.2}), registry, "cpu").validation is not None
