"""Training in worker processes: the same figures as here, whatever happens to a worker or to its parent."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import DRAWING, PLUGIN, figures, planned_run, small, work

from zoo.execution import processes as module
from zoo.execution.events import Ended, EpochFinished, Lost, Started
from zoo.execution.here import here
from zoo.execution.processes import NoWorkersError, _least_used, available_cores, processes
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
    reference, _ = told(here(work(runs, registry)))
    results, lost = told(processes(work(runs, registry, jobs=2)))
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
    reference, _ = told(here(work(runs, registry)))
    results, lost = told(processes(work(runs, registry, jobs=2)))
    assert lost == {once.key: reason, always.key: reason}
    assert results[plain.key] == reference[plain.key]
    assert results[once.key] == reference[once.key], "the second attempt gives other figures than one undisturbed"
    assert results[once.key][1] == "finished"
    assert results[always.key][1:] == ("failed", f"{reason}, twice")
    assert [len(counter.read_text()) for counter in counters] == [1, 2]


def test_a_worker_that_lost_its_device_is_replaced(registry):
    sets = [{"network.features.0.activation": name} for name in ("loses_the_device", "raises", "none")]
    losing, failing, plain = (
        planned_run(small(registry, str(index), each), registry) for index, each in enumerate(sets)
    )
    results, lost = told(processes(work([losing, failing, plain], registry, jobs=1)))
    assert not lost, "the next run did not need a second attempt"
    assert [results[run.key][1] for run in (losing, failing, plain)] == ["failed", "failed", "finished"]
    assert results[losing.key][2].startswith(
        "cpu stopped in it, as at an index out of range in a kernel (plugin misbehaving"
    )
    assert results[failing.key][2].startswith("plugin misbehaving_plugin"), "in a worker that cannot train"


def hanging_runs(registry, folder):
    spec = small(registry, "hanging", {"network.features.0.activation": {"name": "hangs", "folder": str(folder)}})
    return [planned_run(spec, registry, seed) for seed in range(3)]


def pids(folder):
    return [int(file.name) for file in folder.iterdir()]


def test_closing_ends_all_processes(registry, tmp_path):
    events = processes(work(hanging_runs(registry, tmp_path), registry, jobs=2))
    assert [type(next(events)) for _ in range(2)] == [Started, Started]
    wait_for(lambda: len(pids(tmp_path)) == 2, "the workers' first step")
    events.close()
    assert not any(alive(pid) for pid in pids(tmp_path))


PARENT = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from small_runs import PLUGIN, work
from test_processes import hanging_runs
from zoo.registry import Registry
from zoo.execution.processes import processes

if __name__ == "__main__":
    registry = Registry(files=[PLUGIN])
    for event in processes(work(hanging_runs(registry, Path(sys.argv[3])), registry, jobs=2)):
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


# How many, and where.


@pytest.fixture
def started(monkeypatch):
    """The devices of the workers that were started."""
    devices = []

    class Counted(module._Worker):
        def __init__(self, work, device):
            devices.append(device)
            super().__init__(work, device)

    monkeypatch.setattr(module, "_Worker", Counted)
    return devices


@pytest.mark.parametrize(("runs", "jobs", "expected"), [(1, 3, 1), (3, 2, 2), (0, 2, 0)])
def test_no_more_processes_than_runs_or_jobs(registry, started, runs, jobs, expected):
    spec = small(registry)
    planned = [planned_run(spec, registry, seed) for seed in range(runs)]
    results, _ = told(processes(work(planned, registry, jobs=jobs)))
    assert len(results) == runs
    assert len(started) == expected


def test_left_to_itself_it_trains_as_many_as_there_are_cores(registry, started, monkeypatch):
    monkeypatch.setattr(module, "available_cores", lambda: 2)
    planned = [planned_run(small(registry), registry, seed) for seed in range(3)]
    told(processes(work(planned, registry, devices=("cpu", "cpu"))))
    assert started == ["cpu", "cpu"]


def test_each_worker_has_the_device_that_fewest_have():
    class Used:
        def __init__(self, device):
            self.device = device

    devices = ("cuda:0", "cuda:1", "cuda:2")
    pool = []
    for _ in range(7):
        pool.append(Used(_least_used(devices, pool)))
    assert [worker.device[-1] for worker in pool] == list("0120120")
    del pool[4]
    assert _least_used(devices, pool) == "cuda:1"


# What workers import, and the process that they are forked from.

WITNESS = """
import json, os, sys
from pathlib import Path
import zoo

def tells(*, file: str = ""):
    "Writes down where this process finds its modules."
    import random, torch
    told = {
        "path": sys.path, "zoo": zoo.__file__, "random": random.__file__, "torch": torch.__file__,
        "environment": dict(os.environ), "worker": os.getpid(),
    }
    Path(file).write_text(json.dumps(told))
    return torch.nn.Identity()

@zoo.hookimpl
def zoo_register_activations(register):
    register("tells", tells)
"""
COMMAND = """
import json, os, sys
from pathlib import Path
from zoo.cli import main

