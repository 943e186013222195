"""Whether a change makes more runs fail to learn. Means of recall do not tell: one lost run in ten hides all else."""

from __future__ import annotations

from collections.abc import Mapping

import scipy  # its stats are imported where they are asked for

from zoo.statistics import verdicts
from zoo.statistics.results import Losses
from zoo.statistics.verdicts import LEVEL

Counted = tuple[int, int]
"""Seeds of which a run was lost, and how many seeds there are."""


def compare_losses(counts: Mapping[str, tuple[Counted, Counted]], *, level: float = LEVEL) -> dict[str, Losses]:
    """Judge for all claims of a table whether runs are lost more often with the change than without it.

    Fisher's exact test of two independent samples. Pairs by seed do not make it wrong: seeds that are bad for both make
    it more cautious. A pair counts once, however many runs of a seed there are on each side, since runs of one seed are
    not independent.

    Args:
        counts: by claim, those with the change and those without it.
        level: the rate of error that is held over all claims (Holm).
    """
    tested = {
        name: float(scipy.stats.fisher_exact([[lost, seeds - lost] for lost, seeds in both]).pvalue)
        if any(lost for lost, _ in both)
        else 1.0
        for name, both in counts.items()
    }
    adjusted = dict(zip(tested, verdicts.holm(list(tested.values())), strict=True))
    found = {}
    for name, (with_change, without_change) in counts.items():
        p = adjusted[name]
        assert p is not None
        more = with_change[0] * without_change[1] > without_change[0] * with_change[1]
        found[name] = Losses(
            with_change=with_change,
            without_change=without_change,
            p=tested[name],
            p_adjusted=p,
            verdict="undecided" if p > level else "loses more runs" if more else "loses fewer runs",
            held=level,
        )
    return found
