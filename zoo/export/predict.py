"""From image files to classes, by an exported network: files are read and resized as those that were measured."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.data import ImageFile, Options, is_image, read, room, split
from zoo.data.images import GREY, decode_file, quiet
from zoo.data.prepare import Prepared
from zoo.errors import DataError
from zoo.export.network import Description
from zoo.export.reading import read_exported
from zoo.registry import Registry, default_registry
from zoo.report.text import counted
from zoo.spec import Spec, structure
from zoo.statistics.intervals import mean_of_shares_interval
from zoo.train import metrics

_BATCH = 250


@attrs.frozen
class Prediction:
    """What a network says of an image.

    Attributes:
        file: its path.
        label: the class of the highest probability.
        probabilities: of each class, by name: the softmax of the logits.
    """

    file: str
    label: str
    probabilities: Mapping[str, float]

    @property
    def probability(self) -> float:
        """That of `label`."""
        return self.probabilities[self.label]


@attrs.frozen(eq=False)
class Evaluated:
    """Recall of a network on a part of a data set.

    Attributes:
        dataset: as it was named.
        part: "test", "validation", "train", or "all" where the data set has one part only.
        is_own: the network was trained on this data set, and the part is that which was measured then.
        recall: macro recall, over the classes that have images.
        interval: the ends of its 95% interval over images.
        classes: the names of the network's classes.
        confusion: counts of images by true class (row) and predicted class (column).
        notes: what is to be said of it.
    """

    dataset: str
    part: str
    is_own: bool
    recall: float
    interval: tuple[float, float]
    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    notes: tuple[str, ...]


def predict(network: str | Path, images: Iterable[str | Path], *, registry: Registry | None = None) -> list[Prediction]:
    """Return what an exported network says of image files of any size.

    They are read, turned, made RGB or grey, and resized as the images that the network was measured on.

    Args:
        network: the file, or the folder that it was exported to; safetensors or ONNX.
        images: files, or folders, whose images at any depth are taken in the order of their paths.
        registry: where the variants of its spec are looked up; all installed plugins when left out.

    Raises:
        ZooError: the network cannot be read, see `zoo.load_exported`.
        DataError: an image cannot be read, or is in colour while the network takes grey ones; names the file.
    """
    return Predictor(network, registry or default_registry()).predict(images)


class Predictor:
    """An exported network and how its images are read.

    Attributes:
        description: what its file says of it.
        notes: what is to be said of the images that it was last given.
    """

    def __init__(self, network: str | Path, registry: Registry) -> None:
        self._registry = registry
        self._logits: Callable[[Tensor], Tensor]
        self.description: Description
        self._logits, self.description = read_exported(Path(network), registry)
        self._spec: Spec = structure(self.description.spec, self.description.name, registry)
        self.notes: tuple[str, ...] = ()

    def predict(self, images: Iterable[str | Path]) -> list[Prediction]:
        """Return what the network says of image files; see `zoo.predict`."""
        files, found = iter(_files(images)), Counter[str]()
        predictions = []
        while batch := list(islice(files, _BATCH)):
            with quiet():
                pixels = np.stack([self._pixels(file, found) for file in batch])
            probabilities = self._logits(torch.from_numpy(pixels)).double().softmax(1).tolist()
            predictions += [self._prediction(file, row) for file, row in zip(batch, probabilities, strict=True)]
        self.notes = tuple(f"{fact}: {count}" for fact, count in sorted(found.items()))
        return predictions

    def _prediction(self, file: str, row: list[float]) -> Prediction:
        probabilities = dict(zip(self.description.classes, row, strict=True))
        return Prediction(file, max(probabilities, key=lambda name: probabilities[name]), probabilities)

    def _pixels(self, file: str, found: Counter[str]) -> NDArray[np.uint8]:
        channels, height, width = self.description.input_shape
        pixels, facts, size = decode_file(ImageFile(file, file), (height, width), self._spec.data.fit)
        if channels == 1 and GREY not in facts:
            raise DataError(f"{file} is in colour, and {self.description.name} was trained on grey images: convert it")
        if size != (height, width) and self._spec.data.resize is None:
            found[f"images that were not {width}x{height}, as all were that it was measured on, and were resized"] += 1
        found.update(fact for fact in facts if fact != GREY or channels != 1)
        return pixels[:channels]

    def evaluate(self, dataset: str, part: str | None = None) -> Evaluated:
        """Return the network's recall on a data set.

        Args:
            dataset: its name, such as "folder:PATH".
            part: "test", "validation", "train" or "all"; "test" where there is one, or else all images, when left out.

        Raises:
            DataError: it cannot be read, has no such part, or has other classes or images than the network takes.
        """
        channels, height, width = self.description.input_shape
        mine = Options.of(self._spec.data)
        side = mine.resize or (height if height == width else None)
        reading = Options(resize=side, fit=mine.fit if side else "stretch", skip_damaged=mine.skip_damaged)
        whole = self._read(dataset, reading, mine.group_by)
        own = self._own(whole, mine)
        data = own or whole
        chosen = part or ("test" if "test" in data.parts else "all")
        if chosen != "all" and chosen not in data.parts:
            raise DataError(f"{dataset} has no {chosen} part; it has {', '.join(data.parts)}")
        wanted = list(data.parts) if chosen == "all" else [chosen]
        labels = self._labels(data, dataset)[np.concatenate([data.parts[name][1] for name in wanted])]
        shape = data.parts[wanted[0]][0].shape[1:]
        if shape[1:] != (height, width) or shape[0] > channels:
            raise DataError(
                f"{dataset}: its images are of (channels, height, width) {shape}, and {self.description.name} takes "
                f"{self.description.input_shape}"
            )
        predicted = np.concatenate([each for name in wanted for each in self._predicted(data.parts[name][0])])
        count = len(self.description.classes)
        confusion = np.bincount(labels * count + predicted, minlength=count**2).reshape(count, count)
        recall, interval = _recall(confusion)
        notes = [*data.notes, *data.leaks, *(["grey images made colour"] if shape[0] < channels else [])]
        return Evaluated(
            dataset, chosen, own is not None, recall, interval, self.description.classes, confusion, tuple(notes)
        )

    def _predicted(self, images: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
        """Yield the numbers of the classes of some images after another."""
        for start in range(0, len(images), _BATCH):
            some = images[start : start + _BATCH]
            pixels = np.broadcast_to(some, (len(some), *self.description.input_shape))
            yield self._logits(torch.from_numpy(np.require(pixels, requirements=("C", "W")))).argmax(1).numpy()
            room.give_back(images)

    def _read(self, dataset: str, reading: Options, group_by: str | None) -> Prepared:
        """Read a data set, with the groups that the network's own was split by, if it has such."""
        if group_by is not None:
            with suppress(DataError):
                return read(dataset, self._registry, attrs.evolve(reading, group_by=group_by))
        return read(dataset, self._registry, reading)

    def _own(self, whole: Prepared, mine: Options) -> Prepared | None:
        """Return the data as the network was trained on it, if it was: the digest decides."""
        try:
            data = split(whole, mine, "")
        except DataError:  # it cannot be split as that was
            return None
        return data if data.digest == self.description.key["dataset"] else None

    def _labels(self, data: Prepared, name: str) -> NDArray[np.int64]:
        """Return the network's number of each class of a data set."""
        known = self.description.classes
        unknown = [one for one in data.classes if one not in known]
        if unknown:
            raise DataError(
                f"{name}: it has the class {unknown[0]!r}, and {self.description.name} knows only {', '.join(known)}"
            )
        return np.array([known.index(one) for one in data.classes], np.int64)


