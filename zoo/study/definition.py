"""What a study is: a base spec, named changes to it, a design over them, and how its claims are judged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import attrs

from zoo.characters import not_in_a_name
from zoo.data import has_validation
from zoo.errors import SpecError, UnknownNameError, ZooError, near_misses
from zoo.registry import Registry
from zoo.registry.options import Constraint, NonNegativeInt, PositiveFloat, PositiveInt
from zoo.spec import Spec, paths, read_as, read_toml, unstructure
from zoo.spec.fields import WIDTH
from zoo.spec.resolve import changed_name, resolve
from zoo.statistics.fractions import most_changes
from zoo.study.comparable import RECALLS, unlike
from zoo.study.settings import Sampler, Setting, Tune, check_tune, read_tune, widest
from zoo.train.run import Run, RunKey

DesignName = Literal["one-at-a-time", "leave-one-out", "stepwise", "forward", "backward", "factorial", "fractional"]
Part = Literal["validation", "test"]
Matched = Literal["parameters", "flops"]
Cell = tuple[int, ...]
"""One combination of the factors' levels; 0 is the base's, 1 the first level that a factor states."""

VALIDATION = 0.25
"""Share of the training set that changes are chosen on, where the base holds none out."""
_RESOLUTION = Constraint("3, 4 or 5", lambda number: number in (3, 4, 5))
_FOLDS = Constraint("a number of folds, 2 or more", lambda number: number >= 2)


@attrs.frozen
class Level:
    """One value of a factor: what it is called, and what it sets in the base."""

    name: str
    sets: Mapping[str, Any]


@attrs.frozen
class Factor:
    """A named change of the base, or a choice among several; the base itself is one more level, of index 0.

    `wildcard` says that its levels are what is registered, and none of them was asked for by name.
    """

    name: str
    levels: tuple[Level, ...]
    wildcard: bool = False


@attrs.frozen(kw_only=True)
class Design:
    """What a study states besides its base and its changes.

    Attributes:
        description: one line for people.
        design: which combinations are trained; see `zoo.study.designs`.
        seeds: how many, from 0.
        select: the part of the data that claims are about and changes are chosen on. Only a study that repeats a
            publication's own choice selects on "test".
        margin: a difference in recall that makes no practical difference.
        resolution: of a fractional design.
        resplit: the validation part is drawn anew with each seed, so that claims are about images like these and not
            about one split of them.
        folds: so many folds of the training images are held out in turn, one with each seed; likewise.
        match: adds, to each change that makes the network larger, a comparison with a base widened to its size.
        tune_seeds: how many seeds the setting of each arm is chosen by, where the study tunes.
        tune_budget: how many settings each arm is trained at then; all combinations when None.
        tune_widen: how often values are added where an arm chose the outermost of those that were tried.
        tune_sampler: what suggests settings by those that were tried; a quasi-random sample where None.
        tune_halving: only the better half of an arm's settings goes on to further tuning seeds, again and again.
    """

    description: str = ""
    design: DesignName = "one-at-a-time"
    seeds: PositiveInt = 5
    select: Part = "validation"
    margin: PositiveFloat = 0.005
    resolution: Annotated[int, _RESOLUTION] = 4
    resplit: bool = False
    folds: Annotated[int, _FOLDS] | None = None
    match: Matched | None = None
    tune_seeds: PositiveInt = 3
    tune_budget: PositiveInt | None = None
    tune_widen: NonNegativeInt = 0
    tune_sampler: Sampler | None = None
    tune_halving: bool = False


attrs.resolve_types(Design)


@attrs.frozen(kw_only=True, repr=False)
class Study:
    """A study whose specs are resolved.

    Attributes:
        name: as registered, or the stem of its file.
        base: what is changed.
        factors: the changes, in the order in which a stepwise design tries them.
        design: what else the study states.
        notes: what was left out of it, for people.
        tune: the settings that every arm is trained at to choose one of them; None where nothing is tuned.
        settings: by combination, the setting that was chosen; empty until it is.
    """

    name: str
    base: Spec
    factors: tuple[Factor, ...]
    design: Design
    notes: tuple[str, ...] = ()
    tune: Tune | None = None
    settings: Mapping[Cell, Setting] = attrs.field(factory=dict)

    def __repr__(self) -> str:
        changes = ", ".join(factor.name for factor in self.factors)
        return f"Study({self.name}: {self.design.design} over {self.base.name}; {changes})"

    @property
    def base_cell(self) -> Cell:
        """The combination that changes nothing."""
        return (0,) * len(self.factors)

    @property
    def untuned(self) -> Study:
        """The same, with nothing chosen."""
        return attrs.evolve(self, settings={})

    @property
    def most_settings(self) -> int:
        """How many settings each arm may be trained at in the end; 0 where nothing is tuned."""
        if self.tune is None:
            return 0
        if self.design.tune_sampler:
            return self.design.tune_budget or 0
        return widest(self.tune, self.design.tune_widen)

    def single_changes(self) -> Iterator[Cell]:
        """Yield the combinations that change one thing: each factor's levels, the factors in order."""
        for position, factor in enumerate(self.factors):
            for index in range(1, len(factor.levels) + 1):
                yield changed(self.base_cell, position, index)

    def levels(self, cell: Cell) -> dict[str, Level]:
        """Return what a combination changes, by factor."""
        return {f.name: f.levels[index - 1] for f, index in zip(self.factors, cell, strict=True) if index}

    def arm_name(self, cell: Cell) -> str:
        """Return a combination's name in the study's tables: "base", "4c", "4c + size=5"."""
        return " + ".join(self._label(f, index) for f, index in zip(self.factors, cell, strict=True) if index) or "base"

    def spec(self, cell: Cell, registry: Registry) -> Spec:
        """Return the spec of a combination: the base with the changes made one after another, at its setting.

        Raises:
            SpecError: a change is not valid, or makes no difference after those before it.
        """
        spec = self._changed(cell, registry)
        return self.settings[cell].of(spec, registry) if cell in self.settings else spec

    def _changed(self, cell: Cell, registry: Registry) -> Spec:
        levels = self.levels(cell)
        if not levels:
            return self.base
        spec = self.base
        for factor, level in levels.items():
            try:
                spec = paths.apply(spec, level.sets, registry)
            except ZooError as error:
                name = self.arm_name(cell)
                where = f"change {factor!r}" + ("" if name == factor else f" in {name!r}")
                raise SpecError(f"study {self.name!r}: {where}: {error}") from None
        labels = [self._label(f, index) for f, index in zip(self.factors, cell, strict=True) if index]
        return attrs.evolve(spec, name=changed_name(self.base.name, labels), reference=None)

    def without(self, specs: Collection[str], registry: Registry) -> Study:
        """Return the untuned study without the levels that alone make specs of these names; itself if none is left."""
        cells = iter(self.single_changes())
        factors = []
        for factor in self.factors:
            levels = tuple(level for level in factor.levels if self._changed(next(cells), registry).name not in specs)
            factors += [attrs.evolve(factor, levels=levels)] if levels else []
        return attrs.evolve(self, factors=tuple(factors), settings={}) if factors else self

    @property
    def wildcards(self) -> frozenset[str]:
        """How the levels that nobody asked for by name stand in the names of specs."""
        return frozenset(
            self._label(factor, index + 1)
            for factor in self.factors
            if factor.wildcard
            for index in range(len(factor.levels))
        )

    @staticmethod
    def _label(factor: Factor, index: int) -> str:
        level = factor.levels[index - 1]
        return factor.name if level.name == factor.name else f"{factor.name}={level.name}"


