"""What a spec is: one network and its training as pure data, read from TOML or Python and fully validated.

A resolved spec has every default written out; its identity is the digest of that. Reading one needs the registry
(which options does `leaky_relu` have?) but never torch.
"""

from __future__ import annotations

import hashlib
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

from zoo.errors import SpecError, near_misses
from zoo.options import (
    BlockChoice,
    Choice,
    Constraint,
    Float,
    Fraction,
    Kind,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    is_union,
)
from zoo.registry import Registry

Part = Literal["filter", "normalization", "activation", "pooling", "dropout"]
DensePart = Literal["linear", "normalization", "activation", "dropout"]
EACH_ONCE = Constraint("a list of parts, each at most once", lambda parts: len(set(parts)) == len(parts))


def chosen(name: str) -> Any:
    """Return the default of a field that holds a choice; reading a spec turns the name into the choice."""
    return name


ActivationChoice = Annotated[Choice, Kind("activation")]
NormalizationChoice = Annotated[Choice, Kind("normalization")]
DropoutChoice = Annotated[Choice, Kind("dropout")]


@attrs.frozen(kw_only=True)
class Block:
    """A feature block: parts, the order in which they follow each other, and how `block` connects them.

    A part that `order` leaves out is not built.
    """

    filters: PositiveInt
    block: BlockChoice = chosen("plain")
    filter: Annotated[Choice, Kind("filter")] = chosen("conv")
    normalization: NormalizationChoice = chosen("none")
    activation: ActivationChoice = chosen("relu")
    pooling: Annotated[Choice, Kind("pooling")] = chosen("none")
    dropout: DropoutChoice = chosen("none")
    order: Annotated[tuple[Part, ...], EACH_ONCE] = get_args(Part)


@attrs.frozen(kw_only=True)
class Dense:
    """A fully connected layer of the classifier, with the parts around it."""

    units: PositiveInt
    normalization: NormalizationChoice = chosen("none")
    activation: ActivationChoice = chosen("relu")
    dropout: DropoutChoice = chosen("none")
    order: Annotated[tuple[DensePart, ...], EACH_ONCE] = get_args(DensePart)


@attrs.frozen(kw_only=True)
class NetworkSpec:
    """Feature blocks, dense layers, and a last dense layer to the classes, which is always there and gives logits."""

    features: tuple[Block, ...]
    classifier: tuple[Dense, ...] = ()
    initializer: Annotated[Choice, Kind("initializer")] = chosen("default")


@attrs.frozen(kw_only=True)
class TrainingSpec:
    """How the network is trained.

    The learning rate is the optimizer's option; it rises linearly over the share `warmup` of the steps, then follows
    the schedule.
    """

    epochs: PositiveInt
    batch_size: PositiveInt = 64
    shuffle: bool = True
    optimizer: Annotated[Choice, Kind("optimizer")] = chosen("sgd")
    schedule: Annotated[Choice, Kind("schedule")] = chosen("constant")
    warmup: Fraction = 0.0
    loss: Annotated[Choice, Kind("loss")] = chosen("cross_entropy")
    augmentation: tuple[Annotated[Choice, Kind("augmentation")], ...] = ()


@attrs.frozen(kw_only=True)
class DataSpec:
    """What the network is trained on.

    `resize` is the side in pixels that images are brought to; `validation` is the share held out of the training
    set; pixels p in [0, 1] become (p - mean) / std, where "train" means each channel's own over the training set.
    """

    dataset: str
    resize: PositiveInt | None = None
    validation: Fraction = 0.0
    mean: Float | Literal["train"] = 0.5
    std: PositiveFloat | Literal["train"] = 1.0


@attrs.frozen(kw_only=True)
class EvaluationSpec:
    """When and how recall is measured.

    `every` is in epochs (0: only after the last). `measure` is "final" (macro recall after the last epoch) or
    "eq2425" (mean over the evaluated epochs of the mean over batches of each batch's macro recall).
    """

    every: NonNegativeInt = 1
    measure: Literal["final", "eq2425"] = "final"


