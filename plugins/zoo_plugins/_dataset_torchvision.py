"""Data sets that torchvision knows: their addresses, checksums and formats are its own.

What is kept is what was downloaded: archives, each of which appears when it is complete and its checksum right.
They are unpacked while they are decoded, into a folder that does not outlive that.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import attrs
import numpy as np

from zoo.data import Arrays, data_dir, files_fingerprint, scratch
from zoo.errors import DataError

MNIST_FILES = tuple(f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))
_DIGITS = tuple("0123456789")
_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 18


@attrs.frozen
class Archive:
    """One file to download: its name, the addresses to try in order, and its MD5 checksum."""

    name: str
    urls: tuple[str, ...]
    md5: str


@attrs.frozen
class Torchvision(ABC):
    """A data set of torchvision.

    Attributes:
        name: the variant's, which also names its folder of downloads.
        title: its name for people.
        class_name: its class in torchvision.datasets.
        files: the names of its archives.
        megabytes: how large the download is.
        shape: (channels, height, width) of every image.
        class_count: how many classes there are.
    """

    name: str
    title: str
    class_name: str
    files: tuple[str, ...]
    megabytes: int = attrs.field(kw_only=True)
    shape: tuple[int, int, int] = attrs.field(kw_only=True, default=(3, 32, 32))
    class_count: int = attrs.field(kw_only=True, default=10)

    @abstractmethod
    def archives(self, dataset: Any) -> list[Archive]:
        """Return what torchvision's class downloads."""

    @abstractmethod
    def read(self, dataset: Any, unpacked: Path) -> Arrays:
        """Unpack the archives into a folder and read them with torchvision's class."""

    @property
    def folder(self) -> Path:
        """Where the archives are."""
        return data_dir() / self.name

    def missing(self) -> str | None:
        """Say which archive is not there."""
        absent = [name for name in self.files if not (self.folder / name).is_file()]
        if not absent:
            return None
        return f"{self.folder} has no {absent[0]}; `zoo data get {self.name}` downloads {self.megabytes} MB"

    def get(self, report: Callable[[int, int], None]) -> None:
        """Download the archives that are missing or damaged.

        Raises:
            DataError: an archive cannot be had, or the folder cannot be written.
        """
        wanted = [archive for archive in self._archives() if not _is_sound(self.folder / archive.name, archive.md5)]
        done = 0
        for archive in wanted:
            with scratch(self.folder) as new:
                failures = []
                for url in archive.urls:
                    try:
                        done += _download(url, new / archive.name, archive.md5, done, report)
                        break
                    except _DownloadError as error:
                        failures.append(f"{urlsplit(url).hostname}: {error}")
                else:
                    raise self._cannot_get(wanted, failures)
                (new / archive.name).replace(self.folder / archive.name)

    def fingerprint(self) -> str:
        """Return a digest of the archives' paths, sizes and times."""
        return files_fingerprint(self.folder / name for name in self.files)

    def decode(self, resize: int | None = None) -> Arrays:
        """Unpack and read the archives.

        Raises:
            DataError: an archive's checksum is wrong.
        """
        for archive in self._archives():
            if not _is_sound(self.folder / archive.name, archive.md5):
                raise DataError(
                    f"{self.folder / archive.name} is damaged (its MD5 checksum is not {archive.md5}); "
                    f"delete it, and `zoo data get {self.name}` downloads it again"
                )
        with scratch(self.folder) as unpacked:
            return self.read(self._dataset(), unpacked)

    def _dataset(self) -> Any:
        import torchvision.datasets

        return getattr(torchvision.datasets, self.class_name)

    def _archives(self) -> list[Archive]:
        return self.archives(self._dataset())

    def _cannot_get(self, wanted: Iterable[Archive], failures: Iterable[str]) -> DataError:
        by_hand = [f"\n  {archive.name} from {archive.urls[0]}" for archive in wanted]
        return DataError(
            f"{self.title} cannot be downloaded ({'; '.join(failures)}). Try again, or put into {self.folder} by hand:"
            + "".join(by_hand)
        )


