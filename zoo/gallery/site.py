"""From Markdown to a site, by Sphinx and MyST: strict, whole in itself, searched without a server."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

from zoo.errors import ZooError

STATIC = Path(__file__).parent / "static"


def html(source: Path, output: Path, *, title: str, warn: bool = True) -> int:
    """Make a site of the Markdown below a folder; return Sphinx's exit code, which is not 0 where anything is amiss.

    Args:
        source: the folder; its `index.md` is the first page.
        output: where the site goes.
        title: of the site.
        warn: show what Python's libraries warn of, besides what is amiss with the pages.

    Raises:
        ZooError: Sphinx is not installed.
    """
    try:
        from sphinx.application import Sphinx
        from sphinx.util.docutils import docutils_namespace
    except ImportError:
        raise ZooError("a site takes Sphinx: pip install 'layer-zoo[site]'") from None
    with tempfile.TemporaryDirectory() as trees, warnings.catch_warnings(), docutils_namespace():
        if not warn:
            warnings.simplefilter("ignore")
        app = Sphinx(
            srcdir=source,
            confdir=None,
            outdir=output,
            doctreedir=trees,
            buildername="html",
            confoverrides={
                "project": title,
                "extensions": ["myst_parser"],
                "html_theme": "furo",
                "html_title": title,
                "html_copy_source": False,
                "html_static_path": [str(STATIC)],
                "html_css_files": ["plots.css"],
                "html_js_files": ["focus.js", "tables.js"],
                "html_show_copyright": False,
                "myst_heading_anchors": 4,
                # A page may begin with its second level, as a changelog does.
                "suppress_warnings": ["myst.header"],
            },
            status=None,
            warning=sys.stderr,
            warningiserror=True,
            freshenv=True,
        )
        app.build(force_all=True)
        return int(app.statuscode)
