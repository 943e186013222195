"""A study whose arms are tuned: each is judged at the setting that suits it best, by seeds that did not choose it.

At the shared setting, that of the base, a change may seem to help only because the setting suits it. So every arm is
trained at every setting with seeds of their own, the best by mean recall on the validation part is chosen for each, and
the study is carried out with what was chosen as it would be without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs

from zoo.errors import BuildError, ZooError
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.statistics.ranking import blocked_means
from zoo.study import designs
from zoo.study.arms import Train
from zoo.study.conduct import Auto, conduct, proofs
from zoo.study.confirm import fresh_seeds
from zoo.study.definition import Cell, Study
from zoo.study.images import Imaged
from zoo.study.measure import counted_recall
from zoo.study.ranges import Range
from zoo.study.result import StudyResult
from zoo.study.samplers import suggested
from zoo.study.settings import End, Round, Setting, check_tune, rounds, wider_by
from zoo.study.trials import Trial, Tuned, Widening
from zoo.train.run import Run

FIRST_TUNING = 100_000
"""The first seed that settings are chosen by: far from those of verdicts and of confirmations."""


def tuning_seeds(study: Study, judged: Sequence[int]) -> range:
    """Return the seeds that settings are chosen by, given those that verdicts are from; the two never meet."""
    last = max(*judged, *fresh_seeds(len(judged)))
    first = FIRST_TUNING * (1 + last // FIRST_TUNING)
    return range(first, first + study.design.tune_seeds)


def tuned_specs(study: Study, registry: Registry) -> dict[Cell, list[Spec]]:
    """Return each combination's specs, one for each setting.

    Raises:
        SpecError: a combination cannot be trained at a setting.
    """
    assert study.tune
    return {
        cell: [setting.of(study.untuned.spec(cell, registry), registry) for setting in study.tune.settings]
        for cell in next(designs.search(study))
    }


def conduct_tuned(
    study: Study,
    seeds: Sequence[int],
    train: Train,
    *,
    dataset: Imaged,
    registry: Registry,
    auto: Auto | None = None,
    command: str = "",
    fits: Callable[[Spec], bool] = lambda spec: True,
    shown: Mapping[str, tuple[str, ...]] | None = None,
) -> StudyResult:
    """Tune every arm, and judge the study at the shared setting and at what was chosen.

    Args:
        study: what is asked; it tunes.
        seeds: as for `zoo.study.conduct.conduct`, like all others.
        train: trains, or finds what was trained.
        dataset: that the base is trained on.
        registry: where variants are looked up.
        auto: add seeds only where a claim is undecided.
        command: what repeats it.
        fits: says of a spec that has no run whether it could be trained.
        shown: what `proofs` returns, where that is known already.

    Raises:
        BuildError: an arm can be trained at some of the settings and not at others.
    """
    if shown is None:
        shown = proofs(study, dataset, registry)

    def conducted(study: Study, *, waiting: int, confirms: bool) -> StudyResult:
        return conduct(
            study, seeds, train, dataset=dataset, registry=registry, auto=auto, command=command, fits=fits,
            waiting=waiting, confirms=confirms, shown=shown,
        )  # fmt: skip

    study, tuned, settings = tune_further(
        study, train, seeds=tuning_seeds(study, seeds), classes=len(dataset.classes), registry=registry, fits=fits
    )
    shared = conducted(study, waiting=tuned.missing, confirms=False)
    if tuned.missing:
        return attrs.evolve(shared, tuned=tuned)
    result = conducted(attrs.evolve(study, settings=settings), waiting=shared.missing, confirms=True)
    return attrs.evolve(
        result,
        tuned=tuned,
        shared=shared.claims,
        shared_losses=shared.losses,
        notes=(*result.notes, *_notes(tuned)),
    )


def tune_further(
    study: Study,
    train: Train,
    *,
    seeds: Sequence[int],
    classes: int,
    registry: Registry,
    fits: Callable[[Spec], bool] = lambda spec: True,
) -> tuple[Study, Tuned, dict[Cell, Setting]]:
    """Tune every arm, and go on: with what a sampler suggests, or beyond the outermost values, as the study says.

    Args:
        study: what is tuned.
        train: as for `tune`, like all others.
        seeds: to choose by.
        classes: how many there are.
        registry: where variants are looked up.
        fits: says of a spec that has no run whether it could be trained.

    Returns:
        The study with all settings that were tried, and what `tune` returns.

    Raises:
        BuildError: an arm can be trained at some of the settings that the study states and not at others.
    """
    again = partial(tune, train=train, seeds=seeds, classes=classes, registry=registry, fits=fits)
    tuned, settings = again(study)
    if sampler := study.design.tune_sampler:
        assert study.tune
        while not tuned.missing and (left := study.most_settings - len(study.tune.settings)) > 0:
            more = suggested(tuned, study.tune.values, sampler, left)
            if not more:
                break
            study = attrs.evolve(study, tune=attrs.evolve(study.tune, settings=(*study.tune.settings, *more)))
            tuned, settings = again(study)
        return study, attrs.evolve(tuned, sampler=sampler), settings
    widenings: tuple[Widening, ...] = ()
    for _ in range(study.design.tune_widen):
        if tuned.missing:
            break
        wider, added = widened(study, tuned, registry)
        if not added:
            break
        try:
            tuned, settings = again(wider)
        except BuildError:  # an arm cannot be trained with what was added; that it lies beyond is said
            break
        study, widenings = wider, (*widenings, *added)
    return study, attrs.evolve(tuned, widenings=widenings), settings


def widened(study: Study, tuned: Tuned, registry: Registry) -> tuple[Study, tuple[Widening, ...]]:
    """Return a study with a value more at each end that was chosen, for all arms, and what was added.

    A value that an arm cannot take is not added.
    """
    arms: dict[tuple[str, End], list[str]] = {}
    for edge in tuned.edges:
        arms.setdefault((edge.path, edge.end), []).append(edge.arm)
    added = []
    for (path, end), choosers in arms.items():
        assert study.tune
        found = wider_by(study.tune, path, end)
        if found is None:
            continue
        tune, value = found
        wider = attrs.evolve(study, tune=tune)
        try:
            check_tune(wider, registry)
        except ZooError:
            continue
        study = wider
        added.append(Widening(path=path, value=value, arms=tuple(choosers)))
    return study, tuple(added)


def tune(
    study: Study,
    train: Train,
    *,
    seeds: Sequence[int],
    classes: int,
    registry: Registry,
    fits: Callable[[Spec], bool] = lambda spec: True,
) -> tuple[Tuned, dict[Cell, Setting]]:
    """Train every arm at every setting, and choose a setting for each arm.

    The best mean recall on the validation part is chosen; of equal ones the arm's own setting, then the first stated.
    With halving, only the better half of an arm's settings goes on to further seeds; each arm has as many runs.

    Args:
        study: what is tuned.
        train: trains, or finds what was trained.
        seeds: to choose by.
        classes: how many there are.
        registry: where variants are looked up.
        fits: says of a spec that has no run whether it could be trained.

    Returns:
        What became of it, and the chosen setting of each combination; none while runs are missing.

    Raises:
        BuildError: an arm can be trained at some of the settings and not at others.
    """
    assert study.tune
    specs = tuned_specs(study, registry)
    runs: dict[str, dict[int, Run]] = {spec.identity: {} for own in specs.values() for spec in own}

    def tried(cell: Cell) -> list[Trial]:
        plain = study.untuned.spec(cell, registry).identity
        return [
            attrs.evolve(_trial(study, cell, i, runs[spec.identity], classes), shared=spec.identity == plain)
            for i, spec in enumerate(specs[cell])
        ]

    left = {cell: list(range(len(own))) for cell, own in specs.items()}
    lacking: set[str] = set()
    missing = before = 0
    for count, until in tuning_rounds(study):
        if before:
            left = {cell: sorted(_best_first(tried(cell), positions)[:count]) for cell, positions in left.items()}
        asked = {specs[cell][i].identity: specs[cell][i] for cell, positions in left.items() for i in positions}
        for run in train(list(asked.values()), seeds[before:until]):
            runs[run.key.spec][run.key.seed] = run
        if not before:
            lacking = {identity for identity, spec in asked.items() if not runs[identity] and not fits(spec)}
        missing = sum(until - len(runs[identity]) for identity in asked if identity not in lacking)
        if missing:
            break
        before = until
    check_fits(study, specs, lambda spec: spec.identity not in lacking)
    trials: list[Trial] = []
    settings: dict[Cell, Setting] = {}
    for cell, own in specs.items():
        if all(spec.identity in lacking for spec in own):
            continue  # the arm is left out, as it is without tuning
        found = tried(cell)
        means = _means(found, range(len(found)))
        found = [attrs.evolve(t, mean=means[i] if t.recalls else math.nan) for i, t in enumerate(found)]
        if not missing and any(trial.recalls for trial in found):
            best = _best_first(found, left[cell])[0]
            found[best] = attrs.evolve(found[best], chosen=True)
            settings[cell] = found[best].setting
        trials += found
    ranges = {path: own for path, own in study.tune.values.items() if isinstance(own, Range)}
    tuned = Tuned(seeds=tuple(seeds), trials=tuple(trials), missing=missing, ranges=ranges, rounds=tuning_rounds(study))
    return tuned, settings


def tuning_rounds(study: Study) -> tuple[Round, ...]:
    """Return how many settings of each arm are trained with how many seeds, round by round."""
    assert study.tune
    return rounds(len(study.tune.settings), study.design.tune_seeds, is_halving=study.design.tune_halving)


def _best_first(trials: Sequence[Trial], positions: Sequence[int]) -> list[int]:
    """Return some of an arm's trials in the order of their recall; of equal ones the arm's own is first."""
    means = _means(trials, positions)
    return sorted(positions, key=lambda i: (-means[i], not trials[i].shared))


def _means(trials: Sequence[Trial], positions: Sequence[int]) -> dict[int, float]:
    found = blocked_means({str(i): trials[i].recalls for i in positions})
    return {i: found[str(i)] for i in positions}


def _trial(study: Study, cell: Cell, position: int, runs: dict[int, Run], classes: int) -> Trial:
    assert study.tune
    found = {seed: counted_recall(run, study.design.select, classes) for seed, run in sorted(runs.items())}
    return Trial(
        arm=study.arm_name(cell),
        setting=study.tune.settings[position],
        part=study.design.select,
        runs=tuple(run for _, run in sorted(runs.items())),
        recalls={seed: recall for seed, recall in found.items() if recall is not None},
    )


def check_fits(study: Study, specs: Mapping[Cell, Sequence[Spec]], fits: Callable[[Spec], bool]) -> None:
    """Refuse an arm that can be trained at some of the settings only: it would be tuned with less than the others.

    Raises:
        BuildError: names the arm and the setting.
    """
    assert study.tune
    for cell, own in specs.items():
        fit = [fits(spec) for spec in own]
        if any(fit) and not all(fit):
            raise BuildError(
                f"study {study.name!r}: tune: {study.arm_name(cell)!r} cannot be trained with "
                f"{study.tune.settings[fit.index(False)].label}, and all arms are trained at the same settings; leave "
                "out the value, or the change"
            )


def _notes(tuned: Tuned) -> list[str]:
    notes = [
        "Ranks are of the networks with the settings that were chosen. That tuning might have chosen others is in the "
        "verdicts alone."
    ]
    for trial in tuned.trials:
        for status, counts in (("diverged", "count as chance in the choice"), ("failed", "count nowhere")):
            if count := sum(run.status == status for run in trial.runs):
                which = f"{trial.arm} with {trial.setting.label}"
                notes.append(f"Tuning: {count} of {len(trial.runs)} runs of {which} {status}, and {counts}.")
    return notes
