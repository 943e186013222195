"""What `zoo check --json` said of variants."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from zoo.errors import ZooError
from zoo.report.text import counted


@attrs.frozen
class Checked:
    """What came of a variant's checks: how many of each result, and what was said of some."""

    counts: Mapping[str, int]
    told: Mapping[str, str]

    def __str__(self) -> str:
        return ", ".join(
            counted(number, result) if result in _NOUNS else f"{number} {result}"
            for result, number in self.counts.items()
        )


_NOUNS = ("fact", "expected failure")
_TOLD = ("failed", "skipped", *_NOUNS)
"""Results of which the note is shown."""


def read(file: Path) -> dict[tuple[str, str], Checked]:
    """Read what `zoo check NAME... --json` printed, by kind and name.

    Raises:
        ZooError: it cannot be read, or is something else.
    """
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
        return {(record["kind"], record["name"]): _one(record["checks"]) for record in records}
    except OSError as error:
        raise ZooError(f"--checks {file}: {error.strerror}; name another file") from error
    except (ValueError, KeyError, TypeError):
        raise ZooError(f"--checks {file}: expected what `zoo check NAME... --json` printed") from None


def _one(checks: list[dict[str, Any]]) -> Checked:
    return Checked(
        dict(Counter(check["result"] for check in checks)),
        {check["name"]: f"{check['result']}: {check['note']}" for check in checks if check["result"] in _TOLD},
    )
