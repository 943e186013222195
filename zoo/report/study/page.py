"""A study as one HTML page that needs nothing else: no script, font or image from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import attrs

from zoo import __version__
from zoo.report.study import arms, plots, tables
from zoo.report.study.cells import Table
from zoo.report.study.tuning import tuning_tables
from zoo.report.text import seed_span
from zoo.statistics.results import Effect
from zoo.study.comparable import held_out
from zoo.study.result import StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HERE = Path(__file__).parent
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
"""Inches of a plot: as wide as a phone at a readable size of text."""
_MOST_PAIRS = 4
"""Interactions that have a plot of their own."""


@attrs.frozen
class Picture:
    """A plot as SVG, its caption, and what it shows in words for those who do not see it."""

    svg: str
    caption: str


def page(result: StudyResult) -> str:
    """Return a study's HTML page.

    It holds the answer, the verdicts, plots, reference figures, change proofs, provenance and the command that repeats
    it. Its content security policy forbids everything from elsewhere.
    """
    title, *below = tables.heading(result)
    return rendered(
        title=title,
        about=below,
        answer=tables.answer(result),
        selection=[*tables.selection(result), *tables.arrivals(result)],
        verdicts=tables.verdicts(result),
        sentences=tables.sentences(result),
        searched=[*tables.steps(result), *tuning_tables(result)],
        sections=_sections(result),
        arms=[tables.arms_table(result), *tables.ranks(result)],
        fronts=tables.fronts(result),
        references=tables.references(result),
        proofs={change: "\n".join(lines) for change, lines in result.proofs.items()},
        provenance=provenance(result),
        notes=result.notes,
        command=result.command,
    )


def rendered(**shown: object) -> str:
    """Return the page that shows what is given, by its template's names."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_HERE / "sort.js").read_text(encoding="utf-8").strip()
    return environment.get_template("page.html.jinja").render(
        **shown,
        version=__version__,
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        is_text=Table.is_text,
    )


def provenance(result: StudyResult) -> dict[str, str]:
    """Return what the figures depend on besides the specs, each with all values that occur."""
    runs = [run for arm in result.arms for run in arm.runs]

    def of(key: str) -> list[str]:
        return [str(run.provenance.get(key, "")) for run in runs]

    data = result.study.base.data
    started = [time for time in of("started") if time]
    found: dict[str, list[str]] = {
        "data set": [run.dataset for run in runs],
        "digest of the data": [run.key.dataset for run in runs],
        "held out for validation": [
            held_out(attrs.asdict(data)).replace("%", "% of the training set", 1) if data.validation else ""
        ],
        "seeds": [seed_span(result.seeds)],
        "fresh seeds": [seed_span(result.fresh_seeds)],
        "seeds of tuning": [seed_span(result.tuned.seeds) if result.tuned else ""],
        "precision": [run.key.precision for run in runs],
        "device": of("device_name"),
        "engine": of("engine"),
        "threads": of("threads"),
        "zoo": of("zoo"),
        "torch": of("torch"),
        "Python": of("python"),
        "platform": of("platform"),
        "trained from": [min(started), max(started)] if started else [],
    }
    distinct = {name: list(dict.fromkeys(value for value in values if value)) for name, values in found.items()}
    joined = {name: (" to " if name == "trained from" else ", ").join(values) for name, values in distinct.items()}
    return {name: text for name, text in joined.items() if text}


