"""One run against a plain PyTorch loop, scikit-learn and itself."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, recall_score
from small_runs import DRAWING, PLUGIN, figures, small
from torch import nn
from torch.nn import functional as F

from zoo.data import Dataset, Split
from zoo.errors import BuildError
from zoo.registry import Registry
from zoo.study.measure import measured
from zoo.train import metrics, streams
from zoo.train import training as training_module
from zoo.train.evaluating import EVALUATION_BATCH, DivergedError, evaluated_at_once, pixel_statistics
from zoo.train.execute import dataset as load_dataset
from zoo.train.run import Run, RunKey
from zoo.train.training import Training

SHUFFLE = {"training.shuffle": True}
AUGMENT = {"training.augmentation": ["horizontal_flip"]}
DROPOUT = {"network.features.0.dropout": "dropout"}
ALWAYS_ON = {"network.classifier.0.dropout": {"name": "dropout", "always_on": True}}


@pytest.fixture(scope="module")
def registry():
    return Registry(files=[PLUGIN]).require_sound()


def made_data(seed=0, *, train=23, test=17, validation=0, test_pixels=None):
    """Random images; those for training and for testing come from generators of their own."""

    def part(count, *purpose):
        generator = np.random.default_rng([seed, *purpose])
        labels = torch.from_numpy(generator.permutation(np.arange(count) % 4))
        return Split(torch.from_numpy(generator.integers(0, 256, (count, 1, 6, 6), dtype=np.uint8)), labels)

    test_split = part(test, 2)
    if test_pixels is not None:
        test_split = Split(torch.full_like(test_split.images, test_pixels), 3 - test_split.labels)
    held_out = part(validation, 3) if validation else None
    return Dataset("made", "Made", ("a", "b", "c", "d"), part(train, 1), test_split, held_out, "digest", (), False)


@pytest.fixture(scope="module")
def data():
    return made_data()


@pytest.fixture
def train(registry, data):
    def train(sets=None, *, seed=0, on=data):
        return Training(small(registry, sets=sets), seed, on, device="cpu", registry=registry)

    return train


def weights(training):
    return torch.cat([p.detach().flatten() for p in training.network.parameters()])


def trained(training):
    records = list(training.epochs())
    return figures(records), weights(training)


def assert_same(one, other, why):
    (one_figures, one_weights), (other_figures, other_weights) = one, other
    assert one_figures == other_figures, why
    assert torch.equal(one_weights, other_weights), why


# Against a plain loop


def plain_run(training, data, *, augment=lambda pixels, generator: pixels, rates=None, **sgd):
    """Train as anyone would with torch alone, from the same initial weights; return each epoch's loss and weights."""
    spec = training.spec
    net = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(27, 5), nn.ReLU(), nn.Linear(5, 4)),
    )
    net.load_state_dict(dict(zip(net.state_dict(), training.network.state_dict().values(), strict=True)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, **sgd)
    rates = iter(rates or itertools.repeat(0.1))
    results = []
    for epoch in range(1, spec.training.epochs + 1):
        count = len(data.train.labels)
        order = torch.arange(count)
        if spec.training.shuffle:
            order = torch.randperm(count, generator=streams.generator("cpu", training.seed, "order", epoch))
        generator = streams.generator("cpu", training.seed, "augmentation", epoch)
        losses = []
        for start in range(0, count, spec.training.batch_size):
            chosen = order[start : start + spec.training.batch_size]
            pixels = augment(data.train.images[chosen].float() / 255, generator)
            loss = F.cross_entropy(net(pixels - 0.5), data.train.labels[chosen], reduction="sum")
            optimizer.param_groups[0]["lr"] = next(rates)
            optimizer.zero_grad()
            (loss / len(chosen)).backward()
            optimizer.step()
            losses.append(loss.item())
        results.append((sum(losses) / count, torch.cat([p.detach().flatten() for p in net.parameters()])))
    return results


def assert_equals_plain(training, data, **plain):
    expected = plain_run(training, data, **plain)
    for record, (loss, expected_weights) in zip(training.epochs(), expected, strict=True):
        assert record.loss == pytest.approx(loss, rel=1e-6), f"the loss of epoch {record.epoch} differs"
        torch.testing.assert_close(weights(training), expected_weights, rtol=1e-5, atol=1e-6)


@settings(max_examples=20)
@given(
    images=st.integers(4, 30),
    batch=st.integers(1, 32),
    epochs=st.integers(1, 3),
    shuffle=st.booleans(),
    momentum=st.sampled_from([0.0, 0.9]),
    weight_decay=st.sampled_from([0.0, 0.01]),
    seed=st.integers(0, 5),
)
def test_a_run_equals_a_plain_loop(registry, images, batch, epochs, shuffle, momentum, weight_decay, seed):
    data = made_data(seed, train=images)
    optimizer = {"momentum": momentum, "weight_decay": weight_decay}
    sets = {
        "training.shuffle": shuffle,
        "training.epochs": epochs,
        "training.batch_size": batch,
        "training.optimizer": {"name": "sgd", "learning_rate": 0.1, **optimizer},
    }
    training = Training(small(registry, sets=sets), seed, data, device="cpu", registry=registry)
    assert_equals_plain(training, data, **optimizer)


def test_one_step_equals_a_plain_step(train, data):
    training = train({"training.batch_size": 23, "training.epochs": 1})
    assert_equals_plain(training, data, momentum=0.9)


def test_an_incomplete_last_batch_is_kept(train, data):
    batches = list(train().batches(1))
    assert [len(labels) for _, labels, _ in batches] == [5, 5, 5, 5, 3]
    assert torch.equal(torch.cat([images for images, _, _ in batches]), data.train.images), "it must be in file order"


def test_an_epoch_shuffles_all_images_anew(train, data):
    orders = [torch.cat([images for images, _, _ in train(SHUFFLE).batches(epoch)]) for epoch in (1, 2)]
    assert not torch.equal(*orders)
    for images in orders:
        assert sorted(images.sum((1, 2, 3)).tolist()) == sorted(data.train.images.sum((1, 2, 3)).tolist())


def test_augmentation_draws_only_from_its_stream(train, data):
    def flip(pixels, generator):
        flipped = torch.rand(len(pixels), 1, 1, 1, generator=generator) < 0.5
        return torch.where(flipped, pixels.flip(3), pixels)

    assert_equals_plain(train(AUGMENT | SHUFFLE), data, augment=flip, momentum=0.9)


# Learning rates

SCHEDULES = {
    "constant": lambda progress: 1.0,
    "step": lambda progress: 0.1 ** ((progress >= 0.5) + (progress >= 0.75)),
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
}


def rates_of(training, monkeypatch):
    """Run, and return the learning rate that each step was made with."""
    rates = []
    step = training.step
    monkeypatch.setattr(
        training, "step", lambda *args: rates.append(training.optimizer.param_groups[0]["lr"]) or step(*args)
    )
    list(training.epochs())
    return rates


@pytest.mark.parametrize("warmup", [0.0, 0.3])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_learning_rate_of_each_step(train, data, monkeypatch, schedule, warmup):
    sets = {"training.epochs": 3, "training.schedule": schedule, "training.warmup": warmup}
    steps = 3 * 5
    warming = round(steps * warmup)
    expected = [0.1 * (step + 1) / warming for step in range(warming)]
    expected += [0.1 * SCHEDULES[schedule]((step - warming) / (steps - warming)) for step in range(warming, steps)]
    assert rates_of(train(sets), monkeypatch) == pytest.approx(expected)
    assert_equals_plain(train(sets), data, rates=expected, momentum=0.9)


def test_the_cosine_schedule_is_torchs(train, monkeypatch):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    expected = []
    for _ in range(10):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates_of(train({"training.schedule": "cosine"}), monkeypatch) == pytest.approx(expected)


def test_every_schedule_gets_the_progress_after_the_warm_up(registry, train, monkeypatch):
    for name in (name for name, variant in registry.variants("schedule").items() if "progress" in variant.given):
        training = train({"training.warmup": 0.2, "training.schedule": name})
        choice = training.spec.training.schedule
        expected = [registry.make(choice, progress=step / 8, steps=8) * 0.1 for step in range(8)]
        assert rates_of(training, monkeypatch)[2:] == pytest.approx(expected), name


# Random streams


@pytest.mark.parametrize("sets", [{}, SHUFFLE, DRAWING | SHUFFLE], ids=["nothing drawn", "order", "everything"])
def test_the_same_run_twice_is_the_same_bit_for_bit(train, sets):
    first = trained(train(sets))
    torch.rand(3)
    assert_same(first, trained(train(sets)), "two runs with the same seed differ")


def test_another_seed_is_another_run(train):
    assert not torch.equal(weights(train()), weights(train(seed=1)))
    order = [torch.cat([labels for _, labels, _ in train(SHUFFLE, seed=seed).batches(1)]).tolist() for seed in (0, 1)]
    assert order[0] != order[1]


def test_runs_in_one_process_do_not_touch_each_other(train):
    alone = trained(train(DRAWING | SHUFFLE))
    one, other = train(DRAWING | SHUFFLE), train(DRAWING | SHUFFLE, seed=1)
    records, _ = zip(*zip(one.epochs(), other.epochs(), strict=True), strict=True)
    assert_same(
        (figures(records), weights(one)), alone, "a run depends on another one that is trained at the same time"
    )


@pytest.mark.parametrize("sets", [DROPOUT, AUGMENT, {"network.features.0.activation": "draws"}], ids=str)
def test_two_specs_see_the_same_batches_whatever_else_they_draw(train, sets, monkeypatch):
    def seen(training):
        batches = []
        step = training.step
        monkeypatch.setattr(training, "step", lambda images, *rest: batches.append(images) or step(images, *rest))
        list(training.epochs())
        return batches

    one, other = seen(train(SHUFFLE)), seen(train(SHUFFLE | sets))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "sets",
    [DROPOUT, {"network.features.0.normalization": "batch"}, {"activation": "prelu"}, {"training.batch_size": 3}],
    ids=str,
)
def test_layers_that_two_specs_share_start_equal(train, sets):
    one, other = (dict(train(s).network.named_parameters()) for s in ({}, sets))
    shared = one.keys() & other.keys()
    assert shared == one.keys()
    for name in shared:
        assert torch.equal(one[name], other[name]), f"{name} starts with other weights"


