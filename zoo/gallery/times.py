"""Ratios of training times that `zoo time` measured side by side, for what runs on a shared machine do not tell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from zoo.errors import ZooError
from zoo.gallery.effects import Field
from zoo.report.verdict import Judged


@attrs.frozen(kw_only=True)
class Timed:
    """One spec against another, as `zoo time` tells it.

    Attributes:
        spec: the identity of one.
        reference: that of the other.
        ratio: of the times of a training step.
        low, high: its 95% interval.
        where: on which device, and in what precision.
    """

    spec: str
    reference: str
    ratio: float
    low: float
    high: float
    where: str


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
        ratio=ratio,
        low=low,
        high=high,
        where=f"{one['device_name']}, {one['precision']}",
    )


def timed(fields: Iterable[Field], times: Sequence[Timed]) -> list[Field]:
    """Return comparisons with the measured ratios in place of those of runs; none where none was measured."""
    ratios = {(one.spec, one.reference): one for one in times}

    def with_ratio(found: Judged, spec: str, base: str) -> Judged:
        own = ratios.get((spec, base))
        if own is None:
            return attrs.evolve(found, time_ratio=None, time_low=None, time_high=None)
        return attrs.evolve(found, time_ratio=own.ratio, time_low=own.low, time_high=own.high)

    return [
        attrs.evolve(
            field,
            verdicts=tuple(
                with_ratio(found, arm.runs[0].key.spec, field.base.runs[0].key.spec)
                for arm, found in zip(field.arms, field.verdicts, strict=True)
            ),
        )
        for field in fields
    ]
