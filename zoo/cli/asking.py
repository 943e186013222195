"""Asking before what takes long."""

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
        ZooError: there is nobody to ask.
    """
    if seconds <= ASK_ABOVE:
        return True
    if not interactive():
        raise ZooError(f"that is over {rough_duration(ASK_ABOVE)}: say --yes to go on, or cut it down with {remedy}")
    return click.confirm(f"Go on? ({cut_by} cut it down)", err=True)


def interactive() -> bool:
    """Tell whether there is somebody to ask."""
    return sys.stdin.isatty()
