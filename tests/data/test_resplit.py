"""A validation part that is drawn anew with each seed."""

from __future__ import annotations

import numpy as np
import pytest
from data_fakes import FakeSource, arrays
from small_runs import PLUGIN, figures, planned_run, small

from zoo.data import Dataset, Options, as_trained_on, load
from zoo.errors import DataError
from zoo.registry import Registry
from zoo.spec import DataSpec
from zoo.spec.fields import Resplit
from zoo.train.execute import execute
from zoo.train.training import Training

ANEW = DataSpec(dataset="digits", validation=0.25, resplit=True)


@pytest.fixture(scope="module")
def digits(registry: Registry) -> Dataset:
    return load("digits", registry, Options(validation=0.25, resplit=True))


def of(dataset: Dataset, seed: int) -> tuple[set[bytes], set[bytes]]:
    """Return the training and validation images of a seed."""
    dealt = as_trained_on(dataset, ANEW, seed)
    assert dealt.validation is not None
    return tuple({image.numpy().tobytes() for image in part.images} for part in (dealt.train, dealt.validation))  # type: ignore[return-value]


def test_each_seed_has_a_part_of_its_own_of_the_same_images(digits: Dataset) -> None:
    (train, held_out), (other_train, other) = of(digits, 0), of(digits, 1)
    assert train.isdisjoint(held_out)
    assert train | held_out == other_train | other == {image.numpy().tobytes() for image in digits.train.images}
    assert held_out != other
    assert of(digits, 0) == (train, held_out), "the seed decides it"
    shared = len(held_out & other) / len(held_out)
    assert 0.15 < shared < 0.35, "parts of two seeds are drawn as if there were no other"


def test_classes_have_equal_shares_and_images_keep_their_order(digits: Dataset) -> None:
    dealt = as_trained_on(digits, ANEW, 3)
    assert dealt.validation is not None
    whole, held_out = (np.bincount(part.labels.numpy()) for part in (digits.train, dealt.validation))
    assert np.abs(held_out - 0.25 * whole).max() <= 1
    place = {image.numpy().tobytes(): position for position, image in enumerate(digits.train.images)}
    places = [place[image.numpy().tobytes()] for image in dealt.train.images]
    assert places == sorted(places)


def test_folds_are_held_out_in_turn_and_then_those_of_another_partition(digits: Dataset) -> None:
    stated = DataSpec(dataset="digits", validation=0.2, resplit="folds")

    def held_out(seed: int) -> tuple[set[int], list[int]]:
        dealt = as_trained_on(digits, stated, seed)
        assert dealt.validation is not None
        assert len(dealt.validation) + len(dealt.train) == len(digits.train)
        places = {image.numpy().tobytes() for image in dealt.validation.images}
        classes = np.bincount(dealt.validation.labels.numpy()).tolist()
        return {position for position, image in enumerate(images) if image in places}, classes

    images = [image.numpy().tobytes() for image in digits.train.images]
    folds = [held_out(seed) for seed in range(5)]
    assert sorted(position for fold, _ in folds for position in fold) == list(range(len(images)))
    assert all(np.ptp([classes[label] for _, classes in folds]) <= 1 for label in range(10))
    assert held_out(0) == folds[0]
    others = [held_out(seed)[0] for seed in range(5, 10)]
    assert sorted(position for fold in others for position in fold) == list(range(len(images)))
    assert not any(fold in others for fold, _ in folds)


def test_a_share_that_makes_no_whole_folds_is_refused(registry: Registry) -> None:
    for share in (0.5, 0.3333, 0.25, 0.2, 0.1):
        Options(validation=share, resplit="folds")
    for share in (0.3, 0.6, 0.99):
        with pytest.raises(DataError) as error:
            Options(validation=share, resplit="folds")
        assert str(error.value) == (
            f'data.resplit = "folds" holds out one of k folds of one size, and data.validation = {share} is no share '
            "1/k; set it to 0.5, 0.3333, 0.25, 0.2 or 0.1, say"
        )
    with pytest.raises(DataError, match=r"a validation share of 0\.002 cannot be held out: the class"):
        load("digits", registry, Options(validation=0.002, resplit="folds"))


def test_without_it_all_seeds_have_the_same(registry: Registry) -> None:
    stated = DataSpec(dataset="digits", validation=0.25)
    once = load("digits", registry, Options.of(stated))
    assert as_trained_on(once, stated, 7) is once


def test_the_digest_is_of_the_images_that_are_dealt(digits: Dataset, registry: Registry) -> None:
    whole = load("digits", registry)
    assert digits.digest == whole.digest
    assert digits.validation is None
    assert as_trained_on(digits, ANEW, 1).digest == whole.digest


@pytest.mark.parametrize("how", [True, "folds"])
def test_groups_stay_whole(how: Resplit, fake: FakeSource, registry: Registry) -> None:
    groups = tuple(f"g{i // 2}" for i in range(120))
    fake.content = arrays(
        train_images=np.arange(120, dtype=np.uint8).repeat(20).reshape(120, 1, 4, 5),
        train_labels=np.arange(120) // 2 % 3,
        groups={"train": groups, "test": ("t",) * 6},
    )
    stated = DataSpec(dataset="fake", validation=0.25, resplit=how, group_by="g")
    dataset = load("fake", registry, Options.of(stated))
    parts = set()
    for seed in range(4):
        dealt = as_trained_on(dataset, stated, seed)
        assert dealt.validation is not None
        sides = [{groups[int(image[0, 0, 0])] for image in part.images} for part in (dealt.train, dealt.validation)]
        assert sides[0].isdisjoint(sides[1])
        parts.add(frozenset(sides[1]))
    assert len(parts) > 1


def test_what_cannot_be_drawn_is_refused_when_it_is_read(registry: Registry) -> None:
    with pytest.raises(DataError) as error:
        Options(resplit=True)
    assert str(error.value) == (
        "data.resplit draws the validation part anew with each seed, so that data.validation is needed, too"
    )
    with pytest.raises(DataError) as error:
        load("digits", registry, Options(validation=0.001, resplit=True))
    assert "digits: a validation share of 0.001 cannot be held out: the class" in str(error.value).lower()


def test_runs_are_of_their_seed_and_are_repeated(tmp_path_factory: pytest.TempPathFactory) -> None:
    registry = Registry(files=[PLUGIN]).require_sound()
    spec = small(registry, sets={"data.validation": 0.25, "data.resplit": True})
    plain = small(registry, sets={"data.validation": 0.25})
    assert spec.identity != plain.identity

    def train(seed: int) -> list[object]:
        *epochs, run = execute(planned_run(spec, registry, seed), registry, "cpu")
        assert run.status == "finished", run.reason
        return figures(epochs)

    assert train(0) == train(0)
    assert train(0) != train(1)
    training = Training(spec, 1, load("squares", registry, Options.of(spec.data)), device="cpu", registry=registry)
    assert training.dataset.validation is not None
    assert len(training.dataset.validation) + len(training.dataset.train) == len(load("squares", registry).train)
