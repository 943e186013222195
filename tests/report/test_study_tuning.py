"""What a study that tunes shows besides."""

from __future__ import annotations

import math

import attrs
import pytest
from made_results import one_at_a_time
from made_tuning import FLAT, Trainer, tuned_study
from matplotlib.figure import Figure

from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.report.study.page import page
from zoo.report.study.plots import sensitivity_plot
from zoo.report.study.tables import frame, render, runs
from zoo.study.result import StudyResult
from zoo.study.settings import Setting
from zoo.study.trials import Tuned
from zoo.study.tuning import conduct_tuned
from zoo.train.execute import dataset
from zoo.train.run import Run


@pytest.fixture(scope="module")
def result(registry: Registry) -> StudyResult:
    """Leaky helps at the shared setting, and hurts once the base is tuned."""
    study = tuned_study(registry)
    truth = {**FLAT, "base": (0.90, 0.80, 0.70), "bn": (0.70, 0.80, 0.93), "leaky": (0.70, 0.85, 0.80)}
    images = dataset(study.base, registry, "cpu")
    return conduct_tuned(study, range(6), Trainer(truth), dataset=images, registry=registry, command="zoo study run s")


def test_verdicts_before_and_after_stand_side_by_side(result: StudyResult) -> None:
    text = render(result, width=120)
    assert "\nAfter tuning, of 2 changes, 1 helps (bn) and 1 hurts (leaky).\n" in text
    assert "\nVerdicts after tuning\n" in text
    before_and_after = text[text.index("Before and after tuning") : text.index("Chosen settings")]
    leaky, bn = (line.split() for line in before_and_after.splitlines() if line.startswith(("leaky", "bn")))
    assert [word for word in leaky if word in ("helps", "hurts")] == ["helps", "hurts"]
    assert bn[-3].startswith("helps") or "helps" in bn
    words = " ".join(before_and_after.split())
    assert "Tuning changes 2 verdicts: leaky, bn." in words
    assert "The shared setting is the base's own, learning_rate=0.05." in words
    assert (
        "Each arm was trained at 3 settings with 3 seeds of its own (100000 to 100002), 9 runs for each, and is judged "
        "at the best by other seeds. After tuning, a claim is about both sides at their best setting: it holds beside "
        "each that the other side was tried at."
    ) in words


def test_runs_that_were_lost_at_the_shared_setting_are_said(registry: Registry) -> None:
    def diverge(run: Run) -> Run:
        is_lost = run.name == "starter/default[leaky]" and run.key.seed in (0, 1, 4)
        return attrs.evolve(run, status="diverged", epochs=()) if is_lost else run

    study = tuned_study(registry)
    truth = {**FLAT, "base": (0.90, 0.80, 0.70), "leaky": (0.95, 0.70, 0.80)}
    images = dataset(study.base, registry, "cpu")
    found = conduct_tuned(study, range(6), Trainer(truth, spoil=diverge), dataset=images, registry=registry)
    assert [claim.comparison.n for claim in found.shared] == [3, 6]
    words = " ".join(render(found, width=200).split())
    assert (
        "At the shared setting 3 of 6 runs were lost with leaky and 0 of 6 without it (p 0.4545: undecided). The "
        "difference is of the 3 seeds that lost none."
    ) in words
    assert words.count("runs were lost") == 1
    assert found.losses == {}, "after tuning none was"


def test_rounds_are_said_where_settings_were_halved(registry: Registry) -> None:
    study = tuned_study(registry, tune_seeds=4, tune_halving=True)
    images = dataset(study.base, registry, "cpu")
    found = conduct_tuned(study, range(6), Trainer(FLAT), dataset=images, registry=registry)
    words = " ".join(render(found, width=200).split())
    assert (
        "Each arm was trained at 3 settings with 1 seed of its own (100000), the better 2 with 2 and the better 2 with "
        "4 (100000 to 100003), 9 runs for each, and is judged at the best by other seeds."
    ) in words
    assert "over the seeds of tuning (100000 to 100003; fewer of those that fell out); *: chosen." in words


def test_what_was_chosen_and_what_lies_beyond_is_said(result: StudyResult) -> None:
    words = " ".join(render(result, width=100).split())
    assert (
        "learning_rate=0.01, chosen by base, is the smallest that was tried: a smaller one may be better. Add some to "
        "the values that are tuned, or let tune_widen do it."
    ) in words
    assert "learning_rate=0.1, chosen by bn, is the largest that was tried: a larger one may be better." in words
    assert "chosen by leaky" not in words


def test_recall_at_each_setting_is_a_table_with_the_choice_marked(result: StudyResult) -> None:
    text = render(result, width=120)
    section = text[text.index("Recall at each setting") : text.index("\nArms\n")]
    rows = {line.split()[0]: line for line in section.splitlines() if line.startswith("learning_rate")}
    assert {name: row.count(" *") for name, row in rows.items()} == {
        "learning_rate=0.01": 1, "learning_rate=0.05": 1, "learning_rate=0.1": 1,
    }  # fmt: skip
    assert "What was chosen looks better here than it is." in " ".join(section.split())


