"""What a training is asked between its epochs: recalls on the parts of its data, which network counts, when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import attrs
import torch
from torch import Tensor, nn

from zoo.data import Dataset, Split, as_trained_on, pages
from zoo.errors import BuildError
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.spec.length import Length
from zoo.train import metrics, streams
from zoo.train.bound import prediction
from zoo.train.feeding import fed
from zoo.train.precision import Precision, autocast, dtype, memory_format
from zoo.train.run import EpochRecord, Evaluation
from zoo.train.state import overlaps_itself

EVALUATION_BATCH = {"cpu": 128, "cuda": 2000, "mps": 500}
"""Images evaluated at once, at most, by device; no figure depends on it, but the draws of dropout that is always on.

On a CPU few stay in its cache: 128 take 0.086 ms each in the study's default network, 1,000 take 0.10 ms each.
"""
_EVALUATED_AT_ONCE = 2**23
"""Pixels evaluated at once, at most: of 224x224, 167 images, whose first maps in a VGG are 2 GB."""
_COUNTED_AT_ONCE = 2**26
"""Pixels, of each of which the count takes some bytes."""
_PARTS = {"train": "training images", "test": "test images", "validation": "validation images"}


def evaluated_at_once(device: torch.device, images: Tensor) -> int:
    """Return how many of the images, (images, channels, height, width), are evaluated at once on a device."""
    return min(EVALUATION_BATCH[device.type], max(1, _EVALUATED_AT_ONCE // (images.shape[-2] * images.shape[-1])))


class DivergedError(Exception):
    """The training loss, the network or what it predicts from is not finite."""


class Evaluating:
    """A network on one data set that is on the device, as far as it is not trained.

    Attributes:
        dataset: as it is trained on with this seed.
        network: the module.
        length: how many epochs and steps there are.
        prediction: what makes logits of images by the network's forward pass.
        depends_on_length: whether what is evaluated depends on how long the run is.
    """

    network: nn.Module

    def __init__(
        self, spec: Spec, seed: int, dataset: Dataset, *, device: str, registry: Registry, precision: Precision
    ) -> None:
        dataset = as_trained_on(dataset, spec.data, seed)
        self.spec, self.seed, self.dataset, self.device = spec, seed, dataset, torch.device(device)
        self.precision, self._dtype = precision, dtype(precision)
        self._format = memory_format(precision, self.device)
        self.length = _length(spec, len(dataset.train.labels))
        self.depends_on_length = False
        self._mean, self._std = (v.to(self.device, self._dtype) for v in pixel_statistics(spec, dataset.train))
        self._given = self._dtype
        self.prediction = prediction(spec, registry)
        self._validation: dict[int, float] = {}
        """Recall on the validation part by epoch, as far as the run is."""

    def _begin_evaluating(self) -> None:
        """Find out what evaluations depend on, when the network is built.

        Raises:
            BuildError: see `_require_validation`.
        """
        self._evaluates_all = self._must_evaluate_all()
        self._require_validation()
        self._best = self._keeping()
        # A mask of minus infinity is no divergence.
        self._infinite_from_the_start = frozenset(_not_finite(dict(self.network.named_buffers())))

    def _require_validation(self) -> None:
        """Refuse what goes by images that are held out, where none are or none are looked at, and measures that clash.

        Raises:
            BuildError: names the field.
        """
        evaluation = self.spec.evaluation
        needing = {"keep = best": evaluation.keep == "best", "stop": evaluation.stop is not None}
        needing["target"] = evaluation.target is not None
        for field in (field for field, needs in needing.items() if needs):
            if self.dataset.validation is None:
                raise BuildError(
                    f"{self.spec.name}: evaluation.{field} goes by recall on images that are held out, and none are: "
                    "set data.validation, such as data.validation = 0.2"
                )
            self._require_evaluations(f"{self.spec.name}: evaluation.{field}")
        if evaluation.keep == "best" and evaluation.measure != "final":
            raise BuildError(
                f"{self.spec.name}: evaluation.keep = best takes recall from one epoch, and evaluation.measure = "
                f"{evaluation.measure} from all of them; set one of the two otherwise"
            )

    def _require_evaluations(self, what: str) -> None:
        """Refuse what goes by the recalls of several epochs, where only the last one is evaluated.

        Raises:
            BuildError: names it.
        """
        if self.spec.evaluation.every == 0:
            raise BuildError(
                f"{what} goes by recalls on the way, and evaluation.every = 0 evaluates the last epoch only: set "
                "evaluation.every, such as evaluation.every = 1"
            )

    @contextmanager
    def _evaluated(self, epoch: int) -> Iterator[None]:
        """Let the network be what is evaluated after an epoch."""
        yield

    def is_due(self, epoch: int) -> bool:
        """Whether an epoch is evaluated."""
        every = self.spec.evaluation.every
        return epoch == self.length.epochs or (every > 0 and epoch % every == 0)

    def is_over(self, epoch: int) -> bool:
        """Whether the run ends after an epoch: with its last one, or as `evaluation.stop` says."""
        stop, best = self.spec.evaluation.stop, metrics.best_epoch(self._validation)
        stopped = stop is not None and best is not None and max(self._validation) - best >= stop.patience
        return stopped or epoch >= self.length.epochs

    def evaluate(self, epoch: int) -> dict[str, Evaluation]:
        """Count predictions on the test and, where there are some, validation images; as asked on the training ones.

        Raises:
            DivergedError: a logit is not finite.
        """
        parts = self._parts()
        # What is drawn for one part depends on the parts before it.
        waiting = {} if self._evaluates_all else {"train": parts.pop("train")}
        with self._evaluated(epoch), streams.seeded(self.seed, "dropout in evaluation", epoch, device=self.device):
            found = {name: self._evaluate(split, f"epoch {epoch}", name) for name, split in parts.items()}
            self._note(epoch, found)
            if metrics.best_epoch(self._validation) == epoch:
                self._keep()
            if self._may_count(epoch):
                found = {name: self._evaluate(split, f"epoch {epoch}", name) for name, split in waiting.items()} | found
            return found

    def _must_evaluate_all(self) -> bool:
        """Whether each evaluation is of the training images, too: as asked for, or where other figures need it.

        Asked before anything is trained, so that a network that goes on from a checkpoint was asked as often.
        """
        evaluation = self.spec.evaluation
        if evaluation.train == "every" or evaluation.measure != "final":
            return True
        self.network.eval()
        with streams.seeded(self.seed, "evaluation", device=self.device), torch.no_grad():
            before = streams.drawn(self.device)
            self.prediction(forward=self._logits, images=self._pixels(self.dataset.test.images[:1]))
            return streams.drawn(self.device) != before

    def _may_count(self, epoch: int) -> bool:
        """Whether the result may be the network of an epoch that was just evaluated."""
        return self.is_over(epoch) or (bool(self._best) and metrics.best_epoch(self._validation) == epoch)

    def as_asked(self, record: EpochRecord) -> EpochRecord:
        """Return the record of an epoch before the last without what a shorter run evaluated because it ended there."""
        if not self.is_due(record.epoch):
            return attrs.evolve(record, evaluations={})
        so_far = {epoch: recall for epoch, recall in self._validation.items() if epoch <= record.epoch}
        was_best = bool(self._best) and metrics.best_epoch(so_far) == record.epoch
        if was_best or self._evaluates_all:
            return record
        return attrs.evolve(record, evaluations={n: e for n, e in record.evaluations.items() if n != "train"})

    def _note(self, epoch: int, evaluations: Mapping[str, Evaluation]) -> None:
        """Note what a choice of the epoch, or an end before the last, goes by."""
        if "validation" in evaluations:
            self._validation[epoch] = metrics.macro_recall(evaluations["validation"].confusion)

    def _require_finite(self, epoch: int) -> None:
        """Refuse to evaluate a network of which the last step, whose loss was counted before it, has left no numbers.

        Raises:
            DivergedError: names what is not finite.
        """
        tensors = self._tensors()
        bad = [name for name in _not_finite(tensors) if name not in self._infinite_from_the_start]
        if bad:
            more = f" and {len(bad) - 1} more are" if len(bad) > 1 else " is"
            raise DivergedError(f"diverged at epoch {epoch}: after its last step {bad[0]}{more} not finite")

    def _parts(self) -> dict[str, Split]:
        parts = {"train": self.dataset.train, "test": self.dataset.test, "validation": self.dataset.validation}
        return {name: split for name, split in parts.items() if split is not None}

    def _evaluate(self, split: Split, when: str, part: str) -> Evaluation:
        classes = len(self.dataset.classes)
        size = self.spec.training.batch_size if self.spec.evaluation.measure == "eq2425" else len(split.labels)
        group = torch.arange(len(split.labels), device=self.device) // size
        groups = -(-len(split.labels) // size)
        predicted, finite = self._predict(split.images, mapped=split.mapped)
        cell = (group * classes + split.labels) * classes + predicted
        counts = torch.bincount(cell, minlength=groups * classes**2).view(groups, classes, classes).cpu().numpy()
        # Asked of the device only now, when it has ended anyway.
        wrong = len(split.labels) - int(finite)
        if wrong:
            raise DivergedError(
                f"diverged at {when}: the logits of {wrong} of {len(split.labels)} {_PARTS[part]} are not finite"
            )
        batch_recall = float(metrics.batch_recalls(counts).mean()) if self.spec.evaluation.measure == "eq2425" else None
        return Evaluation(tuple(map(tuple, counts.sum(axis=0).tolist())), batch_recall)

    def predict(self, images: Tensor) -> Tensor:
        """Return the predicted class of each of the uint8 images."""
        return self._predict(images)[0]

    # Not inference_mode: what a layer keeps from an evaluation could then not be used in training.
    @torch.no_grad()
    def _predict(self, images: Tensor, *, mapped: bool = False) -> tuple[Tensor, Tensor]:
        """Return the predicted class of each of the uint8 images, and how many have logits that are finite."""
        self.network.eval()
        size = evaluated_at_once(self.device, images)
        ranges = (slice(start, start + size) for start in range(0, len(images), size))
        batches = self._taken(images, ranges, mapped=mapped)
        classes = []
        finite = torch.zeros((), dtype=torch.int64, device=self.device)
        for batch in batches:
            logits = self.prediction(forward=self._logits, images=self._pixels(batch))
            classes.append(logits.argmax(1))
            finite += logits.isfinite().all(1).sum()
        return torch.cat(classes), finite

    def _taken(self, images: Tensor, wanted: Iterable[Tensor | slice], *, mapped: bool) -> Iterator[Tensor]:
        """Yield `images[one]` for each of what is wanted, on the device."""
        if self.dataset.images_in == "memory":
            return fed(images, wanted, self.device, mapped=mapped)
        return (images[one] for one in wanted)

    def _pixels(self, images: Tensor) -> Tensor:
        """Return uint8 images as numbers in [0, 1], in the memory format that convolutions are fastest in."""
        # First to the device: as numbers they are four times as large.
        return images.to(self.device).to(self._dtype, memory_format=self._format).div_(255)

    def _logits(self, pixels: Tensor) -> Tensor:
        with autocast(self.precision, self.device):
            logits = self._passed(self._normalized(pixels))
        return logits.to(self._dtype)

    def _passed(self, given: Tensor) -> Tensor:
        """Return what the network makes of normalized pixels."""
        logits: Tensor = self.network(given)
        return logits

    def _normalized(self, pixels: Tensor) -> Tensor:
        return pixels.sub(self._mean).div_(self._std).to(self._given)

    def _keeping(self) -> Mapping[str, Tensor]:
        """Return where the best network so far is kept; nowhere if the last one is the result."""
        if self.spec.evaluation.keep == "last":
            return {}
        self.depends_on_length |= self.spec.evaluation.every != 1  # by what is evaluated because it is the last
        return {name: tensor.detach().clone() for name, tensor in self._changeable().items()}

    @torch.no_grad()
    def _keep(self) -> None:
        """Keep the network as it is evaluated, if the best one is kept."""
        own = self._tensors()
        for name, kept in self._best.items():
            kept.copy_(own[name])

    def conclude(self) -> None:
        """Make the network what came of the run, once it is trained."""
        kept: Mapping[str, Tensor] = self._best
        if not kept:
            with self._evaluated(max(self._validation, default=self.length.epochs)):
                kept = {name: tensor.detach().clone() for name, tensor in self._changeable().items()}
        with torch.no_grad():
            for name, tensor in self._changeable().items():
                tensor.copy_(kept[name])

    def _changeable(self) -> dict[str, Tensor]:
        """Return parameters and buffers without what shares its memory with itself, which cannot change."""
        return {name: tensor for name, tensor in self._tensors().items() if not overlaps_itself(tensor)}

    def _tensors(self) -> dict[str, Tensor]:
        return dict((*self.network.named_parameters(), *self.network.named_buffers()))


def _length(spec: Spec, images: int) -> Length:
    try:
        return Length.of(spec.training, images)
    except ValueError as error:
        raise BuildError(f"{spec.name}: training: {error}") from error


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of those that hold what is not finite, asking the device once."""
    numbers = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not numbers:
        return []
    found = torch.stack([tensor.detach().isfinite().all() for tensor in numbers.values()]).tolist()
    return [name for name, finite in zip(numbers, found, strict=True) if not finite]


