"""Every contestant trains the same network: equal weights after an epoch, from equal weights before."""

from __future__ import annotations

import pytest
import torch
from _data import shelf
from _plain import Pictures, resident_loop, study_loop, tuned_loop
from _task import Part, Task
from _zoo import changed
from torch import nn

from zoo.registry import default_registry
from zoo.spec.resolve import resolve
from zoo.train.execute import dataset
from zoo.train.training import Training

SEED = 3


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    registry = default_registry()
    spec = resolve("eq2425/default", registry=registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        with shelf(registry) as limited:
            # The last batch is not full.
            data = limited.first("digits", 200, 80, side=32)
            yield Task.of(changed(spec, registry, training__epochs=1, data__dataset=data), registry, "cpu")


@pytest.fixture(scope="module")
def trained_by_zoo(task):
    data = dataset(task.spec, task.registry, "cpu")
    training = Training(task.spec, SEED, data, device="cpu", registry=task.registry)
    list(training.epochs())
    return training.network


def lightning(task: Task, seed: int) -> nn.Module:
    pytest.importorskip("lightning")
    from _lightning import train

    return train(task, seed)


def skorch(task: Task, seed: int) -> nn.Module:
    pytest.importorskip("skorch")
    from _skorch import train

    return train(task, seed)


@pytest.mark.filterwarnings("default")  # what the frameworks warn of is theirs
@pytest.mark.parametrize("train", [study_loop, tuned_loop, resident_loop, lightning, skorch], ids=lambda f: f.__name__)
def test_a_contestant_ends_where_zoo_does(train, task, trained_by_zoo):
    start = task.network(SEED)
    network = train(task, SEED).cpu()
    for name, before, own, zoos in zip(
        dict(start.named_parameters()),
        start.parameters(),
        network.parameters(),
        trained_by_zoo.parameters(),
        strict=True,
    ):
        step = (zoos - before).abs().max().item()
        assert step > 1e-6, f"{name} was not trained"
        difference = (own - zoos).abs().max().item()
        assert difference < 0.01 * step, f"{name}: {difference} apart after a step of {step}"


def test_pixels_are_those_of_torchvision(task):
    pictures = Pictures(task.train)
    one_by_one = torch.stack([pictures[index][0] for index in range(len(pictures))])
    torch.testing.assert_close(one_by_one, task.train.normalized())
    assert [pictures[index][1] for index in range(len(pictures))] == task.train.labels.tolist()


def test_pixels_of_colour_images_are_those_of_torchvision():
    images = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    part = Part(images.numpy(), torch.arange(4).numpy())
    one_by_one = torch.stack([image for image, _ in Pictures(part)])
    torch.testing.assert_close(one_by_one, part.normalized())


def test_recall_is_the_mean_over_classes(task):
    class Brightest(nn.Module):
        """Predicts something that differs between images."""

        def forward(self, images):
            return nn.functional.one_hot(images.flatten(1).argmax(1) % 10, 10).float()

    predicted = Brightest()(task.test.normalized()).argmax(1).numpy()
    right = [(predicted[task.test.labels == label] == label).mean() for label in range(10)]
    assert len(set(predicted.tolist())) > 1
    assert task.test_recall(Brightest()) == pytest.approx(sum(right) / 10)
