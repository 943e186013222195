"""`zoo plugins`: pip is run for real, in an environment of the test's own, without the network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from distributions import Install

from zoo.cli import main, plugins
from zoo.registry import Registry

Zoo = Callable[..., Result]
Outsider = Callable[..., subprocess.CompletedProcess[str]]

HOOK = '@zoo.hookimpl\ndef zoo_register_activations(register):\n    register("mine", lambda: None)\n'
WATCHER = "import zoo\n\n@zoo.hookimpl\ndef zoo_run_finished(run):\n    pass\n"
FATAL = "import os, signal\n\nos.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.fixture(scope="module")
def environment_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that has all that this one has, in which installing and removing harms nobody."""
    folder = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(folder)
    paths = {"base": str(folder), "platbase": str(folder)}
    (Path(sysconfig.get_path("purelib", vars=paths)) / "outer.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    return folder


@pytest.fixture
def outsider(environment_folder: Path, folder: Path, process_environment: Mapping[str, str]) -> Outsider:
    """Runs `zoo` in that environment, with the current folder empty at first."""
    python = environment_folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = {"NO_INDEX": "1", "NO_DEPS": "1", "DISABLE_PIP_VERSION_CHECK": "1"}
    # pip reads the last as the value of --build-isolation.
    settings = {**{f"PIP_{name}": value for name, value in pip.items()}, "PIP_NO_BUILD_ISOLATION": "0"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), "-c", "from zoo.cli import main; main(prog_name='zoo')", *arguments],
            env={**process_environment, **settings},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def swishish(folder: Path) -> Path:
    """A new plugin's folder."""
    result = CliRunner().invoke(main, ["new-plugin", "swishish"], prog_name="zoo", catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "zoo-swishish"


def done(result: subprocess.CompletedProcess[str], code: int = 0) -> subprocess.CompletedProcess[str]:
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_the_life_of_a_plugin(outsider: Outsider, swishish: Path, folder: Path) -> None:
    installed = done(outsider("plugins", "install", "./zoo-swishish"))
    told = "zoo-swishish==0.1.0 has plugins: `zoo plugins show zoo-swishish` shows what they register.\n"
    assert installed.stderr.endswith(told)
    shown = json.loads(done(outsider("plugins", "show", "zoo-swishish", "--json")).stdout)
    assert [record["name"] for record in shown] == ["zoo_swishish", "zoo_swishish.activations"]
    assert shown[1]["registered"] == ["activation swishish"]
    assert shown[1]["version"] == "0.1.0"
    file = Path(shown[1]["file"])

    locked = done(outsider("plugins", "lock"))
    assert locked.stdout.splitlines()[1:] == [f"zoo-swishish @ {swishish.as_uri()}"]
    assert locked.stderr == (
        "Note: zoo-swishish was installed from a file or folder, which only this machine may have.\n"
    )
    (folder / "zoo-plugins.txt").write_text(locked.stdout)

    again = done(outsider("plugins", "install", "--upgrade", "./zoo-swishish"))
    assert again.stderr.endswith("No plugin is new: what was installed has none, or it was there before.\n")

    # Broken so that importing it ends the process.
    file.write_text(FATAL)
    assert outsider("plugins").returncode == -signal.SIGKILL
    done(outsider("plugins", "uninstall", "--yes", "zoo_swishish.activations"))
    assert not file.exists()
    assert "swishish" not in done(outsider("plugins")).stdout
    assert done(outsider("plugins", "lock")).stdout.count("\n") == 1

    done(outsider("plugins", "install", "-r", "zoo-plugins.txt"))
    assert "swishish" in done(outsider("list", "--kind", "activation")).stdout
    done(outsider("plugins", "uninstall", "-y", "zoo-swishish"))


def test_a_plugin_installed_in_place(outsider: Outsider, swishish: Path, folder: Path) -> None:
    done(outsider("plugins", "install", "-e", "./zoo-swishish"))
    source = swishish / "zoo_swishish/activations.py"
    source.write_text(source.read_text().replace('register("swishish"', 'register("changed"'))
    assert "changed" in done(outsider("list", "--kind", "activation")).stdout
    locked = done(outsider("plugins", "lock")).stdout
    assert locked.splitlines()[1:] == [f"-e {swishish.as_uri()}  # zoo-swishish==0.1.0"]
    (folder / "zoo-plugins.txt").write_text(locked)
    done(outsider("plugins", "uninstall", "-y", "zoo-swishish"))
    done(outsider("plugins", "install", "-r", "zoo-plugins.txt"))
    assert "changed" in done(outsider("list", "--kind", "activation")).stdout
    done(outsider("plugins", "uninstall", "-y", "zoo-swishish"))


def test_what_pip_cannot_do_is_1(outsider: Outsider) -> None:
    result = done(outsider("plugins", "install", "./nowhere"), 1)
    assert "./nowhere" in result.stderr
    assert "No plugin is new" not in result.stderr


def test_nothing_to_install_is_wrong(zoo: Zoo) -> None:
    result = zoo("plugins", "install", "--upgrade")
    assert result.exit_code == 2
    assert "nothing to install: name a distribution, a folder, -r FILE or -e FOLDER" in result.stderr


def test_without_pip_it_is_said(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find_spec", lambda name: None)
    result = zoo("plugins", "install", "zoo-swishish")
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: there is no pip for {sys.executable}: get it with `{Path(sys.executable).name} -m ensurepip`, or use "
        "the tool that made this environment\n"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layer-zoo", "layer-zoo is zoo itself; to remove it: {python} -m pip uninstall layer-zoo"),
        ("Layer_Zoo", "Layer_Zoo is zoo itself; to remove it: {python} -m pip uninstall Layer_Zoo"),
        ("numpy", "no distribution with plugins is called 'numpy'. Installed: "),
        ("my-layer", "no distribution with plugins is called 'my-layer'; did you mean my-layers? Installed: "),
    ],
)
def test_what_has_no_plugins_is_not_removed(zoo: Zoo, install: Install, name: str, message: str) -> None:
    install("my-layers", {"my_layers.py": "import zoo\n" + HOOK}, "my_layers")
    result = zoo("plugins", "uninstall", "-y", name)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: " + message.format(python=sys.executable))


