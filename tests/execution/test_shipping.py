"""Plugins sent to another machine, which is another process here, and what a worker refuses to train. Without Ray."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from small_runs import PLUGIN, figures, planned_run, small

import zoo
from zoo.data.cache import by_content
from zoo.errors import DataError
from zoo.execution import shipping
from zoo.execution.cluster import connection, pool, trainer
from zoo.execution.cluster.trainer import Absent, Facts, Setup, Trainer
from zoo.execution.contract import Work
from zoo.execution.events import EpochFinished
from zoo.execution.here import here
from zoo.execution.shipping import pack, unpack, zoo_digest
from zoo.registry import Registry
from zoo.registry.source import source_digest
from zoo.train.run import Run

DEVELOPED = """
from zoo import hookimpl
from developed._private import factor

@hookimpl
def zoo_register_activations(register):
    register("developed", developed)

def developed():
    return None
"""
THERE = """
import json, pickle, sys
from pathlib import Path
from zoo.execution.shipping import unpack
from zoo.registry.source import source_digest
from zoo.spec import structure
shipment, trees = pickle.loads(Path(sys.argv[1]).read_bytes())
registry = unpack(shipment)
digests = [source_digest(structure(tree, "there", registry), registry) for tree in trees]
print(json.dumps([sorted(registry.plugins), digests, [str(failure) for failure in registry.failures]]))
"""


@pytest.fixture
def registry():
    return Registry(files=[PLUGIN]).require_sound()


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """Restore what a worker changes in its process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setenv("ZOO_CHECKPOINT_EVERY", "60")


def there(shipment, specs, tmp_path, *installed):
    """Make the registry in a process that has other distributions installed; return plugins, digests and failures."""
    sent = tmp_path / "sent"
    sent.write_bytes(pickle.dumps((shipment, [run.spec for run in specs])))
    done = subprocess.run(
        [sys.executable, "-c", THERE, str(sent)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, installed))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_registry_there_is_that_of_here(install, tmp_path):
    files = {"developed/__init__.py": DEVELOPED, "developed/_private.py": "factor = 1\n"}
    install("developed", files, "developed")
    blocked = "zoo_plugins.modern"
    registry = Registry(files=[PLUGIN], block=[blocked]).require_sound()
    specs = [
        small(registry, sets={"network.features.0.activation": name}) for name in ("developed", "draws", "leaky_relu")
    ]
    runs = [planned_run(spec, registry) for spec in specs]
    # There: an older content under the same name and version, and a plugin that is not here.
    elsewhere = [tmp_path / "older", tmp_path / "other"]
    for folder, name, text in zip(elsewhere, ("developed", "other"), ("raise ValueError\n", ""), strict=True):
        metadata = folder / f"{name}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[zoo]\nx = {name}\n")
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(text)
    plugins, digests, failures = there(pack(registry), runs, tmp_path, *elsewhere)
    assert plugins == sorted(registry.plugins)
    assert "developed" in plugins
    assert blocked not in plugins
    assert digests == [source_digest(spec, registry) for spec in specs]
    assert failures == []


def test_helpers_outside_the_plugins_packages_are_sent(install, tmp_path, monkeypatch):
    install("other", {"other/__init__.py": "factor = 1\n"}, "other")
    (tmp_path / "site/other/other-1.0.dist-info/RECORD").write_text("other/__init__.py,,\n")
    text = DEVELOPED.replace("from developed._private import factor", "import other\nfrom lab.deep import factor")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/deep.py").write_text("factor = 1\n")
    (tmp_path / "lab/same_figures.toml").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    install("developed", {"developed.py": text}, "developed")
    file = tmp_path / "alone.py"
    file.write_text(text.replace("developed", "alone"))
    registry = Registry(files=[PLUGIN, file]).require_sound()
    shipment = pack(registry)
    assert [name for name, _ in shipment.helpers] == ["lab/deep.py", "lab/same_figures.toml"]
    specs = [small(registry, sets={"network.features.0.activation": name}) for name in ("developed", "alone")]
    plugins, digests, failures = there(shipment, [planned_run(spec, registry) for spec in specs], tmp_path)
    assert plugins == sorted(registry.plugins)
    assert digests == [source_digest(spec, registry) for spec in specs]
    assert failures == []


def test_what_the_environment_leaves_out_is_left_out_there(monkeypatch):
    monkeypatch.setenv("ZOO_BLOCK", "modern, losses")
    shipment = pack(Registry())
    monkeypatch.setenv("ZOO_BLOCK", "")
    assert shipment.block == ("modern", "losses")
    left_out = unpack(shipment)
    assert "zoo_plugins.modern" not in left_out.plugins
    assert "zoo_plugins.filters" in left_out.plugins