def changed(cell: Cell, position: int, index: int) -> Cell:
    """Return a combination with one factor's level replaced."""
    return (*cell[:position], index, *cell[position + 1 :])


_OWN_KEYS = ("base", "set", "changes", "tune")


def study_tree(study: str | Path, *, registry: Registry) -> Mapping[str, Any]:
    """Return what a registered study, or a TOML file (a path, or a text ending in .toml), states.

    Raises:
        SpecError: the file cannot be read.
        UnknownNameError: nothing is registered under that name.
    """
    if not isinstance(study, str | Path):
        raise SpecError(f"expected the name of a study, a TOML file or a mapping, got {study!r}")
    if isinstance(study, Path) or study.endswith(".toml"):
        return read_toml(Path(study))
    source = registry.study(study).source
    return read_toml(source) if isinstance(source, Path) else source


def read_study(
    study: str | Path | Mapping[str, Any],
    *,
    registry: Registry,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    tune: Mapping[str, Sequence[Any]] | None = None,
) -> Study:
    """Return the study for a registered name, a TOML file (a path, or a text ending in .toml) or a mapping.

    Args:
        study: which.
        registry: where names are looked up.
        name: what it is called; its own name, or the stem of its file, when left out.
        overrides: paths and values that are set in the base besides those that the study states; a value that the base
            has already is left as it is.
        tune: values to tune over by path, in place of those that the study states.

    Raises:
        SpecError: it is not valid; the message names what is wrong.
        UnknownNameError: nothing is registered under a name.
    """
    if isinstance(study, Mapping):
        tree, own = study, "(unnamed)"
    else:
        own = Path(study).stem if str(study).endswith(".toml") else str(study)
        tree = study_tree(study, registry=registry)
    return _study(name or own, {**tree, "tune": tune} if tune else tree, registry, overrides or {})


