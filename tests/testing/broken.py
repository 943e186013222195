"""Variants that are broken on purpose, each in the one way that its first check is there to find.

`BROKEN` says which checks each fails: one, but where a fault cannot be had alone. The factories are registered by a
plugin that the tests install.
"""

from __future__ import annotations

import math
import random
import threading
from itertools import chain
from queue import SimpleQueue
from typing import Annotated, Any, Literal

import attrs
import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

import zoo

PLUGIN = """
import broken
import zoo


@zoo.hookimpl
def zoo_register_activations(register):
    broken.register_all("activation", register)


@zoo.hookimpl
def zoo_register_dropouts(register):
    broken.register_all("dropout", register)


@zoo.hookimpl
def zoo_register_architectures(register):
    broken.register_all("architecture", register)


@zoo.hookimpl
def zoo_register_initializers(register):
    broken.register_all("initializer", register)


@zoo.hookimpl
def zoo_register_gradients(register):
    broken.register_all("gradient", register)


@zoo.hookimpl
def zoo_register_optimizers(register):
    broken.register_all("optimizer", register)


@zoo.hookimpl
def zoo_register_schedules(register):
    broken.register_all("schedule", register)


@zoo.hookimpl
def zoo_register_losses(register):
    broken.register_all("loss", register)


@zoo.hookimpl
def zoo_register_augmentations(register):
    broken.register_all("augmentation", register)


@zoo.hookimpl
def zoo_register_averagings(register):
    broken.register_all("averaging", register)


@zoo.hookimpl
def zoo_register_predictions(register):
    broken.register_all("prediction", register)


@zoo.hookimpl
def zoo_register_datasets(register):
    broken.register_all("dataset", register)


@zoo.hookimpl
def zoo_register_executors(register):
    broken.register_all("executor", register)


@zoo.hookimpl
def zoo_register_specs(register):
    for name, spec in broken.SPECS.items():
        register(name, spec)
"""

BROKEN: list[Any] = []
"""(kind, name, the checks that it must fail)."""
_FACTORIES: list[tuple[str, str, Any]] = []


def breaks(kind: str, *checks: str) -> Any:
    """Register a factory that breaks these checks, and no others."""

    def mark(factory: Any) -> Any:
        # Without checks, it is one that only a slow check finds.
        BROKEN.append((kind, factory.__name__, set(checks)))
        _FACTORIES.append((kind, factory.__name__, factory))
        return factory

    return mark


def register_all(kind: str, register: Any) -> None:
    for of, name, factory in _FACTORIES:
        if of == kind:
            register(name, factory)


class Undocumented(nn.Module):
    """To be taken away."""

    def forward(self, x: Tensor) -> Tensor:
        return x


Undocumented.__doc__ = ""
breaks("activation", "description")(Undocumented)


@breaks("activation", "description")
class DescribedByTorch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


@breaks("activation", "options_read")
class BadDefault(nn.Module):
    """Has a default that its own option does not accept."""

    def __init__(self, *, share: zoo.Probability = 2.0) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


@breaks("activation", "options_usable")
class UnknownChoice(nn.Module):
    """Does not know one of the values that it accepts."""

    def __init__(self, *, form: Literal["hard", "soft"] = "hard") -> None:
        super().__init__()
        self.form = {"hard": 1}[form]

    def forward(self, x: Tensor) -> Tensor:
        return x


@breaks("activation", "builds")
class NoUnits(nn.Module):
    """Cannot stand in the classifier, and raises a TypeError there."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            raise TypeError("maps only")
        return x


@breaks("activation", "builds")
def no_module():
    """Makes a function."""
    return torch.relu


@breaks("activation", "builds")
def two_tensors():
    """Gives two tensors."""
    return _TwoTensors()


class _TwoTensors(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@breaks("activation", "builds")
def refuses_all(shape):
    """Refuses every shape."""
    raise ValueError("not today")


@breaks("activation", "output_shape")
class HalfTheChannels(nn.Module):
    """Loses the last channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :-1]


