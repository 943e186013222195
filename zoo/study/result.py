"""What came of a study, as plain values: everything that tables, pages, plots and exports are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from zoo.spec import Spec
from zoo.study.definition import Cell, Study
from zoo.train.run import Run

Verdict = Literal["helps", "hurts", "no practical difference", "undecided"]


@attrs.frozen(kw_only=True)
class Comparison:
    """What the differences of pairs say, seed by seed, or an effect estimated from all runs of a factorial design.

    Recall differences; positive is better.

    Attributes:
        n: how many pairs.
        difference: their mean.
        low, high: the interval of the difference (Student's t); None for fewer than two pairs, or if all are equal.
        level: the interval holds 1 - level: 95%, or more where seeds were added and the claim was looked at often.
        bca_low, bca_high: the same by the bias-corrected and accelerated bootstrap; None where it cannot be had.
        p: of no difference, two-sided.
        p_adjusted: the same, corrected over all claims of the table (Holm).
        p_equivalent: of a difference beyond the margin (two one-sided tests, the larger of the two).
        p_equivalent_adjusted: the same, corrected over all claims of the table (Holm).
        effect_size: the mean difference over the differences' standard deviation (Cohen's d of paired data).
        verdict: in words.
        more_seeds: how many further pairs would likely decide; None where it is decided, or where that is unknown.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    verdict: Verdict
    bca_low: float | None = None
    bca_high: float | None = None
    p_equivalent: float | None = None
    p_equivalent_adjusted: float | None = None
    effect_size: float | None = None
    more_seeds: int | None = None
    level: float = 0.05


@attrs.frozen(kw_only=True)
class Arm:
    """One spec of a study with its runs.

    Attributes:
        name: "base", or the changes made: "leaky + size=5".
        cell: the combination of levels; None for a base that was widened.
        changes: the level of each factor that is not the base's.
        spec: what was trained; its `reference` is what a publication reports, where it does.
        runs: all that ended, by seed; those that diverged or failed too.
        recalls: by part ("train", "validation", "test") and seed, the measured recall of each run that finished, and
            that of chance (1 / classes) for each that diverged. Failed runs have none.
    """

    name: str
    cell: Cell | None
    changes: Mapping[str, str]
    spec: Spec
    runs: tuple[Run, ...]
    recalls: Mapping[str, Mapping[int, float]]

    @property
    def diverged(self) -> int:
        """How many runs diverged."""
        return sum(run.status == "diverged" for run in self.runs)

    @property
    def failed(self) -> int:
        """How many runs failed."""
        return sum(run.status == "failed" for run in self.runs)


@attrs.frozen(kw_only=True)
class Claim:
    """One row of the verdict table: what a change did, measured on the part that the study selects on.

    Attributes:
        change: what is judged: "leaky", "size=5".
        treatment: name of the arm with the change.
        control: name of the arm without it.
        comparison: treatment minus control.
    """

    change: str
    treatment: str
    control: str
    comparison: Comparison


@attrs.frozen(kw_only=True)
class Effect:
    """A main effect (one factor) or a two-way interaction (two factors) of a factorial design.

    Attributes:
        levels: by factor, the level whose effect this is, against the base's level.
        comparison: for a main effect the mean difference over all combinations of the other factors; for an
            interaction how much larger the first's effect is with the second than without it.
        aliases: other effects that the design cannot tell from this one.
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

    `low` and `high` hold the 95% bootstrap interval of the rank; `tied` names arms that cannot be told apart from it.
    """

    arm: str
    rank: float
    low: float
    high: float
    tied: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Step:
    """A step of a stepwise search: what was tried on top of what, and whether it was kept."""

    tried: str
    upon: str
    difference: float
    kept: bool


@attrs.frozen(kw_only=True)
class StudyResult:
    """All that a study found.

    Attributes:
        study: what was asked.
        seeds: those that every arm was to be trained with; with `--seeds auto` some have more than others.
        arms: all that were trained, the base first.
        claims: the verdicts; empty for a factorial design, whose claims are its effects.
        effects: main effects, then interactions; empty for other designs.
        steps: of a search, in order.
        chosen: the arm that selection chose.
        confirmation: recall of the chosen arm against the base on the test part, looked at once; None where the base
            itself was chosen, or where there are no pairs.
        ranks: all arms, best first.
        pareto: by cost ("seconds", "parameters"), the arms that no other beats in both recall and cost.
        per_class: by arm, each class's mean recall difference to the base on the part selected on.
        found_by: for a factorial design, whether the simpler designs would have found the best combination, in words.
        proofs: by change, what it did to the network and the training, line by line.
        notes: for people: what was left out, what diverged and how it counts, what shared a device.
        look_level: with `--seeds auto`, the level of significance at the last look; 0.05 otherwise.
        command: what repeats it.
        classes: names of the classes.
        matched: by name of a widened base, the change that it is as large as.
    """

    study: Study
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    effects: tuple[Effect, ...]
    steps: tuple[Step, ...]
    chosen: str
    confirmation: Comparison | None
    ranks: tuple[Rank, ...]
    pareto: Mapping[str, tuple[str, ...]]
    per_class: Mapping[str, tuple[float, ...]]
    found_by: tuple[str, ...]
    proofs: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    look_level: float
    command: str
    classes: tuple[str, ...]
    matched: Mapping[str, str]

    def arm(self, name: str) -> Arm:
        """Return an arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)