def _study(name: str, tree: Mapping[str, Any], registry: Registry, overrides: Mapping[str, Any]) -> Study:
    _check_name(name, f"study {name!r}")
    stated = {key: value for key, value in tree.items() if key not in _OWN_KEYS}
    several = next((key for key in ("bases", "data") if key in tree), None)
    if several:
        raise SpecError(f"study {name!r}: {several}: it is over several, and a study of one base was expected")
    allowed = (*_OWN_KEYS, "bases", "data", *(field.name for field in attrs.fields(Design)))
    for key in stated:
        if key not in allowed:
            raise SpecError(
                f"study {name!r}: unknown key {key!r}{near_misses(str(key), allowed)} It takes {', '.join(allowed)}."
            )
    for key, what in (("base", "the name of a spec, or a TOML file"), ("changes", "a table of named changes")):
        if key not in tree:
            raise SpecError(f"study {name!r}: {key}: required, but not there; expected {what}")
    design: Design = read_as(Design, stated, f"study {name!r}", registry)
    if not isinstance(tree["base"], str | Mapping):
        raise SpecError(f"study {name!r}: base: expected the name of a spec, got {tree['base']!r}")
    try:
        base = resolve(tree["base"], registry=registry)
        sets = _table(tree.get("set", {}), f"study {name!r}: set", "paths and values")
        base = paths.apply(base, sets, registry)
        base = _set(base, overrides, registry)
        if design.resplit or design.folds:
            _require_split(base, design, registry)
        if design.folds:
            base = _set(base, {"data.validation": 1 / design.folds, "data.resplit": "folds"}, registry)
        if design.select == "validation" and not (base.data.validation or has_validation(base.data.dataset, registry)):
            base = paths.apply(base, {"data.validation": VALIDATION}, registry)
        if design.resplit and not base.data.resplit:
            base = paths.apply(base, {"data.resplit": True}, registry)
    except UnknownNameError as error:
        raise UnknownNameError(f"study {name!r}: {error}") from None
    except SpecError as error:
        raise SpecError(f"study {name!r}: {error}") from None
    notes: list[str] = []
    changes = _table(tree["changes"], f"study {name!r}: changes", "named changes")
    factors = tuple(_factor(name, key, change, base, registry, notes) for key, change in changes.items())
    tune = read_tune(name, tree, design.tune_budget, design.tune_widen, design.tune_sampler)
    study = Study(name=name, base=base, factors=factors, design=design, notes=tuple(notes), tune=tune)
    check(study, registry)
    return study


