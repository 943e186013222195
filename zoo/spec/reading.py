"""Reading a spec: plain data, from TOML or Python, is validated value by value and becomes a `Spec`.

It needs the registry (which options does `leaky_relu` have?) but never torch.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn

from zoo.characters import control_in, not_in_a_name
from zoo.errors import SpecError, near_misses
from zoo.registry import Registry
from zoo.registry.options import Choice, Constraint, Kind, is_union
from zoo.spec.fields import ABOUT, EVERYWHERE, NO_WEIGHTS, SECTIONS, Block, Replace, Spec, Weights, unstructure
from zoo.spec.weights import digest_at_hand


def structure(tree: Mapping[str, Any], name: str, registry: Registry) -> Spec:
    """Turn plain data into a spec, checking every value.

    Raises:
        SpecError: names every wrong value by its path, with what was expected.
    """
    network = tree.get("network")
    if isinstance(network, Mapping):
        _check_form(network, name)
        if network.get("architecture") is not None:
            # Written out where there is none, so that the path `activation` leads to it.
            network = {**network, "replace": _with_places({} if (r := network.get("replace")) is None else r, name)}
        if "weights" in network:
            network = {**network, "weights": _as_weights(network["weights"], name)}
        tree = {**tree, "network": network}
    if isinstance(network, Mapping) and "defaults" in network:
        defaults = network["defaults"]
        # Alone first: what is wrong with them is said once, and not of each block.
        block = {"filters": 1, **defaults} if isinstance(defaults, Mapping) else defaults
        _read(block, Block, "network.defaults", name, registry)
        tree = {**tree, "network": _with_defaults(network)}
    spec: Spec = _read({"description": "", **tree, "name": name}, Spec, "", name, registry)
    return _with_digest(spec, registry)


def _check_form(network: Mapping[str, Any], name: str) -> None:
    """Refuse a network that is neither made of blocks nor an architecture, or both."""
    if network.get("architecture") is None:
        if "features" not in network:
            raise SpecError(f"spec {name!r}: network.features: required, but not there")
        if network.get("replace") is not None:
            raise SpecError(f"spec {name!r}: network.replace: only the layers of an architecture are replaced")
        if network.get("weights") not in (None, NO_WEIGHTS):
            raise SpecError(f"spec {name!r}: network.weights: only an architecture starts from weights of a file")
        return
    if network.get("output") is not None:
        raise SpecError(f"spec {name!r}: network.output: only of blocks; an architecture makes its own logits")
    blocks = [field for field in ("features", "classifier", "defaults") if network.get(field)]
    if blocks:
        raise SpecError(
            f"spec {name!r}: network: it has an architecture, and {' and '.join(blocks)} too; a network is one or the "
            "other: leave out one of them"
        )


def _as_weights(value: Any, name: str) -> Any:
    """Return starting weights that are written as their source alone as a table."""
    if value is None or value == NO_WEIGHTS:
        return None
    if isinstance(value, str):
        return {"source": value}
    if isinstance(value, Mapping | Weights):
        return value
    raise SpecError(
        f'spec {name!r}: network.weights: expected "file:PATH", the name of published weights, or "{NO_WEIGHTS}", got '
        f"{json.dumps(value, default=repr)}"
    )


def _with_digest(spec: Spec, registry: Registry) -> Spec:
    """Write down what the file of the starting weights holds, where that is not stated."""
    weights, architecture = spec.network.weights, spec.network.architecture
    if weights is None or architecture is None or weights.digest is not None:
        return spec
    try:
        digest = digest_at_hand(weights, architecture.name, registry)
    except SpecError as error:
        raise SpecError(f"spec {spec.name!r}: network.weights: {error}") from None
    return attrs.evolve(spec, network=attrs.evolve(spec.network, weights=attrs.evolve(weights, digest=digest)))


def _with_places(replace: Any, name: str) -> Any:
    """Write tables under a pattern, `"layer4.*" = {activation = "mish"}`, as the places of a spec, in one order."""
    if isinstance(replace, Replace):
        replace = unstructure(replace)
    if not isinstance(replace, Mapping):
        return replace
    fields = [field.name for field in attrs.fields(Replace)]
    tables = {at: table for at, table in replace.items() if at not in fields and isinstance(table, Mapping)}
    listed = replace.get("places", ())
    if not isinstance(listed, list | tuple):
        return replace
    places = [*(unstructure(place) for place in listed), *({"at": at, **table} for at, table in tables.items())]
    patterns = [place.get("at") for place in places if isinstance(place, Mapping)]
    if twice := [at for at in patterns if at == EVERYWHERE or patterns.count(at) > 1]:
        what = "what stands everywhere is stated without a pattern" if twice[0] == EVERYWHERE else "it is stated twice"
        raise SpecError(f'spec {name!r}: network.replace."{twice[0]}": {what}')
    if len(patterns) == len(places) and all(isinstance(at, str) for at in patterns):
        places.sort(key=lambda place: place["at"])
    return {**{key: value for key, value in replace.items() if key not in tables}, "places": places}


def _read(value: object, cls: type, path: str, name: str, registry: Registry) -> Any:
    return read_as(cls, value, f"spec {name!r}", registry, path=path)


def read_as(cls: type, value: object, what: str, registry: Registry, *, path: str = "") -> Any:
    """Turn plain data into an attrs class, checking every value.

    Args:
        cls: the class.
        value: the data.
        what: it is of, for the message.
        registry: where variants are looked up.
        path: of the value within `what`.

    Raises:
        SpecError: names every wrong value by its path, with what was expected.
    """
    try:
        return _converter(registry).structure(value, cls)
    except (cattrs.BaseValidationError, _ExpectedError) as error:
        lines = _messages(error, path)
        heading = f"{what} is not valid:\n  " if len(lines) > 1 else f"{what}: "
        raise SpecError(heading + "\n  ".join(lines)) from None


def read_choice(kind: str, value: object, what: str, registry: Registry) -> Choice:
    """Turn a variant's name, or a mapping with `name` and options, into a choice of a kind.

    Raises:
        SpecError: there is no such variant, or an option is not valid; `what` says where it was stated.
    """
    choice: Choice = read_as(Annotated[Choice, Kind(kind)], value, what, registry)  # type: ignore[arg-type]
    return choice


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        SpecError: the file cannot be read or is not TOML; with line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows put a byte order mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpecError(f"cannot read the spec file {path}: {reason}") from error
    try:
        return parse_toml(text)
    except ValueError as error:
        raise SpecError(f"{path} is not valid TOML: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML.

    Raises:
        ValueError: it is not valid, nested too deep, or has a number of more than the 64 bits that TOML allows.
    """
    try:
        tree = tomllib.loads(text)
        _check_numbers(tree)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError:  # of Python, which reads no more than 4,300 digits
        raise ValueError(_TOO_LONG) from None
    return tree


