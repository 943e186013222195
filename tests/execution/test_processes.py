"""Training in worker processes: the same figures as here, whatever happens to a worker or to its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import DRAWING, PLUGIN, figures, planned_run, small

from zoo.execution.events import Ended, EpochFinished, Lost, Started
from zoo.execution.here import here
from zoo.execution.processes import available_cores, workers
from zoo.registry import Registry

PATIENCE = 120.0
"""Seconds after which what is waited for is taken not to happen; on a loaded machine a worker starts slowly."""


@pytest.fixture(scope="module")
def registry():
    return Registry(files=[PLUGIN]).require_sound()


def told(events):
    """Return what each run came to: its figures, status and reason; and check the order of its events."""
    records, ended, lost = {}, {}, {}
    for event in events:
        key = event.run.key
        match event:
            case Started():
                assert key not in ended
                records[key] = []
            case EpochFinished(record=record):
                records[key].append(record)
            case Lost(reason=reason):
                lost[key] = reason
            case Ended(run):
                ended[key] = run
    return {key: (figures(records[key]), run.status, run.reason) for key, run in ended.items()}, lost


def alive(pid):
    """Tell whether a process runs; one that is dead but not collected by its parent does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE} s"
        time.sleep(0.02)


def test_workers_train_what_is_trained_here(registry):
    drawing = small(registry, sets=DRAWING | {"training.shuffle": True})
    failing = small(registry, "failing", {"network.features.0.activation": "raises"})
    exiting = small(registry, "exiting", {"network.features.0.activation": "exits"})
    diverging = small(registry, "diverging", {"network.features.0.activation": {"name": "explodes", "step": 8}})
    runs = [planned_run(drawing, registry, seed) for seed in range(4)]
    runs += [planned_run(spec, registry) for spec in (failing, exiting, diverging)]
    reference, _ = told(here(runs, registry, "cpu"))
    results, lost = told(workers(runs, registry, "cpu", 2))
    assert not lost
    first_line = {key: (epochs, status, reason.partition("\n")[0]) for key, (epochs, status, reason) in results.items()}
    assert first_line == {
        key: (epochs, status, reason.partition("\n")[0]) for key, (epochs, status, reason) in reference.items()
    }
    assert [status for _, status, _ in reference.values()] == ["finished"] * 4 + ["failed"] * 2 + ["diverged"]


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ({}, "its worker process was killed by SIGKILL (out of memory?)"),
        ({"code": 3}, "its worker process ended with exit code 3"),
    ],
    ids=["killed", "exits"],
)
def test_a_run_whose_worker_dies_is_tried_once_more(registry, tmp_path, ending, reason):
    counters = [tmp_path / "once", tmp_path / "always"]
    for counter in counters:
        counter.touch()
    kills = [
        {"name": "kills", "counter": str(counter), "times": times, "step": 7, **ending}
        for counter, times in zip(counters, (1, 2), strict=True)
    ]
    plain, once, always = (
        planned_run(small(registry, name, {"network.features.0.activation": choice}), registry)
        for name, choice in zip(("plain", "once", "always"), ("none", *kills), strict=True)
    )
    runs = [once, always, plain]
    reference, _ = told(here(runs, registry, "cpu"))
    results, lost = told(workers(runs, registry, "cpu", 2))
    assert lost == {once.key: reason, always.key: reason}
    assert results[plain.key] == reference[plain.key]
    assert results[once.key] == reference[once.key], "the second attempt gives other figures than one undisturbed"
    assert results[once.key][1] == "finished"
    assert results[always.key][1:] == ("failed", f"{reason}, twice")
    assert [len(counter.read_text()) for counter in counters] == [1, 2]


def hanging_runs(registry, folder):
    spec = small(registry, "hanging", {"network.features.0.activation": {"name": "hangs", "folder": str(folder)}})
    return [planned_run(spec, registry, seed) for seed in range(3)]


def pids(folder):
    return [int(file.name) for file in folder.iterdir()]


def test_closing_ends_all_processes(registry, tmp_path):
    events = workers(hanging_runs(registry, tmp_path), registry, "cpu", 2)
    assert [type(next(events)) for _ in range(2)] == [Started, Started]
    wait_for(lambda: len(pids(tmp_path)) == 2, "the workers' first step")
    events.close()
    assert not any(alive(pid) for pid in pids(tmp_path))


PARENT = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from small_runs import PLUGIN
from test_workers import hanging_runs
from zoo.registry import Registry
from zoo.execution.processes import workers

if __name__ == "__main__":
    registry = Registry(files=[PLUGIN])
    for event in workers(hanging_runs(registry, Path(sys.argv[3])), registry, "cpu", 2):
        pass
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_workers_end_with_their_parent_in_the_middle_of_a_step(tmp_path):
    script, folder = tmp_path / "parent.py", tmp_path / "pids"
    folder.mkdir()
    script.write_text(PARENT)
    places = [str(PLUGIN.parent), str(Path(__file__).parent)]
    parent = subprocess.Popen([sys.executable, str(script), *places, str(folder)])
    try:
        wait_for(lambda: len(pids(folder)) == 2 or parent.poll() is not None, "the workers' first step")
        assert parent.poll() is None, "the parent has ended by itself"
        parent.kill()
        parent.wait()
        wait_for(lambda: not any(alive(pid) for pid in pids(folder)), "the end of the workers")
    finally:
        parent.kill()
        parent.wait()
        for pid in filter(alive, pids(folder)):
            os.kill(pid, signal.SIGKILL)


def test_there_is_a_core():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
