"""Ctrl-C and SIGTERM while commands train: what is stored stays, no process is left, and the same command goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import Result

from zoo.ledger import Ledger

LONGEST = 60.0
"""Seconds that a loaded machine may take for anything here."""

# Without a buffer, which an interrupt in the middle of its flush would leave to be written again.
SLOW = "import os\nimport time\n\nos.write(1, b'loading\\n')\ntime.sleep(600)\n"


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str], seconds: float = LONGEST) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, f"it ended by itself: {process.communicate()}"
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def begin(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Begin a command in a group of processes of its own, and with Ctrl-C not ignored, as a shell does."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        process_group=0,
        # What runs the tests may be in the background of a script, where a shell turns SIGINT off for all below.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupt(
    process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT, *, alone: bool = False
) -> tuple[str, str, float]:
    """Do what Ctrl-C does, or what a batch system does, which may signal the command alone.

    Returns:
        What was printed, and how many seconds it took to end.
    """
    before = time.monotonic()
    (os.kill if alone else os.killpg)(process.pid, number)
    try:
        output, errors = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return output, errors, time.monotonic() - before


def processes_of(group: int) -> list[str]:
    """Return the command lines of what runs in a group of processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            _, _, fields = (folder / "stat").read_text().rpartition(") ")
            state, _, own_group = fields.split()[:3]
            if int(own_group) == group and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


BENCHMARK = ["benchmark", "starter/default", "--epochs", "2", "--seeds", "60", "--yes"]
STUDY = ["study", "run", "--base", "starter/default", "--change", "mish:activation=mish", "--epochs", "2"]
STUDY += ["--seeds", "30", "--select", "test", "--yes"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("command", "number", "alone"),
    [
        ([*BENCHMARK, "--jobs", "1"], signal.SIGINT, False),
        ([*BENCHMARK, "--jobs", "2"], signal.SIGINT, False),
        ([*BENCHMARK, "--jobs", "2"], signal.SIGTERM, False),
        ([*STUDY, "--jobs", "2"], signal.SIGTERM, True),
    ],
    ids=["Ctrl-C, here", "Ctrl-C, processes", "SIGTERM to all", "SIGTERM to a study"],
)
def test_a_command_stops_cleanly(
    zoo: Callable[..., Result],
    script: str,
    process_environment: Mapping[str, str],
    folder: Path,
    command: list[str],
    number: signal.Signals,
    alone: bool,
) -> None:
    ledger = folder / "zoo.sqlite"

    def stored() -> int:
        if not ledger.exists():
            return 0
        with Ledger(ledger) as opened:
            assert {run.status for run in opened.runs()} <= {"finished"}
            return len(opened.runs())

    process = begin([script, *command], process_environment)
    wait_for(lambda: stored() >= 2, process)
    output, errors, seconds = interrupt(process, number, alone=alone)
    assert process.returncode == 130
    assert output == "", "no table of half a benchmark"
    assert "Traceback" not in errors
    assert seconds < 20, "it is to stop at once; this allows for a loaded machine"
    match = re.search(
        r"\nStopped: (\d+) of 60 runs stored in zoo.sqlite.\nThe same command goes on from there.\n"
        r"((starter/.* seed \d+: .*\n)+`zoo results --partial` shows the epochs of runs that have not ended.\n)?$",
        errors,
    )
    assert match, errors
    assert int(match[1]) == stored() < 60
    deadline = time.monotonic() + LONGEST
    while left := processes_of(process.pid):
        assert time.monotonic() < deadline, f"these still run: {left}"
        time.sleep(0.05)
    if command[0] == "benchmark":
        planned = zoo(*command, "--plan", "--json")
        assert json.loads(planned.stdout)[0]["stored"] == stored()


def takes_signals(process: subprocess.Popen[str]) -> bool:
    """Whether a command has come so far that it takes signals: before, Python itself is still starting."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    match = re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return match is not None and bool(int(match[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for signals in /proc")
@pytest.mark.parametrize("after", [0.0, 0.5, 2.0])
def test_ctrl_c_many_times_is_one_message(
    script: str, process_environment: Mapping[str, str], folder: Path, after: float
) -> None:
    process = begin([script, *BENCHMARK, "--jobs", "2"], process_environment)
    wait_for(lambda: takes_signals(process), process)
    time.sleep(after)
    for _ in range(20):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    output, errors, _ = interrupt(process)
    assert "Traceback" not in errors
    assert (process.returncode, output) == (130, "")
    assert errors.count("Stopped") == 1


def test_ctrl_c_while_plugins_load(
    script: str, process_environment: Mapping[str, str], plugin: Callable[[str, str], str]
) -> None:
    process = begin([script, "--plugin", plugin("slow.py", SLOW), "list"], process_environment)
    assert process.stdout
    assert process.stdout.readline() == "loading\n"
    output, errors, _ = interrupt(process)
    assert (process.returncode, output, errors) == (130, "", "\nStopped.\n")
