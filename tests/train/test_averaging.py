"""Averages of weights: against torch's own, in every engine, over checkpoints, in what is evaluated and kept."""

from __future__ import annotations

import copy
from functools import partial

import attrs
import pytest
import torch
from small_runs import PLUGIN, figures, planned_run, small
from tape import TapedTraining
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn

from zoo.errors import BuildError
from zoo.registry import Registry
from zoo.registry.source import source_digest
from zoo.train import execute as execution
from zoo.train.checkpoint import restore, save
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.gate import gate
from zoo.train.execute import dataset, execute
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SETS = {"training.epochs": 4, "training.shuffle": True, "network.features.*.normalization": "batch"}
AVERAGINGS = {
    "ema": {"decay": 0.8},
    "swa": {"start": 0.5},
    "lookahead": {"period": 4},
    "rising_lookahead": {"period": 4, "power": 0.5},
}


def spec(averaging, **options):
    return small(REGISTRY, sets=SETS | {"training.averaging": {"name": averaging, **options}})


def made(averaging, kind=Training, precision="float64", **options):
    wanted = spec(averaging, **options)
    return kind(wanted, 0, dataset(wanted, REGISTRY, "cpu"), device="cpu", registry=REGISTRY, precision=precision)


def tensors(network):
    return [tensor.clone() for tensor in network.state_dict().values()]


