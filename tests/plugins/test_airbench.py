"""The spec speed/airbench94: each of its published hyperparameters, and a loop by hand in the words of its script."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zoo.data import Dataset, Split
from zoo.registry import default_registry
from zoo.spec.length import Length
from zoo.spec.paths import apply
from zoo.spec.resolve import resolve
from zoo.train import streams
from zoo.train.engines.captured import CapturedTraining
from zoo.train.training import Training

HYP = {
    "opt": {
        "train_epochs": 9.9,
        "batch_size": 1024,
        "lr": 11.5,
        "momentum": 0.85,
        "weight_decay": 0.0153,
        "bias_scaler": 64.0,
        "label_smoothing": 0.2,
        "whiten_bias_epochs": 3,
    },
    "aug": {"flip": True, "translate": 2},
    "net": {
        "widths": {"block1": 64, "block2": 256, "block3": 256},
        "batchnorm_momentum": 0.6,
        "scaling_factor": 1 / 9,
        "tta_level": 2,
    },
}
"""As github.com/KellerJordan/cifar10-airbench publishes them, in legacy/airbench94.py."""
IMAGES, BATCH, STEPS = 17, 3, 20


def made_data():
    generator = np.random.default_rng(0)

    def part(count):
        pixels = torch.from_numpy(generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))
        return Split(pixels, torch.from_numpy(generator.permutation(np.arange(count) % 10)))

    classes = tuple("abcdefghij")
    return Dataset("made", "Made", classes, part(IMAGES), part(20), None, "digest", (), False)


# The hyperparameters


def test_each_hyperparameter_is_the_published_one():
    spec, opt, net = resolve("speed/airbench94"), HYP["opt"], HYP["net"]
    training, output = spec.training, spec.network.output
    sgd, smoothed = training.optimizer.values(), training.loss.values()
    length = Length.of(training, 50_000)
    per_epoch = 50_000 // opt["batch_size"]
    assert (length.steps_per_epoch, length.steps) == (per_epoch, ceil(per_epoch * opt["train_epochs"])) == (48, 476)
    kilostep = 1024 * (1 + 1 / (1 - opt["momentum"]))
    rate, decay = opt["lr"] / kilostep, opt["weight_decay"] * opt["batch_size"] / kilostep
    # Of the sum over a batch there, of the mean here.
    assert sgd["learning_rate"] == pytest.approx(rate * 1024, rel=1e-14)
    assert sgd["learning_rate"] * sgd["weight_decay"] == pytest.approx(decay, rel=1e-14)
    assert (sgd["momentum"], sgd["nesterov"], smoothed["label_smoothing"]) == (opt["momentum"], True, 0.2)
    offsets, bias = training.groups
    assert (offsets.at, offsets.learning_rate) == ("*.normalization.bias", opt["bias_scaler"])
    assert offsets.learning_rate * offsets.weight_decay == 1, "the decay is not scaled"
    assert (bias.at, round(bias.frozen_after * 476)) == ("features.0.filter.bias", opt["whiten_bias_epochs"] * 48)
    assert [block.filters for block in spec.network.features] == [24, 64, 64, 256, 256, 256, 256]
    for block in spec.network.features[1:]:
        normalization = block.normalization.values()
        assert normalization["momentum"] == 1 - net["batchnorm_momentum"]
        assert (normalization["epsilon"], normalization["scale"]) == (1e-12, False)
    assert (output.bias, output.scale) == (False, net["scaling_factor"])
    flip, translate = training.augmentation
    assert (flip.name, translate.values()) == ("alternating_flip", {"pixels": 2, "padding": "reflect"})
    assert (training.shuffle, training.drop_last, spec.evaluation.prediction.name) == (True, True, "six_views")
    assert (spec.data.dataset, spec.data.mean, spec.data.std) == ("cifar10", "train", "train")


def test_the_learning_rate_is_the_published_one_in_each_step():
    def published(step, total=476):
        warmup = int(total * 0.23)
        if step < warmup:
            return 0.2 * (1 - step / warmup) + step / warmup
        down = (step - warmup) / (total - warmup)
        return (1 - down) + 0.07 * down

    triangle = default_registry().variant("schedule", "triangle")
    options = resolve("speed/airbench94").training.schedule.values()
    for step in range(476):
        found = triangle.make(options, progress=step / 476, steps=476, validation=())
        assert found == pytest.approx(published(step), rel=1e-13)


# The first steps


class Group(nn.Module):
    """Two convolutions, the first of which is pooled."""

    def __init__(self, channels, filters):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, padding="same", bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(filters, eps=1e-12, momentum=1 - HYP["net"]["batchnorm_momentum"])
        self.conv2 = nn.Conv2d(filters, filters, 3, padding="same", bias=False)
        self.norm2 = nn.BatchNorm2d(filters, eps=1e-12, momentum=1 - HYP["net"]["batchnorm_momentum"])
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad = False

    def forward(self, x):
        x = F.gelu(self.norm1(self.pool(self.conv1(x))))
        return F.gelu(self.norm2(self.conv2(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad = False
        block1, block2, block3 = HYP["net"]["widths"].values()
        self.groups = nn.ModuleList([Group(24, block1), Group(block1, block2), Group(block2, block3)])
        self.head = nn.Linear(block3, 10, bias=False)

    def forward(self, x):
        x = F.gelu(self.whiten(x))
        for group in self.groups:
            x = group(x)
        return self.head(F.max_pool2d(x, 3).flatten(1)) * HYP["net"]["scaling_factor"]


def whitening(images, epsilon=5e-4):
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).transpose(1, 3).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches), UPLO="U")
    scaled = (vectors / torch.sqrt(values + epsilon)).T.flip(0).reshape(12, 3, 2, 2)
    return torch.cat((scaled, -scaled))


def hashed(number):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        number = ((number ^ (number >> shift)) * factor) & 0xFFFFFFFF
    return number ^ (number >> 16)


def cropped(images, chosen, epoch, generator):
    """Flip an image in every other epoch, and take a window of it whose border was mirrored."""
    pixels = HYP["aug"]["translate"]
    top, left = torch.randint(2 * pixels + 1, (2, len(chosen), 1), generator=generator)[..., 0]
    flipped = [
        image.flip(-1) if (hashed(index) + epoch) % 2 else image
        for image, index in zip(images[chosen], chosen.tolist(), strict=True)
    ]
    padded = F.pad(torch.stack(flipped), (pixels,) * 4, "reflect")
    return torch.stack(
        [image[:, y : y + 32, x : x + 32] for image, y, x in zip(padded, top.tolist(), left.tolist(), strict=True)]
    )


def by_hand(net, images, labels, *, epochs):
    """Train as the script does, yielding each step's mean loss, and the weights and their average after the epoch."""
    opt = HYP["opt"]
    # The script's rates are for 1,024 images, which is its batch; here that is one of 3.
    kilostep = BATCH * (1 + 1 / (1 - opt["momentum"]))
    rate, decay = opt["lr"] / kilostep, opt["weight_decay"] * BATCH / kilostep
    norms = [p for name, p in net.named_parameters() if "norm" in name and p.requires_grad]
    others = [p for name, p in net.named_parameters() if "norm" not in name and p.requires_grad]
    scaled = rate * opt["bias_scaler"]
    optimizer = torch.optim.SGD(
        [
            {"params": norms, "lr": scaled, "weight_decay": decay / scaled},
            {"params": others, "lr": rate, "weight_decay": decay / rate},
        ],
        momentum=opt["momentum"],
        nesterov=True,
    )
    per_epoch = IMAGES // BATCH
    total = ceil(per_epoch * opt["train_epochs"])
    warmup = int(total * 0.23)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            0.2 + 0.8 * step / warmup if step < warmup else 1 + (0.07 - 1) * (step - warmup) / (total - warmup)
        ),
    )
    alpha = 0.95**5 * (torch.arange(total + 1, dtype=torch.float64) / total) ** 3
    slow = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    step = 0
    for epoch in range(1, epochs + 1):
        net.whiten.bias.requires_grad = epoch <= opt["whiten_bias_epochs"]
        order = torch.randperm(IMAGES, generator=streams.generator("cpu", 0, "order", epoch))
        drawing = streams.generator("cpu", 0, "augmentation", epoch)
        losses = []
        for number in range(per_epoch):
            chosen = order[number * BATCH : (number + 1) * BATCH]
            logits = net(cropped(images, chosen, epoch, drawing))
            loss = F.cross_entropy(
                logits, labels[chosen], label_smoothing=opt["label_smoothing"], reduction="none"
            ).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item() / BATCH)
            step += 1
            if step % 5 == 0:
                for name, tensor in net.state_dict().items():
                    if tensor.is_floating_point():
                        slow[name].lerp_(tensor, 1 - alpha[step].item())
                        tensor.copy_(slow[name])
        yield losses, net.state_dict(), slow


