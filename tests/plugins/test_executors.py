"""Every registered executor keeps the contract; what each does besides is tested in `tests/execution`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import zoo.testing
from zoo.registry import default_registry

NAMES = [f"executor:{name}" for name in default_registry().variants("executor")]
# Each of its checks starts a cluster.
slow = pytest.mark.skipif("ZOO_SLOW" not in os.environ, reason="takes minutes; set ZOO_SLOW to run it")
TRIALS = [
    pytest.param(*trial.values, id=f"{name}-{trial.id}", marks=[slow] if name == "executor:ray" else [])
    for name in NAMES
    for trial in zoo.testing.conformance(name, slow=True).args[1]
]


@pytest.mark.parametrize("check", TRIALS)
def test_each_executor_passes_every_check(check):
    check()


def test_zoo_s_own_are_registered():
    assert {"executor:here", "executor:processes", "executor:streams"} <= set(NAMES)


def test_to_look_one_up_imports_no_torch():
    program = (
        "import sys, zoo\n"
        "assert list(zoo.default_registry().variants('executor'))\n"
        "assert 'torch' not in sys.modules, 'torch is imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
