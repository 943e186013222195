"""The documents are true: each of their blocks is run, and each reference page names all that it is about."""

from __future__ import annotations

import inspect
import json
import os
import re
import runpy
import subprocess
import sys
import sysconfig
import time
import tomllib
from pathlib import Path
from urllib.parse import unquote

import attrs
import click
import pytest
import warm_zoo
from made_results import one_at_a_time
from snippets import ROOT, Block, anchors, blocks, links, prose, sections, table

import zoo
from zoo import settings, spec
from zoo.cli import main
from zoo.lab.findings import Findings
from zoo.lab.lab import Lab
from zoo.lab.pooled import PooledFindings
from zoo.lab.shown import ShownPlan
from zoo.lab.studies import StudyWork
from zoo.lab.table import Table
from zoo.registry import default_registry, hookspecs
from zoo.registry.hookspecs import KINDS
from zoo.report.frames import EPOCH_COLUMNS, ROW_COLUMNS, RUN_COLUMNS, VERDICT_COLUMNS
from zoo.report.study.pooled import FRAME_COLUMNS as POOLED_COLUMNS
from zoo.report.study.tables import FRAME_COLUMNS, runs
from zoo.report.table import COLUMNS
from zoo.spec.resolve import resolve

DOCS = ROOT / "docs"
EXECUTED = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
ALL = [*EXECUTED, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]

# They install into an environment of their own; .ci/run carries them out.
INSTALLING = {
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/zoo benchmark\n",
    "python3 -m venv .venv-test && .venv-test/bin/pip install '.[test]' && .venv-test/bin/pytest\n",
}
LANGUAGES = {"sh", "python", "toml", "text"}
SECONDS_FOR_A_BLOCK = 300


def name(document):
    return str(document.relative_to(ROOT))


each_executed = pytest.mark.parametrize("document", EXECUTED, ids=name)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """A folder with a command `zoo` that starts at once."""
    folder = tmp_path_factory.mktemp("warm")
    address = folder / "socket"
    warm_zoo.write(folder, address)
    with subprocess.Popen([sys.executable, warm_zoo.__file__, str(address)]) as server:
        while not address.exists():
            assert server.poll() is None, "the server ended"
            time.sleep(0.05)
        yield folder
        server.terminate()


@pytest.fixture
def folder(tmp_path, cache, monkeypatch):
    """The folder in which a reader follows one document, empty at first, with `zoo` and `pip` on the PATH."""
    for variable in ("ZOO_LEDGER", "ZOO_BLOCK", "ZOO_COMPLETE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ZOO_CACHE", str(cache))
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    # What a document installs goes here instead of the environment that the tests run in, and nothing is downloaded.
    installed = tmp_path / "installed"
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("PIP_TARGET", str(installed))
    monkeypatch.setenv("PIP_NO_DEPS", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip reads it as the value of --build-isolation
    reader = tmp_path / "reader"
    reader.mkdir()
    monkeypatch.chdir(reader)
    return reader


@each_executed
def test_every_block_works(document, folder, request, monkeypatch):
    # The README shows that the command starts and begins workers; to do both a hundred times takes minutes. What a
    # document installs is imported by processes that start anew.
    installs = any(" install " in block.text for block in blocks(document) if block.language == "sh")
    if document != ROOT / "README.md" and hasattr(os, "fork"):
        monkeypatch.setenv("ZOO_JOBS", "1")
        if not installs:
            monkeypatch.setenv("PATH", f"{request.getfixturevalue('warm')}{os.pathsep}{os.environ['PATH']}")
    variables = {"__name__": "__main__"}
    for block in blocks(document):
        if block.file is not None:
            write(block, folder)
        elif block.language == "sh" and block.text not in INSTALLING:
            run(block, folder)
        elif block.language == "python":
            execute(block, variables)
        elif block.language == "toml":
            pytest.fail(f"{block}: a TOML block is a file; name it in a comment before it: <!-- file: mine.toml -->")


def write(block: Block, folder: Path) -> None:
    assert block.file in block.before, f"{block}: the text before the block does not name its file {block.file}"
    path = folder / block.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
    if path.name == "zoo.toml":
        settings.read(path)
    elif block.language == "toml" and path.name != "pyproject.toml":
        resolve(path)


def run(block: Block, folder: Path) -> None:
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_FOR_A_BLOCK,
    )
    if result.returncode:
        pytest.fail(f"{block}: exit code {result.returncode}\n{block.text}\n{result.stdout}", pytrace=False)


