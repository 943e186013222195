"""What came of a study, as plain values: everything that tables, pages, plots and exports are made from."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from zoo.spec import Spec
from zoo.statistics.results import Comparison, Effect, Losses, Rank
from zoo.study.definition import Cell, Study
from zoo.study.trials import Trial, Tuned
from zoo.train.run import Run


@attrs.frozen(kw_only=True)
class Arm:
    """One spec of a study with its runs.

    Attributes:
        name: "base", or the changes made: "leaky + size=5".
        cell: the combination of levels; None for a base that was widened.
        changes: the level of each factor that is not the base's.
        spec: what was trained; its `reference` is what a publication reports, where it does.
        runs: all that ended, by seed; those that diverged or failed too.
        fresh: those with fresh seeds, which selection did not see; of the base, of what was chosen, and of what it is
            compared with.
        recalls: by part ("train", "validation", "test") and seed, the measured recall of each run that finished, and
            that of chance (1 / classes) for each that diverged. Failed runs have none. Those on test are of the fresh
            seeds, of the base and of what was chosen alone; unless the study selects on test.
    """

    name: str
    cell: Cell | None
    changes: Mapping[str, str]
    spec: Spec
    runs: tuple[Run, ...]
    recalls: Mapping[str, Mapping[int, float]]
    fresh: tuple[Run, ...] = ()

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
class Step:
    """A step of a stepwise search: what was tried on top of what, and whether it was kept."""

    tried: str
    upon: str
    difference: float
    kept: bool


@attrs.frozen(kw_only=True)
class Arrival:
    """Where a simpler design would have arrived, had it been used in place of a factorial one.

    `comparison` is that combination against what was chosen, by fresh seeds, on the part that is selected on; None
    where it is what was chosen, and where runs are missing.
    """

    design: str
    arm: str
    comparison: Comparison | None = None


@attrs.frozen(kw_only=True, repr=False)
class StudyResult:
    """All that a study found.

    Attributes:
        study: what was asked.
        seeds: those that every arm was to be trained with; with `--seeds auto` some have more than others.
        arms: all that were trained, the base first.
        claims: the verdicts; empty for a factorial design, whose claims are its effects.
        effects: main effects, then interactions; empty for other designs.
        losses: by change, whether more runs are lost with it; only where any was. Verdicts on recall are about seeds of
            which no run was lost.
        steps: of a search, in order.
        chosen: the arm that selection chose; None where runs are missing.
        confirmation: recall of the chosen arm against the base on the test part, with fresh seeds; None where the base
            itself was chosen, and where runs are missing.
        fresh_seeds: those of the confirmation, which selection did not see.
        unconfirmed: how many of the runs with fresh seeds are not there.
        ranks: all arms, best first; none where runs are missing.
        pareto: by cost ("seconds", "parameters"), the arms that no other beats in both recall and cost.
        per_class: by arm, each class's mean recall difference to the base on the part selected on.
        found_by: for a factorial design, where simpler designs would have arrived.
        proofs: by change, what it did to the network and the training, line by line.
        notes: for people: what was left out, what diverged and how it counts, what shared a device.
        look_level: the level of significance of the last look.
        command: what repeats it.
        classes: names of the classes.
        matched: by name of a widened base, the change that it is as large as.
        missing: how many of the runs that were asked for are not there, of a search at least. While there are such,
            nothing is judged, chosen or ranked: every verdict is "undecided", without p.
        tuned: how the setting of each arm was chosen; None where nothing is tuned. Then all else is about what was
            chosen, once it is.
        shared: the claims at the shared setting, that of the base, before anything was tuned.
        shared_losses: as `losses`, at the shared setting.
        rivals: settings that were not chosen, with the seeds of the claims that had to hold against them.
    """

    study: Study
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    effects: tuple[Effect, ...]
    steps: tuple[Step, ...]
    chosen: str | None
    confirmation: Comparison | None
    ranks: tuple[Rank, ...]
    pareto: Mapping[str, tuple[str, ...]]
    per_class: Mapping[str, tuple[float, ...]]
    found_by: tuple[Arrival, ...]
    proofs: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    look_level: float
    command: str
    classes: tuple[str, ...]
    matched: Mapping[str, str]
    missing: int = 0
    fresh_seeds: tuple[int, ...] = ()
    losses: Mapping[str, Losses] = attrs.field(factory=dict)
    unconfirmed: int = 0
    tuned: Tuned | None = None
    shared: tuple[Claim, ...] = ()
    shared_losses: Mapping[str, Losses] = attrs.field(factory=dict)
    rivals: tuple[Trial, ...] = ()

    def __repr__(self) -> str:
        return f"StudyResult({self.study.name}: {len(self.arms)} arms, {len(self.seeds)} seeds)"

    def arm(self, name: str) -> Arm:
        """Return an arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, those of tuning too."""
        trials = (*(self.tuned.trials if self.tuned else ()), *self.rivals)
        return tuple(
            run
            for own in (*((*arm.runs, *arm.fresh) for arm in self.arms), *(trial.runs for trial in trials))
            for run in own
        )
