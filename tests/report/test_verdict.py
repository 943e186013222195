"""The verdict on variations, from runs whose recalls are made up."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
from made_results import _run as made_run
from scipy import stats

from zoo.registry import default_registry
from zoo.report.frames import verdicts_frame
from zoo.report.verdict import judged, judged_stored, verdicts
from zoo.spec.resolve import resolve, vary
from zoo.statistics.paired import compare
from zoo.study.measure import image_step, measured
from zoo.train.run import Run

FIRST, SECOND = "starter/default[activation=relu]", "starter/default[activation=mish]"


def runs(
    gain: float, *, seeds: int = 8, validation: float = 0.0, seconds: float = 2.0, resplit: bool | str = False
) -> list[Run]:
    registry = default_registry()
    sets: dict[str, object] = {"data.validation": validation} if validation else {}
    sets |= {"data.resplit": resplit} if resplit else {}
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
    assert f"8 seeds: {verdict}; 1.50x [1.50, 1.50] the training time" in line
    by = {(run.name, run.key.seed): measured(run, "test") for run in made}
    (expected,) = compare({"": [by[SECOND, s] - by[FIRST, s] for s in range(8)]}, level=0.04).values()
    assert f"{expected.difference:+.4f} [{expected.low:+.4f}, {expected.high:+.4f}]" in line
    assert note == "Paired by seed, on these images and this split, difference in test recall [96% interval]:"


def looking(made: list[Run], *asked: tuple[str, int]) -> list[Run]:
    """The same runs, those of a seed below each number asked for with so many seeds, of a spec's name."""
    asked_of = dict(asked)
    return [
        attrs.evolve(run, provenance={**run.provenance, "seeds": str(asked_of[run.name])})
        for run in made
        if run.key.seed < asked_of[run.name]
    ]


def test_what_another_spec_was_asked_for_is_no_look() -> None:
    made = runs(0.05)
    other = [attrs.evolve(run, name="other") for run in runs(0.02) if run.name == SECOND]
    of_other = looking(other, ("other", 4))
    of_both = looking(made, (FIRST, 8), (SECOND, 8))
    alone, beside = judged(of_both, [[FIRST, SECOND]]), judged([*of_both, *of_other], [[FIRST, SECOND, "other"]])
    assert beside[0].looks == alone[0].looks == ("8",)
    assert beside[0].comparison.held == alone[0].comparison.held == pytest.approx(0.04)
    assert beside[0].comparison.p == alone[0].comparison.p


def test_a_second_look_has_less_of_the_level_and_is_said() -> None:
    made = runs(0.05)
    first = dict.fromkeys(range(5), "5")
    again = [attrs.evolve(r, provenance={**r.provenance, "seeds": first.get(r.key.seed, "8")}) for r in made]
    *_, note = verdicts(judged(again, [[FIRST, SECOND]]))
    assert note == (
        "Look 2 at these comparisons, after those with 5 seeds: it has 0.50% of the 5% that all looks share, so that "
        "false claims stay as rare."
    )


def test_images_held_out_are_used() -> None:
    made = runs(0.05, validation=0.2)
    note, line = verdicts(judged(made, [[FIRST, SECOND]]))
    assert note == "Paired by seed, on these images and this split, difference in validation recall [96% interval]:"
    by = {(run.name, run.key.seed): measured(run, "validation") for run in made}
    mean = sum(by[SECOND, s] - by[FIRST, s] for s in range(8)) / 8
    assert f": {mean:+.4f} [" in line


@pytest.mark.parametrize("resplit", [True, "folds"])
def test_where_seeds_split_anew_it_is_about_images_like_these(resplit: bool | str) -> None:
    made = runs(0.05, validation=0.2, resplit=resplit)
    note, line = verdicts(judged(made, [[FIRST, SECOND]]))
    assert note == (
        "Paired by seed, about images like these, split anew with each seed, difference in validation recall [96% "
        "interval]:"
    )
    by = {(run.name, run.key.seed): measured(run, "validation") for run in made}
    differences = [by[SECOND, s] - by[FIRST, s] for s in range(8)]
    (expected,) = compare(
        {"": differences}, level=0.04, overlap=0.2 / 0.8, step=image_step(made, "validation")
    ).values()
    assert f"{expected.difference:+.4f} [{expected.low:+.4f}, {expected.high:+.4f}]" in line


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


