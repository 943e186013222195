"""The best epoch kept, and an early end: by validation recall only, over checkpoints, in the ledger and in exports."""

from __future__ import annotations

import math
import sqlite3

import attrs
import pytest
import torch
from small_runs import PLUGIN, figures, planned_run, small

import zoo
from zoo import torch_settings
from zoo.errors import BuildError
from zoo.export.choice import final_recall
from zoo.export.reproduce import train_again
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.study.measure import epoch_recall, kept_epoch, measured
from zoo.train import execute as execution
from zoo.train import metrics
from zoo.train.engines.captured import CapturedTraining
from zoo.train.execute import dataset, execute
from zoo.train.run import EpochRecord
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SETS = {
    "training.epochs": 8,
    "training.shuffle": True,
    "training.optimizer.learning_rate": 0.3,
    "data.validation": 0.3,
    "evaluation.train": "every",
}
BEST = SETS | {"evaluation.keep": "best"}
STOP = SETS | {"evaluation.stop": {"patience": 2}}


def made(sets, kind=Training):
    spec = small(REGISTRY, sets=sets)
    return kind(spec, 0, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY)


def finished(sets, folder=None):
    run = planned_run(small(REGISTRY, sets=sets), REGISTRY)
    *records, ended = execute(run, REGISTRY, "cpu", folder)
    assert ended.status == "finished", ended.reason
    return attrs.evolve(ended, epochs=tuple(record for record in records if isinstance(record, EpochRecord)))


def recalls(run):
    return [epoch_recall(epoch, "validation") for epoch in run.epochs]


def test_the_best_epoch_is_the_result_and_the_others_are_those_of_a_run_that_keeps_the_last():
    last, best = finished(SETS), finished(BEST)
    assert figures(best.epochs) == figures(last.epochs)
    first_best = recalls(best).index(max(recalls(best)))
    assert 0 < first_best < 7, "neither the first nor the last, so that this tells something"
    assert kept_epoch(best) == best.epochs[first_best]
    assert kept_epoch(last) == last.epochs[-1]
    for part in ("train", "test", "validation"):
        assert measured(best, part) == epoch_recall(best.epochs[first_best], part)
        assert final_recall(best, part) == measured(best, part)
        assert measured(last, part) == epoch_recall(last.epochs[-1], part)
    assert best.key != last.key


@pytest.mark.parametrize("kind", [Training, CapturedTraining])
@pytest.mark.parametrize("more", [{}, {"training.averaging": "ema"}], ids=["plain", "averaged"])
def test_the_network_is_that_of_the_best_epoch(kind, more):
    training = made(BEST | more, kind)
    records = list(training.epochs())
    training.conclude()
    found = [metrics.macro_recall(record.evaluations["validation"].confusion) for record in records]
    counted = records[found.index(max(found))].evaluations["test"].confusion
    test = training.dataset.test
    cells = test.labels * 4 + training.predict(test.images)
    assert torch.bincount(cells, minlength=16).view(4, 4).tolist() == [list(row) for row in counted]


def test_what_is_exported_is_the_best_epoch():
    run = finished(BEST)
    spec = small(REGISTRY, sets=BEST)
    training = train_again(run, spec, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY)
    predicted = training.predict(training.dataset.test.images)
    right = (predicted == training.dataset.test.labels).sum().item()
    confusion = kept_epoch(run).evaluations["test"].confusion
    assert right == sum(confusion[index][index] for index in range(4))


def test_training_again_leaves_torch_as_it_was():
    run, spec = finished(BEST), small(REGISTRY, sets=BEST)
    with torch_settings.kept():
        torch.set_num_threads(2)
        torch.backends.cudnn.allow_tf32 = True
        before = torch_settings.values()
        train_again(run, spec, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY)
        assert torch_settings.changed(before) == []


def test_a_run_ends_when_patience_does():
    whole, stopped = finished(SETS), finished(STOP)
    found, best, epoch = recalls(whole), 0, 0
    while epoch < len(found) and epoch - best < 2:
        epoch += 1
        best = epoch if epoch < len(found) and found[epoch] > found[best] else best
    assert len(stopped.epochs) == epoch + 1 < 8
    assert figures(stopped.epochs) == figures(whole.epochs[: epoch + 1])
    assert kept_epoch(stopped) == stopped.epochs[-1]


