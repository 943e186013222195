"""Checks of architectures: what they make of images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from zoo.testing.check import FailedError, SkippedError, require
from zoo.testing.randomness import foreign_untouched
from zoo.testing.subject import CLASSES, VariantSubject, applied, attempt, same
from zoo.train import streams

_SHAPES = ((3, 32, 32), (1, 8, 8), (3, 224, 224))
_COUNT = 2


def builds(subject: VariantSubject) -> None:
    """For each of several sizes of image it is built and run, or refused with a ValueError; one is accepted.

    Why: only of a ValueError is it known that the images are at fault.

    Mend: raise `ValueError("what does not fit")` in the factory for images that the network cannot take.
    """
    found = {shape: error for shape, _, error in _tried(subject)}
    for shape, error in found.items():
        # torch raises a RuntimeError for sizes that do not match.
        if error is not None and not isinstance(error, ValueError | RuntimeError):
            raise FailedError(f"{_at(shape)} it raised {type(error).__name__}: {error}") from error
    require(None in found.values(), "it takes none of the images tried")


def logits(subject: VariantSubject) -> None:
    """It makes one tensor (batch, classes) of a batch of images, in training as in evaluation.

    Why: that is what the loss and every figure are computed from.

    Mend: return the logits only; leave auxiliary outputs out (`aux_logits=False`).
    """
    shape, network = _accepted(subject)
    for training in (True, False):
        network.train(training)
        made = attempt(lambda: applied(network, _images(shape)), _at(shape))
        require(isinstance(made, Tensor), f"{_at(shape)} its forward returned {type(made).__name__}, not one tensor")
        wanted = (_COUNT, CLASSES)
        require(tuple(made.shape) == wanted, f"{_at(shape)} it made {tuple(made.shape)}, and not {wanted}")


def deterministic(subject: VariantSubject) -> None:
    """Built with the same seed twice, it starts with the same weights.

    Why: a run could not be repeated.

    Mend: draw starting weights from torch's global generator only.
    """
    shape, first = _accepted(subject)
    second = _made(subject, shape)
    for (name, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        same(other, one, f"the second time {name}", rtol=0, atol=0)


def own_stream(subject: VariantSubject) -> None:
    """It draws from torch's global generator only, and never seeds it.

    Why: other generators are no part of a run's seed; one that is seeded makes every run start alike.

    Mend: leave `torch.manual_seed` and generators of numpy and Python out of the factory.
    """
    shape, _ = _accepted(subject)
    states = []
    with foreign_untouched("in building"):
        for seed in (0, 1):
            with streams.seeded(seed, "check"):
                subject.make(input_shape=shape, classes=CLASSES, load=None)
                states.append(torch.get_rng_state())
    require(not torch.equal(*states), "it seeded torch's global generator")


def gradients_reach_all(subject: VariantSubject) -> None:
    """A gradient reaches each of its parameters in training.

    Why: what gets none is never trained, and is counted among the parameters all the same.

    Mend: use each layer in `forward`, and register no others.
    """
    shape, network = _accepted(subject)
    made = applied(network.train(), _images(shape))
    if not isinstance(made, Tensor):
        raise SkippedError("its forward returned no tensor; see logits")
    made.square().sum().backward()  # type: ignore[no-untyped-call]
    without = [name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    require(not without, f"{_at(shape)} none reaches {', '.join(without)}")


def _tried(subject: VariantSubject) -> Iterator[tuple[tuple[int, int, int], nn.Module | None, Exception | None]]:
    """Yield each shape with the network for it, or what building and running it raised, up to the first accepted."""
    for shape in _SHAPES:
        try:
            network = _made(subject, shape)
            with torch.no_grad():
                applied(network.eval(), _images(shape))
        except (SkippedError, FailedError):
            raise
        except Exception as error:
            yield shape, None, error
        else:
            yield shape, network, None
            return


def _accepted(subject: VariantSubject) -> tuple[tuple[int, int, int], nn.Module]:
    for shape, network, _ in _tried(subject):
        if network is not None:
            return shape, network
    raise SkippedError("it could be built and run for no images; see builds")


def _made(subject: VariantSubject, shape: tuple[int, int, int]) -> nn.Module:
    with streams.seeded(0, "check"):
        made = subject.make(input_shape=shape, classes=CLASSES, load=None)
    if not isinstance(made, nn.Module):
        raise FailedError(f"its factory returned {made!r}, which is no torch.nn.Module")
    return made


def _images(shape: tuple[int, int, int]) -> Tensor:
    return torch.randn(_COUNT, *shape, generator=torch.Generator().manual_seed(1))


def _at(shape: tuple[int, int, int]) -> str:
    return "at " + "x".join(map(str, shape))
