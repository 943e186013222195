"""Files with bytes flipped, cut off or zeroed: a documented exit code, no traceback, and what is stored stays."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_runs import PLUGIN, TREE

from zoo.cli import main

FUZZ = int(os.environ.get("ZOO_FUZZ", "15"))
"""How many files are damaged."""

SPECS = f"""
import zoo

@zoo.hookimpl
def zoo_register_specs(register):
    register("sound", {TREE})
"""
BENCHMARK = ["benchmark", "sound", "--seeds", "1", "--jobs", "1", "--keep-state", "-y"]
KINDS = {
    "cache/datasets/*/*": [*BENCHMARK, "--epochs", "1"],
    "images.npz": ["show", "sound", "--data", "npz:images.npz"],
    "images/*/*/*": ["show", "sound", "--data", "folder:images"],
    "zoo.sqlite": ["results"],
    "zoo.sqlite-checkpoints/*": [*BENCHMARK, "--epochs", "3"],
}
"""What is damaged, and the command that reads it."""


def zoo(command: list[str]) -> Result:
    return CliRunner().invoke(main, ["--plugin", str(PLUGIN), "--plugin", "specs.py", *command])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each kind of file."""
    folder = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        Path("specs.py").write_text(SPECS)
        images, labels = np.arange(20 * 64, dtype=np.uint8).reshape(20, 8, 8), np.arange(20) % 2
        np.savez("images.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
        for index, image in enumerate(images[:8]):
            file = Path("images", ("train", "test")[index % 2], ("a", "b")[index // 2 % 2], f"{index}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
        for command in ([*BENCHMARK, "--epochs", "2"], ["ledger", "info"]):
            assert zoo(command).exit_code == 0
        for pattern in KINDS:
            assert list(folder.glob(pattern)), pattern
    return folder


def damage(file: Path, how: str, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    start = chance.randrange(len(content))
    end = min(len(content), start + chance.choice([1, 8, 100, 10_000]))
    if how == "cut":
        del content[start:]
    elif how == "cut out":
        del content[start:end]
    elif how == "zeroed":
        content[start:end] = bytes(end - start)
    else:
        for _ in range(chance.choice([1, 1, 3, 30])):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.unlink()  # which may be mapped
    file.write_bytes(content)


@settings(max_examples=FUZZ, suppress_health_check=list(HealthCheck))
@given(
    pattern=st.sampled_from(list(KINDS)),
    how=st.sampled_from(["flipped", "cut", "cut out", "zeroed"]),
    seed=st.integers(0, 2**32),
)
def test_damaged_files_are_told_or_made_anew(sound: Path, pattern: str, how: str, seed: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as parent, pytest.MonkeyPatch.context() as patch:
        folder = Path(parent, "damaged")
        shutil.copytree(sound, folder)
        patch.chdir(folder)
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        damage(chance.choice(sorted(folder.glob(pattern))), how, chance)
        result = zoo(KINDS[pattern])
        said = result.output + result.stderr
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert "Traceback" not in said
        assert result.exit_code in (0, 1, 2), said
        assert (folder / "zoo.sqlite").exists()
        if pattern.startswith(("cache", "zoo.sqlite-")):
            assert result.exit_code == 0, said
        if pattern != "zoo.sqlite":
            with sqlite3.connect(folder / "zoo.sqlite") as ledger:
                assert ledger.execute("select count(*) from epoch join run on run.id = run").fetchone()[0] >= 2
