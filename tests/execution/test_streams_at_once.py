"""Several runs at once in threads: the plumbing, on the CPU, where the threads take turns."""

from __future__ import annotations

import threading

import pytest
import torch
from small_runs import DRAWING, PLUGIN, figures, planned_run, small, work

from zoo.errors import on_command_line
from zoo.execution.events import Ended, EpochFinished, Lost, Started
from zoo.execution.here import here
from zoo.execution.streams import _free, _Place, streams
from zoo.registry import Registry
from zoo.train import execute as execute_module
from zoo.train import lost
from zoo.train.engines.choice import ENGINES
from zoo.train.places import checkpoint_file
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()


def runs_of(*seeds, sets=None):
    spec = small(REGISTRY, sets=DRAWING | {"training.shuffle": True, "training.epochs": 3, **(sets or {})})
    return [planned_run(spec, REGISTRY, seed) for seed in seeds]


def by_key(events):
    """Return the figures of each run's last attempt."""
    records = {}
    for event in events:
        match event:
            case Started(run):
                records[run.key] = []
            case EpochFinished(run, record):
                records[run.key].append(record)
    return {key: figures(epochs) for key, epochs in records.items()}


@pytest.mark.parametrize("engine", ["sequential", "captured"])
@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_a_run_in_company_is_the_run_alone(jobs, engine):
    other = {"network.features.0.filters": 4, "training.optimizer": "adam"}
    runs = [*runs_of(0, 1, 2), *runs_of(0, 1, sets=other)]
    state = torch.get_rng_state()
    events = list(streams(work(runs, REGISTRY, jobs=jobs, engine=engine)))
    assert by_key(events) == by_key(here(work(runs, REGISTRY)))
    ended = [event.run for event in events if isinstance(event, Ended)]
    assert {run.key for run in ended} == {run.key for run in runs}
    assert {(run.status, run.provenance["engine"]) for run in ended} == {("finished", engine)}
    assert torch.equal(torch.get_rng_state(), state)


def test_on_several_devices_a_run_is_the_run_alone():
    runs = runs_of(*range(5))
    events = list(streams(work(runs, REGISTRY, devices=("cpu", "cpu"))))
    assert by_key(events) == by_key(here(work(runs, REGISTRY)))
    assert [type(event) for event in events[:2]] == [Started, Started], "left to itself, one on each"
    assert isinstance(events[2], EpochFinished)


@pytest.mark.parametrize(
    ("most", "training", "jobs", "chosen"),
    [
        ((2, 2), (0, 0), 4, "a"),
        ((2, 2), (1, 0), 4, "b"),
        ((2, 2), (2, 1), 4, "b"),
        ((2, 2), (2, 2), 4, None),
        ((2, 2), (2, 1), 3, None),
        ((2, 1), (1, 1), 3, "a"),  # memory did not suffice for two on b
        ((1, 1), (0, 0), 1, "a"),
        ((1, 1), (0, 1), 1, None),
    ],
)
def test_runs_are_spread_over_the_devices(most, training, jobs, chosen):
    places = [_Place(device, *numbers) for device, *numbers in zip("ab", most, training, strict=True)]
    place = _free(places, jobs)
    assert (place and place.device) == chosen


def test_no_more_than_asked_for_are_trained_at_once():
    training = most = 0
    for event in streams(work(runs_of(*range(5)), REGISTRY, jobs=2)):
        training += isinstance(event, Started) - isinstance(event, Ended)
        most = max(most, training)
    assert (training, most) == (0, 2)


