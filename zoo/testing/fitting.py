"""Checks of what takes part in training besides layers: initializers, optimizers, schedules, losses, augmentations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from zoo.registry.options import Choice
from zoo.testing.check import SkippedError, raised, require
from zoo.testing.gradients import require_gradient
from zoo.testing.randomness import foreign_untouched
from zoo.testing.subject import (
    CLASSES,
    VariantSubject,
    attempt,
    for_augmentation,
    for_initializer,
    for_loss,
    same,
    same_but_rounding,
    supplied,
)
from zoo.train import streams
from zoo.train.augmenting import VIEWS
from zoo.train.optimizing import asks_for_closure, backward, set_mode

_WEIGHTS = ((16, 8), (16, 8, 3, 3), (8, 1, 1, 1))
_PROGRESS = [step / 100 for step in range(101)]
_IN_PLACE = ("initializer", "gradient")
"""The kinds that change what they are given, with draws from torch's global generator."""
_IMAGES = ((8, 3, 32, 32), (8, 1, 28, 28))


def fills_in_place(subject: VariantSubject) -> None:
    """It fills the weight that it is given, of two to four dimensions, with finite numbers, and returns nothing.

    One that asks for `images` does so when there are none, and when there are.

    Why: zoo hands over the weight itself; what is returned is thrown away.

    Mend: use torch's functions that end in an underscore (`nn.init.normal_(weight)`), and mind weights with a single
    column.
    """
    for shape, images in itertools.product(_WEIGHTS, (False, True) if "images" in subject.variant.given else (True,)):
        channels, size = shape[1], shape[2:]
        module = nn.Conv2d(channels, shape[0], size[0]) if size else nn.Linear(channels, shape[0])
        weight = module.weight
        place = weight.data_ptr()
        given = for_initializer(module, (channels, 6, 6) if size else (channels,))
        with streams.seeded(0, "check"), torch.no_grad():
            weight.copy_(torch.linspace(-1, 1, math.prod(shape)).reshape(shape))
            result = subject.make(**{**given, "images": given["images"] if images else None})
        require(result is None or result is weight, f"for {shape} it returned a {type(result).__name__}")
        require(weight.shape == shape and weight.data_ptr() == place, f"for {shape} the weight was replaced")
        require(bool(weight.isfinite().all()), f"for {shape} the weight is not finite")


def deterministic(subject: VariantSubject) -> None:
    """Given the same numbers and the same seed twice, it makes the same of them.

    Why: a run could not be repeated.

    Mend: draw random numbers from what is supplied only: torch's global generator in an initializer or a change of
    gradients, `generator` in an augmentation, none elsewhere.
    """
    first, second = _result(subject, seed=0), _result(subject, seed=0)
    for one, other in zip(first, second, strict=True):
        same(one, other, "the second time", rtol=0, atol=0)


def own_stream(subject: VariantSubject) -> None:
    """It draws from the generator that its kind supplies only, and never seeds torch's global one.

    Why: other generators are not part of a run's seed; one that is seeded repeats its numbers in every step.

    Mend: pass `generator=generator` to each random function in an augmentation; in an initializer or a change of
    gradients use torch's random functions without one; elsewhere draw nothing.
    """
    states = []
    with foreign_untouched("in use"):
        for seed in (1, 2):
            before = torch.get_rng_state()
            try:
                torch.manual_seed(seed)
                given = torch.get_rng_state()
                _make(subject)
                after = torch.get_rng_state()
            finally:
                torch.set_rng_state(before)
            states.append(after)
            drew = not torch.equal(after, given)
            require(subject.kind in _IN_PLACE or not drew, "it drew from torch's global generator, or seeded it")
    require(not torch.equal(*states), "it seeded torch's global generator")


def _make(subject: VariantSubject) -> Any:
    with torch.set_grad_enabled(subject.kind not in _IN_PLACE):
        return subject.make(**supplied(subject.kind))


def _result(subject: VariantSubject, *, seed: int) -> list[Tensor]:
    """Let the variant do its work, and return the tensors that came of it."""
    given = supplied(subject.kind)
    with streams.seeded(seed, "check"), torch.set_grad_enabled(subject.kind not in _IN_PLACE):
        made = subject.make(**given)
        if subject.kind == "optimizer":
            _descend(made, given["parameters"], 3)
            return [weight.detach() for weight in given["parameters"]]
    if subject.kind == "gradient":
        return [parameter.grad for parameter in given["parameters"]]
    if subject.kind == "initializer":
        return [given["weight"]]
    if subject.kind == "averaging":
        return [*given["average"], *given["weights"]]
    return [torch.as_tensor(each).detach() for each in (made if isinstance(made, tuple) else (made,))]


