"""Times compared side by side: the ratios are right, and chance is not taken for a difference."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import PLUGIN, small

from zoo import torch_settings
from zoo.errors import BuildError, DataError, PluginError, ZooError
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.timing import BLOCKS, FEWEST, WARM_UP, Timings, cycle, measure, ratio_interval
from zoo.train.training import Training

NAPS = '''
import time

import zoo
from zoo.registry.options import NonNegativeFloat


@zoo.hookimpl
def zoo_register_activations(register):
    register("naps", naps)


def naps(*, training: NonNegativeFloat = 0.0, evaluation: NonNegativeFloat = 0.0):
    """Sleeps so many milliseconds in each forward pass."""
    from torch import nn

    class Naps(nn.Module):
        def forward(self, x):
            time.sleep((training if self.training else evaluation) / 1000)
            return x

    return Naps()
'''


@pytest.fixture(scope="module")
def napping(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry with small images, and a layer that takes as long as one likes."""
    file = tmp_path_factory.mktemp("plugin") / "naps.py"
    file.write_text(NAPS, encoding="utf-8")
    return Registry(files=[PLUGIN, file]).require_sound()


def naps(registry: Registry, name: str, **milliseconds: float) -> Spec:
    return small(registry, name, {"network.classifier.0.activation": {"name": "naps", **milliseconds}})


def measured(registry: Registry, *specs: Spec, rounds: int = FEWEST) -> Timings:
    return measure(specs, registry=registry, device="cpu", rounds=rounds)


# The interval.


def disturbed(generator: np.random.Generator, rounds: int, after: float) -> npt.NDArray[np.float64]:
    """Draw disturbances of which each round keeps the share `after` of the one before."""
    draws = generator.normal(0, 0.05, rounds)
    for index in range(1, rounds):
        draws[index] += after * draws[index - 1]
    return draws


def a_measurement(
    generator: np.random.Generator, specs: int, cycles: int, *, ratio: float = 1.0, fixed: bool = False
) -> npt.NDArray[np.float64]:
    """Make up logarithms of times: (specs, blocks, rounds). All take equally long but for the last, `ratio` times.

    Whoever is first in a round takes 20% longer, whoever comes after the second of several 5%; a network is some
    percent slower or faster where it lies in memory, for a block; disturbances last some rounds, and some are large.
    """
    shuffler = random.Random(int(generator.integers(2**31)))
    taken = np.zeros((specs, BLOCKS, cycles * specs))
    for block in range(BLOCKS):
        orders = [order for number in range(cycles) for order in cycle(specs, number, shuffler)]
        if fixed:
            orders = [list(range(specs))] * len(orders)
        own = generator.normal(0, 0.01, specs) if not fixed else np.zeros(specs)
        common = disturbed(generator, len(orders), 0.8)
        for round_, order in enumerate(orders):
            for place, index in enumerate(order):
                after = 0.05 * (order[place - 1] == 1 < specs - 1) if place else 0.2
                large = generator.exponential(0.5) if generator.random() < 0.02 else 0.0
                taken[index, block, round_] = own[index] + common[round_] + after + large + generator.normal(0, 0.02)
    taken[-1] += math.log(ratio)
    return np.exp(taken)


@pytest.mark.parametrize("ratio", [1.0, 1.1])
@pytest.mark.parametrize(("specs", "cycles"), [(6, 2), (5, 2), (2, 5)])
def test_the_interval_holds_the_true_ratio_as_often_as_it_says(specs: int, cycles: int, ratio: float) -> None:
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        taken = a_measurement(generator, specs, cycles, ratio=ratio)
        _, low, high = ratio_interval(taken[-1].tolist(), taken[0].tolist())
        inside += low <= ratio <= high
    assert 0.92 <= inside / 300 <= 0.985, inside


def test_a_fixed_order_would_take_chance_for_a_difference() -> None:
    taken = a_measurement(np.random.default_rng(0), 6, 2, fixed=True)
    ratio, _, high = ratio_interval(taken[-1].tolist(), taken[0].tolist())
    assert ratio == pytest.approx(math.exp(-0.2), rel=0.05)
    assert high < 1, "the first is slower for being first"