def test_evaluation_does_not_shift_what_training_draws(train):
    """Not even where dropout draws in evaluation."""
    often, once = trained(train(DRAWING)), trained(train(DRAWING | {"evaluation.every": 0}))
    assert torch.equal(often[1], once[1])
    assert often[0][-1] == once[0][-1], "nor what later evaluations draw"


def test_training_does_not_shift_what_evaluation_draws(train):
    training = train(ALWAYS_ON)
    before = training.evaluate(1)
    torch.rand(5)
    assert training.evaluate(1) == before
    assert training.evaluate(2) != before, "the draws of another epoch are others"


def test_the_global_generator_is_left_as_it_was(train):
    state = torch.get_rng_state()
    training = train(DRAWING | SHUFFLE)
    list(training.epochs())
    training.estimate()
    assert torch.equal(torch.get_rng_state(), state)


# Evaluation


@pytest.mark.parametrize("validation", [0, 9])
def test_counts_are_those_of_the_predictions(train, validation):
    data = made_data(validation=validation)
    training = train({"evaluation.train": "every"}, on=data)
    parts = {"train": data.train, "test": data.test} | ({"validation": data.validation} if validation else {})
    for record in training.epochs():
        assert record.evaluations.keys() == parts.keys()
        for name, split in parts.items():
            predicted = training.predict(split.images)
            with torch.no_grad():
                logits = training.network.eval()(split.images / 255 - 0.5)
            assert torch.equal(predicted, logits.argmax(1))
            expected = confusion_matrix(split.labels, predicted, labels=range(4))
            assert np.array_equal(record.evaluations[name].confusion, expected), f"{name} after epoch {record.epoch}"
            assert metrics.macro_recall(expected) == pytest.approx(
                recall_score(split.labels, predicted, average="macro", zero_division=0)
            )


