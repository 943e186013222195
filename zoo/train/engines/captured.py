"""Training by replaying recorded steps: on CUDA a step is hundreds of launches, and a replay is one.

Steps read all that changes from tensors that stay where they are: the epoch's order of the images, how many are
behind, the learning rates of each step. So one recording serves every step of the run, and several in a row (a chain)
are one recording too. On the CPU nothing is recorded: the same functions are called, which is what the tests compare
with `Training`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import torch
from torch.torch_version import TorchVersion

from zoo.data import Dataset
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.train import streams
from zoo.train.precision import Precision
from zoo.train.run import EpochRecord
from zoo.train.training import Training

CHAIN = 16
"""Steps in one recording."""
WARM_UP = 3
"""Steps of each batch size made before one is recorded: they create the optimizer's state, and libraries begin."""


class CapturedTraining(Training):
    """A training whose steps are recorded once and replayed.

    The first steps are made one by one and count: recording makes none, so that it leaves no trace.

    Args:
        chain: how many steps one replay makes; what is left of an epoch is made by recordings of single steps.
        warm_up: how many steps of a batch size are made before it is recorded.

    The others, and what is raised, are as for `Training`. What cannot be recorded, such as a layer that looks at
    values, is raised by `train_epoch` as torch's RuntimeError.
    """

    def __init__(
        self,
        spec: Spec,
        seed: int,
        dataset: Dataset,
        *,
        device: str,
        registry: Registry,
        precision: Precision = "fp32",
        chain: int = CHAIN,
        warm_up: int = WARM_UP,
    ) -> None:
        super().__init__(spec, seed, dataset, device=device, registry=registry, precision=precision)
        self._chain, self._warm_up = chain, warm_up
        on_cuda = self.device.type == "cuda"
        groups = len(self.optimizer.param_groups)
        self._order = self._order_of(1).to(self.device)
        self._counting = torch.arange(chain * self.length.images_per_step, device=self.device)
        self._images_behind = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._steps_behind = torch.zeros(1, dtype=torch.int64, device=self.device)
        # The CPU's optimizers take a rate as a Python number, which is float64.
        self._rate = self._rate_tensors or [torch.zeros((), dtype=torch.float64) for _ in range(groups)]
        self._rates = torch.zeros(self.length.steps_per_epoch, groups, dtype=self._rate[0].dtype, device=self.device)
        self._total = torch.zeros((), dtype=self._dtype, device=self.device)
        self._augmenting = torch.Generator(self.device)
        self._drawing = streams.Resumed(self.device)
        self._made: Counter[int] = Counter()
        self._frozen: frozenset[int] = frozenset()
        self._recordings: dict[tuple[int, int], Callable[[], None]] = {}
        self._stream = _recordable_stream(self.device) if on_cuda else None
        # One for all recordings, which are never replayed at the same time and leave nothing there for one another.
        self._pool = torch.cuda.graph_pool_handle() if on_cuda else None

    def train_epoch(self, epoch: int) -> float:
        """Train one epoch (from 1) and return the mean loss per image."""
        images, size = self.length.images_of(epoch), self.length.images_per_step
        whole, last = divmod(images, size)
        self.set_mode(training=True)
        with self._on_stream():
            self._begin(epoch)
            first = self.length.first_step(epoch)
            for start, end in self._freezing.stretches(first, self.length.steps_of(epoch)):
                self._turn(start)
                steps = min(end, first + whole) - start
                for _ in range(steps // self._chain):
                    self._advance(size, self._chain)
                for _ in range(steps % self._chain):
                    self._advance(size, 1)
            if last:
                self._advance(last, 1)
            self._freezing.release()
            self.set_mode(training=False)
            return self._total.item() / images

    def _step_seconds(self, augmenting: torch.Generator) -> float:
        """Time a step of a recording, or where an epoch has less than a chain of them, of one that is made."""
        images, size = self.length.images_of(1), self.length.images_per_step
        if images < self._chain * size:
            return super()._step_seconds(augmenting)

        def chain() -> None:
            self._images_behind.zero_()
            self._steps_behind.zero_()
            self._advance(size, self._chain)

        with self._on_stream():
            self._begin(1)
            chain()  # made one by one
            seconds = self._seconds(chain)
            self._record_anew()
        return seconds / self._chain

    def restored(self, records: Sequence[EpochRecord] = ()) -> None:
        """Record anew: the optimizer's state has other tensors than those that were recorded."""
        super().restored(records)
        self._record_anew()

    def _record_anew(self) -> None:
        self._made.clear()
        self._recordings.clear()

    def _on_stream(self) -> AbstractContextManager[object]:
        """Return the context that steps are made in."""
        if self._stream is None:
            return nullcontext()
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        return torch.cuda.stream(self._stream)

    def _begin(self, epoch: int) -> None:
        """Fill the tensors that the steps of an epoch read, and seed the streams that they draw from."""
        if self.spec.training.shuffle:
            self._order.copy_(self._order_of(epoch))
        first, steps = self.length.first_step(epoch), self.length.steps_of(epoch)
        rates = [self.learning_rates(first + step) for step in range(steps)]
        self._rates[:steps].copy_(torch.tensor(rates, dtype=self._rates.dtype))
        for group, rate in zip(self.optimizer.param_groups, self._rate, strict=True):
            group["lr"] = rate
        for tensor in (self._images_behind, self._steps_behind, self._total):
            tensor.zero_()
        self._augmenting.manual_seed(streams.derive(self.seed, "augmentation", epoch))
        self._drawing.begin(self.seed, "dropout", epoch)
        self._begin_epoch(epoch)

    def _turn(self, step: int) -> None:
        """Freeze what is frozen from a step on, and record anew where that is something else than before."""
        self._freezing.apply(step)
        frozen = self._freezing.frozen(step)
        if frozen != self._frozen:
            self._frozen = frozen
            self._record_anew()

    def _advance(self, size: int, steps: int) -> None:
        """Make `steps` steps, each of the next `size` images."""
        work = partial(self._make_steps, size, steps)
        if self._made[size] < self._warm_up:
            self._made[size] += steps
            with self._drawing.current():
                work()
            return
        if (size, steps) not in self._recordings:
            self._recordings[size, steps] = self.record(work)
        self._recordings[size, steps]()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what does the work again on each call; on CUDA a graph's replay, which calls no Python."""
        if self._stream is None:
            return self._drawing.current()(work)
        graph = torch.cuda.CUDAGraph()
        # Meanwhile the device's global generator draws from this run's stream; torch registers that with the graph.
        with self._drawing.current(), _ending_allocation(self._pool, self.device):
            with warnings.catch_warnings(action="ignore"):  # newer torch registers by itself, and says so
                graph.register_generator_state(self._augmenting)
            # In this mode what other threads do at the same time, such as allocating memory, is allowed.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                work()
        replay: Callable[[], None] = graph.replay
        return replay

    def _make_steps(self, size: int, steps: int) -> None:
        """Make steps from what the tensors say, with no value that the host must know."""
        at = self._images_behind + self._counting[: steps * size]
        chosen = self._order.index_select(0, at)
        images = torch.split(self.dataset.train.images.index_select(0, chosen), size)
        labels = torch.split(self.dataset.train.labels.index_select(0, chosen), size)
        indices = torch.split(chosen, size)
        rates = self._rates.index_select(0, self._steps_behind + self._counting[:steps])
        # The backward pass in this thread, for that of several runs at once would share one.
        with torch.autograd.set_multithreading_enabled(False):
            for step in range(steps):
                for index, rate in enumerate(self._rate):
                    rate.copy_(rates[step, index])
                self._total.add_(self.step(images[step], labels[step], self._augmenting, indices[step]) * size)
        self._images_behind.add_(steps * size)
        self._steps_behind.add_(steps)


def _recordable_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream that this thread uses, or another where that is the default one, which cannot be recorded.

    No more are taken than are needed: torch hands out 32 and then the same ones again, and what another thread put on
    a stream that is being recorded would be recorded, too.
    """
    current = torch.cuda.current_stream(device)
    if current != torch.cuda.default_stream(device):
        return current
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def _ending_allocation(pool: Any, device: torch.device) -> Iterator[None]:
    """Where a recording fails, let the device's memory no longer be taken for one that is under way.

    torch does so itself from 2.12 on, and takes a second release for an error that ends the process; before, no memory
    is given back any more by a process in which one has failed.
    """
    try:
        yield
    except BaseException:
        if TorchVersion(torch.__version__) >= "2.12":
            raise
        index = torch.cuda.current_device() if device.index is None else device.index
        for forget in (torch._C._cuda_endAllocateToPool, torch._C._cuda_releasePool):
            with suppress(RuntimeError):  # it was done
                forget(index, pool)
        raise
