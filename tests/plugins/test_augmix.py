"""AugMix and its loss, against torchvision's operations and the paper's formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as V

from zoo.train import streams
from zoo_plugins.augmix import OPERATIONS, augmix, jensen_shannon, operated

IMAGE = torch.randint(0, 256, (3, 33, 33), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def smooth():
    """An image of which neighbouring pixels differ little, so that where it is sampled matters little."""
    return F.interpolate(IMAGE[None, :, :5, :5].double() / 255, size=(33, 33), mode="bicubic").clamp(0, 1)


def affine(image, **how):
    stated = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], **how}
    return V.affine(image, **stated, interpolation=InterpolationMode.BILINEAR)


def sheared(image, slope, axis):
    """Sheared about the upper left corner."""
    degrees = math.degrees(math.atan(slope))
    return affine(image, shear=[degrees, 0.0] if axis == "x" else [0.0, degrees], center=[0.0, 0.0])


LEVEL = 0.7
EXPECTED = {
    "autocontrast": V.autocontrast,
    "equalize": V.equalize,
    "posterize": lambda image: V.posterize(image, 4 - int(LEVEL * 4)),
    "solarize": lambda image: V.solarize(image, 256 - int(LEVEL * 256)),
}
MOVED = {
    "rotate": lambda image: V.rotate(image, 21.0, InterpolationMode.BILINEAR),
    "shear_x": lambda image: sheared(image, LEVEL * 0.3, "x"),
    "shear_y": lambda image: sheared(image, LEVEL * 0.3, "y"),
    "translate_x": lambda image: affine(image, translate=[-7, 0]),
    "translate_y": lambda image: affine(image, translate=[0, -7]),
}


def made(name, image, sign=1):
    number = torch.tensor([OPERATIONS.index(name)])
    return operated(image, number, torch.tensor([LEVEL], dtype=image.dtype), torch.tensor([sign]))


@pytest.mark.parametrize("name", EXPECTED)
def test_colours_are_changed_as_torchvision_does(name):
    found = made(name, IMAGE[None].double() / 255) * 255
    assert (found - EXPECTED[name](IMAGE[None]).double()).abs().max() < 1


@pytest.mark.parametrize("name", MOVED)
def test_pixels_are_moved_as_torchvision_does(name):
    image = smooth()
    found, expected = made(name, image), MOVED[name](image)
    assert (found - expected)[..., 10:-10, 10:-10].abs().max() < 0.02
    assert (found - image).abs().max() > 0.1
    assert not torch.equal(found, made(name, image, sign=-1))


def test_the_first_of_several_views_is_the_image_and_the_others_are_mixed_by_themselves():
    images = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    views = augmix(images, streams.generator("cpu", 0, "a"), views=4)
    assert views.shape == (4, 40, 3, 8, 8)
    assert torch.equal(views[0], images)
    one = augmix(images, streams.generator("cpu", 0, "a"))
    assert one.shape == images.shape
    for first in range(4):
        for second in range(first):
            differ = (views[first] != views[second]).flatten(1).any(1)
            assert differ.sum() > 30, "each image has draws of its own in each view"


def test_with_no_strength_little_changes_and_chains_are_as_long_as_is_said():
    image = smooth().float().repeat(20, 1, 1, 1)
    changes = [
        (augmix(image, streams.generator("cpu", 0, "a"), severity=severity, depth=depth) - image).abs().mean()
        for severity, depth in ((0.1, 1), (3.0, 1), (3.0, 3))
    ]
    assert changes[0] < changes[1] < changes[2]


def test_the_loss_is_that_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(3, 6, 4, generator=generator, dtype=torch.float64)
    labels = torch.arange(6) % 4
    each = views.softmax(2)
    mixture = each.mean(0).clamp(1e-7, 1).log()
    apart = sum(F.kl_div(mixture, p, reduction="batchmean") for p in each) / 3
    expected = F.cross_entropy(views[0], labels) + 12 * apart
    torch.testing.assert_close(jensen_shannon(views[0], labels, views), expected, rtol=1e-12, atol=0)
    same = views[:1].expand(3, -1, -1)
    torch.testing.assert_close(jensen_shannon(same[0], labels, same), F.cross_entropy(same[0], labels))