def test_predictions_do_not_depend_on_how_many_are_made_at_once(train, data, monkeypatch):
    training = train()
    whole = training.predict(data.train.images)
    monkeypatch.setitem(EVALUATION_BATCH, "cpu", 4)
    assert torch.equal(training.predict(data.train.images), whole)


@pytest.mark.parametrize(
    ("kind", "side", "count"), [("cuda", 32, 2000), ("cuda", 224, 167), ("cpu", 224, 128), ("cpu", 4000, 1)]
)
def test_of_large_images_fewer_are_evaluated_at_once(kind, side, count):
    """2,000 of 224x224 would take 26 GB in the first layer of a VGG."""
    images = torch.empty(3000, 3, side, side, dtype=torch.uint8, device="meta")
    assert evaluated_at_once(torch.device(kind), images) == count


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("batch", [1, 5, 7, 40])
def test_the_eq2425_measure_is_the_mean_over_batches_and_epochs(train, data, batch):
    training = train({"evaluation.measure": "eq2425", "training.epochs": 3, "training.batch_size": batch} | SHUFFLE)
    records, expected = [], {"train": [], "test": []}
    for record in training.epochs():
        records.append(record)
        for name, split in (("train", data.train), ("test", data.test)):
            recalls = []
            for start in range(0, len(split.labels), batch):
                labels = split.labels[start : start + batch]
                predicted = training.predict(split.images[start : start + batch])
                recalls.append(recall_score(labels, predicted, average="macro"))
            expected[name].append(np.mean(recalls))
            assert record.evaluations[name].batch_recall == pytest.approx(expected[name][-1])
    run = Run(RunKey("", 0, "", "", ""), "", {"evaluation": {"measure": "eq2425"}}, "made", epochs=tuple(records))
    for name in expected:
        assert measured(run, name) == pytest.approx(np.mean(expected[name]))


