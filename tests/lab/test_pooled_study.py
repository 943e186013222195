"""A study over several bases and data sets in a lab: trained for real, at a small size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats
from small_runs import PLUGIN

import zoo
from zoo.errors import DataError, NothingTrainedError, SpecError, ZooError
from zoo.lab.pooled import PooledFindings, PooledWork
from zoo.registry import Registry
from zoo.study.places import SEEDS_APART

mpl.use("agg")
REGISTRY = Registry(files=[PLUGIN]).require_sound()
SMALL = """
[[network.features]]
filters = 3
filter = { name = "conv", size = 3, padding = "same" }
pooling = "max"
[[network.classifier]]
units = 5
[training]
epochs = 6
batch_size = 5
[training.optimizer]
name = "sgd"
learning_rate = 0.1
momentum = 0.9
[data]
dataset = "squares"
validation = 0.25
"""
OTHERS = {"wide": '"network.features.0.filters" = 5', "normed": '"network.features.0.normalization" = "batch"'}
CHANGES = {"tanh": {"activation": "tanh"}, "bn": {"network.features.0.normalization": "batch"}}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("bases")
    (folder / "small.toml").write_text(SMALL)
    for name, sets in OTHERS.items():
        (folder / f"{name}.toml").write_text(f"base = '{folder / 'small.toml'}'\n[set]\n{sets}\n")
    return [str(folder / f"{name}.toml") for name in ("small", *OTHERS)]


@pytest.fixture(scope="module")
def made(bases: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[zoo.Lab, PooledFindings]:
    """Return a study of two changes over three bases, of which one has one of the changes already."""
    lab = zoo.Lab(tmp_path_factory.mktemp("lab") / "zoo.sqlite", jobs=1, registry=REGISTRY, say=lambda line: None)
    findings = lab.study({"bases": bases, "changes": CHANGES}, seeds=3)
    assert isinstance(findings, PooledFindings)
    return lab, findings


def opened(lab: zoo.Lab, study: dict[str, Any], **stated: Any) -> PooledWork:
    work = lab.open_study(study, **stated)
    assert isinstance(work, PooledWork)
    return work


def recall(run: Any) -> float:
    """Return macro recall on the validation images, counted without zoo's own figures."""
    counts = np.array(run.epochs[-1].evaluations["validation"].confusion)
    return float(np.mean(counts.diagonal() / counts.sum(axis=1)))


def test_each_place_is_trained_with_seeds_of_its_own(made: tuple[zoo.Lab, PooledFindings]) -> None:
    lab, findings = made
    with lab.open_ledger(create=False) as ledger:
        seeds = [run.key.seed for run in ledger.runs()]
    of_place = [[*range(start, start + 3)] for start in (0, SEEDS_APART, 2 * SEEDS_APART)]
    assert sorted(seeds) == sorted([*of_place[0] * 3, *of_place[1] * 3, *of_place[2] * 2]), "nothing is confirmed"
    assert list(findings.places) == ["small", "wide", "normed"]
    assert all(found.result.chosen is None for found in findings.places.values())


def test_the_figures_are_what_scipy_says_of_the_ledgers_runs(made: tuple[zoo.Lab, PooledFindings]) -> None:
    lab, findings = made
    with lab.open_ledger(create=False) as ledger:
        runs = {(run.name, run.key.seed): recall(run) for run in ledger.runs()}
    means = [
        np.mean([runs[f"{base}[tanh]", seed] - runs[base, seed] for seed in range(start, start + 3)])
        for base, start in zip(findings.places, (0, SEEDS_APART, 2 * SEEDS_APART), strict=True)
    ]
    table = findings.frame().set_index(["kind", "name"])
    row = table.loc["pooled", "tanh"]
    assert row["difference"] == pytest.approx(np.mean(means))
    expected = stats.ttest_1samp(means, 0)
    assert row["p"] == pytest.approx(expected.pvalue)
    bounds = expected.confidence_interval(1 - row["level"])
    assert (row["low"], row["high"]) == pytest.approx((bounds.low, bounds.high))
    assert table.loc[("place", "tanh"), "difference"].tolist() == pytest.approx(means)
    assert row["over"] == "bases"
    assert table.loc[("pooled", "bn"), "over"] == "", "two bases are no sample"


def test_a_change_that_a_base_has_already_is_said(made: tuple[zoo.Lab, PooledFindings]) -> None:
    _, findings = made
    (refused,) = findings.result.refused
    assert refused.startswith("normed: change 'bn': network.features.0.normalization = 'batch' changes nothing")
    assert f"Not done: {refused}" in str(findings)


def test_what_is_stored_is_found_and_shown_again(
    made: tuple[zoo.Lab, PooledFindings], bases: list[str], tmp_path: Path
) -> None:
    lab, findings = made
    study = {"bases": bases, "changes": CHANGES}
    with opened(lab, study, seeds=3) as work:
        planned = work.plan()
        assert (planned.runs, planned.missing) == (24, 0)
        assert repr(planned).startswith("PooledPlan(24 runs, 0 to train")
        assert "24 runs; 24 are in" in str(planned)
        assert planned._repr_html_().count("<p>") == len(planned.lines) == planned._repr_markdown_().count("\n\n") + 1
        assert str(work.report()) == str(findings)
        assert repr(work).startswith(
            "PooledWork(PooledStudy((unnamed): one-at-a-time over small, wide, normed), 3 seeds"
        )
    first = lab.study({"base": bases[0], "changes": CHANGES}, seeds=3)
    assert (
        first.result.claims[0].comparison.difference == findings.places["small"].result.claims[0].comparison.difference
    )
    assert "<table>" in findings._repr_html_()
    assert "### In general" in findings._repr_markdown_()
    assert repr(findings) == str(findings)
    assert findings.page().startswith("<!DOCTYPE html>")
    assert findings.forest_plot("tanh").get_xlabel().startswith("difference in validation recall")
    assert findings.wins().empty, "three arms are few"


