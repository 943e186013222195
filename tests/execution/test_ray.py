"""Training on a Ray cluster: the same figures as here, whatever is lost on the way, and nothing left behind.

The cluster is one of several nodes on this machine. What takes minutes is tested where ZOO_SLOW is set.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import cache
from pathlib import Path

import attrs
import pytest
from small_runs import DRAWING, PLUGIN, figures, planned_run, small

from zoo.errors import ZooError
from zoo.execution.cluster.connection import import_ray
from zoo.execution.contract import Work
from zoo.execution.events import Ended, EpochFinished, Lost, Started
from zoo.execution.here import here
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.train.places import checkpoint_file

try:
    ray = import_ray()  # as zoo does it, which makes it quiet
except ZooError as error:
    pytest.skip(str(error), allow_module_level=True)

from ray.cluster_utils import Cluster

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends signals"),
    # Ray leaves files and sockets for the end of the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
slow = pytest.mark.skipif("ZOO_SLOW" not in os.environ, reason="takes minutes; set ZOO_SLOW to run it")

UNRULY = Path(__file__).with_name("unruly_plugin.py")
PATIENCE = 120.0
"""Seconds after which what is waited for is taken not to happen."""
KILLS = int(os.environ.get("ZOO_KILLS", "20"))


@pytest.fixture(scope="module")
def registry():
    return Registry(files=[PLUGIN, UNRULY]).require_sound()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of two nodes with a core each, whose cache is not that of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache-of-the-nodes")))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def train(registry, cluster):
    """Return a function that trains on the cluster and keeps what is said in its attribute `said`."""

    def train(runs, **options):
        options = {"registry": registry, "say": train.said.append, **options}
        work = Work(runs=iter(runs), **options)
        return registry.variant("executor", "ray").make({"address": cluster.address}, work=work)

    train.said = []
    return train


def told(events):
    """Return what each run came to: its figures, status and first line of the reason; check the order of its events."""
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
                assert key not in lost
                lost[key] = reason
            case Ended(run):
                assert key not in ended
                ended[key] = run
    return ended, {key: (figures(records[key]), run.status) for key, run in ended.items()}, lost


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE} s"
        time.sleep(0.02)


def alive(pid):
    """Tell whether a process runs; one that is dead but not collected by its parent does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def trainers():
    """Return the actors' processes on this machine."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
    return [int(line.split()[0]) for line in listed if "ray::Trainer" in line]


def unruly(registry, name, activation, seed=0, **options):
    choice = {"name": activation, "spare": os.getpid(), **options}
    return planned_run(small(registry, name, {"network.features.0.activation": choice}), registry, seed)


def waiting(registry, folder, count):
    return [unruly(registry, "waits", "waits_in_worker", seed, folder=str(folder)) for seed in range(count)]


def pids(folder):
    return [int(file.name) for file in folder.iterdir() if file.name.isdigit()]


def test_what_is_trained_on_a_cluster_is_what_is_trained_here(registry, train, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("zoo.execution.cluster.pool.START_PATIENCE", PATIENCE)  # both workers, on a loaded machine too
    counters = [tmp_path / "once", tmp_path / "always"]
    for counter in counters:
        counter.touch()
    drawing = small(registry, sets=DRAWING | {"training.shuffle": True})
    failing = small(registry, "failing", {"network.features.0.activation": "raises"})
    diverging = small(registry, "diverging", {"network.features.0.activation": {"name": "explodes", "step": 8}})
    held_out = small(registry, "held out", {"data.validation": 0.3})
    once, always = (
        unruly(registry, counter.name, "kills_worker", counter=str(counter), times=times, step=7)
        for counter, times in zip(counters, (1, 2), strict=True)
    )
    runs = [planned_run(drawing, registry, seed) for seed in range(3)]
    runs += [planned_run(spec, registry) for spec in (failing, diverging, held_out)]
    _, reference, _ = told(here(Work(runs=[*runs, once], registry=registry)))
    ended, results, lost = told(train([once, *runs, always]))
    assert {key: results[key] for key in reference} == reference
    host = ended[once.key].provenance["host"]
    gone = f"its worker on {host} has died (out of memory?)"
    assert set(lost.values()) == {gone}
    assert {run.name: run.reason for run in ended.values() if run.key in lost} == {
        "once": "",
        "always": f"{gone}, twice",
    }
    assert [len(counter.read_text()) for counter in counters] == [1, 2]
    assert train.said[0].startswith("training on 2 x ")
    assert train.said[0].endswith(f" of {host}")
    provenance = ended[runs[0].key].provenance
    assert provenance["threads"] == "1"
    assert capfd.readouterr() == ("", ""), "Ray must be quiet"
    assert not ray.is_initialized()


def test_closing_ends_all_workers_and_no_run_is_pulled_before_it_can_begin(registry, train, tmp_path):
    pulled = []
    runs = (pulled.append(run) or run for run in waiting(registry, tmp_path, 5))
    handler = signal.getsignal(signal.SIGTERM)
    checkpoints = tmp_path / "checkpoints"
    events = train(runs, checkpoints=checkpoints)
    assert not pulled
    assert [type(next(events)) for _ in range(2)] == [Started, Started]
    assert len(pulled) == 2
    wait_for(lambda: len(pids(tmp_path)) == 2, "the workers' first step")
    events.close()
    assert not any(alive(pid) for pid in pids(tmp_path))
    assert signal.getsignal(signal.SIGTERM) is handler
    assert list(checkpoints.iterdir()) == []


def test_a_worker_that_lost_its_device_is_replaced(registry, train):
    sets = [{"network.features.0.activation": name} for name in ("loses_the_device", "raises", "none")]
    runs = [planned_run(small(registry, str(index), each), registry) for index, each in enumerate(sets)]
    ended, results, lost = told(train(runs, jobs=1))
    assert not lost
    assert [results[run.key][1] for run in runs] == ["failed", "failed", "finished"]
    reasons = [ended[run.key].reason for run in runs]
    assert reasons[0].startswith("cpu stopped in it, as at an index out of range in a kernel (plugin misbehaving")
    assert reasons[1].startswith("plugin misbehaving_plugin"), "in a worker that cannot train"
    assert ended[runs[0].key].provenance["host"] == socket.gethostname()


@slow
def test_a_run_that_is_lost_goes_on_from_its_checkpoint(registry, train, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CHECKPOINT_EVERY", "0")
    counter = tmp_path / "once"
    counter.touch()
    # An epoch has six steps, and the first is saved when the process ends: the second life makes but six.
    run = unruly(registry, "once", "kills_worker", counter=str(counter), step=8, times=2)
    folder = tmp_path / "checkpoints"
    _, reference, _ = told(here(Work(runs=[run], registry=registry)))
    _, results, lost = told(train([run], jobs=1, checkpoints=folder))
    assert results == reference
    assert list(lost) == [run.key]
    assert list(folder.iterdir()) == [checkpoint_file(folder, run.key)]


@slow
def test_a_node_that_is_added_is_used_and_the_runs_of_one_that_is_removed_are_trained_elsewhere(
    registry, train, cluster, tmp_path
):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    drawing = small(registry, sets=DRAWING | {"training.shuffle": True})
    quick = [planned_run(drawing, registry, seed) for seed in range(3)]
    runs = [*waiting(registry, first, 3), *quick]
    _, reference, _ = told(here(Work(runs=runs, registry=registry)))
    events = train(runs)
    seen = [next(events), next(events)]
    node = cluster.add_node(num_cpus=1)
    start = time.monotonic()
    seen.append(next(events))
    print(f"the new node begins a run after {time.monotonic() - start:.1f} s")
    wait_for(lambda: len(pids(first)) == 3, "the third worker's first step")
    cluster.remove_node(node, allow_graceful=False)
    start = time.monotonic()
    seen.append(next(events))
    print(f"its loss is told after {time.monotonic() - start:.1f} s")
    lost_run = seen[-1].run
    (first / "go").touch()
    _, results, lost = told([*seen, *events])
    assert results == reference
    assert list(lost) == [lost_run.key]
    assert "gone with its machine" in lost[lost_run.key]


def query(ledger, text):
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            return connection.execute(text).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise


def started(ledger, address, seeds, epochs):
    """Start `zoo benchmark` in a session of its own."""
    command = [
        *(str(Path(sys.executable).with_name("zoo")), "benchmark", "starter/default", "--device", "cpu", "--json"),
        *("--seeds", str(seeds), "--epochs", str(epochs), "--ledger", str(ledger), "--jobs", "2", "--yes"),
        *("--executor", "ray", "--executor-set", f"address={address}"),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def begun(driver, ledger):
    """Wait until the command trains."""
    running = f"SELECT 1 FROM run WHERE pid = {driver.pid}"
    wait_for(lambda: driver.poll() is not None or (ledger.exists() and query(ledger, running)), "the first run")


def left(session):
    """Return the processes of a session that run, but for two of Ray's own that stay for a minute."""
    listed = subprocess.run(["ps", "-e", "-o", "sess=,stat=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [
        line
        for line in lines
        if line[0] == str(session) and not line[1].startswith("Z") and not line[2].endswith("Agent")
    ]


def stored(ledger):
    """Return the runs that have ended, with the times of their epochs, which a second training would change."""
    return query(
        ledger,
        "SELECT run.id, seed, epoch, epoch.seconds_training FROM run JOIN epoch ON epoch.run = run.id "
        "WHERE status = 'finished' ORDER BY run.id, epoch",
    )


@slow
@pytest.mark.parametrize(("where", "kills"), [("cluster", KILLS), ("local", max(2, KILLS // 5))])
def test_the_command_killed_at_random_moments(cluster, registry, tmp_path, monkeypatch, where, kills):
    """No run is lost, none is doubled, and no worker outlives its command."""
    monkeypatch.setenv("ZOO_CHECKPOINT_EVERY", "0")
    address = cluster.address if where == "cluster" else ""
    moments = random.Random(where)
    epochs, ahead = 3, 30  # more runs than a command can train before it is killed
    ledger = tmp_path / "zoo.sqlite"
    kept, killed, during_training, slowest = [], 0, 0, 0.0
    while killed < kills:
        seeds = len(kept) // epochs + ahead
        driver = started(ledger, address, seeds, epochs)
        begun(driver, ledger)
        time.sleep(moments.uniform(0, 3))
        during_training += driver.poll() is None
        driver.kill()
        output, _ = driver.communicate()
        assert driver.returncode == -signal.SIGKILL, output
        start = time.monotonic()
        wait_for(lambda: not trainers() and not left(driver.pid), "the end of the workers")  # noqa: B023
        slowest = max(slowest, time.monotonic() - start)
        killed += 1
        assert query(ledger, "PRAGMA integrity_check") == [("ok",)]
        now = stored(ledger)
        assert set(kept) <= set(now), "a run that was stored is gone, or was trained again"
        kept = now
    before = len(kept) // epochs
    driver = started(ledger, address, seeds, epochs)
    output, _ = driver.communicate(timeout=600)
    assert (driver.returncode, not trainers() and not left(driver.pid)) == (0, True), output
    now = stored(ledger)
    assert set(kept) <= set(now), "a run that was stored is gone, or was trained again"
    assert query(ledger, "SELECT count(*), count(DISTINCT seed) FROM run") == [(seeds, seeds)]
    assert len(now) == seeds * epochs
    with Ledger(ledger) as opened:
        runs = {run.key: run for run in opened.runs()}
    check = [attrs.evolve(run, epochs=(), status="running") for run in list(runs.values())[:: len(runs) // 4]]
    for key, (records, _) in told(here(Work(runs=check, registry=registry)))[1].items():
        assert figures(runs[key].epochs) == records
    print(
        f"{where}: {killed} kills, {during_training} of them in training; of {seeds} runs {before} were stored before "
        f"the last command; lost 0, doubled 0; workers gone within {slowest:.1f} s"
    )


@slow
@pytest.mark.parametrize("where", ["cluster", "local"])
@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_the_command_interrupted(cluster, tmp_path, where, interruption):
    """Ctrl-C in a terminal reaches the whole group of processes; SIGTERM the command alone."""
    ledger = tmp_path / "zoo.sqlite"
    driver = started(ledger, cluster.address if where == "cluster" else "", 40, 20)
    begun(driver, ledger)
    if interruption == signal.SIGINT:
        os.killpg(driver.pid, interruption)
    else:
        driver.terminate()
    start = time.monotonic()
    output, _ = driver.communicate(timeout=PATIENCE)
    print(f"{where}: ends {time.monotonic() - start:.1f} s after {interruption.name}")
    assert driver.returncode == 130, output
    assert "training on 2 x " in output
    assert not [noise for noise in ("raylet", "Traceback", "WARNING", "INFO", "Error") if noise in output], output
    assert not trainers()
    assert not left(driver.pid)
    assert not list(Path("/tmp").glob(f"zoo-ray-{driver.pid}-*"))


def test_without_ray(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ZooError, match=r"the executor ray needs Ray \(.*\): pip install 'layer-zoo\[ray\]'"):
        registry.variant("executor", "ray").make({}, work=Work(runs=iter([]), registry=registry))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "127.0.0.1:1"}, r"there is no Ray cluster at 127\.0\.0\.1:1: .*refused\. The address is that of"),
        ({"address": "nonsense"}, r"there is no Ray cluster at nonsense: .*\. The address is that of the head"),
        ({"devices": ("mps",)}, "the executor ray trains on cpu or on cuda, not on mps; use another executor"),
    ],
)
def test_what_cannot_be_is_one_message(registry, options, message, capfd):
    refuse(registry, message, **options)
    assert capfd.readouterr() == ("", ""), "Ray must be quiet"


def refuse(registry, message, address="", **options):
    work = Work(runs=iter([]), registry=registry, **options)
    with pytest.raises(ZooError, match=message):
        next(registry.variant("executor", "ray").make({"address": address}, work=work))


@pytest.fixture
def elsewhere(monkeypatch):
    """No cluster of this machine is seen."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    services = importlib.import_module("ray._private.services")
    monkeypatch.setattr(services, "find_gcs_addresses", cache(set))
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)


def test_without_a_cluster_the_advice_is_zoo_s_own(registry, elsewhere, monkeypatch, capfd):
    refuse(registry, r"^no Ray cluster runs on this machine: start its head \(`ray start --head`\), give ", "auto")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    refuse(registry, r"^there is no Ray cluster at .*:1: .*refused\. The address is that of the head", "auto")
    assert capfd.readouterr() == ("", ""), "Ray must be quiet"


def test_what_answers_and_is_no_head_is_found_out_at_once(registry, monkeypatch):
    monkeypatch.setattr("zoo.execution.cluster.connection.HEAD_PATIENCE", 1.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        refuse(registry, "there is no Ray cluster at .*: timed out", f"127.0.0.1:{silent.getsockname()[1]}")
    with closing(socket.create_server(("127.0.0.1", 0))) as talkative:
        threading.Thread(target=lambda: talkative.accept()[0].sendall(b"220 ready"), daemon=True).start()
        address = f"127.0.0.1:{talkative.getsockname()[1]}"
        refuse(registry, "there is no Ray cluster at .*: what answers there is no head", address)
