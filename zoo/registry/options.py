"""The types that options are declared with, and how values are checked against them.

An option is a keyword parameter of a variant's factory; its annotation says what it accepts:

    def dropout(*, rate: Probability = 0.5) -> nn.Module: ...

A constrained type is `Annotated[type, Constraint(...)]`, so that the type checker sees a plain float and a
wrong value gets the message "expected a number from 0 to 1, got 1.5". Nothing is converted on the way in but a
whole number where a float is wanted: "5" is not 5.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from zoo.errors import PluginError


@attrs.frozen
class Constraint:
    """What a value must be beyond its type: `expected` completes "expected ...", `holds` decides."""

    expected: str
    holds: Callable[[Any], bool]


PositiveInt = Annotated[int, Constraint("a positive int", lambda v: v > 0)]
NonNegativeInt = Annotated[int, Constraint("an int of 0 or more", lambda v: v >= 0)]
Float = Annotated[float, Constraint("a finite number", math.isfinite)]
PositiveFloat = Annotated[float, Constraint("a positive number", lambda v: 0 < v < math.inf)]
NonNegativeFloat = Annotated[float, Constraint("a number of 0 or more", lambda v: 0 <= v < math.inf)]
Probability = Annotated[float, Constraint("a number from 0 to 1", lambda v: 0 <= v <= 1)]
Fraction = Annotated[float, Constraint("a number from 0 up to, but not including, 1", lambda v: 0 <= v < 1)]


@attrs.frozen
class Kind:
    """Marks a `Choice` with the kind that it chooses from, as in `Annotated[Choice, Kind("filter")]`."""

    name: str


@attrs.frozen
class Later:
    """Marks an option, or a field of a spec, that runs were stored without: its default is left out of identities.

    So those runs are found again. The default must mean what was done before there was the option.
    """


LATER = Later()


@attrs.frozen
class Choice:
    """One variant chosen for a slot, with all its options: `leaky_relu` with `slope=0.01`.

    In a spec it is written as a bare name or as a table with `name` and the options; as text, with the options that
    are not the defaults.
    """

    kind: str
    name: str

    def __class_getitem__(cls, kind: str) -> Any:
        """Return the type of an option that chooses a variant of a kind: `zoo.Choice["activation"]`."""
        return Annotated[cls, Kind(kind)]

    # By value: each registry derives an options class of its own.
    options: Any = attrs.field(eq=lambda options: attrs.astuple(options, recurse=False))
    """An instance of the variant's options class."""

    def values(self) -> dict[str, Any]:
        """Return the options as keyword arguments for the variant's factory; nested choices stay choices."""
        return attrs.asdict(self.options, recurse=False)

    def __str__(self) -> str:
        defaults = {field.name: field.default for field in attrs.fields(type(self.options))}
        # The default of a nested choice is a bare name, which is how a choice without options is written.
        stated = {k: v for k, v in self.values().items() if v != defaults[k] and str(v) != defaults[k]}
        options = ", ".join(f"{name}={value}" for name, value in stated.items())
        return f"{self.name}({options})" if options else self.name


_LAYER = "a factory returns a torch.nn.Module, and what is computed on a batch belongs into that module's forward"
BlockChoice = Annotated[Choice, Kind("block")]


def options_class(
    name: str, factory: Callable[..., object], given: tuple[str, ...], asked: tuple[str, ...] = ()
) -> tuple[type, tuple[str, ...]]:
    """Derive the attrs class of a factory's options from its signature.

    Parameters of the factory that are named in `given`, and those without a default that are named in `asked`, are
    supplied by whoever calls it; all others are options and need an annotation and a default.

    Returns:
        The class, and what of all that the factory takes.

    Raises:
        PluginError: the factory is no function or class, or has a parameter without annotation or default, a variadic
            one, one called "name", or one of a type that an option cannot have.
    """
    is_one = inspect.isroutine(factory) or inspect.isclass(factory)
    if not is_one:
        raise PluginError(f"{name}: a factory must be a function or a class, got {factory!r}")
    return _options_class(name, factory, given, asked)