def _set(spec: Spec, values: Mapping[str, Any], registry: Registry) -> Spec:
    """Return a spec with values set; one that it has already is left as it is."""
    for path, value in values.items():
        with suppress(paths.NoChangeError):
            spec = paths.apply(spec, {path: value}, registry)
    return spec


def _require_split(base: Spec, design: Design, registry: Registry) -> None:
    """Refuse to draw the validation part anew where claims are not about one that is split off.

    Raises:
        SpecError: they are about test images, the data has a validation part of its own, or it is drawn in two ways.
    """
    if design.resplit and design.folds:
        raise SpecError(
            "resplit draws the validation part anew with each seed, and folds takes each fold in turn; leave one of "
            "the two out"
        )
    key = "folds" if design.folds else "resplit"
    what = f"{key} draws the validation part anew with each seed"
    if design.select == "test":
        raise SpecError(f"{what}, and the study selects on test; leave one of the two out")
    if has_validation(base.data.dataset, registry):
        raise SpecError(f"{what}, and {base.data.dataset} has one of its own; leave {key} out")


def _factor(study: str, name: str, change: object, base: Spec, registry: Registry, notes: list[str]) -> Factor:
    """Read one change: sets; `levels`, each of them sets; or `every`, the kind whose variants are the levels."""
    where = f"study {study!r}: changes.{name}"
    if any(character in name for character in "=+,[]"):
        raise SpecError(f"{where}: the name of a change must be without = + , [ and ]")
    _check_name(name, where)
    table = _table(change, where, "paths and values")
    if not table:
        raise SpecError(f'{where}: it changes nothing; expected paths and values, such as activation = "leaky_relu"')
    if set(table) == {"levels"}:
        levels = _table(table["levels"], f"{where}.levels", "levels, each a table of paths and values")
        read = tuple(
            Level(key, _table(sets, f"{where}.levels.{key}", "paths and values")) for key, sets in levels.items()
        )
        if not read:
            raise SpecError(f"{where}.levels: expected at least one level")
        for level in read:
            _check_name(level.name, f"{where}.levels.{level.name}")
        return Factor(name, read)
    if "every" in table and set(table) <= {"every", "path"}:
        return Factor(name, _every(where, table, base, registry, notes), wildcard=True)
    return Factor(name, (Level(name, table),))


def _every(where: str, table: Mapping[str, Any], base: Spec, registry: Registry, notes: list[str]) -> tuple[Level, ...]:
    """Return a level for each registered variant of a kind that the base can take and does not have already."""
    kind, path = table["every"], table.get("path", table["every"])
    if not isinstance(kind, str) or not isinstance(path, str):
        raise SpecError(f"{where}: expected the name of a kind, and a path")
    try:
        names = registry.variants(kind)
    except UnknownNameError as error:
        raise SpecError(f"{where}.every: {error}") from None
    levels, left_out = [], []
    for name in names:
        try:
            paths.apply(base, {path: name}, registry)
        except paths.NoChangeError:
            continue
        except SpecError as error:
            left_out.append((name, error))
            continue
        levels.append(Level(name, {path: name}))
    if not levels:
        why = f"{left_out[0][0]}: {left_out[0][1]}" if left_out else f"{base.name} has the only one that there is"
        raise SpecError(
            f"{where}: no {kind} can be set at {path!r} ({why}); name a path where the base has another {kind}"
        )
    notes += [f"{kind} {name} is left out: {error}" for name, error in left_out]
    return tuple(levels)


def _check_name(name: str, where: str) -> None:
    """Refuse a name that a line of text cannot hold.

    Raises:
        SpecError: says which character.
    """
    if (character := not_in_a_name(name)) is not None:
        raise SpecError(f"{where}: the name holds {character}, which is no text; take another name")


