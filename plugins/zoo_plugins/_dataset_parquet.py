"""Images in Parquet files, as data sets are published on Hugging Face's hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from zoo.data import Arrays, ImageFile, OwnFiles, files_fingerprint
from zoo.data.listed import Listed, arrays_of, part_of_file, weights_of
from zoo.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH = 256


@attrs.frozen
class _Columns:
    """Which columns hold what; `names` are those of the classes, where the file's metadata state them."""

    image: str
    label: str
    weight: str | None
    names: tuple[str, ...] | None


@attrs.frozen
class Parquet(OwnFiles):
    """A Parquet file, or a folder of them, with a column of images and one of labels.

    The column of images has files' bytes, or structures with `bytes`, as Hugging Face's library writes them. That of
    labels is called `label`, or is the only one that the metadata call a ClassLabel; it has numbers from 0, or names.
    One called `weight` has a number from 0 on for each image, by which training may draw images.
    A file belongs to the part that its name begins with (`train-00000-of-00002.parquet`) or that its folder is called,
    or else to train. Images are in the order of the files' names and of the rows.
    """

    path: str

    @property
    def title(self) -> str:
        """The name as it is written in a spec."""
        return f"parquet:{self.path}"

    def missing(self) -> str | None:
        """Say that there is no such file, or none in the folder."""
        if not Path(self.path).exists():
            return f"there is no file or folder {self.path}"
        return None if self._files() else f"there is no file *.parquet in {self.path}"

    @property
    def has_validation(self) -> bool:
        """Whether a file is of the validation part."""
        return any(part_of_file(file, Path(self.path)) == "validation" for file in self._files())

    def fingerprint(self) -> str:
        """Return a digest of the files' paths, sizes and times."""
        return files_fingerprint(self._files())

    def decode(
        self,
        resize: int | None = None,
        *,
        fit: Literal["stretch", "pad", "crop"] = "stretch",
        skip_damaged: bool = False,
        group_by: str | None = None,
    ) -> Arrays:
        """Read all images, of which few are held encoded at once.

        Raises:
            DataError: a file is not as above, or an image cannot be read; names the file and the row.
        """
        files = self._files()
        with _opened(files[0]) as opened:
            columns = _columns(opened.schema_arrow, files[0], group_by)
        labels: list[Any] = []
        parts: list[str] = []
        names: list[str] = []
        groups: list[str] = []
        weights: list[Any] = []
        for file in files:
            wanted = [column for column in (columns.label, columns.weight, group_by) if column]
            with _opened(file) as opened:
                for column in wanted:
                    if column not in opened.schema_arrow.names:
                        raise DataError(f"{file}: it has no column {column!r}, which {files[0]} has")
                table = opened.read(columns=wanted)
            labels += table.column(columns.label).to_pylist()
            groups += [str(group) for group in table.column(group_by).to_pylist()] if group_by else []
            weights += table.column(columns.weight).to_pylist() if columns.weight else []
            parts += [part_of_file(file, Path(self.path))] * table.num_rows
            names += [f"{self._name(file)} row {row}" for row in range(table.num_rows)]
        notes: list[str] = []
        if columns.weight is not None:
            weights, note = weights_of(weights, names)
            notes.append(note)
        listed = Listed(
            labels=_named(labels, columns, names),
            parts=parts,
            names=names,
            groups=groups if group_by else None,
            weights=weights if columns.weight else None,
            classes=columns.names,
            notes=notes,
        )
        images = self._images(files, columns.image)
        return arrays_of(listed, images, resize=resize, fit=fit, skip_damaged=skip_damaged)

    def _files(self) -> list[Path]:
        root = Path(self.path)
        return sorted(root.rglob("*.parquet")) if root.is_dir() else [root]

    def _name(self, file: Path) -> str:
        return str(file.relative_to(self.path)) if Path(self.path).is_dir() else file.name

    def _images(self, files: list[Path], column: str) -> Iterator[ImageFile]:
        for file in files:
            row = 0
            with _opened(file) as opened:
                for batch in opened.iter_batches(_BATCH, columns=[column]):
                    for value in batch.column(0).to_pylist():
                        content = value.get("bytes") if isinstance(value, dict) else value
                        if not isinstance(content, bytes):
                            raise DataError(f"{file} row {row}: its {column} holds no bytes of an image")
                        yield ImageFile(f"{file} row {row}", content)
                        row += 1


@contextmanager
def _opened(file: Path) -> Iterator[pq.ParquetFile]:
    """Open a file; that what it holds is damaged is a `DataError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            yield opened
    except pa.ArrowException as error:
        raise DataError(f"{file} cannot be read as Parquet: {error}") from error


def _columns(schema: pa.Schema, file: Path, group_by: str | None) -> _Columns:
    has = f"it has {', '.join(f'{field.name} ({field.type})' for field in schema)}"
    images = [field.name for field in schema if _holds_images(field.type)]
    if len(images) != 1 and "image" not in images:
        raise DataError(f"{file}: it needs one column of images, with their files' bytes, or one called image; {has}")
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    stated = {name: about["names"] for name, about in features.items() if about.get("_type") == "ClassLabel"}
    label = "label" if "label" in schema.names else next(iter(stated), "") if len(stated) == 1 else ""
    if not label:
        raise DataError(f"{file}: it needs a column called label; {has}")
    if group_by is not None and group_by not in schema.names:
        raise DataError(f"{file}: data.group_by names no column: {group_by!r}; {has}")
    return _Columns(
        image="image" if "image" in images else images[0],
        label=label,
        weight="weight" if "weight" in schema.names else None,
        names=tuple(stated[label]) if label in stated else None,
    )


def _holds_images(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _named(labels: list[Any], columns: _Columns, names: list[str]) -> list[str]:
    """Return the name of each image's class."""
    named = []
    for label, where in zip(labels, names, strict=True):
        if columns.names is not None and isinstance(label, int) and 0 <= label < len(columns.names):
            named.append(columns.names[label])
        elif columns.names is None and isinstance(label, int | str) and label != "":
            named.append(str(label))
        else:
            known = f"one of {len(columns.names)} classes" if columns.names else "a number or a name"
            raise DataError(f"{where}: its {columns.label} is {label!r}, and not {known}")
    return named
