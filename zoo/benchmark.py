"""From specs and seeds to ended runs: what to train is planned, what is missing is trained, all goes to the ledger."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from zoo import paths
from zoo.data import Dataset, source
from zoo.errors import BuildError, DataError, PluginError
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.source import source_digest
from zoo.spec import Spec, unstructure
from zoo.train.concurrent import concurrent
from zoo.train.engines import Wanted
from zoo.train.execute import dataset, make_deterministic
from zoo.train.executors import Ended, EpochFinished, Event, Lost, Started, here
from zoo.train.precision import Precision, set_policy
from zoo.train.run import Run, RunKey
from zoo.train.training import Training
from zoo.train.workers import available_cores, workers

WORKERS_PAY_ABOVE = 5.0
"""Estimated seconds above which processes of their own are worth their start."""


@attrs.frozen
class Plan:
    """What a benchmark will do.

    Attributes:
        runs: every run asked for, all specs with the first seed before any with the second.
        missing: those that the ledger does not hold yet.
        waiting: specs whose data set is not at hand, by data set.
        unfit: specs that cannot be trained on their data set, with the reason.
        notes: what was noticed about the data.
        costs: estimated seconds of each missing run; 0 where a plugin raised, which the run itself will tell.
        jobs: how many are trained at once.
    """

    runs: tuple[Run, ...]
    missing: tuple[Run, ...]
    waiting: Mapping[str, tuple[str, ...]]
    unfit: Mapping[str, str]
    notes: tuple[str, ...]
    costs: Mapping[RunKey, float]
    jobs: int

    @property
    def estimate(self) -> float:
        """Estimated seconds for all that is missing."""
        return self.estimate_of(self.missing)

    def estimate_of(self, runs: Iterable[Run]) -> float:
        """Return the estimated seconds for some of the missing runs."""
        costs = [self.costs[run.key] for run in runs]
        return max(sum(costs) / self.jobs, max(costs, default=0.0))


def make_plan(
    specs: Sequence[Spec],
    seeds: Sequence[int],
    *,
    registry: Registry,
    device: str,
    ledger: Ledger,
    jobs: int | None = 1,
    precision: Precision = "fp32",
) -> Plan:
    """Find out what there is to train and about how long it takes, before anything is trained.

    Args:
        specs: what to train; each names its data set.
        seeds: with which seeds.
        registry: where variants are looked up.
        device: "cpu", "cuda" or "mps".
        ledger: what it holds is not trained again.
        jobs: how many runs are trained at once; on the CPU each in a process of its own, where 1 means in this
            process, and None one for each core, if that is worth the start of the processes. On a GPU all in this
            process; None is then 1.
        precision: of every run.

    Raises:
        DataError: a data set is damaged, or no spec has its data at hand.
        BuildError: no spec can be trained on its data.
    """
    make_deterministic(device)  # as the runs will be, so that they take as long as estimated
    why_missing = {name: source(name, registry).missing() for name in {spec.data.dataset for spec in specs}}
    waiting: dict[str, tuple[str, ...]] = {}
    notes: dict[str, None] = {}
    unfit: dict[str, str] = {}
    ready: list[tuple[Spec, RunKey]] = []
    for spec in specs:
        if why_missing[spec.data.dataset] is not None:
            waiting[spec.data.dataset] = (*waiting.get(spec.data.dataset, ()), spec.name)
            continue
        data = dataset(spec, registry, device)
        notes |= dict.fromkeys(f"{spec.data.dataset}: {note}" for note in data.notes)
        if data.sorted_by_class and not spec.training.shuffle:
            notes[
                f"{spec.name}: the images of {spec.data.dataset} are sorted by class, and training.shuffle is false"
            ] = None
        if len(data.train) % spec.training.batch_size == 1 < spec.training.batch_size:
            notes[
                f"{spec.data.dataset}: the last batch of an epoch is a single image, on which batch normalization "
                "learns noise; change training.batch_size or data.validation"
            ] = None
        try:
            digest = source_digest(spec, registry)
        except PluginError as error:
            unfit[spec.name] = f"{spec.name}: {error}"
            continue
        ready.append((spec, RunKey(spec.identity, 0, data.digest, digest, precision)))
    if specs and not ready and not unfit:
        raise DataError("\n".join(f"{name} is not at hand: {why_missing[name]}" for name in waiting))

    keys = [attrs.evolve(key, seed=seed) for _, key in ready for seed in seeds]
    ended = ledger.ended(keys)
    costs: dict[RunKey, float] = {}
    for spec, key in ready:
        open_keys = [own for own in (attrs.evolve(key, seed=seed) for seed in seeds) if own not in ended]
        if any(own not in costs for own in open_keys):
            try:
                seconds = _seconds(spec, key, registry, device)
            except BuildError as error:
                unfit[spec.name] = str(error)
            else:
                costs |= dict.fromkeys(open_keys, seconds)
    fitting = [(spec, key) for spec, key in ready if spec.name not in unfit]
    if unfit and not fitting:
        raise BuildError("\n".join(unfit.values()))

    runs = [
        Run(attrs.evolve(key, seed=seed), spec.name, unstructure(spec), spec.data.dataset)
        for seed in seeds
        for spec, key in fitting
    ]
    missing = {run.key: run for run in runs if run.key not in ended}
    if jobs is None:
        jobs = available_cores() if device == "cpu" and sum(costs.values()) > WORKERS_PAY_ABOVE else 1
    return Plan(tuple(runs), tuple(missing.values()), waiting, unfit, tuple(notes), costs, jobs)


def _seconds(spec: Spec, key: RunKey, registry: Registry, device: str) -> float:
    """Estimate the time of one run; 0 where a plugin raises: the run itself will fail, and say so under its own name.

    Raises:
        BuildError: the spec cannot be trained on its data set.
    """
    try:
        data = dataset(spec, registry, device)
        set_policy(key.precision)
        return Training(spec, key.seed, data, device=device, registry=registry, precision=key.precision).estimate()
    except (BuildError, KeyboardInterrupt):
        raise
    except BaseException:  # a plugin may also call sys.exit
        return 0.0


def within_budget(
    specs: Sequence[Spec], seeds: Sequence[int], plan: Plan, budget: float, *, registry: Registry
) -> tuple[list[Spec], list[int]]:
    """Cut a plan down to a number of seconds: fewer seeds, and where one is too long, fewer epochs.

    With fewer epochs all specs are trained anew, also those whose runs the ledger holds and whose time the plan does
    not know: then the new plan may be over the budget too.

    Returns:
        The specs and the seeds to plan again.
    """
    for count in range(len(seeds), 0, -1):
        cost = plan.estimate_of(run for run in plan.missing if run.key.seed in seeds[:count])
        if cost <= budget:
            return list(specs), list(seeds[:count])
    share = budget / cost
    shorter = [_shorter(spec, max(1, int(spec.training.epochs * share)), registry) for spec in specs]
    return shorter, list(seeds[:1])


def _shorter(spec: Spec, epochs: int, registry: Registry) -> Spec:
    if epochs == spec.training.epochs:
        return spec
    return paths.apply(spec, {"training.epochs": epochs}, registry)


def carry_out(
    plan: Plan,
    *,
    registry: Registry,
    device: str,
    ledger: Ledger,
    watch: Callable[[Event], None],
    say: Callable[[str], None],
    engine: Wanted = "sequential",
) -> list[Run]:
    """Train what is missing, store every epoch as it comes, and return all planned runs as they ended.

    Args:
        plan: what to train.
        registry: whose hooks are told what happens.
        device: "cpu", "cuda" or "mps".
        ledger: where runs are stored.
        watch: is called with every event after it is stored.
        say: is given a line when a plugin that only watches raised, and when runs are not trained by the engine that
            was hoped for.
        engine: see `zoo.train.engines`.
    """
    reported: set[str] = set()
    attempts: dict[RunKey, int] = {}
    failed: dict[RunKey, Run] = {}
    at_once = str(min(plan.jobs, len(plan.missing)))
    with closing(_events(plan, registry, device, ledger.checkpoints, engine)) as events:
        for event in events:
            key = event.run.key
            match event:
                case Started(run):
                    attempts[key] = ledger.start(run)
                    tell(registry, "zoo_run_started", say, reported, run=run)
                case EpochFinished(run, record):
                    ledger.add_epoch(attempts[key], record)
                    tell(registry, "zoo_epoch_finished", say, reported, run=run, epoch=record)
                case Lost(run, reason):
                    ledger.finish(attempts.pop(key), attrs.evolve(run, status="failed", reason=reason))
                case Ended(run):
                    run = attrs.evolve(run, provenance={**run.provenance, "runs_at_once": at_once})
                    ledger.finish(attempts.pop(key), run)
                    why_not = run.provenance.get("engine_why_not", "")
                    if why_not and why_not not in reported:
                        reported.add(why_not)
                        say(why_not)
                    if run.status == "failed":
                        failed[key] = run
                    tell(registry, "zoo_run_finished", say, reported, run=run)
            watch(event)
    return planned(plan.runs, ledger, failed)


def _events(plan: Plan, registry: Registry, device: str, checkpoints: Path, engine: Wanted) -> Generator[Event]:
    if plan.jobs == 1 or len(plan.missing) < 2:
        yield from here(plan.missing, registry, device, checkpoints, engine=engine)
    elif device == "cuda":
        yield from concurrent(plan.missing, registry, device, plan.jobs, checkpoints, engine=engine)
    else:
        yield from workers(_longest_first(plan), registry, device, plan.jobs, checkpoints)


def _longest_first(plan: Plan) -> list[Run]:
    """Order the runs of each seed so that no long one is begun last, while other cores have nothing left to do."""
    seeds = list(dict.fromkeys(run.key.seed for run in plan.missing))
    return sorted(plan.missing, key=lambda run: (seeds.index(run.key.seed), -plan.costs[run.key]))


def stored_runs(
    specs: Iterable[Spec],
    seeds: Sequence[int],
    data: Dataset,
    *,
    registry: Registry,
    ledger: Ledger,
    precision: Precision = "fp32",
) -> list[Run]:
    """Return those of the runs that the ledger holds, under the specs' names, without training or planning."""
    found = []
    for spec in specs:
        key = RunKey(spec.identity, 0, data.digest, source_digest(spec, registry), precision)
        runs = (ledger.find(attrs.evolve(key, seed=seed)) for seed in seeds)
        found += [attrs.evolve(run, name=spec.name) for run in runs if run]
    return found


