"""Carrying a study out: what its design asks for is trained, what was found is judged.

Training is left to a function that is given specs and seeds, so that the same code trains, or only reads a ledger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import numpy as np
import pandas as pd

from zoo.data import Dataset
from zoo.errors import BuildError, SpecError, ZooError
from zoo.registry import Registry
from zoo.resolve import resolve
from zoo.spec import Reference, Spec
from zoo.study import designs
from zoo.study.capacity import widened
from zoo.study.definition import Cell, DesignName, Part, Study, changed
from zoo.study.designs import Outcome, Pair
from zoo.study.effects import factorial_effects
from zoo.study.measure import counted_recall
from zoo.study.paired import compare
from zoo.study.proof import prove
from zoo.study.ranking import pareto, ranks
from zoo.study.result import Arm, Claim, Effect, Step, StudyResult
from zoo.study.sequential import Sequential, looks
from zoo.study.verdicts import LEVEL, Judge
from zoo.train import metrics
from zoo.train.run import Run

Train = Callable[[Sequence[Spec], Sequence[int]], list[Run]]
"""Trains specs with seeds, and returns the runs that ended."""
FIRST_SEEDS, SEED_BATCH, MOST_SEEDS = 3, 2, 15
"""Where seeds are added: how many the first look has, how many more each look after it, how many there are at most."""


@attrs.frozen
class Auto:
    """How seeds are added: at the first look `first`, then `batch` more where a claim is undecided, up to `most`.

    `go_on` is asked before each further look.
    """

    first: int
    batch: int
    most: int
    go_on: Callable[[], bool] = lambda: True

    @property
    def looks(self) -> list[int]:
        """How many seeds each look has."""
        return looks(self.first, self.batch, self.most)


def check_auto(study: Study) -> None:
    """Refuse a study whose seeds cannot be added one batch after another.

    Raises:
        SpecError: what its design trains depends on what was found with fewer seeds.
    """
    if designs.is_adaptive(study):
        raise SpecError(
            f"study {study.name!r}: seeds cannot be added to a {study.design.design} search, whose steps depend on "
            "those that were there; give their number, such as --seeds 5"
        )


def proofs(study: Study, dataset: Dataset, registry: Registry) -> dict[str, tuple[str, ...]]:
    """Return, for each change alone, what it does to the network and the training, line by line.

    Raises:
        SpecError: a change alters nothing, or something that it does not name.
        BuildError: the base, or a change that the design cannot do without, does not fit the data.
    """
    found: dict[str, tuple[str, ...]] = {}
    for cell in study.single_changes():
        (level,) = study.levels(cell).values()
        try:
            found[study.arm_name(cell)] = prove(
                study.base,
                study.spec(cell, registry),
                level.sets,
                input_shape=dataset.shape,
                classes=len(dataset.classes),
                registry=registry,
            )
        except BuildError as error:
            if not designs.can_lack(study):
                raise
            found[study.arm_name(cell)] = (f"left out: {error}",)
    return found


def conduct(
    study: Study,
    seeds: Sequence[int],
    train: Train,
    *,
    dataset: Dataset,
    registry: Registry,
    auto: Auto | None = None,
    command: str = "",
) -> StudyResult:
    """Train what the study's design asks for, and judge it.

    Args:
        study: what is asked.
        seeds: with which every spec is trained; with `auto` those of the last look.
        train: trains, or finds what was trained.
        dataset: that the base is trained on.
        registry: where variants are looked up.
        auto: add seeds only where a claim is undecided.
        command: what repeats it.

    Raises:
        SpecError: a change alters nothing, or something that it does not name; or `auto` does not suit the design.
    """
    if auto:
        check_auto(study)
    shown = proofs(study, dataset, registry)
    table = _Table(study, train, len(dataset.classes), registry)
    first = seeds[: auto.first] if auto else seeds
    found = designs.search(study)
    cells = next(found)
    while True:
        table.add(cells, first)
        try:
            cells = found.send(table.means())
        except StopIteration as stop:
            outcome: Outcome = stop.value
            break
    if not any(run.status != "failed" for arm in table.all for run in arm.runs.values()):
        raise ZooError(_nothing(study, table))
    pairs = [_Pair(pair.change, table.arms[pair.treatment], table.arms[pair.control]) for pair in outcome.pairs]
    matched: dict[str, str] = {}
    if study.design.match:
        pairs += _matched(study, outcome.pairs, table, dataset, registry, first, matched)
    claims: list[Claim] = []
    effects: list[Effect] = []
    level = LEVEL
    if designs.is_factorial(study):
        effects, level = _judge_effects(study, table, seeds, auto)
    else:
        claims, level = _judge_pairs(study, pairs, table, seeds, auto)
    return _result(
        study,
        seeds,
        table,
        claims=claims,
        effects=effects,
        outcome=outcome,
        proofs=shown,
        level=level,
        command=command,
        dataset=dataset,
        matched=matched,
        is_sequential=auto is not None,
    )


def _nothing(study: Study, table: _Table) -> str:
    """Say that there is nothing to judge, and why the first run failed."""
    reasons = [run.reason.partition("\n")[0] for arm in table.all for run in arm.runs.values()]
    if not reasons:
        return f"study {study.name!r}: there is no run to judge; `zoo study run` trains, with the same options"
    return f"study {study.name!r}: all {len(reasons)} runs failed, the first because: {reasons[0]}"


def _incomplete(study: Study, table: _Table) -> str:
    """Say which combinations a factorial design cannot do without."""
    lacking = [arm.name for arm in table.all if not table.recalls(arm)]
    if not lacking:
        return (
            f"study {study.name!r}: its {table.size} runs do not suffice to tell the effects apart; take more seeds, "
            "or fewer changes"
        )
    few = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
    reasons = [
        run.reason.partition("\n")[0] for arm in table.all for run in arm.runs.values() if run.status == "failed"
    ]
    why = f"; the first that failed: {reasons[0]}" if reasons else ""
    return (
        f"study {study.name!r}: {len(lacking)} of {len(table.all)} combinations have no run that counts ({few}){why}. "
        "Effects need all of them; what has ended is kept in the ledger, and `zoo study run` goes on from there"
    )


@attrs.define
class _Arm:
    """An arm while runs are added to it."""

    name: str
    cell: Cell | None
    spec: Spec
    runs: dict[int, Run] = attrs.field(factory=dict)

    def recalls(self, part: str, classes: int) -> dict[int, float]:
        found = ((seed, counted_recall(run, part, classes)) for seed, run in sorted(self.runs.items()))
        return {seed: recall for seed, recall in found if recall is not None}


@attrs.frozen
class _Pair:
    change: str
    treatment: _Arm
    control: _Arm


class _Table:
    """The arms of a study and their runs so far."""

    def __init__(self, study: Study, train: Train, classes: int, registry: Registry) -> None:
        self.study, self.classes, self.registry = study, classes, registry
        self._train = train
        self.arms: dict[Cell, _Arm] = {}
        self.others: list[_Arm] = []

    @property
    def all(self) -> list[_Arm]:
        return [*self.arms.values(), *self.others]

    @property
    def size(self) -> int:
        """How many runs there are."""
        return sum(len(arm.runs) for arm in self.all)

    def missing(self, seeds: Sequence[int]) -> int:
        """Return how many runs there would be if all arms that have any had all seeds, and are not."""
        return sum(len(set(seeds) - set(arm.runs)) for arm in self.all if arm.runs)

    def named(self, name: str) -> _Arm:
        return next(arm for arm in self.all if arm.name == name)

    def add(self, cells: Iterable[Cell], seeds: Sequence[int]) -> None:
        """Train the combinations with those of the seeds that they were not trained with."""
        for cell in cells:
            if cell not in self.arms:
                self.arms[cell] = _Arm(self.study.arm_name(cell), cell, self.study.spec(cell, self.registry))
        self.train([self.arms[cell] for cell in cells], seeds)

    def train(self, arms: Iterable[_Arm], seeds: Sequence[int]) -> None:
        lacking: dict[tuple[int, ...], dict[str, _Arm]] = {}
        for arm in arms:
            missing = tuple(seed for seed in seeds if seed not in arm.runs)
            if missing:
                lacking.setdefault(missing, {})[arm.spec.identity] = arm
        for missing, new in lacking.items():
            for run in self._train([arm.spec for arm in new.values()], missing):
                new[run.key.spec].runs[run.key.seed] = run

    def means(self) -> dict[Cell, float]:
        """Return each combination's mean recall on the part that is selected on; -inf where no run counts."""
        return {cell: self.mean(arm) for cell, arm in self.arms.items()}

    def mean(self, arm: _Arm) -> float:
        recalls = self.recalls(arm)
        return math.fsum(recalls.values()) / len(recalls) if recalls else -math.inf

    def recalls(self, arm: _Arm, part: Part | None = None) -> dict[int, float]:
        return arm.recalls(part or self.study.design.select, self.classes)

    def differences(self, treatment: _Arm, control: _Arm, part: Part | None = None) -> list[float]:
        """Return treatment minus control for each seed that both have."""
        ours, theirs = self.recalls(treatment, part), self.recalls(control, part)
        return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def _matched(
    study: Study,
    pairs: Iterable[Pair],
    table: _Table,
    dataset: Dataset,
    registry: Registry,
    seeds: Sequence[int],
    matched: dict[str, str],
) -> list[_Pair]:
    """Compare each change that makes the network larger with what it was made to, widened to the same size."""
    added = []
    measure = study.design.match
    assert measure
    for pair in pairs:
        treatment, control = table.arms[pair.treatment], table.arms[pair.control]
        spec = widened(
            control.spec,
            treatment.spec,
            measure,
            input_shape=dataset.shape,
            classes=len(dataset.classes),
            registry=registry,
        )
        if spec is None:
            continue
        arm = _Arm(f"{control.name}, as many {_MATCHED[measure]} as {treatment.name}", None, spec)
        table.others.append(arm)
        matched[arm.name] = pair.change
        added.append(_Pair(f"{pair.change}, at equal {_MATCHED[measure]}", treatment, arm))
    table.train([pair.control for pair in added], seeds)
    return added