def learning_rate(subject: VariantSubject) -> None:
    """An optimizer has the option `learning_rate`, to which the "lr" of each of its groups is in proportion.

    One that chooses another optimizer may leave it to that.

    Why: the schedule sets `group["lr"]` in every step, and studies vary `training.optimizer.learning_rate`.

    Mend: `def mine(parameters, *, learning_rate: zoo.PositiveFloat = 0.01)`, and pass it on as `lr`.
    """
    found = []
    for rate in (0.125, 0.25):
        optimizer = subject.make(_with_rate(subject, rate), **supplied("optimizer"))
        require(isinstance(optimizer, torch.optim.Optimizer), f"the factory returned {optimizer!r}")
        found.append([group.get("lr") for group in optimizer.param_groups])
    rates = f'with learning_rate = 0.125 the groups have "lr" {found[0]}, and with 0.25 they have {found[1]}'
    require(all(isinstance(rate, float) and rate > 0 for rate in found[0]), rates)
    require([2 * rate for rate in found[0]] == found[1], rates)


def _with_rate(subject: VariantSubject, rate: float) -> dict[str, Any]:
    """Return the options of an optimizer with a learning rate, or those of one that it chooses."""
    if "learning_rate" in attrs.fields_dict(subject.variant.options):
        return subject.options(learning_rate=rate)
    chosen = [(name, value) for name, value in subject.options().items() if isinstance(value, Choice)]
    inner = [(name, value.name) for name, value in chosen if value.kind == "optimizer"]
    require(bool(inner), "there is no such option")
    name, default = inner[0]
    return subject.options(**{name: {"name": default, "learning_rate": rate}})


def lowers_loss(subject: VariantSubject) -> None:
    """Thirty steps of an optimizer lower the loss of a quadratic.

    Why: what cannot do that trains no network.

    Mend: look at the sign of the step, and at a default learning rate that is too large.
    """
    weight = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = _optimizer(subject, [weight])
    losses = _descend(optimizer, [weight], 30)
    require(losses[-1] < losses[0], f"it went from {losses[0]:g} to {losses[-1]:g}")


def state_stored(subject: VariantSubject) -> None:
    """An optimizer that is given another's `state_dict` goes on as the other would have.

    Why: a run that is stopped goes on from there.

    Mend: keep what the steps depend on in `self.state[parameter]` and in the groups.
    """
    whole, parted = (nn.Parameter(torch.tensor([3.0, -2.0])) for _ in range(2))
    with streams.seeded(0, "check"):
        undisturbed = _optimizer(subject, [whole])
        _descend(undisturbed, [whole], 3)
        _descend(undisturbed, [whole], 3)
        before = _optimizer(subject, [parted])
        _descend(before, [parted], 3)
        after = _optimizer(subject, [parted])
        after.load_state_dict(before.state_dict())
        _descend(after, [parted], 3)
    same(parted.detach(), whole.detach(), "three steps, and three after a reload", rtol=0, atol=0)


def groups_kept(subject: VariantSubject) -> None:
    """An optimizer that is given groups of parameters keeps them apart, and each follows a learning rate of its own.

    Why: a spec may have groups (`training.groups`), to which zoo gives learning rates and weight decays of their own;
    `parameters` is then torch's list of dictionaries, `[{"params": [...]}, ...]`.

    Mend: pass `parameters` on to torch's `Optimizer` as they are; where you look at each, look into
    `group["params"]`, and where you part them, do so within each group.
    """
    weights = [nn.Parameter(torch.full((4, 3), number)) for number in (3.0, 2.0, 1.0)]
    given = [{"params": weights[:2]}, {"params": weights[2:]}]
    optimizer = attempt(lambda: _optimizer(subject, weights, given=given), "given two groups of parameters")
    of = {id(weight): index for index, part in enumerate(given) for weight in part["params"]}
    for group in optimizer.param_groups:
        require(len({of[id(weight)] for weight in group["params"]}) == 1, "it put the groups together")
        group["lr"] *= of[id(group["params"][0])]
    before = [weight.detach().clone() for weight in weights]
    _descend(optimizer, weights, 2)
    same_as = [torch.equal(weight, old) for weight, old in zip(weights, before, strict=True)]
    require(all(same_as[:2]), "with a learning rate of 0 in the first group, its parameters have changed")
    require(not same_as[2], "the parameter of the second group has not changed, whose learning rate was left")


