"""Whatever a plugin's factories and hooks raise and return costs only what uses it, and is told under its name."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_runs import PLUGIN, TREE

from zoo.cli import main

FUZZ = int(os.environ.get("ZOO_FUZZ", "12"))
"""How many plugins are made up."""

TEMPLATE = """
import numpy, torch, zoo

class Wordless(Exception):
    def __str__(self):
        raise KeyError("no text")

class Odd(BaseException):
    pass

class LikeCtrlC(KeyboardInterrupt):
    pass

def bad(*_, **__):
    {bad}

class Layer(torch.nn.Module):
    def forward(self, x):
        return bad()

class Later(torch.nn.Module):
    def forward(self, x):
        return bad() if self.training else x

class Step(torch.optim.SGD):
    def step(self):
        return bad()

class Images:
    title = "Images"

    def missing(self):
        {missing}

    def fingerprint(self):
        {fingerprint}

    def decode(self, resize=None):
        return bad()

@zoo.hookimpl
def zoo_register_activations(register):
    register("made", lambda: bad())
    register("layer", lambda: Layer())
    register("later", lambda: Later())

@zoo.hookimpl
def zoo_register_initializers(register):
    register("made", lambda weight: bad())

@zoo.hookimpl
def zoo_register_blocks(register):
    register("made", lambda shape, parts: bad())

@zoo.hookimpl
def zoo_register_optimizers(register):
    register("made", lambda parameters: bad())
    register("step", lambda parameters: Step(parameters, lr=0.1))

@zoo.hookimpl
def zoo_register_schedules(register):
    register("made", lambda progress: bad())

@zoo.hookimpl
def zoo_register_losses(register):
    register("made", lambda logits, labels: bad())

@zoo.hookimpl
def zoo_register_augmentations(register):
    register("made", lambda images, generator: bad())

@zoo.hookimpl
def zoo_register_datasets(register):
    register("made", lambda: bad())
    register("images", lambda: Images())

@zoo.hookimpl
def zoo_register_specs(register):
    {specs}

@zoo.hookimpl
def zoo_run_started(run):
    return bad()

@zoo.hookimpl
def zoo_epoch_finished(run, epoch):
    return bad()

@zoo.hookimpl
def zoo_run_finished(run):
    return bad()

@zoo.hookimpl
def zoo_report_sections(runs):
    return bad()
"""
RAISED = [
    "Wordless()", "Odd('x')", "LikeCtrlC()", "SystemExit(0)", "ValueError('\\udcff\\n\\x1b[31m')", "RuntimeError()",
    "KeyError(())", "MemoryError()", "StopIteration(1)", "GeneratorExit()", "zoo.ZooError('no')", "OSError(28, 'full')",
    "RecursionError()", "EOFError()", "BrokenPipeError()", "NotImplementedError()",
    "type('A' * 300, (Exception,), {})()",
]  # fmt: skip
RETURNED = [
    "None", "3", "float('nan')", "'text'", "[]", "[None]", "{}", "object()", "torch.zeros(0)", "torch.ones(2, 3)",
    "torch.nn.Linear", "torch.nn.Linear(2, 3)", "bad", "numpy.zeros(3)", "b'x'",
    "zoo.Arrays(None, None, None, None, None)",
]  # fmt: skip
BEHAVIOURS = [f"raise {error}" for error in RAISED] + [f"return {value}" for value in RETURNED]
PLACES = {
    "network.features.0.activation": ["made", "layer", "later"],
    "network.features.0.block": ["made"],
    "network.initializer": ["made"],
    "training.optimizer": ["made", "step"],
    "training.schedule": ["made"],
    "training.loss": ["made"],
    "training.augmentation": [["made"]],
    "data.dataset": ["made", "images"],
}
behaviours = st.sampled_from(BEHAVIOURS)
places = st.sampled_from([(place, name) for place, names in PLACES.items() for name in names])


SPECS = """
import zoo

@zoo.hookimpl
def zoo_register_specs(register):
    register("sound", {tree})
    register("odd", {{"base": "sound", "set": {{{place!r}: {name!r}}}}})