def test_a_run_that_fails_costs_itself_only():
    failing = runs_of(0, sets={"network.features.0.activation": "raises"})
    events = list(streams(work([*failing, *runs_of(0, 1)], REGISTRY, jobs=2)))
    assert [event.run.status for event in events if isinstance(event, Ended)].count("finished") == 2
    assert [event.run.key for event in events if isinstance(event, Ended) and event.run.status == "failed"] == [
        failing[0].key
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_costs_the_device_ends_the_work(monkeypatch, jobs):
    monkeypatch.setattr(lost, "why_lost", lost.why_lost)  # to be put back
    (losing,) = runs_of(0, sets={"network.features.0.activation": "loses_the_device"})
    events = []
    with on_command_line(), pytest.raises(lost.DeviceLostError, match=r"^cpu does nothing more for this pro") as raised:
        events.extend(streams(work([losing, *runs_of(*range(9))], REGISTRY, jobs=jobs)))
    failed = [event.run.key for event in events if isinstance(event, Ended) and event.run.status == "failed"]
    text = str(raised.value)
    # Of several at once, nobody knows whose fault it was.
    assert failed == ([losing.key] if jobs == 1 else [])
    assert ("or a run beside it failed there (" in text) == (jobs > 1)
    assert "CUDA error: device-side assert triggered" in text
    assert "--executor processes, which" in text, "as the command line writes it, also in a thread"
    assert text.endswith("; --jobs 1 tells which it was") == (jobs > 1)


class Memory:
    """A device on which so many trainings fit at once: one more, and an epoch finds no memory, from the second on."""

    def __init__(self, fitting):
        self.fitting, self.training = fitting, set()

    def engine(self):
        memory = self

        class Limited(Training):
            def train_epoch(self, epoch):
                memory.training.add(self.seed)
                if epoch > 1 and len(memory.training) > memory.fitting:
                    memory.training.discard(self.seed)
                    raise torch.OutOfMemoryError("CUDA out of memory")
                loss = super().train_epoch(epoch)
                if epoch == self.spec.training.epochs:
                    memory.training.discard(self.seed)
                return loss

        return Limited


@pytest.mark.parametrize("fitting", [1, 2, 3])
def test_with_too_little_memory_fewer_are_trained_at_once(monkeypatch, tmp_path, fitting):
    runs = runs_of(*range(4))
    alone = by_key(here(work(runs, REGISTRY)))
    monkeypatch.setenv(execute_module.CHECKPOINT_VARIABLE, "0")
    memory = Memory(fitting)
    monkeypatch.setitem(ENGINES, "sequential", memory.engine())
    events = list(streams(work(runs, REGISTRY, jobs=4, checkpoints=tmp_path)))
    assert by_key(events) == alone
    assert [event.run.status for event in events if isinstance(event, Ended)] == ["finished"] * 4
    for event in events:
        if isinstance(event, Lost):
            assert event.reason.startswith("the memory of cpu does not suffice for ")
    assert set(tmp_path.iterdir()) == {checkpoint_file(tmp_path, run.key) for run in runs}


def test_a_run_that_has_no_room_alone_has_failed(monkeypatch):
    memory = Memory(0)
    monkeypatch.setitem(ENGINES, "sequential", memory.engine())
    events = list(streams(work(runs_of(0, 1), REGISTRY, jobs=2)))
    lost = [event.reason for event in events if isinstance(event, Lost)]
    assert lost[0] == "the memory of cpu does not suffice for 2 at once, now 1"
    ended = [event.run for event in events if isinstance(event, Ended)]
    assert [(run.status, run.reason) for run in ended] == 2 * [
        ("failed", "the memory of cpu does not suffice: OutOfMemoryError: CUDA out of memory")
    ]


def test_a_run_goes_on_from_its_checkpoint(monkeypatch, tmp_path):
    """Without a second chance of the epochs that are behind it."""
    monkeypatch.setenv(execute_module.CHECKPOINT_VARIABLE, "0")
    trained, raised = [], []

    class Once(Training):
        def train_epoch(self, epoch):
            if epoch == 3 and not raised:
                raised.append(epoch)
                raise torch.OutOfMemoryError("CUDA out of memory")
            trained.append(epoch)
            return super().train_epoch(epoch)

    monkeypatch.setitem(ENGINES, "sequential", Once)
    events = list(streams(work(runs_of(0), REGISTRY, jobs=2, checkpoints=tmp_path)))
    assert [type(event) for event in events if not isinstance(event, EpochFinished)] == [Started, Lost, Started, Ended]
    assert trained == [1, 2, 3]


def test_closing_it_ends_the_threads():
    before = threading.active_count()
    events = streams(work(runs_of(0, 1, sets={"training.epochs": 1000}), REGISTRY, jobs=2))
    while not isinstance(next(events), EpochFinished):
        pass
    events.close()
    assert threading.active_count() == before


def test_what_stops_everything_is_raised_here():
    interrupting = runs_of(0, sets={"network.features.0.activation": "interrupts"})
    with pytest.raises(KeyboardInterrupt):
        list(streams(work([*interrupting, *runs_of(0)], REGISTRY, jobs=2)))