_MATCHED = {"parameters": "parameters", "flops": "FLOPs"}


def _judge_pairs(
    study: Study, pairs: Sequence[_Pair], table: _Table, seeds: Sequence[int], auto: Auto | None
) -> tuple[list[Claim], float]:
    names = _distinct([pair.change for pair in pairs])

    def differences() -> dict[str, list[float]]:
        return {name: table.differences(p.treatment, p.control) for name, p in zip(names, pairs, strict=True)}

    margin = study.design.margin
    level = LEVEL
    if auto is None:
        compared = compare(differences(), margin=margin)
    else:
        judge = Sequential(len(auto.looks), margin=margin)
        compared = compare(differences(), margin=margin, judge=judge.look)
        for count in auto.looks[1:]:
            open_pairs = [p for name, p in zip(names, pairs, strict=True) if compared[name].verdict == "undecided"]
            if not open_pairs or not auto.go_on():
                break
            before = table.size
            table.train({id(arm): arm for p in open_pairs for arm in (p.treatment, p.control)}.values(), seeds[:count])
            if table.size == before:  # a ledger that holds no more
                break
            compared = compare(differences(), margin=margin, judge=judge.look)
        level = judge.level
    claims = [
        Claim(change=name, treatment=p.treatment.name, control=p.control.name, comparison=compared[name])
        for name, p in zip(names, pairs, strict=True)
    ]
    return claims, level


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names, a number after those that a search tried again: "bn", "bn (2)"."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct


