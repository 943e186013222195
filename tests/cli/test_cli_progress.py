from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.benchmark import Plan
from zoo.execution.events import Ended, EpochFinished, Lost, Started
from zoo.report.progress import Display, TimeLeft
from zoo.report.text import AS_SLOW
from zoo.train.run import EpochRecord, Evaluation, Run, RunKey

SPEC = {"training": {"epochs": 2}, "evaluation": {"measure": "final"}}
RIGHT = {"test": Evaluation(((9, 1), (2, 8)))}


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_before_anything_is_done_the_plan_is_what_is_left() -> None:
    clock = Clock()
    left = TimeLeft(60, clock)
    clock.time += 30  # workers start
    assert left.range == (60, 60 * AS_SLOW)


@given(st.floats(1, 1e5), st.floats(0.2, 5), st.integers(4, 100))
def test_time_left_follows_how_long_the_work_takes(expected: float, slower: float, steps: int) -> None:
    clock = Clock()
    left = TimeLeft(expected, clock)
    for done in range(1, steps + 1):
        clock.time += expected * slower / steps
        left.advance(1 / steps)
        really = expected * slower * (1 - done / steps)
        low, high = left.range
        if done >= steps / 2:
            assert low == pytest.approx(really, rel=0.75, abs=1e-6 * expected)
            assert low <= high <= 4 * really + 1e-6 * expected
        if 1 <= slower <= AS_SLOW:
            assert low * 0.999 <= really + 1e-6 * expected
            assert really <= high * 1.001 + 1e-6 * expected
    assert left.range == pytest.approx((0, 0), abs=1e-6 * expected)


def test_the_range_narrows_as_epochs_end() -> None:
    clock = Clock()
    left = TimeLeft(1000, clock)
    widths = []
    for _ in range(9):
        clock.time += 150
        left.advance(0.1)
        low, high = left.range
        widths.append(high / low)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == pytest.approx(AS_SLOW)
    assert widths[-1] < 1.1


def test_work_that_goes_now_faster_now_slower_has_a_wide_range() -> None:
    clock = Clock()
    left = TimeLeft(1000, clock)
    for seconds in (100, 100, 100, 300, 300):
        clock.time += seconds
        left.advance(0.1)
    low, high = left.range
    assert low < 500 * 1.2
    assert high > 500 * 2.5


def test_two_events_at_once_do_not_say_that_nothing_is_left() -> None:
    left = TimeLeft(100, Clock())
    left.advance(0.01)
    left.advance(0.01)
    assert left.range[0] > 50


def test_work_that_was_lost_is_left_again() -> None:
    left = TimeLeft(100, Clock())
    left.advance(0.5)
    assert left.range[0] == pytest.approx(50)
    left.advance(-0.5)
    assert left.range[0] == pytest.approx(100)


def test_no_work_leaves_no_time() -> None:
    left = TimeLeft(0.0, Clock())
    left.advance(1.0)
    assert left.range == (0, 0)


def run(seed: int) -> Run:
    return Run(RunKey("spec", seed, "images", "source", "fp32"), "a[b=c]", SPEC, "digits")


@pytest.fixture
def plan() -> Plan:
    runs = run(0), run(1), run(2)
    return Plan(runs, runs, {}, {}, (), {run.key: 1.0 for run in runs}, 1)


def epoch(number: int) -> EpochRecord:
    return EpochRecord(number, 0.5, 1.0, 0.1, RIGHT)


