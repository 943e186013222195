"""Which engine trains a run, and that a run survives an engine that does not work."""

from __future__ import annotations

import attrs
import pytest
import torch
from small_runs import DRAWING, PLUGIN, executor, figures, planned_run, small

from zoo.data import cache_dir
from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.train import execute as execute_module
from zoo.train import lost
from zoo.train.engines import choice as engines_module
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.choice import ENGINES, Decision, check_engine, decide, examine
from zoo.train.execute import dataset, execute
from zoo.train.places import checkpoint_file
from zoo.train.run import Run

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SETS = DRAWING | {"training.epochs": 4, "training.shuffle": True}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """Give each test a cache of its own, and the data set before."""
    dataset(small(REGISTRY), REGISTRY, "cpu")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def about(spec=None):
    spec = spec or small(REGISTRY, sets=SETS)
    return spec, planned_run(spec, REGISTRY).key, dataset(spec, REGISTRY, "cpu")


def decided(wanted, spec=None):
    return decide(wanted, *about(spec), device="cpu", registry=REGISTRY)


def examined(spec=None, **changes):
    spec, key, data = about(spec)
    return examine("captured", spec, attrs.evolve(key, **changes), data, device="cpu", registry=REGISTRY)


@pytest.fixture
def gate_says(monkeypatch):
    """Let the gate say something; return how often it was asked."""
    asked = []

    def gate_says(answer):
        def gate(*arguments, **keywords):
            asked.append(arguments)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(engines_module, "gate", gate)
        return asked

    return gate_says


def failing(at, error):
    """Return an engine that raises in an epoch."""

    class Fails(CapturedTraining):
        def train_epoch(self, epoch):
            if epoch == at:
                raise error
            return super().train_epoch(epoch)

    return Fails


# The choice


def test_where_nothing_can_be_recorded_nothing_is_examined(gate_says):
    asked = gate_says("")
    assert decided("auto") == decided("sequential") == Decision("sequential")
    assert not asked
    assert not (cache_dir() / "engines").exists()


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_an_engine_that_the_device_has_no_use_for(device):
    with pytest.raises(
        ZooError, match=f"^engine='captured': only NVIDIA GPUs record steps, not {device}; use auto or sequential$"
    ):
        check_engine("captured", device)
    for wanted in ("auto", "sequential"):
        check_engine(wanted, device)
    check_engine("captured", "cuda")


def test_what_passes_the_gate_is_used():
    assert decided("captured") == Decision("captured")


def test_what_does_not_pass_the_gate_is_not_used(gate_says):
    gate_says("it is off by 1.0e-03")
    said = "small is trained one step at a time: it is off by 1.0e-03"
    assert decided("captured") == Decision("sequential", said)
    assert decided("captured").provenance == {"engine": "sequential", "engine_why_not": said}


def test_auto_takes_what_passes_the_gate_on_a_gpu(monkeypatch):
    monkeypatch.setattr(engines_module, "examine", lambda *arguments, **keywords: "")
    assert decide("auto", *about(), device="cuda", registry=REGISTRY) == Decision("captured")


def test_too_little_memory_is_said_and_not_remembered(gate_says):
    gate_says(torch.OutOfMemoryError("CUDA out of memory"))
    said = "small is trained one step at a time: the device's memory does not suffice to record its steps"
    assert decided("captured") == Decision("sequential", said)
    gate_says("")
    assert decided("captured") == Decision("captured")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"another": 1}', b"\xff"])
def test_it_is_found_out_once(gate_says, damage):
    asked = gate_says("")
    first = examined()
    assert examined() == first
    assert len(asked) == 1
    (file,) = (cache_dir() / "engines").iterdir()
    file.write_bytes(damage)
    assert examined() == ""
    assert len(asked) == 2, "a damaged file is as good as none"


def test_it_is_found_out_anew_for_another_network_batch_or_source(gate_says):
    asked = gate_says("no")
    for spec in (
        small(REGISTRY, sets=SETS),
        small(REGISTRY, sets=SETS | {"training.batch_size": 4}),
        small(REGISTRY, sets=SETS | {"network.features.0.filters": 4}),
    ):
        examined(spec)
    examined(source="another")
    assert len(asked) == 4
    examined(small(REGISTRY, sets=SETS | {"training.epochs": 7}))
    examined(seed=3)
    examined(precision="bf16")
    assert len(asked) == 4, "neither the number of epochs nor seed nor precision makes a difference"


def test_it_is_found_out_anew_with_another_version_of_a_library(gate_says, monkeypatch):
    asked = gate_says("no")
    examined()
    monkeypatch.setattr(engines_module, "library_versions", lambda spec, registry: {"numpy": "99"})
    examined()
    examined()
    assert len(asked) == 2


def test_without_a_cache_it_is_found_out_each_time(gate_says, monkeypatch, tmp_path):
    asked = gate_says("no")
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "a file"))
    spec, key, data = (small(REGISTRY), planned_run(small(REGISTRY), REGISTRY).key, about_data())
    for _ in range(2):
        examine("captured", spec, key, data, device="cpu", registry=REGISTRY)
    assert len(asked) == 2


