"""Runtime compared honestly: steps of several specs in turn, in one process, and ratios of those made side by side.

What slows a machine down for a while slows all specs down alike, and leaves the ratios within one round as they are.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count

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
from zoo.train.execute import dataset
from zoo.train.machine import make_deterministic, provenance
from zoo.train.precision import Precision, set_policy
from zoo.train.training import EVALUATION_BATCH, Training

WARM_UP = 5
"""Rounds that are not counted, in which memory is allocated and kernels are chosen."""
BLOCKS = 20
"""How many blocks the rounds are put in for an interval; Schmeiser finds no use for more than 30."""
FEWEST = 2 * BLOCKS
"""Rounds that are made at least, however short the time."""
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
    """How long training and evaluation take a spec."""

    spec: str
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
        rounds: how many were counted.
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

    In each round every spec makes one step on its next batch, then evaluates one batch of test images, in an order that
    is shuffled anew. Times are taken with the device synchronized, on a CPU with one thread, as runs are trained.

    Args:
        specs: what to time, on one data set; the first is the reference.
        registry: where variants are looked up.
        device: such as "cpu", "cuda:0" or "mps".
        precision: of all of them.
        rounds: how many are counted, at least `FEWEST`.
        seconds: go on for this long instead, but for `FEWEST` rounds at least.

    Raises:
        DataError: the data set is not at hand or cannot be read.
        BuildError: a network does not fit the data.
        PluginError: a layer raised while it was trained or evaluated.
        ZooError: the specs are not on one data set, two have one name, or there are too few rounds.
    """
    _check(specs, rounds)
    before = load()
    make_deterministic(device)
    set_policy(precision)
    contestants = [_Contestant(spec, registry, device, precision) for spec in specs]
    shuffler = random.Random(0)
    with streams.seeded(0, "timing", device=device):
        for _ in range(WARM_UP):
            _round(contestants, shuffler)
        for contestant in contestants:
            contestant.steps.clear()
            contestant.evaluations.clear()
        start, counted = time.perf_counter(), 0
        while counted < rounds if seconds is None else counted < FEWEST or time.perf_counter() - start < seconds:
            _round(contestants, shuffler)
            counted += 1
    reference = contestants[0]
    timings = [
        Timing(
            spec=own.spec.name,
            training=_pace(own.steps, own.batch, None if own is reference else (reference.steps, reference.batch)),
            evaluation=_pace(
                own.evaluations,
                own.evaluated,
                None if own is reference else (reference.evaluations, reference.evaluated),
            ),
        )
        for own in contestants
    ]
    return Timings(
        specs=tuple(timings),
        dataset=specs[0].data.dataset,
        device_name=provenance(device)["device_name"],
        precision=precision,
        rounds=counted,
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
        self.spec, self._device = spec, device
        data = dataset(spec, registry, device)
        self._training = Training(spec, 0, data, device=device, registry=registry, precision=precision)
        self._augmenting = streams.generator(device, 0, "timing", "augmentation")
        self.batch = min(spec.training.batch_size, len(data.train))
        self._batches = _whole_batches(self._training, self.batch)
        self._images = data.test.images[: EVALUATION_BATCH[torch.device(device).type]]
        self.evaluated = len(self._images)
        self.steps: list[float] = []
        self.evaluations: list[float] = []

    def step(self) -> None:
        """Make a training step, from the choice of its images on."""
        self._training.network.train()
        self.steps.append(self._seconds(lambda: self._training.step(*next(self._batches), self._augmenting), "trained"))

    def evaluate(self) -> None:
        """Evaluate one batch of test images."""
        self.evaluations.append(self._seconds(lambda: self._training.predict(self._images), "evaluated"))

    def _seconds(self, work: Callable[[], object], doing: str) -> float:
        _synchronize(self._device)
        start = time.perf_counter()
        try:
            work()
            _synchronize(self._device)
        except (ZooError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self.spec.name}: it cannot be {doing}: a layer raised {one_line(error)}") from error
        return time.perf_counter() - start


def _whole_batches(training: Training, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of all epochs, without those at the end of an epoch that are smaller."""
    for epoch in count(1):
        yield from (batch for batch in training.batches(epoch) if len(batch[1]) == size)


def _round(contestants: Sequence[_Contestant], shuffler: random.Random) -> None:
    for work in (_Contestant.step, _Contestant.evaluate):
        for contestant in shuffler.sample(contestants, len(contestants)):
            work(contestant)


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def _pace(seconds: Sequence[float], images: int, reference: tuple[Sequence[float], int] | None) -> Pace:
    median = float(np.median(seconds))
    pace = Pace(milliseconds=median * 1000, images_per_second=images / median)
    if reference is None:
        return pace
    theirs, their_images = reference
    ratio, low, high = ratio_interval([s / images for s in seconds], [s / their_images for s in theirs])
    return attrs.evolve(pace, ratio=ratio, low=low, high=high)


def ratio_interval(times: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean of the ratios of paired times, and its 95% interval.

    The interval is Student's t interval of the means of the logarithms over `BLOCKS` successive blocks of equally many
    pairs (batch means: Conway, 1963, Some tactical problems in digital simulation; number of blocks: Schmeiser, 1982,
    Batch size effects in the analysis of simulation output). Pairs that follow each other are not independent, since
    what disturbs one often disturbs the next; means of blocks nearly are. Pairs at the beginning that fill no block are
    left out.

    Args:
        times: above 0, at least `FEWEST`.
        reference: as many.
    """
    logarithms = np.log(np.asarray(times)) - np.log(np.asarray(reference))
    size = len(logarithms) // BLOCKS
    blocks = logarithms[-size * BLOCKS :].reshape(BLOCKS, size).mean(axis=1)
    mean, half = mean_interval(blocks.tolist())
    assert half is not None
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)