def _optimizer(subject: VariantSubject, weights: list[nn.Parameter], *, given: Any = None) -> torch.optim.Optimizer:
    """Make an optimizer of some weights, which a network has."""
    optimizer: torch.optim.Optimizer = subject.make(
        **{**supplied("optimizer"), "network": nn.ParameterList(weights), "parameters": given or weights}
    )
    return optimizer


def _descend(optimizer: torch.optim.Optimizer, weights: Sequence[Tensor], steps: int) -> list[float]:
    """Make steps on a quadratic as training makes them; return the loss before each."""
    losses: list[float] = []

    def gradients(*, create_graph: bool = False) -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = torch.stack([weight.square().sum() for weight in weights]).sum()
            backward(loss, weights, create_graph=create_graph)
        found.append(loss.item())
        return loss.detach()

    set_mode(optimizer, training=True)
    for _ in range(steps):
        found: list[float] = []
        if asks_for_closure(optimizer):
            optimizer.step(gradients)  # type: ignore[arg-type]
            require(bool(found), "its step asks for a closure, and did not call it")
        else:
            gradients()
            optimizer.step()
        losses.append(found[0])
    set_mode(optimizer, training=False)
    return losses


def changes_in_place(subject: VariantSubject) -> None:
    """It changes the gradients that it is given in place, to finite numbers, leaves all else, and returns nothing.

    Why: the optimizer reads each parameter's own gradient; what is returned is thrown away.

    Mend: use torch's functions that end in an underscore (`parameter.grad.mul_(0.5)`), and leave the parameters as
    they are.
    """
    given, before = supplied("gradient"), supplied("gradient")
    places = [parameter.grad.data_ptr() for parameter in given["parameters"]]
    with streams.seeded(0, "check"), torch.no_grad():
        result = subject.make(**given)
    require(result is None, f"it returned a {type(result).__name__}")
    for name, place, now, old in zip(given["names"], places, given["parameters"], before["parameters"], strict=True):
        require(now.grad is not None and now.grad.data_ptr() == place, f"the gradient of {name} was replaced")
        require(now.grad.shape == old.grad.shape, f"the gradient of {name} has another shape")
        require(bool(now.grad.isfinite().all()), f"the gradient of {name} is not finite")
        require(torch.equal(now, old), f"{name} itself was changed")


def factors(subject: VariantSubject) -> None:
    """From progress 0 to 1 a schedule gives finite Python floats of 0 or more, and not only 0.

    Why: they multiply the learning rate; a negative one climbs.

    Mend: return `float(...)`, and mind the ends: progress is exactly 0 in the first step, and may be exactly 1.
    """
    given = [
        (progress, subject.make(progress=progress, validation=past, steps=100)) for progress, past in _given_schedules()
    ]
    for progress, factor in given:
        require(isinstance(factor, float), f"at {progress} it is {factor!r}, of the type {type(factor).__name__}")
        require(math.isfinite(factor) and factor >= 0, f"at {progress} it is {factor}")
    require(any(factor > 0 for _, factor in given), "it is 0 throughout: nothing would be learned")


def memoryless(subject: VariantSubject) -> None:
    """A schedule's factor depends on what it is given only, not on what it was asked before.

    Why: a run that goes on, and an engine that asks for the rates of an epoch at once, must come to the same rates.

    Mend: compute the factor from `progress` or `validation` and the options; keep no count of calls.
    """
    given = _given_schedules()
    forwards = [subject.make(progress=progress, validation=past, steps=100) for progress, past in given]
    backwards = [subject.make(progress=progress, validation=past, steps=100) for progress, past in reversed(given)]
    for (progress, _), one, other in zip(given, forwards, reversed(backwards), strict=True):
        require(one == other, f"at {progress} it is {one}, and {other} when asked for in another order")


def _given_schedules() -> list[tuple[float, tuple[float, ...]]]:
    """Return progress and recalls of a run whose recall rises, stays and falls."""
    recalls = [min(0.9, 0.2 + 0.02 * epoch) if epoch < 60 else 0.5 for epoch in range(len(_PROGRESS))]
    return [(progress, tuple(recalls[:epoch])) for epoch, progress in enumerate(_PROGRESS)]


