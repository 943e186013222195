"""What `zoo new-plugin` makes: it installs and passes as it is made, for every kind."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from snippets import ROOT, blocks

from zoo.cli import main, new_plugin
from zoo.registry import Registry
from zoo.registry.hookspecs import KINDS

Zoo = Callable[..., Result]

each_kind = pytest.mark.parametrize("kind", KINDS)


def content(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_distribution_is_complete(zoo: Zoo, folder: Path) -> None:
    result = zoo("new-plugin", "swishish")
    assert result.exit_code == 0
    made = content(folder / "zoo-swishish")
    assert set(map(str, made)) == {
        ".github/workflows/test.yml",
        ".gitignore",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "tests/test_swishish.py",
        "zoo_swishish/__init__.py",
        "zoo_swishish/_activations.py",
        "zoo_swishish/activations.py",
    }
    project = tomllib.loads(made[Path("pyproject.toml")])["project"]
    assert project["name"] == "zoo-swishish"
    assert project["entry-points"]["zoo"] == {"zoo_swishish": "zoo_swishish"}
    assert "def swishish(*, slope" in made[Path("zoo_swishish/activations.py")]
    for step in (
        "zoo plugins install -e ./zoo-swishish",
        "pytest ./zoo-swishish",
        "zoo check activation:swishish",
        "zoo benchmark starter/default --vary activation=relu,swishish --seeds 10",
    ):
        assert f"\n  {step}\n" in result.stdout


def test_the_folder_can_be_named(zoo: Zoo, folder: Path) -> None:
    result = zoo("new-plugin", "two_words", "deep/inside", "--kind", "filter")
    assert "Made deep/inside with pyproject.toml, zoo_two_words/__init__.py, " in result.stdout
    made = content(folder / "deep/inside")
    assert 'name = "zoo-two-words"' in made[Path("pyproject.toml")]
    assert "class TwoWords(nn.Module):" in made[Path("zoo_two_words/_filters.py")]
    assert '"""Two words: a convolution' in made[Path("zoo_two_words/filters.py")]


def test_the_file_s_folder_can_be_named(zoo: Zoo, folder: Path) -> None:
    result = zoo("new-plugin", "swishish", "files", "--single-file")
    assert [path.name for path in folder.rglob("*.py")] == ["swishish.py"]
    assert "Made files/swishish.py. " in result.stdout
    assert "\n  zoo --plugin files/swishish.py check activation:swishish\n" in result.stdout


@each_kind
def test_what_is_made_is_plain_python_and_toml(zoo: Zoo, folder: Path, kind: str) -> None:
    zoo("new-plugin", "mine", "made", "--kind", kind)
    zoo("new-plugin", "mine", "made", "--kind", kind, "--single-file")
    for path, text in content(folder / "made").items():
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert "{{" not in text, path
        assert "{%" not in text, path
        for line in text.splitlines():
            assert len(line) <= 120, f"{path}: {line}"
            assert line == line.rstrip(), f"{path}: {line!r}"
        if path.suffix == ".py":
            compile(text, str(path), "exec")
        if path.suffix == ".toml":
            tomllib.loads(text)