def _recall(confusion: NDArray[np.int64]) -> tuple[float, tuple[float, float]]:
    """Return macro recall over the classes that have images, and its interval."""
    true = confusion.sum(1)
    there = np.flatnonzero(true)
    right = np.diagonal(confusion)[there]
    recall = metrics.macro_recall(confusion) if len(there) == len(true) else float((right / true[there]).mean())
    return recall, mean_of_shares_interval(right.tolist(), true[there].tolist())


def _files(images: Iterable[str | Path]) -> Iterator[str]:
    for path in map(str, images):
        if not os.path.isdir(path):
            yield path
            continue
        found = sorted(
            os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names if is_image(name)
        )
        if not found:
            raise DataError(f"there is no image in {path}")
        yield from found


def described(evaluated: Evaluated) -> str:
    """Say in one line what recall is, and of what."""
    low, high = evaluated.interval
    images, classes = int(evaluated.confusion.sum()), int((evaluated.confusion.sum(1) > 0).sum())
    what = f"all {counted(images, 'image')}" if evaluated.part == "all" else f"{images} {evaluated.part} images"
    own = "trained on" if evaluated.part in ("train", "all") else "measured on when it was trained"
    remark = f", which it was {own}" if evaluated.is_own else ""
    recall = f"recall {evaluated.recall:.4f} [{low:.4f}, {high:.4f}] over {classes} classes"
    return f"{recall}; {what} of {evaluated.dataset}{remark}"