def about_data():
    return dataset(small(REGISTRY), REGISTRY, "cpu")


# The run


def ended(run, **options):
    *records, last = execute(run, REGISTRY, "cpu", **options)
    assert isinstance(last, Run)
    return figures(records), last


def test_a_run_by_either_engine_has_the_same_figures():
    run = planned_run(small(REGISTRY, sets=SETS), REGISTRY)
    (plain, one), (captured, other) = (ended(run, engine=engine) for engine in ("sequential", "captured"))
    assert plain == captured
    assert (one.provenance["engine"], other.provenance["engine"]) == ("sequential", "captured")
    assert "engine_why_not" not in other.provenance


@pytest.mark.parametrize("saved", [True, False], ids=["from the checkpoint", "from the beginning"])
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (torch.OutOfMemoryError("CUDA"), "the device's memory does not suffice to record its steps"),
        (RuntimeError("operation not\npermitted"), "RuntimeError: operation not permitted"),
    ],
)
def test_a_run_goes_on_without_the_engine(monkeypatch, tmp_path, error, why, saved):
    monkeypatch.setenv(execute_module.CHECKPOINT_VARIABLE, "0")
    run = planned_run(small(REGISTRY, sets=SETS), REGISTRY)
    expected, _ = ended(run)
    monkeypatch.setattr(execute_module, "decide", lambda *arguments, **keywords: Decision("captured"))
    monkeypatch.setitem(ENGINES, "captured", failing(3, error))
    found, last = ended(run, checkpoints=tmp_path if saved else None)
    assert found == expected, "each epoch is told once"
    assert (last.status, last.provenance["engine"]) == ("finished", "sequential")
    assert last.provenance["engine_why_not"] == f"small goes on one step at a time: {why}"


def test_a_device_that_is_lost_is_not_tried_again(monkeypatch):
    monkeypatch.setattr(execute_module, "decide", lambda *arguments, **keywords: Decision("captured"))
    monkeypatch.setitem(ENGINES, "captured", failing(2, RuntimeError("CUDA error: device-side assert triggered")))
    monkeypatch.setitem(ENGINES, "sequential", None)
    asked = []
    monkeypatch.setattr(lost, "why_lost", lambda device: "CUDA error" if asked.append(device) or asked[1:] else "")
    told = []
    with pytest.raises(lost.DeviceLostError) as raised:
        told.extend(execute(planned_run(small(REGISTRY, sets=SETS), REGISTRY), REGISTRY, "cpu"))
    assert [type(each).__name__ for each in told] == ["EpochRecord"]
    assert raised.value.ended.provenance["engine"] == "captured"
    assert "(RuntimeError: CUDA error: device-side assert triggered)" in raised.value.ended.reason


def test_in_company_too_little_memory_is_raised_and_the_checkpoint_kept(monkeypatch, tmp_path):
    monkeypatch.setenv(execute_module.CHECKPOINT_VARIABLE, "0")
    monkeypatch.setitem(ENGINES, "sequential", failing(3, torch.OutOfMemoryError("CUDA")))
    run = planned_run(small(REGISTRY, sets=SETS), REGISTRY)
    with pytest.raises(torch.OutOfMemoryError):
        list(execute(run, REGISTRY, "cpu", tmp_path, alone=False))
    assert checkpoint_file(tmp_path, run.key).exists()


def test_alone_too_little_memory_fails_the_run(monkeypatch):
    monkeypatch.setitem(ENGINES, "sequential", failing(3, torch.OutOfMemoryError("tried to\nallocate")))
    found, last = ended(planned_run(small(REGISTRY, sets=SETS), REGISTRY))
    assert len(found) == 2
    assert last.status == "failed"
    assert last.reason == "the memory of cpu does not suffice: OutOfMemoryError: tried to allocate"


def test_a_plugin_that_raises_fails_its_run_under_its_own_name():
    spec = small(REGISTRY, sets={"network.features.0.activation": "raises"})
    found, last = ended(planned_run(spec, REGISTRY), engine="captured")
    assert not found
    assert last.reason.startswith("plugin misbehaving_plugin (")


def test_the_notice_is_told_once_for_each_spec(monkeypatch, tmp_path):
    from zoo.benchmark import carry_out, make_plan
    from zoo.ledger import Ledger

    monkeypatch.setattr(
        execute_module,
        "decide",
        lambda wanted, spec, *arguments, **keywords: Decision("sequential", f"{spec.name}: no"),
    )
    specs = [small(REGISTRY, name, {"network.features.0.filters": size}) for name, size in (("one", 3), ("two", 4))]
    said = []
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        plan = make_plan(specs, [0, 1], registry=REGISTRY, device="cpu", ledger=ledger)
        runs = carry_out(
            plan,
            registry=REGISTRY,
            devices=["cpu"],
            ledger=ledger,
            executor=executor("here", REGISTRY),
            watch=lambda event: None,
            say=said.append,
        )
    assert said == ["one: no", "two: no"]
    assert {run.provenance["engine_why_not"] for run in runs} == set(said)
