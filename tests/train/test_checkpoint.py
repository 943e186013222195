"""A killed run goes on from its checkpoint, with the figures of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import os
import random
import time

import attrs
import pytest
import torch
from small_runs import DRAWING, PLUGIN, figures, planned_run, small, work

import zoo
from zoo.execution.here import here
from zoo.ledger import Ledger
from zoo.ledger.keep import check
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


def interrupted(sets, folder, monkeypatch, *, behind=1):
    """Return the figures of a run, those of one that is killed after some epochs and goes on, and how that ended."""
    run = planned_run(small(REGISTRY, sets=sets), REGISTRY)
    *undisturbed, _ = execute.execute(run, REGISTRY, "cpu")
    monkeypatch.setenv(execute.CHECKPOINT_VARIABLE, "0")
    events = execute.execute(run, REGISTRY, "cpu", folder)
    for _ in range(behind + 1):  # a checkpoint is written when the next epoch is asked for
        next(events)
    events.close()
    trained = []
    original = Training.train_epoch
    monkeypatch.setattr(Training, "train_epoch", lambda self, epoch: (trained.append(epoch), original(self, epoch))[1])
    *records, ended = execute.execute(run, REGISTRY, "cpu", folder)
    monkeypatch.undo()
    return figures(undisturbed), figures(records), trained, ended


KINDS = ("block", "filter", "normalization", "activation", "pooling", "dropout")
UNSAVED = {
    "keeps_a_generator": "its checkpoint is none: generator of features.0.activation (Layer) has changed, and is or "
    "holds a Generator",
    "grows": "its checkpoint is none: the form of features.0.activation.means in the network has changed in training",
}
NO_TRAINING = {
    *("raises", "raises_in_backward", "exits", "gives_up", "interrupts", "shrinks", "kills", "hangs", "explodes"),
    *("loses_the_device", "reads_out_of_range"),
    *UNSAVED,
}


def variants():
    for kind in KINDS:
        for name in REGISTRY.variants(kind):
            if name not in NO_TRAINING:
                yield f"network.features.0.{kind}", name
    for kind in ("optimizer", "schedule", "loss"):
        for name in REGISTRY.variants(kind):
            yield f"training.{kind}", name
    for name in REGISTRY.variants("augmentation"):
        yield "training.augmentation", [{"name": name, **({"size": 2} if name == "cutout" else {})}]


@pytest.mark.parametrize(("place", "name"), list(variants()), ids=str)
def test_an_interrupted_run_with_any_variant_ends_like_an_undisturbed_one(tmp_path, monkeypatch, place, name):
    sets = {"training.epochs": 3, "training.shuffle": True, "network.features.0.filters": 8, place: name}
    if name == "plateau":
        sets["data.validation"] = 0.3
    if name == "jensen_shannon":
        sets["training.augmentation"] = [{"name": "augmix", "views": 3}]
    undisturbed, records, trained, ended = interrupted(sets, tmp_path, monkeypatch)
    assert ended.status == "finished", ended.reason
    assert "checkpoint" not in ended.provenance
    assert trained == [2, 3], "the first epoch comes from the checkpoint"
    assert records == undisturbed


@pytest.mark.parametrize("optimizer", ["normalizes", "accumulates_in_double", "keeps_a_list", "adam", "rmsprop"])
def test_state_keeps_its_type_and_its_order_in_memory(tmp_path, monkeypatch, optimizer):
    """The second convolution has weights whose order in memory is that of channels_last."""
    convolution = {"filters": 24, "filter": {"name": "conv", "size": 3, "padding": "same"}}
    sets = {"training.epochs": 8, "network.features": [convolution, convolution], "training.optimizer": optimizer}
    undisturbed, records, _, _ = interrupted(sets, tmp_path, monkeypatch, behind=3)
    assert records == undisturbed


@pytest.mark.parametrize(("activation", "why"), UNSAVED.items())
def test_what_cannot_be_restored_has_no_checkpoint_and_the_command_says_why(
    tmp_path, monkeypatch, capsys, activation, why
):
    monkeypatch.setenv(execute.CHECKPOINT_VARIABLE, "0")
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, keep_state=True, say=lambda line: None)
    lab.benchmark(small(REGISTRY, "it", {"network.features.0.activation": activation}), seeds=2)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "checkpoint" in line] == [f"it: {why}"], "once for all seeds"
    assert f"it: its state is not kept: {why.removeprefix('its checkpoint is none: ')}" in said
    assert not list((tmp_path / "zoo.sqlite-checkpoints").glob("*"))


@pytest.mark.parametrize(("activation", "why"), UNSAVED.items())
def test_a_run_without_checkpoint_goes_on_and_says_why(tmp_path, monkeypatch, activation, why):
    monkeypatch.setenv(execute.CHECKPOINT_VARIABLE, "0")
    tried = []
    monkeypatch.setattr(execute, "save", lambda *arguments: (tried.append(1), save(*arguments)))
    run = planned_run(small(REGISTRY, sets={"network.features.0.activation": activation}), REGISTRY)
    *_, ended = execute.execute(run, REGISTRY, "cpu", tmp_path)
    assert ended.status == "finished"
    assert f"its checkpoint is {ended.provenance['checkpoint']}" == why
    assert tried == [1], "it is not tried again"
    assert not list(tmp_path.iterdir())


def changed_version(file, monkeypatch):
    monkeypatch.setattr(checkpoint.torch, "__version__", "0.0")


def flipped(file, monkeypatch):
    """Flip a bit of the last number."""
    held = bytearray(file.read_bytes())
    held[-2] ^= 1
    file.write_bytes(held)


def other_records(file, monkeypatch):
    """Tell of another loss."""
    held = file.read_bytes()
    at = held.index(b"loss") + 10
    file.write_bytes(held[:at] + bytes([held[at] ^ 1]) + held[at + 1 :])


def another_network(file, monkeypatch):
    other = training({"network.features.0.filters": 4})
    save(file, other, list(other.epochs()))


def another_optimizer(file, monkeypatch):
    """Tell of a parameter that is not there."""
    first = training({})
    records = list(first.epochs())
    made = checkpoint.taken(first.network, first.optimizer, first.begun)
    made.plain["optimizer"][-1][0] = 77
    monkeypatch.setattr(checkpoint, "taken", lambda *arguments: made)
    save(file, first, records)


DAMAGES = {
    "absent": lambda file, monkeypatch: file.unlink(),
    "empty": lambda file, monkeypatch: file.write_bytes(b""),
    "truncated": lambda file, monkeypatch: file.write_bytes(file.read_bytes()[:-100]),
    "noise": lambda file, monkeypatch: file.write_bytes(bytes(range(256)) * 10),
    "another torch": changed_version,
    "another zoo": lambda file, monkeypatch: monkeypatch.setattr(checkpoint, "__version__", "0.0"),
    "a flipped bit": flipped,
    "other records": other_records,
    "another network": another_network,
    "another optimizer": another_optimizer,
    "more epochs": lambda file, monkeypatch: save(file, training({}), list(training({"training.epochs": 3}).epochs())),
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
    assert not fresh.optimizer.state
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
    assert list(tmp_path.iterdir()) == [checkpoint_file(tmp_path, run.key)], "removed by who stores the end"


def test_a_training_that_was_half_restored_is_built_anew(tmp_path, monkeypatch):
    original = checkpoint.put_back

    def half(network, optimizer, state):
        def put():
            original(network, optimizer, state)()
            raise RuntimeError("no more")

        return put

    monkeypatch.setattr(checkpoint, "put_back", half)
    undisturbed, records, trained, ended = interrupted(EVERYTHING, tmp_path, monkeypatch)
    assert ended.status == "finished", ended.reason
    assert trained == [1, 2, 3, 4, 5]
    assert records == undisturbed


def test_the_checkpoint_of_a_run_that_ended_is_removed_when_that_is_stored(tmp_path, monkeypatch):
    monkeypatch.setenv(execute.CHECKPOINT_VARIABLE, "0")
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, say=lambda line: None)
    spec = small(REGISTRY)
    held = []
    finish = Ledger.finish

    def failing(self, attempt, run):
        held.append(checkpoint_file(self.checkpoints, run.key).exists())
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish", failing)
        with pytest.raises(OSError, match="the disk is full"):
            lab.benchmark(spec, seeds=1)
    assert held == [True]
    monkeypatch.setattr(Ledger, "finish", finish)
    lab.benchmark(spec, seeds=1)
    assert not list((tmp_path / "zoo.sqlite-checkpoints").iterdir())


def test_a_run_that_failed_for_once_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv(execute.CHECKPOINT_VARIABLE, "0")
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, registry=REGISTRY, say=lambda line: None)
    spec = small(REGISTRY, sets={"training.epochs": 4})
    trained = []
    original = Training.train_epoch

    def once(self, epoch):
        if epoch == 3 and trained.count(3) == 0:
            trained.append(epoch)
            raise RuntimeError("a transient failure")
        trained.append(epoch)
        return original(self, epoch)

    monkeypatch.setattr(Training, "train_epoch", once)
    lab.benchmark(spec, seeds=1)
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        assert check(ledger) == [], "the checkpoint is of a run that can go on"
    lab.benchmark(spec, seeds=1)
    assert trained == [1, 2, 3, 3, 4]
    assert not list((tmp_path / "zoo.sqlite-checkpoints").iterdir())


def test_without_room_for_a_checkpoint_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv(execute.CHECKPOINT_VARIABLE, "0")
    blocked = tmp_path / "a file"
    blocked.write_text("where the folder should be")
    *records, ended = execute.execute(planned_run(small(REGISTRY), REGISTRY), REGISTRY, "cpu", blocked)
    assert ended.status == "finished", ended.reason
    assert len(records) == 2


def trains(sets, folder, connection):
    """Send the figures of each epoch, from a process of its own."""
    os.environ[execute.CHECKPOINT_VARIABLE] = "0"
    run = planned_run(small(REGISTRY, sets=sets), REGISTRY)
    for outcome in execute.execute(run, REGISTRY, "cpu", folder):
        connection.send(outcome.status if isinstance(outcome, Run) else figures([outcome])[0])


@pytest.mark.skipif("ZOO_SLOW" not in os.environ, reason="takes minutes; set ZOO_SLOW to run it")
@pytest.mark.parametrize(
    "sets",
    [
        {"training.optimizer": "adamw"},
        {"training.optimizer": "counts_in_group"},
        {"training.optimizer": "accumulates_in_double"},
        {"network.features.0.activation": "averages"},
    ],
    ids=lambda sets: next(iter(sets.values())),
)
def test_killed_at_random_moments_it_ends_like_an_undisturbed_one(tmp_path, sets):
    sets = EVERYTHING | {"training.epochs": 30} | sets
    *undisturbed, _ = execute.execute(planned_run(small(REGISTRY, sets=sets), REGISTRY), REGISTRY, "cpu")
    chance = random.Random(str(sets))
    processes = multiprocessing.get_context("spawn")
    found, kills, status = {}, 0, None
    while status is None:
        receiver, sender = processes.Pipe(duplex=False)
        process = processes.Process(target=trains, args=(sets, tmp_path, sender))
        process.start()
        sender.close()
        last = len(found) + chance.randrange(1, 6)
        told = None
        while told is None or told[0] != last:
            try:
                told = receiver.recv()
            except EOFError:
                break
            if isinstance(told, str):
                status = told
                break
            assert found.setdefault(told[0], told) == told
        time.sleep(chance.random() / 50)
        process.kill()
        process.join()
        kills += status is None
    assert status == "finished"
    assert kills >= 4
    assert list(found.values()) == figures(undisturbed)
