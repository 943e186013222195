"""When the training images are evaluated: no other figure depends on it."""

from __future__ import annotations

import attrs
import pytest
from small_runs import PLUGIN, planned_run, small

from zoo.registry import Registry
from zoo.study.measure import measured
from zoo.train.execute import dataset, execute
from zoo.train.metrics import macro_recall
from zoo.train.run import EpochRecord
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SETS = {"training.epochs": 5, "training.shuffle": True, "data.validation": 0.3}
BEST = SETS | {"evaluation.keep": "best", "training.optimizer.learning_rate": 0.3}
ALWAYS_ON = SETS | {"network.classifier.0.dropout": {"name": "dropout", "always_on": True}}


def finished(sets, folder=None, *, keep=False):
    run = planned_run(small(REGISTRY, sets=sets), REGISTRY)
    *records, ended = execute(attrs.evolve(run, keep_state=keep), REGISTRY, "cpu", folder)
    assert ended.status == "finished", ended.reason
    return attrs.evolve(ended, epochs=tuple(record for record in records if isinstance(record, EpochRecord)))


def without_train(run):
    return [(e.epoch, e.loss, {p: c for p, c in e.evaluations.items() if p != "train"}) for e in run.epochs]


def with_train(run):
    return [epoch.epoch for epoch in run.epochs if "train" in epoch.evaluations]


@pytest.mark.parametrize("sets", [SETS, BEST, SETS | {"evaluation.stop": {"patience": 1}}, ALWAYS_ON], ids=str)
def test_no_other_figure_depends_on_it(sets):
    every, last = finished(sets | {"evaluation.train": "every"}), finished(sets)
    assert without_train(every) == without_train(last)
    assert every.key == last.key
    assert measured(every, "train") == measured(last, "train")
    assert with_train(every) == [epoch.epoch for epoch in every.epochs]


def test_they_are_evaluated_where_the_network_may_be_the_result():
    assert with_train(finished(SETS)) == [5]
    run = finished(BEST)
    recalls = [macro_recall(epoch.evaluations["validation"].confusion) for epoch in run.epochs]
    expected = {epoch for epoch in range(1, 6) if recalls[epoch - 1] > max(recalls[: epoch - 1], default=-1)}
    assert set(with_train(run)) == expected | {5}


def test_they_are_evaluated_each_time_where_other_figures_need_it():
    assert with_train(finished(SETS | {"evaluation.measure": "eq2425"})) == [1, 2, 3, 4, 5]
    assert with_train(finished(ALWAYS_ON)) == [1, 2, 3, 4, 5], "what is drawn for test depends on the part before"


@pytest.mark.parametrize("sets", [SETS, BEST, SETS | {"evaluation.every": 2}], ids=str)
def test_a_run_that_goes_on_has_them_where_a_run_in_one_go_has_them(sets, tmp_path):
    for epochs in (1, 2, 3, 4):
        folder = tmp_path / str(epochs)
        finished(sets | {"training.epochs": epochs}, folder, keep=True)
        longer = finished(sets, folder)
        assert longer.provenance["continued"] == f"after {epochs} epochs"
        whole = finished(sets)
        assert without_train(longer) == without_train(whole)
        assert with_train(longer) == with_train(whole)


def test_an_estimate_counts_them_once():
    spec = small(REGISTRY, sets=SETS | {"training.epochs": 50})
    training = Training(spec, 0, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY)
    training._seconds = lambda work: 1.0
    training._step_seconds = lambda augmenting: 0.0
    parts = training._parts()
    images = 50 * (len(parts["test"].labels) + len(parts["validation"].labels)) + len(parts["train"].labels)
    assert training.estimate() == pytest.approx(images / min(len(parts["test"].labels), 250))