def test_an_edit_is_another_shipment(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text("A = 1\n")
    first = pack(Registry(files=[plugin]))
    assert pack(Registry(files=[plugin])).digest == first.digest
    plugin.write_text("A = 2\n")
    assert pack(Registry(files=[plugin])).digest != first.digest


def test_vouched_edits_go_with_a_single_file(tmp_path):
    plugin, table = tmp_path / "mine.py", tmp_path / "same_figures.toml"
    plugin.write_text("A = 1\n")
    table.write_text("")
    (files,) = pack(Registry(files=[plugin])).single_files
    assert files == (("mine.py", b"A = 1\n"), ("same_figures.toml", b""))


def test_a_large_distribution_is_not_sent(monkeypatch, registry):
    monkeypatch.setattr(shipping, "MOST_BYTES", 100)
    own = {distribution.name: distribution for distribution in pack(registry).distributions}["layer-zoo"]
    assert (own.files, own.version) == ((), zoo.__version__)


@pytest.fixture
def worker(registry):
    return Trainer(Setup(pack(registry), "cpu", "sequential", None, None))


def test_a_worker_trains_what_is_trained_here(registry, worker):
    run = planned_run(small(registry), registry)
    *records, ended = worker.train(run, [])
    reference = [
        event.record for event in here(Work(runs=[run], registry=registry)) if isinstance(event, EpochFinished)
    ]
    assert figures(records) == figures(reference)
    assert isinstance(ended, Run)
    assert ended.status == "finished"
    assert ended.provenance["host"]


def test_a_worker_has_its_images_where_they_are_wanted(registry, monkeypatch):
    """A machine of a cluster has not the environment of the command."""
    wanted = []
    monkeypatch.setattr(trainer, "placed", lambda data, device, where: wanted.append((device, where)) or data)
    worker = Trainer(Setup(pack(registry), "cpu", "sequential", None, None, data_in="memory"))
    list(worker.train(planned_run(small(registry), registry), []))
    assert wanted == [("cpu", "memory")]


def test_another_source_than_planned_is_refused(registry, worker):
    run = planned_run(small(registry, "mine", {"network.features.0.activation": "draws"}), registry)
    run = attrs.evolve(run, key=attrs.evolve(run.key, source="0" * 64))
    (ended,) = worker.train(run, [])
    assert ended.status == "failed"
    version = zoo.__version__
    for part in (
        "the source of what mine uses is not that which it was planned with: its digest is ",
        f"and was 000000000000 (layer-zoo is {version} here and {version} where the run was planned; ",
        "If a file was edited meanwhile, give the command again; otherwise install the same versions on all machines",
    ):
        assert part in ended.reason


def test_a_plugin_that_does_not_load_there_is_named(registry, worker, monkeypatch):
    run = planned_run(small(registry), registry)
    monkeypatch.setattr(worker._registry, "failures", ["plugin x is left out: No module named 'y'"])
    del worker._registry._variants["pooling"]["max"]
    (ended,) = worker.train(run, [])
    assert "no pooling is called 'max'" in ended.reason
    assert ended.reason.endswith("\nplugin x is left out: No module named 'y'")


def test_images_that_are_not_there_are_asked_for_and_checked(registry, worker, monkeypatch, tmp_path):
    spec = small(registry, sets={"data.validation": 0.3})
    run = planned_run(spec, registry)
    prepared = by_content(run.key.dataset)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert by_content(run.key.dataset) is None
    assert list(worker.train(run, [])) == [Absent()]
    kept = trainer._received(prepared, run, spec)
    assert by_content(run.key.dataset).digest == kept.digest == run.key.dataset
    *_, ended = worker.train(run, [])
    assert ended.status == "finished"
    images, labels = prepared.parts["test"]
    damaged = attrs.evolve(prepared, parts={**prepared.parts, "test": (np.flip(images), labels)})
    with pytest.raises(DataError, match=r"the images of squares did not arrive as they were sent: .* Give the command"):
        trainer._received(damaged, run, spec)


def without_cluster(registry, device_name):
    """Return a pool without a cluster, and what it says."""
    fake = SimpleNamespace(remote=lambda **_: lambda actor: actor, put=lambda value: value)
    said: list[str] = []
    work = Work(runs=iter([]), registry=registry, say=said.append)
    made = pool._Pool(fake, work, "cpu", None)
    made._device_name = device_name
    return made, said


HERE = Facts("node7", 1, zoo.__version__, zoo_digest(), pool.torch.__version__, "CPU A")


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"device_name": "CPU B"}, "node7 is left out: its device is CPU B, and runs stay on CPU A"),
        (
            {"zoo": "0.0.1"},
            f"node7 is left out: it has zoo 0.0.1 and this machine {zoo.__version__}; install the same version there",
        ),
        (
            {"zoo_digest": "0"},
            f"node7 is left out: its zoo {zoo.__version__} has another source than this machine's zoo "
            f"{zoo.__version__}; install the same there",
        ),
        (
            {"torch": "1.0"},
            f"node7 is left out: it has torch 1.0 and this machine {pool.torch.__version__}; install the same "
            "version there",
        ),
    ],
)
def test_a_machine_with_other_figures_is_left_out(registry, facts, line):
    made, said = without_cluster(registry, "CPU A")
    killed = []
    workers = [
        SimpleNamespace(facts=attrs.evolve(HERE, **facts), node="n", run=None, kill=lambda: killed.append(1))
        for _ in range(2)
    ]
    same = SimpleNamespace(facts=HERE, node="m", run=None)
    made._workers = [*workers, same]
    for worker in made._workers[:]:
        made._admit(worker)
    assert said == [line]
    assert made._workers == [same]
    assert len(killed) == 2


