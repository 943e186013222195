"""Each operation of TrivialAugment is torchvision's, for one image at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from zoo_plugins.trivial_augment import COLOURS, GEOMETRIC, coloured, moved, trivial_augment

STRENGTHS = torch.linspace(0, 1, 5, dtype=torch.float64)


def images(channels, height=9, width=12):
    return torch.rand(5, channels, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def sheared(image, x, y):
    degrees = [math.degrees(math.atan(amount)) for amount in (x, y)]
    return F.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, center=[0, 0])


EXPECTED = {
    "identity": lambda image, amount: image,
    "shear_x": lambda image, amount: sheared(image, 0.99 * amount, 0.0),
    "shear_y": lambda image, amount: sheared(image, 0.0, 0.99 * amount),
    "translate_x": lambda image, amount: F.affine(image, 0.0, [int(32 * amount), 0], 1.0, [0.0, 0.0]),
    "translate_y": lambda image, amount: F.affine(image, 0.0, [0, int(32 * amount)], 1.0, [0.0, 0.0]),
    "rotate": lambda image, amount: F.rotate(image, 135 * amount),
    "brightness": lambda image, amount: F.adjust_brightness(image, 1 + 0.99 * amount),
    "colour": lambda image, amount: F.adjust_saturation(image, 1 + 0.99 * amount),
    "contrast": lambda image, amount: F.adjust_contrast(image, 1 + 0.99 * amount),
    "sharpness": lambda image, amount: F.adjust_sharpness(image, 1 + 0.99 * amount),
    "posterize": lambda image, amount: F.posterize(image, round(8 - 6 * abs(amount))),
    "solarize": lambda image, amount: F.solarize(image, 1 - abs(amount)),
    "autocontrast": lambda image, amount: F.autocontrast(image),
    "equalize": lambda image, amount: F.equalize(image),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", EXPECTED)
def test_an_operation_is_that_of_torchvision(name, sign, channels):
    given, signed = images(channels), sign * STRENGTHS
    if name in GEOMETRIC:
        found = moved(given, torch.full((5,), GEOMETRIC.index(name)), signed)
    else:
        found = list(coloured(given, STRENGTHS, signed))[COLOURS.index(name)]
    expected = torch.stack([EXPECTED[name](image, amount.item()) for image, amount in zip(given, signed, strict=True)])
    differing = ((found - expected).abs() > 1e-12).any(1).double().mean((1, 2))
    # A pixel that comes from between two others is that one or the other, by rounding.
    assert differing.max() <= (0.05 if name in GEOMETRIC else 0), f"{differing.tolist()} of the pixels differ"


def test_each_image_has_an_operation_of_its_own():
    image = images(3)[:1].expand(1000, -1, -1, -1)
    changed = trivial_augment(image, torch.Generator().manual_seed(0))
    different = {row.numpy().tobytes() for row in changed}
    assert len(different) > 100
    unchanged = (changed == image).flatten(1).all(1).double().mean().item()
    assert 1 / 14 <= unchanged < 0.2, "one of 14, and those with a strength of nothing"


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="it is for images of 1 or 3 channels, and these have 2"):
        trivial_augment(images(2), torch.Generator())
