"""What stands behind a row: epochs, classes and confusions are those that were counted."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
from made_results import one_at_a_time
from matplotlib import pyplot
from sklearn.metrics import recall_score

from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.report import details, plots
from zoo.train.run import Evaluation, Run

NAMES = ("cat", "dog", "eel")


@pytest.fixture(scope="module")
def runs(registry: Registry) -> list[Run]:
    """Two runs of the base and two of a change, each of two epochs over three classes."""
    arms = one_at_a_time(registry).arms[:2]
    return [made(run, np.random.default_rng(seed)) for arm in arms for seed, run in enumerate(arm.runs[:2])]


def made(run: Run, random: np.random.Generator) -> Run:
    counts = random.integers(1, 9, (2, 3, 3))
    epochs = tuple(
        attrs.evolve(
            run.epochs[0],
            epoch=number,
            loss=1.0 / number,
            evaluations={"validation": Evaluation(tuple(map(tuple, each.tolist())))},
        )
        for number, each in enumerate(counts, start=1)
    )
    return attrs.evolve(run, status="finished", epochs=epochs)


def labels(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = np.indices(counts.shape)
    return np.repeat(true.ravel(), counts.ravel()), np.repeat(predicted.ravel(), counts.ravel())


def test_recall_by_class_is_that_of_scikit_learn(runs: list[Run]) -> None:
    (table,) = details.per_class(runs, "validation", lambda run: NAMES)
    assert [row["class"].text for row in table.rows] == list(NAMES)
    for name in dict.fromkeys(run.name for run in runs):
        own = [np.array(run.epochs[-1].evaluations["validation"].confusion) for run in runs if run.name == name]
        expected = np.mean([recall_score(*labels(counts), average=None) for counts in own], axis=0)
        assert [row[name].order for row in table.rows] == pytest.approx(expected)


def test_a_plot_has_each_class_of_each_spec_as_in_the_table(runs: list[Run]) -> None:
    (table,) = details.per_class(runs, "validation", lambda run: NAMES)
    names = list(dict.fromkeys(run.name for run in runs))
    recalls = {name: details.recalls_by_class([r for r in runs if r.name == name], "validation") for name in names}
    ax = plots.recall_by_class(recalls, NAMES, part="validation")
    assert [label.get_text() for label in ax.get_yticklabels()] == list(NAMES)
    drawn = {line.get_label(): line.get_xdata() for line in ax.lines if not line.get_label().startswith("_")}
    assert list(drawn) == names
    for name in names:
        assert drawn[name] == pytest.approx([row[name].order for row in table.rows])
    pyplot.close("all")


def test_of_many_classes_a_plot_has_those_of_the_lowest_recall() -> None:
    recalls = {"a": [(number / 100, None) for number in range(100)], "b": [(math.nan, None)] * 100}
    ax = plots.recall_by_class(recalls, [f"class {number}" for number in range(100)], part="test")
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"class {number}" for number in range(30)]
    assert ax.get_xlabel() == "test recall (30 of 100 classes)"
    pyplot.close("all")


def test_the_images_of_a_class_are_those_of_one_run(runs: list[Run]) -> None:
    (table,) = details.per_class(runs[:1], "validation", lambda run: NAMES)
    counts = np.array(runs[0].epochs[-1].evaluations["validation"].confusion)
    assert [row["images"].order for row in table.rows] == counts.sum(axis=1).tolist()


def test_classes_without_names_have_numbers(runs: list[Run]) -> None:
    for names in (None, ("too", "few")):
        (table,) = details.per_class(runs, "validation", lambda run, names=names: names)
        assert [row["class"].text for row in table.rows] == ["0", "1", "2"]


def test_confusions_of_all_runs_are_added_up(runs: list[Run]) -> None:
    table = details.confusion_table(runs[:2], "validation", lambda run: NAMES)
    expected = sum(np.array(run.epochs[-1].evaluations["validation"].confusion) for run in runs[:2])
    assert [[row[name].order for name in NAMES] for row in table.rows] == expected.tolist()


def test_of_many_classes_the_most_frequent_confusions_are_shown(runs: list[Run]) -> None:
    counts = np.eye(20, dtype=int) * 50
    counts[3, 7], counts[7, 3], counts[0, 19] = 9, 4, 30
    many = Evaluation(tuple(map(tuple, counts.tolist())))
    run = attrs.evolve(runs[0], epochs=(attrs.evolve(runs[0].epochs[0], evaluations={"validation": many}),))
    table = details.confusion_table([run], "validation", lambda run: None)
    shown = [(row["true class"].text, row["taken for"].text, row["images"].order) for row in table.rows]
    assert shown == [("0", "19", 30), ("3", "7", 9), ("7", "3", 4)]
    assert table.rows[0]["of the class"].text == "37.5%"
    assert table.below == ("3 of 3 pairs of classes; --format csv has the whole matrix.",)


def test_epochs_are_means_over_seeds(runs: list[Run]) -> None:
    (table,) = details.epochs(runs)
    assert [(row["spec"].text, row["epoch"].order, row["runs"].order) for row in table.rows] == [
        (name, epoch, 2) for name in dict.fromkeys(run.name for run in runs) for epoch in (1, 2)
    ]
    assert [row["loss"].order for row in table.rows] == [1.0, 0.5] * 2
    assert "test recall" not in table.columns, "what was never evaluated has no column"


def test_a_part_that_no_run_was_evaluated_on_is_an_error(runs: list[Run]) -> None:
    with pytest.raises(ZooError, match=r"^no finished run was evaluated on the test part$"):
        details.per_class(runs, "test", lambda run: NAMES)
