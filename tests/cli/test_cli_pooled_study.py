"""`zoo study` over several bases and data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Zoo = Callable[..., Result]

BASES = ("--base", "starter/default", "--base", "starter/squeeze_excitation")
CHANGES = ("--change", "leaky:activation=leaky_relu", "--change", "bn:network.features.*.normalization=batch")
SMALL = (*BASES, *CHANGES, "--epochs", "1", "--ledger", "own.sqlite")
ONE = ("--seeds", "1")
REFUSED = (
    "Not done: starter/squeeze_excitation: change 'bn': network.features.*.normalization = 'batch' changes nothing: it "
    "is that already"
)


def test_plan_then_run_then_report(zoo: Zoo, folder: Path) -> None:
    planned = zoo("study", "plan", *SMALL, *ONE, "--jobs", "1")
    assert planned.exit_code == 1, "what was asked for by name cannot be done"
    assert "ad-hoc: one-at-a-time over 2 places, 1 seed of its own in each: 5 runs; 0 are in own" in planned.stdout
    assert "  starter/squeeze_excitation: 2 combinations, 2 to train, about " in planned.stdout
    assert "No claim is made about other bases or data sets: it takes 3 of either.\n" in planned.stdout
    assert REFUSED in planned.stdout

    ran = zoo("study", "run", *SMALL, *ONE, "--jobs", "1", "-o", "report.html")
    assert ran.exit_code == 1
    assert ran.stderr.endswith("1 of what was asked for could not be done; why is said above.\n")
    assert REFUSED in ran.stdout
    assert "leaky: helps in none of 2, hurts in none; pooled " in ran.stdout
    assert "--base starter/default --base starter/squeeze_excitation" in ran.stdout.splitlines()[-1]
    assert Path("report.html").read_text().count("<figure>") == 2

    reported = zoo("study", "report", *SMALL, *ONE)
    assert reported.exit_code == 1
    assert reported.stdout == ran.stdout
    records = json.loads(zoo("study", "report", *SMALL, *ONE, "--format", "json").stdout)
    assert [record["kind"] for record in records].count("pooled") == 2
    as_json = json.loads(zoo("study", "plan", *SMALL, *ONE, "--json").stdout, parse_constant=pytest.fail)
    assert [place["stored"] for place in as_json["places"].values()] == [3, 2]
    assert as_json["refused"] == [REFUSED.removeprefix("Not done: ")]


def test_show_has_each_base(zoo: Zoo, folder: Path) -> None:
    shown = zoo("study", "show", *BASES, "--change", "leaky:activation=leaky_relu")
    assert shown.exit_code == 0
    assert shown.stdout.count("base starter/") == 2


def test_a_file_states_it_and_options_take_the_place_of_what_it_states(zoo: Zoo, folder: Path) -> None:
    Path("q.toml").write_text(
        'bases = ["starter/default", "starter/4d"]\ndata = ["digits"]\n[changes.leaky]\nactivation = "leaky_relu"\n'
    )
    assert "over 2 places" in zoo("study", "plan", "q.toml", "--seeds", "1").stdout
    one = zoo("study", "plan", "q.toml", "--seeds", "1", "--base", "starter/4d")
    assert one.stdout.startswith("q: one-at-a-time, 1 change of starter/4d, 2 combinations with 1 seed: 2 runs")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--shard", "1/2"), "--shard is for a study of one base and data set: name one"),
        (("--budget", "5m"), "--budget cuts seeds down, and each of several bases or data sets has its own: state "
         "--seeds 3"),
        (("--seeds", "auto"), "seeds are not added to a study over several bases or data sets"),
        (("--data", "digits", "--data", "cifar10"), "the data set cifar10 is not at hand"),
        (("--base", "starter/nothing"), "bases: no spec is called 'starter/nothing'"),
        (("--resplit", "--select", "test"), "resplit draws the validation part anew with each seed, and the study"),
    ],
)  # fmt: skip
def test_what_does_not_go_is_one_error(zoo: Zoo, folder: Path, options: tuple[str, ...], text: str) -> None:
    result = zoo("study", "run", *SMALL, "--jobs", "1", *options)
    assert result.exit_code == 2
    assert text in " ".join(result.stderr.split())
    assert not Path("own.sqlite").exists()


def test_splits_of_each_seeds_own_are_said_and_repeated(zoo: Zoo, folder: Path) -> None:
    one = ("--base", "starter/default", *CHANGES[:2], "--epochs", "1", "--seeds", "1", "--jobs", "1")
    result = zoo("study", "run", *one, "--resplit", "--ledger", "own.sqlite")
    assert result.exit_code == 0, result.stderr
    assert "images like these, of which 25% are held out anew with each seed" in " ".join(result.stdout.split())
    assert "digits, split anew with each seed, 25% of training held out" in " ".join(result.stdout.split())
    assert result.stdout.rstrip().endswith("--resplit")
    table = zoo("results", "--ledger", "own.sqlite")
    assert "split anew with each seed" in table.stdout
