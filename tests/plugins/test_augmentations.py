"""The augmentations: each output is an allowed change of its input, drawn as stated from the given generator only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, kstest

from zoo_plugins import augmentations
from zoo_plugins.augmentations import (
    alternating_flip,
    cutmix,
    cutout,
    horizontal_flip,
    mixup,
    none,
    random_erasing,
    translate,
)
from zoo_plugins.trivial_augment import trivial_augment

RANDOM = [horizontal_flip, translate, cutout, random_erasing]
seeds = st.integers(0, 2**31)
sides = st.integers(2, 7)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def distinct(count, height, width, channels=2):
    """Images whose pixels all differ, from above 0 to below 0.5 (the fill of cutout)."""
    pixels = torch.arange(1, 1 + count * channels * height * width, dtype=torch.float64)
    return pixels.reshape(count, channels, height, width) / (2 * len(pixels) + 2)


def within_bounds(count, trials, probability):
    """Say whether a binomial count lies within five standard deviations of its mean."""
    return abs(count - trials * probability) < 5 * np.sqrt(trials * probability * (1 - probability))


def assert_each_is_one_of(images, allowed):
    for index, image in enumerate(images):
        assert any(torch.equal(image, candidate[index]) for candidate in allowed), (
            f"image {index} is none of those allowed"
        )


@settings(deadline=None, max_examples=25)
@given(seeds, sides, sides, st.floats(0, 1))
def test_horizontal_flip_mirrors_or_keeps(seed, height, width, probability):
    images = distinct(6, height, width)
    flipped = horizontal_flip(images, seeded(seed), probability=probability)
    assert_each_is_one_of(flipped, [images, torch.from_numpy(images.numpy()[..., ::-1].copy())])


@pytest.mark.parametrize("probability", [0.5, 0.1])
def test_horizontal_flip_has_its_probability(probability):
    images = distinct(10_000, 1, 2, channels=1)
    flipped = horizontal_flip(images, seeded(0), probability=probability)
    count = (flipped != images).all(3).sum().item()
    assert within_bounds(count, len(images), probability), f"{count} of {len(images)} were flipped"


def test_horizontal_flip_at_the_ends_of_its_range():
    images = distinct(200, 2, 3)
    assert torch.equal(horizontal_flip(images, seeded(0), probability=0.0), images)
    assert torch.equal(horizontal_flip(images, seeded(0), probability=1.0), images.flip(3))


@settings(deadline=None, max_examples=25)
@given(seeds, sides, sides, st.sampled_from(["reflect", "zeros"]), st.data())
def test_translate_crops_the_padded_image(seed, height, width, padding, data):
    pixels = data.draw(st.integers(0, min(height, width) - 1))
    images = distinct(6, height, width)
    around = ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels))
    padded = np.pad(images.numpy(), around, mode="reflect" if padding == "reflect" else "constant")
    shifts = range(2 * pixels + 1)
    crops = [torch.from_numpy(padded[:, :, y : y + height, x : x + width].copy()) for y in shifts for x in shifts]
    assert_each_is_one_of(translate(images, seeded(seed), pixels=pixels, padding=padding), crops)


def test_translate_draws_every_shift_equally_often():
    images = distinct(1, 7, 7, channels=1).expand(20_000, -1, -1, -1)
    centres = translate(images, seeded(0), pixels=2)[:, 0, 3, 3]
    sources = images[0, 0, 1:6, 1:6].flatten()
    counts = (centres[:, None] == sources).sum(0)
    assert counts.sum() == len(images)
    assert all(within_bounds(count, len(images), 1 / 25) for count in counts.tolist()), counts


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_translate_refuses_a_shift_as_wide_as_the_image(padding):
    with pytest.raises(ValueError, match=r"^pixels must be less than the side of the images, which are 4x6; got 4$"):
        translate(distinct(2, 4, 6), seeded(0), pixels=4, padding=padding)


def squares(height, width, size):
    """All (height, width) masks of a square of `size` around each pixel, clipped at the borders."""
    for y in range(height):
        for x in range(width):
            mask = torch.zeros(height, width, dtype=torch.bool)
            top, left = y - size // 2, x - size // 2
            mask[max(top, 0) : top + size, max(left, 0) : left + size] = True
            yield mask


@settings(deadline=None, max_examples=25)
@given(seeds, sides, sides, st.floats(0.5, 1), st.data())
def test_cutout_fills_a_square_around_a_pixel(seed, height, width, fill, data):
    size = data.draw(st.integers(1, min(height, width)))
    images = distinct(6, height, width)
    allowed = [torch.where(mask, fill, images) for mask in squares(height, width, size)]
    assert_each_is_one_of(cutout(images, seeded(seed), size=size, fill=fill), allowed)


@pytest.mark.parametrize("size", [2, 3])
def test_cutout_draws_every_centre_equally_often(size):
    images = distinct(20_000, 4, 5, channels=1)
    cut = (cutout(images, seeded(0), size=size) != images)[:, 0]
    counts = [(cut == mask).all((1, 2)).sum().item() for mask in squares(4, 5, size)]
    assert sum(counts) == len(images)
    assert all(within_bounds(count, len(images), 1 / 20) for count in counts), counts


def test_cutout_refuses_a_square_larger_than_the_image():
    with pytest.raises(ValueError, match=r"^size must be at most the side of the images, which are 4x6; got 5$"):
        cutout(distinct(2, 4, 6), seeded(0), size=5)


def test_none_returns_the_images():
    images = distinct(2, 3, 3)
    assert none(images) is images


@pytest.mark.parametrize("augmentation", RANDOM)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_and_dtype_stay_and_the_input_is_untouched(augmentation, dtype):
    images = torch.rand(16, 3, 8, 9, generator=seeded(0)).to(dtype)
    before = images.clone()
    result = augmentation(images, seeded(1))
    assert (result.shape, result.dtype) == (images.shape, dtype)
    assert torch.equal(images, before)
    assert not torch.equal(result, before)


@pytest.mark.parametrize("augmentation", RANDOM)
def test_draws_come_from_the_given_generator_only(augmentation):
    images = distinct(16, 9, 9)
    state = torch.get_rng_state()
    generator = seeded(1)
    first, second = augmentation(images, generator), augmentation(images, generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(augmentation(images, seeded(1)), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("augmentation", RANDOM)
def test_no_value_is_read_on_the_host(augmentation):
    """Tensors on the meta device have no values: reading one, as boolean indexing does too, is an error there."""
    assert augmentation(torch.empty(16, 3, 9, 9, device="meta"), seeded(0)).shape == (16, 3, 9, 9)


def shares(count, classes=3):
    return torch.eye(classes, dtype=torch.float64)[torch.arange(count) % classes]


def test_alternating_flip_shows_each_image_both_ways_in_two_epochs():
    images, indices = distinct(1000, 2, 3), torch.arange(5000, 6000)
    epochs = [alternating_flip(images, indices, torch.tensor(epoch)) for epoch in (1, 2, 3)]
    assert_each_is_one_of(epochs[0], [images, images.flip(3)])
    assert torch.equal(epochs[1], epochs[0].flip(3))
    assert torch.equal(epochs[2], epochs[0])
    flipped = (epochs[0] != images).flatten(1).any(1)
    assert within_bounds(flipped.sum().item(), 1000, 0.5)
    assert within_bounds((flipped[1:] == flipped[:-1]).sum().item(), 999, 0.5), "neighbours must not be tied"
    assert torch.equal(alternating_flip(images.flip(0), indices.flip(0), torch.tensor(1)).flip(0), epochs[0])


def test_mixup_mixes_images_and_labels_alike():
    images, labels = distinct(6, 3, 4), shares(6)
    mixed, soft = mixup(images, labels, seeded(0))
    share = ((mixed - images.roll(1, 0)) / (images - images.roll(1, 0))).unique()
    torch.testing.assert_close(share, share.mean().expand_as(share))
    expected = share.mean() * labels + (1 - share.mean()) * labels.roll(1, 0)
    torch.testing.assert_close(soft, expected)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_draws_its_share_from_beta(alpha):
    generator = seeded(0)
    drawn = [mixup(distinct(2, 1, 1), shares(2), generator, alpha=alpha)[1][0, 0].item() for _ in range(1000)]
    assert kstest(drawn, beta(alpha, alpha).cdf).pvalue > 0.001


def test_cutmix_is_that_of_torchvision():
    """Given the draws that it makes: a share, and the centre of the rectangle."""
    images, labels = distinct(6, 9, 12), shares(6)
    for seed in range(20):
        generator = seeded(seed)
        share = torch._sample_dirichlet(torch.ones(2, dtype=torch.float64), generator)[0].item()
        row, column = (torch.randint(side, (1,), generator=generator).item() for side in (9, 12))
        tall, wide = (int(0.5 * np.sqrt(1 - share) * side) for side in (9, 12))
        expected = images.clone()
        inside = slice(max(row - tall, 0), row + tall), slice(max(column - wide, 0), column + wide)
        expected[:, :, *inside] = images.roll(1, 0)[:, :, *inside]
        kept = 1 - (expected != images)[0, 0].double().mean()
        cut, soft = cutmix(images, labels, seeded(seed))
        assert torch.equal(cut, expected)
        torch.testing.assert_close(soft, kept * labels + (1 - kept) * labels.roll(1, 0), rtol=0, atol=1e-12)


def test_random_erasing_paints_one_rectangle_of_the_stated_share():
    images = distinct(500, 20, 30, channels=1)
    erased = random_erasing(images, seeded(0), smallest=0.1, largest=0.3, fill=1.0) == 1
    painted = erased.flatten(1).any(1)
    assert within_bounds(painted.sum().item(), 500, 0.5)
    for mask in erased[painted, 0]:
        tall, wide = mask.any(1).sum(), mask.any(0).sum()
        assert mask.sum() == tall * wide, "it is no rectangle"
        assert 0.08 < mask.double().mean() < 0.33
        assert 0.25 < tall / wide < 4
    other = random_erasing(images, seeded(0), smallest=0.1, largest=0.3)
    assert torch.equal((other != images), erased), "random pixels stand where the grey did"
    assert torch.equal(random_erasing(images, seeded(0), probability=0.0), images)


def test_random_erasing_refuses_an_empty_range():
    with pytest.raises(ValueError, match=r"smallest = 0.5 must be at most largest = 0.4"):
        random_erasing(distinct(1, 4, 4), seeded(0), smallest=0.5)


@pytest.mark.parametrize("augmentation", [mixup, cutmix, trivial_augment, alternating_flip])
def test_no_value_is_read_on_the_host_with_labels_or_indices_either(augmentation, monkeypatch):
    # torch has no shape of a Dirichlet draw without values.
    monkeypatch.setattr(augmentations, "_beta", lambda alpha, images, generator: torch.empty((), device="meta"))
    images = torch.empty(16, 3, 9, 9, device="meta")
    if augmentation in (mixup, cutmix):
        made, labels = augmentation(images, torch.empty(16, 4, device="meta"), seeded(0))
        assert labels.shape == (16, 4)
    elif augmentation is alternating_flip:
        indices = torch.empty(16, dtype=torch.int64, device="meta")
        made = augmentation(images, indices, torch.empty((), dtype=torch.int64, device="meta"))
    else:
        made = augmentation(images, seeded(0))
    assert made.shape == images.shape