@breaks("activation", "output_shape")
@zoo.changes_channels
class HalfTheWidth(nn.Module):
    """Loses the last column, where it says that it changes the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :-1]


@breaks("activation", "output_shape", "engines")
@zoo.changes_channels
class FewerInTraining(nn.Module):
    """Loses the last channel in training only."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :-1] if self.training else x


@breaks("activation", "dtypes")
class AtLeastFloat32(nn.Module):
    """Gives float32 for bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float() if x.dtype == torch.bfloat16 else x


@breaks("activation", "finite", "finite_at_extremes", "gradient")
class Logarithm(nn.Module):
    """Is not a number for negative values; a logarithm breaks what meets its inputs."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x)


@breaks("activation", "finite_at_extremes")
class UnitLength(nn.Module):
    """Divides by the length of an image, which may be 0."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return (flat / flat.square().sum(1, keepdim=True).sqrt()).reshape(x.shape)


@breaks("activation", "gradients_reach_all")
class UnusedParameter(nn.Module):
    """Has a parameter that nothing depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


@breaks("activation", "gradient")
class StraightThrough(nn.Module):
    """Rounds, with the gradient of the identity."""

    def forward(self, x: Tensor) -> Tensor:
        return x + (x.round() - x).detach()


@breaks("activation", "evaluation_deterministic")
class AlwaysNoisy(nn.Module):
    """Adds noise in evaluation too."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(x.shape, device=x.device, dtype=x.dtype)


@breaks("activation", "evaluation_frozen")
class CountsCalls(nn.Module):
    """Changes a buffer in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return F.silu(x)


@breaks("dropout", "dropout_off")
class ScalesInEvaluation(nn.Module):
    """Drops in training, and scales in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5) if self.training else x * 0.9


@breaks("activation", "batch_independence")
class CentresTheBatch(nn.Module):
    """Subtracts the mean of the batch in evaluation too."""

    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5 * x.mean(0, keepdim=True)


@breaks("activation", "input_unchanged")
class InPlace(nn.Module):
    """Changes its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(0.5)


@breaks("activation", "deterministic")
class OwnSeed(nn.Module):
    """Starts from numbers that no seed decides."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator()
        generator.seed()
        self.scale = nn.Parameter(1 + torch.rand((), generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@breaks("activation", "own_stream")
class NumpysGenerator(nn.Module):
    """Seeds numpy's global generator and draws from it."""

    def __init__(self) -> None:
        super().__init__()
        np.random.seed(0)
        self.scale = 1 + np.random.rand()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@breaks("activation", "own_stream")
class PythonsGenerator(nn.Module):
    """Draws from Python's generator, and throws the number away."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            random.random()
        return x


@breaks("activation", "own_stream")
class SeedsTheGlobalGenerator(nn.Module):
    """Seeds torch's global generator."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        return x


@breaks("activation", "parameters_counted")
class UnregisteredWeight(nn.Module):
    """Keeps a weight where torch does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = [torch.tensor(1.0, requires_grad=True)]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weights[0]


@breaks("activation", "state_stored")
class UnstoredNumber(nn.Module):
    """Starts from a random number that is no part of its state."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1 + torch.rand(()).item()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _Steps:
    made = 0


@breaks("activation", "state_restored")
class CountsInAnObject(nn.Module):
    """Counts its steps in an object of a class of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = _Steps()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps.made += 1
        return F.silu(x)


@breaks("activation", "state_in_place")
class ReplacedBuffer(nn.Module):
    """Puts a new tensor in the place of its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = self.mean * 0.9 + x.detach().mean() * 0.1
        return x


@breaks("activation", "deep_copied")
class CopiesAreItself(nn.Module):
    """Is its own copy."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale

    def __deepcopy__(self, memo: object) -> CopiesAreItself:
        return self


@breaks("activation", "pickled")
class KeepsALambda(nn.Module):
    """Keeps a lambda."""

    def __init__(self) -> None:
        super().__init__()
        self.function = lambda x: x * 2

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@breaks("activation", "devices")
class PlainTensor(nn.Module):
    """Keeps a tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.two = torch.tensor([2])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.two