def test_lost_runs_are_counted_apart_and_hide_no_difference() -> None:
    made = [
        attrs.evolve(run, status="diverged", epochs=()) if run.name == SECOND and run.key.seed == 3 else run
        for run in runs(0.05)
    ]
    found = judged(made, [[FIRST, SECOND]])
    line = verdicts(found)[1]
    assert "7 seeds: helps; 1 of 8 runs lost against 0 of 8 (p = 1.0000: undecided)" in line
    (row,) = verdicts_frame(found).to_dict("records")
    assert [row[name] for name in ("lost", "lost_against", "lost_p", "lost_verdict")] == [1, 0, 1.0, "undecided"]
    (row,) = verdicts_frame(judged(runs(0.05), [[FIRST, SECOND]])).to_dict("records")
    assert [row[name] for name in ("lost", "lost_against", "lost_verdict")] == [0, 0, ""]
    assert math.isnan(row["lost_p"]), "nothing was lost, so nothing is judged"


def test_what_is_lost_is_judged_at_the_level_of_the_look() -> None:
    """Otherwise each look at more seeds would be one more chance of a false claim."""

    def lost(*asked: str) -> list[Run]:
        return [
            attrs.evolve(
                run,
                status="diverged" if run.name == SECOND and run.key.seed > 1 else run.status,
                provenance={**run.provenance, "seeds": asked[run.key.seed % len(asked)]},
            )
            for run in runs(0.0)
        ]

    (first,) = judged(lost("8"), [[FIRST, SECOND]])
    (second,) = judged(lost("4", "8"), [[FIRST, SECOND]])
    assert first.losses
    assert second.losses
    assert first.losses.p == second.losses.p == pytest.approx(stats.fisher_exact([[6, 2], [0, 8]]).pvalue)
    assert (first.losses.verdict, second.losses.verdict) == ("loses more runs", "undecided")
    assert first.losses.p_of_all == pytest.approx(first.losses.p * 0.05 / 0.04)
    assert second.losses.p_of_all == pytest.approx(second.losses.p * 0.05 / 0.005)


def test_without_pairs_nothing_is_claimed() -> None:
    made = [run for run in runs(0.05) if run.name == FIRST or run.key.seed == 0]
    _, line = verdicts(judged(made, [[FIRST, SECOND]]))
    assert "1 seed: undecided (no claim is made from fewer than 3 seeds)" in line
    failed = [attrs.evolve(run, status="failed", epochs=()) if run.name == SECOND else run for run in made]
    assert verdicts(judged(failed, [[FIRST, SECOND]]))[1].startswith(f"  {SECOND} against {FIRST}: no pair of runs")
    assert verdicts(judged(made, [[FIRST]])) == []


def test_a_ratio_of_times_has_an_interval_paired_by_seed() -> None:
    made = [
        attrs.evolve(
            run,
            epochs=tuple(attrs.evolve(e, seconds_training=e.seconds_training * (1 + run.key.seed)) for e in run.epochs),
        )
        for run in runs(0.05, seconds=3.0)
    ]
    factors = [1.0, 1.1, 0.9, 1.2, 1.0, 0.8, 1.0, 1.05]
    made = [
        attrs.evolve(
            run,
            epochs=tuple(
                attrs.evolve(e, seconds_training=e.seconds_training * factors[run.key.seed]) for e in run.epochs
            ),
        )
        if run.name == SECOND
        else run
        for run in made
    ]
    (one,) = judged(made, [[FIRST, SECOND]])
    logs = np.log(1.5 * np.array(factors))
    low, high = np.exp(stats.t.interval(0.95, 7, logs.mean(), logs.std(ddof=1) / np.sqrt(8)))
    assert (one.time_ratio, one.time_low, one.time_high) == pytest.approx((np.exp(logs.mean()), low, high))
    assert f"{one.time_ratio:.2f}x [{low:.2f}, {high:.2f}] the training time" in str(one)