def _sections(result: StudyResult) -> dict[str, list[Picture]]:
    """Draw all plots, by the heading that they stand under; a heading without any is left out."""
    draw = Drawing()
    select = result.study.design.select
    judged = min(len(result.claims) + len(result.effects), plots.MOST_EFFECTS)
    levels = sum(len(factor.levels) for factor in result.study.factors)
    sections: dict[str, list[Picture]] = {}
    if judged:
        sections["What each change does"] = [
            draw(
                lambda ax: plots.effect_plot(result, ax),
                plots.rows_height(judged),
                f"Difference in {select} recall with its {tables.interval(result)}. "
                f"The band is the margin of ±{result.study.design.margin:g}; filled marks help or hurt."
                + _of(judged, len(result.claims) + len(result.effects), "that differ most"),
                tables.answer(result),
            )
        ]
    if result.tuned and result.tuned.trials:
        sections["Recall at each setting"] = [
            draw(
                lambda ax: plots.sensitivity_plot(result, ax),
                3.2,
                f"{select.capitalize()} recall at each setting that was tuned over: mean and 95% interval over the "
                "seeds of tuning; filled: chosen.",
                "; ".join(f"{t.arm} with {t.setting.label}: {t.mean:.4f}" for t in result.tuned.trials),
            )
        ]
    pairs = _by_factors(tables.strongest(result))
    if pairs:
        sections["Interactions"] = [
            draw(
                lambda ax: plots.interaction_matrix(result, ax),
                1.4 + 0.45 * levels,
                "Main effects on the diagonal; off it, how two changes alter each other's effect. Bold: clear."
                + _of(min(len(pairs), _MOST_PAIRS), len(pairs), "that are strongest, drawn below", "interactions"),
                " ".join(tables.sentences(result)) or "No interaction is clear.",
            ),
            *(_pair(result, draw, *effect.levels) for effect in pairs[:_MOST_PAIRS]),
        ]
    featured = arms.featured(result)
    sections["Learning curves"] = [
        draw(
            lambda ax: plots.learning_curves(result, ax=ax),
            3.2,
            f"{select.capitalize()} recall after each epoch: mean over finished runs, band: 95% interval over seeds."
            + _of(len(featured), len(result.arms), "the base, what was chosen, and the best of the others", "arms"),
            _recalls(result, (arm.name for arm in featured)),
        )
    ]
    sections["Recall against cost"] = [
        draw(
            lambda ax, cost=cost: plots.recall_against(result, cost, ax),  # type: ignore[misc]
            3.2,
            f"{select.capitalize()} recall against {words}, means over seeds; the line joins those not beaten in both.",
            f"Not beaten: {', '.join(result.pareto[cost]) or 'none'}.",
        )
        for cost, words in tables.COSTS.items()
        if cost in result.pareto and arms.shared_cost(result, cost) is None
    ]
    base = result.arms[0].name
    shown = result.chosen or base
    if shown == base:
        shown = next((rank.arm for rank in result.ranks if rank.arm != base and rank.arm in result.per_class), base)
    if shown in result.per_class and shown != base:
        figures = zip(result.classes, result.per_class[shown], strict=True)
        sections["Recall by class"] = [
            draw(
                lambda ax: plots.class_recall(result, [shown], ax),
                plots.rows_height(min(len(result.classes), plots.MOST_CLASSES)),
                f"Mean difference in {select} recall of each class, {shown} less {base}."
                + _of(min(len(result.classes), plots.MOST_CLASSES), len(result.classes), "that differ most", "classes"),
                ", ".join(f"{name}: {value:+.4f}" for name, value in figures),
            )
        ]
    # While runs are missing, nothing is chosen, and the test images are not looked at.
    told = () if result.chosen is None or result.unconfirmed else tuple(dict.fromkeys((result.chosen, base)))
    confused = [arm for arm in told if arms.confusion(result.arm(arm), "test") is not None]
    if confused:
        sections["Confusion on test"] = [
            draw(
                lambda ax, name=name: plots.confusion(result, name, part="test", ax=ax),  # type: ignore[misc]
                4.6,
                f"{name}: predicted classes in percent of each true class, all finished runs together.",
                _recalls(result, [name], "test"),
            )
            for name in confused
        ]
    return {heading: pictures for heading, pictures in sections.items() if pictures}


def _of(shown: int, there_are: int, which: str, what: str = "differences") -> str:
    """Say how many of how many are shown, where not all are."""
    return f" Shown: {shown} of {there_are} {what}, {which}." if shown < there_are else ""


def _by_factors(effects: Iterable[Effect]) -> list[Effect]:
    """Return the first effect of each pair of factors."""
    first: dict[frozenset[str], Effect] = {}
    for effect in effects:
        first.setdefault(frozenset(effect.levels), effect)
    return list(first.values())


def _pair(result: StudyResult, draw: Drawing, first: str, second: str) -> Picture:
    sentence = next((e.sentence for e in result.effects if set(e.levels) == {first, second} and e.sentence), "")
    return draw(
        lambda ax: plots.interaction_plot(result, first, second, ax),
        3.2,
        f"{first} and {second}: {result.study.design.select} recall, 95% interval over seeds. {sentence}".strip(),
        sentence or f"No clear interaction between {first} and {second}.",
    )


def _recalls(result: StudyResult, names: Iterable[str], part: str | None = None) -> str:
    part = part or result.study.design.select
    return "; ".join(f"{name}: {part} recall {arms.recall(result.arm(name), part)[0]:.4f}" for name in names)


class Drawing:
    """Draws plots as SVG whose ids are unique in the page."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, plot: Callable[[Axes], Axes], height: float, caption: str, words: str) -> Picture:
        """Draw a plot of a height in inches."""
        from markupsafe import Markup
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self._count += 1
        ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        settings = {
            **dict.fromkeys(ink, _INK),
            "axes.facecolor": _CARD,
            "font.size": 9,
            "svg.fonttype": "none",
            "svg.hashsalt": "zoo",
        }
        with rc_context(settings):  # type: ignore[arg-type]
            figure = Figure(figsize=(_WIDTH, height), layout="constrained")
            figure.patch.set_visible(False)
            plot(figure.add_subplot())
            file = io.StringIO()
            figure.savefig(file, format="svg", metadata={"Date": None})
        return Picture(Markup(_inline(file.getvalue(), f"plot{self._count}", caption, words)), caption)


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