DIRECT = {
    "archive": (
        {"url": "https://example.org/a.whl", "archive_info": {"hash": "sha256=ab", "hashes": {"sha256": "ab"}}},
        "a @ https://example.org/a.whl#sha256=ab",
    ),
    "archive without a digest": (
        {"url": "https://example.org/a.whl", "archive_info": {}},
        "a @ https://example.org/a.whl",
    ),
    "version control": (
        {
            "url": "https://example.org/a.git",
            "vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": "c0ffee"},
            "subdirectory": "plugins/a",
        },
        "a @ git+https://example.org/a.git@c0ffee#subdirectory=plugins/a",
    ),
    "editable version control": (
        {"url": "file:///home/a", "dir_info": {"editable": True}},
        "-e file:///home/a  # a==1.0",
    ),
    "folder": ({"url": "file:///home/a", "dir_info": {}}, "a @ file:///home/a"),
    "index": (None, "a==1.0"),
}


@pytest.mark.parametrize(("origin", "line"), DIRECT.values(), ids=list(DIRECT))
def test_a_lock_says_where_each_came_from(
    zoo: Zoo, install: Install, origin: dict[str, object] | None, line: str
) -> None:
    files = {"a.py": "raise ImportError\n"}
    if origin is not None:
        files["a-1.0.dist-info/direct_url.json"] = json.dumps(origin)
    install("a", files, "a")
    result = zoo("plugins", "lock")
    assert result.exit_code == 0
    assert line in result.stdout.splitlines()
    assert ("Note: a was installed from a file or folder" in result.stderr) == ("file:" in line)
    assert result.stdout.startswith("# Plugins of zoo ")
    assert "layer-zoo" not in result.stdout


def test_plugins_without_a_command_lists_and_with_a_name_shows(zoo: Zoo) -> None:
    assert zoo("plugins").stdout == zoo("plugins", "list").stdout
    assert zoo("plugins", "--json").stdout == zoo("plugins", "list", "--json").stdout
    assert zoo("plugins", "starter").stdout == zoo("plugins", "show", "starter").stdout
    shown = zoo("plugins", "show", "starter", "--json").stdout
    assert zoo("plugins", "--json", "starter").stdout == zoo("plugins", "starter", "--json").stdout == shown


