"""What a study tunes: the settings that every arm is trained at, before it is judged at the one that suits it best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import TYPE_CHECKING, Any, Literal

import attrs

from zoo.errors import SpecError, ZooError
from zoo.registry import Registry
from zoo.spec import Spec, paths
from zoo.spec.resolve import change_label, changed_name
from zoo.study.ranges import Range, Values, count, read_values

if TYPE_CHECKING:
    from zoo.study.definition import Study

Round = tuple[int, int]
"""How many settings are trained, and with how many seeds, those of earlier rounds included."""
MOST_SETTINGS = 1000
"""Of a grid; more are a budget that nobody has."""
_POINTS_AT_ONCE, _MOST_BATCHES = 256, 100
_LEAST_SAMPLED = _LEAST_HALVED = 3
_PAIRED = ("one-at-a-time", "leave-one-out")

Sampler = Literal["optuna:tpe", "optuna:gp"]
"""Suggests settings: the tree-structured Parzen estimator, or Gaussian processes."""
End = Literal["smallest", "largest"]
"""Of the values that were tried."""


@attrs.frozen
class Setting:
    """One value for each tuned path."""

    values: Mapping[str, Any]

    @property
    def label(self) -> str:
        """How it is written: "learning_rate=0.1, momentum=0.9"."""
        return ", ".join(change_label(path, value) for path, value in self.values.items())

    def of(self, spec: Spec, registry: Registry) -> Spec:
        """Return a spec at this setting; a value that it has already leaves it as it is.

        Raises:
            SpecError: the spec has no such place, or the value is not valid there.
        """
        labels = []
        tuned = spec
        for path, value in self.values.items():
            try:
                tuned = paths.apply(tuned, {path: value}, registry)
            except paths.NoChangeError:
                continue
            labels.append(change_label(path, value))
        return attrs.evolve(tuned, name=changed_name(spec.name, labels), reference=None) if labels else spec


@attrs.frozen
class Tune:
    """What is tuned: for each path its values, and the settings that every arm is trained at."""

    values: Mapping[str, Values]
    settings: tuple[Setting, ...]


def read_tune(
    study: str, tree: Mapping[str, Any], budget: int | None, widen: int = 0, sampler: Sampler | None = None
) -> Tune | None:
    """Read what a study states under `tune`: all combinations of the values, or a sample of `budget` of them.

    The sample is quasi-random, so that each path's values come up about equally often, and ranges are covered evenly.
    It is the same each time.

    Args:
        study: its name.
        tree: what it states; `tune` is a table of paths and lists of values, or ranges.
        budget: how many settings each arm is trained at; all when None.
        widen: how often values will be added to them at most.
        sampler: what will suggest most of the settings; those to begin with are of the sample.

    Returns:
        None where nothing is tuned.

    Raises:
        SpecError: it is not valid.
    """
    where = f"study {study!r}: tune"
    stated = tree.get("tune")
    if stated is None:
        for key in ("tune_seeds", "tune_budget", "tune_widen", "tune_sampler", "tune_halving"):
            if key in tree:
                raise SpecError(f"study {study!r}: {key}: nothing is tuned; state tune, too, or leave it out")
        return None
    if not isinstance(stated, Mapping) or not stated or not all(isinstance(path, str) for path in stated):
        raise SpecError(f"{where}: expected a table of paths and lists of values, got {stated!r}")
    values = {path: read_values(f"{where}.{path}", listed) for path, listed in stated.items()}
    there_are = count(list(values.values()))
    if budget is None and there_are == math.inf:
        raise SpecError(f"{where}: a range has no last value; state tune_budget, the number of settings to try")
    wanted = there_are if budget is None else min(budget, there_are)
    if wanted < 2:
        raise SpecError(f"{where}: a single setting leaves nothing to choose; state more values, or set it in the base")
    if wanted > MOST_SETTINGS:
        raise SpecError(
            f"{where}: {wanted} settings for each arm are more than {MOST_SETTINGS}; state tune_budget, the number of "
            "settings that each arm is trained at"
        )
    if sampler:
        _check_sampler(study, budget, there_are, widen)
        wanted = first_settings(int(wanted))
    settings = tuple(_grid(values) if wanted == there_are else islice(sampled(values), int(wanted)))
    if len(settings) < 2:
        raise SpecError(f"{where}: the range has a single value, rounded to three digits; state a wider one")
    tune = Tune(values, settings)
    if widen and widest(tune, 1) == len(tune.settings):
        raise SpecError(
            f"study {study!r}: tune_widen: none of what is tuned lists two numbers or more, beyond which there are "
            "others; leave it out"
        )
    if widen and (most := widest(tune, widen)) > MOST_SETTINGS:
        raise SpecError(
            f"study {study!r}: tune_widen: {widen} times may make {most} settings for each arm, and {MOST_SETTINGS} "
            "are the most; widen less often"
        )
    return tune


def rounds(settings: int, seeds: int, *, is_halving: bool) -> tuple[Round, ...]:
    """Return how many settings are trained with how many seeds, round by round.

    Halving begins with all settings and one seed. The better half, rounded up and two at least, goes on with twice as
    many seeds, until there are all.
    """
    if not is_halving:
        return ((settings, seeds),)
    found = [(settings, 1)]
    while (before := found[-1])[1] < seeds:
        found.append((max(2, math.ceil(before[0] / 2)), min(2 * before[1], seeds)))
    return tuple(found)


def runs_of(rounds: Sequence[Round]) -> int:
    """Return how many runs the rounds take for each arm."""
    earlier = [0, *(seeds for _, seeds in rounds)]
    return sum(settings * (seeds - before) for (settings, seeds), before in zip(rounds, earlier, strict=False))


def first_settings(budget: int) -> int:
    """Return how many settings are tried before a sampler suggests any: a third of them."""
    return max(2, math.ceil(budget / 3))


def _check_sampler(study: str, budget: int | None, there_are: float, widen: int) -> None:
    """Refuse a sampler that would have nothing to suggest.

    Raises:
        SpecError: says why.
    """
    where = f"study {study!r}: tune_sampler"
    if budget is None:
        raise SpecError(f"{where}: state tune_budget, too: the number of settings that each arm is trained at")
    if budget >= there_are:
        raise SpecError(f"{where}: tune_budget = {budget} tries all {there_are} settings that there are; leave it out")
    if budget < _LEAST_SAMPLED:
        raise SpecError(f"{where}: it takes a tune_budget of {_LEAST_SAMPLED} or more, got {budget}")
    if widen:
        raise SpecError(f"{where}: it goes with ranges that are wide enough, and not with tune_widen; leave one out")


def _grid(values: Mapping[str, Values]) -> Iterator[Setting]:
    """Yield all combinations of listed values."""
    for combination in product(*(listed for listed in values.values() if not isinstance(listed, Range))):
        yield Setting(dict(zip(values, combination, strict=True)))


def sampled(values: Mapping[str, Values]) -> Iterator[Setting]:
    """Yield different combinations by a scrambled Halton sequence; it ends when hardly any is left."""
    from scipy.stats import qmc

    points = qmc.Halton(len(values), rng=0)
    found: dict[str, Setting] = {}
    for _ in range(_MOST_BATCHES):
        for point in points.random(_POINTS_AT_ONCE):
            chosen = {
                path: own.at(share) if isinstance(own, Range) else own[int(share * len(own))]
                for (path, own), share in zip(values.items(), point.tolist(), strict=True)
            }
            setting = Setting(chosen)
            if setting.label not in found:
                found[setting.label] = setting
                yield setting


def widest(tune: Tune, times: int) -> int:
    """Return how many settings there are at most after so many times: as if both ends were chosen each time.

    Of more than `MOST_SETTINGS` not all are counted.
    """
    for _ in range(times):
        before = len(tune.settings)
        for path, end in product(tune.values, _ENDS):
            tune = (wider_by(tune, path, end) or (tune, 0.0))[0]
            if len(tune.settings) > MOST_SETTINGS:
                return len(tune.settings)
        if len(tune.settings) == before:
            break
    return len(tune.settings)


def beyond(tried: Iterable[float], end: End) -> float | None:
    """Return the next value after the largest, or the smallest: as far off as the last two are from each other.

    Values of one sign are apart by a ratio, others by a difference. None where there is no other: of fewer than two, or
    of numbers that are too close, or too large.
    """
    ordered = sorted(set(tried), reverse=end == "smallest")
    if len(ordered) < 2:
        return None
    before, last = ordered[-2:]
    try:
        value = last * (last / before) if before and last / before > 0 else 2 * last - before
        value = round(value) if all(isinstance(number, int) for number in ordered) else float(f"{value:.3g}")
    except OverflowError:
        return None
    is_other = math.isfinite(value) and value not in ordered and (value > last) == (end == "largest")
    return value if is_other else None


_ENDS: tuple[End, ...] = ("largest", "smallest")


def wider_by(tune: Tune, path: str, end: End) -> tuple[Tune, float] | None:
    """Return what is tuned with a value more at an end, and the value: each setting there is tried with it, too."""
    stated, tried = tune.values[path], numbers([setting.values[path] for setting in tune.settings])
    value = beyond(tried, end)
    if value is None or isinstance(stated, Range):
        return None
    outermost = max(tried) if end == "largest" else min(tried)
    at_end = (setting for setting in tune.settings if setting.values[path] == outermost)
    added = [attrs.evolve(setting, values={**setting.values, path: value}) for setting in at_end]
    values = {**tune.values, path: tuple(sorted({*stated, value}))}
    return attrs.evolve(tune, values=values, settings=tuple(_in_order((*tune.settings, *added), values))), value


def _in_order(settings: Iterable[Setting], values: Mapping[str, Values]) -> list[Setting]:
    """Return settings as the values are stated, those of a range by size."""

    def place(setting: Setting) -> list[Any]:
        return [own if isinstance(s := values[path], Range) else s.index(own) for path, own in setting.values.items()]

    return sorted(settings, key=place)


def numbers(values: Sequence[object]) -> set[float]:
    """Return the values, where all are numbers."""
    found = {value for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
    return found if len(found) == len({repr(value) for value in values}) else set()


def check_tune(study: Study, registry: Registry) -> None:
    """Refuse a tuning that does not suit the study, or that an arm cannot take part in.

    Raises:
        SpecError: says what, and what to do.
    """
    if study.tune is None:
        return
    where = f"study {study.name!r}: tune"
    design = study.design
    if design.select == "test":
        raise SpecError(
            f"{where}: settings are chosen by recall on the validation part, and this study selects on test, which "
            'must choose nothing; take select = "validation", or leave tune out'
        )
    if study.base.data.resplit:
        raise SpecError(
            f"{where}: with {'folds' if design.folds else 'resplit'}, claims are about other images than those at "
            "hand, which settings would be chosen on, and would suit too well; leave one of the two out"
        )
    if design.design not in _PAIRED:
        raise SpecError(
            f"{where}: it goes with the designs {' and '.join(_PAIRED)}, whose claims are about pairs of arms, and not "
            f"with {design.design}: that another setting might have been chosen is not in the error of its claims"
        )
    if design.tune_halving:
        _check_halving(study)
    if design.match:
        raise SpecError(
            f"{where}: match compares with a widened base, which has not been tuned; leave one of the two out"
        )
    base = [setting.of(study.base, registry) for setting in _each_valid(study, study.base_cell, registry)]
    for cell in study.single_changes():
        arms = [setting.of(study.spec(cell, registry), registry) for setting in _each_valid(study, cell, registry)]
        for setting, ours, theirs in zip(study.tune.settings, arms, base, strict=True):
            if ours.identity == theirs.identity:
                raise SpecError(
                    f"{where}: with {setting.label}, change {study.arm_name(cell)!r} is the base: it sets what is "
                    "tuned. Leave it out, or do not tune that"
                )


def _check_halving(study: Study) -> None:
    """Refuse to halve where settings are added, or where there is nothing to save.

    Raises:
        SpecError: says why.
    """
    design, where = study.design, f"study {study.name!r}: tune_halving"
    for key in ("tune_sampler", "tune_widen"):
        if getattr(design, key):
            raise SpecError(
                f"{where}: with {key} settings are added by the recalls of those before, which halving takes with "
                "unlike numbers of seeds; leave one of the two out"
            )
    assert study.tune
    settings = len(study.tune.settings)
    if settings < _LEAST_HALVED or design.tune_seeds < _LEAST_HALVED:
        raise SpecError(
            f"{where}: of {settings} settings with {design.tune_seeds} tuning seeds it saves little or nothing; it "
            f"takes {_LEAST_HALVED} of each or more, or leave it out"
        )


def _each_valid(study: Study, cell: tuple[int, ...], registry: Registry) -> Sequence[Setting]:
    """Return the settings, each tried on an arm.

    Raises:
        SpecError: the arm cannot take one, or its recall would not be to be compared with that of others.
    """
    assert study.tune
    spec = study.spec(cell, registry)
    for setting in (*study.tune.settings, *_at_ends(study.tune)):
        try:
            tuned = setting.of(spec, registry)
        except ZooError as error:
            why = f"{error}{'' if str(error).endswith(('.', '?')) else '.'}"
            raise SpecError(
                f"study {study.name!r}: tune: {study.arm_name(cell)!r} cannot be trained with {setting.label}: {why} "
                "All arms are trained at the same settings: tune what each of them has"
            ) from None
        if (tuned.data, tuned.evaluation) != (spec.data, spec.evaluation):
            raise SpecError(
                f"study {study.name!r}: tune: {setting.label} changes the data or how recall is measured, so that "
                "settings cannot be compared; tune what training does"
            )
    return study.tune.settings


def _at_ends(tune: Tune) -> Iterator[Setting]:
    """Yield settings at the ends of the ranges: what is valid there is valid between them."""
    for path, stated in tune.values.items():
        if isinstance(stated, Range):
            for end in stated.ends:
                yield attrs.evolve(tune.settings[0], values={**tune.settings[0].values, path: end})