def _judge_effects(study: Study, table: _Table, seeds: Sequence[int], auto: Auto | None) -> tuple[list[Effect], float]:
    factors = {factor.name: [level.name for level in factor.levels] for factor in study.factors}
    cells = list(table.arms)
    groups = designs.aliases(study, cells) if study.design.design == "fractional" else None

    def effects(judge: Judge | None = None) -> list[Effect]:
        try:
            return factorial_effects(
                frame(study, table), factors, margin=study.design.margin, groups=groups, judge=judge
            )
        except ValueError as error:
            raise ZooError(_incomplete(study, table)) from error

    if auto is None:
        return effects(), LEVEL
    judge = Sequential(len(auto.looks), margin=study.design.margin)
    found = effects(judge.look)
    for count in auto.looks[1:]:
        if all(effect.comparison.verdict != "undecided" for effect in found) or not auto.go_on():
            break
        before = table.size
        table.add(cells, seeds[:count])
        if table.size == before:
            break
        found = effects(judge.look)
    return found, judge.level


def frame(study: Study, table: _Table) -> pd.DataFrame:
    """Return a row for each run that counts: its seed, its recall, and the level of each factor."""
    records = []
    for cell, arm in table.arms.items():
        levels = {factor.name: "base" for factor in study.factors}
        levels |= {name: level.name for name, level in study.levels(cell).items()}
        records += [{**levels, "seed": seed, "recall": recall} for seed, recall in table.recalls(arm).items()]
    return pd.DataFrame.from_records(records)


