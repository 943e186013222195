"""The gallery's pages, as MyST Markdown that Sphinx makes a site of."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from zoo.gallery import functions
from zoo.gallery.beside import published_page
from zoo.gallery.effects import Arm, Field, place_text
from zoo.gallery.gallery import Gallery, page_of
from zoo.gallery.myst import FIGURES, MATRIX, SORTABLE, contents, csv_text, fence, figures, joined, link, table
from zoo.gallery.repeating import command
from zoo.registry import Variant
from zoo.registry.hookspecs import KINDS, VariantKind
from zoo.report import plots
from zoo.report.details import finished
from zoo.report.drawing import Plot, file_name, pictures
from zoo.report.labels import differences
from zoo.report.markup import code, markdown
from zoo.report.page import provenance
from zoo.report.plots import Cost
from zoo.report.runs_page import cost_plots, curve_plot, sizes
from zoo.report.text import (
    counted,
    difference,
    duration,
    lengths_in_words,
    probability,
    quantity,
    seed_span,
    with_interval,
)
from zoo.report.verdict import LOSSES, Judged, about
from zoo.spec import describe_type, unstructure
from zoo.statistics.intervals import mean_interval
from zoo.statistics.pooling import win_rates
from zoo.statistics.results import Comparison
from zoo.statistics.verdicts import LEVEL
from zoo.study.looks import looked
from zoo.study.measure import is_lost, learned_recall, measured

VERDICTS = ("helps", "hurts", "no practical difference", "undecided")
_IN_WORDS = {
    "helps": "help",
    "hurts": "hurt",
    "no practical difference": "make no practical difference",
    "undecided": "are undecided",
}
_MOST_RATES = 8
_BEYOND = 4
"""Times the usual end of an interval, from where on differences are beyond the edge of a plot."""
_MOST_CURVES = 2


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
        *_provenance([run for field in gallery.fields for run in field.runs]),
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
        f"chance that any claim is false is at most {LEVEL:.0%}, for p and intervals are corrected for the number of "
        f"its claims. So of {counted(tables, 'table')} at most {LEVEL * tables:.2g} must be expected to hold a false "
        f"claim; where variants do nothing, half of those would say that one helps: {LEVEL * tables / 2:.2g}."
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
        drawn[f"differences {number}"] = differences_plot(field, number)
        drawn[f"cost {number}"] = _costs(field, number)
        found[f"{kind.name}/table-{number}.csv"] = csv_text(_records(field))
        found[f"{kind.name}/wins-{number}.csv"] = csv_text(_wins(field))
    shown = pictures(drawn)
    lines = [f"# {kind.name}", f"{kind.purpose[0].upper()}{kind.purpose[1:]}."]
    for number, field in enumerate(own, 1):
        rows, same = _without_same(_rows(gallery, field))
        lines += [
            f"## {_title(field, own)}",
            _said(field),
            table(rows, f"Each against {field.base.label}", SORTABLE, FIGURES),
            same,
            f"{_about(field)} {{download}}`CSV <table-{number}.csv>`",
            *figures(shown.get(f"differences {number}", [])),
            *figures(shown.get(f"cost {number}", [])),
            *_win_lines(field, number),
            *_provenance(field.runs),
        ]
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


def _rows(gallery: Gallery, field: Field) -> list[dict[str, str]]:
    """Return the rows of a table, the base first, then by difference, the best first."""
    found = [_row(gallery, field, field.base, None)]
    order = sorted(zip(field.arms, field.verdicts, strict=True), key=lambda pair: -_or_lowest(pair[1]))
    return found + [_row(gallery, field, arm, judged) for arm, judged in order]


def _without_same(rows: Sequence[dict[str, str]]) -> tuple[list[dict[str, str]], str]:
    """Return rows without what is the same in all of them, and a line that says it."""
    same = {}
    for name in ("seeds", "parameters", "FLOPs", "where"):
        found = {row[name] for row in rows} - {""}
        if len(rows) > 2 and len(found) == 1:
            same[name] = found.pop()
    told = f"The same for all: {', '.join(f'{name} {text}' for name, text in same.items())}." if same else ""
    return [{name: text for name, text in row.items() if name not in same} for row in rows], told


def _or_lowest(found: Judged) -> float:
    return found.comparison.difference if math.isfinite(found.comparison.difference) else -math.inf


def _row(gallery: Gallery, field: Field, arm: Arm, found: Judged | None) -> dict[str, str]:
    known = arm.variant in gallery.registry.variants(field.kind)
    told = _measured(field, arm, found)
    return {
        "variant": link(arm.label, file_name(arm.variant)) if known else markdown(arm.label),
        "verdict": "usual" if found is None else told["verdict"],
        **{name: markdown(text) for name, text in told.items() if name != "verdict"},
        "where": "" if found is None else code(place_text(arm)),
    }


def _measured(field: Field, arm: Arm, found: Judged | None) -> dict[str, str]:
    done = finished(arm.runs)
    recall = mean_interval([measured(run, field.part) for run in done]) if done else (math.nan, None)
    comparison = found.comparison if found else None
    failed = sum(run.status == "failed" for run in arm.runs)
    return {
        "verdict": ", ".join(found.outcomes) if found else "",
        "difference": difference(comparison.difference, comparison.low, comparison.high) if comparison else "",
        "p": probability(comparison.p_of_all) if comparison else "",
        "seeds": str(comparison.n if comparison else len(_recalls(field)[arm.label])),
        "lost": _losses(field, arm, found),
        "failed": str(failed or ""),
        "recall": with_interval(*recall),
        "time": f"{found.time_ratio:.2f}x" if found and found.time_ratio is not None else "",
        "parameters": quantity(arm.runs[0].parameters),
        "FLOPs": quantity(arm.runs[0].flops),
    }


def _losses(field: Field, arm: Arm, found: Judged | None) -> str:
    """Say how many runs were lost, with the corrected p of Fisher's test against the base; nothing where none was."""
    number = _lost(field, arm)
    told = f"{number} of {len(arm.runs)}" if number or (found and found.losses) else ""
    return f"{told} (p {probability(found.losses.p_adjusted)})" if found and found.losses else told