def execute(block: Block, variables: dict[str, object]) -> None:
    # The empty lines make a traceback name the line in the document.
    source = "\n" * (block.line - 1) + block.text
    exec(compile(source, str(block.document), "exec"), variables)


@each_executed
def test_no_block_is_in_a_language_that_nothing_checks(document):
    for block in blocks(document):
        assert block.language in LANGUAGES, f"{block}: {block.language!r} is none of {', '.join(sorted(LANGUAGES))}"


def test_the_readme_states_each_installing_command_once():
    texts = [block.text for block in blocks(ROOT / "README.md")]
    for command in INSTALLING:
        assert texts.count(command) == 1, f"README.md: no sh block, or several, of the line {command}"


@pytest.mark.parametrize("document", ALL, ids=name)
def test_links_lead_somewhere(document):
    for link in links(document):
        if "://" in link.target:
            continue
        path, _, anchor = unquote(link.target).partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{link}: there is no {link.target}"
        if anchor:
            assert anchor in anchors(target), f"{link}: {name(target)} has no heading for #{anchor}"


def test_every_document_is_linked_from_another():
    linked = {
        (document.parent / unquote(link.target).partition("#")[0]).resolve()
        for document in ALL
        for link in links(document)
        if not link.target.startswith("#")
    }
    orphans = [name(document) for document in EXECUTED if document not in linked and document.name != "README.md"]
    assert not orphans, f"no document links to {', '.join(orphans)}"


SPEC_TABLES = {
    "Top level": spec.Spec,
    "network": spec.NetworkSpec,
    "network.features": spec.Block,
    "network.classifier": spec.Dense,
    "network.replace": spec.Replace,
    "network.output": spec.Output,
    "network.replace.places": spec.Places,
    "network.weights": spec.Weights,
    "training": spec.TrainingSpec,
    "training.groups": spec.ParameterGroup,
    "data": spec.DataSpec,
    "evaluation": spec.EvaluationSpec,
    "evaluation.stop": spec.Stop,
    "reference": spec.Reference,
}


@pytest.mark.parametrize("heading", SPEC_TABLES)
def test_specs_md_lists_every_field_with_its_default(heading):
    fields = attrs.fields(SPEC_TABLES[heading])
    expected = [(field.name, default_text(field)) for field in fields if not is_name(field)]
    rows = table(sections(DOCS / "reference/specs.md")[heading])
    documented = [(field, default) for field, _, default, _ in rows]
    assert documented == expected, f"docs/reference/specs.md: the table under {heading!r} differs from zoo/spec.py"


def is_name(field: attrs.Attribute[object]) -> bool:
    """Whether it is the spec's name, which is not stated in the spec itself."""
    return field.name == "name"


def default_text(field: attrs.Attribute[object]) -> str:
    if field.default is attrs.NOTHING:
        return "" if field.name == "description" else "required"
    if field.default is None:
        return ""
    if attrs.has(type(field.default)):
        return "its defaults"
    return json.dumps(field.default)


def test_the_sections_of_specs_md_are_all_that_a_spec_has():
    tables = {type_ for type_ in vars(spec).values() if attrs.has(type_) and type_.__module__ == spec.Spec.__module__}
    assert set(SPEC_TABLES.values()) == tables, "docs/reference/specs.md needs a section for each table of a spec"