def six_views(net, images):
    def mirrored(x):
        return 0.5 * net(x) + 0.5 * net(x.flip(-1))

    padded = F.pad(images, (1,) * 4, "reflect")
    moved = torch.stack([mirrored(padded[:, :, :32, :32]), mirrored(padded[:, :, 2:34, 2:34])]).mean(0)
    return 0.5 * mirrored(images) + 0.5 * moved


def test_the_first_20_steps_are_those_of_a_loop_by_hand():
    registry, data = default_registry(), made_data()
    spec = apply(resolve("speed/airbench94"), {"training.batch_size": BATCH, "data.dataset": "digits"}, registry)
    trainings = [
        kind(spec, 0, data, device="cpu", registry=registry, precision="float64")
        for kind in (Training, CapturedTraining)
    ]
    pixels = data.train.images.double() / 255
    # Rounded to float32; the script's have four digits.
    mean = pixels.mean((0, 2, 3), keepdim=True).float().double()
    std = pixels.std((0, 2, 3), keepdim=True, correction=0).float().double()
    images = (pixels - mean) / std

    net = Net().double()
    net.load_state_dict(start := started(net, trainings[0].network, images))
    exact = {"rtol": 0, "atol": 1e-9}
    bias = start["whiten.bias"]
    epochs = STEPS // (IMAGES // BATCH)
    for epoch, (losses, weights, slow) in enumerate(by_hand(net, images, data.train.labels, epochs=epochs), start=1):
        for training in trainings:
            assert training.train_epoch(epoch) == pytest.approx(np.mean(losses), abs=1e-9)
            torch.testing.assert_close(list(training.network.state_dict().values()), list(weights.values()), **exact)
            names = [name for name, _ in (*net.named_parameters(), *net.named_buffers())]
            expected = [slow[name] for name in names if slow[name].is_floating_point()]
            torch.testing.assert_close(list(training.beside.values()), expected, **exact)
        assert torch.equal(weights["whiten.bias"], bias) == (epoch > HYP["opt"]["whiten_bias_epochs"])
        bias = weights["whiten.bias"].clone()
    assert epoch * (IMAGES // BATCH) == STEPS

    net.eval()
    trainings[0].network.eval()
    with torch.no_grad():
        shown = data.test.images.double() / 255
        found = trainings[0].prediction(forward=trainings[0]._logits, images=shown)
        torch.testing.assert_close(found, six_views(net, (shown - mean) / std), **exact)


def started(net, network, images):
    """Return the starting values of a network under the names of the other, when they are those of the script."""
    assert [p.shape for p in net.parameters()] == [p.shape for p in network.parameters()]
    found = dict(zip(net.state_dict(), (each.clone() for each in network.state_dict().values()), strict=True))
    for name, filters in found.items():
        if "conv" in name:
            passed_on = filters[: filters.shape[1]]
            assert torch.equal(passed_on, nn.init.dirac_(torch.empty_like(passed_on)))
    assert not found["whiten.bias"].any()
    order = torch.randperm(IMAGES, generator=streams.generator("cpu", 0, "preparation"))
    own = whitening(images[order])
    sign = (own * found["whiten.weight"]).sum((1, 2, 3), keepdim=True).sign()  # an eigenvector may be its negative
    torch.testing.assert_close(found["whiten.weight"], own * sign, rtol=0, atol=1e-9)
    return found
