"""Changes: values set at dotted paths of a resolved spec.

`network.features.*.activation = leaky_relu` sets the activation of every feature block. Steps are field names,
list positions, `*` for all of a level, and a last `+` that appends to a list; a step with dots stands in quotes, as the
pattern in `network.replace."layer4.*".activation`.

A path that does not begin at a section stands for every place in the spec that ends like it: `activation`,
`filter.size`, `learning_rate`. One that begins at a section but names nothing directly in it stands for every place in
the section that ends like it: `network.activation`.

A bare name put where a variant is chosen changes the variant and keeps those options that old and new share; a
table without `name` changes the options that it states; a table with `name` replaces all. A table put where a section
or a block stands changes the fields that it states, so `training = {epochs = 3}` is `training.epochs = 3`.

Of two fields that exclude each other, as `training.epochs` and `training.steps` do, setting one leaves out the other.
"""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from zoo.errors import SpecError, near_misses
from zoo.registry import Registry
from zoo.registry.options import Choice
from zoo.spec import SECTIONS, Places, Replace, Spec, merge, split_path, structure, unstructure
from zoo.spec.fields import FROM_FILE, INSTEAD_OF, OWN
from zoo.spec.reading import parse_toml

Steps = tuple[str | int, ...]


class NoChangeError(SpecError):
    """A set gives a place the value that it has."""


def apply(spec: Spec, sets: Mapping[str, Any], registry: Registry) -> Spec:
    """Return the spec with each path of `sets` set, in order.

    Raises:
        SpecError: a path matches nothing, a value changes nothing or is not valid.
    """
    for path, value in sets.items():
        changed = _set(spec, path, value, registry)
        if changed == spec:
            raise NoChangeError(f"{spec.name}: {path} = {value!r} changes nothing: it is that already")
        spec = changed
    return spec


