"""Scripts that start processes: with the guard that they need, and without."""

from __future__ import annotations

import subprocess
import sys

import pytest
from small_runs import PLUGIN, TREE
from snippets import ROOT, blocks

from zoo.ledger import Ledger

WORK = f"""
import zoo
lab = zoo.Lab("zoo.sqlite", device="cpu", jobs=2, executor="processes", plugins={str(PLUGIN)!r})
spec = {TREE!r}
"""
UNGUARDED = {
    "benchmark": "print(lab.benchmark(spec, seeds=2))",
    "plan and carry out": "print(lab.carry_out(lab.plan(spec, seeds=2)))",
    "study": "lab.study({'base': spec, 'changes': {'t': {'activation': 'tanh'}}, 'select': 'test'}, seeds=2)",
}


def carried_out(folder, script):
    (folder / "script.py").write_text(WORK + script)
    return subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=300)


def stored(folder):
    with Ledger(folder / "zoo.sqlite") as ledger:
        return [(run.status, run.provenance["command"]) for run in ledger.runs()]


def test_a_script_with_the_guard(tmp_path):
    done = carried_out(tmp_path, f"if __name__ == '__main__':\n    {UNGUARDED['benchmark']}\n")
    assert done.returncode == 0, done.stderr
    assert stored(tmp_path) == [("finished", "script.py")] * 2


def test_the_script_of_the_page_has_it(tmp_path):
    for block in blocks(ROOT / "docs/how-to/work-in-python.md"):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    done = subprocess.run([sys.executable, "compare.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert stored(tmp_path) == [("finished", "compare.py")] * 6


MESSAGE = (
    "a worker process ended with exit code 1 before its first message: it imports the script that commands it, which "
    'must not do its work when it is imported: begin work under `if __name__ == "__main__":`, or take jobs=1\n'
)


@pytest.mark.parametrize("work", UNGUARDED)
def test_a_script_without_the_guard_ends_in_one_message(work, tmp_path):
    done = carried_out(tmp_path, UNGUARDED[work])
    assert done.returncode == 1
    lines = done.stderr.splitlines(keepends=True)
    assert lines[-1] == f"Error: {MESSAGE}"
    assert "Traceback" not in done.stderr
    assert sum("Error" in line for line in lines) == 1
    assert not list(tmp_path.glob("zoo.sqlite*")), "nothing was stored"


def test_a_script_without_the_guard_can_catch_it(tmp_path):
    work = f"try:\n    {UNGUARDED['benchmark']}\nexcept zoo.ZooError as error:\n    print(error)\n"
    done = carried_out(tmp_path, f"{work}1 / 0\n")
    assert done.stdout == MESSAGE
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n"), "all else has its traceback"
