"""What a benchmark will do, said before it is done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from zoo.report import layout, markup
from zoo.report.text import counted, estimated, rough_duration
from zoo.spec.length import ends_early, in_words

if TYPE_CHECKING:
    from zoo.benchmark import Plan
    from zoo.train.run import Run


def remarks(plan: Plan, ledger: Path) -> list[str]:
    """Say in lines what is remarkable about the data, what waits for data, what is left out, and how long it takes."""
    lines = [f"Note: {note}." for note in plan.notes]
    for name, waiting in plan.waiting.items():
        few = ", ".join(waiting[:3]) + (", ..." if len(waiting) > 3 else "")
        verb = "waits" if len(waiting) == 1 else "wait"
        lines.append(
            f"{counted(len(waiting), 'spec')} {verb} for the data set {name} ({few}): zoo data get {quote(name)}"
        )
    lines += [f"Left out: {reason}" for reason in plan.unfit.values()]
    lines += [
        f"Nothing is judged against {first}, which is left out: give a value first that can be trained."
        for first, *_ in plan.families
        if first in plan.unfit
    ]
    held = plan.stored
    if plan.missing:
        already = f"; {held} {'is' if held == 1 else 'are'} in {ledger} already" if held else ""
        where = plan.device or "the devices that the executor finds when it begins (the time is this machine's)"
        lines.append(
            f"{counted(len(plan.missing), 'run')} to train{already}: about {estimated(plan.estimate)}, on {where}."
        )
        if any(run.spec["evaluation"].get("stop") is not None for run in plan.missing):
            lines.append("Runs that may stop early (evaluation.stop) are counted as whole ones in that.")
    elif plan.runs:
        lines.append(f"Nothing to train: {counted(len(plan.runs), 'run')} in {ledger} already.")
    return lines


HEADERS = ("spec", "data set", "epochs", "to train", "stored", "each")
ALIGN = ("left", "left", "right", "right", "right", "right")


def render(plan: Plan, *, as_json: bool) -> str:
    """Return the table of a plan: for each spec its epochs, how many runs are to train and stored, and their time."""
    if as_json:
        return json.dumps(_records(plan), indent=2)
    return layout.table(rows(plan), headers=HEADERS, align=ALIGN, wrap=0)


def render_as(plan: Plan, format_: str) -> str:
    """Return the same in a format of tabulate's."""
    return markup.table(rows(plan), HEADERS, ALIGN, format_)


def rows(plan: Plan) -> list[list[str]]:
    """Return a row of texts for each spec."""
    return [
        [
            *(str(r[key]) for key in ("spec", "dataset")),
            _length(r),
            *(str(r[key]) for key in ("to_train", "stored")),
            "" if r["seconds_each"] is None else rough_duration(r["seconds_each"]),
        ]
        for r in _records(plan)
    ]


def _length(record: dict[str, Any]) -> str:
    length = str(record["epochs"]) if record["steps"] is None else f"{record['steps']} steps"
    limit = "" if record["minutes"] is None else f", {record['minutes']} min"
    return f"at most {length}{limit}" if record["ends_early"] else length


def _records(plan: Plan) -> list[dict[str, Any]]:
    missing = {run.key for run in plan.missing}
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in plan.runs:
        groups.setdefault((run.name, run.dataset), []).append(run)
    records = []
    for (name, dataset), runs in groups.items():
        to_train = sum(run.key in missing for run in runs)
        records.append(
            {
                "spec": name,
                "dataset": dataset,
                "epochs": runs[0].spec["training"]["epochs"],
                "steps": runs[0].spec["training"].get("steps"),
                "minutes": runs[0].spec["training"].get("minutes"),
                "ends_early": ends_early(runs[0].spec),
                "to_train": to_train,
                "stored": len(runs) - to_train,
                "device": plan.device or None,
                "seconds_each": max((plan.costs[run.key] for run in runs if run.key in missing), default=None),
            }
        )
    return records


def over_budget(plan: Plan, seeds: Sequence[int], budget: float) -> list[str]:
    """Say what a plan that was cut down to a budget consists of, and whether it keeps to it."""
    lengths = [run.spec["training"] for run in plan.runs]
    most = [
        in_words(max(some, key=lambda training: training[what]))
        for what in ("epochs", "steps")
        if (some := [training for training in lengths if training.get(what) is not None])
    ]
    lines = [f"Cut down to the budget: {', '.join([counted(len(seeds), 'seed'), *most])} at most."]
    if plan.estimate > budget:
        lines.append(f"Less is not possible for so many specs, and takes about {rough_duration(plan.estimate)} still.")
    return lines
