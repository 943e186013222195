"""The texts after --set and --vary as values by path."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import click

from zoo.cli.completion import complete_variant
from zoo.errors import SpecError
from zoo.spec.changes import joined
from zoo.spec.paths import parse_set, parse_values

Command = TypeVar("Command", bound=Callable[..., Any])
_SKIP_DAMAGED = "data.skip_damaged=true"


def sets_option(told: str) -> Callable[[Command], Command]:
    """Return what adds --set, told like that, and --skip-damaged, which is a --set; a command gets both as `sets`."""

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def called(*arguments: Any, sets: tuple[str, ...], skip_damaged: bool, **named: Any) -> Any:
            return command(*arguments, sets=(*sets, *[_SKIP_DAMAGED] * skip_damaged), **named)

        skip = click.option(
            "--skip-damaged", is_flag=True, help=f"Leave out files that cannot be read: --set {_SKIP_DAMAGED}."
        )
        sets = click.option(
            "--set", "sets", multiple=True, metavar="PATH=VALUE", shell_complete=complete_variant, help=told
        )
        return sets(skip(cast("Command", called)))

    return add


def read_sets(sets: Iterable[str], *, data: str | None = None, epochs: float | None = None) -> dict[str, Any]:
    """Return the values by path that --set, --data and --epochs state.

    Raises:
        SpecError: a text is no path and value, or a path is set twice.
    """
    return joined((parse_set(text) for text in sets), epochs=epochs, data=data)


_EXAMPLES = {"--vary": ("varied", "activation=relu,mish"), "--tune": ("tuned", "learning_rate=0.01,0.03,0.1")}


def read_variations(variations: Sequence[str], option: str = "--vary") -> dict[str, list[Any]]:
    """Return the values to try by path that --vary states, or another option of that form.

    Raises:
        SpecError: a text is no path and values, or a path is given twice.
    """
    verb, example = _EXAMPLES[option]
    values: dict[str, list[Any]] = {}
    for text in variations:
        path, equals, items = text.partition("=")
        path = path.strip()
        if not equals or not path or not items:
            raise SpecError(f"expected path=a,b,... after {option}, got {text!r}; for example {option} {example}")
        if path in values:
            raise SpecError(f"{path} is {verb} twice; write all of its values after one {option}")
        values[path] = parse_values(items)
    return values
