"""Several views of an image in a batch: against a loop by hand, in every engine, and what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from small_runs import PLUGIN, figures, small
from tape import TapedTraining
from torch.nn import functional as F

from zoo.errors import BuildError, PluginError
from zoo.registry import Registry
from zoo.train import streams
from zoo.train.engines.captured import CapturedTraining
from zoo.train.engines.gate import gate
from zoo.train.execute import dataset
from zoo.train.training import Training
from zoo_plugins.augmix import augmix

VARIANTS = """
import torch
import zoo


def darker(images, *, views: zoo.PositiveInt = 2):
    return torch.stack([images / (1 + view) for view in range(views)])


def by_place(images, indices):
    return images / (1 + indices % 3)[:, None, None, None]


def flat(images, *, views: zoo.PositiveInt = 2):
    return images


@zoo.hookimpl
def zoo_register_augmentations(register):
    register("darker", darker)
    register("by_place", by_place)
    register("flat", flat)
"""
SETS = {"training.epochs": 3, "training.shuffle": True, "training.loss": {"name": "jensen_shannon", "weight": 5.0}}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugins") / "darker.py"
    file.write_text(VARIANTS, encoding="utf-8")
    return Registry(files=[PLUGIN, file]).require_sound()


def spec(registry, *augmentations, **sets):
    return small(registry, sets=SETS | {"training.augmentation": list(augmentations)} | sets)


def made(registry, *augmentations, kind=Training, precision="float64", **sets):
    wanted = spec(registry, *augmentations, **sets)
    return kind(wanted, 0, dataset(wanted, registry, "cpu"), device="cpu", registry=registry, precision=precision)


def divergence(probabilities):
    """The Jensen-Shannon divergence as the paper's code has it, but for a bound on the mixture."""
    mixture = probabilities.mean(0).log()
    return sum(F.kl_div(mixture, each, reduction="batchmean") for each in probabilities) / len(probabilities)


def by_hand(training, views):
    """Yield the weights after each epoch of a loop that torch alone makes; `views` makes a list of batches of one."""
    data, size = training.dataset.train, training.spec.training.batch_size
    parameters = list(training.network.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    for epoch in range(1, 4):
        generator = streams.generator("cpu", 0, "augmentation", epoch)
        for chosen in torch.split(training._shuffled(epoch), size):
            each = views(data.images[chosen].double() / 255, chosen, generator)
            logits = [training.network(pixels - 0.5) for pixels in each]
            apart = divergence(torch.stack([some.softmax(1) for some in logits]))
            loss = F.cross_entropy(logits[0], data.labels[chosen]) + 5 * apart
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield torch.cat([p.detach().flatten() for p in parameters])


def mixed(images, chosen, generator):
    return augmix(images, generator, views=3)


def placed(images, chosen, generator):
    """What follows the views changes each of them, and is told of each the place of its image."""
    return [torch.stack([image / 2**view / (1 + i % 3) for image, i in zip(images, chosen)]) for view in range(2)]  # noqa: B905


@pytest.mark.parametrize(
    ("augmentations", "views"),
    [([{"name": "augmix", "views": 3}], mixed), ([{"name": "darker", "views": 2}, "by_place"], placed)],
    ids=["augmix", "followed by another"],
)
def test_a_run_is_a_loop_by_hand(registry, augmentations, views):
    training = made(registry, *augmentations)
    for epoch, weights in enumerate(by_hand(made(registry, *augmentations), views), start=1):
        training.train_epoch(epoch)
        own = torch.cat([p.detach().flatten() for p in training.network.parameters()])
        torch.testing.assert_close(own, weights, rtol=0, atol=1e-12)


# torchvision equalizes with `unsqueeze_`, of which a tape knows only the values.
@pytest.mark.parametrize(
    ("engine", "views"),
    [(partial(CapturedTraining, chain=2, warm_up=1), "augmix"), (partial(TapedTraining, chain=2), "darker")],
)
def test_each_engine_gives_the_same(registry, engine, views):
    chain = ["mixup", {"name": views, "views": 3}, "alternating_flip"]
    one, other = (figures(made(registry, *chain, kind=kind).epochs()) for kind in (Training, engine))
    assert one == other
    wanted = spec(registry, *chain)
    assert gate(wanted, dataset(wanted, registry, "cpu"), device="cpu", registry=registry) == ""


@pytest.mark.parametrize(
    ("augmentations", "loss", "message"),
    [
        (
            ["augmix"],
            "jensen_shannon",
            "small: training.loss: jensen_shannon compares several views of each image, and no augmentation gives "
            "them: take one that does, such as augmix with views = 3, or another loss",
        ),
        (
            [{"name": "augmix", "views": 3}],
            "cross_entropy",
            "small: training.augmentation[0]: augmix(views=3) gives 3 views of each image, and small: training.loss: "
            "cross_entropy takes one: set views = 1, or take a loss that compares them, such as jensen_shannon",
        ),
        (
            ["none", {"name": "augmix", "views": 3}, {"name": "darker", "views": 2}],
            "jensen_shannon",
            "small: training.augmentation[1]: augmix(views=3) and small: training.augmentation[2]: darker both give "
            "several views of an image: let one do so",
        ),
        (
            [{"name": "augmix", "views": 3}, "mixup"],
            "jensen_shannon",
            "small: training.augmentation[1]: mixup changes labels, which the views that small: "
            "training.augmentation[0]: augmix(views=3) gives of an image share: put it before that",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(registry, augmentations, loss, message):
    with pytest.raises(BuildError) as error:
        made(registry, *augmentations, **{"training.loss": loss})
    assert str(error.value) == message


def test_an_augmentation_must_give_the_views_that_it_says(registry):
    with pytest.raises(PluginError) as error:
        made(registry, "flat").train_epoch(1)
    assert str(error.value) == (
        "small: training.augmentation[0]: flat: it returned images of shape (5, 1, 6, 6), and must return (views, "
        "batch, channels, height, width) with 2 views"
    )
