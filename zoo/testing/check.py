"""What a check is, and what comes of running one."""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import attrs

from zoo.errors import described, option, text_of

Result = Literal["passed", "failed", "expected failure", "skipped", "fact"]


class FailedError(Exception):
    """What a check found wrong: where, and what it was."""


class SkippedError(Exception):
    """Why a check cannot be made of this subject, or on this machine."""


class Passed(str):
    """What is said of a check that passed."""


def require(holds: bool, found: str) -> None:
    """Fail the check unless something holds.

    Raises:
        FailedError: it does not; with what was found instead.
    """
    if not holds:
        raise FailedError(found)


@attrs.frozen
class Check:
    """A function that is given a subject, and raises `FailedError` or `SkippedError`, or returns a fact or `Passed`.

    The function's name is the check's. Its docstring says in three paragraphs what is expected, why ("Why: ...") and
    what to do where it is not so ("Mend: ...").

    Attributes:
        slow: it takes seconds, and is made only where it is asked for.
        around: what is entered while it is made.
        limited: it may be stopped when it takes too long.
    """

    function: Callable[[Any], str | None]
    slow: bool = False
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    limited: bool = True

    @property
    def name(self) -> str:
        """What it is called."""
        return self.function.__name__

    @property
    def expected(self) -> str:
        """What is expected, in a sentence."""
        return self._paragraph("")

    @property
    def why(self) -> str:
        """Why that matters."""
        return self._paragraph("Why: ")

    @property
    def mend(self) -> str:
        """What to do where it is not so."""
        return self._paragraph("Mend: ")

    def _paragraph(self, start: str) -> str:
        paragraphs = (inspect.getdoc(self.function) or "").split("\n\n")
        return " ".join(next((text for text in paragraphs if text.startswith(start)), "").removeprefix(start).split())


@attrs.frozen
class Outcome:
    """What came of a check; `note` is what was found, the reason, or the fact."""

    check: Check
    result: Result
    note: str = ""


def run(
    check: Check, subject: Any, *, expected: Mapping[str, str], slow: bool = False, limit: float | None = None
) -> Outcome:
    """Make a check.

    Args:
        check: the check.
        subject: what is checked.
        expected: why the subject is expected to fail checks, by their names. One that passes after all has failed.
        slow: make it even if it takes seconds.
        limit: stop it after so many seconds, where this can be done; see `_Limit`.
    """
    if check.slow and not slow:
        return Outcome(check, "skipped", f"it takes seconds; ask for it with {option('slow')}")
    reason = expected.get(check.name)
    time = _Limit(limit if check.limited else None)
    try:
        with check.around(), time:
            fact = check.function(subject)
    except KeyboardInterrupt:
        if not time.is_up:
            raise
        return Outcome(check, "skipped", f"it was stopped after {limit:g} s; {option('limit')} sets another limit")
    except SkippedError as skipped:
        return Outcome(check, "skipped", str(skipped))
    except (Exception, SystemExit) as error:
        if reason is not None:
            return Outcome(check, "expected failure", reason)
        return Outcome(check, "failed", text_of(error) if isinstance(error, FailedError) else raised(error))
    if reason is not None:
        return Outcome(check, "failed", f'it passes, but is declared to fail: "{reason}"; delete that declaration')
    return Outcome(check, "passed" if fact is None or isinstance(fact, Passed) else "fact", fact or "")


class _Limit:
    """Lets what takes longer end as Ctrl-C would, which all that catches what plugins raise lets through.

    Only the main thread of a process can be interrupted, and not on Windows; elsewhere there is no limit. torch is not
    interrupted within one operation.
    """

    def __init__(self, seconds: float | None) -> None:
        here = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
        self._seconds = seconds if here else None
        self.is_up = False

    def __enter__(self) -> None:
        if self._seconds is not None:
            self._before = signal.signal(signal.SIGALRM, self._stop)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *raised: object) -> None:
        if self._seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)

    def _stop(self, number: int, frame: object) -> None:
        self.is_up = True
        raise KeyboardInterrupt


def raised(error: BaseException) -> str:
    """Say in one line what was raised."""
    return f"it raised {described(error)}"[:400]