@attrs.frozen
class Cifar(Torchvision):
    """CIFAR-10 or CIFAR-100: one archive of pickled batches."""

    def archives(self, dataset: Any) -> list[Archive]:
        """Return the one archive."""
        return [Archive(dataset.filename, (dataset.url,), dataset.tgz_md5)]

    def read(self, dataset: Any, unpacked: Path) -> Arrays:
        """Read the batches, which torchvision checks one by one before it unpickles them."""
        from torchvision.datasets.utils import extract_archive

        extract_archive(self.folder / dataset.filename, unpacked)
        train, test = dataset(unpacked, train=True), dataset(unpacked, train=False)
        return Arrays(
            train.data.transpose(0, 3, 1, 2),
            np.asarray(train.targets, np.int64),
            test.data.transpose(0, 3, 1, 2),
            np.asarray(test.targets, np.int64),
            tuple(train.classes),
        )


@attrs.frozen
class Mnist(Torchvision):
    """MNIST or a data set of its form: four compressed IDX files."""

    def archives(self, dataset: Any) -> list[Archive]:
        """Return the four files, each on every mirror."""
        return [
            Archive(name, tuple(mirror + name for mirror in dataset.mirrors), md5) for name, md5 in dataset.resources
        ]

    def read(self, dataset: Any, unpacked: Path) -> Arrays:
        """Read the IDX files."""
        from torchvision.datasets.utils import extract_archive

        raw = unpacked / dataset.__name__ / "raw"
        raw.mkdir(parents=True)
        for name in self.files:
            extract_archive(self.folder / name, raw)
        train, test = dataset(unpacked, train=True), dataset(unpacked, train=False)
        return Arrays(
            train.data.numpy()[:, np.newaxis],
            train.targets.numpy(),
            test.data.numpy()[:, np.newaxis],
            test.targets.numpy(),
            # torchvision calls the classes of MNIST "0 - zero" and so on.
            tuple(name.partition(" - ")[0] for name in dataset.classes),
        )


@attrs.frozen
class Svhn(Torchvision):
    """SVHN: two MATLAB files, read in place."""

    def archives(self, dataset: Any) -> list[Archive]:
        """Return the two files."""
        lists = (dataset.split_list[part] for part in ("train", "test"))
        return [Archive(name, (url,), md5) for url, name, md5 in lists]

    def read(self, dataset: Any, unpacked: Path) -> Arrays:
        """Read the files; torchvision gives the digit 0, which they label 10, the label 0."""
        train, test = dataset(self.folder, split="train"), dataset(self.folder, split="test")
        return Arrays(train.data, train.labels, test.data, test.labels, _DIGITS)


class _DownloadError(Exception):
    """A file cannot be had from one address; says why."""


def _is_sound(file: Path, md5: str) -> bool:
    from torchvision.datasets.utils import check_integrity

    return bool(check_integrity(file, md5))


def _download(url: str, file: Path, md5: str, before: int, report: Callable[[int, int], None]) -> int:
    """Download one file and return its size; `before` bytes of others are reported as done.

    torchvision's own download shows its progress on stderr only, waits without end, and leaves half a file behind.
    """
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with file.open("wb") as target:
        for chunk, total in _chunks(url):
            target.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            report(before + done, before + max(done, total))
    if digest.hexdigest() != md5:
        raise _DownloadError(f"the {done} bytes that arrived have a wrong MD5 checksum")
    return done


def _chunks(url: str) -> Iterator[tuple[bytes, int]]:
    """Yield what is at an address piece by piece, each with the size of all (0 where the server does not say)."""
    try:
        with urlopen(Request(url, headers={"User-Agent": "zoo"}), timeout=_TIMEOUT_SECONDS) as response:
            total = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(_CHUNK_BYTES):
                yield chunk, total
    except HTTPError as error:
        raise _DownloadError(str(error)) from error
    except (OSError, HTTPException) as error:
        raise _DownloadError(str(getattr(error, "reason", error)) or repr(error)) from error