def test_show_says_all_of_a_plugin(zoo: Zoo, registry: Registry) -> None:
    (record,) = json.loads(zoo("plugins", "show", "studies", "--json").stdout)
    assert record["registered"] == [f"study {name}" for name in registry.studies if not name.startswith("gallery/")]
    assert record["version"]
    text = zoo("plugins", "show", "studies").stdout
    assert text.startswith(f"zoo_plugins.studies (layer-zoo, {record['file']})\nversion: {record['version']}\n")
    together = zoo("plugins", "show", "layer-zoo").stdout
    assert together.count("(layer-zoo, ") == len(registry.plugins), "a distribution's name shows all of its plugins"


def test_a_plugin_that_watches_is_not_said_to_do_nothing(zoo: Zoo, install: Install) -> None:
    install("watcher", {"watching.py": WATCHER}, "watching")
    (line,) = [line for line in zoo("plugins").stdout.splitlines() if line.startswith("watching ")]
    assert line.split(maxsplit=2)[1:] == ["watcher", "0 registered, watches runs"]
    assert "\nversion: 1.0\nwatches: zoo_run_finished\n" in zoo("plugins", "show", "watching").stdout


def test_a_plugin_that_fails_is_shown_with_its_version_and_trace(zoo: Zoo, install: Install) -> None:
    folder = install("broken", {"broken_plugin.py": "1 / 0\n"}, "broken_plugin")
    text = zoo("plugins", "show", "broken").stdout
    assert text.startswith(f"broken_plugin (broken, {folder / 'broken_plugin.py'})\nversion: 1.0\nfailed: ZeroDivision")
    assert text.endswith("ZeroDivisionError: division by zero\n")


def test_a_single_file_has_no_version(zoo: Zoo, plugin: Callable[[str, str], str]) -> None:
    text = zoo("--plugin", plugin("mine.py", "import zoo\n" + HOOK), "plugins", "show", "mine").stdout
    assert "(single file, " in text
    assert "version" not in text
    assert "\nregistered: activation mine\n" in text


@pytest.mark.parametrize("name", ["zoo_plugins.droputs", "layer-zo"])
def test_an_unknown_name_is_refused(zoo: Zoo, name: str) -> None:
    result = zoo("plugins", "show", name)
    assert result.exit_code == 2
    assert f"no plugin is called {name!r}; did you mean " in result.stderr


@pytest.mark.parametrize("command", ["list", "show", "install", "uninstall", "lock"])
def test_every_command_has_help_with_an_example(zoo: Zoo, command: str) -> None:
    result = zoo("plugins", command, "--help")
    assert result.exit_code == 0
    assert f" plugins {command}" in result.stdout.partition("Example")[2]


def test_uninstalling_asks_only_where_there_is_somebody(zoo: Zoo) -> None:
    result = zoo("plugins", "uninstall", "zoo-swishish")
    assert result.exit_code == 2
    assert "there is nobody to ask: give --yes to remove without asking" in result.stderr


def test_show_says_which_helpers_are_followed_and_what_is_not(
    zoo: Zoo, plugin: Callable[[str, str], str], folder: Path
) -> None:
    text = "import zoo\n" + HOOK + "def late():\n    import torch, beside\n"
    file = plugin("alone.py", text)
    (folder / "beside.py").write_text("import gone\n")
    shown = zoo("--plugin", file, "plugins", "show", "alone")
    assert f"\nfollows: {folder / 'beside.py'}\n" in shown.stdout
    assert shown.stdout.endswith("\ndoes not follow edits of: gone (not found), torch\n")
    (record,) = json.loads(zoo("--plugin", file, "plugins", "show", "alone", "--json").stdout)
    assert record["follows"] == [str(folder / "beside.py")]


@pytest.mark.parametrize("words", [("--", "--no-index", "x"), ("-r", "--help"), ("-e", "--help"), ("--", "-")])
def test_options_do_not_reach_pip(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.cli.plugins._pip", lambda *arguments: pytest.fail("pip was run"))
    result = CliRunner().invoke(main, ["plugins", "install", *words], prog_name="zoo")
    assert result.exit_code == 2
    assert "is an option of pip, which is not passed on; set " in result.stderr


def test_the_variable_of_an_option_of_pip_is_named() -> None:
    result = CliRunner().invoke(main, ["plugins", "install", "--", "--index-url=https://e"], prog_name="zoo")
    assert "set the environment variable PIP_INDEX_URL instead" in result.stderr