def test_without_a_terminal_there_is_a_line_for_each_run(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = plan.missing
    with Display(plan) as display:
        for event in (
            Started(first),
            EpochFinished(first, epoch(1)),
            EpochFinished(first, epoch(2)),
            Ended(attrs.evolve(first, status="finished")),
            Started(second),
            EpochFinished(second, epoch(1)),
            Ended(attrs.evolve(second, status="diverged", reason="diverged at epoch 2: the training loss is nan")),
            Started(third),
            EpochFinished(third, epoch(1)),
            Lost(third, "its worker process was killed by SIGKILL"),
            Started(third),
            Ended(attrs.evolve(third, status="failed", reason="RuntimeError: no\nTraceback")),
        ):
            display.watch(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [re.sub(r"; about .* left$", "; about ... left", line) for line in captured.err.splitlines()]
    assert lines == [
        "[1/3] a[b=c] seed 0: test recall 0.8500 (2.00 s); about ... left",
        "[2/3] a[b=c] seed 1: diverged at epoch 2: the training loss is nan; about ... left",
        "a[b=c] seed 2: its worker process was killed by SIGKILL; trying once more",
        "[3/3] a[b=c] seed 2: failed: RuntimeError: no",
    ]


def on_terminal(command: list[str], columns: int, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command on a terminal of that many columns; return its exit code and all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = bytearray()

    def read() -> None:
        try:
            while data := os.read(ours, 65536):
                written.extend(data)
        except OSError:  # how Linux says that the other side is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        code = process.wait(timeout=120)
    finally:
        process.kill()
        reader.join()
        os.close(ours)
    return code, written.decode().replace("\r\n", "\n")


def shown(text: str) -> list[str]:
    """Return the lines that were written, without what moves the cursor and colours them."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text))


def too_wide(lines: Iterable[str], columns: int) -> list[str]:
    return [line for line in lines if len(line) > columns]


def test_on_a_terminal_the_display_is_live_and_fits(
    folder: Path, script: str, process_environment: Mapping[str, str]
) -> None:
    columns = 80
    command = [script, "benchmark", "starter/default", "--vary", "activation=relu,squared_relu"]
    command += ["--epochs", "3", "--seeds", "1", "--jobs", "1"]
    code, text = on_terminal(command, columns, process_environment)
    assert code == 0
    lines = shown(text)
    assert not too_wide(lines, columns)
    (bar, *_) = [line for line in lines if "[activation=squared_relu] seed 0" in line and "2/3" in line]
    assert re.search(r"━.* 2/3 +loss \d\.\d{3}, recall 0\.\d{4}", bar), bar
    assert "…t[activation=squared_relu] seed 0 " in bar, "a long name is cut at its beginning"
    assert any(re.search(r" runs +━.* 1/2 about \d+( to \d+)? s left", line) for line in lines)
    assert not any("[2/2]" in line for line in lines), "a run that finished leaves no line"
    assert "\x1b[?25h" in text[text.rindex("━") :], "the cursor is shown again"
    table = lines[lines.index(next(line for line in lines if line.startswith("spec "))) :]
    assert "FLOPs" not in table[0]
    assert any(line.startswith("No room for: FLOPs") for line in table)


def watched(plan: Plan) -> None:
    first = plan.missing[0]
    with Display(plan) as display:
        for event in (Started(first), EpochFinished(first, epoch(1)), EpochFinished(first, epoch(2))):
            display.watch(event)
        display.watch(Ended(attrs.evolve(first, status="finished")))


def test_a_run_that_another_command_trained_is_told_as_such(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    (first, *_) = plan.missing
    with Display(plan) as display:
        display.watch(Started(first))
        display.watch(Ended(attrs.evolve(first, status="finished", epochs=(epoch(1), epoch(2)))))
    assert capsys.readouterr().err.startswith("(another command) [1/3] a[b=c] seed 0: test recall 0.8500 (2.00 s); ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "live"), [("dumb", False), ("xterm-256color", True)])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, term: str, live: bool
) -> None:
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    watched(plan)
    assert ("━" in terminal.getvalue()) == live
    assert ("[1/3] a[b=c] seed 0: test recall 0.8500 (2.00 s)" in terminal.getvalue()) != live


def test_a_pipe_gets_lines_even_if_colours_are_forced(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    watched(plan)
    errors = capsys.readouterr().err
    assert errors.startswith("[1/3] a[b=c] seed 0: test recall 0.8500 (2.00 s); about ")
    assert "\x1b" not in errors