def parse_set(text: str) -> tuple[str, Any]:
    """Read `path=value` of the command line. The value is TOML; a bare word is a string.

    Raises:
        SpecError: there is no `=`.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise SpecError(f"expected path=value, got {text!r}; for example --set training.epochs=3")
    return path.strip(), parse_value(value)


def parse_value(text: str) -> Any:
    """Read one value: a TOML value, or else the text itself.

    Raises:
        SpecError: it is nested too deep, or a number of more than 64 bits.
    """
    try:
        return parse_toml(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
    except ValueError as error:
        raise SpecError(f"{text.strip()[:20]}... cannot be a value: {error}") from None


def parse_values(text: str) -> list[Any]:
    """Read the values of `--vary path=a,b`: separated by commas, except those inside brackets, braces and quotes."""
    items, depth, quoted, start = [], 0, "", 0
    for index, character in enumerate(text):
        if quoted:
            quoted = "" if character == quoted else quoted
        elif character in "\"'":
            quoted = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 0:
            items.append(text[start:index])
            start = index + 1
    return [parse_value(item) for item in (*items, text[start:])]


def _set(spec: Spec, path: str, value: Any, registry: Registry) -> Spec:
    tree = unstructure(spec)
    for steps in _at_pattern(spec, split_path(path), tree) or _matches(spec, path):
        if steps[-1] == "name":
            variant = ".".join(map(str, steps[:-1]))
            raise SpecError(f"{spec.name}: {path}: set the variant itself, {variant} = {json.dumps(value)}")
        try:
            _put(tree, steps, _new_value(_node(spec, steps), value, registry))
            if other := _instead(_node(spec, steps[:-1]), steps[-1]):
                _put(tree, (*steps[:-1], other), None)
        except (TypeError, LookupError):
            raise SpecError(
                f"{spec.name}: the path {path!r} names places that lie in each other; name one of them"
            ) from None
        if steps[:2] == ("network", "architecture"):
            _forget_digest(tree)
    return structure(tree, spec.name, registry)


def _forget_digest(tree: dict[str, Any]) -> None:
    """Let the digest of published weights be found anew: another architecture has others under the same name."""
    weights = tree["network"]["weights"]
    if isinstance(weights, dict) and not weights["source"].startswith(FROM_FILE):
        del weights["digest"]


def _children(node: Any) -> dict[str | int, Any]:
    if isinstance(node, tuple):
        return dict(enumerate(node))
    if isinstance(node, Choice):
        return dict([("name", node.name), *node.values().items()])
    if attrs.has(type(node)):
        # A kind that a pattern leaves open is no place.
        open_ = (None,) if isinstance(node, Places) else ()
        return {name: child for name, child in attrs.asdict(node, recurse=False).items() if child not in open_}
    return {}


def _node(node: Any, steps: Steps) -> Any:
    for step in steps:
        node = _children(node).get(step)
    return node


def _at_pattern(spec: Spec, steps: tuple[str, ...], tree: dict[str, Any]) -> list[Steps]:
    """Return the place of `replace."layer4.*".activation`, for which a new pattern is put into the tree."""
    replace = spec.network.replace
    below = steps[1:] if steps[0] == "network" else steps
    fields = [field.name for field in attrs.fields(Replace)]
    if replace is None or len(below) < 3 or below[0] != "replace" or below[1] in (*fields, "*"):
        return []
    _, pattern, *rest = below
    patterns = [place.at for place in replace.places]
    if pattern not in patterns:
        tree["network"]["replace"]["places"].append({"at": pattern})
        patterns.append(pattern)
    place: Steps = ("network", "replace", "places", patterns.index(pattern))
    return [(*place, *rest)] if len(rest) == 1 else list(_match(_node(spec, place), tuple(rest), place))


def _matches(spec: Spec, path: str) -> list[Steps]:
    """Return every place in the spec that the path names."""
    steps = split_path(path)
    found = _find(spec, steps)
    if not found:
        raise SpecError(f"{spec.name}: the path {path!r} matches nothing{_hint(spec, steps)}")
    return found


def _find(spec: Spec, steps: tuple[str, ...]) -> list[Steps]:
    if steps[0] in SECTIONS:
        below = [start for start in _inner_places(spec) if start[0] == steps[0]]
        anywhere = [place for start in below for place in _match(_node(spec, start), steps[1:], start)]
        return list(_match(spec, steps, ())) or anywhere
    return [place for start in _inner_places(spec) for place in _match(_node(spec, start), steps, start)]


def _match(node: Any, steps: tuple[str, ...], start: Steps) -> Iterator[Steps]:
    if not steps:
        yield start
        return
    first, rest = steps[0], steps[1:]
    if first == "+" and not rest and isinstance(node, tuple):
        yield (*start, len(node))
        return
    for key, child in _children(node).items():
        if first in ("*", str(key)):
            yield from _match(child, rest, (*start, key))


def _inner_places(spec: Spec) -> Iterator[Steps]:
    """Yield every place that has places below it."""

    def at_or_below(place: Steps, node: Any) -> Iterator[Steps]:
        children = _children(node)
        if children:
            yield place
        for key, child in children.items():
            yield from at_or_below((*place, key), child)

    for section in SECTIONS:
        yield from at_or_below((section,), getattr(spec, section))


def _hint(spec: Spec, steps: tuple[str, ...]) -> str:
    """Say where a path leaves the spec, and what there is instead."""
    if steps[:2] == ("network", "defaults"):
        return ": defaults are written into the blocks when a spec is read; set `network.features.*` instead."
    for depth in range(len(steps) - 1, 0, -1):
        if found := _find(spec, steps[:depth]):
            names = _names(spec, found)
            return (
                f": {'.'.join(steps[:depth])} has no {steps[depth]!r}{near_misses(steps[depth], names)} "
                f"It has {', '.join(names) or 'nothing below it'}."
            )
    return f": nothing in the spec is called {steps[0]!r}{near_misses(steps[0], _names(spec, _inner_places(spec)))}"


def _names(spec: Spec, places: Iterable[Steps]) -> list[str]:
    """Return the names of what is directly below the places, each once."""
    return list(dict.fromkeys(str(key) for place in places for key in _children(_node(spec, place))))


def _new_value(old: Any, value: Any, registry: Registry) -> Any:
    if not isinstance(old, Choice):
        if attrs.has(type(old)) and isinstance(value, Mapping):
            fields = _children(old)
            left_out = {other: None for key in value if (other := _instead(old, key))}
            given = {key: _new_value(fields.get(key), v, registry) for key, v in value.items()}
            return {**unstructure(old), **left_out, **given}
        return value
    if isinstance(value, str) and value != OWN:
        options = {field.name for field in attrs.fields(registry.variant(old.kind, value).options)}
        shared = {name: option for name, option in unstructure(old).items() if name in options}
        return {"name": value, **shared}
    return merge(unstructure(old), value)


def _instead(node: Any, name: str | int) -> str | None:
    """Return the field of a section that has no value where the named one has, as `steps` has none beside `epochs`."""
    field = attrs.fields_dict(type(node)).get(str(name)) if attrs.has(type(node)) else None
    return None if field is None else field.metadata.get(INSTEAD_OF)


def _put(tree: Any, steps: Steps, value: Any) -> None:
    for step in steps[:-1]:
        tree = tree[step]
    last = steps[-1]
    value = copy.deepcopy(value)
    if isinstance(tree, list) and last == len(tree):
        tree.append(value)
    else:
        tree[last] = value
