"""Runtime compared honestly: steps of several specs in turn, in one process, and ratios of those made side by side.

What slows a machine down for a while slows all specs down alike, and leaves the ratios within one round as they are.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from zoo.errors import PluginError, ZooError, option
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.statistics.intervals import mean_interval
from zoo.train import streams
from zoo.train.engines.gate import one_line
from zoo.train.evaluating import evaluated_at_once
from zoo.train.execute import dataset, in_order
from zoo.train.machine import on_device, provenance
from zoo.train.precision import Precision
from zoo.train.training import Training

BLOCKS = 10
"""How often all networks are built anew. More narrow an interval little; fewer than ten widen it."""
WARM_UP = 2
"""Rounds of a block that are not counted, in which memory is allocated and kernels are chosen."""
FEWEST = 40
"""Rounds that are made at least, however short the time."""
Blocks = Sequence[Sequence[float]]
"""Seconds, by block."""
BUSY = 0.5
"""Load average for each core above which times say more about the machine than about the network."""


@attrs.frozen(kw_only=True)
class Pace:
    """How long one kind of work takes a spec.

    Attributes:
        milliseconds: median over the rounds, of one step or of one evaluated batch.
        images_per_second: images of a step over that median.
        ratio: of the time for one image to the reference's; None for the reference itself.
        low, high: its 95% interval.
    """

    milliseconds: float
    images_per_second: float
    ratio: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out 1: no other difference is one that was seen."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high


@attrs.frozen(kw_only=True)
class Timing:
    """How long training and evaluation take a spec.

    Attributes:
        spec: its name.
        identity: of the spec, as in a run's key.
        training, evaluation: of a step, and of a batch of test images.
    """

    spec: str
    identity: str
    training: Pace
    evaluation: Pace


@attrs.frozen(kw_only=True, repr=False)
class Timings:
    """What was measured; the first spec is the reference. `str(timings)` is the table that `zoo time` prints.

    Attributes:
        specs: in the order asked for.
        dataset: the name of the data set.
        device_name: the model of the device.
        precision: of all of them.
        rounds: how many were counted; as many as asked for, made up to whole cycles in each block.
        load: of each core before, as `load` returns it.
    """

    specs: tuple[Timing, ...]
    dataset: str
    device_name: str
    precision: Precision
    rounds: int
    load: float | None

    @property
    def busy(self) -> bool:
        """Whether other work took so much of the machine that times do not hold; ratios do."""
        return self.load is not None and self.load > BUSY

    def __repr__(self) -> str:
        return f"Timings({', '.join(timing.spec for timing in self.specs)}; {self.rounds} rounds)"

    def __str__(self) -> str:
        return self._shown("simple")

    def _repr_markdown_(self) -> str:
        return self._shown("github")

    def _repr_html_(self) -> str:
        return self._shown("html")

    def _shown(self, format_: str) -> str:
        from zoo.report.markup import lines
        from zoo.report.times import remarks, render

        below = lines(remarks(self), format_)
        return "\n".join([render(self, format_=format_), *(["", *below] if below else [])])


def load() -> float | None:
    """Return the load average of the last minute for each core; None where the system has none."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else None


