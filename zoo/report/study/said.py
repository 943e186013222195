"""Verdicts in words."""

from __future__ import annotations

from zoo.report.text import counted
from zoo.statistics.results import Comparison
from zoo.statistics.verdicts import LEAST_SEEDS

_TOGETHER = {"helps": "more together", "hurts": "less together"}
"""Of two changes, what the verdicts on their interaction mean."""


def said(comparison: Comparison, *, is_interaction: bool = False) -> str:
    """Write a verdict, and what would decide it where it is open; two changes do more or less together."""
    more = comparison.more_seeds
    if comparison.n < LEAST_SEEDS and comparison.verdict == "undecided":
        return f"undecided (fewer than {LEAST_SEEDS} seeds)"
    verdict = _TOGETHER.get(comparison.verdict) if is_interaction else None
    return (verdict or comparison.verdict) + (f" (about {counted(more, 'more seed')})" if more else "")
