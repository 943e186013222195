"""One run, an epoch at a time: the reference by which every faster way of training is judged."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from zoo.data import Dataset
from zoo.errors import BuildError, PluginError
from zoo.network.builder import construct
from zoo.network.half import halve
from zoo.network.initializing import Filling
from zoo.network.preparing import prepare, shown, wants_preparing
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.spec.length import Length
from zoo.train import streams
from zoo.train.augmenting import Augmentations, require_soft_loss, require_views
from zoo.train.averaging import STATISTICS, Average
from zoo.train.bound import Bound, one_line
from zoo.train.evaluating import DivergedError, Evaluating
from zoo.train.groups import Groups
from zoo.train.optimizing import asks_for_closure, backward, has_modes, set_mode
from zoo.train.precision import Precision, arithmetic, autocast
from zoo.train.run import EpochRecord
from zoo.train.scaling import LossScaling
from zoo.train.state import beginning

_ESTIMATE_IMAGES = 250
"""Images whose evaluation is timed for an estimate."""


class Training(Evaluating):
    """One spec, with one seed, on one data set that is on the device.

    Attributes, beside those of what is evaluated:
        parameters: how many trainable numbers it has.
        flops: floating-point operations of one image's forward pass.
        starting: the weights of a file that the network starts from; None where they are drawn.
        length: how many epochs and steps there are; of a run that ends by time, as far as is known.
        begun: how network and optimizer were built, by which it is told what training has changed.
        seconds_setup: what building took.

    Raises:
        BuildError: the network does not fit the data set's images, or a part of the training refuses its options.
        PluginError: a plugin's factory or layer raised; names the plugin.
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
    ) -> None:
        start = time.perf_counter()
        super().__init__(spec, seed, dataset, device=device, registry=registry, precision=precision)
        self.depends_on_length = spec.training.minutes is not None
        self._epoch_seconds: list[float] = []
        """Seconds that the steps of each epoch took."""
        dataset = self.dataset
        # What building draws beyond the layers' own streams (dropout that is always on does) is no one else's.
        with streams.seeded(seed, "building", device=device):
            built = construct(spec, dataset.shape, len(dataset.classes), seed=seed, registry=registry)
            self.network = _ordered(built.network.to(self.device, self._dtype), self._format)
            self._prepare(built.filling)
            self._to_float32 = self._halved(registry)
            groups = Groups(spec, self.network, registry)
            optimizer = Bound(spec, "training.optimizer", spec.training.optimizer, registry)
            self._require_steps(optimizer)
            self.optimizer: torch.optim.Optimizer = optimizer(
                parameters=groups.given,
                network=self.network,
                steps=self.length.steps,
                steps_per_epoch=self.length.steps_per_epoch,
            )
            groups.scale(self.optimizer)
        self.parameters, self.flops, self.starting = built.parameters, built.flops, built.starting
        self._begin_evaluating()
        self.begun = beginning(self.network, self.optimizer)
        self._groups, self._freezing = groups, groups.freezing(self.network, self.length.steps)
        schedules = [choice or spec.training.schedule for choice in groups.schedules(self.optimizer)]
        distinct = list(dict.fromkeys(schedules))
        self._schedules = [Bound(spec, groups.place_of(choice), choice, registry) for choice in distinct]
        self._schedule_of = [distinct.index(choice) for choice in schedules]
        for schedule in (schedule for schedule in self._schedules if schedule.asks("validation")):
            if dataset.validation is None:
                raise BuildError(
                    f"{schedule.what} goes by the recall on validation images, and there are none; hold some out with "
                    "data.validation"
                )
            self._require_evaluations(schedule.what)
        self._loss = Bound(spec, "training.loss", spec.training.loss, registry)
        self._augment = Augmentations(
            [
                Bound(spec, f"training.augmentation[{index}]", choice, registry)
                for index, choice in enumerate(spec.training.augmentation)
            ],
            len(dataset.classes),
        )
        self._epoch = torch.zeros((), dtype=torch.int64, device=self.device)
        self._gradients = [
            Bound(spec, f"training.gradient[{index}]", choice, registry)
            for index, choice in enumerate(spec.training.gradient)
        ]
        self._changes_gradients = bool(self._gradients) or spec.training.clip_norm is not None
        self._named = dict(self.network.named_parameters())
        self._trained = list(self._named.values())
        self._asks_for_closure = asks_for_closure(self.optimizer)
        self._scaling = self._loss_scaling()
        self._learning_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._rate_tensors = self._rates_on_device() if self.device.type == "cuda" else None
        counts = torch.bincount(dataset.train.labels.cpu(), minlength=len(dataset.classes))
        self._class_sizes = counts.to(self.device, self._dtype)
        require_views(self._loss, self._augment)
        if self._augment.softens is not None:
            require_soft_loss(self._loss, self._loss.what, self._augment.softens.what, self._class_sizes)
        self._require_drawable()
        self._average = self._averaging(registry)
        self._synchronize()
        self.seconds_setup = time.perf_counter() - start

    def _require_drawable(self) -> None:
        """Refuse a way to draw the images that does not go together with the rest.

        Raises:
            BuildError: their order is to be kept, or they have no weights.
        """
        training, name = self.spec.training, self.spec.name
        if training.sampling != "once" and not training.shuffle:
            raise BuildError(
                f"{name}: training.sampling = {training.sampling} draws images at random, and training.shuffle = false "
                "keeps their order; set one of the two otherwise"
            )
        weights = self.dataset.train.weights
        if training.sampling == "weighted" and weights is None:
            raise BuildError(
                f"{name}: training.sampling = weighted draws images by their weights, and {self.dataset.name} has "
                "none; a table (csv:PATH) with a column `weight` gives them"
            )
        if training.sampling == "weighted" and weights is not None and not weights.any():
            raise BuildError(f"{name}: all training images of {self.dataset.name} have the weight 0")

    def _prepare(self, filling: Filling | None) -> None:
        """Let layers and an initializer that ask for it measure training images, which are drawn for that."""
        if filling is None and not wants_preparing(self.network):
            return
        images = self.dataset.train.images
        drawn = torch.randperm(len(images), generator=streams.generator("cpu", self.seed, "preparation"))
        chosen = images[drawn[: shown(images)].to(images.device)]
        with streams.seeded(self.seed, "preparation", device=self.device):
            prepare(self.network, self._normalized(self._pixels(chosen)), self.spec.name, filling)

    def _halved(self, registry: Registry) -> Callable[[], None] | None:
        """Turn the network to float16 where the precision says so; return what turns it back."""
        if arithmetic(self.precision) != "half":
            return None
        self._given = torch.float16
        return halve(self.network, registry)

    def _loss_scaling(self) -> LossScaling | None:
        """Return what scales the loss in fp16.

        Raises:
            BuildError: the optimizer asks for the gradients itself.
        """
        if arithmetic(self.precision) != "fp16":
            return None
        if self._asks_for_closure:
            raise BuildError(
                f"{self.spec.name}: training.optimizer: {self.spec.training.optimizer} asks for the gradients itself, "
                "and in fp16 a step whose gradients are not finite is left out before an optimizer sees them; take "
                "another precision, such as bf16, or another optimizer"
            )
        return LossScaling(self.device)

    def in_float32(self) -> nn.Module:
        """Return the network in float32, as it is exported; it is not trained any more then."""
        if self._to_float32 is not None:
            self._to_float32()
        return self.network.float()

    def _averaging(self, registry: Registry) -> Average | None:
        """Return the average that is evaluated; None where that is the network itself."""
        choice = self.spec.training.averaging
        if choice.name == "none":
            return None
        update = Bound(self.spec, "training.averaging", choice, registry)
        if has_modes(self.optimizer):
            raise BuildError(
                f"{update.what} averages the weights that are trained, and {self.spec.training.optimizer} has a mean "
                "of its own that is evaluated: leave out training.averaging, or take another optimizer"
            )
        self._require_steps(update)
        self.depends_on_length |= update.asks("steps")
        return Average(update, self.network, steps=self.length.steps, steps_per_epoch=self.length.steps_per_epoch)

    def _require_steps(self, part: Bound) -> None:
        """Refuse a part that is told how many steps there are, where nobody knows.

        Raises:
            BuildError: names it.
        """
        if self.spec.training.minutes is not None and part.asks("steps"):
            raise BuildError(
                f"{part.what} asks how many steps the run has, and training.minutes leaves that open: leave out one of "
                "the two"
            )

    @property
    def beside(self) -> Mapping[str, Tensor]:
        """What is saved with the network and the optimizer: the average, and the best network so far."""
        average = self._average.tensors if self._average else {}
        kept = {"average": average, "best": self._best, "scaling": self._scaling.tensors if self._scaling else {}}
        return {f"{what}.{name}": tensor for what, tensors in kept.items() for name, tensor in tensors.items()}

    @contextmanager
    def _evaluated(self, epoch: int) -> Iterator[None]:
        """Let the network be what is evaluated after an epoch."""
        if self._average is None:
            yield
            return
        with self._average.shown():
            if self.spec.training.averaging.values().get(STATISTICS) == "estimated":
                self._estimate_statistics(epoch)
            yield

    def _estimate_statistics(self, epoch: int) -> None:
        """Make the statistics of batch normalizations the mean over the batches of a whole epoch, not augmented."""
        size = self.spec.training.batch_size
        steps = (torch.split(images, size) for images, *_ in self.batches(epoch, whole=True))
        # A single image that is left over may be too few for a layer.
        batches = (images for step in steps for images in step if len(images) > 1 or size == 1)
        with (
            streams.seeded(self.seed, "statistics", epoch, device=self.device),
            autocast(self.precision, self.device),
        ):
            update_bn(map(self._normalized, map(self._pixels, batches)), self.network)

    def epochs(self, first: int = 1, taken: Sequence[float] = ()) -> Iterator[EpochRecord]:
        """Train, and yield a record after each epoch; those before `first` are behind this training already.

        Where `taken` says what seconds the steps of each epoch took before, a run that ends by time is as long as then.

        Raises:
            DivergedError: the loss of an epoch is not finite, or, after one that is evaluated, a parameter, a buffer
                or a logit.
            BuildError: see `step`; or the average was never changed.
        """
        if first == 1:
            self._validation.clear()
            self._took([])
        for epoch in itertools.count(first):
            if self.is_over(epoch - 1):
                self._require_averaged(epoch - 1)
                return
            start = time.perf_counter()
            loss = self.train_epoch(epoch)
            trained = time.perf_counter()
            if not math.isfinite(loss):
                raise DivergedError(f"diverged at epoch {epoch}: the training loss is {loss}")
            self._took([*self._epoch_seconds, taken[epoch - 1] if epoch <= len(taken) else trained - start])
            if self.is_due(epoch):
                self._require_finite(epoch)
            evaluations = self.evaluate(epoch) if self.is_due(epoch) else {}
            yield EpochRecord(epoch, loss, trained - start, time.perf_counter() - trained, evaluations)

    def _require_averaged(self, epoch: int) -> None:
        """Refuse an average that never began.

        Raises:
            BuildError: what was evaluated are the starting weights.
        """
        if self._average is not None and self._average.is_idle():
            steps = self.length.first_step(epoch) + self.length.steps_of(epoch)
            raise BuildError(
                f"{self.spec.name}: training.averaging: {self.spec.training.averaging} has not changed the average in "
                f"the {steps} steps of the run, so that what was evaluated are the starting weights: let it average "
                "earlier, or train for longer"
            )

    def _took(self, seconds: list[float]) -> None:
        """Note how long the steps of the epochs behind took, by which a run of so many minutes ends."""
        self._epoch_seconds = seconds
        if self.spec.training.minutes is not None:
            self.length = self._within(seconds)
            self._freezing = self._groups.freezing(self.network, self.length.steps)

    def _within(self, taken: Sequence[float]) -> Length:
        """Return how long the run is when the steps of its epochs take so long."""
        whole, minutes = Length.of(self.spec.training, len(self.dataset.train.labels)), self.spec.training.minutes
        return whole if minutes is None else whole.within(60 * minutes, taken)

    def train_epoch(self, epoch: int) -> float:
        """Train one epoch (from 1) and return the mean loss per image."""
        self.set_mode(training=True)
        self._begin_epoch(epoch)
        total = torch.zeros((), device=self.device, dtype=self._dtype)
        augmenting = streams.generator(self.device, self.seed, "augmentation", epoch)
        with streams.seeded(self.seed, "dropout", epoch, device=self.device):
            batches = enumerate(self.batches(epoch), start=self.length.first_step(epoch))
            for start, end in self._freezing.stretches(self.length.first_step(epoch), self.length.steps_of(epoch)):
                self._freezing.apply(start)
                for step, (images, labels, indices) in itertools.islice(batches, end - start):
                    self.set_learning_rate(step)
                    total += self.step(images, labels, augmenting, indices) * len(labels)
            self._freezing.release()
        self.set_mode(training=False)
        return total.item() / self.length.images_of(epoch)

    def set_mode(self, *, training: bool) -> None:
        """Let network and optimizer train or evaluate; between two epochs they evaluate."""
        self.network.train(training)
        set_mode(self.optimizer, training=training)

    def _begin_epoch(self, epoch: int) -> None:
        """Fill the tensors that steps read."""
        self._epoch.fill_(epoch)
        if self._average:
            self._average.begin(self.length.first_step(epoch))

    def step(
        self, images: Tensor, labels: Tensor, augmenting: torch.Generator, indices: Tensor | None = None
    ) -> Tensor:
        """Update the parameters from uint8 images, those of one batch or of several; return their mean loss.

        Args:
            images: of the batch.
            labels: their classes.
            augmenting: what augmentations draw from.
            indices: positions of the images within the training part; only augmentations that ask for
                them need them.

        Raises:
            BuildError: an augmentation or the loss refuses its options, or a layer a batch of a single image.
        """
        batches = self._augmented(images, labels, indices, augmenting)
        if self._asks_for_closure:
            loss = self._step_with_closure(list(batches), len(labels))
        else:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self._backward(batches, len(labels))
            if self._scaling:
                self._scaling.unscale(self.optimizer)
            if self._changes_gradients:
                self._change_gradients()
            if self._scaling:
                self._scaling.step(self.optimizer)
            else:
                self.optimizer.step()
        if self._average:
            self._average.step()
        return loss

    def _step_with_closure(self, batches: list[tuple[Tensor, Tensor]], images: int) -> Tensor:
        """Let the optimizer ask for the gradients, as often as it wants; return the first loss.

        Raises:
            BuildError: it asks for gradients to be differentiated again, which others are to change.
            PluginError: it did not ask.
        """
        losses: list[Tensor] = []

        def closure(*, create_graph: bool = False) -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            with torch.enable_grad():
                losses.append(self._backward(batches, images, create_graph=create_graph))
            if self._changes_gradients:
                self._change_gradients(differentiated=create_graph)
            return losses[-1]

        self.optimizer.step(closure)  # type: ignore[arg-type]
        if not losses:
            choice = self.spec.training.optimizer
            raise PluginError(f"{self.spec.name}: training.optimizer: {choice}: its step did not call its closure")
        return losses[0]

    def _backward(self, batches: Iterable[tuple[Tensor, Tensor]], images: int, *, create_graph: bool = False) -> Tensor:
        """Let each parameter have the gradient of the images' mean loss, batch by batch; return the loss."""
        total: Tensor | None = None
        for pixels, labels in batches:
            loss = self._loss_of(pixels, labels)
            if len(labels) < images:
                loss = loss * (len(labels) / images)
            scaled = self._scaling.scaled(loss) if self._scaling else loss
            backward(scaled, self._trained, create_graph=create_graph)
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    @torch.no_grad()
    def _change_gradients(self, *, differentiated: bool = False) -> None:
        """Do to the gradients what the spec says, before the optimizer sees them."""
        if differentiated:
            raise BuildError(
                f"{self.spec.name}: training.optimizer: {self.spec.training.optimizer} differentiates gradients again, "
                "which training.gradient and training.clip_norm would change; leave those out"
            )
        if self._gradients:
            changed = {name: p for name, p in self._named.items() if p.grad is not None}
            for change in self._gradients:
                change(parameters=list(changed.values()), names=list(changed))
        if (limit := self.spec.training.clip_norm) is not None:
            nn.utils.clip_grad_norm_(self._trained, limit)

    def _augmented(
        self, images: Tensor, labels: Tensor, indices: Tensor | None, augmenting: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batch by batch the pixels of uint8 images, augmented, and the labels."""
        size = self.spec.training.batch_size
        for start in range(0, len(labels), size):
            batch = slice(start, start + size) if len(labels) > size else slice(None)
            yield self._augment(
                self._pixels(images[batch]),
                labels[batch],
                indices=None if indices is None else indices[batch],
                epoch=self._epoch,
                generator=augmenting,
            )

    def _loss_of(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of one batch."""
        try:
            logits = self._logits(pixels)
        except ValueError as error:
            if len(labels) > 1:
                raise
            raise self._single_image(error) from error
        views = None
        if self._augment.views > 1:
            views = logits.reshape(self._augment.views, -1, logits.shape[1])
            logits = views[0]
        loss: Tensor = self._loss(logits=logits, views=views, labels=labels, class_sizes=self._class_sizes)
        return loss

    def batches(self, epoch: int, *, whole: bool = False) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the uint8 images, labels and positions of the images of the epoch's steps.

        A step has those of one batch or of several; the last may have fewer. Of the last epoch, which may be a part of
        one, there are the steps that are made, or all where it is to be `whole`.
        """
        count, size = self.length.images if whole else self.length.images_of(epoch), self.length.images_per_step
        images, labels = self.dataset.train.images, self.dataset.train.labels
        taken = partial(self._taken, images, mapped=self.dataset.train.mapped)
        if not self.spec.training.shuffle and self.spec.training.repeats == 1:
            order = torch.arange(count, device=self.device)
            ranges = (slice(start, min(start + size, count)) for start in range(0, count, size))
            others = (torch.split(each[:count], size) for each in (labels, order))
            yield from zip(taken(ranges), *others, strict=True)
            return
        order = self._order_of(epoch)[:count]
        places = torch.split(order.to(images.device), size)
        chosen = torch.split(order.to(self.device), size)
        for some, one in zip(taken(places), chosen, strict=True):
            yield some, labels[one], one

    def _order_of(self, epoch: int) -> Tensor:
        """Return the positions of an epoch's images in their order, on the CPU, each as often as it is shown."""
        training, count = self.spec.training, len(self.dataset.train.labels)
        order = self._shuffled(epoch) if training.shuffle else torch.arange(count)
        if training.repeats == 1:
            return order
        # In each batch all of its images, and then all of them again: an augmentation that mixes an image with the one
        # before it would otherwise mix copies of one image.
        once = torch.split(order, training.batch_size // training.repeats)
        return torch.cat([images.repeat(training.repeats) for images in once])

    def _shuffled(self, epoch: int) -> Tensor:
        """Draw the epoch's order of the images, on the CPU, so that it does not depend on the device."""
        count, order = len(self.dataset.train.labels), streams.generator("cpu", self.seed, "order", epoch)
        weights = self._weights()
        if weights is None:
            return torch.randperm(count, generator=order)
        return torch.multinomial(weights, count, True, generator=order)

    def _weights(self) -> Tensor | None:
        """Return what the probability of each image to be drawn is proportional to; None where each is there once."""
        if self.spec.training.sampling == "balanced":
            labels = self.dataset.train.labels.cpu()
            return torch.bincount(labels).double().reciprocal()[labels]
        weights = self.dataset.train.weights
        if self.spec.training.sampling == "once" or weights is None:
            return None
        return weights / weights.max()  # whose sum is finite

    def set_learning_rate(self, step: int) -> None:
        """Set the learning rate of a step of the whole run (from 0)."""
        rates: Iterable[float | Tensor] = self.learning_rates(step)
        if self._rate_tensors is not None:
            rates = [tensor.fill_(rate) for tensor, rate in zip(self._rate_tensors, rates, strict=True)]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _rates_on_device(self) -> list[Tensor]:
        """Return a tensor for each parameter group's learning rate, of the type that the optimizer reads.

        On CUDA every engine gives the optimizer tensors, as a recording must: with a number it would compute in another
        order, and what is off in the last digit grows where a gradient is divided by its own size.
        """
        groups = self.optimizer.param_groups
        kind = torch.float32 if any(group.get("fused") for group in groups) else self._dtype
        return [torch.zeros((), dtype=kind, device=self.device) for _ in groups]

    def learning_rates(self, step: int) -> list[float]:
        """Return each parameter group's learning rate in a step of the whole run: linear warm-up, then the schedule.

        On CUDA they are numbers of float32, which fused optimizers read from the device; so every engine has the same.
        """
        factors = self._factors(step, self.length.steps)
        rates = [rate * factors[of] for rate, of in zip(self._learning_rates, self._schedule_of, strict=True)]
        return [float(np.float32(rate)) for rate in rates] if self.device.type == "cuda" else rates

    def _factors(self, step: int, steps: int) -> list[float]:
        """Return the factor of each schedule on learning rates in a step (from 0) of a run of so many."""
        warmup = round(self.spec.training.warmup * steps)
        progress = max(0, step - warmup) / max(1, steps - warmup)
        rise = (step + 1) / warmup if step < warmup else None
        given = {"progress": progress, "validation": tuple(self._validation.values()), "steps": steps - warmup}
        factors: list[float] = [schedule(**given) for schedule in self._schedules]
        return factors if rise is None else [factor * rise for factor in factors]

    def begins_like(self, epochs: int) -> bool:
        """Whether the same run of so many epochs, which are fewer, is this in all of its steps.

        That is, whether it has the same learning rates, and freezes the same. Of a schedule that goes by the progress
        and by what was validated nobody knows, and an averaging that asks how long the run is may average otherwise.
        """
        if self.depends_on_length or any(s.asks("progress") and s.asks("validation") for s in self._schedules):
            return False
        steps = epochs * self.length.steps_per_epoch
        if not self._freezing.same(self._groups.freezing(self.network, steps), steps):
            return False
        return all(self._factors(step, steps) == self._factors(step, self.length.steps) for step in range(steps))

    def restored(self, records: Sequence[EpochRecord] = ()) -> None:
        """Is called when network and optimizer have been brought to a saved state, with the epochs behind it."""
        self._validation.clear()
        if self._scaling:
            self._scaling.restored()
        self._took([record.seconds_training for record in records])
        for record in records:
            if self.is_due(record.epoch):
                self._note(record.epoch, record.evaluations)

    def estimate(self) -> float:
        """Return about how many seconds the whole run will take, from a few steps, which spoil the run.

        Raises:
            BuildError: see `step`.
        """
        images, labels = self.dataset.train.images, self.dataset.train.labels
        size = self.spec.training.batch_size
        last = min(self.length.images % size or size, len(labels))
        some = self.dataset.test.images[:_ESTIMATE_IMAGES]
        augmenting = streams.generator(self.device, self.seed, "estimate")
        with streams.seeded(self.seed, "estimate", device=self.device):
            self.set_mode(training=True)
            # The smallest batch of an epoch, which may be too small for a layer.
            self.step(images[-last:], labels[-last:], augmenting, torch.arange(last, device=self.device))
            step = self._step_seconds(augmenting)
            self.set_mode(training=False)
            evaluation = self._seconds(lambda: self.predict(some)) / len(some)
        length = self._within([step * self.length.steps_per_epoch])
        epochs, every = length.epochs, self.spec.evaluation.every
        evaluations = -(-epochs // every) if every else 1
        evaluated = evaluations * sum(map(len, self._parts().values()))
        if not self._evaluates_all:
            evaluated -= (evaluations - 1) * len(labels)
        return length.steps * step + evaluated * evaluation

    def _step_seconds(self, augmenting: torch.Generator) -> float:
        """Time a step of whole batches, which spoils the run."""
        images, labels, size = self.dataset.train.images, self.dataset.train.labels, self.length.images_per_step
        indices = torch.arange(len(labels), device=self.device)[:size]
        return self._seconds(lambda: self.step(images[:size], labels[:size], augmenting, indices))

    def _seconds(self, work: Callable[[], object]) -> float:
        """Time the fastest of two calls, after one that may still allocate memory and choose kernels."""
        times = []
        for _ in range(3):
            start = time.perf_counter()
            work()
            self._synchronize()
            times.append(time.perf_counter() - start)
        return min(times[1:])

    def _single_image(self, error: ValueError) -> BuildError:
        images, size = len(self.dataset.train.labels), self.spec.training.batch_size
        return BuildError(
            f"{self.spec.name}: a layer cannot be trained on a batch of a single image, and {images} training images "
            f"in batches of {size} make one; change training.batch_size ({one_line(error)})"
        )

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            # Not the whole device: another run may be recording, which that would spoil.
            torch.cuda.current_stream(self.device).synchronize()
        elif self.device.type == "mps":
            torch.mps.synchronize()


def _ordered(network: nn.Module, order: torch.memory_format) -> nn.Module:
    """Give what has four dimensions an order in memory. `Module.to` raises where a weight has five."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=order)
    return network