def _lost(field: Field, arm: Arm) -> int:
    return sum(is_lost(run, field.part) for run in arm.runs)


def _about(field: Field) -> str:
    """Say what verdicts are about, and what became of lost runs where there are any."""
    compared = [found for found in field.verdicts if not found.unlike]
    counting = [found.comparison for found in compared]
    said = f"{about(field.verdicts)}."
    if counting:
        widest = max(one.level for one in counting)
        said += (
            f" Each interval is of {100 * (1 - widest):.4g}% or more, so that the chance of "
            f"any false claim of a difference in this table is at most {counting[0].held:.2g}."
        )
        said += "".join(f" {line}" for line in looked(compared[0].looks, "comparisons"))
    said += "".join(
        f" {_listed(labels)} gave the same figures in each epoch with each seed: as they are trained here they are one "
        "function, and counted as several."
        for labels in _equal(field)
    )
    if not any(_lost(field, arm) for arm in field.every):
        return said
    return (
        f"{said} Lost: runs that diverged, or ended no better than chance. Verdicts on recall, "
        "differences and how often one is better leave them out, which favours variants that lose runs; seeds: how "
        "many pairs are left. Recall is of all runs that finished. Whether more runs are lost than with "
        f"{markdown(field.base.label)} is judged for itself (Fisher's exact test, p corrected for the whole table)."
    )


def _listed(labels: Sequence[str]) -> str:
    return f"{', '.join(map(markdown, labels[:-1]))} and {markdown(labels[-1])}"


def _equal(field: Field) -> list[list[str]]:
    """Return the labels of arms whose runs are equal in all figures, seed by seed."""
    found: dict[Any, list[str]] = {}
    for arm in field.every:
        figures_of = tuple((run.key.seed, run.status, *(epoch.loss for epoch in run.epochs)) for run in arm.runs)
        found.setdefault(figures_of, []).append(arm.label)
    return [labels for figures_of, labels in found.items() if len(labels) > 1 and len(figures_of[0]) > 2]