def finite_scalar(subject: VariantSubject) -> None:
    """A loss is one finite number with a finite gradient, for logits of 0, of usual and of large (10^4) size.

    Why: one step with a gradient that is not a number destroys the network.

    Mend: use `log_softmax`, not the logarithm of a softmax; return the mean over the batch.
    """
    for scale in (0.0, 1.0, 1e4):
        given = supplied("loss")
        logits = (given["logits"].detach() * scale).requires_grad_()
        loss = subject.make(**for_loss(logits.clone(), given["labels"], given["class_sizes"]))
        require(isinstance(loss, Tensor) and loss.shape == (), f"it is {loss!r}")
        require(bool(loss.isfinite()), f"for logits of size {scale:g} it is {loss.item()}")
        loss.backward()
        require(bool(logits.grad.isfinite().all()), f"for logits of size {scale:g} the gradient is not finite")


def prefers_true_class(subject: VariantSubject) -> None:
    """A loss is lower for logits that favour the true classes than for logits that favour others.

    Why: training would learn the wrong answers.

    Mend: look at the sign, and at what the labels index.
    """
    labels = torch.arange(CLASSES)
    right = torch.eye(CLASSES) * 3
    sizes = torch.ones(CLASSES)
    good, bad = (subject.make(**for_loss(logits, labels, sizes)).item() for logits in (right, right.roll(1, 1)))
    require(good < bad, f"it is {good:g} for right logits and {bad:g} for wrong ones")


def mean_over_batch(subject: VariantSubject) -> None:
    """A loss is a mean over the batch: the batch twice has the same loss.

    Why: the learning rate would depend on the batch size, and the loss that is shown would not be that of an image.

    Mend: `mean()` over the images, not `sum()`.
    """
    given = supplied("loss")
    once = subject.make(**given)
    twice = subject.make(**for_loss(given["logits"].repeat(2, 1), given["labels"].repeat(2), given["class_sizes"]))
    same(twice, once, "the batch twice")


def gradient(subject: VariantSubject) -> None:
    """The gradient of a loss is that of finite differences, within the precision that the loss computes in.

    Why: with a wrong gradient training goes somewhere else.

    Mend: leave the gradient to autograd, or mend the `backward` of your `torch.autograd.Function`.
    """
    given = supplied("loss")
    generator = torch.Generator().manual_seed(1)
    count = len(given["labels"])
    logits = [torch.randn(count, CLASSES, generator=generator, dtype=torch.float64) for _ in range(3)]
    require_gradient(
        lambda x: subject.make(**for_loss(x.clone(), given["labels"], given["class_sizes"])),
        [{"the logits": each} for each in logits],
    )


def soft_labels(subject: VariantSubject) -> str | None:
    """A loss that takes shares of classes for labels gives what it gives for the classes where one has all.

    Why: augmentations such as mixup make such labels, and a loss that takes them for something else trains nonsense.

    Mend: where `labels.dim()` is 2, weight what the loss is for each class by its share; or let it raise.
    """
    given = supplied("loss")
    shares = torch.eye(CLASSES)[given["labels"]]
    try:
        found = subject.make(**{**given, "labels": shares})
    except Exception as error:
        raise SkippedError(f"it takes classes only ({raised(error)})") from error
    same(found, subject.make(**given), "for shares of 1")
    return "it takes shares of classes, too"


def predicts_each_image(subject: VariantSubject) -> None:
    """A prediction makes logits (batch, classes), of each image the same in a batch as alone.

    Where the network has the same logits for whatever it is shown, these are the logits, up to a number that is added
    to all of an image's.

    Why: recall would depend on the batch size, and the same network would be exported as another.

    Mend: average the logits of the views, or their probabilities, with weights that sum to 1; take nothing over the
    batch.
    """
    given = supplied("prediction")
    images = given["images"]
    logits = subject.make(**{**given, "images": images.clone()})
    require(isinstance(logits, Tensor), f"it returned a {type(logits).__name__}")
    require(logits.shape == (len(images), CLASSES), f"it made {tuple(logits.shape)} of {len(images)} images")
    alone = torch.cat([subject.make(**{**given, "images": image[None].clone()}) for image in images])
    same_but_rounding(logits, alone, "in a batch and alone")
    steady = torch.arange(1.0, 1 + CLASSES)
    made = subject.make(**{**given, "forward": lambda x: steady.expand(len(x), -1)})
    # Logarithms of mean probabilities are logits too.
    expected = steady.expand(len(images), -1).log_softmax(1)
    same(made.log_softmax(1), expected, "of a network that always says the same")


