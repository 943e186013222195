"""What statistics find, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

Verdict = Literal["helps", "hurts", "no practical difference", "undecided"]


@attrs.frozen(kw_only=True)
class Comparison:
    """What the differences of pairs say, seed by seed, or an effect estimated from all runs of a factorial design.

    Recall differences; positive is better.

    Attributes:
        n: how many pairs.
        difference: their mean.
        low, high: the interval of the difference (Student's t); None for fewer than two pairs, or if all are equal.
        level: the interval holds 1 - level: 95% for a single claim that is looked at once, more where there are
            several, so that it leaves out 0 exactly where the difference is shown not to be 0.
        held: the rate of error that is held over all claims of the table; 0.05, or the share of the look.
        p: of no difference, two-sided.
        p_adjusted: the same, corrected over all claims of the table (Holm).
        p_equivalent: of a difference beyond the margin (two one-sided tests, the larger of the two).
        p_equivalent_adjusted: the same, corrected over all claims of the table (Holm).
        p_signs: of no difference by the sign-flip test, not corrected; it takes no distribution for granted.
        effect_size: the mean difference over the differences' standard deviation (Cohen's d of paired data).
        verdict: in words.
        more_seeds: how many further pairs would likely decide; None where it is decided, or where that is unknown.
        rival: where both sides were tuned, the setting that was not chosen and that `p` is of, since it is the hardest
            to tell apart; "" where that is what was chosen.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    verdict: Verdict
    p_equivalent: float | None = None
    p_equivalent_adjusted: float | None = None
    p_signs: float | None = None
    effect_size: float | None = None
    more_seeds: int | None = None
    level: float = 0.05
    held: float = 0.05
    rival: str = ""

    @property
    def p_of_all(self) -> float | None:
        """The p value, corrected over all claims and all looks: a difference is shown where it is at most 0.05."""
        return None if self.p_adjusted is None else min(self.p_adjusted * 0.05 / self.held, 1.0)

    @property
    def is_doubtful(self) -> bool:
        """Whether the sign-flip test says otherwise whether there is a difference; never where it has too few seeds."""
        if self.p is None or self.p_signs is None or 2 * 0.5**self.n > self.level:
            return False
        return (self.p <= self.level) != (self.p_signs <= self.level)


@attrs.frozen(kw_only=True)
class Losses:
    """Whether more runs are lost with a change than without it: runs that diverge, or end no better than chance.

    Attributes:
        with_change, without_change: seeds of which a run was lost, and how many seeds there are.
        p, p_adjusted: of no difference (Fisher's exact test); corrected over all claims of the table (Holm).
        verdict: in words.
        held: the rate of error that is held over all claims of the table; 0.05, or the share of the look.
    """

    with_change: tuple[int, int]
    without_change: tuple[int, int]
    p: float
    p_adjusted: float
    verdict: Literal["loses more runs", "loses fewer runs", "undecided"]
    held: float = 0.05

    @property
    def p_of_all(self) -> float:
        """The p value, corrected over all claims and all looks: a difference is shown where it is at most 0.05."""
        return min(self.p_adjusted * 0.05 / self.held, 1.0)


@attrs.frozen(kw_only=True)
class Effect:
    """A main effect (one factor) or a two-way interaction (two factors) of a factorial design.

    Attributes:
        levels: by factor, the level whose effect this is, against the base's level.
        comparison: for a main effect the mean difference over all combinations of the other factors; for an
            interaction how much larger the first's effect is with the second than without it.
        aliases: other effects, of up to three factors, that the design cannot tell from this one, each with the weight
            at which it is in the difference: "-1/2 b x c".
        sentence: what it means, in words.
    """

    levels: Mapping[str, str]
    comparison: Comparison
    aliases: tuple[str, ...] = ()
    sentence: str = ""

    @property
    def name(self) -> str:
        """The factors and levels: "leaky", "leaky x size=5"."""
        return " x ".join(f if f == level else f"{f}={level}" for f, level in self.levels.items())


@attrs.frozen(kw_only=True)
class Rank:
    """An arm's place among all arms by the recall that the study selects on; 1 is the best.

    `low` to `high` is the interval of the rank; those of all arms together hold their ranks in 95% of studies. They are
    None where no difference to another arm could be tested. `tied` names arms that cannot be told apart from it.
    """

    arm: str
    rank: float
    low: int | None
    high: int | None
    tied: tuple[str, ...]
