"""Images and labels in one NumPy .npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo.data import Arrays, OwnFiles, files_fingerprint
from zoo.errors import DataError

_VALIDATION = ("val", "validation")
_CHANNELS = (1, 3)


@attrs.frozen
class Npz(OwnFiles):
    """A .npz file, as `numpy.savez` writes it.

    Images are uint8 and (images, height, width) or (images, height, width, channels) or (images, channels, height,
    width), where channels is 1 or 3. Labels are integers (images,) or (images, 1). `classes` holds names; without
    it, classes are called by their labels. There may be `val_images` and `val_labels`, and no test images. Pickled
    objects are refused.
    """

    path: str

    @property
    def title(self) -> str:
        """The name as it is written in a spec."""
        return f"npz:{self.path}"

    def missing(self) -> str | None:
        """Say that there is no such file."""
        return None if Path(self.path).is_file() else f"there is no file {self.path}"

    def fingerprint(self) -> str:
        """Return a digest of the file's path, size and time."""
        return files_fingerprint([self.path])

    def decode(self, resize: int | None = None) -> Arrays:
        """Read the arrays.

        Raises:
            DataError: it is no .npz file, an array is missing, holds objects, or has a shape that is none of the above.
        """
        arrays = self._read()
        prefixes = {"train": "train", "test": "test" if "test_images" in arrays or "test_labels" in arrays else None}
        prefixes["validation"] = self._validation(tuple(arrays))
        used = [f"{prefix}_{what}" for prefix in prefixes.values() if prefix for what in ("images", "labels")]
        absent = [name for name in used if name not in arrays]
        if absent:
            raise DataError(f"{self.path}: it has no array {absent[0]!r}; it has {', '.join(arrays) or 'none'}")
        unused = [name for name in arrays if name not in (*used, "classes")]
        parts = {
            part: (
                self._channels_first(f"{prefix}_images", arrays[f"{prefix}_images"]),
                self._labels(f"{prefix}_labels", arrays[f"{prefix}_labels"]),
            )
            for part, prefix in prefixes.items()
            if prefix
        }
        train_images, train_labels = parts["train"]
        test_images, test_labels = parts.get("test", (train_images[:0], train_labels[:0]))
        validation = parts.get("validation", (None, None))
        return Arrays(
            train_images,
            train_labels,
            test_images,
            test_labels,
            self._classes(arrays.get("classes"), train_labels),
            notes=(f"not used: {', '.join(unused)}",) if unused else (),
            validation_images=validation[0],
            validation_labels=validation[1],
        )

    @property
    def has_validation(self) -> bool:
        """Whether it has val_images or validation_images."""
        try:
            with zipfile.ZipFile(self.path) as file:
                names = tuple(name.removesuffix(".npy") for name in file.namelist())
        except (OSError, zipfile.BadZipFile):  # which reading it will tell
            return False
        return self._validation(names) is not None

    @staticmethod
    def _validation(names: tuple[str, ...]) -> str | None:
        """Return what the names of the arrays of a validation part begin with, if there is one."""
        return next((prefix for prefix in _VALIDATION if f"{prefix}_images" in names), None)

    def _read(self) -> dict[str, NDArray[Any]]:
        # Opened here, for numpy.load leaves a file open that it cannot read.
        with Path(self.path).open("rb") as file:
            try:
                members = np.load(file, allow_pickle=False)
            except (ValueError, EOFError, zipfile.BadZipFile):
                members = None
            if not isinstance(members, np.lib.npyio.NpzFile):
                raise DataError(f"{self.path} is not a .npz file as numpy.savez writes it")
            with members:
                return {name: self._member(members, name) for name in members.files}

    def _member(self, members: np.lib.npyio.NpzFile, name: str) -> NDArray[Any]:
        try:
            array = members[name]
            if not isinstance(array, np.ndarray):
                raise ValueError("it is not one that numpy wrote")
            return array
        # RuntimeError: it is encrypted, or compressed in a way that zipfile does not know.
        except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path}: the array {name!r} cannot be read: {error}") from error

    def _channels_first(self, name: str, images: NDArray[Any]) -> NDArray[Any]:
        if images.ndim == 3:
            return images[:, np.newaxis]
        first, last = (images.ndim == 4 and images.shape[axis] in _CHANNELS for axis in (1, 3))
        if first == last:
            raise DataError(
                f"{self.path}: {name} must be (images, height, width), or 4-dimensional with the channels, 1 or 3, "
                f"either second or last, got shape {images.shape}"
            )
        return images if first else images.transpose(0, 3, 1, 2)

    def _labels(self, name: str, labels: NDArray[Any]) -> NDArray[Any]:
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise DataError(
                f"{self.path}: {name} must be one integer for each image, got {labels.dtype} of shape {labels.shape}"
            )
        return labels

    def _classes(self, classes: NDArray[Any] | None, train_labels: NDArray[Any]) -> tuple[str, ...]:
        if classes is None:
            largest = int(train_labels.max(initial=0))
            if largest >= max(len(train_labels), 1):
                raise DataError(
                    f"{self.path}: train_labels go up to {largest}, but there are {len(train_labels)} of them; "
                    "labels number the classes from 0, and each class needs an image"
                )
            return tuple(str(label) for label in range(largest + 1))
        if classes.ndim != 1 or classes.dtype.kind != "U":
            raise DataError(
                f"{self.path}: classes must be a list of names, got {classes.dtype} of shape {classes.shape}"
            )
        return tuple(str(name) for name in classes)
