"""The views of a ledger as tables for other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo.errors import LedgerError, ZooError, near_misses
from zoo.ledger.store import Ledger

if TYPE_CHECKING:
    import pandas as pd

View = Literal["runs", "epochs"]
VIEWS: tuple[View, ...] = ("runs", "epochs")
_TYPES = {"INTEGER": "Int64", "REAL": "float64"}
FORMATS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False, lineterminator="\n"),
    "parquet": lambda frame, path: frame.to_parquet(path, engine="pyarrow", index=False),
}
"""How a table is written, by the ending of its file."""


def frame(ledger: Ledger, view: View) -> pd.DataFrame:
    """Return a view as a data frame."""
    import pandas as pd

    with ledger.file.transaction("DEFERRED") as connection:
        types = {row["name"]: row["type"] for row in connection.execute(f"PRAGMA table_info({view})")}
        rows = [tuple(row) for row in connection.execute(f"SELECT * FROM {view}")]
    table = pd.DataFrame(rows, columns=list(types))
    return table.astype({name: _TYPES.get(type_, "object") for name, type_ in types.items()})


def format_of(path: Path) -> str:
    """Return the format that a file's ending names.

    Raises:
        ZooError: it names none.
    """
    ending = path.suffix.removeprefix(".")
    if ending not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise ZooError(
            f"{path}: no table is written to files that end so{near_misses(ending, FORMATS)} Known: {known}."
        )
    return ending


def export(ledger: Ledger, view: View, path: Path) -> int:
    """Write a view to a file, in the format that its ending names, and return how many rows it has.

    Raises:
        LedgerError: the file cannot be written.
        ZooError: the ending names no format.
    """
    write = FORMATS[format_of(path)]
    table = frame(ledger, view)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(table, new)
        os.replace(new, path)
    except OSError as error:
        raise LedgerError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            new.unlink()
    return len(table)
