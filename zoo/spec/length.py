"""How long a run is, as a spec states it: in epochs, also with a fraction, or in steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from numbers import Real
from typing import Any

import attrs

from zoo.spec.fields import TrainingSpec


@attrs.frozen
class Length:
    """How long a run is on so many images; a step is an update of the parameters.

    Attributes:
        images: that an epoch has, each counted as often as it is shown.
        images_per_step: of a whole step; the last of an epoch may have fewer.
        steps: of the whole run.
    """

    images: int
    images_per_step: int
    steps: int

    @classmethod
    def of(cls, training: TrainingSpec, images: int) -> Length:
        """Return the length that a spec states. Of a part of an epoch as many steps are made as it takes.

        Raises:
            ValueError: of an epoch nothing is left, or a step takes more batches than it has.
        """
        images, of_step, steps = images * training.repeats, training.images_per_step, training.steps
        if training.drop_last:
            if images < of_step:
                raise ValueError(f"drop_last leaves nothing of an epoch of {images} images: a step takes {of_step}")
            images -= images % of_step
        batches = -(-images // training.batch_size)
        if training.accumulate > max(1, batches):
            raise ValueError(
                f"accumulate = {training.accumulate} batches make a step, and an epoch of {images} images has "
                f"{batches} of {training.batch_size}; accumulate at most these"
            )
        if steps is None:
            # The decimal number that was written: 9.9 epochs of 10 steps are 99 of them.
            epochs = Fraction(repr(training.epochs))
            steps = math.ceil(epochs * -(-images // of_step))
        return cls(images, of_step, steps)

    def within(self, seconds: float, taken: Sequence[float]) -> Length:
        """Return how long a run is that ends when its time is over, as far as the pace of its last epoch tells.

        Its first epoch is made in any case. Where there is time left then, the second is whole, for the first is slowed
        down by what is done once. The last one may be a part of an epoch.

        Args:
            seconds: that its steps may take.
            taken: by the steps of each epoch so far.
        """
        length = self
        for epoch in range(1, len(taken) + 1):
            behind = self.first_step(epoch + 1)
            if length.steps < behind:
                break  # that was a part of an epoch
            left, pace = max(0.0, seconds - sum(taken[:epoch])), taken[epoch - 1] / self.steps_per_epoch
            more = self.steps if pace <= 0 else math.floor(left / pace)
            if epoch == 1 and left > 0:
                more = max(more, self.steps_per_epoch)
            length = attrs.evolve(self, steps=min(self.steps, behind + more))
        return length

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a whole epoch."""
        return -(-self.images // self.images_per_step)

    @property
    def epochs(self) -> int:
        """How many epochs there are, the last of which may be a part of one."""
        return -(-self.steps // self.steps_per_epoch)

    def first_step(self, epoch: int) -> int:
        """Return the first step (from 0) of an epoch (from 1)."""
        return (epoch - 1) * self.steps_per_epoch

    def steps_of(self, epoch: int) -> int:
        """Return how many steps an epoch (from 1) has."""
        return min(self.steps_per_epoch, self.steps - self.first_step(epoch))

    def images_of(self, epoch: int) -> int:
        """Return how many images are seen in an epoch (from 1)."""
        return min(self.images, self.steps_of(epoch) * self.images_per_step)

    @property
    def images_in_all(self) -> int:
        """How many images are seen, each as often as it is."""
        return (self.epochs - 1) * self.images + self.images_of(self.epochs)


def read_epochs(value: object) -> float | None:
    """Return a number of epochs from a number or a text, an int where it is whole; None where it is none above 0."""
    if isinstance(value, bool) or not isinstance(value, Real | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    if not 0 < number < math.inf:
        return None
    return int(number) if number == int(number) else number


def planned_epochs(training: Mapping[str, Any]) -> int | None:
    """Return how many epochs the training of a spec, as plain data, has; None where its number of images decides."""
    return None if training["epochs"] is None else math.ceil(training["epochs"])


def in_words(training: Mapping[str, Any]) -> str:
    """Write how long the training of a spec, as plain data, is: "9.9 epochs", "500 steps, 5 minutes"."""
    number, what = training["epochs"], "epoch"
    if number is None:
        number, what = training["steps"], "step"
    minutes = training.get("minutes")
    limit = "" if minutes is None else f", {minutes} minute{'' if minutes == 1 else 's'}"
    return f"{number} {what}{'' if number == 1 else 's'}{limit}"


def ends_early(spec: Mapping[str, Any]) -> bool:
    """Whether runs of a spec, as plain data, may end before their epochs or steps are over."""
    return spec["evaluation"].get("stop") is not None or spec["training"].get("minutes") is not None