def pixel_statistics(spec: Spec, train: Split) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation that pixels in [0, 1] are normalized with, each (channels, 1, 1)."""
    images = train.images
    channels = images.shape[1]
    mean, std = (torch.full((channels,), v) if isinstance(v, float) else None for v in (spec.data.mean, spec.data.std))
    if mean is None or std is None:
        # From counts of each of the 256 values: exact, and without a float copy of the images.
        counts = torch.zeros(channels, 256, dtype=torch.int64, device=images.device)
        for some in torch.split(images, max(1, _COUNTED_AT_ONCE // images[0].numel())):
            counts += torch.stack([torch.bincount(some[:, c].flatten().int(), minlength=256) for c in range(channels)])
            if train.mapped:
                pages.give_back(images.data_ptr(), images.numel())
        # On the CPU, for mps has no float64.
        weights = counts.cpu().double() / counts.cpu().sum(1, keepdim=True)
        values = torch.arange(256, dtype=torch.float64) / 255
        own_mean = weights @ values
        own_std = (weights @ values**2 - own_mean**2).clamp_min(1e-12).sqrt()
        mean = own_mean.float() if mean is None else mean
        std = own_std.float() if std is None else std
    return tuple(v.view(-1, 1, 1).to(images.device) for v in (mean, std))  # type: ignore[return-value]
