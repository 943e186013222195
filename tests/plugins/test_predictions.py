"""The predictions, view by view."""

from __future__ import annotations

import numpy as np
import torch

from zoo_plugins.predictions import flip, plain, six_views

IMAGES = torch.rand(4, 3, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHT = torch.randn(3 * 6 * 7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def forward(images):
    return (images.flatten(1) @ WEIGHT).exp()


def test_plain_is_the_network():
    assert torch.equal(plain(forward, IMAGES), forward(IMAGES))


def test_flip_is_the_mean_of_both_ways():
    mirrored = torch.from_numpy(IMAGES.numpy()[..., ::-1].copy())
    torch.testing.assert_close(flip(forward, IMAGES), (forward(IMAGES) + forward(mirrored)) / 2)


def test_six_views_are_those_of_airbench():
    """Half the weight for the image both ways, the rest for it moved both ways along its diagonal."""
    padded = np.pad(IMAGES.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    views = [padded[:, :, 1:-1, 1:-1], padded[:, :, :-2, :-2], padded[:, :, 2:, 2:]]
    expected = torch.zeros(4, 5, dtype=torch.float64)
    for view, weight in zip(views, (0.5, 0.25, 0.25), strict=True):
        for turned in (view, view[..., ::-1]):
            expected += weight / 2 * forward(torch.from_numpy(turned.copy()))
    torch.testing.assert_close(six_views(forward, IMAGES), expected, rtol=0, atol=1e-12)
