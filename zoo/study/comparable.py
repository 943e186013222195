"""What must be equal in runs for their figures to stand in one mean, in one column or in one difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo.spec.length import in_words
from zoo.train.metrics import measure_of
from zoo.train.run import Run

RECALLS = ("data", "held out", "measure", "precision", "machine")
"""For a difference in recall to be of what was changed."""
VERSIONS = ("zoo", "torch")
"""For seeds to be repetitions of one experiment, too."""
TIMES = (*VERSIONS, "device", "precision", "engine", "threads", "runs at once")
"""For training times to be of the networks, and not of what trained them."""
BY_TIME = (
    "Training ended by time (training.minutes): how far a run came depends on the machine, and on what else that did "
    "meanwhile, so the figures are of this machine."
)


def at_once(run: Run) -> int:
    """Return how many runs shared the machine with this one, itself counted."""
    return int(run.provenance.get("runs_at_once", 1))


def held_out(data: Mapping[str, Any]) -> str:
    """Say of a spec's `data` what is held out for validation: "25%", "25%, anew with each seed"."""
    # Runs of earlier versions do not say `resplit`.
    how = {True: ", anew with each seed", "folds": ", each fold in turn"}
    return f"{data['validation']:.0%}" + how.get(data.get("resplit", False), "")


def _of(key: str) -> Callable[[Run], tuple[object, str]]:
    def value(run: Run) -> tuple[object, str]:
        text = str(run.provenance.get(key, ""))
        return text, text

    return value


def _twice(value: object) -> tuple[object, str]:
    return value, str(value)


_CONDITIONS: Mapping[str, Callable[[Run], tuple[object, str]]] = {
    "data": lambda run: (run.key.dataset, run.dataset),
    "held out": lambda run: (
        (run.spec["data"]["validation"], run.spec["data"].get("resplit", False)),
        held_out(run.spec["data"]),
    ),
    "measure": lambda run: _twice(measure_of(run.spec)),
    "length": lambda run: _twice(in_words(run.spec["training"])),
    "precision": lambda run: _twice(run.key.precision),
    # Only where it decides how long a run is.
    "machine": lambda run: _of("device_name")(run) if run.spec["training"].get("minutes") is not None else ("", ""),
    "zoo": _of("zoo"),
    "torch": _of("torch"),
    "device": _of("device_name"),
    "engine": _of("engine"),
    "threads": _of("threads"),
    "runs at once": lambda run: _twice(at_once(run)),
}
"""What each is in a run, and how it is shown. What a run of an earlier version does not say differs from nothing."""


def unlike(runs: Sequence[Run], conditions: Sequence[str]) -> str:
    """Say which of the conditions differ among runs: "data digits and folder:d; torch 2.14.0 and 2.15.0".

    Returns:
        "" where the figures may stand together.
    """
    found = []
    for name in conditions:
        values = dict(_CONDITIONS[name](run) for run in _told(runs, name))
        values.pop("", None)
        if len(values) > 1:
            found.append(f"{name} {' and '.join(dict.fromkeys(values.values()))}")
    return "; ".join(found)


def _told(runs: Sequence[Run], name: str) -> Sequence[Run]:
    """Return the runs that tell a condition apart: of images that were resized in several ways, one for each name."""
    if name == "data" and len({run.spec["data"]["resize"] for run in runs}) > 1:
        return list({run.dataset: run for run in runs}.values())
    return runs