def _result(
    study: Study,
    seeds: Sequence[int],
    table: _Table,
    *,
    claims: list[Claim],
    effects: list[Effect],
    outcome: Outcome,
    proofs: Mapping[str, tuple[str, ...]],
    level: float,
    command: str,
    dataset: Dataset,
    matched: Mapping[str, str],
    is_sequential: bool,
) -> StudyResult:
    base = table.arms[study.base_cell]
    means = table.means()
    chosen = table.arms[outcome.chosen or max(means, key=lambda cell: means[cell])]
    selects_on_test = study.design.select == "test"
    missing = table.missing(seeds) if not is_sequential else 0
    confirmation = None
    if chosen is not base and not selects_on_test and not missing:
        confirmation = compare({"": table.differences(chosen, base, "test")}, margin=study.design.margin)[""]
    counted = {arm.name: table.recalls(arm) for arm in table.all if table.recalls(arm)}
    references = _references(table.registry)
    return StudyResult(
        study=study,
        seeds=tuple(seeds),
        arms=tuple(
            _ended(arm, study, table, references, shown_on_test=not missing and arm in (base, chosen))
            for arm in table.all
        ),
        claims=tuple(claims),
        effects=tuple(effects),
        steps=tuple(
            Step(
                tried=tried.pair.change,
                upon=study.arm_name(tried.pair.control),
                difference=means[tried.pair.treatment] - means[tried.pair.control],
                kept=tried.kept,
            )
            for tried in outcome.tried
        ),
        chosen=chosen.name,
        confirmation=confirmation,
        ranks=tuple(ranks(counted)),
        pareto=_fronts(table),
        per_class=_per_class(table, base, study.design.select),
        found_by=tuple(_replayed(study, means)) if study.design.design == "factorial" else (),
        proofs=proofs,
        notes=(*([_unfinished(table, missing)] if missing else []), *_notes(study, table)),
        look_level=level,
        command=command,
        classes=dataset.classes,
        matched=dict(matched),
    )


def _references(registry: Registry) -> dict[str, Reference]:
    """Return what publications report, by the identity of the spec that it is about."""
    found = {}
    for name in registry.specs:
        try:
            spec = resolve(name, registry=registry)
        except ZooError:  # of a plugin that failed, which has been said
            continue
        if spec.reference:
            found[spec.identity] = spec.reference
    return found


def _ended(arm: _Arm, study: Study, table: _Table, references: Mapping[str, Reference], *, shown_on_test: bool) -> Arm:
    """Return an arm as its result shows it; recall on test only where selection did not look at it, or is over."""
    parts = ["train", study.design.select]
    if shown_on_test:
        parts.append("test")
    return Arm(
        name=arm.name,
        cell=arm.cell,
        changes={name: level.name for name, level in study.levels(arm.cell).items()} if arm.cell else {},
        spec=attrs.evolve(arm.spec, reference=references.get(arm.spec.identity)),
        runs=tuple(run for _, run in sorted(arm.runs.items())),
        recalls={part: arm.recalls(part, table.classes) for part in dict.fromkeys(parts)},
    )


def at_once(run: Run) -> int:
    """Return how many runs shared the machine with this one, itself counted."""
    return int(run.provenance.get("runs_at_once", 1))


def _fronts(table: _Table) -> dict[str, tuple[str, ...]]:
    """Return who is on the front of recall against each cost; times only where no run shared the machine."""
    finished = {arm.name: [run for run in arm.runs.values() if run.status == "finished"] for arm in table.all}
    recalls = {arm.name: table.mean(arm) for arm in table.all}
    finished = {name: runs for name, runs in finished.items() if runs and math.isfinite(recalls[name])}
    fronts = {}
    for cost in ("seconds", "parameters", "flops"):
        if cost == "seconds":
            if any(at_once(run) > 1 for runs in finished.values() for run in runs):
                continue
            costs = {name: float(np.mean([run.seconds_training for run in runs])) for name, runs in finished.items()}
        else:
            costs = {name: float(getattr(runs[0], cost)) for name, runs in finished.items()}
        fronts[cost] = pareto({name: (recalls[name], value) for name, value in costs.items()})
    return fronts


def _per_class(table: _Table, base: _Arm, part: Part) -> dict[str, tuple[float, ...]]:
    """Return each class's mean recall difference to the base, over the seeds that both finished."""
    own = _class_recalls(base, part)
    found = {}
    for arm in table.all:
        theirs = _class_recalls(arm, part)
        common = [seed for seed in theirs if seed in own]
        if arm is not base and common:
            found[arm.name] = tuple(np.mean([theirs[seed] - own[seed] for seed in common], axis=0).tolist())
    return found