@pytest.mark.parametrize("sets", [BEST, STOP, BEST | STOP, BEST | {"evaluation.every": 2}], ids=str)
def test_an_interrupted_run_keeps_and_ends_as_an_undisturbed_one(sets, tmp_path, monkeypatch):
    monkeypatch.setenv(execution.CHECKPOINT_VARIABLE, "0")
    undisturbed = finished(sets)
    for epochs in (1, 3, len(undisturbed.epochs)):
        folder = tmp_path / str(epochs)
        cut = execute(planned_run(small(REGISTRY, sets=sets), REGISTRY), REGISTRY, "cpu", folder)
        for _ in range(epochs):
            next(cut)
        cut.close()
        again = finished(sets, folder)
        assert figures(again.epochs) == figures(undisturbed.epochs)
        assert kept_epoch(again).epoch == kept_epoch(undisturbed).epoch


def test_a_longer_run_goes_on_from_a_kept_one(tmp_path):
    short = planned_run(small(REGISTRY, sets=BEST | {"training.epochs": 5}), REGISTRY)
    *_, ended = execute(attrs.evolve(short, keep_state=True), REGISTRY, "cpu", tmp_path)
    assert ended.provenance["state"] == "kept"
    longer, whole = finished(BEST, tmp_path), finished(BEST)
    assert longer.provenance["continued"] == "after 5 epochs"
    assert figures(longer.epochs) == figures(whole.epochs)


def test_the_ledger_holds_a_run_that_ended_early_with_the_recall_of_the_best_epoch(tmp_path):
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, device="cpu", registry=REGISTRY, say=lambda line: None)
    table = lab.benchmark(small(REGISTRY, sets=BEST | STOP), seeds=1)
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        (stored,) = ledger.runs()
    assert 0 < len(stored.epochs) < 8
    assert figures(stored.epochs) == figures(finished(BEST | STOP).epochs)
    connection = sqlite3.connect(tmp_path / "zoo.sqlite")
    row = connection.execute("SELECT measure, recall, train_recall, validation_recall FROM runs").fetchone()
    connection.close()
    assert row == ("best", *(measured(stored, part) for part in ("test", "train", "validation")))
    assert not any(map(math.isnan, row[1:]))
    assert table.runs()["kept_epoch"].tolist() == [kept_epoch(stored).epoch]
    assert "recall: macro, after the epoch that was best on the validation part" in str(table)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            {"evaluation.keep": "best"},
            "small: evaluation.keep = best goes by recall on images that are held out, and none are: set "
            "data.validation, such as data.validation = 0.2",
        ),
        (
            {"evaluation.stop": {"patience": 2}},
            "small: evaluation.stop goes by recall on images that are held out, and none are: set data.validation, "
            "such as data.validation = 0.2",
        ),
        (
            {"data.validation": 0.3, "evaluation.stop": {"patience": 2}, "evaluation.every": 0},
            "small: evaluation.stop goes by recalls on the way, and evaluation.every = 0 evaluates the last epoch "
            "only: set evaluation.every, such as evaluation.every = 1",
        ),
        (
            {"data.validation": 0.3, "training.schedule": "plateau", "evaluation.every": 0},
            "small: training.schedule: plateau goes by recalls on the way, and evaluation.every = 0 evaluates the last "
            "epoch only: set evaluation.every, such as evaluation.every = 1",
        ),
        (
            {"training.groups": [{"at": "output.*", "schedule": "plateau"}]},
            "small: training.groups[0].schedule: plateau goes by the recall on validation images, and there are none; "
            "hold some out with data.validation",
        ),
        (
            {"data.validation": 0.3, "evaluation.keep": "best", "evaluation.measure": "eq2425"},
            "small: evaluation.keep = best takes recall from one epoch, and evaluation.measure = eq2425 from all of "
            "them; set one of the two otherwise",
        ),
    ],
)
def test_what_cannot_be_chosen_by_is_refused(sets, message):
    with pytest.raises(BuildError) as error:
        made(sets)
    assert str(error.value) == message