@cache  # a process makes registries anew, of factories that stay
def _options_class(
    name: str, factory: Callable[..., object], given: tuple[str, ...], asked: tuple[str, ...]
) -> tuple[type, tuple[str, ...]]:
    parameters = _parameters(factory)
    without_default = [p.name for p in parameters if p.default is p.empty]
    given = (*given, *(name for name in asked if name in without_default))
    for parameter in parameters:
        where = f"{name}: parameter {parameter.name!r} of {factory.__qualname__}"
        try:
            _check_parameter(parameter, where, given)
        except PluginError as error:
            if "shape" not in given or parameter.default is not parameter.empty:
                raise
            raise PluginError(f"{error}. If it is meant to be a batch: {_LAYER}") from None
    options = [p for p in parameters if p.name not in given]
    types_ = _option_types(name, factory, {p.name: p.annotation for p in options})
    fields = {}
    for p in options:
        type_, is_later = without_later(types_[p.name])
        fields[p.name] = attrs.field(type=type_, default=p.default, metadata={LATER: is_later})
    cls = attrs.make_class("Options", fields, frozen=True, kw_only=True)
    taken = tuple(p.name for p in parameters if p.name in given)
    return cls, taken


def _parameters(factory: Callable[..., object]) -> list[inspect.Parameter]:
    parameters = inspect.signature(factory).parameters.values()
    if not inspect.isclass(factory) or "__init__" in vars(factory):
        return list(parameters)
    # An nn.Module without an __init__ of its own inherits one that takes anything, and so has no options.
    return [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _check_parameter(parameter: inspect.Parameter, where: str, given: tuple[str, ...]) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise PluginError(f"{where} must be a plain keyword parameter: spell out each option")
    if parameter.name in given:
        return
    if parameter.annotation is parameter.empty:
        raise PluginError(f"{where} has no type annotation: an option needs one, as in `{parameter.name}: float`")
    if parameter.default is parameter.empty:
        raise PluginError(
            f"{where} has no default: an option needs one (what the builder gives here is called "
            f"{', '.join(given) or 'nothing'})"
        )
    if parameter.name == "name":
        raise PluginError(f"{where}: an option cannot be called 'name', which states the variant")


def _option_types(name: str, factory: Callable[..., object], annotations: dict[str, Any]) -> dict[str, Any]:
    """Evaluate the annotations of a factory's options."""
    function = vars(factory).get("__init__", factory) if isinstance(factory, type) else factory
    # Only options are evaluated: a return type may name torch, which is not imported yet.
    holder = types.SimpleNamespace(__annotations__=annotations)
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        hints = get_type_hints(holder, globalns=names, include_extras=True)
    except Exception as error:
        raise PluginError(
            f"{name}: a type annotation of {factory.__qualname__} cannot be evaluated: {error}"
        ) from error
    for option, hint in hints.items():
        if not _can_be_read(without_later(hint)[0]):
            raise PluginError(
                f"{name}: parameter {option!r} of {factory.__qualname__} has the type {annotations[option]}, which an "
                "option cannot have: use bool, int, float, str, Literal[...], tuple[..., ...], a choice between those "
                "with |, or a type of zoo such as zoo.PositiveInt"
            )
    return hints


def _can_be_read(type_: Any) -> bool:
    """Whether a spec can state a value of the type: TOML has it, it is immutable, and it is checked all through."""
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Annotated:
        marks = [mark for mark in type_.__metadata__ if isinstance(mark, Constraint | Kind)]
        return len(marks) == 1 and (isinstance(marks[0], Kind) or _can_be_read(arguments[0]))
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is ... and _can_be_read(arguments[0])
    if is_union(type_):
        return all(member is type(None) or _can_be_read(member) for member in arguments)
    return origin is Literal or type_ in (bool, int, float, str)


def kinds_in(type_: Any) -> list[str]:
    """Return the kinds that an option of the type chooses from."""
    marks = [mark.name for mark in getattr(type_, "__metadata__", ()) if isinstance(mark, Kind)]
    return marks + [kind for argument in get_args(type_) for kind in kinds_in(argument)]


def without_later(type_: Any) -> tuple[Any, bool]:
    """Return a type without the mark `LATER`, and whether it had it."""
    if get_origin(type_) is not Annotated or LATER not in type_.__metadata__:
        return type_, False
    others = tuple(mark for mark in type_.__metadata__ if mark != LATER)
    return (Annotated[(type_.__origin__, *others)] if others else type_.__origin__), True


def is_later_default(field: attrs.Attribute[Any], value: Any) -> bool:
    """Whether a field that is marked as added later has its default."""
    if not field.metadata.get(LATER):
        return False
    # The default of a choice is a bare name, which is how a choice without options is written.
    return bool(value == field.default or (isinstance(value, Choice) and str(value) == field.default))


def is_union(type_: Any) -> bool:
    """Whether a type is written `A | B` or `Union[A, B]`."""
    return get_origin(type_) in (Union, types.UnionType)
