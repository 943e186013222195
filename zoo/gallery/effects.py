"""What variants did in stored runs: those that differ in variants of one kind only are held against each other.

It asks nothing of how runs came about: a study's, a benchmark's and a colleague's are found alike, and so are those of
plugins that are no longer there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from zoo.registry.hookspecs import KINDS
from zoo.registry.options import LATER
from zoo.report.table import Heading, headings
from zoo.report.verdict import Judged, judged
from zoo.spec import unstructure
from zoo.spec.fields import Block, DataSpec, Dense, EvaluationSpec, NetworkSpec, Replace, TrainingSpec
from zoo.study.measure import is_lost
from zoo.train.run import Run

Place = tuple[str | int, ...]
"""Where something stands in a spec as plain data."""
Defaults = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By kind and variant, the options that it has unless a spec states others."""

_LISTED = ("augmentation", "gradient")
"""Kinds of which a spec holds a list."""
_NO_DIFFERENCE = (
    ("name",),
    ("description",),
    ("reference",),
    ("data", "dataset"),
    ("evaluation", "train"),
    ("evaluation", "target"),
)
"""What decides no figure, or is in the heading."""


_SECTIONS = {
    "features": Block,
    "classifier": Dense,
    "network": NetworkSpec,
    "replace": Replace,
    "training": TrainingSpec,
    "evaluation": EvaluationSpec,
    "data": DataSpec,
}
_LATER = {
    name: {field.name: unstructure(field.default) for field in attrs.fields(section) if field.metadata.get(LATER)}
    for name, section in _SECTIONS.items()
}
"""By the name of a section, the fields that runs were stored without, with their defaults."""


@attrs.frozen(kw_only=True)
class Chosen:
    """What stands at one place of a spec."""

    name: str
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True, eq=False)
class Arm:
    """A spec of a field, with its runs.

    Attributes:
        label: what tells it from the others of its field: "mish", "adam (learning_rate=0.003)".
        variant: the one that it has where it differs from the base; "" where it has several there.
        options: those in which it differs from the base beyond what its variant is by default, by name.
        places: where it differs from the base; all places of the kind for the base itself.
        everywhere: whether these are all places of the kind.
        spec: as plain data.
        runs: ended ones, by seed.
    """

    label: str
    variant: str
    options: Mapping[str, Any]
    places: tuple[Place, ...]
    everywhere: bool
    spec: Mapping[str, Any]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """Under which it was stored."""
        return self.runs[0].name


@attrs.frozen(kw_only=True, eq=False)
class Field:
    """Specs that differ in variants of one kind only, on one data set, device and precision.

    Attributes:
        kind: which.
        heading: where they were trained.
        base: what the others are held against.
        arms: the others.
        verdicts: of each of them.
        seeds: those that count: which more than half of the arms were trained with.
    """

    kind: str
    heading: Heading
    base: Arm
    arms: tuple[Arm, ...]
    verdicts: tuple[Judged, ...]
    seeds: tuple[int, ...]

    @property
    def every(self) -> tuple[Arm, ...]:
        """The base, and the others."""
        return self.base, *self.arms

    @property
    def part(self) -> str:
        """The part of the data that verdicts are about."""
        return self.verdicts[0].part

    @property
    def runs(self) -> list[Run]:
        """All runs."""
        return [run for arm in self.every for run in arm.runs]

    def lost(self, arm: Arm) -> int:
        """Return how many runs of an arm diverged, or ended no better than chance."""
        return sum(is_lost(run, self.part) for run in arm.runs)

    def of(self, variant: str) -> list[tuple[Arm, Judged]]:
        """Return the arms of a variant with their verdicts."""
        return [(arm, found) for arm, found in zip(self.arms, self.verdicts, strict=True) if arm.variant == variant]


def fields(runs: Sequence[Run], defaults: Defaults) -> list[Field]:
    """Return what there is to compare, those with the most arms first.

    Args:
        runs: ended ones.
        defaults: by kind and variant, the options that it has unless a spec states others.
    """
    found = [
        field
        for heading, own in headings([_completed(run, defaults) for run in runs]).items()
        for kind, group in _groups(_newest(own))
        if (field := _field(kind, heading, group, defaults.get(kind, {})))
    ]
    return sorted(found, key=lambda field: -len(field.arms))