if __name__ == "__main__":
    witness, file = sys.argv[1:]
    try:
        main(["--plugin", witness, "benchmark", "starter/default", "--epochs", "1", "--seeds", "2", "--jobs", "2",
              "--set", f"activation={{name = 'tells', file = '{file}'}}", "--ledger", "l.sqlite"])
    finally:
        import random, torch, zoo
        print("\\n" + json.dumps({
            "path": sys.path, "zoo": zoo.__file__, "random": random.__file__, "torch": torch.__file__,
            "environment": dict(os.environ),
        }))
"""


def test_workers_import_what_the_command_imports(tmp_path):
    """Not what happens to lie in the working folder."""
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    (folder / "zoo").mkdir(parents=True)
    (folder / "torch").mkdir()
    elsewhere.mkdir()
    for name in ("queue.py", "random.py", "socket.py", "json.py", "zoo/__init__.py", "torch/__init__.py"):
        (folder / name).write_text("raise SystemExit('this is imported from the working folder')")
    witness, command, file = elsewhere / "witness.py", elsewhere / "command.py", elsewhere / "told.json"
    witness.write_text(WITNESS)
    command.write_text(COMMAND)
    result = subprocess.run(
        [sys.executable, str(command), str(witness), str(file)], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    own, workers = json.loads(result.stdout.splitlines()[-1]), json.loads(file.read_text())
    for what in ("path", "zoo", "random", "torch", "environment"):
        assert workers[what] == own[what], what


def test_the_environment_is_as_it_was(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    with module._own_imports():
        assert os.environ["PYTHONSAFEPATH"] == "1"
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [path or os.getcwd() for path in sys.path]
    assert dict(os.environ) == before


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="there is none")
def test_a_fork_server_that_was_killed_is_begun_again(registry):
    from multiprocessing.forkserver import _forkserver

    planned = [planned_run(small(registry), registry, seed) for seed in range(3)]
    reference, _ = told(here(work(planned, registry)))
    events = processes(work(planned, registry, jobs=1))
    first = [next(events), next(events)]
    os.kill(_forkserver._forkserver_pid, signal.SIGKILL)  # its workers live on
    assert told([*first, *events]) == (reference, {})
    assert told(processes(work(planned, registry, jobs=2))) == (reference, {})


def test_workers_that_are_begun_anew_train_what_is_trained_here(registry, monkeypatch):
    """As on CUDA, and on Windows."""
    assert module._context("cuda:1").get_start_method() == "spawn"
    monkeypatch.setattr(module, "_context", lambda device: multiprocessing.get_context("spawn"))
    planned = [planned_run(small(registry), registry, seed) for seed in range(2)]
    reference, _ = told(here(work(planned, registry)))
    assert told(processes(work(planned, registry, jobs=1))) == (reference, {})


def test_where_no_process_can_be_started_that_is_said(registry, monkeypatch):
    class Dead:
        @staticmethod
        def Process(**arguments):  # noqa: N802
            return Dead()

        def start(self):
            raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(module, "_context", lambda device: Dead)
    with pytest.raises(NoWorkersError) as caught:
        list(processes(work([planned_run(small(registry), registry)], registry)))
    assert str(caught.value) == (
        "no worker process can be started (BlockingIOError: [Errno 11] Resource temporarily unavailable); train "
        "without them: jobs=1"
    )


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
def test_ctrl_c_while_workers_start_shows_no_traceback(tmp_path):
    """The process that workers are forked from imports torch for seconds, and is told of Ctrl-C as the command is."""
    command = [sys.executable, "-m", "zoo", "benchmark", "starter/default", "--epochs", "20", "--seeds", "30", "--jobs"]
    options = ["2", "--yes", "--ledger", str(tmp_path / "zoo.sqlite")]
    running = subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What runs the tests may be in the background of a script, where a shell turns SIGINT off for all below.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    said = ""
    while "to train" not in said:
        said += (line := running.stderr.readline())
        assert line, said
    os.killpg(running.pid, signal.SIGINT)
    _, rest = running.communicate(timeout=120)
    assert "Traceback" not in rest, rest
    assert "Stopped" in rest
    assert running.returncode == 130


def test_a_long_folder_for_temporary_files_is_no_obstacle(tmp_path):
    folder = tmp_path / ("t" * 100)
    folder.mkdir()
    script = tmp_path / "script.py"
    script.write_text(TRAINING_TWO)
    environment = os.environ | {"TMPDIR": str(folder)}
    arguments = [sys.executable, str(script), str(Path(__file__).parent.parent)]
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{folder}\n['finished', 'finished']\n", "")


TRAINING_TWO = """
import sys, tempfile
sys.path.insert(0, sys.argv[1])
from small_runs import PLUGIN, planned_run, small, work
from zoo.execution.events import Ended
from zoo.execution.processes import processes
from zoo.registry import Registry

if __name__ == "__main__":
    registry = Registry(files=[PLUGIN])
    runs = [planned_run(small(registry), registry, seed) for seed in (0, 1)]
    events = list(processes(work(runs, registry, jobs=2)))
    print(tempfile.gettempdir())
    print([event.run.status for event in events if isinstance(event, Ended)])
"""