def _records(field: Field) -> list[dict[str, Any]]:
    """Return a table as data: a row for each arm, numbers in full."""
    found: list[dict[str, Any]] = []
    for arm, judged in zip(field.every, (None, *field.verdicts), strict=True):
        comparison = judged.comparison if judged else None
        done = finished(arm.runs)
        found.append(
            {
                "variant": arm.variant,
                "options": json.dumps(dict(arm.options)),
                "where": "" if judged is None else place_text(arm),
                "against": field.base.label if judged else "",
                "verdict": judged.outcomes[0] if judged else "",
                "difference": comparison.difference if comparison else "",
                "low": comparison.low if comparison else "",
                "high": comparison.high if comparison else "",
                "p": comparison.p_of_all if comparison else "",
                f"{field.part} recall": mean_interval([measured(run, field.part) for run in done])[0],
                "time ratio": judged.time_ratio if judged else "",
                "time low": judged.time_low if judged else "",
                "time high": judged.time_high if judged else "",
                "parameters": arm.runs[0].parameters,
                "flops": arm.runs[0].flops,
                "seeds": len(field.seeds),
                "seeds compared": comparison.n if comparison else "",
                "runs": len(arm.runs),
                "finished": len(done),
                "lost": _lost(field, arm),
                "lost verdict": judged.losses.verdict if judged and judged.losses else "",
                "lost p": judged.losses.p_adjusted if judged and judged.losses else "",
                "data set": field.heading.dataset,
                "device": field.heading.device_name,
                "precision": field.heading.precision,
            }
        )
    return found


def _recalls(field: Field) -> dict[str, dict[int, float]]:
    found = {}
    for arm in field.every:
        recalls = {run.key.seed: learned_recall(run, field.part) for run in arm.runs}
        found[arm.label] = {seed: recall for seed, recall in recalls.items() if recall is not None}
    return found


def _wins(field: Field) -> list[dict[str, Any]]:
    place = ("", "")
    rates = win_rates({label: {place: recalls} for label, recalls in _recalls(field).items()})
    return [attrs.asdict(rate) for rate in rates]


def _win_lines(field: Field, number: int) -> list[str]:
    """Return the matrix of how often one is better than another with the same seed, of the best few."""
    rates = {(rate["arm"], rate["other"]): rate for rate in _wins(field)}
    means = {label: sum(own.values()) / len(own) for label, own in _recalls(field).items() if own}
    best = sorted(means, key=lambda label: -means[label])[:_MOST_RATES]
    if len(best) < 2:
        return []
    rows = [
        {
            "variant": markdown(one),
            **{markdown(other): _rate(rates[one, other]) if (one, other) in rates else "" for other in best},
        }
        for one in best
    ]
    some = f" Shown: the best {len(best)} of {len(means)}." if len(best) < len(means) else ""
    return [
        table(rows, "How often the row is better than the column, with the same seed", MATRIX),
        f"In percent of seeds, a tie as half, with the 95% interval over seeds; these intervals are not corrected, and "
        f"claim nothing.{some} {{download}}`All pairs as CSV <wins-{number}.csv>`",
    ]


def _rate(rate: Mapping[str, Any]) -> str:
    # Only its interval may stand in a line of its own.
    return f"{100 * rate['rate']:.0f} [{100 * rate['low']:.0f},\u00a0{100 * rate['high']:.0f}]"


