"""The runs of a ledger, one a line, with all that tells them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from zoo.report import layout
from zoo.report.labels import distinct
from zoo.report.text import duration, fit
from zoo.study.comparable import held_out

if TYPE_CHECKING:
    from zoo.ledger.keep import Entry
from zoo.spec.length import ends_early, in_words, planned_epochs

_RIGHT = ("run", "seed", "epochs", "recall", "training")
_LEFT_OUT_FIRST = ("started", "training", "precision", "data set", "epochs")


def render(found: Sequence[Entry]) -> str:
    """Return the table of some runs of a ledger, fitted to the terminal."""
    if not found:
        return "No runs."
    rows = [entry.columns for entry in found]
    cells = {
        "run": [str(row["id"]) for row in rows],
        "spec": _specs(found),
        "seed": [str(row["seed"]) for row in rows],
        "epochs": [_epochs(entry) for entry in found],
        "data set": _datasets(found),
        "precision": [row["precision"] for row in rows],
        "status": [row["status"] for row in rows],
        "recall": ["" if row["recall"] is None else f"{row['recall']:.4f}" for row in rows],
        "training": ["" if row["seconds"] is None else duration(row["seconds"]) for row in rows],
        "started": [(row["started"] or "")[:16].replace("T", " ") for row in rows],
    }
    if len(set(cells["precision"])) == 1:
        del cells["precision"]
    below = []
    width = layout.terminal_width()
    if width is not None:
        left_out = fit(cells, width, folding=("spec", "data set"), left_out_first=_LEFT_OUT_FIRST)
        if left_out:
            below = ["", layout.wrapped(f"No room for: {', '.join(left_out)}; --json has all.", width)]
    table = tabulate(
        list(zip(*cells.values(), strict=True)),
        headers=list(cells),
        tablefmt="simple",
        colalign=["right" if title in _RIGHT else "left" for title in cells],
        disable_numparse=True,
    )
    return "\n".join([table, *below])


def _specs(found: Sequence[Entry]) -> list[str]:
    """Return the names of the specs, with what sets those of one name apart that are not one spec."""
    several = {(entry.columns["spec"], entry.key.spec, entry.key.source): entry.content for entry in found}
    labels = distinct(
        [name for name, *_ in several],
        list(several.values()),
        [hashlib.sha256((spec + source).encode()).hexdigest() for _, spec, source in several],
        in_columns=[("training", "epochs")],
    )
    by_spec = dict(zip(several, labels, strict=True))
    return [by_spec[entry.columns["spec"], entry.key.spec, entry.key.source] for entry in found]


def _epochs(entry: Entry) -> str:
    """Return how many epochs the spec asks for; of how many came to be, where those are fewer."""
    training, trained = entry.content["training"], entry.columns["epochs"]
    asked = training["epochs"]
    if asked is None:
        return f"{trained or 0} ({in_words(training)})"
    if trained in (None, planned_epochs(training)):
        return str(asked)
    may = entry.status == "finished" and ends_early(entry.content)
    return f"{trained} of at most {asked}" if may else f"{trained} of {asked}"


def _datasets(found: Sequence[Entry]) -> list[str]:
    """Return the names of the data sets, with the images' digest where those of one name and form are not the same."""
    forms = [
        (entry.columns["dataset"], entry.content["data"]["resize"], held_out(entry.content["data"])) for entry in found
    ]
    digests: dict[object, set[str]] = {}
    for entry, form in zip(found, forms, strict=True):
        digests.setdefault(form, set()).add(entry.key.dataset)
    return [
        f"{form[0]} #{entry.key.dataset[:7]}" if len(digests[form]) > 1 else form[0]
        for entry, form in zip(found, forms, strict=True)
    ]
