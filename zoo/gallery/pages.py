"""The gallery's pages, as MyST Markdown that Sphinx makes a site of."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from zoo.gallery import drawings, functions, tables
from zoo.gallery.beside import published_page
from zoo.gallery.effects import Arm, Field, place_text
from zoo.gallery.gallery import Gallery, page_of
from zoo.gallery.myst import FIGURES, SORTABLE, contents, csv_text, fence, figures, joined, link, table
from zoo.gallery.repeating import command
from zoo.registry import Variant
from zoo.registry.hookspecs import KINDS, VariantKind
from zoo.report.drawing import Plot, file_name, pictures
from zoo.report.labels import differences
from zoo.report.markup import code, markdown
from zoo.report.page import provenance
from zoo.report.text import (
    counted,
    duration,
    lengths_in_words,
    seed_span,
)
from zoo.report.verdict import LOSSES, Judged
from zoo.spec import describe_type, unstructure
from zoo.statistics.verdicts import LEVEL

VERDICTS = ("helps", "hurts", "no practical difference", "undecided")
_IN_WORDS = {
    "helps": "help",
    "hurts": "hurt",
    "no practical difference": "make no practical difference",
    "undecided": "are undecided",
}


def pages(gallery: Gallery) -> dict[str, str]:
    """Return the text of every file by its path: Markdown, and tables as CSV."""
    kinds = [kind for kind in KINDS.values() if gallery.registry.variants(kind.name)]
    found = {"index.md": _front(gallery, kinds), "published.md": published_page(gallery)}
    for kind in kinds:
        found |= _kind(gallery, kind)
        for variant in gallery.registry.variants(kind.name).values():
            found[f"{page_of(kind.name, variant.name)}.md"] = _variant(gallery, variant)
    return found


def _front(gallery: Gallery, kinds: Sequence[VariantKind]) -> str:
    verdicts = _counts(found for field in gallery.fields for found in field.verdicts)
    shown = (*VERDICTS, *(verdict for verdict in LOSSES if verdicts[verdict]))
    rows = []
    for kind in kinds:
        own = gallery.of_kind(kind.name)
        variants = gallery.registry.variants(kind.name)
        seen = {arm.variant for field in own for arm in field.every} & set(variants)
        counts = _counts(found for field in own for found in field.verdicts)
        rows.append(
            {
                "kind": f"[{kind.name}]({kind.name}/index.md)",
                "variants": str(len(variants)),
                "measured": str(len(seen)),
                "tables": str(len(own)),
                **{verdict: str(counts[verdict]) for verdict in shown},
            }
        )
    every = [run for field in gallery.fields for run in field.runs]  # a base may be in several
    number = sum(len(gallery.registry.variants(kind.name)) for kind in kinds)
    lines = [
        f"# {markdown(gallery.title)}",
        f"{counted(number, 'variant')} of {counted(len(kinds), 'kind')}, each with its options, what it is checked "
        "for, and what it was measured to do: seed by seed against the usual variant of its kind, in the same network, "
        "with all else equal.",
        _claims(verdicts, gallery.fields),
        table(rows, "What was measured"),
        "A variant may be in several tables: one for each network and data set. What was not measured is said not to "
        "be; what could not be decided with these seeds is undecided.",
        "[Published beside measured](published.md) holds figures of publications against these.",
        *_provenance(list({(run.key, run.provenance.get("device_name")): run for run in every}.values())),
        _times(gallery),
        contents(["published", *(f"{kind.name}/index" for kind in kinds)]),
    ]
    return joined(lines)


def _times(gallery: Gallery) -> str:
    """Say where ratios of training times are from, if not from the runs."""
    if gallery.timed_on:
        return (
            "Ratios of times are of training steps that `zoo time` made side by side, on "
            f"{markdown('; '.join(gallery.timed_on))}, with 95% intervals. Where there is none, it was not measured."
        )
    return "" if gallery.times else "Training times are not compared: other programs ran beside these runs."


def _claims(verdicts: Mapping[str, int], fields: Sequence[Field]) -> str:
    """Say how many claims there are, and how many of them must be expected to be false."""
    total = sum(verdicts.get(verdict, 0) for verdict in VERDICTS)
    if not total:
        return "**Nothing was measured yet.** There is no run to compare in the ledgers."
    tables = len(fields)
    losing = sum(any(found.losses for found in field.verdicts) for field in fields)
    told = [f"{verdicts.get(name, 0)} {word}" for name, word in _IN_WORDS.items()]
    lost = (
        f"; more runs are lost with {verdicts.get(LOSSES[0], 0)}, fewer with {verdicts.get(LOSSES[1], 0)}"
        if losing
        else ""
    )
    too = (
        f" Claims about lost runs are corrected for themselves: of {counted(losing, 'table')} with lost runs at most "
        f"{LEVEL * losing:.2g} more."
    )
    return (
        f"**{counted(total, 'comparison')} in {counted(tables, 'table')}: {', '.join(told)}{lost}.** In each table the "
        f"chance that any claim of a difference is false is at most {LEVEL:.0%}, for p and intervals are corrected for "
        f"the number of its claims. So of {counted(tables, 'table')} at most {LEVEL * tables:.2g} must be expected to "
        "hold a false claim of a difference; where variants do nothing, half of those would say that one helps: "
        f"{LEVEL * tables / 2:.2g}. The chance that any claim of no practical difference is false is at most as large "
        "again, in each table."
        f"{too if losing else ''}"
    )


def _counts(found: Iterable[Judged]) -> Counter[str]:
    """Return how often there is each verdict, on recall and on lost runs."""
    return Counter(verdict for one in found for verdict in one.outcomes)


def _told(counts: Mapping[str, int], form: str) -> str:
    """Say how often there is each verdict."""
    shown = (*VERDICTS, "not compared", *LOSSES)
    return ", ".join(form.format(verdict, counts[verdict]) for verdict in shown if counts[verdict])


def _kind(gallery: Gallery, kind: VariantKind) -> dict[str, str]:
    """Return the files of a kind: its page, and its tables."""
    variants = gallery.registry.variants(kind.name)
    own = gallery.of_kind(kind.name)
    found: dict[str, str] = {}
    drawn: dict[str, list[Plot]] = {}
    for number, field in enumerate(own, 1):
        drawn[f"differences {number}"] = drawings.differences(field, number)
        drawn[f"cost {number}"] = drawings.costs(field, number)
        found[f"{kind.name}/table-{number}.csv"] = csv_text(tables.records(field))
        found[f"{kind.name}/wins-{number}.csv"] = csv_text(tables.wins(field))
    shown = pictures(drawn)
    lines = [f"# {kind.name}", f"{kind.purpose[0].upper()}{kind.purpose[1:]}."]
    for number, field in enumerate(own, 1):
        rows, same = tables.without_same(tables.rows(gallery, field))
        lines += [
            f"## {_title(field, own)}",
            _said(field),
            table(rows, f"Each against {field.base.label}", SORTABLE, FIGURES),
            same,
            f"{tables.about_verdicts(field)} {{download}}`CSV <table-{number}.csv>`",
            *figures(shown.get(f"differences {number}", [])),
            *figures(shown.get(f"cost {number}", [])),
            *tables.win_lines(field, number),
            *_provenance(field.runs),
        ]
    lines.append(_times(gallery) if own else "")
    if not own:
        lines.append("None of these was measured.")
    rows = [
        {
            "variant": link(variant.name, file_name(variant.name)),
            "what it is": markdown(variant.description),
            "measured": markdown(_summary(own, variant.name)),
        }
        for variant in variants.values()
    ]
    lines += ["## All variants", table(rows, f"Every {kind.name} that is registered", SORTABLE)]
    lines.append(contents(map(file_name, variants)))
    found[f"{kind.name}/index.md"] = joined(lines)
    return found


def _title(field: Field, own: Sequence[Field]) -> str:
    """Return a heading: where it was measured, and in what a base differs from others of that name there."""
    same = [each for each in own if (each.base.name, each.heading) == (field.base.name, field.heading)]
    told = ""
    if len(same) > 1:
        number = same.index(field)
        told = f" ({differences([each.base.spec for each in same], ())[number] or number + 1})"
    return markdown(f"In {field.base.name}, on {field.heading}{told}")


def _said(field: Field) -> str:
    return (
        f"{counted(len(field.arms), 'change')} of the {field.kind} {markdown(field.base.label)}, with "
        f"{counted(len(field.seeds), 'seed')} ({seed_span(field.seeds)}): {_told(_counts(field.verdicts), '{1} {0}')}."
    )


def _summary(own: Sequence[Field], variant: str) -> str:
    """Say in a few words what was found of a variant."""
    counts = _counts(found for field in own for _, found in field.of(variant))
    if counts:
        return _told(counts, "{} ({})")
    if any(variant == field.base.variant for field in own):
        return "what others are held against"
    return "not measured"


def _variant(gallery: Gallery, variant: Variant) -> str:
    own = [field for field in gallery.of_kind(variant.kind) if field.of(variant.name)]
    drawn: dict[str, list[Plot]] = {}
    if variant.kind == "activation" and (function := functions.plot(variant)):
        drawn["function"] = [function]
    for number, field in enumerate(own):
        drawn[f"curves {number}"] = [drawings.curves(field, variant.name)]
    shown = pictures(drawn)
    paper = [f"Paper: {markdown(variant.paper)}"] if variant.paper else []
    lines = [
        f"# {markdown(variant.name)}",
        markdown(variant.description) or "It has no description.",
        *paper,
        f"A variant of the kind [{variant.kind}](index.md), from {code(variant.plugin.name)} "
        f"({markdown(variant.plugin.distribution or 'a file')}).",
        *figures(shown.get("function", [])),
        "## Options",
        _options(variant),
        "## What it was measured to do",
        *_effects(gallery, variant, own, shown),
        "## What it is checked for",
        *_checks(gallery, variant),
    ]
    return joined(lines)


def _options(variant: Variant) -> str:
    fields = attrs.fields(variant.options)
    if not fields:
        return "It has none."
    return table(
        [
            {
                "option": code(field.name),
                "expects": markdown(describe_type(field.type)),
                "default": code(json.dumps(unstructure(field.default))),
            }
            for field in fields
        ],
        "Its options",
    )


def _effects(gallery: Gallery, variant: Variant, own: Sequence[Field], shown: Mapping[str, Sequence[Any]]) -> list[str]:
    lines = []
    bases = [field for field in gallery.of_kind(variant.kind) if field.base.variant == variant.name]
    if bases:
        names = ", ".join(markdown(field.base.name) for field in bases)
        lines.append(f"It is what others are held against in {names}: [{variant.kind}](index.md).")
    if not own:
        return lines or ["It was not measured: no run of it in the ledgers can be held against another variant."]
    lines.append(_times(gallery))
    for number, field in enumerate(own):
        found = field.of(variant.name)
        rows = [
            {
                "change": markdown(arm.label),
                **{name: markdown(text) for name, text in tables.cells(field, arm, judged).items()},
                "time": markdown(judged.time),
                "where": code(place_text(arm)),
            }
            for arm, judged in found
        ]
        lines += [
            f"### {_title(field, gallery.of_kind(variant.kind))}",
            table(rows, f"Against {field.base.label}", FIGURES),
            tables.about_verdicts(field),
            *figures(shown.get(f"curves {number}", [])),
            *_command(gallery, field, [arm for arm, _ in found]),
            *_provenance(field.runs),
        ]
    return lines


def _command(gallery: Gallery, field: Field, arms: Sequence[Arm]) -> list[str]:
    texts = [text for arm in arms if (text := command(field, arm, gallery.registry))]
    if not texts:
        return ["No short command trains it as it was: its spec, or what it was trained with, is another by now."]
    return ["To train it and its base as they were:", fence("text", "\n".join(dict.fromkeys(texts)))]


def _checks(gallery: Gallery, variant: Variant) -> list[str]:
    name = f"{variant.kind}:{variant.name}"
    found = gallery.checked.get((variant.kind, variant.name))
    if found is None:
        return [
            "Its checks are not part of this gallery, since they take long, or more than is at hand where it is made: "
            f"{code(f'zoo check {name}')} makes them."
        ]
    rows = [{"check": code(check), "result": markdown(told)} for check, told in found.told.items()]
    return [f"{code(f'zoo check {name}')}: {found}.", *([table(rows, "What was found besides")] if rows else [])]


def _provenance(runs: Sequence[Any]) -> list[str]:
    """Say of which device, precision, seeds and days runs are."""
    if not runs:
        return []
    found = provenance(runs)
    days = sorted({str(run.provenance.get("started", ""))[:10] for run in runs} - {""})
    span = f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days)
    seeds = seed_span(sorted({run.key.seed for run in runs}))
    took = duration(sum(run.seconds_training for run in runs if math.isfinite(run.seconds_training)))
    told = {
        "device": found.get("device", ""),
        "precision": found.get("precision", ""),
        "length": lengths_in_words([run.spec for run in runs]),
        "seeds": seeds,
        "trained": span,
        "training took": f"{took} in {counted(len(runs), 'run')}",
        "zoo": found.get("zoo", ""),
        "torch": found.get("torch", ""),
    }
    return ["; ".join(f"{name}: {markdown(text)}" for name, text in told.items() if text) + "."]
