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
from zoo.train import execute as execute_module
from zoo.train.execute import dataset, execute
from zoo.train.machine import choose_device, make_deterministic, provenance
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
    name = execute_module._processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and "model name" in cpuinfo.read_text():
        assert f": {name}\n" in cpuinfo.read_text()
    assert name.strip() == name != ""


@pytest.mark.parametrize(("processor", "machine", "name"), [("arm", "arm64", "arm"), ("", "arm64", "arm64")])
@pytest.mark.parametrize("content", ["processor : 0\n", None])
def test_the_processors_name_elsewhere(monkeypatch, processor, machine, name, content):
    def read_text(self, encoding):
        if content is None:
            raise FileNotFoundError
        return content

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(platform, "processor", lambda: processor)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert execute_module._processor() == name


@pytest.fixture
def devices(monkeypatch):
    def devices(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return devices


@pytest.mark.parametrize(
    ("here", "best"),
    [({"cuda": True}, "cuda"), ({"mps": True}, "mps"), ({"cuda": True, "mps": True}, "cuda"), ({}, "cpu")],
)
def test_the_best_device_is_chosen(devices, here, best):
    devices(**here)
    assert choose_device("auto") == best
    assert choose_device(best) == best
    assert choose_device("cpu") == "cpu"


def test_a_device_that_is_not_there(devices):
    devices(mps=True)
    with pytest.raises(ZooError, match=r"^--device cuda: there is none here; what there is: cpu, mps$"):
        choose_device("cuda")


def test_a_data_set_is_loaded_once(registry):
    one, other = (dataset(small(registry, sets=sets), registry, "cpu") for sets in ({}, DRAWING))
    assert one is other
    assert dataset(small(registry, sets={"data.validation": 0.2}), registry, "cpu").validation is not None
