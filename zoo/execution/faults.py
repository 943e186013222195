"""An executor at work: what it does wrong is told in one message, which names it and its plugin."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from zoo.errors import PluginError, ZooError, described, is_interruption
from zoo.execution.contract import Work
from zoo.execution.events import Ended, EpochFinished, Event, Lost, Started
from zoo.registry import Variant
from zoo.registry.options import Choice
from zoo.registry.registry import SINGLE_FILE
from zoo.train.run import EpochRecord, Run

_END = object()


def wrong(executor: Variant, what: str) -> PluginError:
    """Return the error of an executor that does not do what it must."""
    file = f"--plugin {shlex.quote(executor.plugin.file)} " if executor.plugin.distribution == SINGLE_FILE else ""
    return PluginError(
        f"the executor {executor.name} of plugin {executor.plugin} {what}: `zoo {file}check executor:{executor.name}` "
        "finds out what is wrong with it"
    )


@contextmanager
def at_work(executor: Choice, work: Work) -> Iterator[Iterator[Event]]:
    """Give an executor its work, yield the events that it tells, and stop it at the end.

    Raises:
        PluginError: it raised something that is no message for people, or told something that is no event.
    """
    variant = work.registry.variant("executor", executor.name)
    with _named(variant):
        events = variant.make(executor.values(), work=work)
    if not hasattr(events, "close"):
        raise wrong(variant, f"gave an object of type {type(events).__name__}, not a generator of events")
    try:
        yield _checked(variant, events)
    except BaseException:
        try:
            with _named(variant):
                events.close()
        except PluginError as error:  # why the work ends matters more
            work.say(str(error))
        raise
    with _named(variant):
        events.close()


def _checked(variant: Variant, events: Any) -> Generator[Event]:
    with _named(variant):
        told = iter(events)
    while True:
        with _named(variant):
            event = next(told, _END)
        if event is _END:
            return
        yield _required(variant, event)


def _required(executor: Variant, told: object) -> Event:
    """Return what is told, if it is an event.

    Raises:
        PluginError: it is none.
    """
    if not isinstance(told, Started | EpochFinished | Ended | Lost):
        raise wrong(executor, f"told a {type(told).__name__}, which is no event")
    name = type(told).__name__
    if not isinstance(told.run, Run):
        raise wrong(executor, f"told {name} of a {type(told.run).__name__}, not of a run")
    if isinstance(told, EpochFinished) and not isinstance(told.record, EpochRecord):
        raise wrong(executor, f"told {name} with a {type(told.record).__name__}, not with a record")
    return told


@contextmanager
def _named(executor: Variant) -> Iterator[None]:
    """Name the executor in what it raises; let through messages for people, and Ctrl-C."""
    try:
        yield
    except ZooError:
        raise
    except BaseException as error:  # a plugin may also call sys.exit
        if is_interruption(error):
            raise
        if isinstance(error.__context__, KeyboardInterrupt):  # what it did to stop failed
            raise KeyboardInterrupt from error
        raise wrong(executor, f"raised {described(error)} ({_place(error, executor)})") from error


def _place(error: BaseException, executor: Variant) -> str:
    """Say where it was raised: in the plugin's own file, else in what that called."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == executor.plugin.file]
    frame = (own or frames)[-1]
    return f"line {frame.lineno} of {frame.filename}"