def planned(runs: Iterable[Run], ledger: Ledger, failed: Mapping[RunKey, Run]) -> list[Run]:
    """Return those of the runs that are over, under the names and references asked for, in the same order.

    Args:
        runs: what was asked for.
        ledger: holds those that ended.
        failed: the others that are over.
    """
    found = ((run, ledger.find(run.key) or failed.get(run.key)) for run in runs)
    return [attrs.evolve(over, name=run.name, spec=run.spec, dataset=run.dataset) for run, over in found if over]


def tell(
    registry: Registry, hook: str, say: Callable[[str], None], reported: set[str] | None = None, **happened: Any
) -> list[Any]:
    """Call a hook of every plugin that implements it; one that raises is reported and harms nobody.

    Args:
        registry: whose plugins are called.
        hook: the hook's name.
        say: is given a line when a plugin raised.
        reported: which plugins and hooks were reported already; they are not again.
        happened: the hook's arguments.

    Returns:
        What the plugins returned.
    """
    reported = set() if reported is None else reported
    results = []
    for implementation in getattr(registry.hook, hook).get_hookimpls():
        try:
            results.append(implementation.function(**{name: happened[name] for name in implementation.argnames}))
        except (Exception, SystemExit) as error:
            what = f"plugin {implementation.plugin_name}: its hook {hook}"
            if what not in reported:
                reported.add(what)
                spec = f" for {happened['run'].name}" if "run" in happened else ""
                say(f"{what}{spec} raised {type(error).__name__}: {error}; going on")
    return results