_TOO_LONG = "it has a whole number of more than 64 bits"


def _check_numbers(node: Any) -> None:
    if isinstance(node, int) and not _fits(node):
        raise ValueError(_TOO_LONG)
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        _check_numbers(child)


def _fits(value: int) -> bool:
    return -(2**63) <= value < 2**63


def check_keys(tree: Mapping[str, Any], name: str) -> None:
    """Refuse a name that is no text, unknown top-level keys, and a derived spec that also states sections of its own.

    Raises:
        SpecError: names the character or the key.
    """
    if (character := not_in_a_name(name)) is not None:
        raise SpecError(f"spec {name!r}: its name holds {character}, which is no text; rename it")
    allowed = ("base", "set", *ABOUT) if "base" in tree else ("base", *SECTIONS, *ABOUT)
    for key in tree:
        if key in allowed:
            continue
        if "base" in tree and key in SECTIONS:
            raise SpecError(
                f"spec {name!r}: it has a base, so it changes [{key}] by paths under [set], not by a section"
            )
        if key == "set":
            raise SpecError(f"spec {name!r}: it has a set, but no base whose values it could change")
        near = near_misses(str(key), allowed)
        raise SpecError(f"spec {name!r}: unknown key {key!r}{near} It takes {', '.join(allowed)}.")


