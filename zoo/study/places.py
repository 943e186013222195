"""A study over several bases and data sets: one study for each base on each data set, its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import attrs

from zoo.errors import SpecError, UnknownNameError, ZooError, text_of
from zoo.registry import Registry
from zoo.spec.resolve import resolve
from zoo.study import designs
from zoo.study.comparable import unlike
from zoo.study.definition import Design, Study, read_study, study_tree, untrained

OWN_DATA = "each its own data set"
"""Stands for the data sets of bases that are not of one, where a study names none."""
SEEDS_APART = 10_000
"""How far apart the seeds of one place and the next begin: those with which a study confirms begin at 1,000."""


@attrs.frozen(kw_only=True)
class Place:
    """A base on a data set, and the study of it.

    Attributes:
        base: its name as stated.
        data: that of the data set.
        name: as it is shown: what tells it from the others.
        study: of this base on this data set.
        first_seed: where its seeds begin: seeds of its own, so that what it finds is independent of other places.
    """

    base: str
    data: str
    name: str
    study: Study
    first_seed: int

    @property
    def key(self) -> tuple[str, str]:
        """What `zoo.statistics.pooling` knows it by."""
        return self.base, self.data


@attrs.frozen(kw_only=True, repr=False)
class PooledStudy:
    """A study over several places.

    Attributes:
        name: as registered, or the stem of its file.
        design: what it states besides its bases, data sets and changes; that of each place's study.
        places: all bases on the first data set, then on the next.
        refused: what was asked for and cannot be had in a place, with the reason.
    """

    name: str
    design: Design
    places: tuple[Place, ...]
    refused: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"PooledStudy({self.name}: {self.design.design} over {', '.join(place.name for place in self.places)})"

    @property
    def bases(self) -> tuple[str, ...]:
        """The bases that have a place."""
        return tuple(dict.fromkeys(place.base for place in self.places))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of it, for people."""
        return tuple(f"{place.name}: {note}" for place in self.places for note in place.study.notes)


def read_any(
    study: str | Path | Mapping[str, Any],
    *,
    registry: Registry,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    bases: Sequence[str] = (),
    data: Sequence[str] = (),
    tune: Mapping[str, Sequence[Any]] | None = None,
) -> Study | PooledStudy:
    """Return a study as `zoo.study.definition.read_study` does, or one over several bases or data sets.

    Args:
        study: which.
        registry: where names are looked up.
        name: what it is called.
        overrides: paths and values that are set in the base.
        bases: in place of those that it states.
        data: data sets in place of those that it states.
        tune: values to tune over by path, in place of those that it states.

    Raises:
        SpecError: it is not valid; the message names what is wrong.
        UnknownNameError: nothing is registered under a name.
    """
    tree = study if isinstance(study, Mapping) else study_tree(study, registry=registry)
    tree = {**tree, "tune": tune} if tune else tree
    if not bases and not data and "bases" not in tree and "data" not in tree:
        return read_study(study, registry=registry, name=name, overrides=overrides, tune=tune)
    own = "(unnamed)" if isinstance(study, Mapping) else str(study)
    name = name or (Path(own).stem if own.endswith(".toml") else own)
    tree = {
        **{key: value for key, value in tree.items() if not (bases and key in ("base", "bases"))},
        **({"bases": list(bases)} if bases else {}),
        **({"data": list(data)} if data else {}),
    }
    found_bases, found_data = _stated(tree, name)
    if found_data != [None] and "data.dataset" in (overrides or {}):
        raise SpecError("data.dataset is set twice")
    rest = {key: value for key, value in tree.items() if key not in ("base", "bases", "data")}
    sets = [{**(overrides or {}), **({"data.dataset": each} if each else {})} for each in found_data]
    if len(found_bases) == len(found_data) == 1:
        return read_study({**rest, "base": found_bases[0]}, registry=registry, name=name, overrides=sets[0])
    if "tune" in rest:
        raise SpecError(
            f"study {name!r}: tune: it goes with one base and one data set: a verdict over several does not know which "
            "other settings each of them might have chosen; take a study for each"
        )
    return _pooled(name, rest, found_bases, found_data, sets, registry)


def _stated(tree: Mapping[str, Any], name: str) -> tuple[list[Any], list[str | None]]:
    """Return the bases and the data sets that a study states; None stands for that of each base."""
    if ("base" in tree) == ("bases" in tree):
        raise SpecError(f"study {name!r}: expected either base, the name of a spec, or bases, a list of them")
    bases = tree["bases"] if "bases" in tree else [tree["base"]]
    data = tree.get("data", [None])
    for key, found, example in (("bases", bases, "starter/default"), ("data", data, "digits")):
        if isinstance(found, str | Mapping) or not isinstance(found, Iterable) or not list(found):
            raise SpecError(f'study {name!r}: {key}: expected a list of names, such as ["{example}"], got {found!r}')
        twice = [each for position, each in enumerate(found) if each in list(found)[:position]]
        if twice:
            raise SpecError(f"study {name!r}: {key}: {twice[0]!r} is there twice")
    for each in data:
        if each is not None and not isinstance(each, str):
            raise SpecError(f"study {name!r}: data: expected the name of a data set, got {each!r}")
    for each in bases if len(list(bases)) > 1 else ():
        if not isinstance(each, str):
            raise SpecError(f"study {name!r}: bases: expected the name of a spec, or a TOML file, got {each!r}")
    return list(bases), list(data)