@given(st.integers(1, 12), st.integers(0, 3))
def test_in_a_cycle_each_has_each_place_once_and_comes_after_each_other_as_often(specs: int, number: int) -> None:
    """With an odd number of contestants it takes two cycles (Williams, 1949)."""
    shuffler = random.Random(number)
    orders = cycle(specs, number, shuffler)
    for place in range(specs):
        assert sorted(order[place] for order in orders) == list(range(specs))
    if specs % 2:
        orders += cycle(specs, number + 1, shuffler)
    after = Counter(pair for order in orders for pair in itertools.pairwise(order))
    assert len(after) == specs * (specs - 1)
    assert set(after.values()) <= {1 + specs % 2}


def test_what_slows_both_down_alike_leaves_the_ratio() -> None:
    slow = np.random.default_rng(0).uniform(1, 50, (10, 6))
    assert ratio_interval((2 * slow).tolist(), slow.tolist()) == pytest.approx((2, 2, 2))


# Times of networks.


def test_ratios_are_those_of_the_work(napping: Registry) -> None:
    specs = [
        naps(napping, "quick", training=4.0, evaluation=2.0),
        naps(napping, "slow", training=12.0, evaluation=2.0),
        naps(napping, "slow evaluation", training=4.0, evaluation=8.0),
    ]
    quick, slow, slow_evaluation = measured(napping, *specs).specs
    assert [t.spec for t in (quick, slow, slow_evaluation)] == [spec.name for spec in specs]
    assert (quick.training.ratio, quick.evaluation.low) == (None, None), "the reference has nothing to be compared with"
    assert quick.training.milliseconds >= 4
    assert slow.training.milliseconds >= 12
    for pace, theirs, extra in (
        (slow.training, quick.training, 8.0),
        (slow_evaluation.evaluation, quick.evaluation, 6.0),
    ):
        assert pace.ratio is not None
        assert pace.low is not None
        assert pace.high is not None
        # The network itself takes both of them equally long.
        assert pace.ratio == pytest.approx(1 + extra / theirs.milliseconds, rel=0.4)
        assert 1.2 < pace.low <= pace.ratio <= pace.high < 4.5
        assert pace.differs
        assert pace.milliseconds - theirs.milliseconds > extra / 2
    # Five images in a batch, and all thirteen test images at once.
    assert slow.training.images_per_second == pytest.approx(5000 / slow.training.milliseconds)
    assert slow.evaluation.images_per_second == pytest.approx(13000 / slow.evaluation.milliseconds)


def test_a_network_does_not_differ_from_itself(napping: Registry) -> None:
    one = small(napping, "one")
    seen = [
        getattr(measured(napping, one, attrs.evolve(one, name="two")).specs[1], kind).differs
        for _ in range(3)
        for kind in ("training", "evaluation")
    ]
    # Of 6 intervals 0.3 leave 1 out by chance; more than 3 do with probability 0.0001.
    assert sum(seen) <= 3, seen


def test_ratios_are_of_the_time_for_one_image(napping: Registry) -> None:
    one = naps(napping, "one", training=5.0)
    two = attrs.evolve(small(napping, "two", {"training.batch_size": 10}), network=one.network)
    _, both = measured(napping, one, two).specs
    assert both.training.ratio is not None
    assert 0.4 < both.training.ratio < 0.75, "a step of twice as many images takes about as long"


def test_one_spec_has_times_and_no_ratio(napping: Registry) -> None:
    (only,) = measured(napping, small(napping)).specs
    assert only.training.milliseconds > 0
    assert only.training.ratio is None
    assert not only.training.differs