def _newest(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return runs by the identity of their spec; of several states of its variants' source, those of the newest."""
    by_spec: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        by_spec.setdefault(run.key.spec, {}).setdefault(run.key.source, []).append(run)
    return {
        spec: max(states.values(), key=lambda own: max(str(run.provenance.get("started", "")) for run in own))
        for spec, states in by_spec.items()
    }


def _completed(run: Run, defaults: Defaults) -> Run:
    """Return a run whose spec has what was added to specs and to options since it was stored, at its default."""

    def complete(node: Any, step: str) -> Any:
        if isinstance(node, list | tuple):
            return [complete(child, step) for child in node]
        if not isinstance(node, Mapping):
            return node
        is_choice = step in KINDS and isinstance(node.get("name"), str)
        added = defaults.get(step, {}).get(node["name"], {}) if is_choice else _LATER.get(step, {})
        return {key: complete(child, key) for key, child in {**added, **node}.items()}

    return attrs.evolve(run, spec=complete(run.spec, ""))


def _groups(runs: Mapping[str, Sequence[Run]]) -> Iterator[tuple[str, list[Sequence[Run]]]]:
    """Yield each kind with specs that are equal but for its variants."""
    groups: dict[tuple[str, str], list[Sequence[Run]]] = {}
    for own in runs.values():
        spec = own[0].spec
        for kind in dict.fromkeys(kind for kind, _ in choices(spec).values()):
            groups.setdefault((kind, _without(spec, kind)), []).append(own)
    for (kind, _), group in groups.items():
        if len(group) > 1:
            yield kind, group


def choices(spec: Mapping[str, Any]) -> dict[Place, tuple[str, Chosen]]:
    """Return the variants that a spec as plain data chooses, by place, each with its kind."""
    return dict(_walk(spec, ()))


def _walk(node: Any, place: Place) -> Iterator[tuple[Place, tuple[str, Chosen]]]:
    kind = next((step for step in reversed(place) if isinstance(step, str)), "")
    if place[:1] != ("data",) and kind in KINDS:
        if kind in _LISTED and isinstance(node, list | tuple):
            yield place, (kind, _of_list(node))
            return
        if isinstance(node, str):
            yield place, (kind, Chosen(name=node))
        elif isinstance(node, Mapping) and isinstance(node.get("name"), str):
            yield place, (kind, _of(node))
    children: Any = ()
    if isinstance(node, Mapping):
        children = node.items()
    elif isinstance(node, list | tuple):
        children = enumerate(node)
    for step, child in children:
        yield from _walk(child, (*place, step))


def _of(node: Mapping[str, Any]) -> Chosen:
    return Chosen(name=node["name"], options={key: value for key, value in node.items() if key != "name"})


def _of_list(nodes: Sequence[Any]) -> Chosen:
    """Return the one that a list holds; "none" for an empty one, "" for several."""
    if len(nodes) == 1 and isinstance(nodes[0], Mapping):
        return _of(nodes[0])
    return Chosen(name="" if nodes else "none", options={"of": nodes} if nodes else {})


def _without(spec: Mapping[str, Any], kind: str) -> str:
    """Return a spec with nothing in the places of a kind, as text."""

    def blank(node: Any, place: Place) -> Any:
        if place in _NO_DIFFERENCE:
            return None
        if place in holes:
            return f"a {kind}"
        if isinstance(node, Mapping):
            return {key: blank(child, (*place, key)) for key, child in node.items()}
        if isinstance(node, list | tuple):
            return [blank(child, (*place, index)) for index, child in enumerate(node)]
        return node

    holes = {place for place, (own, _) in choices(spec).items() if own == kind}
    return json.dumps(blank(spec, ()), sort_keys=True)


def _field(
    kind: str, heading: Heading, group: Sequence[Sequence[Run]], defaults: Mapping[str, Mapping[str, Any]]
) -> Field | None:
    """Return the comparison of a group; None where no member has one variant in place of the base's."""
    base, *others = sorted(group, key=lambda own: _distance(own, kind))
    theirs = _of_kind(base[0].spec, kind)
    places = tuple(theirs)
    name = _common(chosen.name for chosen in theirs.values())
    named = Arm(
        label=name or base[0].name,
        variant=name,
        options={},
        places=places,
        everywhere=True,
        spec=base[0].spec,
        runs=tuple(base),
    )
    arms = [arm for own in others if (arm := _arm(own, kind, theirs, defaults))]
    if not arms:
        return None
    seeds = _seeds(arms)
    members = [_counting(arm, seeds) for arm in _distinct([named, *arms])]
    if not all(arm.runs for arm in members):
        members = [arm for arm in members if arm.runs]
    if len(members) < 2 or members[0].spec is not named.spec:
        return None
    runs = [attrs.evolve(run, name=arm.label) for arm in members for run in arm.runs]
    verdicts = judged(runs, [tuple(arm.label for arm in members)])
    return Field(
        kind=kind,
        heading=heading,
        base=members[0],
        arms=tuple(members[1:]),
        verdicts=tuple(verdicts),
        seeds=tuple(seeds),
    )


def _distance(own: Sequence[Run], kind: str) -> tuple[bool, bool, str]:
    """Return what sorts the base first: a spec with a name of its own, with what specs have unless they say so."""
    chosen = {one.name for one in _of_kind(own[0].spec, kind).values()}
    return "[" in own[0].name, not chosen <= _usual(kind), str(own[0].provenance.get("started", ""))


def _usual(kind: str) -> set[str]:
    """Return what the fields of a kind are where a spec does not state them."""
    defaults = (
        field.default for section in _SECTIONS.values() for field in attrs.fields(section) if field.name == kind
    )
    return {default for default in defaults if isinstance(default, str)}


def _of_kind(spec: Mapping[str, Any], kind: str) -> dict[Place, Chosen]:
    return {place: chosen for place, (own, chosen) in choices(spec).items() if own == kind}


def _common(names: Any) -> str:
    """Return the name that all have; "" where they have several."""
    found = set(names)
    return found.pop() if len(found) == 1 else ""


def _arm(
    own: Sequence[Run], kind: str, theirs: Mapping[Place, Chosen], defaults: Mapping[str, Mapping[str, Any]]
) -> Arm | None:
    """Return a member of a group by how it differs from the base; None where it has several variants there."""
    ours = _of_kind(own[0].spec, kind)
    differing = tuple(place for place in ours if place not in theirs or ours[place] != theirs[place])
    variant = _common(ours[place].name for place in differing)
    if not variant:
        return None
    options: dict[str, Any] = {}
    for place in differing:
        before = theirs[place].options if place in theirs else {}
        usual = defaults.get(variant, {})
        options |= {
            key: value
            for key, value in ours[place].options.items()
            if value != before.get(key, usual.get(key)) or (key in before and value != before[key])
        }
    # Beside the base's own variant, its default is what tells the arm from it.
    is_own = any(place in theirs and theirs[place].name == variant for place in differing)
    stated = {key: value for key, value in options.items() if is_own or value != defaults.get(variant, {}).get(key)}
    told = ", ".join(f"{key}={_shown(value)}" for key, value in stated.items())
    return Arm(
        label=f"{variant} ({told})" if told else variant,
        variant=variant,
        options=stated,
        places=differing,
        everywhere=len(differing) == len(ours),
        spec=own[0].spec,
        runs=tuple(own),
    )


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _seeds(arms: Sequence[Arm]) -> list[int]:
    """Return the seeds that more than half of the arms have: not those that confirmed, or tuned, one of them."""
    counts = Counter(run.key.seed for arm in arms for run in arm.runs)
    return sorted(seed for seed, count in counts.items() if 2 * count > len(arms))


def _counting(arm: Arm, seeds: Sequence[int]) -> Arm:
    counted = sorted((run for run in arm.runs if run.key.seed in set(seeds)), key=lambda run: run.key.seed)
    return attrs.evolve(arm, runs=tuple(counted))


def _distinct(arms: Sequence[Arm]) -> list[Arm]:
    """Give arms of one label the places, and where that does not do, a number."""
    counts = Counter(arm.label for arm in arms)
    arms = [
        attrs.evolve(arm, label=f"{arm.label} at {place_text(arm)}") if counts[arm.label] > 1 else arm for arm in arms
    ]
    counts = Counter(arm.label for arm in arms)
    numbers: Counter[str] = Counter()
    found = []
    for arm in arms:
        numbers[arm.label] += 1
        several = counts[arm.label] > 1
        found.append(attrs.evolve(arm, label=f"{arm.label} #{numbers[arm.label]}") if several else arm)
    return found


def place_text(arm: Arm) -> str:
    """Say where an arm differs from its base: "everywhere", "network.features.*.normalization"."""
    if arm.everywhere:
        return "everywhere" if len(arm.places) > 1 else path(arm.places[0])
    every = [place for place in choices(arm.spec) if place[-1] == arm.places[0][-1]]
    all_of = {
        pattern
        for pattern in map(_pattern, arm.places)
        if all(place in arm.places for place in every if _pattern(place) == pattern)
    }
    texts = [_pattern(place) if _pattern(place) in all_of else path(place) for place in arm.places]
    return ", ".join(dict.fromkeys(texts))


def _pattern(place: Place) -> str:
    """Return the path of a place and of those beside it, as a wildcard names them."""
    return path(tuple("*" if isinstance(step, int) else step for step in place))


def path(place: Place) -> str:
    """Return the path of a place, as options of commands take it."""
    return ".".join(map(str, place))
