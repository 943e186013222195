"""From a plan to ended runs: what is missing is trained, all goes to the ledger, plugins are told."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from zoo.benchmark.plan import Plan
from zoo.data import Dataset
from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.execution.here import here
from zoo.execution.processes import workers
from zoo.execution.streams import concurrent
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.registry.source import source_digest
from zoo.spec import Spec
from zoo.train.engines.choice import Wanted
from zoo.train.precision import Precision
from zoo.train.run import Run, RunKey


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
        engine: see `zoo.train.engines.choice`.
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
