"""What became of tuning, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from zoo.study.ranges import Range
from zoo.study.settings import End, Round, Setting, numbers, runs_of
from zoo.train.run import Run


@attrs.frozen(kw_only=True)
class Trial:
    """An arm at one setting.

    Attributes:
        arm: its name.
        setting: which.
        runs: all that ended, by seed.
        part: of the data, that recall is of.
        recalls: by seed, the recall that each run counts with.
        mean: of the recalls, as the choice has it; NaN for none.
        chosen: whether the arm is judged at this setting.
        shared: whether it is the arm's own, without tuning.
    """

    arm: str
    setting: Setting
    part: str
    runs: tuple[Run, ...]
    recalls: Mapping[int, float]
    mean: float = math.nan
    chosen: bool = False
    shared: bool = False


@attrs.frozen
class Edge:
    """A chosen value beyond which nothing was tried."""

    arm: str
    path: str
    value: float
    end: End


@attrs.frozen(kw_only=True)
class Widening:
    """A value that was added beyond those that were tried, for every arm, and the arms that chose the outermost."""

    path: str
    value: float
    arms: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Tuned:
    """How the settings of a study were chosen.

    Attributes:
        seeds: those that they were chosen by, which no verdict is about.
        trials: every arm at every setting.
        missing: how many of their runs are not there; nothing is chosen while there are such.
        widenings: the values that were added to those that the study states, in order.
        ranges: by path, what values were taken from, where they are not listed.
        sampler: what suggested settings; "" where nothing did.
        rounds: how many settings of each arm were trained with how many of the seeds; several where they were halved.
    """

    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]
    missing: int = 0
    widenings: tuple[Widening, ...] = ()
    ranges: Mapping[str, Range] = attrs.field(factory=dict)
    sampler: str = ""
    rounds: tuple[Round, ...] = ()

    @property
    def runs_of_each(self) -> int:
        """How many runs each arm was tuned with."""
        return runs_of(self.rounds)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, in order."""
        return tuple(dict.fromkeys(trial.arm for trial in self.trials))

    def of(self, arm: str) -> tuple[Trial, ...]:
        """Return an arm's trials."""
        return tuple(trial for trial in self.trials if trial.arm == arm)

    def choice(self, arm: str) -> Trial | None:
        """Return the trial at the setting that an arm is judged at; None where nothing is chosen."""
        return next((trial for trial in self.of(arm) if trial.chosen), None)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The chosen values that are the smallest or the largest that was tried; 0 is a bound of its own.

        Of a range, only where they lie in the last tenth of it.
        """
        found = []
        for arm in self.arms:
            if (choice := self.choice(arm)) is None:
                continue
            for path, value in choice.setting.values.items():
                tried = numbers([trial.setting.values[path] for trial in self.of(arm)])
                if (
                    len(tried) < 2
                    or value not in tried
                    or (path in self.ranges and _is_inside(self.ranges[path], value))
                ):
                    continue
                if value == max(tried):
                    found.append(Edge(arm, path, value, "largest"))
                elif value == min(tried) and value != 0:
                    found.append(Edge(arm, path, value, "smallest"))
        return tuple(found)


def _is_inside(stated: Range, value: float) -> bool:
    return 0.1 < stated.share(value) < 0.9