def _table(value: object, where: str, of: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise SpecError(f"{where}: expected a table of {of}, got {value!r}")
    return value


def check(study: Study, registry: Registry) -> None:
    """Try each level on the base, so that what is wrong with a change is said before anything else is done.

    Raises:
        SpecError: says what; or that the changes do not suit the design.
    """
    if not study.factors:
        raise SpecError(f"study {study.name!r}: changes: expected at least one change")
    cells = list(study.single_changes())
    for cell in cells:
        differ = unlike([untrained(study.base), untrained(study.spec(cell, registry))], RECALLS)
        if differ:
            raise SpecError(
                f"study {study.name!r}: change {study.arm_name(cell)!r}: its recall is not to be compared with the "
                f"base's: {differ}; set it in the base, and take a study for each"
            )
    names = [study.arm_name(cell) for cell in cells]
    if len(set(names)) < len(names):
        raise SpecError(f"study {study.name!r}: two changes or levels have one name")
    for taken in ("base", "seed", "recall"):
        if taken in (name for factor in study.factors for name in (factor.name, *(lv.name for lv in factor.levels))):
            raise SpecError(f"study {study.name!r}: {taken!r} cannot be the name of a change or a level; take another")
    design = study.design.design
    resolution = study.design.resolution
    if design == "fractional" and len(study.factors) > most_changes(resolution):
        raise SpecError(
            f"study {study.name!r}: no fraction of resolution {resolution} is known for {len(study.factors)} changes, "
            f"only for up to {most_changes(resolution)}; take fewer changes"
            + (f", or resolution 4 for up to {most_changes(4)}" if resolution == 5 else "")
        )
    if design != "one-at-a-time":
        _check_together(study, registry)
    if study.design.match and design in ("factorial", "fractional"):
        raise SpecError(
            f"study {study.name!r}: match compares single changes with a base as large, and a {design} design has "
            "effects over all combinations; leave it out, or take another design"
        )
    if study.design.match and not study.base.network.has_widths:
        raise SpecError(
            f"study {study.name!r}: match makes the base wider, and its architecture {study.base.network.architecture} "
            f"has no option {WIDTH!r} for that; leave it out, or take another base"
        )
    if design in ("leave-one-out", "backward", "fractional"):
        many = [factor.name for factor in study.factors if len(factor.levels) > 1]
        if many:
            raise SpecError(
                f"study {study.name!r}: a {design} design needs changes of one level each, and {many[0]!r} has "
                "several; make one change of each level, or take another design"
            )
    if design in ("leave-one-out", "fractional") and len(study.factors) < 2:
        raise SpecError(f"study {study.name!r}: a {design} design needs at least two changes")
    check_tune(study, registry)


def untrained(spec: Spec) -> Run:
    """Return a run of a spec as far as it is known beforehand."""
    data = spec.data.dataset
    return Run(RunKey(spec.identity, 0, data, "", "fp32"), spec.name, unstructure(spec), data)


def _check_together(study: Study, registry: Registry) -> None:
    """Refuse two changes of which one undoes the other: together they would be one of the two.

    Raises:
        SpecError: names both.
    """
    single = list(study.single_changes())
    for first, second in combinations(single, 2):
        together = tuple(a or b for a, b in zip(first, second, strict=True))
        if sum(map(bool, together)) < 2:
            continue  # two levels of one factor
        both = study.spec(together, registry).identity
        for cell, other in ((first, second), (second, first)):
            if both == study.spec(cell, registry).identity:
                raise SpecError(
                    f"study {study.name!r}: {study.arm_name(other)!r} changes nothing beside {study.arm_name(cell)!r}: "
                    "they set the same places; make them levels of one change, or take a one-at-a-time design"
                )


def design_names() -> Sequence[str]:
    """Return the names of all designs."""
    return get_args(DesignName)
