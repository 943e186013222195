"""The gallery's tables: what was measured of each variant, against the usual one, and how often one is better."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from zoo.gallery.effects import Arm, Field, place_text
from zoo.gallery.gallery import Gallery
from zoo.gallery.myst import MATRIX, link, table
from zoo.report.details import finished
from zoo.report.drawing import file_name
from zoo.report.markup import code, markdown
from zoo.report.text import difference, probability, quantity, with_interval
from zoo.report.verdict import Judged, about
from zoo.statistics.intervals import mean_interval
from zoo.statistics.pooling import win_rates
from zoo.study.looks import looked
from zoo.study.measure import learned_recall, measured

_MOST_RATES = 8


def rows(gallery: Gallery, field: Field) -> list[dict[str, str]]:
    """Return the rows of a table, the base first, then by difference, the best first."""
    found = [_row(gallery, field, field.base, None)]
    order = sorted(zip(field.arms, field.verdicts, strict=True), key=lambda pair: -_or_lowest(pair[1]))
    return found + [_row(gallery, field, arm, judged) for arm, judged in order]


def without_same(shown: Sequence[dict[str, str]]) -> tuple[list[dict[str, str]], str]:
    """Return rows without what is the same in all of them, and a line that says it."""
    same = {}
    for name in ("seeds", "parameters", "FLOPs", "where"):
        found = {row[name] for row in shown} - {""}
        if len(shown) > 2 and len(found) == 1:
            same[name] = found.pop()
    told = f"The same for all: {', '.join(f'{name} {text}' for name, text in same.items())}." if same else ""
    return [{name: text for name, text in row.items() if name not in same} for row in shown], told


def _or_lowest(found: Judged) -> float:
    return found.comparison.difference if math.isfinite(found.comparison.difference) else -math.inf


def _row(gallery: Gallery, field: Field, arm: Arm, found: Judged | None) -> dict[str, str]:
    known = arm.variant in gallery.registry.variants(field.kind)
    told = cells(field, arm, found)
    return {
        "variant": link(arm.label, file_name(arm.variant)) if known else markdown(arm.label),
        "verdict": "usual" if found is None else told["verdict"],
        **{name: markdown(text) for name, text in told.items() if name != "verdict"},
        "where": "" if found is None else code(place_text(arm)),
    }


def cells(field: Field, arm: Arm, found: Judged | None) -> dict[str, str]:
    """Return what was measured of an arm, in words by column; of the base, of which `found` is None, what there is."""
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
    number = field.lost(arm)
    told = f"{number} of {len(arm.runs)}" if number or (found and found.losses) else ""
    return f"{told} (p {probability(found.losses.p_of_all)})" if found and found.losses else told


def about_verdicts(field: Field) -> str:
    """Say what verdicts are about, and what became of lost runs where there are any."""
    compared = [found for found in field.verdicts if not found.unlike]
    counting = [found.comparison for found in compared]
    said = f"{about(field.verdicts)}."
    if counting:
        widest = max(one.level for one in counting)
        said += (
            f" Each interval is of {_percent(1 - widest)} or more, so that the chance of "
            f"any false claim of a difference in this table is at most {counting[0].held:.2g}. Each p is to be held "
            "against 0.05, whichever look this is."
        )
        said += "".join(f" {line}" for line in looked(compared[0].looks, "comparisons"))
    said += "".join(
        f" {_listed(labels)} gave the same figures in each epoch with each seed: as they are trained here they are one "
        "function, and counted as several."
        for labels in _equal(field)
    )
    if not any(field.lost(arm) for arm in field.every):
        return said
    return (
        f"{said} Lost: runs that diverged, or ended no better than chance. Verdicts on recall, "
        "differences and how often one is better leave them out, which favours variants that lose runs; seeds: how "
        "many pairs are left. Recall is of all runs that finished. Whether more runs are lost than with "
        f"{markdown(field.base.label)} is judged for itself (Fisher's exact test, p corrected for the whole table)."
    )


def _percent(share: float) -> str:
    """Write a share in percent, rounded down: at least so much."""
    return f"{math.floor(1e5 * share) / 1e3:g}%"


def _listed(labels: Sequence[str]) -> str:
    return f"{', '.join(map(markdown, labels[:-1]))} and {markdown(labels[-1])}"


def _equal(field: Field) -> list[list[str]]:
    """Return the labels of arms whose runs are equal in all figures, seed by seed."""
    found: dict[Any, list[str]] = {}
    for arm in field.every:
        figures_of = tuple((run.key.seed, run.status, *(epoch.loss for epoch in run.epochs)) for run in arm.runs)
        found.setdefault(figures_of, []).append(arm.label)
    return [labels for figures_of, labels in found.items() if len(labels) > 1 and len(figures_of[0]) > 2]


def records(field: Field) -> list[dict[str, Any]]:
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
                "lost": field.lost(arm),
                "lost verdict": judged.losses.verdict if judged and judged.losses else "",
                "lost p": judged.losses.p_of_all if judged and judged.losses else "",
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


def wins(field: Field) -> list[dict[str, Any]]:
    """Return how often each arm is better than each other with the same seed (`WinRate`), as plain data."""
    place = ("", "")
    rates = win_rates({label: {place: recalls} for label, recalls in _recalls(field).items()})
    return [attrs.asdict(rate) for rate in rates]


def win_lines(field: Field, number: int) -> list[str]:
    """Return the matrix of how often one is better than another with the same seed, of the best few."""
    rates = {(rate["arm"], rate["other"]): rate for rate in wins(field)}
    means = {label: sum(own.values()) / len(own) for label, own in _recalls(field).items() if own}
    best = sorted(means, key=lambda label: -means[label])[:_MOST_RATES]
    if len(best) < 2:
        return []
    matrix = [
        {
            "variant": markdown(one),
            **{markdown(other): _rate(rates[one, other]) if (one, other) in rates else "" for other in best},
        }
        for one in best
    ]
    some = f" Shown: the best {len(best)} of {len(means)}." if len(best) < len(means) else ""
    return [
        table(matrix, "How often the row is better than the column, with the same seed", MATRIX),
        f"In percent of seeds, a tie as half, with the 95% interval over seeds; these intervals are not corrected, and "
        f"claim nothing.{some} {{download}}`All pairs as CSV <wins-{number}.csv>`",
    ]


def _rate(rate: Mapping[str, Any]) -> str:
    # Only its interval may stand in a line of its own.
    return f"{100 * rate['rate']:.0f} [{100 * rate['low']:.0f},\u00a0{100 * rate['high']:.0f}]"