def differences_plot(field: Field, number: int) -> list[Plot]:
    """Return the plot of all differences of a table with their intervals; none where there is no pair of runs."""
    lost = {arm.label: f"{lost} of {len(arm.runs)} lost" for arm in field.arms if (lost := _lost(field, arm))}
    pairs = [
        (arm.label, found.comparison)
        for arm, found in zip(field.arms, field.verdicts, strict=True)
        if math.isfinite(found.comparison.difference)
    ]
    drawn = {label for label, _ in pairs}
    without = ", ".join(_with(arm.label, lost) for arm in field.arms if arm.label not in drawn)
    pairs.sort(key=lambda pair: -pair[1].difference)
    edge = _edge([comparison for _, comparison in pairs])
    beyond = [(label, comparison) for label, comparison in pairs if abs(comparison.difference) > edge]

    def draw(ax: Any) -> Any:
        ax = plots.given_or_new(ax, plots.rows_height(len(pairs)))
        for row, (label, comparison) in enumerate(pairs):
            if label in lost:
                ax.text(1.02, row, lost[label], transform=ax.get_yaxis_transform(), va="center", fontsize="small")
            shown = comparison.verdict in ("helps", "hurts")
            color = plots.BLUE if comparison.verdict == "helps" else plots.VERMILION if shown else plots.GREY
            if comparison.low is not None and comparison.high is not None:
                ax.plot([comparison.low, comparison.high], [row, row], color=color, linewidth=1.5)
            place = min(max(comparison.difference, -edge), edge)
            inside = place == comparison.difference
            marker = ("o" if shown else "D") if inside else (">" if place > 0 else "<")
            ax.plot([place], [row], marker, color=color, markersize=4 if inside else 7)
        if math.isfinite(edge):
            ax.set_xlim(-1.05 * edge, 1.05 * edge)
        ax.axvline(0, color=plots.GREY, linewidth=0.8)
        ax.set_xlabel(f"difference in {field.part} recall to {plots.plain(field.base.label)}")
        plots.name_rows(ax, [label for label, _ in pairs])
        return ax

    height = plots.rows_height(len(pairs))
    words = "; ".join(f"{_with(label, lost)}: {difference(one.difference, one.low, one.high)}" for label, one in pairs)
    far = "; ".join(f"{_with(label, lost)} {comparison.difference:+.4f}" for label, comparison in beyond)
    caption = (
        "Differences with their corrected intervals."
        + (f" Arrows: beyond the edge ({far})." if far else "")
        + (f" Without any pair of runs: {without}." if without else "")
    )
    plot = Plot(f"differences-{number}", draw, height, caption, words)
    return [plot] if pairs else []


def _with(label: str, lost: Mapping[str, str]) -> str:
    return f"{label}, {lost[label]}" if label in lost else label


def _edge(found: Sequence[Comparison]) -> float:
    """Return the largest difference that a plot shows; infinity where a few large ones do not make all others small."""
    ends = sorted(max(abs(one.difference), abs(one.low or 0.0), abs(one.high or 0.0)) for one in found)
    usual = _BEYOND * statistics.median(ends) if ends else 0.0
    return usual if ends and ends[-1] > 2 * usual else math.inf


def _costs(field: Field, number: int) -> list[Plot]:
    groups = {arm.label: done for arm in field.every if (done := finished(arm.runs))}
    recalls = {label: mean_interval([measured(run, field.part) for run in runs]) for label, runs in groups.items()}
    recalls = {label: recall for label, recall in recalls.items() if not math.isnan(recall[0])}
    ratios = {
        arm.label: found.time_ratio
        for arm, found in zip(field.arms, field.verdicts, strict=True)
        if found.time_ratio is not None
    }
    times: dict[Cost, dict[str, float]] = {"time_ratio": {field.base.label: 1.0, **ratios}}
    return cost_plots(recalls, times | sizes(groups), field.part, f"-{number}", "")


def _variant(gallery: Gallery, variant: Variant) -> str:
    own = [field for field in gallery.of_kind(variant.kind) if field.of(variant.name)]
    drawn: dict[str, list[Plot]] = {}
    if variant.kind == "activation" and (function := functions.plot(variant)):
        drawn["function"] = [function]
    for number, field in enumerate(own):
        drawn[f"curves {number}"] = [_curves(field, variant.name)]
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
    for number, field in enumerate(own):
        found = field.of(variant.name)
        rows = [
            {
                "change": markdown(arm.label),
                **{name: markdown(text) for name, text in _measured(field, arm, judged).items()},
                "time": markdown(judged.time),
                "where": code(place_text(arm)),
            }
            for arm, judged in found
        ]
        lines += [
            f"### {_title(field, gallery.of_kind(variant.kind))}",
            table(rows, f"Against {field.base.label}", FIGURES),
            _about(field),
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


def _curves(field: Field, variant: str) -> Plot:
    arms = [arm for arm, _ in field.of(variant)]
    best = sorted(arms, key=lambda arm: -_mean_recall(field, arm))[:_MOST_CURVES]
    groups = {arm.label: finished(arm.runs) for arm in (field.base, *best)}
    groups = {label: runs for label, runs in groups.items() if runs}
    some = f" Shown: the best {len(best)} of {len(arms)} settings." if len(best) < len(arms) else ""
    return curve_plot(groups, list(groups), field.part, f"-{file_name(field.base.name)}", some)


def _mean_recall(field: Field, arm: Arm) -> float:
    done = finished(arm.runs)
    return sum(measured(run, field.part) for run in done) / len(done) if done else -math.inf


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
