"""A study over several bases and data sets, with all that it takes to plan, to run or to report it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import attrs

from zoo.errors import BuildError, NothingTrainedError, SpecError, ZooError, option
from zoo.lab import arguments
from zoo.lab.arguments import Duration
from zoo.lab.findings import Findings
from zoo.lab.named import importing_whole, told_misspelt
from zoo.lab.shown import ShownStudyPlan
from zoo.lab.studies import StudyWork
from zoo.report import markup
from zoo.report.text import counted
from zoo.study.conduct import proofs
from zoo.study.places import Place, PooledStudy
from zoo.study.plan import first_specs
from zoo.study.pooled import PooledResult, summarize_places

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from zoo.lab.lab import Lab


@importing_whole
@attrs.frozen(repr=False)
class PooledFindings:
    """What a study over several bases and data sets found, with its tables and plots.

    Attributes:
        result: all of it as plain values.
        places: by name, the findings in each.
    """

    result: PooledResult
    places: dict[str, Findings] = attrs.field(factory=dict)

    def __str__(self) -> str:
        """Return the tables that the command line prints."""
        from zoo.report.study.pooled import render

        return render(self.result)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        from zoo.report.study.pooled import render

        return render(self.result, format_="markdown")

    def _repr_html_(self) -> str:
        from zoo.report.study.pooled import render

        return render(self.result, format_="html")

    def frame(self) -> pd.DataFrame:
        """Return the verdicts, one row for each change in each place, and one for each change in general."""
        from zoo.report.study.pooled import frame

        return frame(self.result)

    def wins(self) -> pd.DataFrame:
        """Return how often one arm is better than another, one row for each pair."""
        from zoo.report.study.pooled import wins

        return wins(self.result)

    def page(self) -> str:
        """Return the report as one HTML page."""
        from zoo.report.study.pooled_page import page

        return page(self.result)

    def save_plots(self, folder: str | PathLike[str], *, formats: Sequence[str] = ("svg", "png", "pdf")) -> list[Path]:
        """Write every plot of the page to files in a folder, which is made; return them.

        Raises:
            ZooError: there is no such format, or they cannot be written.
        """
        from zoo.report import drawing
        from zoo.report.study.pooled_page import sections

        return drawing.write(sections(self.result), Path(folder), formats)

    def forest_plot(self, change: str, ax: Axes | None = None) -> Axes:
        """Draw what a change does in each place and in general, with intervals."""
        from zoo.report.study import plots

        arguments.axes(ax)
        return plots.forest_plot(self.result, change, ax)

    def win_matrix(self, ax: Axes | None = None) -> Axes:
        """Draw how often one arm is better than another."""
        from zoo.report.study import plots

        arguments.axes(ax)
        return plots.win_matrix(self.result, ax)


@attrs.frozen(kw_only=True, repr=False)
class ShownPooledPlan:
    """A plan of a study over several places, shown as the lines that `zoo study plan` prints.

    Attributes:
        places: by name, the plan of each.
        seconds: estimated for what is missing.
        lines: what there is to be said of it.
        refused: what cannot be had, with the reason.
    """

    places: dict[str, ShownStudyPlan]
    seconds: float
    lines: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def runs(self) -> int:
        """How many runs there are, those that the ledger holds included."""
        return sum(plan.runs for plan in self.places.values())

    @property
    def missing(self) -> int:
        """How many of them are to be trained."""
        return sum(len(plan.plan.missing) for plan in self.places.values())

    def __repr__(self) -> str:
        return f"PooledPlan({counted(self.runs, 'run')}, {self.missing} to train: about {self.seconds:.0f} s)"

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_markdown_(self) -> str:
        return "\n\n".join(markup.lines(self.lines, "github"))

    def _repr_html_(self) -> str:
        return "\n".join(f"<p>{escape(line)}</p>" for line in self.lines)


@told_misspelt
@importing_whole
class PooledWork:
    """A study over several places in a lab; a context manager, as `StudyWork` is.

    Attributes:
        study: what is asked.
        seeds: how many each place has.
        places: those in which some of the changes can be had.
        refused: what was asked for by name and cannot be had, with the reason.
    """

    def __init__(
        self,
        lab: Lab,
        study: PooledStudy,
        *,
        seeds: int | Literal["auto"] | None,
        max_seeds: int | None,
        create: bool,
        command: str,
    ) -> None:
        if seeds == "auto" or max_seeds is not None:
            raise SpecError(
                f"study {study.name!r}: seeds are not added to a study over several bases or data sets, each of which "
                f"counts alike; give their number, such as {option('seeds', 5)}"
            )
        self.study = study
        self.seeds = study.design.seeds if seeds is None else arguments.number(seeds, "seeds", least=1)
        self.refused = list(study.refused)
        self._lab, self._create, self._command = lab, create, command
        self._proofs: dict[str, dict[str, tuple[str, ...]]] = {}
        self.places = [sound for place in study.places if (sound := self._sound(place))]
        if not self.places:
            raise SpecError("\n".join(self.refused))

    def __repr__(self) -> str:
        return f"PooledWork({self.study!r}, {counted(self.seeds, 'seed')}, {str(self._lab.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: the ledger is open only while a place is worked on."""

    def plan(self) -> ShownPooledPlan:
        """Find out what there is to train, how long it takes and what it can show; train nothing.

        Raises:
            BuildError: no place can be trained.
        """
        from zoo.report.study.pooled import plan_lines

        found: dict[str, ShownStudyPlan] = {}

        def plan(work: StudyWork) -> ShownStudyPlan:
            planned = work.plan()
            self._refuse(work)
            return planned

        self._in_each(lambda place, work: found.update({place.name: plan(work)}))
        if not found:
            raise BuildError("\n".join(self.refused))
        return ShownPooledPlan(
            places=found,
            seconds=sum(each.seconds for each in found.values()),
            lines=tuple(plan_lines(self.study, found, self.refused, self._lab.path, seeds=self.seeds)),
            refused=tuple(self.refused),
        )

    def run(
        self, *, budget: Duration | None = None, approve: Callable[[ShownPooledPlan], object] | None = None
    ) -> PooledFindings:
        """Train what is missing in each place, and judge all of it together.

        Args:
            budget: not for such a study.
            approve: is shown what will be done, and raises to prevent it.

        Raises:
            Stopped: it was interrupted.
            ZooError: nothing could be trained, or a budget was given.
        """
        if budget is not None:
            raise ZooError(
                f"{option('budget')} cuts seeds down, and each of several bases or data sets has its own: state "
                f"{option('seeds', 3)}"
            )
        if approve is not None:
            approve(self.plan())
        return self._conduct(lambda work: work.run())

    def report(self) -> PooledFindings:
        """Judge what the ledger holds, without training."""
        return self._conduct(lambda work: work.report())

    def _conduct(self, conduct: Callable[[StudyWork], Findings]) -> PooledFindings:
        found: dict[str, Findings] = {}
        untrained = 0

        def each(place: Place, work: StudyWork) -> None:
            nonlocal untrained
            try:
                found[place.name] = conduct(work)
            except NothingTrainedError as error:
                if error.failed:
                    self._note(place, str(error))
                else:
                    untrained += len(first_specs(place.study, self._lab.registry)) * self.seeds
            self._refuse(work)

        self._in_each(each)
        if not found:
            why = "\n".join(self.refused)
            raise NothingTrainedError(
                why
                or f"study {self.study.name!r}: there is no run to judge; `zoo study run` trains, with the same "
                "options",
                failed=len(why),
            )
        result = summarize_places(
            attrs.evolve(self.study, places=tuple(self.places), refused=()),
            {name: each.result for name, each in found.items()},
            seeds=self.seeds,
            refused=self.refused,
            unjudged=untrained,
            command=self._command,
        )
        return PooledFindings(result, found)

    def _sound(self, place: Place) -> Place | None:
        """Return a place with the changes that do there what they say; None where it has none, or needs all of them."""
        with self._open(place) as work:
            place, dataset, registry = attrs.evolve(place, study=work.study), work.dataset, self._lab.registry
        kept = []
        shown = self._proofs.setdefault(place.name, {})
        for factor in place.study.factors:
            try:
                shown |= proofs(attrs.evolve(place.study, factors=(factor,)), dataset, registry)
            except (BuildError, SpecError) as error:
                self._note(place, str(error))
            else:
                kept.append(factor)
        if not kept or (len(kept) < len(place.study.factors) and place.study.design.design != "one-at-a-time"):
            return None
        return attrs.evolve(place, study=attrs.evolve(place.study, factors=tuple(kept)))

    def _in_each(self, do: Callable[[Place, StudyWork], object]) -> None:
        """Do something in each place; one that cannot be trained is noted, and the others go on."""
        for place in self.places:
            try:
                with self._open(place) as work:
                    do(place, work)
            except (BuildError, SpecError) as error:
                self._note(place, str(error))

    def _open(self, place: Place) -> StudyWork:
        return StudyWork(
            self._lab,
            place.study,
            seeds=self.seeds,
            max_seeds=None,
            create=self._create,
            command="",
            first_seed=place.first_seed,
            confirms=False,
            shown=self._proofs.get(place.name),
        )

    def _refuse(self, work: StudyWork) -> None:
        refused: Sequence[str] = work.refused
        self.refused += [work.unfit[name] for name in refused if work.unfit[name] not in self.refused]

    def _note(self, place: Place, why: str) -> None:
        line = f"{place.name}: {why.removeprefix(f'study {self.study.name!r}: ')}"
        if line not in self.refused:
            self.refused.append(line)
