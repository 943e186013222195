"""Makes a site of the documentation: `python docs/site.py FOLDER`; needs `pip install '.[site]'`.

Sphinx reads the Markdown as it is (MyST), resolves every link between pages, and is strict: a link that leads nowhere
is an error. Its search needs no server, and the theme Furo nothing from elsewhere, so that the site works from a disk.
"""

from __future__ import annotations

import json
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
MEASURED = ("results/gallery/index", "benchmarks/results/README")
ABOUT = ("CHANGELOG", "CONTRIBUTING")


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
        timed=tuple(sorted(ledgers.glob("times/*.json"))),
    )
    write(texts(default_registry(), sources), folder)


def _stage(root: Path, pages: Iterable[str], source: Path) -> None:
    """Copy what the site is made of, its first page last: the README, and what leads to all others."""
    for found in (found for name in pages for found in root.glob(name)):
        place = source / found.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, place, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        else:
            shutil.copy(found, place)
    for notebook in source.rglob("*.ipynb"):
        notebook.with_suffix(".md").write_text(_page(notebook), encoding="utf-8")
    listed = []
    for title, folder in PARTS.items():
        if (source / folder).is_dir():
            names = sorted(path.stem for path in (source / folder).glob("*.md"))
            (source / folder / "index.md").write_text(f"# {title}\n\n{_list(names)}", encoding="utf-8")
            listed.append(f"{folder}/index")
    plugins = sorted(str(path.relative_to(source).with_suffix("")) for path in source.glob("plugins/**/*.md"))
    others = (name for name in (*MEASURED, *plugins, *ABOUT) if (source / f"{name}.md").exists())
    first = source / "README.md"
    first.write_text(f"{first.read_text(encoding='utf-8')}\n{_list([*listed, *others], hidden=True)}", encoding="utf-8")
    for page in source.rglob("*.md"):
        up = "../" * (len(page.relative_to(source).parts) - 1)
        page.write_text(
            page.read_text(encoding="utf-8").replace(f"]({up}README.md", f"]({up}index.md"), encoding="utf-8"
        )
    first.rename(source / "index.md")


def _list(names: Iterable[str], *, hidden: bool = False) -> str:
    """Return what leads to other pages; hidden, it stands beside the page only."""
    return "\n".join(["```{toctree}", ":maxdepth: 2", *[":hidden:"] * hidden, "", *names, "```", ""])


def _page(notebook: Path) -> str:
    """Return a notebook's texts and code as a page."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    written = [text if kind == "markdown" else f"```python\n{text}\n```" for text, kind in sources]
    return "\n\n".join([*written, f"This page as a notebook: [{notebook.name}]({notebook.name}).", ""])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/site.py FOLDER")
    sys.exit(build(Path(sys.argv[1])))
