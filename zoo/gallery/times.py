"""Ratios of training times that `zoo time` measured side by side, for what runs on a shared machine do not tell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from zoo.errors import ZooError
from zoo.gallery.effects import Arm, Field
from zoo.report.verdict import Judged


@attrs.frozen(kw_only=True)
class Timed:
    """One spec against another, as `zoo time` tells it.

    Attributes:
        spec: the identity of one.
        reference: that of the other.
        dataset: the name of the data set, which no identity holds.
        precision: of both.
        device_name: the model of the device.
        ratio: of the times of a training step.
        low, high: its 95% interval.
    """

    spec: str
    reference: str
    dataset: str
    precision: str
    device_name: str
    ratio: float
    low: float
    high: float


def read(file: Path) -> list[Timed]:
    """Return what `zoo time --json` printed into a file.

    Raises:
        ZooError: the file cannot be read, or holds something else.
    """
    try:
        first, *others = json.loads(file.read_text(encoding="utf-8"))
        return [_timed(one, first) for one in others]
    except OSError as error:
        raise ZooError(f"the times in {file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        raise ZooError(f"{file} does not hold what `zoo time SPEC... --json` prints") from None


def _timed(one: dict[str, Any], reference: dict[str, Any]) -> Timed:
    ratio, low, high = (float(one[f"training_{name}"]) for name in ("ratio", "low", "high"))
    return Timed(
        spec=str(one["identity"]),
        reference=str(reference["identity"]),
        dataset=str(one["dataset"]),
        precision=str(one["precision"]),
        device_name=str(one["device_name"]),
        ratio=ratio,
        low=low,
        high=high,
    )


def timed(fields: Iterable[Field], times: Sequence[Timed]) -> list[Field]:
    """Return comparisons with the measured ratios in place of those of runs; none where none was measured.

    A ratio is of the same specs, on the same data set and in the same precision as the runs, on whatever device.
    """
    ratios = {(one.spec, one.reference, one.dataset, one.precision): one for one in times}

    def with_ratio(field: Field, arm: Arm, found: Judged) -> Judged:
        (ours, *_), (theirs, *_) = arm.runs, field.base.runs
        own = ratios.get((ours.key.spec, theirs.key.spec, field.heading.dataset, field.heading.precision))
        ratio, low, high = (own.ratio, own.low, own.high) if own else (None, None, None)
        return attrs.evolve(found, time_ratio=ratio, time_low=low, time_high=high)

    return [
        attrs.evolve(
            field,
            verdicts=tuple(
                with_ratio(field, arm, found) for arm, found in zip(field.arms, field.verdicts, strict=True)
            ),
        )
        for field in fields
    ]
