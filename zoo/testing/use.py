"""Checks of a variant in use: which engines train a network with it, whether that goes on, how fast a layer is."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import torch
from torch import Tensor, nn

from zoo.data import Dataset, Split
from zoo.errors import BuildError, UnknownNameError
from zoo.testing.check import FailedError, SkippedError, raised, require
from zoo.testing.state import looks_at_values, tried_on
from zoo.testing.subject import CLASSES, LAYERS, Case, LayerSubject, VariantSubject, applied
from zoo.testing.trial_runs import threads_kept
from zoo.timing import BLOCKS, FEWEST, cycle, ratio_interval
from zoo.train.checkpoint import restore, save
from zoo.train.engines.gate import gate
from zoo.train.machine import make_deterministic
from zoo.train.run import EpochRecord
from zoo.train.state import UnsavableError
from zoo.train.training import Training

BASELINES = {
    "activation": "relu",
    "normalization": "batch",
    "dropout": "dropout",
    "filter": "conv",
    "pooling": "max",
    "block": "plain",
}
"""The variant of each kind that others are compared with."""
_EPOCHS = 4
_IMAGES, _SHAPE = 16, (16, 16, 16)
_WARM_UP = 2


def engines(subject: VariantSubject) -> str:
    """A small network with it is trained step by step; and it is said whether steps can be recorded, too.

    Why: on an NVIDIA GPU recorded steps are several times as fast; what cannot be recorded is trained step by step.

    Mend: read what was raised; it happened in a network of one block, with a last batch smaller than the others. To be
    recorded, a layer must not look at values (`if`, `.item()`) and must update its state in place.
    """
    spec = subject.network_spec()
    cases = subject.cases if isinstance(subject, LayerSubject) else ()
    device = _device()
    try:
        why_not = gate(spec, _images(device, subject), device=device, registry=subject.registry)
    except BuildError as error:
        if subject.kind in (*LAYERS, "architecture", "augmentation"):  # which may refuse such images
            raise SkippedError(f"no network was built with it: {error}") from error
        raise FailedError(str(error)) from error
    if not why_not and cases:
        why_not = _why_not_recorded(cases[0])
    if why_not:
        return f"sequential; not captured: {why_not}"
    return "sequential and captured" + ("" if device == "cuda" else " (compared on the CPU, where nothing is recorded)")


def _why_not_recorded(case: Case) -> str:
    """Return why a GPU could not record the layer's steps, as far as a device without values can tell."""
    error = tried_on(case, True, "meta")
    if error is None:
        return ""
    if looks_at_values(error):
        return "it looks at values, which recorded steps cannot"
    return "it does not run on another device; see devices"


def state_restored(subject: VariantSubject) -> None:
    """A training with it that is saved after two of four epochs, and restored, ends bit for bit as one in one go.

    Why: a run that is killed goes on from its checkpoint, and a finished one from the state that was kept; what cannot
    be restored has neither.

    Mend: keep what training changes in parameters, in buffers, in an optimizer's `state` and groups, or in attributes
    that are numbers, texts, tensors, or lists, tuples and dicts of them: not in objects of a class of your own, in
    generators, in variables of a closure or of a module.
    """
    spec = subject.network_spec()
    spec = attrs.evolve(spec, training=attrs.evolve(spec.training, epochs=_EPOCHS))
    device = _device()
    images = _images(device, subject)

    def training() -> Training:
        return Training(spec, 0, images, device=device, registry=subject.registry)

    with TemporaryDirectory() as folder, threads_kept():
        make_deterministic(device)
        file = Path(folder, "state.safetensors")
        records = []
        try:
            whole = training()
            for record in whole.epochs():
                records.append(record)
                if record.epoch == _EPOCHS // 2:
                    save(file, whole, records)
            expected = _ending(whole, records)
        except UnsavableError as error:
            raise FailedError(str(error)) from error
        except Exception as error:
            raise SkippedError(f"no network was trained with it; see engines ({raised(error)})") from error
        resumed = training()
        behind = restore(file, resumed)
        require(len(behind) == _EPOCHS // 2, "what was saved could not be restored")
        found = _ending(resumed, [*behind, *resumed.epochs(first=len(behind) + 1)])
        if found != expected:
            again = training()
            if _ending(again, list(again.epochs())) != expected:
                raise SkippedError("two trainings in one go differ already; see deterministic")
    require(found == expected, "the losses, the predictions or the network are others at the end")


def _ending(training: Training, records: Sequence[EpochRecord]) -> list[object]:
    """Return all that came of a training but the times, so that equal is equal bit for bit."""
    tensors = {**dict(training.network.named_parameters()), **dict(training.network.named_buffers())}
    numbers = [value.detach().cpu().numpy().tobytes() for value in tensors.values()]
    return [*numbers, *((record.epoch, record.loss, record.evaluations) for record in records)]


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _images(device: str, subject: VariantSubject) -> Dataset:
    """Return 20 random images in each part, so that batches of 8 leave one of 4."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, *subject.image_shape), generator=generator, dtype=torch.uint8).to(device)
    split = Split(images, (torch.arange(20) % CLASSES).to(device))
    names = tuple(map(str, range(CLASSES)))
    return Dataset("check", "check", names, split, split, split, "", (), False)


def speed(layer: LayerSubject) -> str:
    """It is said how long a training step of the layer takes, as a multiple of its kind's usual variant.

    Why: a layer that helps a little and takes twice as long may not be worth it.

    Mend: nothing; this is a fact, and it is measured on this machine.
    """
    baseline = BASELINES[layer.kind]
    if layer.name == baseline:
        raise SkippedError("it is itself the one that its kind is compared with")
    try:
        other = LayerSubject(layer.registry.variant(layer.kind, baseline), layer.registry)
    except UnknownNameError as error:
        raise SkippedError(f"what its kind is compared with, {baseline}, is not registered") from error
    usual = Case(layer, _SHAPE)
    case = usual if layer.cases and usual.try_out() is None else layer.cases[-1]
    shuffler = random.Random(0)
    blocks: tuple[list[list[float]], list[list[float]]] = ([], [])
    for _ in range(BLOCKS):
        own, reference = (attrs.evolve(case, layer=subject).build() for subject in (layer, other))
        x = case.batch(count=_IMAGES)
        for module in _WARM_UP * (own, reference):
            _seconds(module, x)
        for times in blocks:
            times.append([])
        for number in range(FEWEST // BLOCKS // 2):
            for order in cycle(2, number, shuffler):
                for index in order:
                    blocks[index][-1].append(_seconds((own, reference)[index], x))
    ratio, low, high = ratio_interval(*blocks)
    where = "" if case == usual else f" ({case})"
    return f"{ratio:.2f} [{low:.2f}, {high:.2f}] times as long as {baseline}, forward and backward{where}"


def _seconds(module: nn.Module, x: Tensor) -> float:
    given = x.clone().requires_grad_()
    start = time.perf_counter()
    applied(module, given.clone()).sum().backward()
    return time.perf_counter() - start
