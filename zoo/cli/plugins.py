"""`zoo plugins`: which plugins there are, and installing, removing and repeating them with pip.

What changes the environment, or writes it down, reads the metadata of distributions only: it imports no plugin, so
that it works on one that does not import.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import click
from click.shell_completion import CompletionItem

from zoo import __version__
from zoo.cli.common import Group, say
from zoo.cli.completion import complete_plugin
from zoo.cli.main import Plugins
from zoo.errors import WORK_FAILED, PluginError, UnknownNameError, near_misses
from zoo.registry import ENTRY_POINT_GROUP, Plugin, Registry
from zoo.registry.hookspecs import KINDS
from zoo.registry.source import plugin_source
from zoo.report import layout

OWN_DISTRIBUTION = "layer-zoo"
WATCHING = ("zoo_run_started", "zoo_epoch_finished", "zoo_run_finished", "zoo_report_sections", "zoo_write_runs")


class _Group(Group):
    """A group in which `zoo plugins` is `zoo plugins list`, and `zoo plugins NAME` is `zoo plugins show NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing and not {*self.commands, *ctx.help_option_names}.intersection(args):
            named = any(not word.startswith("-") for word in args)
            args = ["show" if named else "list", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        names = self.commands["show"].params[0].shell_complete(ctx, incomplete)
        return [*super().shell_complete(ctx, incomplete), *names]


@click.group(cls=_Group)
def plugins_command() -> None:
    """List plugins, what each registered, and why one failed.

    `zoo plugins` is `zoo plugins list`, and `zoo plugins NAME` is `zoo plugins show NAME`. The other commands install
    and remove distributions with the pip of the Python that zoo runs in.

    \b
    Examples:
      zoo plugins
      zoo plugins zoo_plugins.activations
      zoo plugins install ./zoo-swishish
      zoo plugins lock > zoo-plugins.txt
    """


@plugins_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_command(plugins: Plugins, as_json: bool) -> None:
    """List the plugins, how much each registered, and why one failed.

    \b
    Examples:
      zoo plugins list
      zoo --plugin swishish.py plugins list
    """
    registry: Registry = plugins.load()
    records = _records(registry)
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        rows = [[r["name"], r["distribution"], _state(r)] for r in records]
        click.echo(layout.table(rows, headers=["plugin", "distribution", ""]))
    registry.require_sound()


@plugins_command.command("show")
@click.argument("name", shell_complete=complete_plugin)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show_command(plugins: Plugins, name: str, as_json: bool) -> None:
    """Show what a plugin registers, its version and file, and the trace of its failure.

    NAME is a plugin, the last part of its name, or a distribution. An edit of a file that a plugin imports makes new
    runs of what uses it, where the file is followed: shown is which others than its own package's are, and what is not.

    \b
    Examples:
      zoo plugins show activations
      zoo --plugin swishish.py plugins show swishish
    """
    registry: Registry = plugins.load()
    records = _records(registry)
    chosen = [r for r in records if name in (r["name"], r["name"].rpartition(".")[2], r["distribution"])]
    if not chosen:
        known = {known for r in records for known in (r["name"], r["distribution"])}
        raise UnknownNameError(f"no plugin is called {name!r}{near_misses(name, known)}")
    chosen = [{**record, **_source(record)} for record in chosen]
    click.echo(json.dumps(chosen, indent=2) if as_json else "\n\n".join(_text(record) for record in chosen))
    registry.require_sound()


@plugins_command.command("install")
@click.argument("requirements", metavar="[REQUIREMENT]...", nargs=-1)
@click.option(
    "-r", "--requirement", "files", multiple=True, metavar="FILE", help="Install what FILE lists, such as a lock file."
)
@click.option("-e", "--editable", "editables", multiple=True, metavar="FOLDER", help="Install a folder in place.")
@click.option("-U", "--upgrade", is_flag=True, help="Replace what is installed by the newest.")
def install_command(
    requirements: tuple[str, ...], files: tuple[str, ...], editables: tuple[str, ...], upgrade: bool
) -> None:
    """Install distributions of plugins with pip.

    REQUIREMENT is what pip takes: a name, a folder, a wheel, a URL. Settings of pip are taken from its environment
    variables, such as PIP_INDEX_URL.

    \b
    Examples:
      zoo plugins install zoo-swishish
      zoo plugins install -e ./zoo-swishish
      zoo plugins install -r zoo-plugins.txt
    """
    for word in (*requirements, *files, *editables):
        if word.startswith("-"):
            raise click.UsageError(f"{word} is an option of pip, which is not passed on; set {_variable(word)} instead")
    wanted = [*requirements]
    wanted += [word for file in files for word in ("-r", file)]
    wanted += [word for folder in editables for word in ("-e", folder)]
    if not wanted:
        raise click.UsageError("nothing to install: name a distribution, a folder, -r FILE or -e FOLDER")
    before = {_pinned(found) for found in _providers().values()}
    _pip("install", "--quiet", *(["--upgrade"] if upgrade else []), *wanted)
    importlib.invalidate_caches()
    new = [found for found in _providers().values() if _pinned(found) not in before]
    for distribution in new:
        say(f"{_pinned(distribution)} has plugins: `zoo plugins show {distribution.name}` shows what they register.")
    if not new:
        say("No plugin is new: what was installed has none, or it was there before.")


@plugins_command.command("uninstall")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def uninstall_command(names: tuple[str, ...], yes: bool) -> None:
    """Remove distributions of plugins with pip; a plugin that does not import is removed like any other.

    NAME is a distribution, or a plugin of it.

    \b
    Example:
      zoo plugins uninstall zoo-swishish
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is nobody to ask: give --yes to remove without asking")
    providers = _providers()
    found = [_provider(name, providers) for name in names]
    _pip("uninstall", *(["--yes"] if yes else []), *dict.fromkeys(distribution.name for distribution in found))


@plugins_command.command("lock")
def lock_command() -> None:
    """Write down which distributions of plugins are installed, in the form that `install -r` reads.

    Each with its version, or with its URL or folder where it was installed from one. zoo itself and what the
    distributions depend on are not listed.

    \b
    Example:
      zoo plugins lock > zoo-plugins.txt
    """
    click.echo(f"# Plugins of zoo {__version__}; `zoo plugins install -r` this file installs them again.")
    for _, distribution in sorted(_providers().items()):
        line = _locked(distribution)
        click.echo(line)
        if "file:" in line:
            say(f"Note: {distribution.name} was installed from a file or folder, which only this machine may have.")


def _records(registry: Registry) -> list[dict[str, Any]]:
    registered: dict[str, list[str]] = {name: [] for name in registry.plugins}
    for kind in KINDS:
        for variant in registry.variants(kind).values():
            registered[variant.plugin.name].append(f"{kind} {variant.name}")
    for what, entries in (("spec", registry.specs), ("study", registry.studies)):
        for name, entry in entries.items():
            registered[entry.plugin.name].append(f"{what} {name}")
    watches: dict[str, list[str]] = {name: [] for name in registry.plugins}
    for hook in WATCHING:
        for implementation in getattr(registry.hook, hook).get_hookimpls():
            watches[implementation.plugin_name].append(hook)
    in_use = [(plugin, registered[name], watches[name], "", "") for name, plugin in registry.plugins.items()]
    nothing: list[str] = []
    failed = [(failure.plugin, nothing, nothing, failure.reason, failure.trace) for failure in registry.failures]
    return [
        {
            **attrs.asdict(plugin, filter=attrs.filters.exclude("content")),
            "version": _version(plugin.distribution),
            "registered": names,
            "watches": hooks,
            "failure": reason,
            "trace": trace,
        }
        for plugin, names, hooks, reason, trace in (*in_use, *failed)
    ]


def _source(record: dict[str, Any]) -> dict[str, list[str]]:
    """Return the files outside a plugin's package of which an edit is noticed, and what it imports besides."""
    try:
        found = plugin_source(Plugin(record["name"], record["distribution"], record["file"]))
    except (PluginError, OSError):  # its failure, or that of the runs that use it, says so
        return {"follows": [], "does_not_follow": []}
    return {"follows": [str(file) for file in found.helpers], "does_not_follow": list(found.unseen)}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # a single file
        return ""


def _state(record: dict[str, Any]) -> str:
    if record["failure"]:
        return f"failed: {record['failure']}"
    return f"{len(record['registered'])} registered" + (", watches runs" if record["watches"] else "")


def _text(record: dict[str, Any]) -> str:
    lines = [f"{record['name']} ({record['distribution']}, {record['file']})"]
    lines += [f"version: {record['version']}"] if record["version"] else []
    for what in ("registered", "watches"):
        lines += [layout.paragraph(f"{what}: {', '.join(record[what])}")] if record[what] else []
    lines += [f"follows: {file}" for file in record["follows"]]
    if record["does_not_follow"]:
        lines += [layout.paragraph(f"does not follow edits of: {', '.join(record['does_not_follow'])}")]
    lines += [f"failed: {record['failure']}", "", record["trace"].rstrip()] if record["failure"] else []
    return "\n".join(lines)


def _providers() -> dict[str, Distribution]:
    """Return the installed distributions that have plugins, but zoo's own, by normalized name."""
    found: dict[str, Distribution] = {}
    for distribution in distributions():
        if distribution.entry_points.select(group=ENTRY_POINT_GROUP):
            # The first on the path hides others of its name, as it does when it is imported.
            found.setdefault(_normalized(distribution.name), distribution)
    found.pop(OWN_DISTRIBUTION, None)
    return found


def _normalized(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _provider(name: str, providers: dict[str, Distribution]) -> Distribution:
    """Return the distribution of that name, or the one with a plugin of that name.

    Raises:
        PluginError: it is zoo itself.
        UnknownNameError: no distribution with plugins is called so.
    """
    if _normalized(name) == OWN_DISTRIBUTION:
        raise PluginError(
            f"{name} is zoo itself; to remove it: {shlex.join([sys.executable, *_PIP, 'uninstall', name])}"
        )
    if _normalized(name) in providers:
        return providers[_normalized(name)]
    for distribution in providers.values():
        modules = {point.module for point in distribution.entry_points.select(group=ENTRY_POINT_GROUP)}
        if any(name == module or name.startswith(f"{module}.") for module in modules):
            return distribution
    known = [distribution.name for distribution in providers.values()]
    raise UnknownNameError(
        f"no distribution with plugins is called {name!r}{near_misses(name, known)} "
        f"Installed: {', '.join(sorted(known)) or 'none but zoo itself'}."
    )


def _variable(option: str) -> str:
    """Return the environment variable by which pip takes an option."""
    name = re.sub(r"[^A-Za-z]+", "_", option.partition("=")[0]).strip("_").upper()
    return f"the environment variable PIP_{name}" if name else "pip's environment variables"


def _pinned(distribution: Distribution) -> str:
    return f"{distribution.name}=={distribution.version}"


def _locked(distribution: Distribution) -> str:
    """Return the line of a requirements file that installs the same, by PEP 610's record of a direct URL."""
    recorded = distribution.read_text("direct_url.json")
    if recorded is None:
        return _pinned(distribution)
    origin = json.loads(recorded)
    url, fragments = origin["url"], []
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    elif hashes := origin.get("archive_info", {}).get("hashes"):
        fragments += [f"{name}={value}" for name, value in hashes.items()][:1]
    if "subdirectory" in origin:
        fragments.append(f"subdirectory={origin['subdirectory']}")
    if fragments:
        url += "#" + "&".join(fragments)
    if origin.get("dir_info", {}).get("editable"):
        return f"-e {url}  # {_pinned(distribution)}"
    return f"{distribution.name} @ {url}"


_PIP = ("-m", "pip")


def _pip(*arguments: str) -> None:
    """Run pip, which speaks to the user itself.

    Raises:
        PluginError: there is no pip.
        click.exceptions.Exit: pip failed, and said why.
    """
    if find_spec("pip") is None:
        raise PluginError(
            f"there is no pip for {sys.executable}: get it with `{Path(sys.executable).name} -m ensurepip`, or use the "
            "tool that made this environment"
        )
    if subprocess.run([sys.executable, *_PIP, *arguments]).returncode:
        raise click.exceptions.Exit(WORK_FAILED)
