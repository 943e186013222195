"""Images in tar files, as the library WebDataset has them."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import attrs

from zoo.data import Arrays, ImageFile, OwnFiles, files_fingerprint, is_image
from zoo.data.listed import Listed, arrays_of, part_of_file
from zoo.errors import DataError

_ENDINGS = (".tar", ".tar.gz", ".tgz")
_KEYS = ("label", "cls")
_MOST_SHOWN = 5


class _Sample(NamedTuple):
    """What a shard says of one image: its name there, and that of its class."""

    image: str
    label: str


@attrs.frozen
class WebDataset(OwnFiles):
    """A tar file, or a folder of them (shards), in which files that stand together and share a name are one sample.

    A sample's name ends at the first dot of the file's name. It has one image, and its class: in a file `.cls`, which
    holds a number or a name, or in a file `.json`, as `label` or `cls`. What else it has is not used. A shard belongs
    to the part that its name begins with (`train-000000.tar`) or that its folder is called, or else to train. Images
    are in the order of the shards' names and as they stand in them.
    """

    path: str

    @property
    def title(self) -> str:
        """The name as it is written in a spec."""
        return f"wds:{self.path}"

    def missing(self) -> str | None:
        """Say that there is no such file, or none in the folder."""
        if not Path(self.path).exists():
            return f"there is no file or folder {self.path}"
        return None if self._shards() else f"there is no file {', '.join(f'*{end}' for end in _ENDINGS)} in {self.path}"

    @property
    def has_validation(self) -> bool:
        """Whether a shard is of the validation part."""
        return any(part_of_file(shard, Path(self.path)) == "validation" for shard in self._shards())

    def fingerprint(self) -> str:
        """Return a digest of the shards' paths, sizes and times."""
        return files_fingerprint(self._shards())

    def decode(
        self,
        resize: int | None = None,
        *,
        fit: Literal["stretch", "pad", "crop"] = "stretch",
        skip_damaged: bool = False,
    ) -> Arrays:
        """Read all images, of which few are held encoded at once.

        Raises:
            DataError: a shard is not as above, or an image cannot be read; names the shard and the file in it.
        """
        shards = self._shards()
        unused: Counter[str] = Counter()
        by_shard = {shard: _samples(shard, unused) for shard in shards}
        listed = Listed(
            labels=[sample.label for samples in by_shard.values() for sample in samples],
            parts=[part_of_file(shard, Path(self.path)) for shard, samples in by_shard.items() for _ in samples],
            names=[f"{shard.name}/{sample.image}" for shard, samples in by_shard.items() for sample in samples],
            notes=_notes(unused),
        )
        if not listed.labels:
            raise DataError(f"{self.path}: its tar files hold no sample with an image")
        return arrays_of(listed, _images(by_shard), resize=resize, fit=fit, skip_damaged=skip_damaged)

    def _shards(self) -> list[Path]:
        root = Path(self.path)
        if not root.is_dir():
            return [root]
        return sorted(
            file for file in root.rglob("*") if file.name.endswith(_ENDINGS) and not file.name.startswith(".")
        )


def _notes(unused: Counter[str]) -> list[str]:
    if not unused:
        return []
    most = ", ".join(f"{ending} ({number})" for ending, number in unused.most_common(_MOST_SHOWN))
    return [f"files of samples that are not used: {most}"]


@contextmanager
def _opened(shard: Path) -> Iterator[tarfile.TarFile]:
    """Open a shard; that what it holds is damaged is a `DataError`."""
    try:
        with tarfile.open(shard) as opened:
            yield opened
    except (tarfile.TarError, EOFError, zlib.error) as error:
        # What tarfile says has a line for each compression that it tried.
        why = str(error).partition("\n")[0].rstrip(":")
        raise DataError(f"{shard} cannot be read as a tar file: {why}") from error


def _members(opened: tarfile.TarFile) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Yield of each file the name of its sample and its ending, without hidden ones."""
    for member in opened:
        folder, slash, file = member.name.rpartition("/")
        name, dot, ending = file.partition(".")
        if member.isfile() and name and dot:
            yield f"{folder}{slash}{name}", f".{ending.lower()}", member
    # tarfile takes a file that breaks off for one that ends.
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it breaks off")


def _content(opened: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = opened.extractfile(member)
    assert file is not None  # for it is a file
    return file.read()


def _samples(shard: Path, unused: Counter[str]) -> list[_Sample]:
    """Return the samples of a shard, and count what is not used of them by its ending."""
    found: list[_Sample] = []
    known: set[str] = set()
    name, image, label = "", "", ""

    def end() -> None:
        if image and not label:
            raise DataError(
                f"{shard}: {image} has no class: a file {name}.cls, or {name}.json with {' or '.join(_KEYS)}"
            )
        if image:
            found.append(_Sample(image, label))
        elif label:
            raise DataError(f"{shard}: {name} has a class, but no image that stands beside it")

    with _opened(shard) as opened:
        for of, ending, member in _members(opened):
            if of != name:
                end()
                if of in known:
                    raise DataError(f"{shard}: the files of {of} do not stand together")
                known.add(of)
                name, image, label = of, "", ""
            if is_image(f"image{ending}"):
                if image:
                    raise DataError(f"{shard}: {of} has several images, {image} and {member.name}")
                image = member.name
            elif ending == ".cls":
                label = _content(opened, member).decode(errors="replace").strip()
            elif ending == ".json":
                label = label or _label(_content(opened, member), f"{shard}: {member.name}")
            else:
                unused[ending] += 1
        end()
    return found


def _label(content: bytes, where: str) -> str:
    """Return the class that JSON states; "" where it states none."""
    try:
        stated: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON: {error}") from error
    values = [stated[key] for key in _KEYS if isinstance(stated, dict) and key in stated]
    if values and (isinstance(values[0], bool) or not isinstance(values[0], int | str)):
        raise DataError(f"{where}: the class {values[0]!r} is neither a number nor a name")
    return str(values[0]) if values else ""


def _images(by_shard: dict[Path, list[_Sample]]) -> Iterator[ImageFile]:
    for shard, samples in by_shard.items():
        wanted = {sample.image for sample in samples}
        with _opened(shard) as opened:
            for _, _, member in _members(opened):
                if member.name in wanted:
                    yield ImageFile(f"{shard}/{member.name}", _content(opened, member))
