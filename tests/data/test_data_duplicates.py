"""Images that look like training images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from zoo.data import Arrays
from zoo.data.duplicates import NEAR, _closest, alike, exact, said
from zoo.data.prepare import prepare
from zoo.data.resizing import resized
from zoo.data.sources import Images


def picture(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize((48, 48), Image.Resampling.BICUBIC)


def compressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.1)


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((32, 32)).resize(image.size)


@pytest.mark.parametrize("change", [compressed, brighter, smaller])
def test_altered_copies_look_alike_and_other_images_do_not(change) -> None:  # type: ignore[no-untyped-def]
    def arrays(pictures: list[Image.Image]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        images = np.stack([np.asarray(one).transpose(2, 0, 1) for one in pictures])
        return images, np.arange(len(pictures)) % 2

    train = arrays([picture(seed) for seed in range(60)])
    test = arrays([change(picture(seed)) for seed in range(30)] + [picture(seed) for seed in range(100, 130)])
    assert exact({"train": train, "test": test}) == []
    found = {one.index: one for one in alike({"train": train, "test": test})}
    assert all(one.train == one.index and one.same_label for one in found.values())
    assert 25 <= len(found) <= 30


@pytest.mark.parametrize(("side", "told"), [(48, True), (16, False)])
def test_a_plan_says_how_many_images_look_like_training_images(side: int, told: bool) -> None:
    def part(pictures: list[Image.Image], labels: list[int]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        small = [np.asarray(one.resize((side, side))).transpose(2, 0, 1) for one in pictures]
        return np.stack(small), np.array(labels)

    first, second, third = (picture(seed) for seed in range(3))
    train = part([first, second, third], [0, 1, 0])
    test = part([first, brighter(second), brighter(third), picture(9)], [0, 1, 1, 0])
    arrays = Arrays(*train, *test, ("a", "b"))
    same, *alike_ones = said(prepare(arrays, "These", None, "stretch"))
    assert same == (
        "leak: 1 of 4 test images are training images, too, pixel for pixel, so that test recall is not that of new "
        "images"
    )
    assert (
        alike_ones
        == [
            "leak: 2 of 4 test images look like a training image without being the same, 1 of them with another label: "
            "`zoo data show` lists them; where they are copies, test recall is not that of new images"
        ]
        * told
    )


def test_few_images_are_held_while_they_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    def reading(images: Images, size: tuple[int, int]) -> Images:
        happened.append(f"{len(images)} read")
        return resized(images, size)

    monkeypatch.setattr("zoo.data.room._AT_ONCE", 2 * 3 * 48 * 48)
    monkeypatch.setattr("zoo.data.room.give_back", lambda images: happened.append("given back"))
    monkeypatch.setattr("zoo.data.duplicates.resized", reading)
    images = np.stack([np.asarray(picture(seed)).transpose(2, 0, 1) for seed in range(5)])
    part = (images, np.arange(5) % 2)
    assert len(alike({"train": part, "test": part})) == 5
    of_one_part = ["2 read", "given back", "2 read", "given back", "1 read", "given back"]
    assert happened == of_one_part * 2


def test_an_image_without_contrast_looks_like_none() -> None:
    plain = (np.full((3, 1, 8, 8), 9, np.uint8), np.array([0, 1, 0]))
    assert alike({"train": plain, "test": plain}) == []


def test_the_closest_is_that_of_all_pairs() -> None:
    numbers = np.random.default_rng(0)
    hashes = numbers.integers(0, 2**64, 300, np.uint64)
    flipped = [sum(1 << int(bit) for bit in numbers.choice(64, size % 6, replace=False)) for size in range(200)]
    others = hashes[numbers.integers(0, 300, 200)] ^ np.array(flipped, np.uint64)
    bits = np.unpackbits((others[:, None] ^ hashes).view(np.uint8).reshape(200, 300, 8), axis=2).sum(axis=2)
    expected = np.where(bits.min(axis=1) <= NEAR, bits.argmin(axis=1), -1)
    np.testing.assert_array_equal(_closest(hashes, others), expected)
    assert (expected >= 0).sum() > 100
    assert (expected < 0).sum() > 50