def measure(
    specs: Sequence[Spec],
    *,
    registry: Registry,
    device: str,
    precision: Precision = "fp32",
    rounds: int = 200,
    seconds: float | None = None,
) -> Timings:
    """Time steps of training and batches of evaluation of several specs, side by side.

    In each round every spec makes one step on its next batch, then evaluates one batch of test images, in the orders of
    `cycle`. Before both, the one that comes last does the same work without being timed, so that whoever is first comes
    after the same kind of work as all others. The network that was built first was up to a percent slower than copies
    of it, whatever the order of the rounds; why is not known. So all are built anew for each of `BLOCKS` blocks, in an
    order that is drawn anew.
    Times are taken with the device synchronized, on a CPU with one thread, as runs are trained.

    Args:
        specs: what to time, on one data set; the first is the reference.
        registry: where variants are looked up.
        device: such as "cpu", "cuda:0" or "mps".
        precision: of all of them.
        rounds: how many are counted, at least `FEWEST`; made up to whole cycles in each block.
        seconds: go on for this long instead, but for `FEWEST` rounds at least.

    Raises:
        DataError: the data set is not at hand or cannot be read.
        BuildError: a network does not fit the data.
        PluginError: a layer raised while it was trained or evaluated.
        ZooError: the specs are not on one data set, two have one name, or there are too few rounds.
    """
    _check(specs, rounds)
    before = load()
    shuffler = random.Random(0)
    least = -(-(FEWEST if seconds is not None else rounds) // (BLOCKS * len(specs)))
    steps: list[list[list[float]]] = [[] for _ in specs]
    evaluations: list[list[list[float]]] = [[] for _ in specs]
    with on_device(device), in_order(device, precision):
        for _ in range(BLOCKS):
            contestants = _built(specs, registry, device, precision, shuffler)
            _block(contestants, shuffler, cycles=least, seconds=(seconds or 0.0) / BLOCKS)
            for index, contestant in enumerate(contestants):
                steps[index].append(contestant.steps)
                evaluations[index].append(contestant.evaluations)
    timings = [
        Timing(
            spec=own.spec.name,
            identity=own.spec.identity,
            training=_pace(steps[index], own.batch, (steps[0], contestants[0].batch) if index else None),
            evaluation=_pace(
                evaluations[index], own.evaluated, (evaluations[0], contestants[0].evaluated) if index else None
            ),
        )
        for index, own in enumerate(contestants)
    ]
    return Timings(
        specs=tuple(timings),
        dataset=specs[0].data.dataset,
        device_name=provenance(device)["device_name"],
        precision=precision,
        rounds=sum(map(len, steps[0])),
        load=before,
    )


def _check(specs: Sequence[Spec], rounds: int) -> None:
    names = [spec.name for spec in specs]
    datasets = sorted({spec.data.dataset for spec in specs})
    if not specs:
        raise ZooError("there is no spec to time")
    if len(set(names)) < len(names):
        raise ZooError("two of the specs to be timed have one name; give each a name of its own")
    if len(datasets) > 1:
        raise ZooError(
            f"times are compared on one data set, and these specs are for {' and '.join(datasets)}; "
            f"say {option('data', specs[0].data.dataset)}"
        )
    if rounds < FEWEST:
        raise ZooError(f"there must be at least {FEWEST} rounds, got {rounds}: fewer give no interval to rely on")


class _Contestant:
    """A spec in training, and the seconds that each of its steps and evaluated batches took."""

    def __init__(self, spec: Spec, registry: Registry, device: str, precision: Precision) -> None:
        self.spec, self.device = spec, device
        data = dataset(spec, registry, device)
        self._training = Training(spec, 0, data, device=device, registry=registry, precision=precision)
        self._augmenting = streams.generator(device, 0, "timing", "augmentation")
        self.batch = min(spec.training.images_per_step, self._training.length.images)
        self._batches = _whole_batches(self._training, self.batch)
        self._images = data.test.images[: evaluated_at_once(torch.device(device), data.test.images)]
        self.evaluated = len(self._images)
        self.steps: list[float] = []
        self.evaluations: list[float] = []

    def step(self) -> None:
        """Make a training step, from the choice of its images on."""
        self._training.set_mode(training=True)
        self.steps.append(self._seconds(self._step, "trained"))

    def _step(self) -> None:
        images, labels, indices = next(self._batches)
        self._training.step(images, labels, self._augmenting, indices)

    def evaluate(self) -> None:
        """Evaluate one batch of test images."""
        self._training.set_mode(training=False)
        self.evaluations.append(self._seconds(lambda: self._training.predict(self._images), "evaluated"))

    def _seconds(self, work: Callable[[], object], doing: str) -> float:
        _synchronize(self.device)
        start = time.perf_counter()
        try:
            work()
            _synchronize(self.device)
        except (ZooError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self.spec.name}: it cannot be {doing}: a layer raised {one_line(error)}") from error
        return time.perf_counter() - start


def _whole_batches(training: Training, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield batches of all epochs again and again, without those at the end of an epoch that are smaller."""
    for epoch in itertools.cycle(range(1, training.length.epochs + 1)):
        yield from (batch for batch in training.batches(epoch) if len(batch[1]) == size)


def cycle(contestants: int, number: int, shuffler: random.Random) -> list[list[int]]:
    """Return the orders of a cycle of rounds, as many as there are contestants.

    In a cycle each contestant is once in each place. Over a cycle, or two where their number is odd, it comes equally
    often after each of the others (Williams, 1949, Experimental designs balanced for the estimation of residual effects
    of treatments). So neither who is first nor who is before whom can favour any of them, as drawing lots can.

    Args:
        contestants: how many there are.
        number: of the cycle, from 0; with an odd number of contestants every other one is reversed.
        shuffler: draws in which order the rounds are made, so that nothing that recurs meets the same round each time.
    """
    zigzag = [step // 2 if step % 2 == 0 else contestants - 1 - step // 2 for step in range(contestants)]
    orders = [[(place + first) % contestants for place in zigzag] for first in range(contestants)]
    if contestants % 2 and number % 2:
        orders = [order[::-1] for order in orders]
    return shuffler.sample(orders, contestants)


def _built(
    specs: Sequence[Spec], registry: Registry, device: str, precision: Precision, shuffler: random.Random
) -> list[_Contestant]:
    """Return the contestants, built in an order that is drawn."""
    order = shuffler.sample(range(len(specs)), len(specs))
    built = {index: _Contestant(specs[index], registry, device, precision) for index in order}
    return [built[index] for index in range(len(specs))]


def _block(contestants: Sequence[_Contestant], shuffler: random.Random, *, cycles: int, seconds: float) -> None:
    """Make rounds of so many cycles at least, for so many seconds at least."""
    with streams.seeded(0, "timing", device=contestants[0].device):
        for _ in range(WARM_UP):
            _round(contestants)
        for contestant in contestants:
            contestant.steps.clear()
            contestant.evaluations.clear()
        start, number = time.perf_counter(), 0
        while number < cycles or time.perf_counter() - start < seconds:
            for order in cycle(len(contestants), number, shuffler):
                _round([contestants[index] for index in order])
            number += 1


def _round(contestants: Sequence[_Contestant]) -> None:
    """Have each contestant make a step, then each evaluate, in this order, after an untimed go of the last."""
    last = contestants[-1]
    last.step()
    last.steps.pop()
    for contestant in contestants:
        contestant.step()
    last.evaluate()
    last.evaluations.pop()
    for contestant in contestants:
        contestant.evaluate()


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def _pace(blocks: Blocks, images: int, reference: tuple[Blocks, int] | None) -> Pace:
    median = float(np.median(np.concatenate(blocks)))
    pace = Pace(milliseconds=median * 1000, images_per_second=images / median)
    if reference is None:
        return pace
    theirs, their_images = reference
    scale = their_images / images
    ratio, low, high = (scale * bound for bound in ratio_interval(blocks, theirs))
    return attrs.evolve(pace, ratio=ratio, low=low, high=high)


def ratio_interval(times: Blocks, reference: Blocks) -> tuple[float, float, float]:
    """Return the geometric mean of the ratios of paired times, and its 95% interval.

    The interval is Student's t interval of the means of the logarithms over blocks (batch means: Conway, 1963, Some
    tactical problems in digital simulation; number of blocks: Schmeiser, 1982, Batch size effects in the analysis of
    simulation output). Pairs that follow each other are not independent, since what disturbs one often disturbs the
    next, and what was built once is as fast as it was built. Means of blocks nearly are, where each is of whole cycles
    and of networks that were built anew.

    Args:
        times: above 0, at least two blocks.
        reference: as many in each block.
    """
    logarithms = [np.log(own).mean() - np.log(theirs).mean() for own, theirs in zip(times, reference, strict=True)]
    mean, half = mean_interval(logarithms)
    assert half is not None
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)