def test_claims_that_depend_on_what_was_not_chosen_say_so(result: StudyResult) -> None:
    claims = [
        attrs.evolve(claim, comparison=attrs.evolve(claim.comparison, verdict=verdict, rival="base with x=1"))
        for claim, verdict in zip(result.claims, ("undecided", "helps"), strict=True)
    ]
    words = " ".join(render(attrs.evolve(result, claims=tuple(claims)), width=200).split())
    assert "leaky: undecided beside base with x=1, which was not chosen and may be the better setting all the" in words
    assert "bn: p is beside base with x=1, the hardest to tell apart." in words
    assert "beside base with" not in render(result) or any(claim.comparison.rival for claim in result.claims)


def test_all_of_it_is_data(result: StudyResult) -> None:
    table = frame(result)
    assert table["kind"].value_counts().to_dict() == {
        "trial": 6, "choice": 3, "claim": 2, "claim before tuning": 2, "confirmation": 1,
    }  # fmt: skip
    about = {kind: set(own) for kind, own in table.groupby("kind")["about"]}
    assert about == {
        "claim": {"these images, this split, and seeds like 0 to 5"},
        "claim before tuning": {"these images, this split, and seeds like 0 to 5"},
        "confirmation": {"these test images, this split, and seeds like 1000 to 1005"},
        "trial": {""}, "choice": {""},
    }  # fmt: skip
    assert set(table["data"]) == {"digits"}
    chosen = table[table["kind"] == "choice"].set_index("name")["setting"].to_dict()
    assert chosen == {"base": "learning_rate=0.01", "leaky": "learning_rate=0.05", "bn": "learning_rate=0.1"}
    assert result.tuned is not None
    assert table["recall"].dropna().tolist() == [trial.mean for trial in result.tuned.trials]
    each = runs(result, {})
    assert each["use"].value_counts().to_dict()["tuning"] == 27
    assert set(each[each["use"] == "selection"]["setting"]) == set(chosen.values())
    rivals = each[each["use"] == "rival"]
    assert {run.key for run in result.runs} >= {run.key for trial in result.rivals for run in trial.runs}
    assert len(rivals) == sum(len(trial.runs) for trial in result.rivals) > 0
    assert set(rivals["seed"]) <= {*range(6), *range(1000, 1006)}
    assert "setting" not in runs(one_at_a_time(Registry().require_sound()), {}).columns


def test_the_page_has_the_tables_and_the_plot(result: StudyResult) -> None:
    html = page(result)
    for words in ("Before and after tuning", "Chosen settings", "Recall at each setting", "seeds of tuning"):
        assert words in html
    assert "base with learning_rate=0.01: 0." in html, "the plot in words"


def test_the_plot_shows_each_arm_at_each_setting_and_fills_what_was_chosen(result: StudyResult) -> None:
    ax = sensitivity_plot(result, Figure().add_subplot())
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.01", "0.05", "0.1"]
    single = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert result.tuned is not None
    choices = [result.tuned.choice(arm) for arm in ("base", "bn", "leaky")]
    means = sorted(choice.mean for choice in choices if choice)
    assert sorted(float(line.get_ydata()[0]) for line in single) == pytest.approx(means)
    assert {text.get_text() for text in ax.texts} == {"base", "leaky", "bn"}


def test_settings_that_are_no_numbers_stand_side_by_side(result: StudyResult) -> None:
    assert result.tuned is not None
    trials = [
        attrs.evolve(trial, setting=Setting({**trial.setting.values, "momentum": 0.9})) for trial in result.tuned.trials
    ]
    several = attrs.evolve(result, tuned=Tuned(seeds=result.tuned.seeds, trials=tuple(trials)))
    ax = sensitivity_plot(several, Figure().add_subplot())
    assert ax.get_xscale() == "linear"
    first = ax.get_xticklabels()[0].get_text().replace("\n", " ")
    assert first == "learning_rate=0.01, momentum=0.9"
    assert sensitivity_plot(several) is not None


def test_a_study_that_tunes_nothing_has_no_such_plot(registry: Registry) -> None:
    with pytest.raises(ZooError, match="study 'made-up' tunes nothing: there are no settings to draw"):
        sensitivity_plot(one_at_a_time(registry))


def test_while_runs_are_missing_the_page_says_so(result: StudyResult) -> None:
    tuned = attrs.evolve(result.tuned, missing=4)
    open_ = attrs.evolve(result, tuned=tuned, missing=4, shared=(), chosen=None, confirmation=None, ranks=())
    assert "Not finished: at least 4 runs are missing." in render(open_)
    assert "Not finished" in page(open_)
    assert not math.isnan(tuned.trials[0].mean)