def merge(default: Any, own: Any) -> Any:
    """Return `own` with what it leaves open taken from `default`.

    A table without a `name` keeps the default's variant and the options that it does not state.
    """
    if isinstance(own, Mapping) and "name" not in own:
        if isinstance(default, str):
            default = {"name": default}
        if isinstance(default, Mapping):
            return {**default, **own}
    return own


def _with_defaults(network: Mapping[str, Any]) -> dict[str, Any]:
    """Write `defaults` into each block and drop it; blocks that are no tables are left for validation."""
    rest = {key: value for key, value in network.items() if key != "defaults"}
    defaults, features = network["defaults"], network.get("features")
    if isinstance(features, list | tuple):
        rest["features"] = [
            {**defaults, **{key: merge(defaults.get(key), value) for key, value in block.items()}}
            if isinstance(block, Mapping)
            else block
            for block in features
        ]
    return rest


def describe_type(type_: Any) -> str:
    """Say in words what a field of this type accepts: "a positive int", "one of "valid", "same""."""
    origin = get_origin(type_)
    if origin is Annotated:
        mark = next(mark for mark in type_.__metadata__ if isinstance(mark, Constraint | Kind))
        return mark.expected if isinstance(mark, Constraint) else f"the name of {_a(mark.name)}, or a table"
    if origin is Literal:
        return "one of " + ", ".join(json.dumps(value) for value in get_args(type_))
    if origin is tuple:
        return f"a list of: {describe_type(get_args(type_)[0])}"
    if is_union(type_):
        return " or ".join(describe_type(m) for m in get_args(type_) if m is not type(None))
    return _PLAIN_TYPES.get(type_, getattr(type_, "__name__", str(type_)))


_PLAIN_TYPES = {int: "an int", float: "a number", bool: "true or false", str: "a string"}


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _plain(value: Any, wanted: type) -> Any:
    if isinstance(value, int) and not _fits(value):
        raise _TooLongError("a whole number of at most 64 bits", value)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _ExpectedError("a finite number", value)
        return float(value)
    if type(value) is not wanted:
        raise _ExpectedError(_PLAIN_TYPES[wanted], value)
    if isinstance(value, str) and control_in(value):
        raise _ExpectedError("text without control characters", value)
    return value


class _ExpectedError(ValueError):
    def __init__(self, expected: str, value: object) -> None:
        super().__init__(f"expected {expected}, got {json.dumps(value, default=repr)}")


class _TooLongError(_ExpectedError):
    """Of a number that torch cannot take."""


