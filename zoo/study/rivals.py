"""Settings that were not chosen, and that a claim has to hold against all the same.

Tuning chooses by few seeds, and may miss the best setting of an arm. A change that is compared with a base which
missed its own would seem to help. So where a claim comes out between what was chosen, the other side is trained at its
other settings, too, with the seeds of the claim; `zoo.statistics.verdicts.judge` says what becomes of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.statistics.paired import Rivals, estimate
from zoo.statistics.verdicts import LEVEL, p_values
from zoo.study.arms import ArmTable, TrainedArm
from zoo.study.definition import Part
from zoo.study.settings import Setting
from zoo.study.trials import Trial
from zoo.train.run import Run


class RivalArms:
    """The arms of a tuned study at the settings that they did not choose, trained as far as claims ask for them.

    Args:
        table: the arms, as chosen.
        part: of the data that claims are about; the one that is selected on unless another is named.
        fresh: claims are about the fresh seeds.
    """

    def __init__(self, table: ArmTable, part: Part | None = None, *, fresh: bool = False) -> None:
        self._table, self._fresh = table, fresh
        self._part: Part = part or table.study.design.select
        self._arms: dict[str, list[tuple[Setting, TrainedArm]]] = {}
        self._asked: dict[int, set[int]] = {}

    def against(
        self,
        pairs: Mapping[str, tuple[TrainedArm, TrainedArm]],
        differences: Mapping[str, Sequence[float]],
        within: Sequence[int] | None,
    ) -> dict[str, Rivals]:
        """Train what the claims have to hold against, and return the differences.

        Args:
            pairs: by claim, the treatment and the control, as chosen.
            differences: between them.
            within: the seeds that count; all when None.
        """
        found = {name: self._asked_for(differences[name]) for name in pairs}
        for name, (treatment, control) in pairs.items():
            ours, theirs = self._runs(treatment), self._runs(control)
            seeds = [seed for seed in sorted(ours) if seed in theirs and _counts(seed, within)]
            for arm, is_asked in zip((control, treatment), found[name], strict=True):
                if is_asked:
                    self._train(arm, seeds)
        return {
            name: Rivals(
                controls=self._differences(control, treatment, -1, within) if asked[0] else {},
                treatments=self._differences(treatment, control, 1, within) if asked[1] else {},
            )
            for (name, (treatment, control)), asked in zip(pairs.items(), found.values(), strict=True)
        }

    @property
    def missing(self) -> int:
        """How many of the runs that were asked for are not there."""
        arms = (arm for own in self._arms.values() for _, arm in own)
        return sum(len(self._asked.get(id(arm), set()) - set(self._runs(arm))) for arm in arms)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """What was trained, as plain values."""
        return tuple(
            Trial(
                arm=name,
                setting=setting,
                part=self._part,
                runs=tuple(run for _, run in sorted(self._runs(arm).items())),
                recalls=self._recalls(arm),
            )
            for name, own in self._arms.items()
            for setting, arm in own
        )

    def _asked_for(self, differences: Sequence[float]) -> tuple[bool, bool]:
        """Say whether the settings of the control, and of the treatment, can decide about a claim."""
        found = estimate(differences, self._table.image_step(self._part), self._table.overlap(self._part))
        differs, equivalent = p_values(found, self._table.study.design.margin)
        if differs is None or equivalent is None:
            return False, False
        is_alike, differs_ = equivalent <= LEVEL, differs <= LEVEL
        return is_alike or (differs_ and found.difference > 0), is_alike or (differs_ and found.difference < 0)

    def _others(self, arm: TrainedArm) -> list[tuple[Setting, TrainedArm]]:
        """Return an arm at the settings that it did not choose."""
        if arm.name not in self._arms:
            study, registry = self._table.study, self._table.registry
            assert study.tune
            assert arm.cell is not None
            plain = study.untuned.spec(arm.cell, registry)
            specs = [(setting, setting.of(plain, registry)) for setting in study.tune.settings]
            self._arms[arm.name] = [
                (setting, TrainedArm(f"{arm.name} with {setting.label}", arm.cell, spec))
                for setting, spec in specs
                if spec.identity != arm.spec.identity
            ]
        return self._arms[arm.name]

    def _train(self, arm: TrainedArm, seeds: Sequence[int]) -> None:
        others = [other for _, other in self._others(arm)]
        for other in others:
            self._asked.setdefault(id(other), set()).update(seeds)
        if self._fresh:
            self._table.train_fresh(others, seeds)
        else:
            self._table.train(others, seeds)

    def _runs(self, arm: TrainedArm) -> dict[int, Run]:
        return arm.fresh if self._fresh else arm.runs

    def _recalls(self, arm: TrainedArm) -> dict[int, float]:
        return arm.recalls(self._part, self._table.classes, fresh=self._fresh)

    def _differences(
        self, arm: TrainedArm, other_side: TrainedArm, sign: int, within: Sequence[int] | None
    ) -> dict[str, list[float]]:
        """Return the differences of an arm at other settings to the other side, seed by seed.

        What was lost counts, as it does in the choice: a setting that loses runs is worse for it.
        """
        theirs = self._recalls(other_side)
        found = {}
        for _, rival in self._others(arm):
            ours = self._recalls(rival)
            common = [seed for seed in ours if seed in theirs and _counts(seed, within)]
            found[rival.name] = [sign * (ours[seed] - theirs[seed]) for seed in common]
        return found


def _counts(seed: int, within: Sequence[int] | None) -> bool:
    return within is None or seed in within
