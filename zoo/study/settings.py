"""What a study tunes: the settings that every arm is trained at, before it is judged at the one that suits it best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import attrs

from zoo.errors import SpecError, ZooError
from zoo.registry import Registry
from zoo.spec import Spec, paths
from zoo.spec.resolve import change_label, changed_name

if TYPE_CHECKING:
    from zoo.study.definition import Study

MOST_SETTINGS = 1000
"""Of a grid; more are a budget that nobody has."""
_POINTS_AT_ONCE = 256
_PAIRED = ("one-at-a-time", "leave-one-out")


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

    values: Mapping[str, tuple[Any, ...]]
    settings: tuple[Setting, ...]


def read_tune(study: str, tree: Mapping[str, Any], budget: int | None) -> Tune | None:
    """Read what a study states under `tune`: all combinations of the values, or a sample of `budget` of them.

    The sample is quasi-random, so that each path's values come up about equally often, and the same each time.

    Args:
        study: its name.
        tree: what it states; `tune` is a table of paths and lists of values.
        budget: how many settings each arm is trained at; all when None.

    Returns:
        None where nothing is tuned.

    Raises:
        SpecError: it is not valid.
    """
    where = f"study {study!r}: tune"
    stated = tree.get("tune")
    if stated is None:
        for key in ("tune_seeds", "tune_budget"):
            if key in tree:
                raise SpecError(f"study {study!r}: {key}: nothing is tuned; state tune, too, or leave it out")
        return None
    if not isinstance(stated, Mapping) or not stated or not all(isinstance(path, str) for path in stated):
        raise SpecError(f"{where}: expected a table of paths and lists of values, got {stated!r}")
    values: dict[str, tuple[Any, ...]] = {}
    for path, listed in stated.items():
        if not isinstance(listed, list | tuple) or not listed:
            raise SpecError(f"{where}.{path}: expected a list of values, such as [0.01, 0.1], got {listed!r}")
        twice = [value for position, value in enumerate(listed) if value in listed[:position]]
        if twice:
            raise SpecError(f"{where}.{path}: {twice[0]!r} is there twice")
        values[path] = tuple(listed)
    count = math.prod(map(len, values.values()))
    wanted = count if budget is None else min(budget, count)
    if wanted < 2:
        raise SpecError(f"{where}: a single setting leaves nothing to choose; state more values, or set it in the base")
    if wanted > MOST_SETTINGS:
        raise SpecError(
            f"{where}: {wanted} settings for each arm are more than {MOST_SETTINGS}; state tune_budget, the number of "
            "settings that each arm is trained at"
        )
    cells = product(*map(range, map(len, values.values()))) if wanted == count else _sample(values, wanted)
    settings = [
        Setting({path: listed[index] for (path, listed), index in zip(values.items(), cell, strict=True)})
        for cell in cells
    ]
    return Tune(values, tuple(settings))


def _sample(values: Mapping[str, Sequence[Any]], count: int) -> Iterable[tuple[int, ...]]:
    """Return so many different combinations, as positions, from a scrambled Halton sequence."""
    from scipy.stats import qmc

    sizes = [len(listed) for listed in values.values()]
    points = qmc.Halton(len(sizes), rng=0)
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        for point in points.random(_POINTS_AT_ONCE):
            found[tuple(int(share * size) for share, size in zip(point, sizes, strict=True))] = None
    return islice(found, count)


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
    if design.design not in _PAIRED:
        raise SpecError(
            f"{where}: it goes with the designs {' and '.join(_PAIRED)}, whose claims are about pairs of arms, and not "
            f"with {design.design}: that another setting might have been chosen is not in the error of its claims"
        )
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


def _each_valid(study: Study, cell: tuple[int, ...], registry: Registry) -> Sequence[Setting]:
    """Return the settings, each tried on an arm.

    Raises:
        SpecError: the arm cannot take one, or its recall would not be to be compared with that of others.
    """
    assert study.tune
    spec = study.spec(cell, registry)
    for setting in study.tune.settings:
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