@lru_cache(maxsize=4)
def _converter(registry: Registry) -> cattrs.Converter:
    """Make the converter that checks values against the registry's variants."""
    converter = cattrs.Converter(forbid_extra_keys=True)

    def choice(value: Any, type_: Any) -> Choice:
        kind = next(mark.name for mark in type_.__metadata__ if isinstance(mark, Kind))
        if isinstance(value, Choice):
            value = unstructure(value)
        table = {"name": value} if isinstance(value, str) else value
        if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
            raise _ExpectedError(f"the name of {_a(kind)}, or a table with `name` and its options", value)
        variant = registry.variant(kind, table["name"])
        given = {name: option for name, option in table.items() if name != "name"}
        return Choice(kind, variant.name, converter.structure(given, variant.options))

    def constrained(value: Any, type_: Any) -> Any:
        constraint = next(mark for mark in type_.__metadata__ if isinstance(mark, Constraint))
        try:
            plain = converter.structure(value, get_args(type_)[0])
        except _TooLongError:
            raise
        except (ValueError, TypeError):
            raise _ExpectedError(constraint.expected, value) from None
        if not constraint.holds(plain):
            raise _ExpectedError(constraint.expected, value)
        return plain

    def literal(value: Any, type_: Any) -> Any:
        if not any(value == allowed and type(value) is type(allowed) for allowed in get_args(type_)):
            raise _ExpectedError("one of " + ", ".join(json.dumps(v) for v in get_args(type_)), value)
        return value

    def union(value: Any, type_: Any) -> Any:
        expected = []
        for member in get_args(type_):
            if member is type(None):
                if value is None:
                    return None
                continue
            try:
                return converter.structure(value, member)
            except _ExpectedError as error:
                expected.append(str(error).removeprefix("expected ").rpartition(", got ")[0])
        raise _ExpectedError(" or ".join(expected), value)

    def sequence(value: Any, type_: Any) -> tuple[Any, ...]:
        (item, *_) = get_args(type_)
        if _has_mark(item, Kind) and isinstance(value, str | Mapping | Choice):
            value = [value]
        if not isinstance(value, list | tuple):
            raise _ExpectedError("a list", value)
        return tuple(converter.structure(list(value), list[item]))  # type: ignore[valid-type]

    def table(cls: type) -> Callable[[Any, Any], Any]:
        read: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
        # A default is read like a stated value, so that both have one identity: 1 for a float becomes 1.0.
        defaults = {f.name: unstructure(f.default) for f in attrs.fields(cls) if f.default is not attrs.NOTHING}

        def structure_table(value: Any, type_: Any) -> Any:
            if isinstance(value, cls):
                value = unstructure(value)
            if not isinstance(value, Mapping):
                raise _ExpectedError("a table", value)
            return read({**defaults, **value}, type_)

        return structure_table

    converter.register_structure_hook_factory(attrs.has, table)
    for type_ in _PLAIN_TYPES:
        converter.register_structure_hook(type_, _plain)
    register = converter.register_structure_hook_func
    register(lambda t: _origin(t) is Literal, literal)
    register(lambda t: _origin(t) is tuple, sequence)
    register(is_union, union)
    register(lambda t: _has_mark(t, Constraint), constrained)
    register(lambda t: _has_mark(t, Kind), choice)
    return converter


def _origin(type_: Any) -> Any:
    return get_origin(type_)


def _has_mark(type_: Any, mark: type) -> bool:
    return get_origin(type_) is Annotated and any(isinstance(m, mark) for m in type_.__metadata__)


def _messages(error: BaseException, path: str) -> list[str]:
    """Flatten cattrs' tree of errors into lines "path: what was expected"."""
    if isinstance(error, cattrs.BaseValidationError):
        lines = []
        for inner in error.exceptions:
            lines += _messages(inner, path + _step(inner))
        return lines
    where = path.lstrip(".") + ": " if path else ""
    if isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)]
        return [
            f"{where}unknown option {key!r}{near_misses(key, known)} It takes {', '.join(known) or 'no options'}."
            for key in sorted(map(str, error.extra_fields))
        ]
    if isinstance(error, KeyError):
        return [f"{path.lstrip('.')}: required, but not there"]
    return [f"{where}{error}"]


def _step(error: BaseException) -> str:
    """Return the part of the path that cattrs noted on an error: ".field" or "[index]"."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]"
        if isinstance(note, AttributeValidationNote):
            return f".{note.name}"
    return ""


_PATH_STEP = re.compile(r"\[(\d+|\*)\]")
_DOT = re.compile(r"""\.(?=(?:[^"]*"[^"]*")*[^"]*$)""")
"""A dot that is not within quotes."""


def split_path(path: str) -> tuple[str, ...]:
    """Split `network.features[1].filter.size`, or the same with `.1.`, into its steps; a step may stand in quotes."""
    steps: list[str] = []
    for step in _DOT.split(path):
        quoted = len(step) > 1 and step[0] == step[-1] == '"'
        steps += [step[1:-1]] if quoted else _PATH_STEP.sub(r".\1", step).split(".")
    return tuple(steps)