def test_batches_that_are_not_whole_are_left_out(napping: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = set()
    original = Training.step

    def step(self: Training, images: torch.Tensor, *others: Any) -> object:
        sizes.add(len(images))
        return original(self, images, *others)

    monkeypatch.setattr(Training, "step", step)
    measured(napping, small(napping))
    assert sizes == {5}, "27 images in batches of 5 leave two"
    sizes.clear()
    measured(napping, small(napping, sets={"training.batch_size": 100}))
    assert sizes == {27}, "fewer images than a batch holds are one batch"


def test_rounds_and_seconds(napping: Registry) -> None:
    assert measured(napping, small(napping), rounds=45).rounds == 50, "made up to whole blocks"
    assert measured(napping, *(small(napping, name) for name in "abc")).rounds == 60, "cycles of three in ten blocks"
    short = measure([small(napping)], registry=napping, device="cpu", seconds=0.001)
    assert short.rounds == FEWEST
    longer = measure([naps(napping, "naps", training=1.0)], registry=napping, device="cpu", seconds=2)
    assert FEWEST < longer.rounds <= 2000


def test_networks_are_built_anew_and_who_is_first_comes_after_the_same_work(
    napping: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[tuple[str, int]] = []
    for name in ("step", "predict"):
        original = getattr(Training, name)

        def noted(self: Training, *args: object, name: str = name, original: Callable = original) -> object:
            work.append((name, id(self.network)))
            return original(self, *args)

        monkeypatch.setattr(Training, name, noted)
    timings = measured(napping, small(napping, "one"), small(napping, "two"))
    assert timings.rounds == FEWEST
    rounds = [work[start : start + 6] for start in range(0, len(work), 6)]
    assert len(rounds) == FEWEST + BLOCKS * WARM_UP
    for round_ in rounds:
        assert [name for name, _ in round_] == ["step"] * 3 + ["predict"] * 3
        (_, untimed), (_, first), (_, last) = round_[:3]
        assert untimed == last != first


def test_a_measurement_draws_from_a_stream_of_its_own(napping: Registry) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    measured(napping, small(napping, sets={"network.classifier.0.dropout": "dropout"}))
    assert torch.equal(torch.rand(1), expected)


def test_torch_is_left_as_it_was(napping: Registry) -> None:
    with torch_settings.kept():
        torch.set_num_threads(2)
        torch.backends.cudnn.allow_tf32 = True
        before = torch_settings.values()
        measured(napping, small(napping))
        assert torch_settings.changed(before) == []


@pytest.mark.parametrize(("average", "busy"), [(0.1, False), (3.9, True), (None, False)])
def test_a_busy_machine_is_noticed(
    napping: Registry, monkeypatch: pytest.MonkeyPatch, average: float | None, busy: bool
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    if average is None:
        monkeypatch.delattr("os.getloadavg")
    else:
        monkeypatch.setattr("os.getloadavg", lambda: (average, 9.0, 9.0))
    found = measured(napping, small(napping))
    assert found.load == (None if average is None else average / 4)
    assert found.busy is busy


# What cannot be timed.


def test_what_cannot_be_compared_is_one_error(napping: Registry, registry: Registry) -> None:
    spec = small(napping)
    with pytest.raises(ZooError, match=r"^there is no spec to time$"):
        measured(napping)
    with pytest.raises(ZooError, match=r"^two of the specs to be timed have one name; give each a name of its own$"):
        measured(napping, spec, spec)
    other = small(napping, "other", {"data.dataset": "digits"})
    with pytest.raises(ZooError) as caught:
        measured(napping, spec, other)
    assert str(caught.value) == (
        "times are compared on one data set, and these specs are for digits and squares; say data='squares'"
    )
    with pytest.raises(
        ZooError, match=r"^there must be at least 40 rounds, got 39: fewer give no interval to rely on$"
    ):
        measured(napping, spec, rounds=39)
    with pytest.raises(DataError, match=r"^the data set absent is not at hand: nobody has them$"):
        measured(napping, small(napping, sets={"data.dataset": "absent"}))
    with pytest.raises(BuildError, match="does not fit its input of 3x6x6"):
        measured(napping, small(napping, sets={"network.features.0.pooling.size": 7}))


@pytest.mark.parametrize(("name", "raised"), [("raises", "KeyError: 'no such\\nkey'"), ("exits", "SystemExit: 3")])
def test_a_layer_that_raises_is_one_error(napping: Registry, name: str, raised: str) -> None:
    spec = small(napping, sets={"network.classifier.0.activation": name})
    with pytest.raises(PluginError) as caught:
        measured(napping, spec)
    assert str(caught.value) == f"small: it cannot be trained: a layer raised {raised}"
