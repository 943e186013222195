"""Image files that a table lists."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from zoo.data import Arrays, ImageFile, OwnFiles, files_fingerprint
from zoo.data.listed import PARTS, Listed, arrays_of, part_of, weights_of
from zoo.errors import DataError

_REQUIRED = ("file", "label")
_Rows = list[dict[str, str]]


@attrs.frozen
class Csv(OwnFiles):
    """A CSV file with the columns `file` and `label`, maybe `part` and `weight`, and others that `group_by` may name.

    `file` is a path, relative to the table's folder. `part` is train, test or validation (or val, valid); without it,
    all images are for training. Classes are numbered in the order of their labels: of numbers, if all are, or else
    alphabetical. Images are in the order of the rows. `weight` is a number from 0 on, by which training may
    draw images.
    """

    path: str

    @property
    def title(self) -> str:
        """The name as it is written in a spec."""
        return f"csv:{self.path}"

    def missing(self) -> str | None:
        """Say that there is no such file."""
        return None if Path(self.path).is_file() else f"there is no file {self.path}"

    @property
    def has_validation(self) -> bool:
        """Whether a row is of the validation part."""
        return any(PARTS.get(row.get("part", "")) == "validation" for row in self._rows())

    def fingerprint(self) -> str:
        """Return a digest of the paths, sizes and times of the table and its files."""
        files = (self._file(row) for row in self._rows())
        return files_fingerprint([self.path, *(file for file in files if os.path.exists(file))])

    def decode(
        self,
        resize: int | None = None,
        *,
        fit: Literal["stretch", "pad", "crop"] = "stretch",
        skip_damaged: bool = False,
        group_by: str | None = None,
    ) -> Arrays:
        """Read all images.

        Raises:
            DataError: the table is not as above, or an image cannot be read; names the line or the file.
        """
        rows = self._rows()
        if group_by is not None and group_by not in rows[0]:
            raise DataError(f"{self.path}: data.group_by names no column: {group_by!r}; it has {', '.join(rows[0])}")
        used = {*_REQUIRED, "part", "weight", *([group_by] if group_by else [])}
        unused = [name for name in rows[0] if name not in used]
        lines = [f"{self.path} line {line}" for line in range(2, len(rows) + 2)]
        notes = [f"columns not used: {', '.join(unused)}"] if unused else []
        weights = None
        if "weight" in rows[0]:
            weights, note = weights_of((row["weight"] for row in rows), lines)
            notes.append(note)
        listed = Listed(
            labels=[row["label"] for row in rows],
            parts=[part_of(row.get("part", "train"), line) for row, line in zip(rows, lines, strict=True)],
            names=[row["file"] for row in rows],
            groups=None if group_by is None else [row[group_by] for row in rows],
            weights=weights,
            notes=notes,
        )
        files = (ImageFile(self._file(row), self._file(row)) for row in rows)
        return arrays_of(listed, files, resize=resize, fit=fit, skip_damaged=skip_damaged)

    def _file(self, row: Mapping[str, str]) -> str:
        return os.path.join(os.path.dirname(self.path), row["file"])

    def _rows(self) -> _Rows:
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, strict=True)
                columns, rows = reader.fieldnames or (), list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{self.path} cannot be read as a table in UTF-8: {error}") from error
        self._check(columns, rows)
        return rows

    def _check(self, columns: Sequence[str], rows: _Rows) -> None:
        for name in _REQUIRED:
            if name not in columns:
                has = f"it has {', '.join(columns)}" if columns else "it is empty"
                raise DataError(f"{self.path}: it has no column {name!r}; {has}")
        if not rows:
            raise DataError(f"{self.path}: it has no row")
        for line, row in enumerate(rows, 2):
            if None in row or None in row.values():
                raise DataError(
                    f"{self.path} line {line}: it does not have {len(columns)} values as the first line has"
                )
            empty = next((name for name in _REQUIRED if not row[name]), None)
            if empty:
                raise DataError(f"{self.path} line {line}: its {empty} is empty")
