"""Ctrl-C amid an import, in a process that lives on."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import time
from types import ModuleType

import pytest
from small_runs import PLUGIN, TREE

from zoo import ZooError
from zoo.importing import interrupted_after, require_whole


@pytest.fixture(autouse=True)
def as_in_a_script():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_import_ends_before_the_interruption(tmp_path, monkeypatch):
    (tmp_path / "interrupted_import.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.2)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    @interrupted_after()
    def work():
        importlib.import_module("interrupted_import")
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert sys.modules["interrupted_import"].whole
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_amid_the_last_import_is_not_lost(tmp_path, monkeypatch):
    (tmp_path / "interrupted_last.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt), interrupted_after():
        importlib.import_module("interrupted_last")
    time.sleep(0.2)  # in which a second one would come


def test_work_within_an_import_is_interrupted_at_once(tmp_path, monkeypatch):
    (tmp_path / "interrupted_script.py").write_text(
        "import signal, time\nfrom zoo.importing import interrupted_after\n"
        "with interrupted_after():\n    signal.raise_signal(signal.SIGINT)\n    time.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        importlib.import_module("interrupted_script")


def test_a_program_with_a_handler_of_its_own_keeps_it():
    signal.signal(signal.SIGINT, lambda *_: None)
    own = signal.getsignal(signal.SIGINT)
    with interrupted_after():
        assert signal.getsignal(signal.SIGINT) is own


def test_what_an_interrupted_import_left_is_refused(monkeypatch):
    within = ModuleType("broken_off.within")
    within.__path__ = []
    monkeypatch.setitem(sys.modules, "broken_off.within", within)
    with pytest.raises(
        ZooError, match=r"^an import of broken_off was interrupted in this process, .*start Python anew"
    ):
        require_whole("broken_off")
    require_whole("broken")


def test_a_benchmark_that_is_interrupted_while_torch_is_imported_can_be_repeated(tmp_path):
    script = f"""
import signal, sys, zoo

class Interrupting:
    def find_spec(name, path=None, target=None):
        if name == "torch.optim":
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting)
lab = zoo.Lab("zoo.sqlite", device="cpu", jobs=1, plugins={str(PLUGIN)!r})
try:
    lab.benchmark({TREE!r}, seeds=1, epochs=1)
except zoo.Stopped as stopped:
    print(stopped)
print([run.status for run in lab.benchmark({TREE!r}, seeds=1, epochs=1).all])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout == ("Stopped. What has ended is stored; the same command goes on from there.\n['finished']\n"), (
        done.stderr
    )


def test_looking_for_what_is_half_imported_asks_no_module_for_anything():
    """torch.utils.mkldnn defines classes where it is asked for any attribute, and warns of them."""
    importlib.import_module("torch.utils.mkldnn")
    before = set(sys.modules)
    require_whole("torch")
    assert set(sys.modules) == before
