"""A killed run goes on from its checkpoint, with the figures of an undisturbed one."""

from __future__ import annotations

import attrs
import pytest
import torch
from small_runs import DRAWING, PLUGIN, figures, planned_run, small, work

from zoo.execution.here import here
from zoo.registry import Registry
from zoo.train import checkpoint, execute
from zoo.train.checkpoint import restore, save
from zoo.train.places import checkpoint_file
from zoo.train.run import Run
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
EVERYTHING = DRAWING | {
    "training.epochs": 5,
    "training.shuffle": True,
    "training.schedule": "cosine",
    "training.warmup": 0.3,
    "network.features.*.normalization": "batch",
}


def training(sets, seed=0):
    spec = small(REGISTRY, sets=sets)
    return Training(spec, seed, execute.dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY)


@pytest.mark.parametrize("optimizer", REGISTRY.variants("optimizer"))
@pytest.mark.parametrize("behind", [1, 4, 5])
def test_a_restored_training_ends_bit_for_bit_like_an_undisturbed_one(tmp_path, optimizer, behind):
    sets = EVERYTHING | {"training.optimizer": {"name": optimizer, "learning_rate": 0.01}}
    file = tmp_path / "run.safetensors"
    whole = training(sets)
    records = []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == behind:
            save(file, whole, records)
    resumed = training(sets)
    held = restore(file, resumed)
    assert held == records[:behind], "the records of the epochs before come back as they were"
    again = held + list(resumed.epochs(first=behind + 1))
    assert figures(again) == figures(records)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), f"{name} differs after going on"


def changed_version(file, monkeypatch):
    monkeypatch.setattr(checkpoint.torch, "__version__", "0.0")


DAMAGES = {
    "absent": lambda file, monkeypatch: file.unlink(),
    "empty": lambda file, monkeypatch: file.write_bytes(b""),
    "truncated": lambda file, monkeypatch: file.write_bytes(file.read_bytes()[:-100]),
    "noise": lambda file, monkeypatch: file.write_bytes(bytes(range(256)) * 10),
    "another torch": changed_version,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_checkpoint_that_cannot_be_used_is_no_checkpoint(tmp_path, monkeypatch, damage):
    file = tmp_path / "run.safetensors"
    first = training({})
    save(file, first, list(first.epochs()))
    damage(file, monkeypatch)
    fresh = training({})
    before = {name: value.clone() for name, value in fresh.network.state_dict().items()}
    assert restore(file, fresh) == []
    for name, value in fresh.network.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} was changed by a file that cannot be used"


def test_saving_leaves_nothing_else_behind_and_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    file = tmp_path / "folder" / "run.safetensors"
    one = training({})
    save(file, one, list(one.epochs()))
    assert list(file.parent.iterdir()) == [file]
    held = file.read_bytes()

    def full(*arguments):
        raise checkpoint.SafetensorError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(file, one, [])
    assert file.read_bytes() == held
    assert list(file.parent.iterdir()) == [file]


def test_runs_with_other_keys_have_other_files(tmp_path):
    run = planned_run(small(REGISTRY), REGISTRY)
    files = {checkpoint_file(tmp_path, attrs.evolve(run.key, seed=seed)) for seed in range(3)}
    assert len(files) == 3
    assert checkpoint_file(tmp_path, run.key) in files


def test_an_interrupted_run_goes_on_and_a_run_that_ended_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv(execute.CHECKPOINT_VARIABLE, "0")
    run = planned_run(small(REGISTRY, sets=EVERYTHING), REGISTRY)
    undisturbed = [event.record for event in here(work([run], REGISTRY)) if hasattr(event, "record")]

    trained = []
    original = Training.train_epoch

    def counted(self, epoch):
        trained.append(epoch)
        return original(self, epoch)

    monkeypatch.setattr(Training, "train_epoch", counted)
    events = execute.execute(run, REGISTRY, "cpu", tmp_path)
    for _ in range(4):  # the checkpoint after epoch 3 is written when epoch 4 is asked for
        next(events)
    events.close()
    assert checkpoint_file(tmp_path, run.key).exists()
    *records, ended = execute.execute(run, REGISTRY, "cpu", tmp_path)
    assert trained == [1, 2, 3, 4, 4, 5], "epochs that the checkpoint holds are not trained again"
    assert figures(records) == figures(undisturbed)
    assert isinstance(ended, Run)
    assert ended.status == "finished"
    assert list(tmp_path.iterdir()) == []


def test_without_room_for_a_checkpoint_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv(execute.CHECKPOINT_VARIABLE, "0")
    blocked = tmp_path / "a file"
    blocked.write_text("where the folder should be")
    *records, ended = execute.execute(planned_run(small(REGISTRY), REGISTRY), REGISTRY, "cpu", blocked)
    assert ended.status == "finished", ended.reason
    assert len(records) == 2
