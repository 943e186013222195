"""What public methods share: misspelt arguments are told, Ctrl-C waits for imports, lists of arguments are common."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from zoo.errors import UnknownNameError, near_misses
from zoo.importing import interrupted_after

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Class = TypeVar("Class", bound=type)


def arguments_of(
    model: Callable[Parameters, object],
) -> Callable[[Callable[..., Returned]], Callable[Parameters, Returned]]:
    """Let a method take the arguments of another one: its signature and its help say so, and type checkers know it."""

    def decorate(method: Callable[..., Returned]) -> Callable[Parameters, Returned]:
        returned = inspect.signature(method).return_annotation
        method.__signature__ = inspect.signature(model).replace(return_annotation=returned)  # type: ignore[attr-defined]
        first, *others = inspect.cleandoc(method.__doc__ or "").split("\n\n")
        stated = [part for part in inspect.cleandoc(model.__doc__ or "").split("\n\n") if part.startswith("Args:")]
        method.__doc__ = "\n\n".join([first, *stated, *others])
        return method

    return decorate


def told_misspelt(cls: Class) -> Class:
    """Let the public methods of a class, and what makes it, say which argument a misspelt name may mean."""
    for name, method in _public(cls).items():
        setattr(cls, name, checked(method, cls.__name__ if name == "__init__" else f"{cls.__name__}.{name}"))
    return cls


def importing_whole(cls: Class) -> Class:
    """Let Ctrl-C wait, in the public methods of a class, until what they import is there."""
    for name, method in _public(cls).items():
        setattr(cls, name, interrupted_after()(method))
    return cls


def _public(cls: type) -> dict[str, FunctionType]:
    return {
        name: method
        for name, method in vars(cls).items()
        if isinstance(method, FunctionType) and (name == "__init__" or not name.startswith("_"))
    }


def checked(function: Callable[Parameters, Returned], called: str) -> Callable[Parameters, Returned]:
    """Return a function that refuses names of arguments that it does not have, and says which are like them."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    stated = inspect.signature(function).parameters.values()
    known = [one.name for one in stated if one.kind in kinds and one.name != "self"]

    @wraps(function)
    def called_by_name(*values: Any, **named: Any) -> Returned:
        for name in named:
            if name not in known:
                its = f"It takes {', '.join(known) or 'none by name'}."
                raise UnknownNameError(f"{called} has no argument {name!r}{near_misses(name, known)} {its}")
        return function(*values, **named)

    return called_by_name
