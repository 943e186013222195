"""Ctrl-C while something is imported, which would leave half of it in the process for as long as that lives."""

from __future__ import annotations

import importlib
import inspect
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from zoo.errors import ZooError

_AGAIN_SECONDS = 0.05

_machinery = vars(importlib._bootstrap)


@contextmanager
def interrupted_after() -> Iterator[None]:
    """Let Ctrl-C wait until nothing is being imported; it then raises KeyboardInterrupt as ever.

    Where it does not raise that, but means something of a program's own, it is left alone: the program `zoo` ends with
    it, and what is half imported with the program. Signals are the main thread's, so that other threads need nothing.

    Raises:
        ZooError: torch is half imported already.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    if "torch" not in sys.modules:
        require_whole("torch")
    waiting = _Waiting(_imports(sys._getframe()))
    signal.signal(signal.SIGINT, waiting)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        waiting.end()


class _Waiting:
    """A handler of SIGINT that looks again, soon, when it comes amid an import.

    Args:
        outer: how many imports were under way before, within which the work that may be interrupted is done.
    """

    def __init__(self, outer: int) -> None:
        self._outer = outer
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._look_no_more()
        if _imports(frame) <= self._outer:
            raise KeyboardInterrupt
        self._timer = threading.Timer(_AGAIN_SECONDS, _interrupt_main_thread)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Look no more.

        Raises:
            KeyboardInterrupt: one is still due.
        """
        if self._look_no_more():
            raise KeyboardInterrupt

    def _look_no_more(self) -> bool:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        return timer is not None


def _interrupt_main_thread() -> None:
    """Send SIGINT again, so that it ends a wait of the main thread, too, where the system can do that."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


def _imports(frame: FrameType | None) -> int:
    """Return how many functions of Python's import machinery are being carried out."""
    count = 0
    while frame is not None:
        count += frame.f_globals is _machinery
        frame = frame.f_back
    return count


def require_whole(package: str) -> None:
    """Refuse a package of which an import was broken off: what is left of it cannot be imported again.

    Raises:
        ZooError: a package within it is loaded, and what it stands in does not know it.
    """
    for name, module in list(sys.modules.items()):
        parent, _, last = name.rpartition(".")
        # Modules that are no packages are taken out of what they stand in on purpose here and there.
        is_package = name.startswith(f"{package}.") and _has(module, "__path__")
        if is_package and not _has(sys.modules.get(parent), last):
            raise ZooError(
                f"an import of {package} was interrupted in this process, and what it left behind does not work: "
                "start Python anew (in a notebook: restart the kernel)"
            )


def _has(module: object, name: str) -> bool:
    """Tell whether a module has an attribute, without asking it: some of torch's import what they are asked for."""
    return inspect.getattr_static(module, name, None) is not None