@breaks("activation", "autocast")
class RequiresItsType(nn.Module):
    """Refuses that a matrix product has another type than its input."""

    def forward(self, x: Tensor) -> Tensor:
        y = x @ torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        if y.dtype != x.dtype:
            raise TypeError(f"{y.dtype} is not {x.dtype}")
        return y


@breaks("activation", "half")
class TooCoarse(nn.Module):
    """Divides by what float16 cannot hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.full_like(x, 1e-9) * 1e-9


@breaks("activation", "channels_last")
class ReadsMemory(nn.Module):
    """Takes the numbers in the order in which they lie in memory."""

    def forward(self, x: Tensor) -> Tensor:
        strides = torch.empty(x.shape, device="meta").stride()
        return torch.as_strided(x, x.shape, strides) * 2


@breaks("activation", "exported")
class LooksAtValues(nn.Module):
    """Decides by the value of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale if self.scale > 0 else x * 0


@breaks("activation", "engines")
class RemembersTheBatchSize(nn.Module):
    """Cannot take the last batch of an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.size = None

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.size = self.size or len(x)
            if len(x) != self.size:
                raise RuntimeError(f"expected {self.size} images")
        return x


def _dense(input_shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))


@breaks("architecture", "builds")
def refuses_by_another_error(input_shape, classes):
    """Raises what says nothing of the images."""
    if input_shape[1] == 32:
        raise KeyError(input_shape)
    return _dense(input_shape, classes)


@breaks("architecture", "logits")
def one_class_more_in_training(input_shape, classes):
    """Makes other logits in training."""

    class More(nn.Sequential):
        def forward(self, x):
            logits = super().forward(x)
            return F.pad(logits, (0, 1)) if self.training else logits

    return More(*_dense(input_shape, classes))


@breaks("architecture", "deterministic")
def starts_from_no_seed(input_shape, classes):
    """Draws from a generator that no seed decides."""
    network, generator = _dense(input_shape, classes), torch.Generator()
    generator.seed()
    nn.init.normal_(network[1].weight, std=0.01, generator=generator)
    return network


@breaks("architecture", "own_stream")
def starts_from_a_fixed_seed(input_shape, classes):
    """Seeds the global generator."""
    torch.manual_seed(0)
    return _dense(input_shape, classes)


@breaks("architecture", "gradients_reach_all")
def with_a_layer_left_out(input_shape, classes):
    """Has a layer that nothing uses."""
    network = _dense(input_shape, classes)
    network[1].register_module("left", nn.Linear(2, 2))
    return network


@breaks("initializer", "fills_in_place")
def returns_a_new_one(weight):
    """Returns another weight."""
    return torch.zeros_like(weight)


@breaks("initializer", "deterministic")
def from_no_seed(weight):
    """Draws from a generator that no seed decides."""
    generator = torch.Generator()
    generator.seed()
    nn.init.normal_(weight, generator=generator)


@breaks("initializer", "own_stream")
def from_a_fixed_seed(weight):
    """Seeds the global generator."""
    torch.manual_seed(0)
    nn.init.normal_(weight)


@breaks("gradient", "changes_in_place")
def replaces_gradients(parameters):
    """Puts new gradients in the place of those that it is given."""
    for parameter in parameters:
        parameter.grad = parameter.grad / 2


@breaks("gradient", "own_stream")
def seeds_for_gradients(parameters):
    """Seeds the global generator."""
    torch.manual_seed(0)
    for parameter in parameters:
        parameter.grad.mul_(0.5)


@breaks("gradient", "engines")
def one_gradient_only(parameters):
    """Takes at most three parameters."""
    if len(parameters) > 3:
        raise ValueError("there are too many")


@breaks("gradient", "deterministic")
def shakes_gradients(parameters):
    """Draws from a generator of its own."""
    generator = torch.Generator()
    generator.seed()
    for parameter in parameters:
        parameter.grad.mul_(torch.rand((), generator=generator))


@breaks("optimizer", "learning_rate")
def rate_of_another_name(parameters, *, rate: zoo.PositiveFloat = 0.1):
    """Calls its learning rate something else."""
    return optim.SGD(parameters, lr=rate)


@breaks("optimizer")
def of_another(parameters, make, *, inner: Annotated[zoo.Choice, zoo.Kind("optimizer")] = zoo.chosen("sgd")):
    """Another optimizer, with that one's learning rate."""
    return make(inner)


