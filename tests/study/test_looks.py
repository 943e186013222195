from __future__ import annotations

import attrs
import pytest
from made_results import _run as made_run

from zoo.registry import default_registry
from zoo.spec.resolve import resolve
from zoo.study.looks import levels, looks_until
from zoo.train.run import Run


def asked(*looks: str) -> list[Run]:
    """Runs that were asked for with so many seeds."""
    run = made_run(resolve("starter/default", registry=default_registry()), 0, 0.9, seconds=1.0, parameters=10)
    return [attrs.evolve(run, provenance={**run.provenance, **({"seeds": look} if look else {})}) for look in looks]


def test_runs_tell_the_looks_before() -> None:
    runs = asked("5", "12", "5", "auto 15", "")
    assert looks_until(runs, "5") == ["5"]
    assert looks_until(runs, "12") == ["5", "12"]
    assert looks_until(runs, "auto 15") == ["5", "12", "auto 15"]
    assert looks_until(runs, "20") == ["5", "12", "auto 15", "20"]
    assert looks_until(asked("1", "2", "3"), "5") == ["3", "5"], "nothing is claimed from fewer than three seeds"
    assert looks_until(asked("1"), "1") == ["1"]
    assert looks_until(asked("", "many"), "3") == ["3"], "runs of earlier versions do not tell"


def test_all_looks_together_have_five_percent() -> None:
    found = levels([str(seeds) for seeds in range(1, 30)])
    assert found[:3] == pytest.approx([0.04, 0.005, 0.0025])
    assert sum(found) == pytest.approx(0.05)
