"""What a spec's plugins do while it is tried out costs that spec only, also where it ends the process."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import PLUGIN, small

from zoo.benchmark import make_plan
from zoo.ledger import Ledger
from zoo.registry import Registry

CRASHING = """
import ctypes, os, time, torch, zoo

def fault():
    ctypes.string_at(0)

def leave():
    os._exit(0)

def interrupt():
    raise KeyboardInterrupt

def hang():
    time.sleep(3600)

def building(*, how: str = ""):
    globals()[how]()

class Step(torch.nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        if self.training:
            globals()[self.how]()
        return x

def step(*, how: str = ""):
    return Step(how)

@zoo.hookimpl
def zoo_register_activations(register):
    register("building", building)
    register("step", step)
    register("sound", torch.nn.Tanh)
"""


def test_a_crash_while_planning_costs_its_spec_only(tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text(CRASHING.replace("torch.nn.Tanh", "lambda: torch.nn.Tanh()"))
    registry = Registry(files=[PLUGIN, tmp_path / "crashing.py"]).require_sound()
    choices = {
        f"{where}-{how}": {"name": where, "how": how}
        for where in ("building", "step")
        for how in ("fault", "leave", "interrupt")
    }
    specs = [
        small(registry, name, {"network.features.0.activation": choice})
        for name, choice in (choices | {"sound": "sound", "own": "tanh"}).items()
    ]
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        plan = make_plan(specs, [0], registry=registry, device="cpu", ledger=ledger, jobs=2)
    ends = {"fault": "was killed by SIGSEGV", "leave": "ended with exit code 0"}
    assert plan.unfit == {
        f"{where}-{how}": f"{where}-{how}: building it and trying a few steps cost a process its life: it {end}"
        for where in ("building", "step")
        for how, end in ends.items()
    }
    raising = ["building-interrupt", "step-interrupt"]
    assert sorted(run.name for run in plan.missing) == [*raising[:1], "own", "sound", *raising[1:]], "those runs fail"
    assert all((plan.costs[run.key] > 0) == (run.name not in raising) for run in plan.missing)


def test_what_is_zoo_s_own_is_tried_out_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_: object) -> None:
        raise AssertionError("a process is started")

    monkeypatch.setattr("zoo.benchmark.probing.start", no_process)
    with_squares = Registry(files=[PLUGIN]).require_sound()
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        specs = [small(with_squares)]
        plan = make_plan(specs, [0], registry=with_squares, device="cpu", ledger=ledger, jobs=2)
    assert plan.unfit == {}


def test_what_hangs_while_it_is_tried_out_is_estimated_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.benchmark.probing.LONGEST", 2.0)  # seconds
    (tmp_path / "crashing.py").write_text(CRASHING)
    registry = Registry(files=[PLUGIN, tmp_path / "crashing.py"]).require_sound()
    choices = {"hangs": {"name": "step", "how": "hang"}, "leaves": {"name": "step", "how": "leave"}, "own": "tanh"}
    specs = [small(registry, name, {"network.features.0.activation": choice}) for name, choice in choices.items()]
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        plan = make_plan(specs, [0], registry=registry, device="cpu", ledger=ledger, jobs=2)
    assert "hangs: a few steps took more than 2 s, so a run of it takes longer than estimated" in plan.notes
    assert {run.name: plan.costs[run.key] for run in plan.missing}["hangs"] == 2.0
    assert list(plan.unfit) == ["leaves"], "which was tried out after it, in another process"