@breaks("optimizer", "groups_kept")
def one_group(parameters, *, learning_rate: zoo.PositiveFloat = 0.1):
    """Descend, with all parameters in one group."""
    parameters = [p for part in parameters for p in (part["params"] if isinstance(part, dict) else [part])]
    return torch.optim.SGD(parameters, lr=learning_rate)


@breaks("optimizer", "lowers_loss")
def uphill(parameters, *, learning_rate: zoo.PositiveFloat = 0.01):
    """Goes uphill."""
    return optim.SGD(parameters, lr=learning_rate, maximize=True)


class _Forgetful(optim.SGD):
    def state_dict(self):
        state = super().state_dict()
        state["state"] = {}
        return state


@breaks("optimizer", "state_stored")
def forgetful(parameters, *, learning_rate: zoo.PositiveFloat = 0.01):
    """Does not store its momentum."""
    return _Forgetful(parameters, lr=learning_rate, momentum=0.9)


class _Counting(optim.SGD):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr)
        self.steps = _Steps()

    def step(self, closure=None):
        super().step()
        self.steps.made += 1


@breaks("optimizer", "state_restored")
def counts_in_an_object(parameters, *, learning_rate: zoo.PositiveFloat = 0.01):
    """Counts its steps in an object of a class of its own."""
    return _Counting(parameters, lr=learning_rate)


class _Shaken(optim.SGD):
    def step(self, closure=None):
        super().step()
        generator = torch.Generator()
        generator.seed()
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.mul_(1 - 1e-3 * torch.rand((), generator=generator))


@breaks("optimizer", "deterministic", "state_stored", "groups_kept")
def shaken(parameters, *, learning_rate: zoo.PositiveFloat = 0.01):
    """Steps by chance; two runs of it cannot be compared."""
    return _Shaken(parameters, lr=learning_rate)


@breaks("optimizer", "own_stream")
def seeds(parameters, *, learning_rate: zoo.PositiveFloat = 0.01):
    """Seeds the global generator."""
    torch.manual_seed(0)
    return optim.SGD(parameters, lr=learning_rate)


@breaks("optimizer", "engines", "groups_kept")
def small_networks_only(parameters, *, learning_rate: zoo.PositiveFloat = 0.01):
    """Takes one parameter only."""
    (parameter,) = parameters
    return optim.SGD([parameter], lr=learning_rate)


@breaks("schedule", "factors")
def below_zero(progress: float):
    """Becomes negative."""
    return 0.5 - progress


class _Calls:
    count = 0


@breaks("schedule", "memoryless")
def counts_calls():
    """Depends on how often it was asked."""
    _Calls.count += 1
    return 1.0 / _Calls.count


@breaks("schedule", "own_stream")
def draws(progress: float):
    """Draws a number that it does not need."""
    torch.rand(())
    return 1.0


@breaks("loss", "finite_scalar")
def naive(logits, labels):
    """Takes the logarithm of a softmax; in float32 that overflows for large logits."""
    return -logits.exp().div(logits.exp().sum(1, keepdim=True)).gather(1, labels[:, None]).log().mean()


@breaks("loss", "prefers_true_class")
def reversed_sign(logits, labels):
    """Has the wrong sign, and is bounded."""
    return -F.cross_entropy(logits.softmax(1), labels)


@breaks("loss", "mean_over_batch")
def summed(logits, labels):
    """Sums over the batch."""
    return F.cross_entropy(logits, labels, reduction="sum")


@breaks("loss", "gradient")
def wrong_gradient(logits, labels):
    """Has twice the gradient of cross-entropy."""
    loss = F.cross_entropy(logits, labels)
    return 2 * loss - loss.detach()


@breaks("loss", "input_unchanged")
def shifts(logits, labels):
    """Shifts the logits in place, which does not change cross-entropy."""
    loss = F.cross_entropy(logits, labels)
    with torch.no_grad():
        logits.add_(1)
    return loss


