"""From ledgers and the registry to a folder with the gallery."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from zoo.errors import ZooError
from zoo.gallery import checked, published, times
from zoo.gallery.effects import Field, fields
from zoo.gallery.gallery import Gallery
from zoo.gallery.pages import pages
from zoo.gallery.site import html
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.registry.hookspecs import KINDS
from zoo.spec import unstructure
from zoo.train.run import Run

Format = Literal["html", "markdown"]
FORMATS: tuple[Format, ...] = get_args(Format)
TITLE = "The measured zoo"
_MADE_OF = "gallery.json"
"""In the folder of a gallery: what it was made of."""


@attrs.frozen(kw_only=True)
class Sources:
    """What a gallery is made of, besides the registry.

    Attributes:
        ledgers: whose runs are compared.
        checks: what `zoo check --json` printed; None where checks are not shown.
        published: TOML files with figures of publications.
        title: of the front page.
        format: "html" for a site, "markdown" for its pages, to be part of another.
        times: whether training times of runs are compared; not where other programs ran beside, of which zoo knows
            nothing.
        timed: what `zoo time --json` printed; its ratios stand in place of those of runs.
    """

    ledgers: tuple[Path, ...]
    checks: Path | None = None
    published: tuple[Path, ...] = ()
    title: str = TITLE
    format: Format = "html"
    times: bool = True
    timed: tuple[Path, ...] = ()


def build(registry: Registry, sources: Sources, folder: Path) -> int:
    """Write a gallery into a folder, which is new, empty or holds one already; return how many pages it has.

    The folder is replaced as a whole, at the end: a reader sees the old or the new.

    Raises:
        ZooError: the folder holds something else, a source cannot be read, or the pages are not sound.
    """
    _require_own(folder)
    written = texts(registry, sources)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
            new = Path(work, "new")
            if sources.format == "html":
                write(written, Path(work, "pages"))
                if html(Path(work, "pages"), new, title=sources.title, warn=False):
                    raise ZooError("the gallery's pages are not sound; what Sphinx said above names the places")
            else:
                write(written, new)
            (new / _MADE_OF).write_text(json.dumps(_stated(sources, folder), indent=2) + "\n", encoding="utf-8")
            if folder.exists():
                folder.rename(Path(work, "old"))
            new.rename(folder)
    except OSError as error:
        raise ZooError(f"the gallery cannot be written to {folder}: {error.strerror}; name another folder") from error
    return sum(name.endswith(".md") for name in written)


def sources_of(folder: Path) -> Sources:
    """Return what the gallery in a folder was made of.

    Raises:
        ZooError: it holds none.
    """
    try:
        stated = json.loads((folder / _MADE_OF).read_text(encoding="utf-8"))
        return Sources(
            ledgers=tuple(folder / each for each in stated["ledgers"]),
            checks=folder / stated["checks"] if stated["checks"] else None,
            published=tuple(folder / each for each in stated["published"]),
            title=str(stated["title"]),
            format=stated["format"],
            times=bool(stated.get("times", True)),
            timed=tuple(folder / each for each in stated.get("timed", ())),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise ZooError(f"{folder} holds no gallery; `zoo gallery build -o {folder}` makes one") from None


def texts(registry: Registry, sources: Sources) -> dict[str, str]:
    """Return the text of every file of a gallery, Markdown and CSV, by its path.

    Raises:
        ZooError: a source cannot be read.
    """
    runs = stored(sources.ledgers)
    measured = [one for file in sources.timed for one in times.read(file)]
    if measured or not sources.times:
        # As for runs that shared the machine with others of zoo's: theirs are not compared.
        runs = [attrs.evolve(run, provenance={**run.provenance, "runs_at_once": "2"}) for run in runs]
    found = compared(registry, runs)
    return pages(
        Gallery(
            title=sources.title,
            registry=registry,
            runs=runs,
            fields=times.timed(found, measured) if measured else found,
            checked=checked.read(sources.checks) if sources.checks else {},
            published=[one for file in sources.published for one in published.read(file)],
            times=sources.times and not measured,
            timed_on=tuple(dict.fromkeys(f"{one.device_name}, {one.precision}" for one in measured)),
        )
    )


def compared(registry: Registry, runs: Sequence[Run]) -> list[Field]:
    """Return what there is to compare among runs."""
    defaults = {
        kind: {
            name: {field.name: unstructure(field.default) for field in attrs.fields(variant.options)}
            for name, variant in registry.variants(kind).items()
        }
        for kind in KINDS
    }
    return fields(runs, defaults)


def write(written: dict[str, str], folder: Path) -> None:
    """Write files below a folder, which is made."""
    for name, text in written.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def stored(ledgers: Sequence[Path]) -> list[Run]:
    """Return the runs of all ledgers; one that is in several, once for each device that it was trained on.

    Those of a device are held against each other, so that a base is needed on each.
    """
    found: dict[Any, Run] = {}
    for path in ledgers:
        with Ledger(path, create=False) as ledger:
            for run in ledger.runs():
                found.setdefault((run.key, run.provenance.get("device_name")), run)
    return list(found.values())


def _require_own(folder: Path) -> None:
    """Refuse to replace a folder that holds something else than a gallery.

    Raises:
        ZooError: it does, or is no folder.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ZooError(f"{folder} is no folder; name one that is new, or that holds a gallery")
    if any(folder.iterdir()) and not (folder / _MADE_OF).exists():
        raise ZooError(f"{folder} holds something else than a gallery; name a folder that is new or empty")


def _stated(sources: Sources, folder: Path) -> dict[str, Any]:
    """Return what a gallery is made of, as plain data, paths relative to its folder."""

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()

    return {
        "ledgers": [relative(path) for path in sources.ledgers],
        "checks": relative(sources.checks) if sources.checks else None,
        "published": [relative(path) for path in sources.published],
        "title": sources.title,
        "format": sources.format,
        "times": sources.times,
        "timed": [relative(path) for path in sources.timed],
    }