def test_only_the_eq2425_measure_has_batch_recalls(train):
    assert [e.batch_recall for e in train({"evaluation.train": "every"}).evaluate(1).values()] == [None, None]


@pytest.mark.parametrize(("every", "evaluated"), [(0, [5]), (1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_evaluation_is_made_every_so_many_epochs_and_after_the_last(train, every, evaluated):
    records = list(train({"training.epochs": 5, "evaluation.every": every}).epochs())
    assert [record.epoch for record in records] == [1, 2, 3, 4, 5]
    assert [record.epoch for record in records if record.evaluations] == evaluated


@pytest.mark.parametrize("sets", [SHUFFLE, {"data.mean": "train", "data.std": "train"}], ids=str)
def test_test_images_have_no_part_in_training(train, sets):
    clean, poisoned = (train(sets, on=made_data(test_pixels=pixels)) for pixels in (None, 255))
    losses = [[record.loss for record in training.epochs()] for training in (clean, poisoned)]
    assert losses[0] == losses[1]
    assert torch.equal(weights(clean), weights(poisoned))


def test_pixel_statistics_are_those_of_the_training_images(registry, data):
    spec = small(registry, sets={"data.mean": "train", "data.std": "train"})
    mean, std = pixel_statistics(spec, data.train)
    pixels = data.train.images.double() / 255
    assert mean.shape == std.shape == (1, 1, 1)
    assert mean.item() == pytest.approx(pixels.mean().item(), rel=1e-6)
    assert std.item() == pytest.approx(pixels.std(unbiased=False).item(), rel=1e-6)


# Costs


def test_times_are_kept_apart(registry, data, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def taking(seconds, work):
        def timed(*args, **kwargs):
            clock[0] += seconds
            return work(*args, **kwargs)

        return timed

    monkeypatch.setattr(training_module, "construct", taking(1000, training_module.construct))
    monkeypatch.setattr(Training, "step", taking(1, Training.step))
    monkeypatch.setattr(Training, "_predict", taking(100, Training._predict))
    training = Training(small(registry), 0, data, device="cpu", registry=registry)
    records = list(training.epochs())
    assert training.seconds_setup == 1000
    # The training images are evaluated after the last epoch only.
    assert [(record.seconds_training, record.seconds_evaluation) for record in records] == [(5, 100), (5, 200)]


def test_an_estimate_leaves_out_the_first_calls(registry, data, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    calls = {"step": 0, "predict": 0}

    def taking(name, seconds):
        def timed(*args):
            calls[name] += 1
            clock[0] += seconds if calls[name] > 2 - (name == "predict") else 1e6

        return timed

    monkeypatch.setattr(Training, "step", taking("step", 2))
    monkeypatch.setattr(Training, "predict", taking("predict", 17))
    spec = small(registry, sets={"training.epochs": 4, "evaluation.every": 2})
    training = Training(spec, 0, data, device="cpu", registry=registry)
    assert training.estimate() == 4 * 5 * 2 + (2 * 17 + 23) * (17 / 17)


def test_parameters_and_flops(train):
    training = train()
    assert training.parameters == (9 * 3 + 3) + (27 * 5 + 5) + (5 * 4 + 4)
    assert training.flops == 2 * (9 * 3 * 36) + 2 * (27 * 5) + 2 * (5 * 4)


# What goes wrong


def test_a_run_that_diverges_says_when(train):
    training = train({"network.features.0.activation": {"name": "explodes", "step": 7}})
    epochs = training.epochs()
    assert next(epochs).epoch == 1
    with pytest.raises(DivergedError, match=r"^diverged at epoch 2: the training loss is nan$"):
        next(epochs)


ONE_STEP = {"training.epochs": 1, "training.batch_size": 100}


def test_the_last_step_is_judged_by_what_the_network_predicts_from(train):
    optimizer = {"name": "sgd", "learning_rate": 1e38}
    what = r"the logits of \d+ of 17 test images are not finite"
    with pytest.raises(DivergedError, match=rf"^diverged at epoch 1: {what}$"):
        list(train({**ONE_STEP, "training.optimizer": optimizer}).epochs())


@pytest.mark.parametrize(("names", "what"), [(["a"], "a is"), (["a", "b", "c"], "a and 2 more are")])
def test_the_last_step_is_judged_by_the_network_that_it_leaves(names, what, train, monkeypatch):
    training = train(ONE_STEP)
    training.network.register_buffer("mask", torch.tensor(-torch.inf))
    monkeypatch.setattr(training, "_infinite_from_the_start", frozenset({"mask"}))
    assert len(list(training.epochs())) == 1
    for name in names:
        training.network.register_buffer(name, torch.tensor(torch.nan))
    with pytest.raises(DivergedError, match=f"^diverged at epoch 1: after its last step {what} not finite$"):
        list(training.epochs())


SINGLE = (
    r"^small: a layer cannot be trained on a batch of a single image, and 21 training images in batches of {size} "
    r"make one; change training\.batch_size \(Expected more than 1 value per channel when training, .*\)$"
)


@pytest.mark.parametrize("size", [1, 5, 20])
@pytest.mark.parametrize("work", [lambda t: list(t.epochs()), lambda t: t.estimate()], ids=["epochs", "estimate"])
def test_a_batch_of_one_image_that_a_layer_cannot_take_is_explained(train, size, work):
    sets = {"network.classifier.0.normalization": "batch", "training.batch_size": size}
    with pytest.raises(BuildError, match=SINGLE.format(size=size)):
        work(train(sets, on=made_data(train=21)))


def test_a_batch_of_two_images_is_fine(train):
    assert len(list(train({"network.classifier.0.normalization": "batch"}, on=made_data(train=22)).epochs())) == 2


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            {"training.optimizer": {"name": "sgd", "nesterov": True}},
            r"^small: training\.optimizer: sgd\(nesterov=True\): nesterov = true needs a momentum above 0",
        ),
        (
            {"training.augmentation": ["none", {"name": "translate", "pixels": 6}]},
            r"^small: training\.augmentation\[1\]: translate\(pixels=6\): pixels must be less than the side of the "
            r"images, which are 6x6; got 6$",
        ),
    ],
    ids=["optimizer", "augmentation"],
)
def test_what_a_part_of_the_training_refuses_is_an_error_with_its_place(train, sets, message):
    with pytest.raises(BuildError, match=message):
        train(sets).estimate()


def test_what_a_layer_keeps_from_an_evaluation_can_be_used_in_training(train, data):
    class Mask(nn.Module):
        def forward(self, x):
            if not self.training:
                self.kept = torch.ones_like(x[0])
            return x * self.kept

    training = train()
    training.network.output = nn.Sequential(training.network.output, Mask())
    training.predict(data.test.images)
    training.network.train()
    training.step(data.train.images, data.train.labels, streams.generator("cpu", 0))


def test_the_data_set_of_the_plugin_is_learned(registry):
    spec = small(registry, sets={"training.epochs": 15})
    training = Training(spec, 0, load_dataset(spec, registry, "cpu"), device="cpu", registry=registry)
    *_, last = training.epochs()
    assert metrics.accuracy(last.evaluations["test"].confusion) > 0.9
    assert attrs.asdict(last)["loss"] < 0.5


def test_a_prediction_makes_the_logits_that_are_counted(train, data):
    training = train({"evaluation.prediction": "flip", "training.epochs": 5})
    list(training.epochs())
    pixels = data.test.images.float() / 255 - 0.5
    with torch.no_grad():
        mean = (training.network.eval()(pixels) + training.network(pixels.flip(3))) / 2
    assert torch.equal(training.predict(data.test.images), mean.argmax(1))


BALANCED = {**SHUFFLE, "training.sampling": "balanced"}


def test_balanced_sampling_draws_classes_equally_often_and_images_of_a_class_too(train):
    labels = torch.tensor([0] * 200 + [1] * 20 + [2] * 60 + [3] * 2)
    unequal = made_data(train=len(labels))
    unequal = attrs.evolve(unequal, train=Split(unequal.train.images, labels))
    training = train(BALANCED, on=unequal)
    draws = torch.cat([training._shuffled(epoch) for epoch in range(1, 41)])
    assert len(draws) == 40 * len(labels), "an epoch has as many images as the training set"
    drawn = torch.bincount(draws, minlength=len(labels)).double()
    of_classes = torch.zeros(4, dtype=torch.float64).index_add(0, labels, drawn)
    # 11,280 draws: the standard error of a class is 46.
    assert (of_classes - len(draws) / 4).abs().max() < 4 * 46
    assert drawn[:200].max() < 5 * drawn[:200].mean()
    assert torch.equal(training._shuffled(3), train(BALANCED, on=unequal)._shuffled(3))
    assert not torch.equal(training._shuffled(3), training._shuffled(4))


def with_weights(weights):
    data = made_data(train=len(weights))
    weighted = torch.tensor(weights, dtype=torch.float64)
    return attrs.evolve(data, train=attrs.evolve(data.train, weights=weighted))


def test_weighted_sampling_draws_images_in_proportion_to_their_weights(train):
    data = with_weights([0, 1, 2, 5] * 20)
    training = train({**SHUFFLE, "training.sampling": "weighted"}, on=data)
    draws = torch.cat([training._shuffled(epoch) for epoch in range(1, 41)])
    assert len(draws) == 40 * 80, "an epoch has as many images as the training set"
    drawn = torch.bincount(draws % 4, minlength=4)
    assert drawn[0] == 0
    # 3,200 draws: the standard error is 28 at most.
    assert (drawn - torch.tensor([0.0, 400, 800, 2000])).abs().max() < 4 * 28
    assert torch.equal(training._shuffled(3), train({**SHUFFLE, "training.sampling": "weighted"}, on=data)._shuffled(3))


def test_weights_may_be_as_large_as_numbers_are(train):
    training = train({**SHUFFLE, "training.sampling": "weighted"}, on=with_weights([1e308] * 40))
    assert len(set(training._shuffled(1).tolist())) > 10


def test_weights_are_dealt_with_their_images(train):
    data = with_weights(list(range(1, 41)))
    images = torch.arange(1, 41, dtype=torch.uint8).view(-1, 1, 1, 1).expand(data.train.images.shape).contiguous()
    data = attrs.evolve(data, train=attrs.evolve(data.train, images=images, labels=torch.arange(40) % 4))
    sets = {**SHUFFLE, "training.sampling": "weighted", "data.validation": 0.3, "data.resplit": True}
    dealt = train(sets, on=data).dataset.train
    assert len(dealt) == 28
    assert torch.equal(dealt.weights, dealt.images[:, 0, 0, 0].double())


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (
            None,
            "training.sampling = weighted draws images by their weights, and made has none; a table (csv:PATH) with a "
            "column `weight` gives them",
        ),
        ([0] * 23, "all training images of made have the weight 0"),
    ],
)
def test_weighted_sampling_needs_weights(train, weights, text):
    with pytest.raises(BuildError) as error:
        train(
            {**SHUFFLE, "training.sampling": "weighted"}, on=made_data() if weights is None else with_weights(weights)
        )
    assert str(error.value).endswith(text)


@pytest.mark.parametrize("sampling", ["balanced", "weighted"])
def test_sampling_needs_shuffling(train, sampling):
    with pytest.raises(BuildError) as error:
        train({"training.shuffle": False, "training.sampling": sampling})
    assert str(error.value).endswith(
        f"training.sampling = {sampling} draws images at random, and training.shuffle = false keeps their order; set "
        "one of the two otherwise"
    )


def test_a_loss_is_given_the_sizes_of_the_classes(train):
    """With unequal classes balanced weights train otherwise, with equal ones the same."""
    weighted = {**SHUFFLE, "training.loss": {"name": "cross_entropy", "class_weights": "balanced"}}
    equal = made_data(train=24)
    assert weights(train(weighted, on=equal)).equal(weights(train(SHUFFLE, on=equal)))
    torch.testing.assert_close(*(trained(train(sets, on=equal))[1] for sets in (weighted, SHUFFLE)))
    assert not trained(train(weighted))[1].equal(trained(train(SHUFFLE))[1])