@breaks("loss", "deterministic", "mean_over_batch", "soft_labels", "gradient")
def noisy(logits, labels):
    """Adds noise of its own, which spoils every comparison."""
    generator = torch.Generator()
    generator.seed()
    return F.cross_entropy(logits, labels) + 0.1 * torch.rand((), generator=generator)


@breaks("loss", "own_stream")
def draws_too(logits, labels):
    """Draws a number that it does not need."""
    torch.rand(())
    return F.cross_entropy(logits, labels)


@breaks("loss", "soft_labels")
def argmax_of_shares(logits, labels):
    """Takes shares of classes for logits of its own."""
    return F.cross_entropy(logits, labels if labels.dim() == 1 else labels.softmax(1))


@breaks("augmentation", "form_kept")
def more_than_all(images, labels):
    """Makes labels whose shares do not sum to 1."""
    return images, labels * 2


@breaks("augmentation", "form_kept")
def brighter(images):
    """Leaves the range of pixels."""
    return images * 2


@breaks("augmentation", "views_given")
def one_view(images, *, views: zoo.PositiveInt = 1):
    """Gives one view, however many are asked for."""
    return images


@breaks("augmentation", "input_unchanged")
def darkens(images):
    """Changes its images in place."""
    return images.mul_(0.5)


@breaks("augmentation", "deterministic")
def shades(images):
    """Draws from a generator of its own."""
    generator = torch.Generator()
    generator.seed()
    return images * torch.rand(len(images), 1, 1, 1, generator=generator)


@breaks("augmentation", "own_stream")
def shades_globally(images):
    """Draws from the global generator."""
    return images * torch.rand(len(images), 1, 1, 1, dtype=images.dtype)


@breaks("averaging", "averages_in_place")
def halves(average, weights):
    """Makes half of the weights of them."""
    for mean, own in zip(average, weights, strict=True):
        mean.copy_(own / 2)


@breaks("averaging", "averages_in_place", "deterministic")
def shakes(average, weights):
    """Draws from a generator of its own."""
    generator = torch.Generator()
    generator.seed()
    for mean, own in zip(average, weights, strict=True):
        mean.copy_(own + torch.rand(own.shape, generator=generator))


@breaks("averaging", "own_stream")
def draws_for_nothing(average, weights):
    """Draws a number that it does not need."""
    torch.rand(())
    for mean, own in zip(average, weights, strict=True):
        mean.lerp_(own, 0.5)


@breaks("augmentation")
def two_views(images, *, views: zoo.PositiveInt = 2):
    """Gives two views where nothing is said of it."""
    return images if views == 1 else torch.stack([images, *(images.flip(3) for _ in range(views - 1))])


@breaks("prediction")
def mean_probability(forward, images):
    """The logarithm of the mean probability of two views."""
    return ((forward(images).softmax(1) + forward(images.flip(3)).softmax(1)) / 2).log()


@breaks("prediction", "predicts_each_image")
def twice(forward, images):
    """Adds the logits of two views, and does not take their mean."""
    return forward(images) + forward(images.flip(3))


@breaks("prediction", "input_unchanged")
def blackens(forward, images):
    """Changes its images in place, after it has asked."""
    logits = forward(images)
    images.zero_()
    return logits


@breaks("prediction", "deterministic", "predicts_each_image")
def guesses(forward, images):
    """Adds numbers from a generator of its own."""
    generator = torch.Generator()
    generator.seed()
    logits = forward(images)
    return logits + torch.rand(logits.shape, generator=generator)


@breaks("prediction", "own_stream")
def draws_while_asking(forward, images):
    """Draws a number that it does not need."""
    torch.rand(())
    return forward(images)


class Memory:
    """A small data set in memory, to be broken."""

    title = "memory"
    shape = (1, 4, 4)
    class_count = 2

    def missing(self) -> str | None:
        return None

    def get(self, report: Any) -> None:
        pass

    def fingerprint(self) -> str:
        return "memory"

    def decode(self, resize: int | None = None) -> zoo.Arrays:
        images, labels = np.zeros((4, 1, 4, 4), np.uint8), np.array([0, 1, 0, 1])
        return zoo.Arrays(images, labels, images, labels, ("a", "b"))