@each_kind
def test_a_single_file_works_as_it_is_made(zoo: Zoo, folder: Path, kind: str) -> None:
    step = zoo("new-plugin", "mine", "--kind", kind, "--single-file").stdout.splitlines()[-1]
    shown = zoo("--plugin", "mine.py", "show", f"{kind}:mine").stdout
    assert shown.startswith(f"{kind} mine: Mine: ")
    assert kind in ("dataset", "executor") or "\nPaper: " in shown, "the example states its source"
    # The step that is printed, as a shell reads it.
    words = [word.strip("'") for word in step.split()]
    assert words[:4] == ["zoo", "--plugin", "mine.py", "benchmark"]
    result = zoo(*words[1:], "--plan")
    assert result.exit_code == 0, result.output
    assert " to train: " in result.output


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a distribution of each kind, and a folder `site` that they are installed in."""
    folder = tmp_path_factory.mktemp("distributions")
    for kind in KINDS:
        arguments = ["new-plugin", f"my_{kind}", str(folder / kind), "--kind", kind]
        result = CliRunner().invoke(main, arguments, prog_name="zoo", catch_exceptions=False)
        assert result.exit_code == 0, result.output
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    pip += ["--no-build-isolation", "--target", str(folder / "site"), str(folder / "activation")]
    subprocess.run(pip, check=True)
    # What pip would write for the others too, in seconds less.
    for kind in set(KINDS) - {"activation"}:
        package = f"zoo_my_{kind}"
        (folder / "site" / package).symlink_to(folder / kind / package)
        metadata = folder / "site" / f"{package}-0.1.0.dist-info"
        metadata.mkdir()
        project = tomllib.loads((folder / kind / "pyproject.toml").read_text())["project"]
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
        points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["zoo"].items())
        (metadata / "entry_points.txt").write_text(f"[zoo]\n{points}")
    return folder


def run(distributions: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(distributions / "site"), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=environment, cwd=distributions, capture_output=True, text=True, timeout=300)


def test_each_installs_and_passes_as_it_is_made(distributions: Path) -> None:
    arguments = ["--rootdir=.", "-p", "no:cacheprovider", "--import-mode=importlib", "-W", "error", "-rA", *KINDS]
    result = run(distributions, sys.executable, "-m", "pytest", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    for kind in KINDS:
        assert f"PASSED {kind}/tests/test_my_{kind}.py::test_values" in result.stdout
        assert f"PASSED {kind}/tests/test_my_{kind}.py::test_conformance[" in result.stdout


def test_listing_them_imports_no_torch(distributions: Path) -> None:
    program = (
        "import sys\nfrom zoo.registry import Registry\nregistry = Registry().require_sound()\n"
        f"for kind in {list(KINDS)}: registry.variant(kind, f'my_{{kind}}')\n"
        "assert not registry.failures\nassert 'torch' not in sys.modules, 'torch is imported'\n"
    )
    result = run(distributions, sys.executable, "-c", program)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "name", ["Swishish", "2x", "swish-ish", "swish.ish", "swish ish", "_swish", "lambda", "true", "é", ""]
)
def test_what_is_no_name_is_refused(zoo: Zoo, folder: Path, name: str) -> None:
    result = zoo("new-plugin", "--", name)
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {name!r} cannot be the name of a variant: use small letters, digits and _, with a letter first, and "
        "no word of Python's own, as in leaky_relu.\n"
    )
    assert not list(folder.iterdir())


def test_a_name_that_is_taken_is_refused(zoo: Zoo, registry: Registry, folder: Path) -> None:
    result = zoo("new-plugin", "relu")
    assert result.exit_code == 2
    plugin = registry.variant("activation", "relu").plugin
    assert result.stderr == (
        f"Error: the activation 'relu' is there already, from plugin {plugin}; choose another name.\n"
    )
    assert zoo("new-plugin", "relu", "--kind", "filter").exit_code == 0, "of another kind it is free"


@pytest.mark.parametrize(("name", "module"), [("torch", "torch"), ("zoo", "zoo"), ("plugins", "zoo_plugins")])
def test_a_name_that_would_hide_a_module_is_refused(zoo: Zoo, folder: Path, name: str, module: str) -> None:
    result = zoo("new-plugin", name)
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: there is a Python module {module} already, which would be in the way; use another name.\n"
    )


def test_an_unknown_kind_is_refused(zoo: Zoo, folder: Path) -> None:
    result = zoo("new-plugin", "swishish", "--kind", "activations")
    assert result.exit_code == 2
    assert "no kind is called 'activations'; did you mean activation" in result.stderr
    assert not list(folder.iterdir())


def test_a_folder_that_exists_is_refused(zoo: Zoo, folder: Path) -> None:
    zoo("new-plugin", "swishish")
    before = content(folder)
    result = zoo("new-plugin", "swishish")
    assert result.exit_code == 2
    assert result.stderr == "Error: zoo-swishish exists already; name another folder, or remove it first.\n"
    assert content(folder) == before
    (folder / "empty").mkdir()
    assert zoo("new-plugin", "swishish", "empty").exit_code == 2


def test_a_file_that_exists_is_refused(zoo: Zoo, folder: Path) -> None:
    (folder / "swishish.py").write_text("mine")
    result = zoo("new-plugin", "swishish", "--single-file")
    assert result.exit_code == 2
    assert result.stderr == "Error: swishish.py exists already; use another folder, or remove it first.\n"
    assert (folder / "swishish.py").read_text() == "mine"


def test_a_folder_is_no_module(zoo: Zoo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine").mkdir()
    monkeypatch.syspath_prepend(folder)
    assert zoo("new-plugin", "mine").exit_code == 0


def test_a_folder_that_cannot_be_made_is_said(zoo: Zoo, folder: Path) -> None:
    (folder / "file").write_text("")
    result = zoo("new-plugin", "swishish", "file/below")
    assert result.exit_code == 2
    assert result.stderr == "Error: file/below/pyproject.toml cannot be written: Not a directory.\n"


def test_every_kind_has_an_example_and_a_command_that_tries_it() -> None:
    assert set(new_plugin.BENCHMARK) == set(KINDS)
    assert {file.stem for file in (new_plugin.TEMPLATES / "kinds").iterdir()} == set(KINDS)


def test_the_guide_shows_what_is_made(zoo: Zoo, folder: Path) -> None:
    zoo("new-plugin", "serf")
    shown = [block for block in blocks(ROOT / "docs/how-to/make-a-distribution.md") if block.file]
    unchanged = [block for block in shown if block.file == "zoo-serf/pyproject.toml"]
    assert unchanged, "docs/how-to/make-a-distribution.md does not show zoo-serf/pyproject.toml"
    for block in unchanged:
        assert block.text == (folder / block.file).read_text(), f"{block}: zoo new-plugin makes another one"
    for block in shown:
        assert (folder / block.file).exists(), f"{block}: zoo new-plugin makes no file {block.file}"
