"""`zoo study`: real training of a small study, and what the command says of bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from click.testing import Result
from scipy import stats
from statsmodels.stats.multitest import multipletests

from zoo.ledger import Ledger

Zoo = Callable[..., Result]

CHANGES = ("--change", "leaky:activation=leaky_relu", "--change", "bn:network.features.*.normalization=batch")
SMALL = ("--base", "starter/default", *CHANGES, "--epochs", "1", "--seeds", "2", "--ledger", "own.sqlite")


def test_list_names_all_registered(zoo: Zoo) -> None:
    result = zoo("study", "list", "--json")
    names = {record["study"] for record in json.loads(result.stdout)}
    assert names == {
        "activations", "dropouts", "normalizations", "poolings",
        "eq2425", "eq2425-corrected", "eq2425-factorial", "eq2425-stepwise", "starter-factorial",
        "gallery/activations", "gallery/dropouts", "gallery/filters", "gallery/normalizations", "gallery/optimizers",
        "gallery/poolings", "gallery/activations-photographs", "gallery/filters-photographs",
        "gallery/normalizations-photographs",
    }  # fmt: skip
    assert "starter-factorial" in zoo("study", "list").stdout


def test_show_says_what_each_change_does(zoo: Zoo) -> None:
    text = zoo("study", "show", "starter-factorial").stdout
    assert "+ BatchNorm2d(24) after features.0.filter" in text
    assert "training.shuffle: false -> true" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "nonsense"), "--device nonsense: there is no such device"),
        (("--max-seeds", "3"), "--max-seeds is for seeds that are added"),
        (("--ledger", "."), "the ledger . is a folder"),
    ],
)
def test_show_refuses_what_plan_refuses(zoo: Zoo, options: tuple[str, ...], message: str) -> None:
    for command in ("show", "plan"):
        refused = zoo("study", command, *SMALL, *options)
        assert refused.exit_code != 0
        assert message in refused.stderr


def test_plan_then_run_then_report(zoo: Zoo, folder: Path) -> None:
    planned = zoo("study", "plan", *SMALL)
    assert planned.exit_code == 0
    assert "3 combinations with 2 seeds: 6 runs; 0 are in own.sqlite already" in planned.stdout
    assert "No claim is made from fewer than 3 seeds: take more.\n" in planned.stdout
    three = zoo("study", "plan", *SMALL, "--seeds", "3")
    assert "standard deviations for a change (of a paired difference, which is not known yet)" in three.stdout
    as_json = zoo("study", "plan", *SMALL, "--seeds", "1", "--json").stdout
    assert json.loads(as_json, parse_constant=pytest.fail)["detectable"] == {"a change": None}

    ran = zoo("study", "run", *SMALL, "--jobs", "1", "-o", "report.html")
    assert ran.exit_code == 0, ran.stderr
    assert "leaky" in ran.stdout
    assert "Written to report.html." in ran.stderr
    page = Path("report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "bn:network.features.*.normalization=batch" in page

    with Ledger(Path("own.sqlite")) as ledger:
        runs = ledger.runs()
    assert sorted(run.key.seed for run in runs if run.key.seed < 1000) == [0, 0, 0, 1, 1, 1]
    assert {run.key.seed for run in runs} == {0, 1, *range(1000, 1005)}
    assert "Then at most 10 runs with fresh seeds, which confirm what was chosen." in planned.stdout
    assert all("validation" in run.epochs[-1].evaluations for run in runs)

    again = zoo("study", "plan", *SMALL)
    assert "6 are in own.sqlite already" in again.stdout
    assert "from runs in the ledger" in zoo("study", "plan", *SMALL, "--seeds", "3").stdout
    repeated = zoo("study", "run", *SMALL, "--jobs", "1")
    assert repeated.stdout == ran.stdout
    reported = zoo("study", "report", *SMALL)
    assert reported.stdout == ran.stdout
    with Ledger(Path("own.sqlite")) as ledger:
        assert len(ledger.runs()) == 6 + 2 * 5, "something was trained again"

    for ending in ("md", "tex", "csv", "json", "parquet"):
        assert zoo("study", "report", *SMALL, "-o", f"report.{ending}").exit_code == 0
    frame = pd.read_parquet("report.parquet")
    assert {"leaky", "bn"} <= set(frame["name"])
    assert r"\toprule" in Path("report.tex").read_text(), "the tables of report.tex are not those of booktabs"
    assert len(json.loads(Path("report.json").read_text())) == len(pd.read_csv("report.csv")) == len(frame)


def test_a_report_of_some_of_the_runs_claims_nothing(zoo: Zoo, folder: Path) -> None:
    assert zoo("study", "run", *SMALL, "--shard", "1/2", "--jobs", "1").exit_code == 0
    reported = zoo("study", "report", *SMALL)
    assert reported.exit_code == 0, reported.stderr
    assert "Not finished: 3 of 6 runs are missing." in reported.stdout
    assert not any(word in reported.stdout for word in ("Chosen", "Ranks", "helps", "hurts", "Not beaten"))
    assert zoo("study", "run", *SMALL, "--jobs", "1").exit_code == 0
    assert "Not finished" not in zoo("study", "report", *SMALL).stdout


def test_seeds_are_added_by_auto(zoo: Zoo, folder: Path) -> None:
    arguments = (*SMALL[:-4], "--seeds", "auto", "--max-seeds", "5", "--ledger", "own.sqlite")
    result = zoo("study", "run", *arguments, "--jobs", "1")
    assert result.exit_code == 0, result.stderr
    with Ledger(Path("own.sqlite")) as ledger:
        seeds = {run.key.seed for run in ledger.runs()}
    selected = {seed for seed in seeds if seed < 1000}
    assert {0, 1, 2} <= selected <= {0, 1, 2, 3, 4}
    assert seeds - selected == set(range(1000, 1005))
    assert zoo("study", "report", *arguments).stdout == result.stdout


def test_stepwise(zoo: Zoo, folder: Path) -> None:
    result = zoo("study", "run", *SMALL, "--design", "stepwise", "--jobs", "1", "--format", "json")
    assert result.exit_code == 0, result.stderr
    assert any(record["name"].startswith("leaky") for record in json.loads(result.stdout))


def test_levels_and_a_change_of_several_paths(zoo: Zoo) -> None:
    result = zoo(
        "study", "show", "--base", "starter/default",
        "--change", "size:network.features.1.filter.size=5,7",
        "--change", "both:activation=mish", "--change", "both:network.classifier.0.dropout=dropout",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "size=5\n" in result.stdout
    assert "size=7\n" in result.stdout
    assert "+ Dropout(p=0.5) after classifier.0.activation" in result.stdout


def test_a_budget_takes_fewer_seeds(zoo: Zoo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a seed is estimated to take goes with what else the machine does.
    monkeypatch.setattr("zoo.lab.studies.seconds_with", lambda study, plan, seeds, tuning: float(len(seeds)))
    few = (*SMALL[:-4], "--ledger", "own.sqlite", "--jobs", "1")
    result = zoo("study", "run", *few, "--seeds", "100", "--budget", "3.5s")
    assert "Cut down to the budget: 3 seeds." in result.stderr, result.stderr
    refused = zoo("study", "run", *few, "--epochs", "100", "--seeds", "5", "--budget", "1s", "--set", "batch_size=1")
    assert refused.exit_code == 2
    assert "two seeds take about 2 s and the budget is 1 s" in refused.stderr


def recalls(ledger: Path) -> pd.DataFrame:
    """Return macro recall on the validation images of runs in a ledger, counted without zoo's own figures.

    Those with fresh seeds are left out.
    """
    rows = []
    with Ledger(ledger) as opened:
        for run in (run for run in opened.runs() if run.key.seed < 1000):
            counts = np.array(run.epochs[-1].evaluations["validation"].confusion)
            right, images = counts.diagonal(), counts.sum(axis=1)
            occurs = (images + counts.sum(axis=0)) > 0
            recall = np.mean((right / np.maximum(images, 1))[occurs])
            changes = run.name.partition("[")[2].rstrip("]").split(", ")
            rows.append(
                {
                    "leaky": float("leaky" in changes),
                    "bn": float("bn" in changes),
                    "seed": run.key.seed,
                    "recall": recall,
                    "step": 1 / (len(images) * images.max()),
                }
            )
    return pd.DataFrame(rows)


def t_test(values: Sequence[float], step: float, level: float) -> list[float]:
    """Return p and the interval of a mean, where a scatter below the step of one image is not believed."""
    mean, freedom = float(np.mean(values)), len(values) - 1
    error = max(float(np.std(values, ddof=1)), step) / math.sqrt(len(values))
    return [2 * stats.t.sf(abs(mean) / error, freedom), *stats.t.interval(1 - level, freedom, mean, error)]


def test_pairs_are_what_scipy_says_of_the_ledgers_numbers(zoo: Zoo, folder: Path) -> None:
    small = (*SMALL[:-4], "--seeds", "4", "--ledger", "own.sqlite", "--jobs", "1", "--format", "json")
    printed = json.loads(zoo("study", "run", *small).stdout)
    records = {record["name"]: record for record in printed if record["kind"] not in ("confirmation", "arrival")}
    runs = recalls(Path("own.sqlite"))
    table = runs.pivot(index="seed", columns=["leaky", "bn"], values="recall")
    p_values = []
    for name, column in (("leaky", (1.0, 0.0)), ("bn", (0.0, 1.0))):
        differences, record = table[column] - table[0.0, 0.0], records[name]
        assert record["difference"] == pytest.approx(differences.mean(), abs=1e-9)
        expected = t_test(differences, runs.step[0], record["level"])
        assert [record["p"], record["low"], record["high"]] == pytest.approx(expected, abs=1e-9)
        p_values.append(expected[0])
    adjusted = multipletests(p_values, method="holm")[1]
    assert [records[name]["p_adjusted"] for name in ("leaky", "bn")] == pytest.approx(adjusted, abs=1e-9)


def test_effects_are_what_a_formula_says_of_the_ledgers_numbers(zoo: Zoo, folder: Path) -> None:
    small = (
        *SMALL[:-4],
        "--seeds",
        "3",
        "--ledger",
        "own.sqlite",
        "--design",
        "factorial",
        "--jobs",
        "1",
        "--format",
        "json",
    )
    printed = json.loads(zoo("study", "run", *small).stdout)
    records = {record["name"]: record for record in printed if record["kind"] not in ("confirmation", "arrival")}
    table = recalls(Path("own.sqlite"))
    table[["leaky", "bn"]] -= 0.5  # so that each coefficient is an effect averaged over the other factor
    fits = [smf.ols("recall ~ leaky * bn", own).fit() for _, own in table.groupby("seed")]
    # A main effect is a mean of two differences, an interaction a difference of two.
    for name, term, share in (("leaky", "leaky", 0.5), ("bn", "bn", 0.5), ("leaky x bn", "leaky:bn", 2)):
        by_seed, record = [fit.params[term] for fit in fits], records[name]
        assert record["difference"] == pytest.approx(np.mean(by_seed), abs=1e-9)
        expected = t_test(by_seed, table.step[0] * math.sqrt(share), record["level"])
        assert [record["p"], record["low"], record["high"]] == pytest.approx(expected, abs=1e-9)


UNFIT = ("--change", "bn:network.classifier.*.normalization=batch")
ONE_LEFT = ("--set", "batch_size=360")
"""Of 1,081 training images in batches of 360 the last batch is one image."""


def test_what_cannot_be_trained_is_left_out_or_said(zoo: Zoo, folder: Path) -> None:
    rest = ("--epochs", "1", "--seeds", "2", "--jobs", "1", *ONE_LEFT)
    leaky = ("--base", "starter/default", "--change", "leaky:activation=leaky_relu")
    result = zoo("study", "run", *leaky, *UNFIT, *rest)
    assert result.exit_code == 1, "it was asked for by name"
    assert result.stderr.endswith("1 spec that was asked for cannot be trained.\n")
    assert zoo("study", "plan", *leaky, *UNFIT, *rest).exit_code == 1
    assert "Left out: starter/default[bn]: a layer cannot be trained on a batch of a single image" in result.stdout
    reported = zoo("study", "report", *leaky, *UNFIT, *rest[:4], *ONE_LEFT)
    assert "Not finished" not in reported.stdout, "what cannot be trained is not waited for"
    assert "Left out: starter/default[bn]: a layer cannot be trained on a batch of a single image" in reported.stdout
    assert zoo("study", "run", *leaky, *UNFIT, *rest, "--design", "stepwise").exit_code == 1
    refused = zoo("study", "run", *leaky, *UNFIT, *rest, "--design", "factorial")
    assert refused.exit_code == 2
    assert "starter/default[bn]: a layer cannot be trained on a batch of a single image" in refused.stderr


MISTAKES = [
    (("study", "run"), 2, "name a study (`zoo study list`), a TOML file, or describe one by --base and --change"),
    (
        ("study", "run", "starter-factorail"),
        2,
        "no study is called 'starter-factorail'; did you mean starter-factorial",
    ),
    (("study", "run", "--base", "starter/default"), 2, "study 'ad-hoc': changes: required, but not there"),
    (("study", "run", *SMALL, "--change", "leaky"), 2, "expected NAME:PATH=VALUE after --change, got 'leaky'"),
    (
        ("study", "run", *SMALL, "--change", "bn:filter.size=3,5"),
        2,
        "--change bn: a change of several paths cannot be a choice among values, 3,5",
    ),
    (("study", "run", *SMALL, "--design", "full"), 2, "Invalid value for '--design'"),
    (
        ("study", "run", *SMALL, "--max-seeds", "3"),
        2,
        "--max-seeds is for seeds that are added: it goes with --seeds auto",
    ),
    (("study", "run", *SMALL, "--seeds", "none"), 2, "expected a number of seeds, from 1, or auto, got 'none'"),
    (
        ("study", "run", *SMALL, "--design", "stepwise", "--seeds", "auto"),
        2,
        "seeds cannot be added to a stepwise search",
    ),
    (("study", "run", *SMALL, "--format", "parquet"), 2, "--format parquet is not for a terminal"),
    (("study", "run", *SMALL, "--format", "tabel"), 2, "no format of a study is called 'tabel'"),
    (
        ("study", "report", *SMALL, "-o", "report.xlsx"),
        2,
        "--output report.xlsx: no report is written to files that end so. Known: .html, .md, .tex, .csv, .json, "
        ".parquet, .txt; or state --format.",
    ),
    (("study", "run", *SMALL, "-o", "report.htm"), 2, "did you mean .html"),
    (("study", "run", *SMALL, "-o", "no/where.html"), 2, "--output no/where.html: there is no folder no"),
    (("study", "run", *SMALL, "--set", "batch_size=1", "--set", "batch_size=2"), 2, "batch_size is set twice"),
    (("study", "report", *SMALL), 1, "there is no ledger own.sqlite"),
    (
        ("study", "run", "--base", "starter/default", "--change", "seed:activation=mish"),
        2,
        "'seed' cannot be the name of a change",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "message"), MISTAKES, ids=[m[:30] for _, _, m in MISTAKES])
def test_mistakes_get_one_message(zoo: Zoo, folder: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = zoo(*arguments)
    assert message in result.stderr
    assert result.exit_code == code
    assert "Traceback" not in result.stderr


def test_a_ledger_without_the_studys_runs(zoo: Zoo, folder: Path) -> None:
    Ledger(Path("own.sqlite")).close()
    result = zoo("study", "report", *SMALL)
    assert result.exit_code == 2
    assert "study 'ad-hoc': there is no run to judge; `zoo study run` trains, with the same options" in result.stderr
