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
    again, trained, ended = train(spec(6, sets), tmp_path / "parts")
    assert trained == [5, 6], "from the longest that is kept"
    assert ended.provenance["continued"] == "after 4 epochs"
    assert "continued" not in short.provenance
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


@pytest.mark.parametrize(
    "sets",
    [
        *({"training.optimizer": name} for name in ("counts_in_group", "normalizes", "accumulates_in_double")),
        *({"training.optimizer": name} for name in ("keeps_a_list", "counts_in_attribute")),
        *({"network.features.0.activation": name} for name in ("twice", "counts_steps", "counts_in_buffer")),
        *({"network.features.0.activation": name} for name in ("averages", "expands")),
    ],
    ids=lambda sets: next(iter(sets.values())),
)
def test_state_in_unusual_places_is_kept(sets, tmp_path):
    whole, _, _ = train(spec(5, sets), tmp_path / "whole")
    _, _, short = train(spec(2, sets), tmp_path / "parts", keep=True)
    assert short.provenance["state"] == "kept"
    again, trained, _ = train(spec(5, sets), tmp_path / "parts")
    assert trained == [3, 4, 5]
    assert again == whole


def test_a_state_of_another_number_of_epochs_changes_nothing(tmp_path):
    train(spec(2), tmp_path, keep=True)
    key = planned_run(spec(3), REGISTRY).key
    kept_file(tmp_path, planned_run(spec(2), REGISTRY).key).rename(kept_file(tmp_path, key))
    found, trained, _ = train(spec(4), tmp_path)
    assert trained == [1, 2, 3, 4]
    assert found == train(spec(4), tmp_path / "whole")[0]


def test_a_state_of_another_zoo_is_not_gone_on_from(tmp_path, monkeypatch):
    train(spec(2), tmp_path, keep=True)
    monkeypatch.setattr("zoo.train.checkpoint.__version__", "0.0")
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
    warm = {"training.warmup": 0.06}  # of 12 and of 18 steps one, of 30 two
    first.benchmark(attrs.evolve(spec(2, warm), name="warm"), seeds=1)
    second.benchmark(attrs.evolve(spec(3, warm), name="warm"), seeds=1)
    assert "Note: warm goes on from the states that were kept after 2 epochs." in said
    second.benchmark(attrs.evolve(spec(5, warm), name="warm"), seeds=1)
    assert (
        "Note: warm: states after 2 epochs are kept, but its learning rates depend on how long a run is (schedule "
        "constant, warm-up 0.06), so it begins anew."
    ) in said


@pytest.mark.parametrize(
    ("sets", "named"),
    [
        ({"training.schedule": "cosine"}, "schedule cosine, warm-up 0"),
        ({"training.schedule": "step"}, "schedule step, warm-up 0"),
        ({"training.warmup": 0.5}, "schedule constant, warm-up 0.5"),
    ],
)
def test_a_state_that_no_longer_run_can_go_on_from_is_not_kept_and_that_is_said_once(sets, named, tmp_path, capsys):
    said = []
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, keep_state=True, say=said.append)
    lab.benchmark(spec(2, sets), seeds=2)
    line = f"its learning rates depend on how long a run is ({named}), and no longer run begins as it did"
    told = capsys.readouterr().err.splitlines()
    assert [text for text in told if "state" in text] == [f"kept: its state is not kept: {line}"]
    assert not list(tmp_path.rglob("*.kept.*"))
    lab.benchmark(spec(2, sets), seeds=2)
    assert said[-2:] == [
        "Note: 2 runs are stored already, without a state.",
        f"Nothing to train: 2 runs in {tmp_path / 'zoo.sqlite'} already.",
    ]


def test_a_plan_looks_at_the_state_of_each_seed(tmp_path):
    said = []

    def lab(**arguments):
        return zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, say=said.append, **arguments)

    lab(keep_state=True).benchmark(spec(2), seeds=3)
    damaged, shorter = (kept_file(lab_folder(tmp_path), planned_run(spec(2), REGISTRY, seed).key) for seed in (0, 1))
    damaged.write_bytes(b"damaged")
    plan = lab().plan(spec(8), seeds=4)
    assert "kept: 2 of 4 runs go on from kept states (2 after 2 epochs)" in plan.notes
    costs = [plan.costs[run.key] for run in plan.runs]
    assert costs[1] == costs[2] == 0.75 * costs[0]
    assert costs[3] == costs[0]
    shorter.unlink()
    kept_file(lab_folder(tmp_path), planned_run(spec(2), REGISTRY, 2).key).write_bytes(b"damaged")
    assert (
        "kept: states after 2 epochs are kept, but they are damaged or of another version of zoo or torch or another "
        "device, so it begins anew"
    ) in lab().plan(spec(8), seeds=4).notes


def lab_folder(path):
    return path / "zoo.sqlite-checkpoints"


def test_a_plan_says_how_many_runs_are_stored_without_a_state(tmp_path):
    def lab(**arguments):
        return zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, say=lambda line: None, **arguments)

    lab().benchmark(spec(1), seeds=1)
    assert "1 run is stored already, without a state" in lab(keep_state=True).plan(spec(1), seeds=2).notes
    lab().benchmark(spec(1), seeds=2)
    assert "2 runs are stored already, without a state" in lab(keep_state=True).plan(spec(1), seeds=3).notes
    lab(keep_state=True).benchmark(spec(1), seeds=3)
    assert "2 runs are stored already, without a state" in lab(keep_state=True).plan(spec(1), seeds=3).notes
    assert not [note for note in lab().plan(spec(1), seeds=3).notes if "without a state" in note]
