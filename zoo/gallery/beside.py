"""The gallery's page of what publications report, beside what was measured."""

from __future__ import annotations

import math
from collections import Counter

from zoo.errors import ZooError
from zoo.gallery.effects import place_text
from zoo.gallery.gallery import Gallery, page_of
from zoo.gallery.myst import FIGURES, SORTABLE, joined, link, table
from zoo.gallery.published import Published, agreement
from zoo.report.details import finished
from zoo.report.markup import code, markdown
from zoo.report.text import counted, difference, lengths_in_words, with_interval
from zoo.spec import unstructure
from zoo.spec.resolve import resolve
from zoo.statistics.intervals import mean_interval
from zoo.statistics.verdicts import MARGIN
from zoo.study.measure import measured


def published_page(gallery: Gallery) -> str:
    """Return the page, as MyST Markdown."""
    lines = [
        "# Published beside measured",
        "What publications report of variants, beside the verdicts of this gallery. Their networks and data are "
        "others, and most report one run: that a verdict agrees says that the direction is the same here. A difference "
        f"of at most {MARGIN:g} is of no practical importance, here and there. What is measured with other options or "
        "in other places of the network is not the same, and neither agrees nor disagrees.",
    ]
    counts: Counter[str] = Counter()
    for one in gallery.published:
        rows = [row for variant in one.values if variant != one.against for row in _beside(gallery, one, variant)]
        counts.update(row["here"].partition(":")[0] for row in rows)
        lines += [
            f"## {markdown(one.kind)}: {markdown(one.source)}",
            f"{markdown(one.setting)}. {_source(one)}{markdown(one.against)} has {one.values[one.against]:.4f}; "
            f"differences in {markdown(one.figure)} are to that.",
            table(rows, f"{one.kind}, {one.source}", SORTABLE, FIGURES),
        ]
    lines += _references(gallery)
    if not gallery.published:
        lines.insert(2, "No figures of variants were given: `--published FILE.toml` states some.")
    elif counts:
        lines.insert(
            2,
            f"{counted(counts.total(), 'row')}: "
            + ", ".join(f"{text} ({n})" for text, n in counts.most_common())
            + ".",
        )
    return joined(lines)


def _source(one: Published) -> str:
    return f"[Source]({one.url}). " if one.url else ""


def _references(gallery: Gallery) -> list[str]:
    """Return what publications report of whole networks, beside the runs of these that there are."""
    rows = []
    for name in gallery.registry.specs:
        try:
            spec = resolve(name, registry=gallery.registry)
        except ZooError:  # of a plugin that failed, which has been said
            continue
        if spec.reference is None:
            continue
        runs = finished([run for run in gallery.runs if run.key.spec == spec.identity])
        told = {
            "spec": code(name),
            "trained": markdown(f"{lengths_in_words([unstructure(spec)])} on {spec.data.dataset}"),
            "source": markdown(spec.reference.source),
            "published, train": _recall(spec.reference.train_recall),
            "published, test": _recall(spec.reference.test_recall),
        }
        for part in ("train", "test"):
            own = mean_interval([measured(run, part) for run in runs]) if runs else (math.nan, None)
            told[f"measured, {part}"] = with_interval(*own) or "not measured"
        rows.append(told)
    if not rows:
        return []
    return [
        "## Whole networks",
        "Recalls that publications report of networks that are registered here as specs, on the training images and on "
        "the test images. To measure one takes its epochs on its data set: `zoo benchmark SPEC`. None is compared with "
        "shorter runs, or with those of another data set.",
        table(rows, "Recalls of whole networks", SORTABLE),
    ]


def _recall(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _beside(gallery: Gallery, one: Published, variant: str) -> list[dict[str, str]]:
    """Return a row for each measurement of a variant against the same other one; one that says that there is none."""
    shift = one.difference(variant)
    known = variant in gallery.registry.variants(one.kind)
    shown = {
        "variant": link(variant, page_of(one.kind, variant)) if known else markdown(variant),
        "published": f"{shift:+.4f}",
    }
    found = [
        {
            **shown,
            "measured": difference(judged.comparison.difference, judged.comparison.low, judged.comparison.high),
            "here": f"not the same: {markdown(unlike)}" if unlike else agreement(shift, judged.comparison),
            "in": f"{markdown(field.base.name)} on {markdown(field.heading.dataset)}",
            "where": code(place_text(arm)),
        }
        for field in gallery.of_kind(one.kind)
        if field.base.variant == one.against
        for arm, judged in field.of(variant)
        if not judged.unlike
        for unlike in [one.unlike(arm, field.kind)]
    ]
    return found or [{**shown, "measured": "", "here": "not measured", "in": "", "where": ""}]