HOOKS = [hook for hook in vars(hookspecs) if hook.startswith("zoo_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_md_has_every_hook(hook):
    assert hook in sections(DOCS / "reference/hooks.md"), f"docs/reference/hooks.md has no heading {hook}"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_hooks_md_names_what_each_factory_is_given(kind):
    text = prose(sections(DOCS / "reference/hooks.md")[kind.hook])
    asked = [name for name in kind.asked if name != hookspecs.MAKE]
    absent = [given for given in (*kind.given, *asked) if f"`{given}`" not in text]
    assert not absent, f"docs/reference/hooks.md: {kind.hook} does not name {', '.join(absent)}"


@pytest.mark.parametrize("kind", [*KINDS, "spec"])
def test_there_is_an_example_of_every_kind(kind):
    heading = kind.capitalize()
    text = prose(sections(DOCS / "how-to/add-a-variant.md").get(heading, []))
    hook = KINDS[kind].hook if kind in KINDS else "zoo_register_specs"
    assert hook in text, f"docs/how-to/add-a-variant.md: the section {heading!r} has no example with {hook}"


def commands(command: click.Command, path: str) -> dict[str, click.Command]:
    """Return a command and all below it by what is typed."""
    found = {path: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            found |= commands(command.get_command(context, below), f"{path} {below}")
    return found


COMMANDS = commands(main, "zoo")


@pytest.mark.parametrize("command", COMMANDS)
def test_cli_md_has_every_parameter_of_every_command(command):
    text = prose(sections(DOCS / "reference/cli.md").get(command, []))
    context = click.Context(COMMANDS[command])
    for parameter in COMMANDS[command].params:
        spellings = parameter.opts if isinstance(parameter, click.Option) else [parameter.make_metavar(context)]
        for spelling in spellings:
            assert spelling in text, f"docs/reference/cli.md: the section {command!r} does not name {spelling}"


@pytest.mark.parametrize("column", COLUMNS)
def test_cli_md_has_every_column_that_a_table_can_be_sorted_by(column):
    text = prose(sections(DOCS / "reference/cli.md")["zoo benchmark"])
    assert f"`{column}`" in text, f"docs/reference/cli.md: --sort lacks {column}"


def test_cli_md_has_every_environment_variable():
    files = [*(ROOT / "zoo").rglob("*.py")]
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    variables = set(re.findall(r'"(ZOO_\w+)"', source))
    assert variables >= {"ZOO_LEDGER", "ZOO_CACHE", "ZOO_BLOCK"}, "the search for variables in zoo/ found too little"
    text = prose(sections(DOCS / "reference/cli.md")["Environment variables"])
    absent = sorted(variable for variable in variables if variable not in text)
    assert not absent, f"docs/reference/cli.md: the environment variables lack {', '.join(absent)}"


@pytest.mark.parametrize("public", zoo.__all__)
def test_python_md_has_every_public_name(public):
    found = sections(DOCS / "reference/python.md")
    cells = {row[0] for tokens in found.values() for row in table(tokens)}
    assert f"zoo.{public}" in found.keys() | cells, f"docs/reference/python.md has no heading or row zoo.{public}"


@pytest.mark.parametrize(
    ("section", "cls"),
    {
        "zoo.Lab": Lab,
        "Plans": ShownPlan,
        "zoo.Table": Table,
        "Studies that are open": StudyWork,
        "zoo.Findings": Findings,
        "zoo.PooledFindings": PooledFindings,
    }.items(),
)
def test_python_md_has_every_public_member(section, cls):
    members = {name for name in dir(cls) if not name.startswith("_")}
    if not attrs.has(cls):
        members |= set(re.findall(r"self\.([a-z]\w*)", inspect.getsource(cls.__init__)))
    named = " ".join(row[0] for row in table(sections(DOCS / "reference/python.md")[section]))
    absent = members - set(re.findall(r"\w+", named))
    assert not absent, f"docs/reference/python.md, {section}: the tables lack {', '.join(sorted(absent))}"


@pytest.mark.parametrize(
    ("frame", "columns"),
    {
        "Table.runs": RUN_COLUMNS,
        "Table.epochs": EPOCH_COLUMNS,
        "Table.frame": ROW_COLUMNS,
        "Table.verdicts": VERDICT_COLUMNS,
        "Findings.frame": FRAME_COLUMNS,
        "Findings.runs": None,
        "PooledFindings.frame": POOLED_COLUMNS,
    }.items(),
)
def test_python_md_has_every_column_of_every_frame(frame, columns):
    rows = table(sections(DOCS / "reference/python.md")[f"Columns of {frame}"])
    listed = [column for row in rows for column in row[0].split(", ")]
    if columns is None:  # they depend on the study
        found = runs(one_at_a_time(default_registry()), {})
        columns = {"change.FACTOR" if column.startswith("change.") else column for column in found}
    assert sorted(listed) == sorted(columns)


def test_variants_md_is_what_is_registered():
    page = runpy.run_path(str(DOCS / "generate.py"))["variants_page"](default_registry())
    current = (DOCS / "reference/variants.md").read_text(encoding="utf-8")
    assert current == page, "docs/reference/variants.md is out of date; write it anew with: python docs/generate.py"


def test_the_snippets_of_a_distribution_are_valid_toml(tmp_path):
    found = [b for document in EXECUTED for b in blocks(document) if (b.file or "").endswith("pyproject.toml")]
    assert found, "no document shows how a distribution names its plugins"
    for block in found:
        assert "zoo" in tomllib.loads(block.text)["project"]["entry-points"], f"{block}: no entry point in group zoo"
