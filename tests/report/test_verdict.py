"""The verdict on variations, from runs whose recalls are made up."""

from __future__ import annotations

import attrs
import pytest
from made_results import _run as made_run

from zoo.registry import default_registry
from zoo.report.verdict import judged, verdicts
from zoo.spec.resolve import resolve, vary
from zoo.statistics.paired import compare
from zoo.study.measure import measured
from zoo.train.run import Run

FIRST, SECOND = "starter/default[activation=relu]", "starter/default[activation=mish]"


def runs(gain: float, *, seeds: int = 8, validation: float = 0.0, seconds: float = 2.0) -> list[Run]:
    registry = default_registry()
    sets = {"data.validation": validation} if validation else {}
    base = resolve({"base": "starter/default", "set": sets}, registry=registry)
    base = attrs.evolve(base, name="starter/default")
    relu, mish = vary([base], {"activation": ["relu", "mish"]}, registry=registry)
    return [
        made_run(spec, seed, 0.8 + 0.01 * (seed % 3) + more, seconds=time, parameters=10)
        for spec, more, time in ((relu, 0.0, 2.0), (mish, gain, seconds))
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(("gain", "verdict"), [(0.05, "helps"), (-0.05, "hurts")])
def test_each_value_is_compared_with_the_first(gain: float, verdict: str) -> None:
    made = runs(gain, seconds=3.0)
    note, line = verdicts(judged(made, [[FIRST, SECOND]]))
    assert line.startswith(f"  {SECOND} against {FIRST}: ")
    assert f"8 seeds: {verdict}; 1.50x the training time" in line
    by = {(run.name, run.key.seed): measured(run, "test") for run in made}
    (expected,) = compare({"": [by[SECOND, s] - by[FIRST, s] for s in range(8)]}).values()
    assert f"{expected.difference:+.4f} [{expected.low:+.4f}, {expected.high:+.4f}]" in line
    assert note == "Paired by seed, difference in test recall [95% interval]:"


def test_images_held_out_are_used() -> None:
    made = runs(0.05, validation=0.2)
    note, line = verdicts(judged(made, [[FIRST, SECOND]]))
    assert note == "Paired by seed, difference in validation recall [95% interval]:"
    by = {(run.name, run.key.seed): measured(run, "validation") for run in made}
    mean = sum(by[SECOND, s] - by[FIRST, s] for s in range(8)) / 8
    assert f": {mean:+.4f} [" in line


def test_times_of_runs_that_shared_the_machine_are_not_compared() -> None:
    made = [attrs.evolve(run, provenance={**run.provenance, "runs_at_once": "2"}) for run in runs(0.05)]
    assert "training time" not in verdicts(judged(made, [[FIRST, SECOND]]))[1]


def test_several_comparisons_are_corrected_and_say_how_to_choose() -> None:
    made = runs(0.05)
    third = [attrs.evolve(run, name="third") for run in made if run.name == SECOND]
    note, *lines, choosing = verdicts(judged([*made, *third], [[FIRST, SECOND, "third"]]))
    assert len(lines) == 2
    assert "[interval and p corrected for 2 comparisons]:" in note
    assert choosing == "To choose among them, hold images out: sets={'data.validation': 0.25}."


def test_without_pairs_nothing_is_claimed() -> None:
    made = [run for run in runs(0.05) if run.name == FIRST or run.key.seed == 0]
    _, line = verdicts(judged(made, [[FIRST, SECOND]]))
    assert "1 seed: undecided" in line
    failed = [attrs.evolve(run, status="failed", epochs=()) if run.name == SECOND else run for run in made]
    assert verdicts(judged(failed, [[FIRST, SECOND]]))[1] == f"  {SECOND} against {FIRST}: no pair of runs"
    assert verdicts(judged(made, [[FIRST]])) == []
