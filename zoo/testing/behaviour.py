"""Checks of what a layer does to a batch: its shape, its modes, and what it leaves alone."""

from __future__ import annotations

import torch

from zoo.errors import text_of
from zoo.testing.check import FailedError, Passed, SkippedError, raised, require
from zoo.testing.subject import Case, LayerSubject, applied, is_refusal, mode, same, same_but_rounding


def builds(layer: LayerSubject) -> Passed | None:
    """For each of several shapes it is built and run, or refused with a ValueError; at least one is accepted.

    Why: a study puts it at many places, and only of a ValueError is it known that the shape is at fault.

    Mend: raise `ValueError("what does not fit")` in the factory for a shape that the layer cannot take; everything else
    that is raised, or a result that is no tensor, is a mistake in it. Where no shape fits that is tried, state one with
    `zoo.testing.made_for`.
    """
    for case, error in layer.tried.items():
        if error is not None and not is_refusal(error):
            raise FailedError(f"{case}: {error if isinstance(error, FailedError) else raised(error)}")
    refusals = {case.size: error for case, error in layer.tried.items() if error is not None}
    fitting = [case.size for case, error in layer.tried.items() if error is None]
    reasons = "; ".join(f"{size}: {text_of(error)}" for size, error in refusals.items())
    require(bool(fitting), f"it refuses every shape that is tried, such as {reasons}")
    return Passed(f"it is checked at {' and '.join(fitting)}") if refusals else None


def output_shape(layer: LayerSubject) -> None:
    """The output has the shape that its kind promises, for a single image too, and in training that of evaluation.

    Why: the next layer is built for that shape.

    Mend: activations, normalizations and dropouts keep the shape; a filter gives (batch, filters, height, width), a
    pooling keeps batch and channels; nothing of the map may be used up. An activation or a pooling that is meant to
    give other channels, a number that depends on shape and options only, is marked with `zoo.changes_channels`.
    """
    changes = layer.variant.changes_channels
    channels: dict[Case, int] = {}
    for case, training in layer.runs:
        module = case.build(training=training)
        for count in (4,) if training else (4, 1):
            x = case.batch(count=count)
            y = applied(module, x)
            found = f"{case}, {mode(training)}: {tuple(y.shape)} of {tuple(x.shape)}"
            if layer.kind == "filter":
                require(y.dim() == 4 and y.shape[:2] == (count, case.filters), found)
            elif layer.kind == "pooling":
                require(y.dim() == 4 and len(y) == count and (changes or y.shape[1] == x.shape[1]), found)
            elif layer.kind == "block":
                require(y.dim() == 4 and len(y) == count, found)
            elif changes:
                require(y.dim() == x.dim() and len(y) == count and y.shape[2:] == x.shape[2:], found)
            else:
                require(y.shape == x.shape, found)
            require(y.numel() > 0, found)
            require(
                y.shape[1] == channels.setdefault(case, y.shape[1]), f"{found}, and {channels[case]} channels before"
            )


def evaluation_deterministic(layer: LayerSubject) -> None:
    """Two evaluations of one batch give the same result, whatever the random streams hold.

    Why: what is measured would depend on chance.

    Mend: draw random numbers only where `self.training` is true. An option such as `always_on` may ask for more.
    """
    for case in layer.cases:
        module = case.build(training=False)
        x = case.batch()
        same(applied(module, x, seed=2), applied(module, x, seed=3), f"{case}", rtol=0, atol=0)


def evaluation_frozen(layer: LayerSubject) -> None:
    """Evaluation changes no parameter and no buffer.

    Why: measuring after each epoch would change what is trained, and a second evaluation would differ from the first.

    Mend: update running statistics only where `self.training` is true.
    """
    for case in layer.cases:
        module = case.build()
        applied(module, case.batch())
        module.eval()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        applied(module, case.batch(seed=5))
        for name, value in module.state_dict().items():
            require(torch.equal(value, before[name]), f"{case}: {name} changed")


def dropout_off(layer: LayerSubject) -> None:
    """In evaluation a dropout gives its input as it is.

    Why: every number that is reported comes from the whole network; what drops or scales in evaluation is another.

    Mend: return the input where `self.training` is false, and scale in training instead, by 1 / (1 - rate).
    """
    for case in layer.cases:
        same(applied(case.build(training=False), case.batch()), case.batch(), f"{case}")


def batch_independence(layer: LayerSubject) -> None:
    """In evaluation the output for an image does not depend on the other images of its batch.

    Why: recall would depend on the batch size, and on which images come together.

    Mend: in evaluation use running statistics or those of each image, never those of the batch.
    """
    for case in layer.cases:
        module = case.build()
        applied(module, case.batch())
        module.eval()
        x = case.batch(seed=5)
        same_but_rounding(
            applied(module, x[:1]), applied(module, x)[:1], f"{case}: alone an image gives another output"
        )


def input_unchanged(layer: LayerSubject) -> None:
    """It does not change its input in place.

    Why: the layer before may need it for its gradient, and a residual block adds it again.

    Mend: compute a new tensor: `F.relu(x)` and not `x.relu_()`, `x * 2` and not `x *= 2`.
    """
    for case, training in layer.runs:
        module, x = case.build(training=training), case.batch()
        with torch.no_grad():
            applied(module, x)
        require(torch.equal(x, case.batch()), f"{case}, {mode(training)}: the input has other values afterwards")


def channels_last(layer: LayerSubject) -> None:
    """A batch in the memory format channels_last gives the same result.

    Why: training keeps images in that format, in which convolutions are faster.

    Mend: use `reshape`, not `view`, and address dimensions by their index; nothing may rely on strides.
    """
    maps = [case for case in layer.cases if len(case.shape) == 3]
    if not maps:
        raise SkippedError("it accepts no feature maps")
    for case in maps:
        module = case.build(training=False)
        x = case.batch().to(memory_format=torch.channels_last)
        same_but_rounding(applied(module, x), applied(module, case.batch()), f"{case}")
