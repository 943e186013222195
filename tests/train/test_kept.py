"""Runs that go on from a kept state come out as in one go, and only where they may."""

from __future__ import annotations

import attrs
import pytest
from small_runs import DRAWING, PLUGIN, figures, planned_run, small

import zoo
from zoo.registry import Registry
from zoo.train.execute import dataset, execute
from zoo.train.kept import kept_states
from zoo.train.places import kept_file
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
DRAWS = DRAWING | {"training.shuffle": True}


def spec(epochs, sets=None):
    return small(REGISTRY, "kept", {"training.epochs": epochs, **DRAWS, **(sets or {})})


def train(spec, folder, *, keep=False):
    """Return the figures of a run, and how many epochs were trained for it."""
    run = attrs.evolve(planned_run(spec, REGISTRY), keep_state=keep)
    trained = []
    with pytest.MonkeyPatch.context() as patch:
        original = Training.train_epoch
        patch.setattr(Training, "train_epoch", lambda self, epoch: (trained.append(epoch), original(self, epoch))[1])
        *records, ended = execute(run, REGISTRY, "cpu", folder)
    assert ended.status == "finished", ended.reason
    return figures(records), trained, ended


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_what_goes_on_has_the_figures_of_a_run_in_one_go(optimizer, tmp_path):
    sets = {"training.optimizer": {"name": optimizer, "learning_rate": 0.01}}
    whole, trained, _ = train(spec(6, sets), tmp_path / "whole")
    assert trained == [1, 2, 3, 4, 5, 6]
    _, _, short = train(spec(2, sets), tmp_path / "parts", keep=True)
    assert short.provenance["state"] == "kept"
    _, trained, _ = train(spec(4, sets), tmp_path / "parts", keep=True)
    assert trained == [3, 4]
    again, trained, _ = train(spec(6, sets), tmp_path / "parts")
    assert trained == [5, 6], "from the longest that is kept"
    assert again == whole


def test_without_being_asked_no_state_is_kept(tmp_path):
    _, _, ended = train(spec(2), tmp_path)
    assert "state" not in ended.provenance
    assert not any(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "sets", [{"training.schedule": "cosine"}, {"training.warmup": 0.5}, {"training.optimizer.learning_rate": 0.02}]
)
def test_another_run_does_not_go_on(sets, tmp_path):
    before = {} if "training.optimizer.learning_rate" in sets else sets
    train(spec(2, before), tmp_path, keep=True)
    _, trained, _ = train(spec(4, sets), tmp_path)
    assert trained == [1, 2, 3, 4]


def test_evaluations_are_those_that_were_asked_for(tmp_path):
    sparse = {"evaluation.every": 0}
    train(spec(2, sparse), tmp_path, keep=True)
    found, _, _ = train(spec(4, sparse), tmp_path)
    assert [bool(evaluations) for _, _, evaluations in found] == [False, False, False, True]


def test_a_state_of_another_device_or_torch_is_not_gone_on_from(tmp_path, monkeypatch):
    train(spec(2), tmp_path, keep=True)
    monkeypatch.setattr("zoo.train.checkpoint.provenance", lambda device: {"device_name": "another"})
    _, trained, _ = train(spec(3), tmp_path)
    assert trained == [1, 2, 3]


def test_a_state_that_cannot_be_kept_is_said_and_fails_nothing(tmp_path):
    (tmp_path / "file").write_text("no folder")
    _, _, ended = train(spec(1), tmp_path / "file" / "checkpoints", keep=True)
    assert ended.provenance["state"].startswith("not kept: ")


def test_kept_states_are_found_the_longest_first(tmp_path):
    data = dataset(spec(1), REGISTRY, "cpu")
    assert data
    keys = {epochs: planned_run(spec(epochs), REGISTRY).key for epochs in (1, 3, 5)}
    for key in keys.values():
        kept_file(tmp_path, key).touch()
    assert [epochs for epochs, _ in kept_states(tmp_path, spec(5), keys[5])] == [3, 1]
    assert list(kept_states(tmp_path / "nowhere", spec(5), keys[5])) == []


def test_a_lab_says_what_goes_on(tmp_path):
    def lab(**arguments):
        said = []
        return zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, say=said.append, **arguments), said

    first, _ = lab(keep_state=True)
    first.benchmark(spec(2), seeds=1)
    second, said = lab()
    second.benchmark(spec(5), seeds=1)
    assert "Note: kept goes on from the states that were kept after 2 epochs." in said
    first.benchmark(attrs.evolve(spec(2, {"training.schedule": "cosine"}), name="cosine"), seeds=1)
    second.benchmark(attrs.evolve(spec(3, {"training.schedule": "cosine"}), name="cosine"), seeds=1)
    assert said[-2].startswith(
        "Note: cosine: states after 2 epochs are kept, but its learning rates depend on how long a"
    )