def averages_in_place(subject: VariantSubject) -> None:
    """An averaging changes the tensors that it is given in place, to finite numbers, and returns nothing.

    Of weights that never change, the average is those weights in every step.

    Why: zoo evaluates the tensors that it handed over; what is returned is thrown away.

    Mend: use torch's functions that end in an underscore (`mean.lerp_(own, 0.1)`).
    """
    for changes in (True, False):
        given = supplied("averaging")
        tensors = [*given["average"], *given["weights"]]
        if not changes:
            for mean, own in zip(given["average"], given["weights"], strict=True):
                mean.copy_(own)
        kept = [own.clone() for own in given["weights"]]
        for step in range(1, 11):
            with torch.no_grad():
                result = subject.make(**{**given, "step": torch.tensor(step)})
            require(result is None, f"it returned a {type(result).__name__}")
            still = [*given["average"], *given["weights"]]
            require(all(one is other for one, other in zip(tensors, still, strict=True)), "a tensor was replaced")
            require(all(bool(each.isfinite().all()) for each in still), f"at step {step} a number is not finite")
            if not changes:
                for mean, own in zip(given["average"], kept, strict=True):
                    same(mean, own, f"at step {step} of weights that do not change")


def form_kept(subject: VariantSubject) -> None:
    """An augmentation keeps shape and type of its images, and pixels from 0 to 1; of labels, shares that sum to 1.

    One that asks for `labels` returns a pair of images and labels; one with an option `views` is tried with one view.

    Why: the network is built for that shape, and pixels are normalized afterwards.

    Mend: clamp to [0, 1] what a change of contrast or noise may lead out of it.
    """
    accepted = 0
    single = subject.options(views=1) if VIEWS in attrs.fields_dict(subject.variant.options) else None
    for shape in _IMAGES:
        given = for_augmentation(shape, torch.Generator().manual_seed(0))
        images = given["images"]
        try:
            changed = subject.make(single, **given)
        except ValueError:  # its defaults may be too large for small images
            continue
        accepted += 1
        if "labels" in subject.variant.given:
            changed = _images_of(changed, given["labels"])
        require(changed.shape == shape, f"{tuple(changed.shape)} of {shape}")
        require(changed.dtype == images.dtype, f"{changed.dtype} of {images.dtype}")
        inside = (changed >= 0) & (changed <= 1)
        require(bool(inside.all()), f"pixels from {changed.min().item():g} to {changed.max().item():g}")
    if not accepted:
        raise SkippedError(f"its defaults fit no images of {' or '.join(f'{s[2]}x{s[3]}' for s in _IMAGES)}")


def views_given(subject: VariantSubject) -> None:
    """An augmentation with an option `views` of 2 or more gives so many of each image, with pixels from 0 to 1.

    They are a Tensor (views, batch, channels, height, width); with `views = 1` there is one batch of images.

    Why: they are shown to the network together, and a loss compares what it says of them.

    Mend: `torch.stack([images, first_change, second_change])`.
    """
    if VIEWS not in attrs.fields_dict(subject.variant.options):
        raise SkippedError("it has no option `views`")
    for views in (2, 3):
        given = for_augmentation(_IMAGES[0], torch.Generator().manual_seed(0))
        made = subject.make(subject.options(views=views), **given)
        if "labels" in subject.variant.given:
            made = _images_of(made, given["labels"])
        shape = (views, *_IMAGES[0])
        require(made.shape == shape, f"with views = {views} it made {tuple(made.shape)} and not {shape}")
        require(made.dtype == given["images"].dtype, f"{made.dtype} of {given['images'].dtype}")
        inside = (made >= 0) & (made <= 1)
        require(bool(inside.all()), f"pixels from {made.min().item():g} to {made.max().item():g}")


def _images_of(pair: Any, labels: Tensor) -> Tensor:
    """Return the images of an augmentation that returns labels, too, which are looked at."""
    require(isinstance(pair, tuple) and len(pair) == 2, "it asks for labels and does not return images and labels")
    images, changed = pair
    require(changed.shape == labels.shape, f"labels of {tuple(changed.shape)} for {tuple(labels.shape)}")
    require(changed.dtype == labels.dtype, f"labels of {changed.dtype} for {labels.dtype}")
    require(bool((changed >= 0).all()), "a share of a class is negative")
    same(changed.sum(1), torch.ones(len(labels)), "the sums of the shares")
    found: Tensor = images
    return found


def input_unchanged(subject: VariantSubject) -> None:
    """It does not change in place what it is given.

    Why: the tensors are still needed: by the next epoch, or for the gradient.

    Mend: compute a new tensor: `images * 2` and not `images *= 2`.
    """
    given = supplied(subject.kind)
    subject.make(**given)
    for name, value in supplied(subject.kind).items():
        unchanged = not isinstance(value, Tensor) or torch.equal(value, given[name])
        require(unchanged, f"{name} has other values afterwards")