def _class_recalls(arm: _Arm, part: Part) -> dict[int, np.ndarray]:
    return {
        seed: metrics.recall_per_class(run.epochs[-1].evaluations[part].confusion)
        for seed, run in arm.runs.items()
        if run.status == "finished" and run.epochs and part in run.epochs[-1].evaluations
    }


def _replayed(study: Study, means: Mapping[Cell, float]) -> list[str]:
    """Say whether simpler designs, had they been used, would have arrived at the best combination."""
    best = max(means, key=lambda cell: means[cell])
    sentences = []
    alone = study.base_cell
    for position, factor in enumerate(study.factors):
        singles = [changed(study.base_cell, position, i + 1) for i in range(len(factor.levels))]
        top = max(singles, key=lambda cell: means[cell])
        if means[top] > means[study.base_cell]:
            alone = changed(alone, position, top[position])
    arrivals = {"One at a time, all that raised recall alone taken together": alone}
    searches: dict[str, DesignName] = {
        "Stepwise in the stated order": "stepwise",
        "Greedy, the best first": "forward",
    }
    for name, design in searches.items():
        arrivals[name] = _arrival(attrs.evolve(study, design=attrs.evolve(study.design, design=design)), means)
    for name, cell in arrivals.items():
        if cell == best:
            sentences.append(f"{name}: would have found the best combination.")
        else:
            sentences.append(
                f"{name}: would have chosen {study.arm_name(cell)}, {means[best] - means[cell]:.4f} below the best."
            )
    return sentences


def _arrival(study: Study, means: Mapping[Cell, float]) -> Cell:
    found = designs.search(study)
    next(found)
    while True:
        try:
            found.send(means)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            assert outcome.chosen is not None
            return outcome.chosen


def _unfinished(table: _Table, missing: int) -> str:
    return (
        f"Not finished: {missing} of {table.size + missing} runs are missing. Until they are there, the test images "
        "are not looked at."
    )


def _notes(study: Study, table: _Table) -> list[str]:
    notes = list(study.notes)
    if study.design.select == "test":
        notes.append("Selected on the test part: recall of what was chosen is too good.")
    if designs.is_adaptive(study):
        notes.append(
            "The p-values of a search are too sure of what it kept, which was kept for the recall that they are about."
        )
    arms = table.all
    diverged = {arm.name: sum(run.status == "diverged" for run in arm.runs.values()) for arm in arms}
    failed = {arm.name: sum(run.status == "failed" for run in arm.runs.values()) for arm in arms}
    for name, count in diverged.items():
        if count:
            notes.append(
                f"{name}: {count} of {len(table.named(name).runs)} runs diverged; each counts with the recall of "
                f"chance, {1 / table.classes:.4f}."
            )
    for name, count in failed.items():
        if count:
            notes.append(f"{name}: {count} of {len(table.named(name).runs)} runs failed and count nowhere.")
    for arm in arms:
        if not arm.runs:
            notes.append(f"{arm.name}: no run.")
    shared = max((at_once(run) for arm in arms for run in arm.runs.values()), default=1)
    if shared > 1:
        notes.append(
            f"Training times are of runs that shared the machine, {shared} at once: they are not compared. "
            "`zoo time` compares."
        )
    return notes


def deviation(study: Study, ledger_runs: Mapping[str, Mapping[int, Run]], base: str, classes: int) -> float | None:
    """Return the standard deviation of paired differences that earlier runs suggest; None where there are too few.

    Args:
        study: whose part is selected on.
        ledger_runs: ended runs by spec identity and seed.
        base: identity of the base.
        classes: how many there are.
    """
    part = study.design.select

    def recalls(runs: Mapping[int, Run]) -> dict[int, float]:
        found = {seed: counted_recall(run, part, classes) for seed, run in runs.items()}
        return {seed: recall for seed, recall in found.items() if recall is not None}

    own = recalls(ledger_runs.get(base, {}))
    squares, degrees = 0.0, 0
    for identity, runs in ledger_runs.items():
        theirs = recalls(runs)
        differences = [theirs[seed] - own[seed] for seed in theirs if seed in own]
        if identity != base and len(differences) > 1:
            squares += float(np.var(differences, ddof=1)) * (len(differences) - 1)
            degrees += len(differences) - 1
    return math.sqrt(squares / degrees) if degrees else None
