"""From a plan to ended runs: what is missing is claimed and trained, all goes to the ledger, plugins are told."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from zoo import torch_settings
from zoo.benchmark.plan import Plan
from zoo.errors import ClaimLostError, LedgerError, PluginError, described, is_interruption
from zoo.execution.contract import Work
from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.execution.faults import at_work, wrong
from zoo.invocation import command
from zoo.ledger import Ledger
from zoo.registry import Registry, Variant
from zoo.registry.options import Choice
from zoo.registry.source import source_digest
from zoo.spec import Spec
from zoo.spec.length import ends_early, planned_epochs
from zoo.train import streams
from zoo.train.engines.choice import Wanted
from zoo.train.places import checkpoint_file
from zoo.train.precision import Precision
from zoo.train.run import Run, RunKey

LOOK_EVERY = 0.5
"""Seconds between two looks at runs that another command trains."""


def carry_out(
    plan: Plan,
    *,
    registry: Registry,
    devices: Sequence[str],
    ledger: Ledger,
    executor: Choice,
    watch: Callable[[Event], None],
    say: Callable[[str], None],
    engine: Wanted = "sequential",
) -> list[Run]:
    """Train what is missing, store every epoch as it comes, and return all planned runs as they ended.

    A run is claimed in the ledger before it is trained; closing the ledger gives back what has not ended. A run that
    another command is training is waited for, when all others are over, and trained here if that command is gone.

    Args:
        plan: what to train.
        registry: whose hooks are told what happens, and where the executor is looked up.
        devices: those to train on.
        ledger: where runs are stored.
        executor: where runs are trained.
        watch: is called with every event after it is stored.
        say: is given a line when a plugin that only watches raised, when runs are not trained by the engine that was
            hoped for, and when another command trains some of them.
        engine: see `zoo.train.engines`.
    """
    books = _Books(ledger, registry, say, registry.variant("executor", executor.name), plan.asked)
    open_ = deque(plan.missing)
    try:
        while open_:
            books.say_who_is_gone(open_)
            work = Work(
                runs=books.claimed(open_),
                registry=registry,
                devices=tuple(devices),
                jobs=plan.jobs,
                checkpoints=ledger.checkpoints,
                engine=engine,
                say=say,
            )
            with at_work(executor, work) as events:
                for event in events:
                    if (stored := books.enter(event)) is not None:
                        watch(stored)
            books.require_all_ended(len(open_))
            open_ = books.others_left(watch)
    finally:
        books.give_back()
    return planned(plan.runs, ledger, books.failed)


class _Books:
    """What is written while runs are trained."""

    def __init__(
        self, ledger: Ledger, registry: Registry, say: Callable[[str], None], executor: Variant, asked: str
    ) -> None:
        self._ledger, self._registry, self._say, self._executor = ledger, registry, say, executor
        self._asked = {"seeds": asked} if asked else {}
        self._reported: set[str] = set()
        self._given: set[RunKey] = set()
        self._over: set[RunKey] = set()
        self._attempts: dict[RunKey, int] = {}
        self._at_once: dict[RunKey, int] = {}
        """Of the runs under way, with how many each shared the machine at most, itself counted."""
        self._epochs: dict[RunKey, int] = {}
        """Of the runs under way, how many epochs were told."""
        self._elsewhere: dict[RunKey, Run] = {}
        self._owners_told: set[str] = set()
        self.failed: dict[RunKey, Run] = {}

    def say_who_is_gone(self, open_: Iterable[Run]) -> None:
        """Say which other commands began some of the runs and were killed: these are claimed here."""
        gone = Counter(self._ledger.left_behind(run.key for run in open_).values())
        for owner, count in gone.items():
            its = "1 run that it began is" if count == 1 else f"{count} runs that it began are"
            self._say(f"Another command ({owner}) is gone; {its} trained here.")

    def claimed(self, open_: deque[Run]) -> Iterator[Run]:
        """Yield one run after another once it is claimed; leave aside those that another command trains."""
        while open_:
            run = open_.popleft()
            attempt = self._ledger.claim(run)
            if attempt is None:
                self._elsewhere[run.key] = run
                continue
            self._attempts[run.key] = attempt
            self._given.add(run.key)
            yield run

    def enter(self, event: Event) -> Event | None:
        """Store an event and tell plugins of it; return it as it was stored, None if the run is no longer ours."""
        key = event.run.key
        if key not in self._given:
            raise self._broken(event.run, "told of a run that it was not given")
        if key in self._over:
            raise self._broken(event.run, f"told {type(event).__name__} after the run's end")
        if key not in self._attempts:
            return None
        gave_up = isinstance(event, Ended) and event.run.status == "failed"  # also of a run that could not begin
        if isinstance(event, Started) == (key in self._epochs) and not gave_up:
            told = "twice" if isinstance(event, Started) else "before Started"
            raise self._broken(event.run, f"told {type(event).__name__} {told}")
        try:
            return self._store(event)
        except ClaimLostError as error:
            self._say(f"{event.run.name} seed {key.seed}: {error}")
            self._forget(key)
            self._elsewhere[key] = event.run
            return None

    def _store(self, event: Event) -> Event:
        key = event.run.key
        match event:
            case Started(run):
                self._epochs[key] = 0
                self._at_once[key] = 0
                for other in self._at_once:
                    self._at_once[other] = max(self._at_once[other], len(self._at_once))
                self._tell("zoo_run_started", run=run)
            case EpochFinished(run, record):
                self._epochs[key] = self._epochs.get(key, 0) + 1
                if record.epoch != self._epochs[key]:
                    raise self._broken(run, f"told epoch {record.epoch} where epoch {self._epochs[key]} was due")
                self._ledger.add_epoch(self._attempts[key], record)
                self._tell("zoo_epoch_finished", run=run, epoch=record)
            case Lost(run):
                # The claim is renewed, not given back: meanwhile no other command may take the run for failed.
                attempt = self._ledger.claim(run)
                if attempt is None:
                    self._forget(key)
                    self._elsewhere[key] = run
                else:
                    self._attempts[key] = attempt
                    self._at_once.pop(key, None)
                    self._epochs.pop(key, None)
            case Ended(run):
                told = self._epochs.get(key, 0)
                epochs = planned_epochs(run.spec["training"]) or max(1, told)
                over = run.status in ("finished", "diverged", "failed")
                enough = 0 < told <= epochs if ends_early(run.spec) else told == epochs
                if not over or (run.status == "finished" and not enough):
                    raise self._broken(run, f"ended as {run.status} after {told} of {epochs} epochs")
                # Of this process, which was commanded: a worker has been started by it.
                about = {"runs_at_once": str(self._at_once.get(key, 1)), "command": command(), **self._asked}
                run = attrs.evolve(run, provenance={**run.provenance, **about})
                self._ledger.finish(self._attempts[key], run)
                self._forget(key)
                self._over.add(key)
                if run.status != "failed":  # which may go on from it
                    with suppress(OSError):
                        checkpoint_file(self._ledger.checkpoints, key).unlink()
                self._say_once(run.provenance.get("engine_why_not", ""))
                if "checkpoint" in run.provenance:
                    self._say_once(f"{run.name}: its checkpoint is {run.provenance['checkpoint']}")
                if run.keep_state and run.status == "finished":
                    state = run.provenance.get("state", "not kept: what trained it does not see the ledger's folder")
                    self._say_once("" if state == "kept" else f"{run.name}: its state is {state}")
                if run.status == "failed":
                    self.failed[key] = run
                self._tell("zoo_run_finished", run=run)
                return Ended(run)
        return event

    def _forget(self, key: RunKey) -> None:
        del self._attempts[key]
        self._at_once.pop(key, None)
        self._epochs.pop(key, None)

    def _say_once(self, line: str) -> None:
        if line and line not in self._reported:
            self._reported.add(line)
            self._say(line)

    def _tell(self, hook: str, **happened: Any) -> None:
        tell(self._registry, hook, self._say, self._reported, **happened)

    def require_all_ended(self, left: int) -> None:
        """See that an executor that says it is done has taken each run, and told its end.

        Args:
            left: how many it has not taken.

        Raises:
            PluginError: it has not.
        """
        if self._attempts:
            raise wrong(self._executor, f"has not told how {len(self._attempts)} of its runs ended")
        if left:
            raise wrong(self._executor, f"was done when it had not taken {left} of the runs")

    def give_back(self) -> None:
        """Give back the claims of runs that have not ended, so that any command can train them at once."""
        # If the ledger cannot be written, they are free when it is closed or this process is gone.
        with suppress(LedgerError):
            for attempt in self._attempts.values():
                self._ledger.release(attempt)

    def _broken(self, run: Run, what: str) -> PluginError:
        return wrong(self._executor, f"{what} ({run.name} seed {run.key.seed})")

    def others_left(self, watch: Callable[[Event], None]) -> deque[Run]:
        """Wait for the runs that other commands train; return those to train here, whose command is gone."""
        waiting, self._elsewhere = self._elsewhere, {}
        while waiting:
            over = self._ledger.ended(waiting)
            owners = self._ledger.training_elsewhere(waiting.keys() - over)
            for key in waiting.keys() - owners.keys():
                run = waiting.pop(key)
                over_run = self._ledger.find(key) or self._ledger.find_failed(key)
                if over_run is None:
                    return deque([run, *(waiting[key] for key in waiting)])
                if over_run.status == "failed":
                    self.failed[key] = over_run
                watch(Started(run))
                watch(Ended(over_run))
            for owner in sorted({str(owner) for owner in owners.values()} - self._owners_told):
                self._owners_told.add(owner)
                self._say(f"Another command ({owner}) is training the rest; waiting for it.")
            if waiting:
                time.sleep(LOOK_EVERY)
        return deque()


def stored_runs(
    specs: Iterable[Spec],
    seeds: Sequence[int],
    digest: str,
    *,
    registry: Registry,
    ledger: Ledger,
    precision: Precision = "fp32",
) -> list[Run]:
    """Return those of the runs that are over, failed ones too, under the specs' names, without training or planning.

    Args:
        specs: of which.
        seeds: with which.
        digest: of the data set.
        registry: where variants are looked up.
        ledger: that holds them.
        precision: in which.
    """
    found = []
    for spec in specs:
        own = run_keys([spec], seeds, digest, registry=registry, precision=precision)
        runs = (ledger.find(each) or ledger.find_failed(each) for each in own)
        found += [attrs.evolve(run, name=spec.name) for run in runs if run]
    return found


def run_keys(
    specs: Iterable[Spec], seeds: Sequence[int], digest: str, *, registry: Registry, precision: Precision = "fp32"
) -> list[RunKey]:
    """Return the keys of runs of specs on the data set of a digest, with the sources of now."""
    keys = []
    for spec in specs:
        key = RunKey(spec.identity, 0, digest, source_digest(spec, registry), precision)
        keys += [attrs.evolve(key, seed=seed) for seed in seeds]
    return keys


def planned(runs: Iterable[Run], ledger: Ledger, failed: Mapping[RunKey, Run]) -> list[Run]:
    """Return those of the runs that are over, under the names and references asked for, in the same order.

    Args:
        runs: what was asked for.
        ledger: holds those that ended.
        failed: the others that are over.
    """
    found = ((run, ledger.find(run.key) or failed.get(run.key)) for run in runs)
    return [attrs.evolve(over, name=run.name, spec=run.spec, dataset=run.dataset) for run, over in found if over]


@contextmanager
def _settings_put_back() -> Iterator[None]:
    """Put torch's settings back; other threads that would set them wait.

    Raises:
        PluginError: they were changed.
    """
    with streams.exclusive, torch_settings.kept():
        before = torch_settings.values()
        yield
        found = torch_settings.changed(before)
    if found:
        raise PluginError(f"it changed what holds for all of torch: {'; '.join(found)}; that is put back")


def _required(hook: str, result: object) -> object:
    """Return what a hook returned, if it is what the hook promises.

    Raises:
        TypeError: it is not.
    """
    if hook == "zoo_report_sections" and not (
        isinstance(result, list) and all(isinstance(section, str) for section in result)
    ):
        raise TypeError(f"it must return a list of str, not {result!r:.80}")
    if hook == "zoo_write_runs" and not isinstance(result, str):
        raise TypeError(f"it must return a str or None, not {result!r:.80}")
    return result


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
        What the plugins returned, but for None, which a hook without a return gives.
    """
    reported = set() if reported is None else reported
    results = []
    for implementation in getattr(registry.hook, hook).get_hookimpls():
        try:
            with _settings_put_back():
                result = implementation.function(**{name: happened[name] for name in implementation.argnames})
            if result is not None:
                results.append(_required(hook, result))
        except BaseException as error:  # a plugin may also call sys.exit
            if is_interruption(error):
                raise
            what = f"plugin {implementation.plugin_name}: its hook {hook}"
            if what not in reported:
                reported.add(what)
                spec = f" for {happened['run'].name}" if "run" in happened else ""
                say(f"{what}{spec} raised {described(error)}; going on")
    return results
