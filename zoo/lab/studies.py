"""A study with all that it takes to plan, to run or to report it."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal, Self

import attrs

from zoo.benchmark import Plan, run_keys, share, stored_runs
from zoo.data import Dataset, why_missing
from zoo.errors import BuildError, DataError, SpecError, ZooError, option
from zoo.lab import arguments
from zoo.lab.arguments import Duration
from zoo.lab.findings import Findings
from zoo.lab.named import importing_whole, told_misspelt
from zoo.lab.shown import ShownStudyPlan
from zoo.lab.unseen import as_trained, unseen
from zoo.ledger import Ledger
from zoo.report.study.plan import lines
from zoo.report.text import counted, rough_duration
from zoo.spec import Spec
from zoo.study import samplers
from zoo.study.arms import Train
from zoo.study.conduct import FIRST_SEEDS, MOST_SEEDS, SEED_BATCH, Auto, check_auto, conduct
from zoo.study.definition import Study
from zoo.study.designs import can_lack, is_adaptive
from zoo.study.images import Unseen
from zoo.study.plan import TuningPlan, first_specs, seconds_with, study_plan, tuning_plan
from zoo.study.tuning import check_fits, conduct_tuned, tuned_specs, tuning_rounds, tuning_seeds
from zoo.train.run import Run, RunKey

if TYPE_CHECKING:
    from zoo.lab.lab import Lab


@told_misspelt
@importing_whole
class StudyWork:
    """A study in a lab; a context manager that closes the ledger.

    Attributes:
        study: what is asked.
        dataset: that the base is trained on; where it is not at hand, what is known of it by the ledger's runs.
        unfit: specs that cannot be trained on it, with the reason.
    """

    def __init__(
        self,
        lab: Lab,
        study: Study,
        *,
        seeds: int | Literal["auto"] | None,
        max_seeds: int | None,
        create: bool,
        command: str,
        first_seed: int = 0,
        confirms: bool = True,
        shown: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        if seeds is not None and seeds != "auto":
            found = arguments.whole(seeds)
            if found is None or found < 1:
                raise ZooError(f"seeds: expected a number from 1, or 'auto', got {seeds!r}")
            seeds = len(arguments.seeds(found))
        if max_seeds is not None:
            max_seeds = arguments.number(max_seeds, "max_seeds", least=1, most=arguments.SEEDS_AT_ONCE)
        self.is_auto = seeds == "auto"
        if self.is_auto:
            check_auto(study)
        elif max_seeds is not None:
            raise ZooError(f"{option('max-seeds')} is for seeds that are added: it goes with {option('seeds', 'auto')}")
        self._lab = lab
        most = (max_seeds or MOST_SEEDS) if seeds == "auto" else seeds or study.design.seeds
        self.first_seeds = [first_seed + seed for seed in range(min(FIRST_SEEDS, most) if self.is_auto else most)]
        self._confirms = confirms
        self._shown = shown
        self._most = most
        self._command = command
        self._asked = str(most)
        self.unfit: dict[str, str] = {}
        self._costs: dict[RunKey, float] = {}
        self._edited: set[RunKey] = set()
        self._writes = False
        self.ledger: Ledger = lab.open_ledger(create=False, absent_ok=create)
        self.study = as_trained(study, self.ledger, lab.registry)

    def __repr__(self) -> str:
        return f"StudyWork({self.study!r}, {counted(len(self.first_seeds), 'seed')}, {str(self.ledger.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()

    @cached_property
    def dataset(self) -> Dataset | Unseen:
        """The data set, or what the ledger's runs say of one that is not at hand.

        Raises:
            DataError: it cannot be read, or it is not at hand and there is no run on it, or several.
        """
        base = self.study.base
        try:
            return self._lab.dataset(base)
        except DataError:
            reason = why_missing(base.data.dataset, self._lab.registry)
            found = unseen(base, reason, self.ledger, self._lab.registry) if reason else None
            if found is None or (self.study.design.match and found.shape is None):
                raise
            return found

    def _at_hand(self) -> Dataset:
        """Return the data set, for work that needs its images.

        Raises:
            DataError: it is not at hand.
        """
        return self.dataset if not isinstance(self.dataset, Unseen) else self._lab.dataset(self.study.base)

    def plan(self, seeds: int | Iterable[int] | None = None, *, find: float | None = None) -> ShownStudyPlan:
        """Find out what there is to train, how long it takes and what it can show; train nothing.

        Args:
            seeds: how many, from 0, or which; those that the study was opened with when left out.
            find: a difference in recall; the plan's `prices` say what each design takes to find it. Twice the margin
                when left out.

        Raises:
            BuildError: a combination that the design cannot do without cannot be trained.
            SpecError: the difference lies within the margin.
        """
        images = self._at_hand()
        numbers = self.first_seeds if seeds is None else arguments.seeds(seeds)
        plan = self._plan_runs(first_specs(self.study, self._lab.registry), numbers)
        if plan.unfit and not can_lack(self.study):
            raise BuildError("\n".join(plan.unfit.values()))
        tuning = self._plan_tuning(range(self._most) if self.is_auto else numbers)
        found = study_plan(
            self.study.without(plan.unfit, self._lab.registry),
            numbers,
            plan,
            dataset=images,
            registry=self._lab.registry,
            ledger=self.ledger,
            tuning=tuning,
            confirms=self._confirms,
            find=find,
        )
        stated = {field.name: getattr(found, field.name) for field in attrs.fields(type(found))}
        return ShownStudyPlan(**stated, lines=tuple(lines(self.study, found, self._lab.path, seeds=len(numbers))))

    def _plan_tuning(self, seeds: Sequence[int]) -> TuningPlan | None:
        """Plan the runs that settings are chosen by; None where nothing is tuned.

        Raises:
            BuildError: an arm can be trained at some of the settings only.
            ZooError: what suggests settings is not installed.
        """
        if self.study.tune is None:
            return None
        if self.study.design.tune_sampler:
            samplers.require(self.study.design.tune_sampler)
        registry = self._lab.registry
        specs = tuned_specs(self.study, registry)
        tuned_by = tuning_seeds(self.study, seeds)
        distinct = {spec.identity: spec for own in specs.values() for spec in own}
        (_, first), *_ = tuning_rounds(self.study)
        plan = self._plan_runs(list(distinct.values()), tuned_by[:first])
        check_fits(self.study, specs, lambda spec: spec.name not in plan.unfit)
        return tuning_plan(self.study, plan, tuned_by, registry=registry)

    def _plan_runs(
        self, specs: Sequence[Spec], seeds: Sequence[int], *, known: Mapping[RunKey, float] | None = None
    ) -> Plan:
        """Plan runs; what cannot be trained is noted, and how long the others take."""
        plan = self._lab.plan_runs(specs, seeds, self.ledger, known=known)
        self.unfit |= plan.unfit
        self._costs |= plan.costs
        return plan

    @property
    def refused(self) -> list[str]:
        """The specs that were asked for by name and cannot be trained."""
        wildcards = self.study.wildcards
        return [name for name in self.unfit if not any(label in name for label in wildcards)]

    def _within(self, seeds: Sequence[int], found: ShownStudyPlan, budget: float) -> list[int]:
        """Return so many of a plan's seeds that they fit a budget in seconds.

        Raises:
            SpecError: not even two do.
        """
        study = self.study.without(self.unfit, self._lab.registry)

        def needed(count: int) -> float:
            return seconds_with(study, found.plan, seeds[:count], found.tuning)

        least = needed(2)
        if least <= budget:
            return list(seeds[: bisect_right(range(len(seeds) + 1), budget, lo=2, key=needed) - 1])
        raise SpecError(
            f"two seeds take about {rough_duration(least)} and the budget is {rough_duration(budget)}: take fewer "
            "epochs, fewer changes, or "
            + ("fewer settings to tune over" if self.study.tune else "a design with fewer combinations")
        )

    def run(
        self, *, budget: Duration | None = None, approve: Callable[[ShownStudyPlan], object] | None = None
    ) -> Findings:
        """Train what is missing, and judge it.

        Args:
            budget: seconds, or a text such as "30m"; seeds are cut down to what fits, and with "auto" none are added
                when half of it is gone.
            approve: is shown what will be done, and raises to prevent it.

        Raises:
            Stopped: it was interrupted.
        """
        seeds = self.first_seeds
        limit = arguments.seconds(budget, "budget")
        found = self.plan(seeds)
        if limit is not None and found.seconds > limit:
            seeds = self._within(seeds, found, limit)
            found = self.plan(seeds)
            self._lab.say(f"Cut down to the budget: {counted(len(seeds), 'seed')}.")
        if approve is not None:
            approve(found)
        start = time.monotonic()
        return self._conduct(self._train, seeds, lambda: limit is None or (time.monotonic() - start) * 2 <= limit)

    def report(self) -> Findings:
        """Judge what the ledger holds, without training. Nothing of that needs the images."""
        self._edited.clear()
        try:
            return self._conduct(self._stored, self.first_seeds, lambda: True)
        except ZooError as error:
            if not self._edited:
                raise
            error.args = (f"{error}. {self._edited_note()}",)
            raise

    def _edited_note(self) -> str:
        """Say how many of the runs that are missing are stored with another source of their variants."""
        stored = counted(len(self._edited), "run")
        return (
            f"{stored} of this study {'is' if len(self._edited) == 1 else 'are'} stored with another version of the "
            "source of the variants, which was edited since; `zoo study run` trains with that of now"
        )

    def run_shard(self, number: int, count: int) -> list[Run]:
        """Train one of `count` shares of the study's runs, and judge nothing: that takes all shares, merged.

        Raises:
            SpecError: which runs there are depends on what was found.
        """
        if self.is_auto or is_adaptive(self.study) or self.study.tune:
            raise SpecError(
                f"study {self.study.name!r}: what it trains depends on what was found, so its runs cannot be shared "
                "out beforehand; take a design that is no search, with a number of seeds, and no tuning"
            )
        plan = self._plan_runs(first_specs(self.study, self._lab.registry), self.first_seeds)
        mine = share(plan, number, count, registry=self._lab.registry, device=self._lab.device)
        for line in mine.remarks:
            self._lab.say(line)
        return self._train_planned(mine)

    def _conduct(self, train: Train, seeds: Sequence[int], go_on: Callable[[], bool]) -> Findings:
        auto: Auto | None = None
        self._asked = str(len(seeds))
        if self.is_auto:
            auto = Auto(len(seeds), SEED_BATCH, max(self._most, len(seeds)), go_on)
            seeds = range(auto.most)
            self._asked = f"auto {auto.most}"
        conducted = conduct_tuned if self.study.tune else partial(conduct, confirms=self._confirms)
        result = conducted(
            self.study,
            list(seeds),
            train,
            dataset=self.dataset,
            registry=self._lab.registry,
            auto=auto,
            command=self._command,
            fits=lambda spec: spec.name not in self.unfit,
            shown=self._shown,
        )
        left_out = (f"Left out: {reason}" for reason in self.unfit.values())
        if isinstance(self.dataset, Unseen):
            about: list[str] = [self.dataset.note]
        else:
            about = [f"{self.dataset.name}: {leak}." for leak in self.dataset.leaks]
        if self._edited:
            about.append(f"{self._edited_note()}.")
        numbers = self.ledger.numbers(run.key for run in result.runs)
        return Findings(attrs.evolve(result, notes=(*about, *result.notes, *left_out)), numbers)

    def _train(self, specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        """Train what the ledger does not hold, with progress."""
        try:
            plan = self._plan_runs(specs, seeds, known=self._costs)
        except BuildError:  # none of them can be trained, which the plan of the study has said
            return []
        return self._train_planned(plan)

    def _train_planned(self, plan: Plan) -> list[Run]:
        """Train what a plan says is missing. From then on the ledger is open to be written."""
        if plan.missing and not self._writes:
            self.ledger.close()
            self.ledger = self._lab.open_ledger()
            self._writes = True
        return self._lab.train_planned(attrs.evolve(plan, asked=self._asked), self.ledger)

    def _stored(self, specs: Sequence[Spec], seeds: Sequence[int]) -> list[Run]:
        """Return the runs that the ledger holds, and note which specs cannot be trained."""
        runs = stored_runs(
            specs,
            seeds,
            self.dataset.digest,
            registry=self._lab.registry,
            ledger=self.ledger,
            precision=self._lab.precision,
        )
        trained = {run.key.spec for run in runs}
        keys = run_keys(specs, seeds, self.dataset.digest, registry=self._lab.registry, precision=self._lab.precision)
        self._edited |= self.ledger.of_another_source(keys)
        for spec in specs:
            if spec.identity not in trained and not isinstance(self.dataset, Unseen):
                try:
                    self._plan_runs([spec], seeds[:1])
                except BuildError as error:
                    self.unfit[spec.name] = str(error)
        return runs
