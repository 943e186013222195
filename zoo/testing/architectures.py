"""Checks of architectures: what they make of images."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.network.layers import Shape
from zoo.testing.check import FailedError, SkippedError, require
from zoo.testing.randomness import foreign_untouched
from zoo.testing.subject import CLASSES, ArchitectureSubject, applied, attempt, same
from zoo.train import streams


def builds(subject: ArchitectureSubject) -> None:
    """For each of several sizes of image it is built and run, or refused with a ValueError; one is accepted.

    Why: only of a ValueError is it known that the images are at fault.

    Mend: raise `ValueError("what does not fit")` in the factory for images that the network cannot take.
    """
    for shape, error in subject.tried.items():
        # torch raises a RuntimeError for sizes that do not match.
        if error is not None and not isinstance(error, ValueError | RuntimeError):
            raise FailedError(f"{_at(shape)} it raised {type(error).__name__}: {error}") from error
    require(None in subject.tried.values(), "it takes none of the images tried")


def logits(subject: ArchitectureSubject) -> None:
    """It makes one tensor (batch, classes) of a batch of images, in training as in evaluation.

    Why: that is what the loss and every figure are computed from.

    Mend: return the logits only; leave auxiliary outputs out (`aux_logits=False`).
    """
    shape = subject.accepted
    network = subject.network(shape)
    for training in (True, False):
        network.train(training)
        made = attempt(lambda: applied(network, subject.images(shape)), _at(shape))
        require(isinstance(made, Tensor), f"{_at(shape)} its forward returned {type(made).__name__}, not one tensor")
        wanted = (2, CLASSES)
        require(tuple(made.shape) == wanted, f"{_at(shape)} it made {tuple(made.shape)}, and not {wanted}")


def deterministic(subject: ArchitectureSubject) -> None:
    """Built with the same seed twice, it starts with the same weights.

    Why: a run could not be repeated.

    Mend: draw starting weights from torch's global generator only.
    """
    first, second = subject.network(subject.accepted), subject.network(subject.accepted)
    for (name, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        same(other, one, f"the second time {name}", rtol=0, atol=0)


def own_stream(subject: ArchitectureSubject) -> None:
    """It draws from torch's global generator only, and never seeds it.

    Why: other generators are no part of a run's seed; one that is seeded makes every run start alike.

    Mend: leave `torch.manual_seed` and generators of numpy and Python out of the factory.
    """
    shape = subject.accepted
    states = []
    with foreign_untouched("in building"):
        for seed in (0, 1):
            with streams.seeded(seed, "check"):
                subject.make(input_shape=shape, classes=CLASSES, load=None)
                states.append(torch.get_rng_state())
    require(not torch.equal(*states), "it seeded torch's global generator")


def gradients_reach_all(subject: ArchitectureSubject) -> None:
    """A gradient reaches each of its parameters in training.

    Why: what gets none is never trained, and is counted among the parameters all the same.

    Mend: use each layer in `forward`, and register no others.
    """
    shape = subject.accepted
    network = subject.network(shape)
    made = applied(network.train(), subject.images(shape))
    if not isinstance(made, Tensor):
        raise SkippedError("its forward returned no tensor; see logits")
    made.square().sum().backward()  # type: ignore[no-untyped-call]
    without = [name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    require(not without, f"{_at(shape)} none reaches {', '.join(without)}")


def _at(shape: Shape) -> str:
    return "at " + "x".join(map(str, shape))
