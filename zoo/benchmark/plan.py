"""From specs and seeds to what there is to train, and about how long it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from zoo.benchmark.probing import Prober
from zoo.data import as_trained_on, why_missing
from zoo.errors import BuildError, DataError, PluginError, setting
from zoo.execution.processes import available_cores
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.registry.source import source_digest
from zoo.spec import Spec, paths, unstructure
from zoo.train.engines.choice import Wanted
from zoo.train.execute import dataset, forget_edited
from zoo.train.machine import make_deterministic
from zoo.train.places import kept_file
from zoo.train.precision import Precision
from zoo.train.run import Run, RunKey

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
        jobs: how many are trained at once; None where the executor decides.
        families: names of specs that differ in nothing but what is varied; the others are judged against the first.
        asked: with how many seeds, in the words that the runs hold; see `zoo.study.looks`.
        remarks: lines on what was left out or cut down before there was a plan.
        device: the name of what runs are trained on; empty where the executor finds its devices itself.
    """

    runs: tuple[Run, ...]
    missing: tuple[Run, ...]
    waiting: Mapping[str, tuple[str, ...]]
    unfit: Mapping[str, str]
    notes: tuple[str, ...]
    costs: Mapping[RunKey, float]
    jobs: int | None
    families: tuple[tuple[str, ...], ...] = ()
    remarks: tuple[str, ...] = ()
    asked: str = ""
    device: str = ""

    @property
    def stored(self) -> int:
        """How many runs the ledger holds; two specs that are the same network have one."""
        return len({run.key for run in self.runs}) - len(self.missing)

    @property
    def at_once(self) -> int:
        """How many are trained at once, as far as that is known: where the executor decides, one for each core."""
        return self.jobs or available_cores()

    @property
    def estimate(self) -> float:
        """Estimated seconds for all that is missing."""
        return self.estimate_of(self.missing)

    def estimate_of(self, runs: Iterable[Run]) -> float:
        """Return the estimated seconds for some of the missing runs."""
        costs = [self.costs[run.key] for run in runs]
        return max(sum(costs) / self.at_once, max(costs, default=0.0))


def make_plan(
    specs: Sequence[Spec],
    seeds: Sequence[int],
    *,
    registry: Registry,
    device: str,
    ledger: Ledger,
    jobs: int | None = 1,
    precision: Precision = "fp32",
    engine: Wanted = "sequential",
    known: Mapping[RunKey, float] | None = None,
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
        engine: by which runs will be trained, whose time is estimated.
        known: the seconds of runs that were planned before, whose specs are not tried out again.

    Raises:
        DataError: a data set is damaged, or no spec has its data at hand.
        BuildError: no spec can be trained on its data.
    """
    make_deterministic(device)  # as the runs will be, so that they take as long as estimated
    reasons = {name: why_missing(name, registry) for name in {spec.data.dataset for spec in specs}}
    for name in reasons:
        forget_edited(name, registry)
    waiting: dict[str, tuple[str, ...]] = {}
    notes: dict[str, None] = {}
    unfit: dict[str, str] = {}
    one_by_one: dict[str, list[str]] = {}
    ready: list[tuple[Spec, RunKey]] = []
    for spec in specs:
        if reasons[spec.data.dataset] is not None:
            waiting[spec.data.dataset] = (*waiting.get(spec.data.dataset, ()), spec.name)
            continue
        try:
            data = dataset(spec, registry, device)
        except PluginError as error:
            unfit[spec.name] = f"{spec.name}: {error}"
            continue
        notes |= dict.fromkeys(f"{spec.data.dataset}: {note}" for note in data.notes)
        if data.sorted_by_class and not spec.training.shuffle:
            one_by_one.setdefault(spec.data.dataset, []).append(spec.name)
        if len(as_trained_on(data, spec.data, 0).train) % spec.training.batch_size == 1 < spec.training.batch_size:
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
    for name, which in one_by_one.items():
        more = f" and {len(which) - 1} more" if len(which) > 1 else ""
        notes[
            f"{which[0]}{more}: the images of {name} are sorted by class, and training.shuffle is false: the network "
            "sees one class at a time, so recall is far too low and comparisons are worthless; "
            f"`{setting('training.shuffle', True)}` mends it"
        ] = None
    if specs and not ready and not unfit:
        raise DataError("\n".join(f"{name} is not at hand: {reasons[name]}" for name in waiting))

    keys = [attrs.evolve(key, seed=seed) for _, key in ready for seed in seeds]
    ended = ledger.ended(keys)
    if edited := ledger.of_another_source(key for key in keys if key not in ended):
        are, they = ("is", "it is") if len(edited) == 1 else ("are", "they are")
        notes[
            f"{len(edited)} of the runs {are} stored with another version of the source of the variants, which was "
            f"edited since; {they} trained anew"
        ] = None
    costs: dict[RunKey, float] = {}
    # Where worker processes may be started, crashes are theirs.
    apart = device == "cpu" and jobs != 1
    with Prober(registry, device, ledger.checkpoints, engine, apart=apart) as probe:
        for spec, key in ready:
            open_keys = [own for own in (attrs.evolve(key, seed=seed) for seed in seeds) if own not in ended]
            costs |= {own: known[own] for own in open_keys if known and own in known}
            if any(own not in costs for own in open_keys):
                try:
                    own_costs, note = probe(spec, open_keys)
                except BuildError as error:
                    unfit[spec.name] = str(error)
                else:
                    costs |= own_costs
                    notes |= dict.fromkeys([note] if note else [])
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
    to_train = longest_first(missing.values(), costs) if jobs > 1 else missing.values()
    return Plan(tuple(runs), tuple(to_train), waiting, unfit, tuple(notes), costs, jobs)


def keeping_states(plan: Plan, checkpoints: Path) -> Plan:
    """Return the plan with the final state of each run to be kept; and noted how many are stored, without a state."""
    missing = tuple(attrs.evolve(run, keep_state=True) for run in plan.missing)
    open_keys = {run.key for run in missing}
    without = {
        run.key for run in plan.runs if run.key not in open_keys and not kept_file(checkpoints, run.key).exists()
    }
    note = f"{len(without)} {'run is' if len(without) == 1 else 'runs are'} stored already, without a state"
    return attrs.evolve(plan, missing=missing, notes=(*plan.notes, note) if without else plan.notes)


def longest_first(runs: Iterable[Run], costs: Mapping[RunKey, float]) -> list[Run]:
    """Order the runs of each seed so that no long one is begun last, while other cores have nothing left to do."""
    runs = list(runs)
    seeds = list(dict.fromkeys(run.key.seed for run in runs))
    return sorted(runs, key=lambda run: (seeds.index(run.key.seed), -costs[run.key]))


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
    shorter = [_shorter(spec, share, registry) for spec in specs]
    return shorter, list(seeds[:1])


def _shorter(spec: Spec, share: float, registry: Registry) -> Spec:
    """Return the spec with a share of its steps, or of its epochs as a whole number, of which one is the least."""
    what = "steps" if spec.training.epochs is None else "epochs"
    now: float = getattr(spec.training, what)
    fewer = min(now, max(1, int(now * share)))
    return spec if fewer == now else paths.apply(spec, {f"training.{what}": fewer}, registry)
