"""What augmentations ask for, in training: against a loop written by hand, in every engine, and what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from small_runs import PLUGIN, figures, small
from tape import TapedTraining
from torch.nn import functional as F

import zoo
from zoo.errors import BuildError, PluginError
from zoo.registry import Registry
from zoo.train import streams
from zoo.train.engines.captured import CapturedTraining
from zoo.train.execute import dataset
from zoo.train.training import Training

VARIANTS = '''
import torch
import zoo


def by_place(images, indices, epoch):
    """Darkens an image by its position and the epoch."""
    return images / (1 + (indices + epoch) % 3)[:, None, None, None]


def forgets_labels(images, labels):
    """Asks for labels, and returns images only."""
    return images


@zoo.hookimpl
def zoo_register_augmentations(register):
    register("by_place", by_place)
    register("forgets_labels", forgets_labels)
'''
SETS = {"training.epochs": 3, "training.shuffle": True}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugins") / "places.py"
    file.write_text(VARIANTS, encoding="utf-8")
    return Registry(files=[PLUGIN, file]).require_sound()


def made(kind, registry, *augmentations, precision="float64", sets=None):
    spec = small(registry, sets=SETS | {"training.augmentation": list(augmentations)} | (sets or {}))
    data = dataset(spec, registry, "cpu")
    return kind(spec, 0, data, device="cpu", registry=registry, precision=precision)


def by_hand(training, change):
    """Yield each epoch's loss and weights of a loop that torch alone makes; `change` is told all that there is."""
    data, size = training.dataset.train, training.spec.training.batch_size
    parameters = list(training.network.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    for epoch in range(1, 4):
        generator = streams.generator("cpu", 0, "augmentation", epoch)
        total = 0.0
        for chosen in torch.split(training._shuffled(epoch), size):
            images = data.images[chosen].double() / 255
            labels = F.one_hot(data.labels[chosen], len(training.dataset.classes)).double()
            images, labels = change(images, labels, chosen, epoch, generator)
            loss = -(labels * training.network(images - 0.5).log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        yield total / len(data.labels), torch.cat([p.detach().flatten() for p in parameters])


def mixed(images, labels, chosen, epoch, generator):
    share = torch._sample_dirichlet(torch.ones(2, dtype=torch.float64), generator)[0]
    previous = [len(chosen) - 1, *range(len(chosen) - 1)]
    return share * images + (1 - share) * images[previous], share * labels + (1 - share) * labels[previous]


def placed(images, labels, chosen, epoch, generator):
    return torch.stack([image / (1 + (index + epoch) % 3) for image, index in zip(images, chosen, strict=True)]), labels


@pytest.mark.parametrize(("name", "change"), [("mixup", mixed), ("by_place", placed)])
def test_a_run_is_a_loop_by_hand(registry, name, change):
    training = made(Training, registry, name)
    for loss, weights in by_hand(made(Training, registry), change):
        found = training.train_epoch(1 if training._epoch == 0 else int(training._epoch) + 1)
        assert found == pytest.approx(loss, abs=1e-12)
        own = torch.cat([p.detach().flatten() for p in training.network.parameters()])
        torch.testing.assert_close(own, weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", [partial(CapturedTraining, chain=2, warm_up=1), partial(TapedTraining, chain=2)])
def test_each_engine_gives_the_same(registry, engine):
    chain = ["by_place", "mixup", "cutmix", "alternating_flip"]
    runs = [made(kind, registry, *chain, precision="fp32") for kind in (Training, engine)]
    one, other = (figures(training.epochs()) for training in runs)
    assert one == other
    assert one != figures(made(Training, registry, *chain[:2], precision="fp32").epochs())


def test_a_loss_that_takes_classes_only_is_refused_by_name(registry):
    with pytest.raises(BuildError) as error:
        made(Training, registry, "none", "mixup", sets={"training.loss": "multi_margin"})
    assert str(error.value) == (
        "small: training.loss: multi_margin takes labels that are classes only, and small: training.augmentation[1]: "
        "mixup makes shares of several classes of them: take another loss, such as cross_entropy, or another "
        "augmentation"
    )
    assert made(Training, registry, "alternating_flip", sets={"training.loss": "multi_margin"}).train_epoch(1) > 0


def test_an_augmentation_that_asks_for_labels_must_return_them(registry):
    with pytest.raises(PluginError, match="returned a Tensor, not a pair of images and labels, as it asks for labels"):
        made(Training, registry, "forgets_labels").train_epoch(1)


def test_a_study_may_vary_them(registry):
    spec = zoo.resolve({"base": "starter/default", "set": {"training.augmentation": ["mixup"]}}, registry=registry)
    assert spec.identity != zoo.resolve("starter/default", registry=registry).identity
