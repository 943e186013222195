"""Asking before what takes long, and before what is removed."""

from __future__ import annotations

import sys

import click

from zoo.errors import ZooError
from zoo.report.text import rough_duration

ASK_ABOVE = 600.0
"""Estimated seconds above which it is asked first."""


def ask_if_long(seconds: float, *, cut_by: str, remedy: str) -> bool:
    """Ask whether to go on with work that takes long, and return the answer.

    Args:
        seconds: that it takes, about.
        cut_by: the options that cut it down, for the question.
        remedy: the same for the error, as the end of "say --yes to go on, or cut it down with ...".

    Raises:
        ZooError: there is no terminal to ask on.
    """
    if seconds <= ASK_ABOVE:
        return True
    if not interactive():
        raise ZooError(
            f"that is over {rough_duration(ASK_ABOVE)}, and there is no terminal to ask on: say --yes to go on, or cut "
            f"it down with {remedy}"
        )
    return click.confirm(f"Go on? ({cut_by} cut it down)", err=True)


def may_remove(what: str) -> bool:
    """Ask whether something may be removed, and return the answer; say that nothing was, where it is no.

    Args:
        what: the question is "Remove `what`?".

    Raises:
        ZooError: there is no terminal to ask on.
    """
    if not interactive():
        raise ZooError("nothing was removed: there is no terminal to ask on; say --yes to remove it")
    answer = click.confirm(f"Remove {what}?", err=True)
    if not answer:
        click.echo("Nothing was removed.", err=True)
    return answer


def interactive() -> bool:
    """Tell whether there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty()