def _pooled(
    name: str,
    tree: Mapping[str, Any],
    bases: Sequence[Any],
    data: Sequence[str | None],
    sets: Sequence[Mapping[str, Any]],
    registry: Registry,
) -> PooledStudy:
    try:
        labels = [resolve(base, registry=registry).name for base in bases]
    except UnknownNameError as error:
        raise UnknownNameError(f"study {name!r}: bases: {error}") from None
    for label in labels:
        if labels.count(label) > 1:
            raise SpecError(f"study {name!r}: bases: two are called {label!r}; rename a file")
    read = {
        (label, dataset): _read_place(name, {**tree, "base": base}, values, registry)
        for dataset, values in zip(data, sets, strict=True)
        for label, base in zip(labels, bases, strict=True)
    }
    _require_somewhere([lacking for _, lacking in read.values()])
    own = {study.base.data.dataset for study, _ in read.values() if study}
    own_label = next(iter(own)) if len(own) == 1 else OWN_DATA

    def shown(base: str, dataset: str | None) -> str:
        if len(bases) > 1:
            return f"{base} on {dataset}" if len(data) > 1 else base
        return dataset or own_label

    places = [
        Place(base=base, data=dataset or own_label, name=shown(base, dataset), study=study, first_seed=0)
        for (base, dataset), (study, _) in read.items()
        if study
    ]
    pooled = PooledStudy(
        name=name,
        design=places[0].study.design,
        places=tuple(attrs.evolve(place, first_seed=SEEDS_APART * position) for position, place in enumerate(places)),
        refused=tuple(
            f"{shown(base, dataset)}: {text_of(error).removeprefix(f'study {name!r}: ').replace(f': {base}: ', ': ')}"
            for (base, dataset), (_, lacking) in read.items()
            for error in lacking.values()
        ),
    )
    _check(pooled)
    return pooled


def _read_place(
    name: str, tree: Mapping[str, Any], values: Mapping[str, Any], registry: Registry
) -> tuple[Study | None, dict[str, ZooError]]:
    """Return the study of a place with the changes that its base takes, and of the others why it does not.

    There is no study where the base takes none, or the design needs all of them.
    """

    def read(stated: Mapping[str, Any]) -> Study | ZooError:
        try:
            return read_study(stated, registry=registry, name=name, overrides=values)
        except (SpecError, UnknownNameError) as error:
            return error

    whole = read(tree)
    if isinstance(whole, Study):
        return whole, {}
    changes = tree.get("changes")
    if not isinstance(changes, Mapping):
        return None, {"": whole}
    alone = {key: read({**tree, "design": _ONE, "changes": {key: change}}) for key, change in changes.items()}
    lacking = {key: found for key, found in alone.items() if isinstance(found, ZooError)}
    if not lacking:
        return None, {"": whole}
    if len(lacking) == len(changes) or tree.get("design", _ONE) != _ONE:
        return None, lacking
    rest = read({**tree, "changes": {key: change for key, change in changes.items() if key not in lacking}})
    return (rest, lacking) if isinstance(rest, Study) else (None, {**lacking, "": rest})


_ONE = "one-at-a-time"


def _require_somewhere(lacking: Sequence[Mapping[str, ZooError]]) -> None:
    """Refuse what is nowhere to be had: a change that no base takes is a mistake in the change.

    Raises:
        ZooError: that of the first place.
    """
    for key, error in lacking[0].items():
        if all(key in each for each in lacking):
            raise error


def _check(pooled: PooledStudy) -> None:
    """Refuse places that no claim can be over.

    Raises:
        SpecError: says why.
    """
    name, places = pooled.name, pooled.places
    if designs.is_adaptive(places[0].study):
        raise SpecError(
            f"study {name!r}: a {pooled.design.design} search goes its own way at each base, so that there is nothing "
            "to be said over several; take a design that is no search"
        )
    measures = unlike([untrained(place.study.base) for place in places], ["measure"])
    if measures:
        raise SpecError(
            f"study {name!r}: recalls of its bases are not to be pooled: {measures}; set evaluation.measure alike"
        )
    for one, other in combinations(places, 2):
        if one.data == other.data and one.study.base.identity == other.study.base.identity:
            raise SpecError(
                f"study {name!r}: bases: {one.base} and {other.base} are one network, which would count twice"
            )
