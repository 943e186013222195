"""The lab: what the command line does, from Python."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from zoo.errors import WORK_FAILED, DataError, LedgerError, Stopped, UnknownNameError, ZooError, option
from zoo.importing import interrupted_after
from zoo.lab import arguments
from zoo.lab.arguments import Duration, Shard
from zoo.lab.named import arguments_of, importing_whole, told_misspelt
from zoo.ledger import Ledger, on_network_file_system
from zoo.registry import Registry, default_registry
from zoo.registry.options import Choice
from zoo.report.text import counted
from zoo.settings import DATA_IN, DATA_IN_HERE, Project, Settings
from zoo.settings import read as read_settings
from zoo.spec import Spec
from zoo.spec.changes import Selection, joined, overridden, select_changed
from zoo.spec.reading import read_choice
from zoo.spec.resolve import Named, resolve

if TYPE_CHECKING:
    from zoo.benchmark import Plan
    from zoo.data import Dataset
    from zoo.export.exporting import Exported
    from zoo.lab.findings import Findings
    from zoo.lab.pooled import PooledFindings, PooledWork
    from zoo.lab.shown import ShownNetwork, ShownPlan
    from zoo.lab.studies import StudyWork
    from zoo.lab.table import Table
    from zoo.lab.training import TrainedEpoch
    from zoo.ledger.keep import Entry
    from zoo.study.definition import Study
    from zoo.study.places import PooledStudy
    from zoo.timing import Timings
    from zoo.train.engines.choice import Wanted
    from zoo.train.run import Arithmetic, Precision, Run, RunKey

SEEDS = 3
"""How many seeds a benchmark has where nobody says how many."""


@told_misspelt
@importing_whole
class Lab:
    """Registry, ledger, devices, precision, engine and executor, wired once.

    What is left out is as the environment or the project file says (`zoo.toml`, see `project`), as on the command line.

    Args:
        ledger: the file that runs are stored in; zoo.sqlite in the working folder, when nothing says otherwise.
        device: "auto" (a GPU where there is one), "cpu", "mps", "cuda" (all that are visible) or one, such as "cuda:1".
        precision: "fp32", "tf32", "bf16", "fp16", "half", or "auto", which is fp32.
        fast: let cuDNN take the kernels that it finds fastest (NVIDIA GPUs), whose figures are not the same each time;
            runs are of another precision then, such as "fp32+fast".
        engine: how steps are made: "sequential", "captured" (NVIDIA GPUs), "compiled" (by torch.compile), or "auto",
            which is "captured" where it can be and "sequential" elsewhere.
        data_in: where images are: "device"; "memory", from which batches are read ahead and copied; or "auto", the
            device unless they take more than half of its free memory. It holds for the process, until another lab is
            made.
        executor: where runs are trained: the name of a registered executor, or a mapping with `name` and its options.
            When left out: `here`, or several at once where that pays.
        jobs: how many runs at once; on a CPU one for each core, where that pays, when left out. A script that leaves it
            out, or says more than 1, must begin its work under `if __name__ == "__main__":`, as all that starts
            processes.
        keep_state: keep the final state of each run that is trained, so that it can be gone on with for more epochs.
        plugins: single-file plugins to load, besides those of the project file.
        block: plugins to leave out, besides those of the project file.
        registry: instead of all of these, one that is loaded already.
        say: is given lines for people; they go to standard error when left out.
        project: the project file; "auto" is that of the working folder, or of the nearest of its parents that has one;
            None is none.

    Raises:
        ZooError: here and in every method, where something that it was given cannot be used.
    """

    def __init__(
        self,
        ledger: str | Path | None = None,
        *,
        device: str | None = None,
        precision: Arithmetic | Literal["auto"] | None = None,
        fast: bool | None = None,
        engine: Wanted | None = None,
        data_in: Literal["auto", "device", "memory"] | None = None,
        executor: str | Mapping[str, Any] | None = None,
        jobs: int | None = None,
        keep_state: bool | None = None,
        plugins: str | Path | Iterable[str | Path] = (),
        block: str | Iterable[str] = (),
        registry: Registry | None = None,
        say: Callable[[str], None] | None = None,
        project: Project | Settings = "auto",
    ) -> None:
        if say is not None and not callable(say):
            raise ZooError(f"say: expected a function that is given lines, such as print, got {say!r}")
        self.say = say or _to_stderr
        self.settings = told = read_settings(project)
        if told is not project:
            for note in told.notes:
                self.say(f"Note: {note}.")
        self.jobs = told["jobs"] if jobs is None else arguments.number(jobs, "jobs", least=1)
        given = list(map(Path, arguments.files(plugins, "plugins")))
        block = [*told["block"], *map(str, arguments.files(block, "block"))]
        if registry is None:
            files = [*told.plugins(), *given]
            registry = Registry(block=block, files=files).require_sound() if files or block else default_registry()
        elif given or block:
            raise ZooError("a registry has its plugins loaded already: state either it, or plugins and block")
        self.registry = arguments.instance(registry, Registry, "registry", "a zoo.Registry")
        self.path = arguments.file(ledger, "ledger") if ledger is not None else told["ledger"]
        wanted = told["keep_state"] if keep_state is None else keep_state
        self._keep_state = arguments.instance(wanted, bool, "keep_state", "True or False")
        self.engine: Wanted = engine or told["engine"]
        self._put_data_in(data_in or told["data_in"])
        self._device, self._precision = str(device or told["device"]), precision or told["precision"]
        self._fast = arguments.instance(told["fast"] if fast is None else fast, bool, "fast", "True or False")
        chosen = told["executor"] if executor is None else executor
        with told.blamed(executor=executor):
            self._executor = None if chosen is None else read_choice("executor", chosen, option("executor"), registry)
        if self._executor is not None and self._executor.name == "here" and self.jobs not in (None, 1):
            raise ZooError(
                f"{option('jobs', self.jobs)}: the executor here trains one run after another; leave it out, or take "
                f"{option('executor', 'processes')}"
            )
        self._told_of_network = False
        with told.blamed(device=device, precision=precision, fast=fast, engine=engine, jobs=jobs):
            self._check_machine()

    @staticmethod
    def _put_data_in(where: str) -> None:
        """Say for this process, and those that it starts, where images are."""
        if where not in DATA_IN:
            raise ZooError(f"{option('data_in', where)}: expected one of {', '.join(DATA_IN)}")
        os.environ[DATA_IN_HERE] = where

    def __repr__(self) -> str:
        return f"Lab({str(self.path)!r}, device={self._device!r}, jobs={self.jobs!r})"

    def _check_machine(self) -> None:
        """Refuse a device, a precision or an engine that there is not here."""
        # What every machine has is not looked up, which imports torch.
        known = ((self._device, ("auto", "cpu")), (self._precision, ("auto", "fp32", "bf16")), (self._fast, (False,)))
        if any(value not in here for value, here in (*known, (self.engine, ("auto", "sequential")))):
            _ = self.devices, self.precision

    # What runs are trained on

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The devices that runs are trained on."""
        with interrupted_after():
            from zoo.train.engines.choice import check_engine
            from zoo.train.machine import devices, make_deterministic

        found = devices(self._device)
        if found == ("mps",) and self.jobs is not None:
            raise ZooError(f"{option('jobs')} is for the CPU and NVIDIA GPUs, and the device is mps; leave it out")
        check_engine(self.engine, found[0])
        make_deterministic(found[0])
        return found

    @property
    def device(self) -> str:
        """The first of the devices."""
        return self.devices[0]

    @cached_property
    def precision(self) -> Precision:
        """The precision of runs."""
        from zoo.train.precision import choose_precision

        return choose_precision(self._precision, self.device, fast=self._fast)

    def open_ledger(self, *, create: bool = True, absent_ok: bool = False) -> Ledger:
        """Return the ledger, open; a context manager that closes it.

        Args:
            create: to write to it; it is made where it is missing, and removed again where nothing came to be stored.
            absent_ok: without `create`: one that is missing is one without runs.
        """
        system = on_network_file_system(self.path) if create or absent_ok else None
        if system and not self._told_of_network:
            self._told_of_network = True
            self.say(
                f"Note: the ledger {self.path} lies on a network file system ({system}), whose locks cannot be relied "
                "on: use it from one machine at a time, or give each its own and merge them (`zoo ledger merge`)."
            )
        return Ledger(self.path, create=create, absent_ok=absent_ok, keep_unused=False, say=self.say)

    def dataset(self, spec: Named) -> Dataset:
        """Return the data set that a spec names, on the device.

        Raises:
            DataError: it is not at hand or cannot be read.
        """
        from zoo.train.execute import dataset

        return dataset(resolve(spec, registry=self.registry), self.registry, self.device)

    # Benchmarks

    def resolve(
        self,
        spec: Named,
        *,
        epochs: float | None = None,
        data: str | None = None,
        sets: Mapping[str, Any] | None = None,
    ) -> Spec:
        """Return one spec with values set, every default written out. Nothing that this needs imports torch.

        Raises:
            SpecError: it, a path or a value is not valid.
        """
        return overridden(resolve(spec, registry=self.registry), self._sets(sets, epochs, data), registry=self.registry)

    def select(
        self,
        *specs: Named | Selection,
        epochs: float | None = None,
        data: str | None = None,
        sets: Mapping[str, Any] | None = None,
        vary: Mapping[str, Sequence[Any]] | None = None,
        against: Named | None = None,
    ) -> Selection:
        """Return the specs that the arguments of `plan` stand for, which takes what is returned in place of them.

        Nothing that this needs imports torch.

        Raises:
            SpecError: a spec, a path or a value is not valid.
            DataError: the data of a spec that was named itself is not at hand.
        """
        selection = self._select(specs, arguments.sets(sets), arguments.variations(vary), epochs, data, against)
        self._require_data(selection, of_all=(data or self.settings["data"]) is not None)
        return selection

    def _select(
        self,
        specs: Sequence[Named | Selection],
        sets: Mapping[str, Any],
        variations: Mapping[str, Sequence[Any]],
        epochs: float | None,
        data: str | None,
        against: Named | None = None,
    ) -> Selection:
        """Do what `select` does, without looking for data."""
        if not any(isinstance(spec, Selection) for spec in specs):
            sets = self._sets(sets, epochs, data, varied=variations)
            if against is not None:
                (against,) = arguments.specs([against])
            return select_changed(
                arguments.specs(specs), registry=self.registry, sets=sets, variations=variations, against=against
            )
        if len(specs) > 1 or sets or variations or any(said is not None for said in (epochs, data, against)):
            raise ZooError("specs that `select` returned stand alone: say there what else is wanted of them")
        (selection,) = specs
        assert isinstance(selection, Selection)
        return selection

    def _sets(
        self,
        sets: Mapping[str, Any] | None,
        epochs: float | None = None,
        data: str | None = None,
        *,
        varied: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Return all that is to be set in specs, by path; with the project's data and epochs as defaults."""
        stated = joined(arguments.sets(sets), epochs=arguments.plain(epochs), data=data)
        return self.settings.sets(stated, varied)

    def _require_data(self, selection: Selection, *, of_all: bool) -> None:
        """Refuse specs whose data is not at hand: those that were named themselves, or any of them."""
        from zoo.data import why_missing

        for spec in selection.specs:
            reason = why_missing(spec.data.dataset, self.registry)
            if reason is not None and (of_all or spec.name in selection.named):
                raise DataError(f"{spec.name}: the data set {spec.data.dataset} is not at hand: {reason}")

    def plan(
        self,
        *specs: Named | Selection,
        seeds: int | Iterable[int] | None = None,
        epochs: float | None = None,
        data: str | None = None,
        sets: Mapping[str, Any] | None = None,
        vary: Mapping[str, Sequence[Any]] | None = None,
        against: Named | None = None,
        budget: Duration | None = None,
        shard: Shard | None = None,
    ) -> ShownPlan:
        """Find out what there is to train and about how long it takes; train nothing.

        Args:
            specs: names, shell patterns such as "starter/*", TOML files, mappings or specs, one by one or in a list, or
                what `select` returned; every registered spec whose data is at hand when left out.
            seeds: how many, from 0, or which; 3 when nothing says how many.
            epochs: train so many, instead of what each spec says.
            data: train all on this data set: a name, "folder:PATH" or "npz:PATH".
            sets: values to set in every spec, by path: {"training.epochs": 5}.
            vary: by path, values of which every spec is trained with each: {"activation": ["relu", "mish"]}.
            against: a spec that all others are judged against, seed by seed; it is trained too.
            budget: seconds, or a text such as "30m"; seeds, then epochs, are cut down to what fits.
            shard: (3, 16), or "3/16", is the third of 16 shares of the runs, which together are all.

        Raises:
            SpecError: a spec, a path or a value is not valid.
            DataError: the data of a spec that was named itself is not at hand, or a data set is damaged.
            BuildError: no spec can be trained on its data.
        """
        from zoo.benchmark import share, within_budget
        from zoo.lab.shown import ShownPlan
        from zoo.report.plan import over_budget
        from zoo.report.plan import remarks as remarks_on

        selection = self.select(*specs, epochs=epochs, data=data, sets=sets, vary=vary, against=against)
        numbers = arguments.seeds(self.settings["seeds"] or SEEDS if seeds is None else seeds)
        budget, shard = arguments.seconds(budget, "budget"), arguments.shard(shard)
        if shard is not None:
            _check_shard(budget, selection)
        if sys.stderr.isatty():
            self.say(f"Planning {counted(len(selection.specs), 'spec')} ...")
        with self.open_ledger(create=False, absent_ok=True) as ledger:
            plan = self.plan_runs(selection.specs, numbers, ledger)
            remarks = selection.broken
            if budget is not None and plan.estimate > budget:
                cut, numbers = within_budget(selection.specs, numbers, plan, budget, registry=self.registry)
                plan = self.plan_runs(cut, numbers, ledger)
                remarks = (*remarks, *over_budget(plan, numbers, budget))
        if shard is not None:
            plan = share(plan, *shard, registry=self.registry, device=self.device)
        plan = attrs.evolve(
            plan,
            families=selection.families,
            remarks=(*remarks, *plan.remarks),
            asked=str(len(numbers)),
            device=self._device_name(),
        )
        stated = {field.name: getattr(plan, field.name) for field in attrs.fields(type(plan))}
        return ShownPlan(**stated, lines=(*plan.remarks, *remarks_on(plan, self.path)))

    def _device_name(self) -> str:
        """Return the name of what runs are trained on; an empty text where the executor may know other devices."""
        from zoo.train.machine import provenance

        executors = self.registry.variants("executor")
        if self._executor is not None:
            own = executors.get("here")
            if own is None or executors[self._executor.name].plugin != own.plugin:
                return ""
        return provenance(self.device)["device_name"]

    def plan_runs(
        self,
        specs: Sequence[Spec],
        seeds: Sequence[int],
        ledger: Ledger,
        *,
        known: Mapping[RunKey, float] | None = None,
    ) -> Plan:
        """Plan runs of resolved specs, given an open ledger; `known` are the seconds of runs planned before."""
        from zoo.benchmark import keeping_states, make_plan

        plan = make_plan(
            specs,
            seeds,
            registry=self.registry,
            device=self.device,
            ledger=ledger,
            jobs=self.jobs or (len(self.devices) if len(self.devices) > 1 else None),
            precision=self.precision,
            engine=self.engine,
            known=known,
        )
        if self._keep_state:
            plan = keeping_states(plan, ledger.checkpoints)
        # An executor that is asked for knows best how many runs it has room for.
        return plan if self._executor is None else attrs.evolve(plan, jobs=self.jobs)

    @arguments_of(plan)
    def benchmark(self, *specs: Named, **stated: Any) -> Table:
        """Train what the ledger does not hold, and return the table.

        Raises:
            ZooError: as by `plan`.
            Stopped: it was interrupted. What has ended is stored; the same call goes on.
        """
        _end_if_imported_by_worker()
        with told_stopped():
            self.warm_up()
            plan = self.plan(*specs, **stated)
            for line in plan.lines:
                self.say(line)
            return self.carry_out(plan)

    def warm_up(self) -> None:
        """Let the process that workers are forked from begin to import torch, if there will be any; without waiting."""
        if self._executor is None and self.jobs != 1 and self.device == "cpu":
            from zoo.execution.processes import warm_up

            warm_up()

    def carry_out(self, plan: Plan) -> Table:
        """Train what a plan says is missing, and return the table.

        Raises:
            Stopped: it was interrupted. What has ended is stored; the same call goes on.
        """
        from zoo.benchmark import Plan

        arguments.instance(plan, Plan, "plan", "what `Lab.plan` returns")
        with self.open_ledger(create=bool(plan.missing), absent_ok=True) as ledger:
            runs = self.train_planned(plan, ledger)
            return self._table(runs, ledger, families=plan.families)

    def train_planned(self, plan: Plan, ledger: Ledger) -> list[Run]:
        """Train what a plan says is missing, given an open ledger, with progress; return the runs.

        Raises:
            Stopped: it was interrupted.
        """
        from zoo.benchmark import carry_out
        from zoo.report.progress import Display, begun_lines
        from zoo.train.execute import checkpoint_seconds

        _end_if_imported_by_worker()
        checkpoint_seconds()  # so that a wrong one is said once, before any run
        display = Display(plan)
        try:
            with display:
                return carry_out(
                    plan,
                    registry=self.registry,
                    devices=self.devices,
                    ledger=ledger,
                    executor=self.executor_for(plan),
                    watch=display.watch,
                    say=display.say,
                    engine=self.engine,
                )
        except KeyboardInterrupt:
            stored = plan.stored + len(ledger.ended(run.key for run in plan.missing))
            begun = begun_lines(display.begun, ledger.checkpoints)
            raise Stopped(
                "\n".join(
                    [
                        f"Stopped: {stored} of {counted(len(plan.runs), 'run')} stored in {self.path}.",
                        "The same command goes on from there.",
                        *begun,
                    ]
                )
            ) from None

    def executor_for(self, plan: Plan) -> Choice:
        """Return where a plan's runs are trained: as asked for, or what suits their number and the device."""
        if self._executor is not None:
            return self._executor
        if plan.jobs == 1 or len(plan.missing) < 2:
            name = "here"
        else:
            # Threads of one process take turns at all GPUs together, so that a second one would gain nothing.
            name = "streams" if self.device.startswith("cuda") and len(self.devices) == 1 else "processes"
        return read_choice("executor", name, "executor", self.registry)

    def results(
        self, *patterns: str, data: str | None = None, partial: bool = False, against: str | None = None
    ) -> Table:
        """Return the table of the runs that the ledger holds, without training.

        Args:
            patterns: names of specs, shell patterns or TOML files; all when left out.
            data: only runs on the data set of this name.
            partial: instead of runs that have ended, those that have not: under way, or cut short.
            against: name of a spec that each other one is judged against, seed by seed; it is shown, too.

        Raises:
            LedgerError: there is no ledger, or no such run in it.
            ZooError: runs that have not ended are to be judged.
        """
        from zoo.lab.stored import stored

        names = list(map(str, arguments.several(patterns)))
        if partial and against is not None:
            raise ZooError("runs that have not ended are not judged: leave out one of partial and against")
        if against is not None and names:
            names.append(against)
        with self.open_ledger(create=False) as ledger:
            if partial:
                return self._unfinished(ledger, names, data)
            return self._table(stored(ledger, names, data), ledger, against=against)

    def report(self, *patterns: str, data: str | None = None, against: str | None = None) -> Table:
        """Return the table of the runs that the ledger holds with those under way, to be shown as a page.

        Args:
            patterns: names of specs, shell patterns or TOML files; all when left out.
            data: only runs on the data set of this name.
            against: name of a spec that each other one is judged against, seed by seed; it is shown, too.

        Raises:
            LedgerError: there is no ledger, or no such run in it.
        """
        from zoo.lab.stored import stored
        from zoo.ledger.keep import unfinished

        names = list(map(str, arguments.several(patterns)))
        if against is not None and names:
            names.append(against)
        with self.open_ledger(create=False) as ledger:
            begun = unfinished(ledger, patterns=names, dataset=data)
            try:
                runs = stored(ledger, names, data)
            except LedgerError:
                if not begun:
                    raise
                runs = []
            return self._table(runs, ledger, against=against, unfinished=begun)

    def sections(self, table: Table) -> list[str]:
        """Return the paragraphs that plugins add below a table."""
        if not self.registry.hook.zoo_report_sections.get_hookimpls():
            return []
        from zoo.benchmark import tell  # imports torch

        found = tell(self.registry, "zoo_report_sections", self.say, runs=list(table.all))
        return [section for sections in found for section in sections]

    def write(self, table: Table, to: str) -> list[str]:
        """Let the plugin that is named write a table's runs elsewhere; return in lines what it wrote.

        Args:
            table: whose runs.
            to: a name and a place, such as "tensorboard:DIR" or "mlflow:URI".

        Raises:
            UnknownNameError: no plugin did.
        """
        from zoo.benchmark import tell

        name, _, place = str(to).partition(":")
        lines = tell(self.registry, "zoo_write_runs", self.say, runs=list(table.all), to=name, place=place)
        if not lines:
            raise UnknownNameError(
                f"{option('to', to)}: no plugin has written runs to {name!r}; the plugins zoo-tensorboard and "
                "zoo-mlflow write to tensorboard:DIR and mlflow:URI"
            )
        return lines

    def _table(
        self,
        runs: Sequence[Run],
        ledger: Ledger,
        families: Sequence[Sequence[str]] = (),
        against: str | None = None,
        unfinished: Sequence[tuple[Entry, Run]] = (),
    ) -> Table:
        from zoo.lab.table import Table
        from zoo.ledger.keep import is_stale

        return Table(
            runs,
            families=families,
            against=against,
            unfinished=unfinished,
            numbers=ledger.numbers(run.key for run in runs),
            is_stale=lambda run: is_stale(run.spec, run.name, run.key, self.registry),
            class_names=self._class_names,
        )

    def _unfinished(self, ledger: Ledger, patterns: Sequence[str], data: str | None) -> Table:
        from zoo.lab.unfinished import Unfinished
        from zoo.ledger.keep import require_known, unfinished

        require_known(ledger, patterns, data)
        return Unfinished(unfinished(ledger, patterns=patterns, dataset=data), class_names=self._class_names)

    def _class_names(self, run: Run) -> tuple[str, ...] | None:
        """Return the names of the classes, where the images that a run was trained on are at hand."""
        from zoo.spec import structure

        try:
            data = self.dataset(structure(run.spec, run.name, self.registry))
        except ZooError:
            return None
        return data.classes if data.digest == run.key.dataset else None

    def train(
        self,
        spec: Named,
        *,
        seed: int = 0,
        epochs: float | None = None,
        data: str | None = None,
        sets: Mapping[str, Any] | None = None,
    ) -> Iterator[TrainedEpoch]:
        """Train one spec here and yield after each epoch, with network and optimizer at hand; store nothing.

        The figures are those of a run with this spec and seed, as long as the network is only looked at.

        Raises:
            ZooError: the spec cannot be trained on its data, or the run diverges.
        """
        from zoo.lab.training import train

        _end_if_imported_by_worker()
        seed = arguments.seed(seed)
        resolved = self.resolve(spec, epochs=epochs, data=data, sets=sets)
        return train(resolved, seed, device=self.device, precision=self.precision, registry=self.registry)

    # Studies

    def open_study(
        self,
        study: str | Path | Mapping[str, Any] | Study | PooledStudy,
        *,
        seeds: int | Literal["auto"] | None = None,
        max_seeds: int | None = None,
        epochs: float | None = None,
        data: str | Sequence[str] | None = None,
        sets: Mapping[str, Any] | None = None,
        tune: Mapping[str, Sequence[Any] | Mapping[str, Any]] | None = None,
        create: bool = True,
        command: str = "",
    ) -> StudyWork | PooledWork:
        """Return a study with all that is needed to plan, run or report it; a context manager.

        One over several bases or data sets is planned, run and reported place by place, and judged as a whole.

        Args:
            study: a registered name, a TOML file, a mapping of the same form, or a study.
            seeds: how many; the study's number when left out. "auto" adds some where a claim is undecided.
            max_seeds: how many "auto" may come to; 15 when left out.
            epochs: train so many.
            data: train on this data set, or on each of several.
            sets: values to set in its base, by path.
            tune: values, or ranges, to tune over, by path, in place of those that it states.
            create: make the ledger if there is none, once there is something to store.
            command: what repeats it.
        """
        from zoo.lab.pooled import PooledWork
        from zoo.lab.studies import StudyWork
        from zoo.study.definition import Study, study_tree
        from zoo.study.places import PooledStudy, read_any

        datasets = [] if data is None else [data] if isinstance(data, str) else list(data)
        if not isinstance(study, Study | PooledStudy):
            tree = study if isinstance(study, Mapping) else study_tree(study, registry=self.registry)
            stated = joined(arguments.sets(sets), epochs=arguments.plain(epochs), data=None)
            overrides = self.settings.sets(stated, ("data.dataset",) if datasets or "data" in tree else ())
            values = arguments.variations(tune, "tune")
            study = read_any(study, registry=self.registry, overrides=overrides, data=datasets, tune=values)
        elif sets or epochs is not None or datasets or tune:
            raise ZooError("values can be set where a study is read, and this one is read already")
        seeds = self.settings["seeds"] if seeds is None else seeds
        if isinstance(study, PooledStudy):
            return PooledWork(self, study, seeds=seeds, max_seeds=max_seeds, create=create, command=command)
        return StudyWork(self, study, seeds=seeds, max_seeds=max_seeds, create=create, command=command)

    def study(
        self,
        study: str | Path | Mapping[str, Any] | Study | PooledStudy,
        *,
        seeds: int | Literal["auto"] | None = None,
        max_seeds: int | None = None,
        epochs: float | None = None,
        data: str | Sequence[str] | None = None,
        sets: Mapping[str, Any] | None = None,
        tune: Mapping[str, Sequence[Any] | Mapping[str, Any]] | None = None,
        budget: Duration | None = None,
        command: str = "",
    ) -> Findings | PooledFindings:
        """Train what a study's design asks for and the ledger does not hold, and judge it.

        Args:
            study: as for `open_study`, like all others but one.
            seeds: how many, or "auto".
            max_seeds: how many "auto" may come to.
            epochs: train so many.
            data: train on this data set, or on each of several.
            sets: values to set in its base, by path.
            tune: values, or ranges, to tune over, by path, in place of those that it states.
            budget: seconds, or a text such as "30m"; seeds are cut down to what fits.
            command: what repeats it.

        Raises:
            Stopped: it was interrupted. What has ended is stored; the same call goes on.
        """
        _end_if_imported_by_worker()
        with (
            told_stopped(),
            self.open_study(
                study, seeds=seeds, max_seeds=max_seeds, epochs=epochs, data=data, sets=sets, tune=tune, command=command
            ) as work,
        ):
            return work.run(budget=budget)

    # Times, networks, files

    def time(
        self,
        *specs: Named | Selection,
        rounds: int = 200,
        seconds: Duration | None = None,
        data: str | None = None,
        sets: Mapping[str, Any] | None = None,
        vary: Mapping[str, Sequence[Any]] | None = None,
    ) -> Timings:
        """Compare how long training steps and evaluation take; the first spec is the reference.

        Args:
            specs: as in `plan`, on one data set.
            rounds: how many rounds of steps.
            seconds: instead: how long to go on, as a number or a text such as "1m".
            data: time all on this data set.
            sets: values to set in every spec.
            vary: values of which every spec is timed with each.
        """
        _end_if_imported_by_worker()
        rounds, seconds = arguments.number(rounds, "rounds", least=1), arguments.seconds(seconds, "seconds")
        selection = self._select(specs, arguments.sets(sets), arguments.variations(vary), None, data)
        for line in selection.broken:
            self.say(line)

        from zoo.timing import measure

        return measure(
            selection.specs,
            registry=self.registry,
            device=self.device,
            precision=self.precision,
            rounds=rounds,
            seconds=seconds,
        )

    def show(self, spec: Named, *, data: str | None = None, sets: Mapping[str, Any] | None = None) -> ShownNetwork:
        """Return a spec's network and the layers that it is put together from."""
        from zoo.lab.networks import shown_network

        return shown_network(self.resolve(spec, data=data, sets=sets), self.registry)

    def export(
        self,
        spec: str,
        output: str | Path,
        *,
        which: Literal["best"] | int = "best",
        format_: str | None = None,
        data: str | None = None,
        epochs: float | None = None,
        precision: str | None = None,
        identity: str | None = None,
        begin: Callable[[Run], Callable[[], None]] = lambda run: lambda: None,
    ) -> Exported:
        """Train a run of the ledger again, see that it comes out alike, and write its network and a model card.

        Args:
            spec: its name as in the table.
            output: the file, or a folder for it and its card.
            which: the seed of a run, or "best": of the highest recall on the validation part (on test without one).
            format_: "safetensors", "onnx" or "torch-export"; by the ending of `output` when left out.
            data: only runs on this data set.
            epochs: only runs of so many epochs.
            precision: only runs in this precision.
            identity: only runs whose spec's identity begins so.
            begin: is told which run is trained again, and returns what is called after each of its epochs.

        Raises:
            ZooError: there is no such run, its variants were edited since, or it comes out otherwise.
        """
        from zoo.export.exporting import export

        return export(
            spec,
            arguments.file(output, "output"),
            path=self.path,
            registry=self.registry,
            which=which if which == "best" else arguments.number(which, "which", least=0),
            format_=format_,
            data=data,
            epochs=None if epochs is None else arguments.epochs(epochs),
            precision=precision,
            identity=identity,
            begin=begin,
        )


def _check_shard(budget: float | None, selection: Selection) -> None:
    """Refuse a share that would not be the same on every machine."""
    if budget is not None:
        raise ZooError(
            "a shard and a budget do not go together: what fits into a budget differs from machine to machine"
        )
    if selection.broken:
        lines = "\n".join(selection.broken)
        raise ZooError(f"a shard is of all specs that are asked for, and some are not valid here:\n{lines}")


@contextmanager
def told_stopped() -> Iterator[None]:
    """Let what interrupts work between two runs, or before the first, say how to go on, as within a run.

    Raises:
        Stopped: it was interrupted.
    """
    try:
        yield
    except Stopped:
        raise
    except KeyboardInterrupt:
        raise Stopped("Stopped. What has ended is stored; the same command goes on from there.") from None


def _end_if_imported_by_worker() -> None:
    """End this process, without a word, if it is a worker that is only just importing the script that commands it.

    A script that does not begin its work under `if __name__ == "__main__":` would do all of it again in each worker.
    The process that commands the worker says so.
    """
    # Python asks the same before it starts a process, and has no public name for it.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(WORK_FAILED)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)