@attrs.frozen(kw_only=True)
class Reference:
    """What a publication reports for a spec: recalls from 0 to 1, a runtime in its own words, and where it stands."""

    source: str
    train_recall: Float | None = None
    test_recall: Float | None = None
    runtime: str | None = None
    note: str | None = None


@attrs.frozen(kw_only=True)
class Spec:
    """A resolved spec."""

    name: str
    description: str
    network: NetworkSpec
    training: TrainingSpec
    data: DataSpec
    evaluation: EvaluationSpec = EvaluationSpec()
    reference: Reference | None = None

    @property
    def identity(self) -> str:
        """The SHA-256 of all that decides the figures except the data set, which has a digest of its own."""
        tree = unstructure(self)
        for name in ("name", "description", "reference"):
            del tree[name]
        del tree["data"]["dataset"]
        return hashlib.sha256(canonical_json(tree).encode()).hexdigest()

    def choices(self) -> list[Choice]:
        """Return every choice in the spec, nested ones included."""
        found: list[Choice] = []

        def collect(node: Any) -> None:
            if isinstance(node, Choice):
                found.append(node)
                collect(tuple(node.values().values()))
            elif attrs.has(type(node)):
                collect(tuple(attrs.asdict(node, recurse=False).values()))
            elif isinstance(node, tuple):
                for item in node:
                    collect(item)

        collect(self)
        return found


for _class in (Block, Dense, NetworkSpec, TrainingSpec, DataSpec, EvaluationSpec, Reference, Spec):
    attrs.resolve_types(_class)

SECTIONS = ("network", "training", "data", "evaluation")
_ABOUT = ("description", "reference")


def canonical_json(tree: object) -> str:
    """Return the one JSON text of a tree of plain data: sorted keys, no spaces, no NaN."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)


def unstructure(value: Any) -> Any:
    """Turn a spec, or any part of one, into plain dictionaries, lists, strings and numbers."""
    if isinstance(value, Choice):
        return {"name": value.name, **{k: unstructure(v) for k, v in value.values().items()}}
    if attrs.has(type(value)):
        return {k: unstructure(v) for k, v in attrs.asdict(value, recurse=False).items()}
    if isinstance(value, tuple | list):
        return [unstructure(item) for item in value]
    return value


def structure(tree: Mapping[str, Any], name: str, registry: Registry) -> Spec:
    """Turn plain data into a spec, checking every value.

    Raises:
        SpecError: names every wrong value by its path, with what was expected.
    """
    network = tree.get("network")
    if isinstance(network, Mapping) and "defaults" in network:
        defaults = network["defaults"]
        # Alone first: what is wrong with them is said once, and not of each block.
        block = {"filters": 1, **defaults} if isinstance(defaults, Mapping) else defaults
        _read(block, Block, "network.defaults", name, registry)
        tree = {**tree, "network": _with_defaults(network)}
    spec: Spec = _read({"description": "", **tree, "name": name}, Spec, "", name, registry)
    return spec


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


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        SpecError: the file cannot be read or is not TOML; with line and column.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpecError(f"cannot read the spec file {path}: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is not valid TOML: {error}") from error


def check_keys(tree: Mapping[str, Any], name: str) -> None:
    """Refuse unknown top-level keys, and a derived spec that also states sections of its own.

    Raises:
        SpecError: names the key.
    """
    allowed = ("base", "set", *_ABOUT) if "base" in tree else ("base", *SECTIONS, *_ABOUT)
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
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _ExpectedError("a finite number", value)
        return float(value)
    if type(value) is not wanted:
        raise _ExpectedError(_PLAIN_TYPES[wanted], value)
    return value


class _ExpectedError(ValueError):
    def __init__(self, expected: str, value: object) -> None:
        super().__init__(f"expected {expected}, got {json.dumps(value, default=repr)}")


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


def split_path(path: str) -> tuple[str, ...]:
    """Split `network.features[1].filter.size`, or the same with `.1.`, into its steps."""
    return tuple(_PATH_STEP.sub(r".\1", path).split("."))
