"""Makes a site of the documentation: `python docs/site.py FOLDER`; needs `pip install '.[site]'`.

Sphinx reads the Markdown as it is (MyST), resolves every link between pages, and is strict: a link that leads nowhere
is an error. Its search needs no server, and the theme Furo nothing from elsewhere, so that the site works from a disk.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs",
    "benchmarks/results",
    "plugins/*/README.md",
    "plugins/*/benchmarks",
)
"""What the site is made of, at the places where links between them expect it."""
PARTS = {
    "Tutorials": "docs/tutorials",
    "How to": "docs/how-to",
    "Reference": "docs/reference",
    "Explanation": "docs/explanation",
}
"""Folders of which each page is listed on a page of their own."""
GALLERY = Path("results/gallery")
FIRST, LAST = (
    ("README",),
    ("results/gallery/index", "benchmarks/results/README", "CHANGELOG", "CONTRIBUTING"),
)


def build(output: Path, *, root: Path = ROOT, pages: Sequence[str] = PAGES, gallery: bool = True) -> int:
    """Write the site of the pages below a folder; return Sphinx's exit code, which is not 0 where anything is amiss.

    Args:
        output: where the site goes.
        root: the folder that the pages are in.
        pages: patterns of what is shown.
        gallery: whether it has the gallery, of the ledgers in `results/gallery`.
    """
    from zoo.gallery.site import html

    with tempfile.TemporaryDirectory() as folder:
        if gallery:
            _write_gallery(root / GALLERY, Path(folder, GALLERY))
        _stage(root, pages, Path(folder))
        return html(Path(folder), output, title="zoo")


def _write_gallery(ledgers: Path, folder: Path) -> None:
    """Write the pages of the gallery of the ledgers in a folder."""
    from zoo import default_registry
    from zoo.gallery.build import Sources, texts, write

    checks = ledgers / "checks.json"
    sources = Sources(
        ledgers=tuple(sorted(ledgers.glob("*.sqlite"))),
        checks=checks if checks.exists() else None,
        published=tuple(ledgers.glob("*.toml")),
        times=False,  # much else ran on that machine
    )
    write(texts(default_registry(), sources), folder)


def _stage(root: Path, pages: Iterable[str], source: Path) -> None:
    """Copy what the site is made of, and write the page that lists it."""
    for found in (found for name in pages for found in root.glob(name)):
        place = source / found.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, place, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        else:
            shutil.copy(found, place)
    listed = [name for name in FIRST if (source / f"{name}.md").exists()]
    for title, folder in PARTS.items():
        if (source / folder).is_dir():
            names = sorted(path.stem for path in (source / folder).glob("*.md"))
            (source / folder / "index.md").write_text(_list(title, names), encoding="utf-8")
            listed.append(f"{folder}/index")
    listed += sorted(str(path.relative_to(source).with_suffix("")) for path in source.glob("plugins/**/*.md"))
    listed += [name for name in LAST if (source / f"{name}.md").exists()]
    (source / "index.md").write_text(_list("zoo", listed), encoding="utf-8")


def _list(title: str, names: Iterable[str]) -> str:
    """Return a page that lists others."""
    titled = ("Overview <README>" if name == "README" else name for name in names)
    return "\n".join([f"# {title}\n\n```{{toctree}}\n:maxdepth: 2\n", *titled, "```\n"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/site.py FOLDER")
    sys.exit(build(Path(sys.argv[1])))
