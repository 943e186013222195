"""The distributions in plugins/ as an outsider has them: installed by pip, found by zoo, their own tests passed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from snippets import ROOT

DISTRIBUTIONS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
TOOLS = {
    "zoo-tensorboard": ("tensorboard",),
    "zoo-mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "zoo-timm": ("timm",),
}
"""What a distribution needs and zoo does not."""

each_distribution = pytest.mark.parametrize("source", DISTRIBUTIONS, ids=lambda path: path.name)


class Installed:
    """A distribution that is installed in a folder of its own, beside what is there already."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.name = source.name
        # A copy, for setuptools leaves folders beside what it builds, and pytest would read zoo's own settings.
        self.source = folder / source.name
        shutil.copytree(source, self.source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        pip = ["install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
        site = str(folder / "site")
        subprocess.run([sys.executable, "-m", "pip", *pip, "--target", site, str(self.source)], check=True)
        path = os.pathsep.join(filter(None, (site, os.environ.get("PYTHONPATH"))))
        self.environment = {**os.environ, "PYTHONPATH": path}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", *arguments],  # what is installed, not the copy of the sources
            env=self.environment,
            cwd=self.source,
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module", params=DISTRIBUTIONS, ids=lambda path: path.name)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Each distribution in turn."""
    return Installed(request.param, tmp_path_factory.mktemp("outside"))


def test_there_are_distributions() -> None:
    assert {path.name for path in DISTRIBUTIONS} >= {
        "zoo-tensorboard", "zoo-mlflow", "zoo-dynamic-norms", "zoo-timm"
    }  # fmt: skip


@each_distribution
def test_a_distribution_is_complete(source: Path) -> None:
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    assert project["name"] == source.name
    assert project["entry-points"]["zoo"]
    assert "layer-zoo" in project["dependencies"]
    assert (source / "README.md").read_text().startswith(f"# {source.name}\n")
    assert (source / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert list((source / "tests").glob("test_*.py"))


def test_zoo_finds_it_and_imports_nothing_heavy(installed: Installed) -> None:
    program = (
        "import sys\nfrom zoo.registry import Registry\nregistry = Registry().require_sound()\n"
        "assert not registry.failures, registry.failures\n"
        f"assert {installed.name!r} in {{plugin.distribution for plugin in registry.plugins.values()}}\n"
        "heavy = {'torch', 'tensorboard', 'mlflow', 'timm'}.intersection(sys.modules)\nassert not heavy, heavy\n"
    )
    ended = installed.run("-c", program)
    assert ended.returncode == 0, ended.stderr


def test_its_own_tests_pass(installed: Installed) -> None:
    absent = [module for module in TOOLS.get(installed.name, ()) if find_spec(module) is None]
    if absent:
        pytest.skip(f"{installed.name} needs {', '.join(absent)}: pip install '.[outside]'")
    ended = installed.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