def test_what_a_change_does_is_found_out_once(
    made: tuple[zoo.Lab, PooledFindings], bases: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, findings = made
    with opened(lab, {"bases": bases, "changes": CHANGES}, seeds=3) as work:
        monkeypatch.setattr("zoo.study.conduct.prove", None)
        again = work.report()
    assert {name: found.result.proofs for name, found in again.places.items()} == {
        name: found.result.proofs for name, found in findings.places.items()
    }
    assert list(again.places["normed"].result.proofs) == ["tanh"]


def test_more_seeds_are_asked_for_than_there_are(made: tuple[zoo.Lab, PooledFindings], bases: list[str]) -> None:
    lab, _ = made
    with opened(lab, {"bases": bases, "changes": CHANGES}, seeds=4, create=False) as work:
        found = work.report()
    assert found.result.missing == 8
    assert found.result.claims == ()
    assert "Not finished: 8 runs are missing." in str(found)


def test_several_data_sets_make_places_too(bases: list[str], tmp_path: Path) -> None:
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, say=lambda line: None)
    study = {"bases": bases[:2], "changes": {"tanh": {"activation": "tanh"}}}
    findings = lab.study(study, data=["squares", "digits"], seeds=1, epochs=1, sets={"training.batch_size": 64})
    assert isinstance(findings, PooledFindings)
    assert list(findings.places) == ["small on squares", "wide on squares", "small on digits", "wide on digits"]
    assert "squares and digits" not in str(findings)
    assert findings.result.places[2].place.study.base.data.dataset == "digits"
    assert list(findings.result.claims[0].by_place) == list(findings.places)
    with pytest.raises(DataError, match="the data set cifar10 is not at hand"):
        lab.open_study(study, data=["squares", "cifar10"])


def test_a_split_of_each_seeds_own_reaches_runs_and_words(bases: list[str], tmp_path: Path) -> None:
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, say=lambda line: None)
    study = {"base": bases[0], "changes": {"tanh": {"activation": "tanh"}}}
    anew, once = lab.study({**study, "resplit": True}, seeds=3), lab.study(study, seeds=3)
    about = "images like these, of which 25% are held out{} (corrected for the training images that seeds share)"
    assert f"{about.format(' anew with each seed')}, and seeds like 0 to 2" in " ".join(str(anew).split())
    assert "split anew with each seed, 25% of training held out" in str(anew)
    assert "these images, this split, and seeds like 0 to 2" in str(once)
    folds = lab.study({**study, "folds": 4}, seeds=4)
    assert about.format(", each fold in turn") in " ".join(str(folds).split())
    assert "each fold held out in turn, 25% of training held out" in str(folds)
    assert "of which 25% are held out" not in str(once)
    ours, theirs = (found.result.arms[0].runs for found in (anew, once))
    assert {run.key.dataset for run in ours}.isdisjoint(run.key.dataset for run in theirs)
    assert len({run.key.dataset for run in ours}) == 1


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda lab, study: lab.study(study, seeds="auto"), SpecError,
         "study '(unnamed)': seeds are not added to a study over several bases or data sets, each of which counts "
         "alike; give their number, such as seeds=5"),
        (lambda lab, study: lab.study(study, budget="30m"), ZooError,
         "budget cuts seeds down, and each of several bases or data sets has its own: state seeds=3"),
        (lambda lab, study: lab.open_study(study, create=False).report(), ZooError, "there is no ledger"),
        (lambda lab, study: lab.open_study(study).report(), NothingTrainedError,
         "study '(unnamed)': there is no run to judge; `zoo study run` trains, with the same options"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_error(
    ask: Callable[[zoo.Lab, Any], object], error: type[ZooError], text: str, bases: list[str], tmp_path: Path
) -> None:
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY)
    with pytest.raises(error) as raised:
        ask(lab, {"bases": bases, "changes": {"tanh": {"activation": "tanh"}}})
    assert text in str(raised.value)


def test_a_study_that_is_loaded_may_be_over_several(bases: list[str], tmp_path: Path) -> None:
    loaded = zoo.load_study({"bases": bases[:2], "changes": {"tanh": {"activation": "tanh"}}}, registry=REGISTRY)
    found = loaded.run(seeds=1, ledger=tmp_path / "zoo.sqlite", device="cpu", jobs=1)
    assert isinstance(found, PooledFindings)
    assert found.result.seeds == 1


def test_a_variant_that_nobody_named_and_that_does_not_fit_is_left_out_and_not_counted(
    bases: list[str], tmp_path: Path
) -> None:
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, say=lambda line: None)
    place = "network.classifier.0.dropout"
    changes = {"dropout": {"every": "dropout", "path": place}}
    left_out = "Left out: small[dropout=drop_block]: network.classifier[0].dropout"
    others = len(REGISTRY.variants("dropout")) - 1  # the base's own is no change, but the base itself
    with lab.open_study({"base": bases[0], "changes": changes}, seeds=2) as work:
        plan = work.plan()
    assert (plan.combinations, plan.runs, plan.claims) == (others, 2 * others, others - 1)
    assert any(line.startswith(left_out) for line in plan.lines), plan.lines
    with lab.open_study({"bases": bases[:2], "changes": changes}, seeds=2) as work:
        lines = work.plan().lines
        found = work.run().result
    assert [line for line in lines if line.startswith(left_out)], lines
    assert len(found.claims) == others - 1
    assert "dropout=drop_block" not in {claim.change for claim in found.claims}
