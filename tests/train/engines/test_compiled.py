"""A compiled network trains as the plain one does, or is not used, which is said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch
from small_runs import PLUGIN, planned_run, small

from zoo.data import cache_dir
from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.train.engines import choice as choice_module
from zoo.train.engines import compiled as compiled_module
from zoo.train.engines.choice import Decision, check_engine, decide
from zoo.train.engines.compiled import CompiledTraining, why_no_compiler
from zoo.train.engines.gate import gate
from zoo.train.execute import dataset, execute

REGISTRY = Registry(files=[PLUGIN]).require_sound()
needs_compiler = pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="needs a C++ compiler")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """Give each test a cache of its own, and the data set before."""
    dataset(small(REGISTRY), REGISTRY, "cpu")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def decided(wanted):
    spec = small(REGISTRY)
    data = dataset(spec, REGISTRY, "cpu")
    return decide(wanted, spec, planned_run(spec, REGISTRY).key, data, device="cpu", registry=REGISTRY)


def compiling(monkeypatch, compile_):
    """Let something else compile."""
    monkeypatch.setattr(compiled_module.torch, "compile", compile_)
    monkeypatch.setattr(choice_module, "why_no_compiler", why_no_compiler.__wrapped__)


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # torch's own, of what it imports to compile
def test_a_run_is_really_compiled_and_trains_as_the_plain_one():
    """Through the gate, in float64, and then in float32."""
    sets = {"training.batch_size": 10, "training.epochs": 2, "network.classifier.0.dropout": "dropout"}
    run = planned_run(small(REGISTRY, sets=sets), REGISTRY)
    *plain, one = execute(run, REGISTRY, "cpu")
    *compiled, other = execute(run, REGISTRY, "cpu", engine="compiled")
    assert (one.provenance["engine"], other.provenance["engine"]) == ("sequential", "compiled")
    assert (other.status, other.provenance.get("engine_why_not", "")) == ("finished", "")
    assert [record.loss for record in compiled] == pytest.approx([record.loss for record in plain], rel=1e-5)
    assert len(list((cache_dir() / "engines").iterdir())) == 1


def test_what_was_compiled_wrongly_is_found_out(monkeypatch):
    compiling(monkeypatch, lambda network, **options: lambda given: network(given) * 1.000001)
    spec = small(REGISTRY)
    said = gate(spec, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY, engine=CompiledTraining)
    assert said.startswith("in epoch 1 of a check in float64 it is off by ")


def test_only_the_network_is_compiled_and_only_where_it_is_trained(monkeypatch):
    asked = []

    def compile_(network, **options):
        def compiled(given):
            asked.append(network.training)
            return network(given)

        return compiled

    compiling(monkeypatch, compile_)
    spec = small(REGISTRY)
    training = CompiledTraining(spec, 0, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY)
    list(training.epochs())
    assert asked == [True] * training.length.steps


def test_what_cannot_be_compiled_is_said(monkeypatch):
    def compile_(function, **options):
        def compiled(given):
            if isinstance(function, torch.nn.Module):
                raise RuntimeError("no such\noperation")
            return function(given)

        return compiled

    compiling(monkeypatch, compile_)
    assert decided("compiled") == Decision(
        "sequential",
        "small is trained one step at a time: its steps cannot be compiled (RuntimeError: no such operation)",
    )


def test_without_a_compiler_steps_are_made_plainly_which_is_not_remembered(monkeypatch):
    def compile_(function, **options):
        raise RuntimeError("no g++")

    compiling(monkeypatch, compile_)
    assert decided("compiled") == Decision(
        "sequential",
        "small is trained one step at a time: torch finds nothing here that compiles (RuntimeError: no g++)",
    )
    assert not (cache_dir() / "engines").exists()


@pytest.mark.skipif("ZOO_SLOW" not in os.environ, reason="takes long: set ZOO_SLOW")
def test_a_compiler_that_is_not_there_is_told_by_torch(tmp_path):
    """A process of its own, for torch looks for its compiler once."""
    program = "from zoo.train.engines.compiled import why_no_compiler; print(why_no_compiler('cpu'))"
    environment = {**os.environ, "CXX": str(tmp_path / "g++"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "torch")}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert ended.stdout.startswith("torch finds nothing here that compiles (")


def test_where_nothing_is_compiled_it_is_refused_and_auto_never_takes_it():
    with pytest.raises(ZooError, match=r"^engine='compiled': it is for the CPU and NVIDIA GPUs, not mps; use sequent"):
        check_engine("compiled", "mps")
    check_engine("compiled", "cpu")
    assert decided("auto") == Decision("sequential")