class _Untitled(Memory):
    title = ""


class _Unsteady(Memory):
    def fingerprint(self) -> str:
        return str(id(self)) + str(random.Random().random())


class _FloatImages(Memory):
    def decode(self, resize: int | None = None) -> zoo.Arrays:
        images, labels = np.zeros((4, 1, 4, 4), np.float32), np.array([0, 1, 0, 1])
        return zoo.Arrays(images, labels, images, labels, ("a", "b"))


class _Coloured(Memory):
    shape = (3, 4, 4)


@breaks("dataset", "offers_source")
def untitled():
    """Has no title."""
    return _Untitled()


@breaks("dataset", "fingerprint_steady")
def unsteady():
    """Has a new fingerprint each time."""
    return _Unsteady()


@breaks("dataset", "decodes")
def float_images():
    """Decodes to float images."""
    return _FloatImages()


@breaks("dataset", "described")
def coloured():
    """States colour images, and has grey ones."""
    return _Coloured()


def _here(work):
    from zoo.execution.here import here

    return here(work)


@breaks("executor", "events_in_order")
def ends_twice(work):
    """Says twice that a run has ended."""
    for event in _here(work):
        yield event
        if isinstance(event, zoo.Ended):
            yield event


@breaks("executor", "figures_equal")
def rounds(work):
    """Rounds what it is told."""
    for event in _here(work):
        if isinstance(event, zoo.EpochFinished):
            event = zoo.EpochFinished(event.run, attrs.evolve(event.record, loss=round(event.record.loss, 6)))
        yield event


@breaks("executor", "failures_told")
def optimistic(work):
    """Calls every run finished, and leaves out why it is not."""
    for event in _here(work):
        yield zoo.Ended(attrs.evolve(event.run, reason="")) if isinstance(event, zoo.Ended) else event


@breaks("executor", "pulls_lazily")
def greedy(work):
    """Takes all runs at once."""
    yield from _here(attrs.evolve(work, runs=iter(list(work.runs))))


@breaks("executor", "names_kept")
def plain_letters(work):
    """Knows no letters but those of ASCII."""
    for event in _here(work):
        yield attrs.evolve(event, run=attrs.evolve(event.run, name=event.run.name.encode("ascii", "replace").decode()))


@breaks("executor", "without_runs")
def sure_of_a_run(work):
    """Takes it that there is a run."""
    first = [next(work.runs)]
    yield from _here(attrs.evolve(work, runs=chain(first, work.runs)))


@breaks("executor", "stops_when_closed")
def lingers(work):
    """Leaves its thread training when it is closed."""
    for run in work.runs:
        told = SimpleQueue()
        yield zoo.Started(run)
        training = zoo.execute(run, work.registry, work.devices[0], work.checkpoints, engine=work.engine)
        threading.Thread(target=lambda told=told, all_=training: list(map(told.put, all_)), daemon=True).start()
        while not isinstance(outcome := told.get(), zoo.Run):
            yield zoo.EpochFinished(run, outcome)
        yield zoo.Ended(outcome)


@breaks("executor")
def gives_up(work):
    """Lets a run fail with the first process that dies."""
    from zoo.execution.processes import processes

    given_up = set()
    for event in processes(work):
        if isinstance(event, zoo.Lost):
            given_up.add(event.run.key)
            yield zoo.Ended(attrs.evolve(event.run, status="failed", reason=event.reason))
        elif event.run.key not in given_up:
            yield event


SPECS = {
    "broken/unresolved": {"base": "starter/default", "set": {"activation": "no_such_activation"}},
    "broken/silent": {"base": "starter/default", "description": "", "set": {"training.epochs": 1}},
    "broken/too_deep": {
        "base": "starter/default",
        "description": "more poolings than the images have room for",
        "set": {"network.features.*.pooling": {"name": "max", "size": 8}},
    },
}
BROKEN += [
    ("spec", "broken/unresolved", {"resolves"}),
    ("spec", "broken/silent", {"described_in_words"}),
    ("spec", "broken/too_deep", {"network_builds"}),
]
