"""Many specs at once: chosen by patterns, each with values set, each in every variation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from zoo.errors import SpecError, option
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.spec.paths import NoChangeError, apply
from zoo.spec.resolve import Named, change_label, changed_name, select, vary

_IN_TITLE = (
    "training.epochs",
    "data.dataset",
    "data.resize",
    "data.fit",
    "data.test",
    "data.limit",
    "data.group_by",
    "data.validation",
    "data.resplit",
)
"""What the title of a table says, so that a spec's name need not."""
_IN_REFERENCE = ("training.epochs", "data.dataset")
_LENGTHS = ("training.epochs", "training.steps")


@attrs.frozen(kw_only=True)
class Selection:
    """Specs to train or to time.

    Attributes:
        specs: in the order asked for.
        families: names of those that differ in nothing but what is varied; the others are judged against the first.
        named: names of those that were asked for by themselves and not by a wildcard.
        broken: a line about each spec that a wildcard named but that is not valid.
    """

    specs: tuple[Spec, ...]
    families: tuple[tuple[str, ...], ...]
    named: frozenset[str]
    broken: tuple[str, ...]


def select_changed(
    names: Sequence[Named],
    *,
    registry: Registry,
    sets: Mapping[str, Any],
    variations: Mapping[str, Sequence[Any]],
    against: Named | None = None,
) -> Selection:
    """Return the specs that are named, with the values set, in every combination of the variations.

    Args:
        names: what to take; every registered spec where there is none.
        registry: where they are looked up.
        sets: values by path; a spec that has a value already keeps it.
        variations: by path, the values to try.
        against: the spec that all others are judged against; it is one of those that are returned, named or not.

    Raises:
        UnknownNameError: a name or a pattern matches nothing.
        SpecError: a spec that was named itself, a path or a value is not valid, a path is both set and varied, there
            is no valid spec, or nothing that could be judged.
    """
    if against is not None and variations:
        raise SpecError(
            f"{option('vary')} judges each value against the first already; {option('against')} is for specs that are "
            "named: give one of the two"
        )
    for path in variations:
        if path in sets:
            raise SpecError(f"{path} is both set and varied; do one of the two")
    _require_one_length((*sets, *variations))
    originals, broken = select(names or ["*"], registry=registry)
    if against is not None:
        first = _reference(against, originals if names else (), registry)
        originals = [first, *(spec for spec in originals if (spec.name, spec.identity) != (first.name, first.identity))]
        names = [first.name, *names] if names else names
    if not originals:
        raise SpecError("\n".join(["there is no valid spec", *broken]))
    asked_for = {Path(name).stem if name.endswith(".toml") else name for name in names if isinstance(name, str)}
    specs: list[Spec] = []
    families: list[tuple[str, ...]] = []
    named: set[str] = set()
    for original in originals:
        changed = overridden(original, sets, registry=registry)
        family = vary([changed], variations, registry=registry) if variations else [changed]
        specs += family
        families += [tuple(spec.name for spec in family)] if variations else []
        if original.name in asked_for or not all(isinstance(name, str) for name in names):
            named |= {spec.name for spec in family}
    if against is not None:
        families = [_judged_against_the_first(specs)]
    return Selection(specs=tuple(specs), families=tuple(families), named=frozenset(named), broken=tuple(broken))


def _reference(against: Named, given: Iterable[Spec], registry: Registry) -> Spec:
    """Return the spec that others are judged against: one of those given, by the name that tables show, or another.

    Raises:
        SpecError: it stands for several.
    """
    for spec in given:
        if spec.name == against:
            return spec
    found, _ = select([against], registry=registry)
    if len(found) != 1:
        raise SpecError(f"{option('against', str(against))}: it stands for {len(found)} specs; name one")
    return found[0]


def _judged_against_the_first(specs: Sequence[Spec]) -> tuple[str, ...]:
    """Return the names of specs, which are told apart by them.

    Raises:
        SpecError: there is one only, or two have one name.
    """
    family = tuple(spec.name for spec in specs)
    if len(family) == 1:
        raise SpecError(
            f"{option('against')}: there is nothing to judge: {family[0]} is the only spec; name another one"
        )
    for name, count in Counter(family).items():
        if count > 1:
            raise SpecError(f"{option('against')}: {count} specs are called {name!r}; rename all but one of them")
    return family


def overridden(spec: Spec, sets: Mapping[str, Any], *, registry: Registry) -> Spec:
    """Return the spec with the values set; one that it has already leaves it as it is.

    What is changed stands in its name, unless a table's title says it, and leaves it without a reference; a reference
    says itself of how many epochs and which data set it is.

    Raises:
        SpecError: a value or a path is not valid.
    """
    changes = []
    refers = True
    for path, value in sets.items():
        try:
            spec = apply(spec, {path: value}, registry)
        except NoChangeError:
            continue
        refers &= path in _IN_REFERENCE
        if path not in _IN_TITLE:
            changes.append(change_label(path, value))
    return attrs.evolve(spec, name=changed_name(spec.name, changes), reference=spec.reference if refers else None)


def joined(
    sets: Mapping[str, Any] | Iterable[tuple[str, Any]], *, epochs: float | None = None, data: str | None = None
) -> dict[str, Any]:
    """Return the values to set by path, with those that have a name of their own.

    Raises:
        SpecError: a path is set twice, or both of two that exclude each other.
    """
    stated = list(sets.items() if isinstance(sets, Mapping) else sets)
    pairs = [("training.epochs", epochs), ("data.dataset", data)]
    found: dict[str, Any] = {}
    for path, value in [*((path, value) for path, value in pairs if value is not None), *stated]:
        if path in found:
            raise SpecError(f"{path} is set twice")
        found[path] = value
    _require_one_length(found)
    return found


def _require_one_length(paths: Iterable[str]) -> None:
    """Refuse two lengths of training, of which the later would silently take the place of the other."""
    both = [path for path in paths if any(f".{length}".endswith(f".{path}") for length in _LENGTHS)]
    if len(both) > 1:
        raise SpecError(f"{' and '.join(both)} both say how long training is; leave out one of them")
