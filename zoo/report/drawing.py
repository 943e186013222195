"""Plots as pictures of a page and as files."""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import attrs

from zoo.errors import ZooError, near_misses
from zoo.report import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "png", "pdf")
"""Of files that plots are written to."""
_INK, _CARD = "#010203", "#fcfdfe"
"""Stand for the page's colours of text and of the background while a plot is drawn."""
_COLORS = {
    _INK: "currentColor",
    _CARD: "var(--card)",
    plots.BLUE: "var(--blue)",
    plots.VERMILION: "var(--vermilion)",
    plots.GREEN: "var(--green)",
    plots.ORANGE: "var(--orange)",
    plots.PURPLE: "var(--purple)",
    plots.GREY: "var(--grey)",
}
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_WIDTH = 4.8
_LONGEST_NAME, _DIGEST = 100, 8
"""Characters of the name of a file, and of the digest at its end where it would be longer."""
"""Inches of a plot: as wide as a phone at a readable size of text."""
_DOTS_PER_INCH = 200


@attrs.frozen
class Plot:
    """What is to be drawn.

    Attributes:
        name: of its file, without an ending.
        draw: draws on the axes that it is given.
        height: in inches.
        caption: below it.
        words: what it shows, for those who do not see it.
    """

    name: str
    draw: Callable[[Axes], Axes]
    height: float
    caption: str
    words: str


Sections = Mapping[str, Sequence[Plot]]
"""Plots by the heading that they stand under."""


@attrs.frozen
class Picture:
    """A plot as SVG for a page, and its caption."""

    svg: str
    caption: str


def pictures(sections: Sections) -> dict[str, list[Picture]]:
    """Draw all plots for one page, whose ids are unique in it; a heading without any is left out."""
    from markupsafe import Markup

    numbers = iter(range(1, 1 + sum(map(len, sections.values()))))
    return {
        heading: [
            Picture(Markup(_inline(_page_svg(plot), f"plot{next(numbers)}", plot.caption, plot.words)), plot.caption)
            for plot in drawn
        ]
        for heading, drawn in sections.items()
        if drawn
    }


def write(sections: Sections, folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write each plot to files of its name in a folder, which is made; return them.

    Raises:
        ZooError: there is no such format, or they cannot be written.
    """
    for format_ in formats:
        if format_ not in FORMATS:
            raise ZooError(
                f"plots are not written as {format_!r}{near_misses(format_, FORMATS)} Known: {', '.join(FORMATS)}."
            )
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names: Counter[str] = Counter()
        for plot in (plot for drawn in sections.values() for plot in drawn):
            names[plot.name] += 1
            name = plot.name if names[plot.name] == 1 else f"{plot.name}-{names[plot.name]}"
            for format_ in formats:
                written.append(folder / f"{name}.{format_}")
                written[-1].write_bytes(_drawn(plot, format_, {"font.size": 9}))
    except OSError as error:
        raise ZooError(f"plots cannot be written to {folder}: {error.strerror}; name another folder") from error
    return written


def file_name(text: str) -> str:
    """Return text as the name of a file that every system takes; of a long one the end is a digest of the whole."""
    name = re.sub(r"[^A-Za-z0-9.=+-]+", "-", text).strip("-.") or "plot"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
    return f"{name[: _LONGEST_NAME - _DIGEST - 1]}-{digest}"


def _page_svg(plot: Plot) -> str:
    ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    settings: dict[str, Any] = {**dict.fromkeys(ink, _INK), "axes.facecolor": _CARD, "font.size": 9}
    return _drawn(plot, "svg", settings, bare=True).decode()


def _drawn(plot: Plot, format_: str, settings: dict[str, Any], *, bare: bool = False) -> bytes:
    """Draw a plot, without a background of its own where it is bare; equal plots are equal bytes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Text stays text, so that it can be searched, and edited for a paper.
    fixed: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "zoo", "pdf.fonttype": 42}
    dateless = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    with rc_context({**fixed, **settings}):  # type: ignore[dict-item]
        figure: Figure = Figure(figsize=(_WIDTH, plot.height), layout="constrained")
        figure.patch.set_visible(not bare)
        plot.draw(figure.add_subplot())
        file = io.BytesIO()
        figure.savefig(file, format=format_, metadata=dateless[format_], dpi=_DOTS_PER_INCH)
    return file.getvalue()


def _inline(text: str, name: str, title: str, description: str) -> str:
    """Return matplotlib's SVG as part of a page: named, with ids of its own and the page's colours."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            # Its style sheet would hold for the whole page; its metadata has addresses of vocabularies.
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for node in root.iter():
        for attribute, value in list(node.attrib.items()):
            if attribute == "id":
                value = f"{name}-{value}"
            elif attribute == _LINK:
                del node.attrib[attribute]
                attribute, value = "href", f"#{name}-{value[1:]}"
            elif attribute == "style":
                value = _COLOR.sub(lambda match: _COLORS.get(match[0], match[0]), value)
                # matplotlib's own fonts are not everywhere.
                value = re.sub(r"(font: [^;]*?px) [^;]*", r"\1 system-ui, sans-serif", value)
            node.set(attribute, value.replace("url(#", f"url(#{name}-"))
    root.set("width", "100%")
    del root.attrib["height"]
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for position, (tag, words) in enumerate((("title", title), ("desc", description))):
        node = ElementTree.Element(f"{{{_SVG}}}{tag}", id=f"{name}-{'title' if tag == 'title' else 'description'}")
        node.text = words
        root.insert(position, node)
    return ElementTree.tostring(root, encoding="unicode")


_COLOR = re.compile(r"#[0-9a-f]{6}")
