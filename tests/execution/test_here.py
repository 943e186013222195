"""Training here: which events come, in which order, and that a run does not depend on its company."""

from __future__ import annotations

import pickle

import pytest
import torch
from small_runs import DRAWING, PLUGIN, figures, planned_run, small, work

from zoo.execution.events import Ended, EpochFinished, Started
from zoo.execution.here import here
from zoo.registry import Registry
from zoo.train import lost
from zoo.train.lost import DeviceLostError


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
    monkeypatch.setattr(lost, "why_lost", lost.why_lost)  # to be put back
    losing = planned_run(small(registry, "losing", {"network.features.0.activation": "loses_the_device"}), registry)
    events = []
    with pytest.raises(
        DeviceLostError,
        match=r"^cpu does nothing more for this process since losing failed there \(plugin misbehaving_plugin .*\)\. "
        "What has ended is stored; train the others with executor='processes', which goes on in a new process$",
    ) as raised:
        events.extend(here(work([runs[0], losing, runs[1]], registry)))
    # `extend` keeps what came before the exception.
    ended = [event.run for event in events if isinstance(event, Ended)]
    assert [run.status for run in ended] == ["finished", "failed"]
    assert not any(event.run.key == runs[1].key for event in events)
    first, _, trace = ended[1].reason.partition("\n")
    assert first.startswith("cpu stopped in it, as at an index out of range in a kernel (plugin misbehaving_plugin (")
    assert first.endswith("; with CUDA_LAUNCH_BLOCKING=1 in the environment the traceback says where")
    assert trace.startswith("Traceback")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.ended) == (str(raised.value), ended[1])

    events = []
    with pytest.raises(
        DeviceLostError,
        match=r"^cpu does nothing more for this process since a kernel failed there \(CUDA error: device-side assert "
        r"triggered\): train in a new process$",
    ):
        events.extend(here(work([runs[1]], registry)))
    assert [type(event) for event in events] == [Started], "a run of the same process is not blamed later either"


def test_it_trains_on_one_thread(registry, runs):
    torch.set_num_threads(2)
    *events, (ended, _) = ((event, torch.get_num_threads()) for event in here(work(runs[:1], registry)))
    assert {threads for event, threads in events if isinstance(event, EpochFinished)} == {1}
    assert ended.run.provenance["threads"] == "1"
    assert torch.get_num_threads() == 2, "as it was before"
