"""Training here: which events come, in which order, and that a run does not depend on its company."""

from __future__ import annotations

import pytest
import torch
from small_runs import DRAWING, PLUGIN, figures, planned_run, small, work

from zoo.execution.events import Ended, EpochFinished, Started
from zoo.execution.here import here
from zoo.registry import Registry
from zoo.train import execute as execute_module
from zoo.train.execute import DeviceLostError


@pytest.fixture(scope="module")
def registry():
    return Registry(files=[PLUGIN]).require_sound()


@pytest.fixture
def runs(registry):
    """Three runs that draw for everything, and one that fails."""
    drawing = small(registry, sets=DRAWING | {"training.shuffle": True})
    failing = small(registry, "failing", {"network.features.0.activation": "raises"})
    return [planned_run(drawing, registry, seed) for seed in range(3)] + [planned_run(failing, registry)]


def by_key(events):
    """Return the figures of each run."""
    records = {}
    for event in events:
        match event:
            case Started(run):
                records[run.key] = []
            case EpochFinished(run, record):
                records[run.key].append(record)
    return {key: figures(epochs) for key, epochs in records.items()}


def test_what_is_told(registry, runs):
    events = list(here(work(runs[2:], registry)))
    assert [type(event) for event in events] == [Started, EpochFinished, EpochFinished, Ended, Started, Ended]
    assert [event.run.key for event in events] == [runs[2].key] * 4 + [runs[3].key] * 2
    assert [event.run.status for event in events if isinstance(event, Ended)] == ["finished", "failed"]
    assert [event.record.epoch for event in events if isinstance(event, EpochFinished)] == [1, 2]


def test_figures_do_not_depend_on_the_order_or_the_company(registry, runs):
    together = by_key(here(work(runs, registry)))
    assert by_key(here(work(reversed(runs), registry))) == together
    for run in runs:
        torch.manual_seed(5)
        assert by_key(here(work([run], registry))) == {run.key: together[run.key]}


def test_after_a_run_that_costs_the_device_no_other_is_blamed(registry, runs, monkeypatch):
    """On a GPU a fault in a kernel lets all that the process asks of it fail; here as after the second run."""
    *_, failing = runs
    asked = []
    monkeypatch.setattr(execute_module, "why_lost", lambda device: asked.append(device) or "CUDA error: assert")
    events = []
    with pytest.raises(
        DeviceLostError,
        match=r"^cpu does nothing more for this process since failing failed there\. What has ended is stored; train "
        "the others with executor='processes', which goes on in a new process$",
    ) as raised:
        events.extend(here(work([runs[0], failing, runs[1]], registry)))
    # `extend` keeps what came before the exception.
    ended = [event.run for event in events if isinstance(event, Ended)]
    assert [run.status for run in ended] == ["finished", "failed"]
    assert not any(event.run.key == runs[1].key for event in events)
    first, _, trace = ended[1].reason.partition("\n")
    assert first.startswith("a kernel failed on cpu, as by an index out of range (plugin misbehaving_plugin (")
    assert first.endswith("; with CUDA_LAUNCH_BLOCKING=1 in the environment the traceback says which")
    assert trace.startswith("Traceback")
    assert raised.value.is_at_fault
    assert asked == ["cpu"], "a run that does not fail asks nothing of the device"


def test_it_trains_on_one_thread(registry, runs):
    torch.set_num_threads(2)
    *events, (ended, _) = ((event, torch.get_num_threads()) for event in here(work(runs[:1], registry)))
    assert {threads for event, threads in events if isinstance(event, EpochFinished)} == {1}
    assert ended.run.provenance["threads"] == "1"
    assert torch.get_num_threads() == 2, "as it was before"
