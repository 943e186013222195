"""Everything that can go wrong because of what zoo was given.

A `ZooError` is never a bug in zoo: its text says what is wrong, where, and what to do, and the command line
prints it without a traceback. Anything else that escapes is a bug in zoo or in a named plugin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from shlex import quote

WRONG_USAGE = 2
WORK_FAILED = 1
INTERRUPTED = 130


class ZooError(Exception):
    """Base of all errors that a user can mend. `exit_code` is what the command line ends with."""

    exit_code = WRONG_USAGE

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows instead of a traceback."""
        return [f"Error: {self}"]


class Stopped(KeyboardInterrupt):
    """Work was interrupted; says what is kept and how to go on."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


_deaf = False
"""Whether this process is a worker's, which Ctrl-C does not reach."""


def hear_no_interruption() -> None:
    """Take every KeyboardInterrupt for a plugin's from now on: nobody types to this process."""
    global _deaf
    _deaf = True


def is_interruption(error: BaseException) -> bool:
    """Whether it is Ctrl-C, and not what a plugin raises: of that, not even an exception like it ends all work."""
    return not _deaf and type(error) in (KeyboardInterrupt, Stopped)


def text_of(error: BaseException) -> str:
    """Return an exception's text, also where that raises itself, or is none that can be stored or printed."""
    try:
        return str(error).encode(errors="backslashreplace").decode()
    except BaseException as own:  # a plugin's
        if is_interruption(own):
            raise
        return f"(its text raised {type(own).__name__})"


def described(error: BaseException) -> str:
    """Return in one line what was raised: its type, and its text where it has one."""
    text = " ".join(text_of(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def lacks_memory(error: BaseException) -> bool:
    """Whether the computer's memory did not suffice, which torch tells as a RuntimeError."""
    texts = ("can't allocate memory", "not enough memory")  # on Linux and macOS, on Windows
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in text_of(error) for text in texts)
    )


class SpecError(ZooError):
    """A spec, a change, or an option of a variant is not valid."""


class UnknownNameError(ZooError):
    """A name that nothing is registered under."""


class PluginError(ZooError):
    """A plugin that cannot be used: it does not import, a hook raised, a name is taken."""


class BuildError(ZooError):
    """A valid spec that makes no network for the given input shape."""


class NothingTrainedError(ZooError):
    """A study whose runs cannot be judged: `failed` of those that it takes have failed, and the others are missing."""

    def __init__(self, text: str, *, failed: int) -> None:
        super().__init__(text)
        self.failed = failed


class DataError(ZooError):
    """A data set that is not at hand or cannot be read."""


class LedgerError(ZooError):
    """The ledger's file cannot be read or written."""

    exit_code = WORK_FAILED


class ClaimLostError(LedgerError):
    """Another process has taken over a run that this one was training."""


_dashed: ContextVar[bool] = ContextVar("dashed", default=False)


@contextmanager
def on_command_line() -> Iterator[None]:
    """Let `option` and `setting` write what they name as it is typed, and not as it is written in Python."""
    before = _dashed.set(True)
    try:
        yield
    finally:
        _dashed.reset(before)


def option(name: str, value: object = None) -> str:
    """Return an option as whoever reads of it gave it: "--device gpu", or "device='gpu'" in Python."""
    if _dashed.get():
        return f"--{name}" if value is None else f"--{name} {value}"
    name = "format_" if name == "format" else name.replace("-", "_")
    return name if value is None else f"{name}={value!r}"


def setting(path: str, value: object) -> str:
    """Return how a value of a spec is set: "--set data.resize=32", or "sets={'data.resize': 32}" in Python."""
    if _dashed.get():
        return f"--set {quote(f'{path}={str(value).lower() if isinstance(value, bool) else value}')}"
    return f"sets={ {path: value}!r}"


_MOST_NAMED = 6


def variations_of(name: str, known: Iterable[str]) -> list[str]:
    """Return the names of specs in which something of the spec of a name was varied."""
    return [other for other in dict.fromkeys(known) if other.startswith(f"{name}[")]


def near_misses(name: str, known: Iterable[str]) -> str:
    """Return what completes "there is no 'nam'": "; did you mean name?", or "." when none is near.

    Nearest to the name of a spec are those of its variations, such as "name[activation=mish]".
    """
    known = list(known)
    if variations := variations_of(name, known):
        more = f", or one of {len(variations) - _MOST_NAMED} more" if len(variations) > _MOST_NAMED else ""
        return f"; did you mean {' or '.join(variations[:_MOST_NAMED])}{more}?"
    by_lower = {k.lower(): k for k in known}
    close = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]
    if not close:
        tail = name.lower().rpartition("/")[2]
        close = [k for k in by_lower.values() if tail and k.lower().rpartition("/")[2] == tail][:3]
    return f"; did you mean {' or '.join(close)}?" if close else "."
