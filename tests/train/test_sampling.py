"""Which images an epoch has: repeated augmentation, and what is left after whole steps."""

from __future__ import annotations

import pytest
import torch
from loops_by_hand import CAPTURED, DATA, EXACT, REGISTRY, make, weights
from small_runs import figures, small
from torch.nn import functional as F

from zoo.errors import BuildError, SpecError
from zoo.train import streams
from zoo.train.engines.gate import gate
from zoo.train.training import Training

REPEATED = {"training.epochs": 2.5, "training.batch_size": 6, "training.repeats": 3}
DROPPED = {"training.epochs": 2.5, "training.drop_last": True}
FLIPPED = {"training.augmentation": ["horizontal_flip"]}


def shown(training, epoch=1):
    return [chosen.tolist() for *_, chosen in training.batches(epoch)]


def flat(batches):
    return [image for batch in batches for image in batch]


def repeated(order, repeats, size=6):
    """Return an epoch's images: in each batch all that are its own, and then all of them again."""
    once = [order[start : start + size // repeats] for start in range(0, len(order), size // repeats)]
    return flat(images * repeats for images in once)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("repeats", [1, 2, 3, 6])
def test_each_image_is_shown_so_often_in_one_batch(repeats, shuffle):
    sets = {"training.batch_size": 6, "training.repeats": repeats, "training.shuffle": shuffle}
    training = make(sets)
    batches = shown(training)
    order = make(sets | {"training.repeats": 1})._order_of(1).tolist() if shuffle else list(range(23))
    assert flat(batches) == repeated(order, repeats)
    assert {batch.count(image) for batch in batches for image in batch} == {repeats}
    assert [len(batch) for batch in batches[:-1]] == [6] * (len(batches) - 1)
    assert len(batches) == training.length.steps_per_epoch == -(-23 * repeats // 6)


def test_no_copy_of_an_image_follows_another():
    for batch in shown(make(REPEATED))[:-1]:  # of the last batch one image may be left
        assert all(one != before for one, before in zip(batch, [batch[-1], *batch[:-1]], strict=True))


def test_copies_of_an_image_that_is_drawn_twice_are_shown_together():
    counts = torch.bincount(torch.tensor(flat(shown(make(REPEATED | {"training.sampling": "balanced"})))))
    assert counts.sum() == 3 * 23
    assert not (counts % 3).any()


def test_what_is_left_after_whole_steps_is_not_shown():
    training = make(DROPPED)
    first, second = shown(training, 1), shown(training, 2)
    assert [len(batch) for batch in first] == [5, 5, 5, 5]
    assert set(flat(first)) != set(flat(second)), "others are left out"
    assert training.length.steps == 10
    assert flat(shown(make(DROPPED | {"training.shuffle": False}))) == list(range(20))
    assert [len(batch) for batch in shown(make(DROPPED | {"training.accumulate": 2}))] == [10, 10]


def by_hand(training, size):
    """Train with torch alone, from the start and on the batches of a training, and flip each copy by itself."""
    data, network = training.dataset.train, training.network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    step = 0
    for epoch in range(1, training.length.epochs + 1):
        generator = streams.generator("cpu", 0, "augmentation", epoch)
        order = torch.randperm(23, generator=streams.generator("cpu", 0, "order", epoch)).tolist()
        copies = repeated(order, training.spec.training.repeats)
        if training.spec.training.drop_last:
            copies = copies[: len(copies) // size * size]
        for start in range(0, len(copies), size):
            if step == training.length.steps:
                return
            chosen = copies[start : start + size]
            pixels = data.images[chosen].double() / 255
            flips = torch.rand(len(chosen), 1, 1, 1, generator=generator) < 0.5
            loss = F.cross_entropy(network(torch.where(flips, pixels.flip(3), pixels) - 0.5), data.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1


@pytest.mark.parametrize(("sets", "size"), [(REPEATED, 6), (DROPPED, 5)], ids=["repeats", "drop_last"])
def test_a_run_is_a_loop_by_hand_in_every_engine(sets, size):
    expected = make(sets | FLIPPED)
    by_hand(expected, size)
    trained = {kind: make(sets | FLIPPED, kind) for kind in (Training, CAPTURED)}
    records = [figures(training.epochs()) for training in trained.values()]
    assert records[0] == records[1]
    for training in trained.values():
        torch.testing.assert_close(weights(training), weights(expected), **EXACT)
    assert gate(small(REGISTRY, sets=sets), DATA, device="cpu", registry=REGISTRY) == ""


def test_an_estimate_is_of_such_steps():
    assert make(REPEATED).estimate() > 0
    assert make(DROPPED).estimate() > 0


def test_copies_that_do_not_fit_a_batch_are_refused():
    with pytest.raises(SpecError, match="repeats = 2 copies of an image stand in one batch, and batch_size = 5 is no"):
        make({"training.repeats": 2})


def test_an_epoch_without_a_whole_step_is_refused():
    with pytest.raises(BuildError) as error:
        make({"training.batch_size": 24, "training.drop_last": True})
    assert str(error.value) == "small: training: drop_last leaves nothing of an epoch of 23 images: a step takes 24"
