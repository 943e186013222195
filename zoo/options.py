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
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

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
class Choice:
    """One variant chosen for a slot, with all its options: `leaky_relu` with `slope=0.01`.

    In a spec it is written as a bare name or as a table with `name` and the options; as text, with the options that
    are not the defaults.
    """

    kind: str
    name: str
    options: Any
    """An instance of the variant's options class."""

    def values(self) -> dict[str, Any]:
        """Return the options as keyword arguments for the variant's factory; nested choices stay choices."""
        return attrs.asdict(self.options, recurse=False)

    def __str__(self) -> str:
        stated = (f for f in attrs.fields(type(self.options)) if getattr(self.options, f.name) != f.default)
        options = ", ".join(f"{f.name}={getattr(self.options, f.name)}" for f in stated)
        return f"{self.name}({options})" if options else self.name


BlockChoice = Annotated[Choice, Kind("block")]


def options_class(name: str, factory: Callable[..., object], given: tuple[str, ...]) -> tuple[type, tuple[str, ...]]:
    """Derive the attrs class of a factory's options from its signature.

    Parameters of the factory that are named in `given` are supplied by whoever calls it; all others are options
    and need an annotation and a default.

    Returns:
        The class, and the part of `given` that the factory takes.

    Raises:
        PluginError: a parameter without annotation or default, a variadic one, or one called "name".
    """
    parameters = inspect.signature(factory).parameters.values()
    options = [p for p in parameters if p.name not in given]
    function = vars(factory).get("__init__", factory) if isinstance(factory, type) else factory
    annotations = {}
    for parameter in options:
        where = f"{name}: parameter {parameter.name!r} of {factory.__qualname__}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise PluginError(f"{where} must be a plain keyword parameter: spell out each option")
        if parameter.annotation is parameter.empty:
            raise PluginError(f"{where} has no type annotation: an option needs one, as in `{parameter.name}: float`")
        if parameter.default is parameter.empty:
            raise PluginError(
                f"{where} has no default: an option needs one (what the builder gives here is called "
                f"{', '.join(given) or 'nothing'})"
            )
        if parameter.name == "name":
            raise PluginError(f"{where}: an option cannot be called 'name', which states the variant")
        annotations[parameter.name] = parameter.annotation
    # Only options are evaluated: a return type may name torch, which is not imported yet.
    holder = types.SimpleNamespace(__annotations__=annotations)
    try:
        hints = get_type_hints(
            holder, globalns=getattr(inspect.unwrap(function), "__globals__", {}), include_extras=True
        )
    except NameError as error:
        raise PluginError(
            f"{name}: a type annotation of {factory.__qualname__} cannot be evaluated: {error}"
        ) from error
    fields = {p.name: attrs.field(type=hints[p.name], default=p.default) for p in options}
    cls = attrs.make_class(f"{factory.__name__}_options", fields, frozen=True, kw_only=True)
    taken = tuple(p.name for p in parameters if p.name in given)
    return cls, taken


def option_types(cls: type) -> Mapping[str, Any]:
    """Return the declared type of each option of an options class, by name."""
    return {field.name: field.type for field in attrs.fields(cls)}