def test_a_single_seed_has_a_ratio_without_an_interval() -> None:
    (one,) = judged(runs(0.05, seeds=1, seconds=3.0), [[FIRST, SECOND]])
    assert str(one).endswith("; 1.50x the training time")


def changed(made: list[Run], **about: str) -> list[Run]:
    """Return the runs with other provenance for those of the second spec."""
    return [attrs.evolve(r, provenance={**r.provenance, **about}) if r.name == SECOND else r for r in made]


def test_recall_is_not_compared_between_data_sets() -> None:
    made = [
        attrs.evolve(run, dataset="folder:d", key=attrs.evolve(run.key, dataset="other")) if run.name == SECOND else run
        for run in runs(0.05)
    ]
    (one,) = judged(made, [[FIRST, SECOND]])
    expected = f"{SECOND} against {FIRST}: not compared, the runs differ in more: data digits and folder:d"
    assert str(one) == expected
    assert (one.comparison.n, one.comparison.p, one.time_ratio) == (0, None, None)


def longer(made: list[Run], name: str) -> list[Run]:
    """Return the runs with three times the epochs for those of a name."""
    return [
        attrs.evolve(r, spec={**r.spec, "training": {**r.spec["training"], "epochs": 30}}) if r.name == name else r
        for r in made
    ]


def test_stored_runs_of_other_lengths_are_compared_only_if_they_differ_in_nothing_else() -> None:
    (one,) = judged_stored(longer(runs(0.05), SECOND), FIRST)
    assert one.unlike == "length 10 epochs and 30 epochs"
    assert judged(longer(runs(0.05), SECOND), [[FIRST, SECOND]])[0].unlike == "", "a study may ask for just that"
    limited = [attrs.evolve(r, spec={**r.spec, "training": {**r.spec["training"], "minutes": 2}}) for r in runs(0.05)]
    (one,) = judged_stored(longer(limited, SECOND), FIRST)
    assert one.unlike == "length 10 epochs, 2 minutes and 30 epochs, 2 minutes"
    first = [run for run in runs(0.05) if run.name == FIRST]
    again = [attrs.evolve(run, name="longer", key=attrs.evolve(run.key, spec="longer")) for run in longer(first, FIRST)]
    (one,) = judged_stored([*first, *again], FIRST)
    assert (one.unlike, one.comparison.n) == ("", 8)


def test_the_frame_has_the_figures_of_the_line() -> None:
    (one,) = judged(runs(0.004), [[FIRST, SECOND]])
    (row,) = verdicts_frame([one]).to_dict("records")
    assert row["p"] == one.comparison.p_of_all
    assert row["p"] == pytest.approx(min(one.comparison.p * 1.25, 1)), "the first look has 4% of the 5%"


def test_recall_is_not_compared_between_measures() -> None:
    made = [
        attrs.evolve(run, spec={**run.spec, "evaluation": {**run.spec["evaluation"], "measure": "eq2425"}})
        if run.name == SECOND
        else run
        for run in runs(0.05)
    ]
    assert str(judged(made, [[FIRST, SECOND]])[0]).endswith("differ in more: measure final and eq2425")


def test_what_is_not_compared_is_no_claim_to_be_corrected_for() -> None:
    made = runs(0.05)
    elsewhere = [
        attrs.evolve(run, name="elsewhere", key=attrs.evolve(run.key, dataset="other"), dataset="folder:d")
        for run in made
        if run.name == SECOND
    ]
    note, *lines = verdicts(judged([*made, *elsewhere], [[FIRST, SECOND, "elsewhere"]]))
    assert note.endswith("[96% interval]:")
    assert lines[0] == verdicts(judged(made, [[FIRST, SECOND]]))[1]
    assert "not compared" in lines[1]


def test_times_of_unlike_runs_are_not_compared_and_several_versions_are_said() -> None:
    (one,) = judged(changed(runs(0.05), device_name="H100", torch="0.1"), [[FIRST, SECOND]])
    assert one.time_ratio is None
    assert one.comparison.n == 8
    assert "helps; times are not compared, of runs that differ: device" in str(one)
    assert "; of several versions: torch " in str(one)