class RayError(Exception):
    """The base of Ray's errors, as there."""


class ActorDiedError(RayError): ...


class ActorUnavailableError(RayError): ...


class GetTimeoutError(RayError): ...


class ObjectLostError(RayError): ...


def test_why_a_worker_is_gone():
    assert pool._loss(ActorDiedError("because its worker process has died.")) == "has died (out of memory?)"
    assert pool._loss(ActorDiedError("because its node has died.")) == "is gone with its machine"
    assert pool._loss(ActorUnavailableError()) == "is out of reach, or gone with its machine"
    assert pool._loss(ObjectLostError()) == "is lost (ObjectLostError)"
    reason = "Traceback:\n  File x\nModuleNotFoundError: No module named 'zoo'\n"
    assert pool._start_failure(ActorDiedError(reason)) == (
        "zoo does not start there: ModuleNotFoundError: No module named 'zoo'"
    )


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([ActorUnavailableError(), ActorDiedError("its worker process has died")], "has died (out of memory?)"),
        ([GetTimeoutError(), ActorDiedError("its node has died")], "is gone with its machine"),
        ([HERE], "is out of reach, or gone with its machine"),
        ([ActorUnavailableError()] * 9999, "is out of reach, or gone with its machine"),
    ],
)
def test_the_cluster_is_asked_again_how_a_worker_went_that_is_out_of_reach(answers, reason, monkeypatch):
    """Ray waits a second for word of a death; on a loaded machine that comes later."""
    monkeypatch.setattr(pool, "DEATH_PATIENCE", 0.3)
    left = iter(answers)

    def get(asked, timeout):
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    errors = (RayError, ActorDiedError, ActorUnavailableError, GetTimeoutError)
    fake = SimpleNamespace(get=get, exceptions=SimpleNamespace(**{error.__name__: error for error in errors}))
    actor = SimpleNamespace(facts=SimpleNamespace(remote=lambda: None))
    gone = pool._Worker(fake, actor, "node")
    assert pool._loss(gone.why_gone(ActorUnavailableError())) == reason
    died = ActorDiedError("because its worker process has died")
    assert gone.why_gone(died) is died, "who knows is not asked"


def test_a_line_goes_to_standard_error_unless_somebody_takes_it(registry, capsys):
    Work(runs=iter([]), registry=registry).say("a line")
    assert capsys.readouterr() == ("", "a line\n")


@pytest.mark.parametrize(
    ("devices", "before", "inside"),
    [(("cuda:1",), None, "1"), (("cuda:0", "cuda:2"), "4,5,6", "4,6"), (("cuda",), "3", "3")],
)
def test_a_ray_of_this_machine_sees_the_chosen_gpus(monkeypatch, devices, before, inside):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if before:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    with connection._visible(devices):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == inside
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


def test_what_a_killed_command_left_is_removed_by_the_next(monkeypatch, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    left = Path(f"/tmp/zoo-ray-{dead.pid}-test")
    left.mkdir()
    own = Path(connection._own_folder())
    try:
        assert not left.exists()
        assert own.name.startswith(f"zoo-ray-{os.getpid()}-")
    finally:
        own.rmdir()
