from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import pytest
from click.testing import Result

from zoo.cli.main import COMMANDS, main
from zoo.ledger import Ledger

HALF_WAY = "import zoo\n\n@zoo.hookimpl\ndef zoo_register_activations(register):\n    raise RuntimeError('half way')\n"
HOOKED = """
import zoo

@zoo.hookimpl
def zoo_report_sections(runs):
    return [f"Seen: {len(runs)}"]
"""


def test_help_names_every_command_and_shows_examples(zoo: Callable[..., Result]) -> None:
    result = zoo("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command}" in result.stdout
    assert "zoo benchmark 'starter/*' --seeds 10" in result.stdout


@pytest.mark.parametrize("command", ["benchmark", "results", "list", "show", "plugins", "data list", "data get"])
def test_every_command_has_help_with_examples(zoo: Callable[..., Result], command: str) -> None:
    result = zoo(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"  zoo {command}" in result.stdout.partition("Example")[2], result.stdout


def test_the_overview_says_the_same_as_each_command_s_help(zoo: Callable[..., Result]) -> None:
    overview = " ".join(zoo("--help").stdout.split())
    for command, (_, text) in COMMANDS.items():
        assert f"{command} {text}" in overview
        assert f" {text}" in " ".join(zoo(command, "--help").stdout.split()), f"zoo {command} --help says otherwise"


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_help_fits_the_terminal_and_nothing_is_cut(
    zoo: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    texts = []
    for width in (80, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        text = zoo(*command, "--help").stdout
        assert [line for line in text.splitlines() if len(line) > width] == []
        listed = text.partition("\nCommands:\n")[2]
        assert "..." not in listed
        texts.append(" ".join(text.split()))
    assert texts[0] == texts[1], "the width decides what is said"


def seconds_of_processor(arguments: list[str], environment: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_takes_less_than_300_milliseconds(script: str, process_environment: Mapping[str, str]) -> None:
    # Of processor time, and the least of several: other work on the machine says nothing about zoo.
    taken = min(seconds_of_processor([script, "--help"], process_environment) for _ in range(5))
    assert taken < 0.3, f"`zoo --help` takes {taken:.2f} s"


WITHOUT_TORCH = [
    ["--help"],
    ["benchmark", "--help"],
    ["list"],
    ["list", "--json"],
    ["show", "filter:conv"],
    ["show", "starter/default", "--spec"],
    ["plugins"],
    ["data", "list"],
    ["results"],
    ["results", "--json"],
    ["benchmark", "starter/defualt"],
    ["benchmark", "starter/default", "--set", "learning_rate=fast"],
    ["benchmark", "starter/default", "--vary", "activation=rellu"],
    ["benchmark", "starter/default", "--data", "nothing"],
    ["benchmark", "starter/default", "--format", "nothing"],
    ["show", "starter/defualt"],
    ["data", "get", "nothing"],
]


def test_torch_is_not_imported_before_it_is_needed(ledger: Path, process_environment: Mapping[str, str]) -> None:
    program = f"""
import sys
from zoo.cli import main
for arguments in {WITHOUT_TORCH!r}:
    try:
        main(arguments, prog_name="zoo")
    except SystemExit:
        pass
    if "torch" in sys.modules:
        sys.exit(f"zoo {{' '.join(arguments)}} imports torch")
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=process_environment, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_wrong_usage_is_2(zoo: Callable[..., Result]) -> None:
    for arguments in (["nothing"], ["--nothing"], ["benchmark", "--nothing"], ["list", "--kind", "nothing"]):
        assert zoo(*arguments).exit_code == 2, arguments


def test_a_ledger_that_cannot_be_read_is_1(zoo: Callable[..., Result], folder: Path) -> None:
    result = zoo("results")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: there is no ledger zoo.sqlite: `zoo benchmark` makes one; "
        "or name another file as the ledger, also by ZOO_LEDGER.\n"
    )
    (folder / "zoo.sqlite").write_text("not a ledger, and longer than the header of a database would be. " * 40)
    result = zoo("results")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the ledger zoo.sqlite ")
    assert zoo("benchmark", "starter/default", "--ledger", "missing/zoo.sqlite").exit_code == 1


def test_the_environment_names_the_ledger(
    zoo: Callable[..., Result], ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.rename("elsewhere.sqlite")
    monkeypatch.setenv("ZOO_LEDGER", "elsewhere.sqlite")
    assert zoo("results").exit_code == 0


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to /dev/full")


@FULL
def test_output_that_cannot_be_written_is_one_error(script: str, process_environment: Mapping[str, str]) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [script, "list"], stdout=full, stderr=subprocess.PIPE, text=True, env=process_environment
        )
    assert (result.returncode, result.stderr) == (1, "Error: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("remarks", [">&- 2>&-", pytest.param("2>/dev/full", marks=FULL)])
def test_runs_are_trained_whether_or_not_anybody_listens(
    script: str, process_environment: Mapping[str, str], folder: Path, remarks: str
) -> None:
    command = f"{script} benchmark starter/default --epochs 1 --seeds 1 --jobs 1 {remarks}"
    assert subprocess.run(["sh", "-c", command], env=process_environment, capture_output=True).returncode == 0
    with Ledger(folder / "zoo.sqlite") as ledger:
        assert len(ledger.runs()) == 1


def test_an_installed_plugin_that_fails_costs_only_itself(
    zoo: Callable[..., Result], install: Callable[..., Path]
) -> None:
    install("broken", {"broken_plugin.py": HALF_WAY}, "broken_plugin")
    result = zoo("list", "--kind", "activation")
    assert result.exit_code == 0
    assert "relu" in result.stdout
    assert result.stderr.startswith("Warning: plugin broken_plugin (broken, ")
    assert "is left out: RuntimeError: half way (see `zoo plugins broken_plugin` for the trace)" in result.stderr


def test_plugins_shows_a_failure_and_its_trace(zoo: Callable[..., Result], install: Callable[..., Path]) -> None:
    install("broken", {"broken_plugin.py": HALF_WAY}, "broken_plugin")
    listed = zoo("plugins")
    assert listed.exit_code == 0
    (line,) = [line for line in listed.stdout.splitlines() if line.startswith("broken_plugin")]
    assert line.split(maxsplit=2)[1:] == ["broken", "failed: RuntimeError: half way"]
    one = zoo("plugins", "broken_plugin")
    assert one.exit_code == 0
    assert "Traceback (most recent call last):" in one.stdout
    assert one.stdout.endswith("RuntimeError: half way\n")


def test_strict_plugins_stops_at_a_failure(zoo: Callable[..., Result], install: Callable[..., Path]) -> None:
    install("broken", {"broken_plugin.py": HALF_WAY}, "broken_plugin")
    result = zoo("--strict-plugins", "list")
    assert result.exit_code == 2
    assert "cannot be used: RuntimeError: half way (line 5)" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("name", ["broken_plugin", "broken"])
def test_a_plugin_is_left_out_by_its_name_or_its_distribution_s(
    zoo: Callable[..., Result], install: Callable[..., Path], name: str
) -> None:
    install("broken", {"broken_plugin.py": HALF_WAY}, "broken_plugin")
    result = zoo("-p", f"no:{name}", "--strict-plugins", "list", "--kind", "block")
    assert (result.exit_code, result.stderr) == (0, "")


def test_what_is_left_out_is_not_there(zoo: Callable[..., Result]) -> None:
    assert "swish" not in zoo("-p", "no:activations", "list", "--kind", "activation").stdout
    result = zoo("-p", "no:starter", "show", "starter/default")
    assert result.exit_code == 2
    assert "no spec is called 'starter/default'; did you mean eq2425/default" in result.stderr


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("dropouts", "-p dropouts: expected no:NAME, as in -p no:zoo_plugins.dropouts"),
        ("no:", "-p no:: expected no:NAME, as in -p no:zoo_plugins.dropouts"),
        ("no:dropuots", "cannot leave out plugin 'dropuots': there is none; did you mean dropouts?"),
    ],
)
def test_leaving_out_what_is_not_there_is_wrong(zoo: Callable[..., Result], argument: str, message: str) -> None:
    result = zoo("-p", argument, "list")
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_single_file_is_a_plugin(zoo: Callable[..., Result], plugin: Callable[[str, str], str], boom: str) -> None:
    result = zoo("--plugin", plugin("loud.py", boom), "list", "--kind", "activation")
    assert result.exit_code == 0
    assert "  twice " in result.stdout


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("half.py", HALF_WAY, "plugin half (single file, {file}) cannot be used: RuntimeError: half way (line 5)"),
        ("syntax.py", "def (", "cannot be used: SyntaxError: "),
        ("missing.py", None, "there is no file"),
        ("notes.txt", "", "is not a Python file: a single-file plugin ends in .py"),
    ],
)
def test_a_single_file_that_is_no_plugin_is_wrong(
    zoo: Callable[..., Result],
    folder: Path,
    plugin: Callable[[str, str], str],
    name: str,
    text: str | None,
    message: str,
) -> None:
    if text is not None:
        plugin(name, text)
    result = zoo("--plugin", name, "list")
    assert result.exit_code == 2
    assert message.format(file=name) in result.stderr.replace(f"{folder}/", "")
    assert "Traceback" not in result.stderr


def test_the_trace_of_a_single_file_is_shown(zoo: Callable[..., Result], plugin: Callable[[str, str], str]) -> None:
    result = zoo("--plugin", plugin("half.py", HALF_WAY), "plugins", "half")
    assert result.exit_code == 2
    assert "line 5, in zoo_register_activations" in result.stdout


def test_a_plugin_adds_sections_to_the_report(
    zoo: Callable[..., Result], ledger: Path, plugin: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plugin("seen.py", HOOKED)
    assert zoo("--plugin", file, "results").stdout.endswith("\n\nSeen: 4\n")
    assert "Seen" not in zoo("--plugin", file, "results", "--json").stdout


def test_a_section_that_raises_costs_only_itself(
    zoo: Callable[..., Result], ledger: Path, plugin: Callable[[str, str], str]
) -> None:
    file = plugin("seen.py", HOOKED.replace("len(runs)", "runs / 0"))
    result = zoo("--plugin", file, "results")
    assert result.exit_code == 0
    assert "starter/4c" in result.stdout
    assert "plugin seen: its hook zoo_report_sections raised TypeError: " in result.stderr


def test_an_interrupt_anywhere_is_130(
    zoo: Callable[..., Result], ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "runs", interrupted)
    result = zoo("results")
    assert result.exit_code == 130
    assert result.stderr == "\nStopped.\n"


OSC = "\x1b]0;x\x07"
"""Sets the title of a terminal's window."""


def run_script(script: str, environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script, *words], env=environment, capture_output=True, text=True, timeout=120)


def test_no_name_commands_the_terminal(script: str, process_environment: Mapping[str, str], folder: Path) -> None:
    file = folder / f"e{OSC}.toml"
    file.write_text('base = "starter/default"\n')
    for words in (("show", str(file)), ("show", f"a{OSC}"), ("show", "starter/default", "--set", f"a{OSC}=1")):
        shown = run_script(script, process_environment, *words)
        assert shown.returncode == 2
        assert "\x1b" not in shown.stdout + shown.stderr
        assert r"\u001b]0;x\u0007" in shown.stderr or r"\x1b]0;x\x07" in shown.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("new-plugin", "a" * 300),
        ("new-plugin", "fine", "a" * 300),
        ("show", "starter/default", "--data", f"folder:{'a' * 300}"),
        ("benchmark", "starter/default", "--plan", "--data", f"npz:{'a' * 300}.npz"),
        ("data", "get", f"folder:{'a' * 300}"),
    ],
)
def test_a_name_that_is_too_long_for_a_file_is_one_error(
    zoo: Callable[..., Result], folder: Path, words: tuple[str, ...]
) -> None:
    result = zoo(*words)
    assert result.exit_code == 2
    assert "characters, which is too long for a file; take a shorter one" in result.stderr
    assert len(result.stderr) < 300
    assert not list(folder.iterdir())


def test_a_report_s_name_is_tried_before_hours_of_training(zoo: Callable[..., Result], folder: Path) -> None:
    result = zoo("study", "run", "starter-factorial", "-y", "-o", f"{'a' * 300}.html")
    assert result.exit_code == 2
    assert result.stderr.endswith("; name another file\n")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("benchmrk", "No such command 'benchmrk'; did you mean benchmark?"),
        ("xyzzy", "No such command 'xyzzy'."),
        ("--xyzzy", "No such option '--xyzzy'."),
    ],
)
def test_a_command_that_there_is_not(zoo: Callable[..., Result], typed: str, said: str) -> None:
    result = zoo(typed)
    assert result.exit_code == 2
    assert said in result.stderr.replace("No such option: --xyzzy", "No such option '--xyzzy'.")
