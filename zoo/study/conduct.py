"""Carrying a study out: what its design asks for is trained, what was found is judged.

Training is left to a function that is given specs and seeds, so that the same code trains, or only reads a ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from zoo.errors import BuildError, NothingTrainedError, SpecError, option
from zoo.network.proof import prove, stated
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.statistics.effects import factorial_effects
from zoo.statistics.fractions import aliases
from zoo.statistics.losses import Counted, compare_losses
from zoo.statistics.paired import Rivals, compare
from zoo.statistics.results import Comparison, Effect
from zoo.statistics.sequential import Sequential, looks, share
from zoo.statistics.verdicts import Judge
from zoo.study import designs
from zoo.study.arms import ArmTable, Train, TrainedArm
from zoo.study.capacity import widened
from zoo.study.confirm import confirm
from zoo.study.definition import Study, changed
from zoo.study.designs import Outcome, Pair
from zoo.study.images import Imaged
from zoo.study.looks import levels, looks_until
from zoo.study.result import Claim, StudyResult
from zoo.study.rivals import RivalArms
from zoo.study.scatter import frame
from zoo.study.summary import summarize

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
            f"those that were there; give their number, such as {option('seeds', 5)}"
        )


def proofs(study: Study, dataset: Imaged, registry: Registry) -> dict[str, tuple[str, ...]]:
    """Return, for each change alone, what it does to the network and the training, line by line.

    Where the form of the images is not known, no network is built: the lines say what the change sets.

    Raises:
        SpecError: a change alters nothing, or something that it does not name.
        BuildError: the base, or a change that the design cannot do without, does not fit the data.
    """
    found: dict[str, tuple[str, ...]] = {}
    for cell in study.single_changes():
        (level,) = study.levels(cell).values()
        changed_spec = study.spec(cell, registry)
        if dataset.shape is None:
            found[study.arm_name(cell)] = stated(study.base, changed_spec, level.sets, registry=registry)
            continue
        try:
            found[study.arm_name(cell)] = prove(
                study.base,
                changed_spec,
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
    dataset: Imaged,
    registry: Registry,
    auto: Auto | None = None,
    command: str = "",
    fits: Callable[[Spec], bool] = lambda spec: True,
    waiting: int = 0,
    confirms: bool = True,
    shown: Mapping[str, tuple[str, ...]] | None = None,
) -> StudyResult:
    """Train what the study's design asks for, judge it, and confirm what it chooses with fresh seeds.

    Args:
        study: what is asked.
        seeds: with which every spec is trained; with `auto` those of the last look.
        train: trains, or finds what was trained.
        dataset: that the base is trained on; where its form is not known, the design may not match sizes.
        registry: where variants are looked up.
        auto: add seeds only where a claim is undecided.
        command: what repeats it.
        fits: says of a spec that has no run whether it could be trained: if not, none of its runs is missing.
        waiting: how many runs of something else have to be there before anything is judged.
        confirms: choose the best and confirm it with fresh seeds, or only judge.
        shown: what `proofs` returns, where that is known already.

    Raises:
        SpecError: a change alters nothing, or something that it does not name; or `auto` does not suit the design.
    """
    if auto:
        check_auto(study)
    if shown is None:
        shown = proofs(study, dataset, registry)
    table = ArmTable(study, train, len(dataset.classes), registry)
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
    looks = [seeds[:count] for count in auto.looks] if auto else [seeds]
    if not any(run.status != "failed" for arm in table.all for run in arm.runs.values()):
        raise NothingTrainedError(_nothing(study, table), failed=table.size)
    pairs = [ArmPair(pair.change, table.arms[pair.treatment], table.arms[pair.control]) for pair in outcome.pairs]
    matched: dict[str, str] = {}
    if study.design.match:
        pairs += _matched(study, outcome.pairs, table, dataset, registry, first, matched)
    claims: list[Claim] = []
    effects: list[Effect] = []
    rivals = RivalArms(table)
    changed_runs = (run for arm in table.all if arm.cell != study.base_cell for run in arm.runs.values())
    taken = looks_until(changed_runs, f"auto {auto.most}" if auto else str(len(seeds)))
    if designs.is_factorial(study):
        effects, level = _judge_effects(study, table, seeds, auto, taken)
    else:
        claims, level = judge_pairs(study, pairs, table, seeds, auto, taken, rivals)
    missing = table.missing(looks, fits) + rivals.missing + waiting
    losses = compare_losses(_losses(study, table, claims), level=level)
    confirmed = None if missing or not confirms else confirm(table, outcome, taken[-1])
    result = summarize(
        study,
        seeds,
        table,
        claims=claims,
        effects=effects,
        losses=losses,
        looks=taken,
        outcome=outcome,
        proofs=shown,
        level=level,
        command=command,
        dataset=dataset,
        matched=matched,
        missing=missing,
        confirmed=confirmed,
    )
    return attrs.evolve(result, rivals=(*rivals.trials, *(confirmed.rivals if confirmed else ())))


def _nothing(study: Study, table: ArmTable) -> str:
    """Say that there is nothing to judge, and why the first run failed."""
    reasons = [run.reason.partition("\n")[0] for arm in table.all for run in arm.runs.values()]
    if not reasons:
        return f"study {study.name!r}: there is no run to judge; `zoo study run` trains, with the same options"
    return f"study {study.name!r}: all {len(reasons)} runs failed, the first because: {reasons[0]}"


def _incomplete(study: Study, table: ArmTable) -> str:
    """Say which combinations a factorial design cannot do without."""
    lacking = [arm.name for arm in table.all if not table.recalls(arm)]
    few = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
    reasons = [
        run.reason.partition("\n")[0] for arm in table.all for run in arm.runs.values() if run.status == "failed"
    ]
    why = f"; the first that failed: {reasons[0]}" if reasons else ""
    return (
        f"study {study.name!r}: {len(lacking)} of {len(table.all)} combinations have no run that counts ({few}){why}. "
        "Effects need all of them; what has ended is kept in the ledger, and `zoo study run` goes on from there"
    )


@attrs.frozen
class ArmPair:
    """A claim between two arms."""

    change: str
    treatment: TrainedArm
    control: TrainedArm


def _matched(
    study: Study,
    pairs: Iterable[Pair],
    table: ArmTable,
    dataset: Imaged,
    registry: Registry,
    seeds: Sequence[int],
    matched: dict[str, str],
) -> list[ArmPair]:
    """Compare each change that makes the network larger with what it was made to, widened to the same size."""
    added = []
    measure = study.design.match
    assert measure
    assert dataset.shape
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
        arm = TrainedArm(f"{control.name}, as many {_MATCHED[measure]} as {treatment.name}", None, spec)
        table.others.append(arm)
        matched[arm.name] = pair.change
        added.append(ArmPair(f"{pair.change}, at equal {_MATCHED[measure]}", treatment, arm))
    table.train([pair.control for pair in added], seeds)
    return added


_MATCHED = {"parameters": "parameters", "flops": "FLOPs"}


def judge_pairs(
    study: Study,
    pairs: Sequence[ArmPair],
    table: ArmTable,
    seeds: Sequence[int],
    auto: Auto | None,
    taken: list[str],
    rivals: RivalArms,
) -> tuple[list[Claim], float]:
    """Return the verdicts on pairs, and the level of the last look; with `auto` seeds are added until they are decided.

    Args:
        study: what is asked.
        pairs: what is compared.
        table: the arms, trained with the seeds of the first look.
        seeds: of all looks.
        auto: add seeds only where a claim is undecided.
        taken: the looks so far, this one included; see `zoo.study.looks`.
        rivals: of a study whose settings are chosen, those that were not.
    """
    names = _distinct([pair.change for pair in pairs])

    def differences(count: int | None = None) -> dict[str, list[float]]:
        """Return those of all seeds, or of so many."""
        within = None if count is None else seeds[:count]
        return {
            name: table.differences(p.treatment, p.control, within=within) for name, p in zip(names, pairs, strict=True)
        }

    margin = study.design.margin

    def judged(judge: Judge, count: int | None = None, next_level: float | None = None) -> dict[str, Comparison]:
        found = differences(count)
        held_against: dict[str, Rivals] = {}
        if study.settings:
            sides = {name: (p.treatment, p.control) for name, p in zip(names, pairs, strict=True)}
            held_against = rivals.against(sides, found, None if count is None else seeds[:count])
        return compare(
            found,
            margin=margin,
            judge=judge,
            step=table.image_step(),
            overlap=table.overlap(),
            next_level=next_level,
            rivals=held_against,
        )

    if auto is None:
        judge, counts = _repeated(taken, margin)
        for count in counts:
            compared = judged(judge.look, count, share(len(taken) + 1))
    else:
        judge = Sequential(len(auto.looks), margin=margin, level=share(len(taken)))
        compared = judged(judge.look)
        for count in auto.looks[1:]:
            open_pairs = [p for name, p in zip(names, pairs, strict=True) if compared[name].verdict == "undecided"]
            if not open_pairs or not auto.go_on():
                break
            before = table.size
            table.train({id(arm): arm for p in open_pairs for arm in (p.treatment, p.control)}.values(), seeds[:count])
            if table.size == before:  # a ledger that holds no more
                break
            compared = judged(judge.look)
    claims = [
        Claim(change=name, treatment=p.treatment.name, control=p.control.name, comparison=compared[name])
        for name, p in zip(names, pairs, strict=True)
    ]
    return claims, judge.level


def _repeated(taken: list[str], margin: float) -> tuple[Sequential, list[int]]:
    """Return the judge of looks that were asked for one after another, and how many seeds each has.

    Of looks that added seeds by themselves only the level is spent: what they decided is judged anew.
    """
    asked = [(int(look), level) for look, level in zip(taken, levels(taken), strict=True) if look.isdecimal()]
    return Sequential([level for _, level in asked], margin=margin), [count for count, _ in asked]


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names, a number after those that a search tried again: "bn", "bn (2)"."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct


def _judge_effects(
    study: Study, table: ArmTable, seeds: Sequence[int], auto: Auto | None, taken: list[str]
) -> tuple[list[Effect], float]:
    factors = {factor.name: [level.name for level in factor.levels] for factor in study.factors}
    cells = list(table.arms)
    groups = aliases(cells) if study.design.design == "fractional" else None

    if not all(table.recalls(arm) for arm in table.all):
        failed = sum(run.status == "failed" for arm in table.all for run in arm.runs.values())
        raise NothingTrainedError(_incomplete(study, table), failed=failed)

    def effects(judge: Judge, count: int | None = None, next_level: float | None = None) -> list[Effect]:
        runs = frame(study, {cell: arm.learned(study.design.select) for cell, arm in table.arms.items()})
        return factorial_effects(
            runs if count is None else runs[runs["seed"].isin(seeds[:count])],
            factors,
            margin=study.design.margin,
            groups=groups,
            judge=judge,
            step=table.image_step(),
            overlap=table.overlap(),
            next_level=next_level,
        )

    if auto is None:
        judge, counts = _repeated(taken, study.design.margin)
        for count in counts:
            found = effects(judge.look, count, share(len(taken) + 1))
        return found, judge.level
    judge = Sequential(len(auto.looks), margin=study.design.margin, level=share(len(taken)))
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


def _losses(study: Study, table: ArmTable, claims: Sequence[Claim]) -> dict[str, tuple[Counted, Counted]]:
    """Return what is counted of lost runs, for each claim, or for each main effect of a factorial design."""
    if not designs.is_factorial(study):
        return {c.change: table.losses([table.named(c.treatment)], [table.named(c.control)]) for c in claims}
    found = {}
    for position, factor in enumerate(study.factors):
        without = [arm for cell, arm in table.arms.items() if cell[position] == 0]
        for index in range(1, len(factor.levels) + 1):
            with_it = [arm for cell, arm in table.arms.items() if cell[position] == index]
            found[study.arm_name(changed(study.base_cell, position, index))] = table.losses(with_it, without)
    return found
