"""`zoo study` with `--tune`: a small real study, gone on with, reported, and from Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from zoo.errors import ZooError
from zoo.lab.lab import Lab
from zoo.ledger import Ledger

Zoo = Callable[..., Result]

STUDY = ("--base", "starter/default", "--change", "bn:network.features.*.normalization=batch", "--epochs", "1",
         "--set", "data.limit=200", "--seeds", "2", "--ledger", "own.sqlite")  # fmt: skip
TUNED = (*STUDY, "--tune", "learning_rate=0.02,0.05", "--tune-seeds", "1")


def test_plan_then_run_then_report(zoo: Zoo, folder: Path) -> None:
    planned = zoo("study", "plan", *TUNED)
    assert planned.exit_code == 0, planned.stderr
    assert (
        "Tuning: each of 2 arms at 2 settings with 1 seed of its own (100000), 2 runs for each: 4 runs; 0 are in "
        "own.sqlite already.\n"
        "Then at most 4 runs at settings other than the shared one: at what was chosen, and, where a claim comes out, "
        "at what was not.\n"
        "Then at most 20 runs with fresh seeds, which confirm what was chosen.\n"
        "Time: at most about "
    ) in planned.stdout
    assert "The same changes by each design" not in planned.stdout
    as_json = json.loads(zoo("study", "plan", *TUNED, "--json").stdout)
    assert as_json["tuning"] == {
        "arms": 2, "settings": 2, "most_settings": 2, "seeds": [100000], "rounds": [[2, 1]], "runs": 4,
        "most_added_runs": 0, "missing": 4, "stored": 0, "other_arms": 2, "sampler": None,
    }  # fmt: skip

    ran = zoo("study", "run", *TUNED, "--jobs", "1", "-o", "report.html")
    assert ran.exit_code == 0, ran.stderr
    assert "Before and after tuning" in ran.stdout
    assert "Recall at each setting" in Path("report.html").read_text()
    assert "--tune learning_rate=0.02,0.05 " in " ".join(ran.stdout.split())
    with Ledger(Path("own.sqlite")) as ledger:
        runs = ledger.runs()
    assert len([run for run in runs if run.key.seed == 100_000]) == 4

    assert zoo("study", "report", *TUNED).stdout == ran.stdout
    with Ledger(Path("own.sqlite")) as ledger:
        removed = next(number for key, number in ledger.numbers(r.key for r in runs).items() if key.seed == 100_000)
    assert zoo("ledger", "remove", "--run", str(removed), "--yes", "--ledger", "own.sqlite").exit_code == 0
    lacking = zoo("study", "report", *TUNED)
    assert lacking.exit_code == 0, lacking.stderr
    assert "Not finished: at least 1 run is missing." in " ".join(lacking.stdout.split())
    assert zoo("study", "run", *TUNED, "--jobs", "1").stdout == ran.stdout

    lab = Lab("own.sqlite", jobs=1)
    stated = {"base": "starter/default", "changes": {"bn": {"network.features.*.normalization": "batch"}}}
    with lab.open_study(
        {**stated, "tune_seeds": 1, "tune": {"learning_rate": [0.02, 0.05]}},
        seeds=2,
        epochs=1,
        sets={"data.limit": 200},
    ) as work:
        findings = work.report()
    assert set(findings.runs()["use"]) >= {"tuning", "selection", "confirmation"}
    assert findings.runs()["run"].notna().all()
    assert findings.frame()["kind"].tolist().count("trial") == 2
    with lab.open_study(
        stated, seeds=2, epochs=1, sets={"data.limit": 200}, tune={"learning_rate": [0.05, 0.1]}
    ) as work:
        planned_here = work.plan()
    assert planned_here.tuning is not None
    assert (planned_here.tuning.runs, planned_here.tuning.plan.stored) == (12, 2)


def test_settings_are_halved(zoo: Zoo, folder: Path) -> None:
    halved = (*STUDY, "--tune", "learning_rate=0.02,0.05,0.1", "--tune-seeds", "3", "--tune-halving")
    planned = zoo("study", "plan", *halved)
    assert (
        "Tuning: each of 2 arms at 3 settings with 1 seed of its own (100000), the better 2 with 2 and the better 2 "
        "with 3 (100000 to 100002), 7 runs for each: 14 runs; of the first 6, 0 are in own.sqlite already.\n"
    ) in planned.stdout
    as_json = json.loads(zoo("study", "plan", *halved, "--json").stdout)["tuning"]
    assert (as_json["rounds"], as_json["runs"], as_json["missing"]) == ([[3, 1], [2, 2], [2, 3]], 14, 6)
    ran = zoo("study", "run", *halved, "--jobs", "1")
    assert ran.exit_code == 0, ran.stderr
    assert "--tune-halving" in ran.stdout
    with Ledger(Path("own.sqlite")) as ledger:
        assert len([run for run in ledger.runs() if run.key.seed >= 100_000]) == 14
    assert zoo("study", "report", *halved).stdout == ran.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--tune", "learning_rate"],
            "expected path=a,b,... after --tune, got 'learning_rate'; for example --tune learning_rate=0.01,0.03,0.1",
        ),
        (
            ["--tune", "learning_rate=0.1,0.2", "--tune", "learning_rate=0.3"],
            "learning_rate is tuned twice; write all of its values after one --tune",
        ),
        (["--tune-budget", "4"], "study 'ad-hoc': tune_budget: nothing is tuned; state tune, too, or leave it out"),
        (
            ["--tune", "learning_rate=0.1,0.2", "--shard", "1/2"],
            "its runs cannot be shared out beforehand; take a design that is no search, with a number of seeds, and no "
            "tuning",
        ),
    ],
)
def test_what_cannot_be_tuned_is_said(zoo: Zoo, options: list[str], message: str) -> None:
    result = zoo("study", "run", *STUDY, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_plan_says_how_many_runs_widening_may_add(zoo: Zoo) -> None:
    planned = zoo("study", "plan", *TUNED, "--tune-widen", "2")
    text = "Where an arm chooses the outermost value, one beyond is added for all, up to 6 settings each: 4 runs to 12."
    assert text in " ".join(planned.stdout.split()), planned.stdout


def test_show_says_what_is_tuned(zoo: Zoo) -> None:
    shown = zoo("study", "show", *TUNED, "--tune", "momentum=0.5,0.9", "--tune-budget", "3")
    assert "tunes learning_rate = 0.02, 0.05; momentum = 0.5, 0.9; 3 settings, 1 seed for each\n" in shown.stdout


def test_what_is_suggested_is_found_again(zoo: Zoo, folder: Path) -> None:
    sampled = (*STUDY[:-1], "sampled.sqlite", "--tune", "learning_rate={low=0.01,high=0.1,log=true}",
               "--tune-seeds", "1", "--tune-budget", "3", "--tune-sampler", "optuna:tpe")  # fmt: skip
    planned = zoo("study", "plan", *sampled)
    assert (
        "Tuning: each of 2 arms at 2 settings with 1 seed of its own (100000), 2 runs for each: 4 runs; 0 are in "
        "sampled.sqlite already. Then optuna:tpe suggests some to each arm in turn, and all are trained at them, up to "
        "3 settings each: 4 runs to 6."
    ) in " ".join(planned.stdout.split())
    assert json.loads(zoo("study", "plan", *sampled, "--json").stdout)["tuning"]["sampler"] == "optuna:tpe"
    ran = zoo("study", "run", *sampled, "--jobs", "1")
    assert ran.exit_code == 0, ran.stderr
    words = " ".join(ran.stdout.split())
    assert "What optuna:tpe suggested to one arm was tried by all. Each arm was trained at 3 settings" in words
    assert "--tune 'learning_rate={low=0.01,high=0.1,log=true}'" in ran.stdout
    assert "--tune-budget 3 --tune-sampler optuna:tpe" in ran.stdout
    assert zoo("study", "report", *sampled).stdout == ran.stdout


def test_a_range_is_a_table_of_its_ends(zoo: Zoo) -> None:
    ranged = (*STUDY, "--tune", "learning_rate={low=0.01,high=0.1,log=true}", "--tune-seeds", "1")
    shown = zoo("study", "show", *ranged, "--tune-budget", "3")
    assert "tunes learning_rate = 0.01 to 0.1 (log); 3 settings, 1 seed for each\n" in shown.stdout
    unbounded = zoo("study", "show", *ranged)
    assert "tune: a range has no last value; state tune_budget, the number of settings to try" in unbounded.stderr
    lab = Lab("own.sqlite", jobs=1)
    stated = {"base": "starter/default", "changes": {"bn": {"network.features.*.normalization": "batch"}}}
    tune = {"learning_rate": {"low": 0.01, "high": 0.1, "log": True}}
    with lab.open_study({**stated, "tune_budget": 3}, tune=tune) as work:
        assert work.study.tune is not None
        assert len(work.study.tune.settings) == 3


def test_a_budget_that_tuning_does_not_fit_is_refused(zoo: Zoo) -> None:
    result = zoo("study", "run", *TUNED, "--budget", "0.01s")
    assert result.exit_code == 2
    assert "take fewer epochs, fewer changes, or fewer settings to tune over" in result.stderr


def test_from_python_values_are_lists(folder: Path) -> None:
    lab = Lab("own.sqlite", jobs=1)
    with pytest.raises(ZooError, match=r"tune: learning_rate: expected a list of values"):
        lab.study("activations", tune={"learning_rate": 0.1})


def test_what_a_verdict_takes_is_for_one_base_and_above_the_margin(zoo: Zoo, folder: Path) -> None:
    several = zoo("study", "plan", *STUDY, "--base", "starter/4d", "--find", "0.1")
    assert (several.exit_code, several.stderr) == (
        2, "Error: --find is for studies of one base on one data set; leave it out\n"
    )  # fmt: skip
    inside = zoo("study", "plan", *STUDY, "--find", "0.004")
    assert inside.exit_code == 2
    assert "--find: expected a difference above the margin of 0.005, got 0.004" in inside.stderr