def assert_near(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def by_hand(training, after_step=lambda: None, after_epoch=lambda: None):
    """Train a network as anyone would, and tell what has become of it after each step and each epoch."""
    data, network = training.dataset.train, training.network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(1, 5):
        network.train()
        for chosen in torch.split(training._shuffled(epoch), 5):
            optimizer.zero_grad()
            logits = network(data.images[chosen].double() / 255 - 0.5)
            F.cross_entropy(logits, data.labels[chosen]).backward()
            optimizer.step()
            after_step()
        after_epoch()


def test_ema_is_torchs():
    training = made("none")
    averaged = AveragedModel(training.network, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    by_hand(training, after_step=lambda: averaged.update_parameters(training.network))
    found = made("ema", decay=0.8, ramp=False)
    list(found.epochs())
    found.conclude()
    # torch averages the number of batches, too, which is a count.
    expected = dict(averaged.module.named_parameters())
    expected |= {name: buffer for name, buffer in averaged.module.named_buffers() if buffer.is_floating_point()}
    own = dict(found.network.state_dict())
    assert_near([own[name] for name in expected], expected.values())


def test_a_ramp_forgets_the_beginning():
    training, means = made("none"), []

    def after_step():
        step = len(means) + 1
        kept = min(0.8, (1 + step) / (10 + step)) if means else 0
        weight = training.network.output.weight.detach()
        means.append(kept * means[-1] + (1 - kept) * weight if means else weight.clone())

    by_hand(training, after_step)
    found = made("ema", decay=0.8)
    list(found.epochs())
    found.conclude()
    assert_near([found.network.output.weight], means[-1:])


def test_swa_is_torchs_with_statistics_of_the_training_images():
    training = made("none")
    averaged, epochs = AveragedModel(training.network, multi_avg_fn=get_swa_multi_avg_fn()), []

    def after_epoch():
        epochs.append(1)
        if len(epochs) > 2:
            averaged.update_parameters(training.network)

    by_hand(training, after_epoch=after_epoch)
    batches = torch.split(training._shuffled(4), 5)
    update_bn([training.dataset.train.images[chosen].double() / 255 - 0.5 for chosen in batches], averaged.module)
    found = made("swa", start=0.5)
    records = list(found.epochs())
    found.conclude()
    assert_near(tensors(found.network), tensors(averaged.module))
    averaged.module.eval()
    predicted = averaged.module(found.dataset.test.images.double() / 255 - 0.5).argmax(1)
    assert torch.equal(found.predict(found.dataset.test.images), predicted)
    right = (predicted == found.dataset.test.labels).sum().item()
    confusion = records[-1].evaluations["test"].confusion
    assert sum(confusion[index][index] for index in range(len(confusion))) == right, "it is the average that counts"


@pytest.mark.parametrize("sets", [{"training.epochs": 2.2}, {"training.epochs": 2, "training.batch_size": 1}], ids=str)
def test_statistics_are_those_of_a_whole_epoch(sets):
    """Also where the last epoch is a part of one, and where all batches are of one image."""
    wanted = small(REGISTRY, sets=SETS | {"training.averaging": {"name": "swa", "start": 0.4}} | sets)
    found = Training(wanted, 0, dataset(wanted, REGISTRY, "cpu"), device="cpu", registry=REGISTRY, precision="float64")
    list(found.epochs())
    found.conclude()
    averaged = copy.deepcopy(found.network)
    batches = torch.split(found._shuffled(found.length.epochs), wanted.training.batch_size)
    update_bn([found.dataset.train.images[chosen].double() / 255 - 0.5 for chosen in batches], averaged)
    assert_near(tensors(found.network), tensors(averaged))


def test_an_average_that_never_begins_is_an_error():
    training = made("lookahead", period=1000)
    with pytest.raises(BuildError) as error:
        list(training.epochs())
    steps = training.length.steps
    assert str(error.value) == (
        f"small: training.averaging: lookahead(period=1000) has not changed the average in the {steps} steps of the "
        "run, so that what was evaluated are the starting weights: let it average earlier, or train for longer"
    )


def test_lookahead_is_a_loop_by_hand():
    training, steps = made("none"), []
    slow = [parameter.detach().clone() for parameter in training.network.parameters()]

    def after_step():
        steps.append(1)
        if len(steps) % 4 == 0:
            for mean, own in zip(slow, training.network.parameters(), strict=True):
                mean += 0.5 * (own.detach() - mean)
                own.data.copy_(mean)

    by_hand(training, after_step)
    found = made("lookahead", period=4)
    list(found.epochs())
    found.conclude()
    assert_near([parameter.detach() for parameter in found.network.parameters()], slow)


@pytest.mark.parametrize("averaging", AVERAGINGS)
@pytest.mark.parametrize("engine", [partial(CapturedTraining, chain=2, warm_up=1), partial(TapedTraining, chain=2)])
def test_each_engine_gives_the_same(averaging, engine):
    options = AVERAGINGS[averaging]
    one, other = (made(averaging, kind, "fp32", **options) for kind in (Training, engine))
    assert figures(one.epochs()) == figures(other.epochs())
    for training in (one, other):
        training.conclude()
    assert all(map(torch.equal, tensors(one.network), tensors(other.network)))
    assert gate(one.spec, dataset(one.spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY) == ""


@pytest.mark.parametrize("averaging", AVERAGINGS)
def test_a_training_that_goes_on_from_a_checkpoint_is_equal_to_the_last_bit(averaging, tmp_path):
    file, options = tmp_path / "state.safetensors", AVERAGINGS[averaging]
    whole, records = made(averaging, precision="fp32", **options), []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 3:
            save(file, whole, records)
    resumed = made(averaging, precision="fp32", **options)
    behind = restore(file, resumed)
    assert len(behind) == 3
    assert figures([*behind, *resumed.epochs(first=4)]) == figures(records)
    for training in (whole, resumed):
        training.conclude()
    assert all(map(torch.equal, tensors(whole.network), tensors(resumed.network)))
    assert restore(file, made("none", precision="fp32")) == [], "a run without the average does not go on from it"


def test_what_is_shown_is_put_back():
    training = made("ema")
    training.train_epoch(1)
    before = tensors(training.network)
    with training._evaluated(1):
        assert not torch.equal(training.network.output.weight, before[-2])
    assert all(map(torch.equal, tensors(training.network), before))


def test_a_state_is_kept_where_the_average_does_not_depend_on_how_long_the_run_is(tmp_path):
    outcomes = {}
    for averaging in ("ema", "swa"):
        run = attrs.evolve(planned_run(spec(averaging), REGISTRY), keep_state=True)
        *_, ended = execute(run, REGISTRY, "cpu", tmp_path)
        outcomes[averaging] = ended.provenance["state"]
    assert outcomes["ema"] == "kept"
    assert outcomes["swa"] == (
        "not kept: its learning rates or its averages depend on how long a run is (schedule constant, warm-up 0, "
        "averaging swa), and no longer run begins as it did"
    )


def test_none_is_no_part_of_what_decides_a_run():
    without, with_none = small(REGISTRY, sets=SETS), spec("none")
    assert with_none.identity == without.identity
    assert not any(choice.kind == "averaging" for choice in without.choices())
    assert source_digest(spec("ema"), REGISTRY) != source_digest(without, REGISTRY)
    assert spec("ema").identity != without.identity
    assert made("none").beside == {}


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv(execution.CHECKPOINT_VARIABLE, "0")
    run = planned_run(spec("ema"), REGISTRY)
    *undisturbed, _ = execute(run, REGISTRY, "cpu")
    cut = execute(run, REGISTRY, "cpu", tmp_path)
    next(cut)
    next(cut)
    cut.close()
    *records, ended = execute(run, REGISTRY, "cpu", tmp_path)
    assert ended.status == "finished"
    assert figures(records) == figures(undisturbed)
