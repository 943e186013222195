"""Verdicts in words."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.report.text import counted, seed_span
from zoo.statistics.results import Comparison
from zoo.statistics.verdicts import LEAST_SEEDS
from zoo.study.settings import Round

_TOGETHER = {"helps": "more together", "hurts": "less together"}
"""Of two changes, what the verdicts on their interaction mean."""


def said(comparison: Comparison, *, is_interaction: bool = False) -> str:
    """Write a verdict, and what would decide it where it is open; two changes do more or less together."""
    more = comparison.more_seeds
    if comparison.n < LEAST_SEEDS and comparison.verdict == "undecided":
        return f"undecided (fewer than {LEAST_SEEDS} seeds)"
    verdict = _TOGETHER.get(comparison.verdict) if is_interaction else None
    return (verdict or comparison.verdict) + (f" (about {counted(more, 'more seed')})" if more else "")


def rounds(found: Sequence[Round], seeds: Sequence[int]) -> str:
    """Say with how many settings an arm is tuned, and how many seeds: "9 settings with 1 seed, the better 5 with 2"."""
    (settings, first), *later = found
    texts = [
        f"{settings} settings with {counted(first, 'seed')} of its own ({seed_span(seeds[:first])})",
        *(f"the better {count} with {until}" for count, until in later),
    ]
    return texts[0] if not later else f"{', '.join(texts[:-1])} and {texts[-1]} ({seed_span(seeds)})"