"""


@settings(max_examples=FUZZ, suppress_health_check=list(HealthCheck))
@given(bad=behaviours, place=places, missing=st.just("return None") | behaviours,
       fingerprint=st.just("return '1'") | behaviours, specs=st.just("pass") | behaviours)  # fmt: skip
@example("return None", ("training.optimizer", "made"), "return None", "return '1'", "pass")
@example("raise Wordless()", ("network.features.0.activation", "later"), "return None", "return '1'", "pass")
@example("raise GeneratorExit()", ("network.features.0.activation", "later"), "return None", "return '1'", "pass")
@example("return None", ("data.dataset", "images"), "return None", "return '1'", "pass")
@example("return 3", ("training.schedule", "made"), "raise Wordless()", "return 3", "raise Odd()")
@example("return None", ("data.dataset", "images"), "return None", "raise MemoryError()", "pass")
@example("raise BrokenPipeError()", ("data.dataset", "made"), "return None", "return '1'", "pass")
def test_a_bad_plugin_costs_only_what_uses_it(
    bad: str, place: tuple[str, str], missing: str, fingerprint: str, specs: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = benchmark(bad, place, missing, fingerprint, specs)
        said = result.output + result.stderr
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert "Traceback" not in said
        assert result.exit_code in (0, 1, 2), said
        if result.exit_code != 2:
            assert finished() >= 1, said


@pytest.mark.parametrize(
    ("bad", "place", "reason"),
    [
        ("return None", ("training.optimizer", "made"),
         "odd: training.optimizer: made: plugin bad (single file, {file}) returned a NoneType, not a "
         "Optimizer"),
        ("return 'x'", ("training.schedule", "made"),
         "odd: training.schedule: made: plugin bad (single file, {file}) returned a str, not a Real"),
        ("raise Wordless()", ("network.features.0.activation", "later"),
         "plugin bad (single file, {file}) raised Wordless: (its text raised KeyError) (line 15 of {file})"),
        ("raise MemoryError('Unable to allocate 9 TiB')", ("network.features.0.activation", "later"),
         "the computer's memory does not suffice: MemoryError: Unable to allocate 9 TiB"),
    ],
)  # fmt: skip
def test_the_plugin_is_named(
    bad: str, place: tuple[str, str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = benchmark(bad, place)
    assert result.exit_code == 1
    with sqlite3.connect("zoo.sqlite") as ledger:
        ((told,),) = ledger.execute("select reason from run where status = 'failed'").fetchall()
    assert told.partition("\n")[0] == reason.format(file=tmp_path / "bad.py")


@pytest.mark.parametrize(
    ("bad", "said"),
    [("return None", ""), ("return ['more']", ""),
     ("return 3", "raised TypeError: it must return a list of str, not 3"),
     ("raise Wordless()", "raised Wordless: (its text raised KeyError)")],
)  # fmt: skip
def test_sections_of_a_report_that_are_none_are_left_out(
    bad: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = benchmark(bad, ("network.features.0.activation", "tanh"))
    assert result.exit_code == 0
    assert result.stdout.startswith("squares, ")
    assert result.stdout.endswith("\nmore\n") == ("more" in bad)
    expected = f"plugin bad: its hook zoo_report_sections {said}; going on\n"
    assert (expected in result.stderr) == bool(said)


def benchmark(bad: str, place: tuple[str, str], *others: str) -> Result:
    """Carry out a benchmark with a sound spec and one that uses what is bad."""
    missing, fingerprint, specs = others or ("return None", "return '1'", "pass")
    text = TEMPLATE.format(bad=bad, missing=missing, fingerprint=fingerprint, specs=specs)
    Path("bad.py").write_text(text, encoding="utf-8")
    Path("specs.py").write_text(SPECS.format(tree=TREE, place=place[0], name=place[1]))
    files = [argument for file in (PLUGIN, "bad.py", "specs.py") for argument in ("--plugin", str(file))]
    command = ["benchmark", "sound", "odd", "--seeds", "1", "--epochs", "1", "--jobs", "1", "-y"]
    return CliRunner().invoke(main, [*files, *command])


def finished() -> int:
    with sqlite3.connect("zoo.sqlite") as ledger:
        (count,) = ledger.execute("select count(*) from run where status = 'finished' and name = 'sound'").fetchone()
    return int(count)
