"""`zoo config`: what holds where nothing else is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.main import Plugins
from zoo.report import layout

if TYPE_CHECKING:
    from zoo.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def config_command(plugins: Plugins, as_json: bool) -> None:
    """Show what holds where nothing else is said, and who says so.

    The project file is zoo.toml, or the table [tool.zoo] of pyproject.toml, of the working folder or of the nearest of
    its parents that has one. Environment variables go before it, options of a command before both.

    \b
    Examples:
      zoo config
      zoo config --json
    """
    from zoo.settings import DEFAULT, KEYS

    told = plugins.settings
    values, origins = dict(told.values), dict(told.origins)
    blocked = [text.removeprefix("no:") for text in plugins.left_out]
    for name, option, further in (("plugins", "--plugin", plugins.files), ("block", "-p", blocked)):
        if further:
            values[name] = [*values[name], *further]
            origins[name] = option if told.is_default(name) else f"{origins[name]}, {option}"
    if as_json:
        record = {key.name: {"value": _plain(values[key.name]), "from": origins[key.name]} for key in KEYS}
        click.echo(
            json.dumps({"file": None if told.file is None else str(told.file.absolute()), "settings": record}, indent=2)
        )
        return
    click.echo(layout.paragraph(f"project file: {told.file.absolute() if told.file else _none()}") + "\n")
    rows = [
        [key.name, _shown(values[key.name]) or key.otherwise, _origin(told, origins[key.name]), key.meaning]
        for key in KEYS
    ]
    click.echo(layout.table(rows, headers=["setting", "value", "from", ""]))
    if all(origin == DEFAULT for origin in origins.values()):
        click.echo("\nNothing is set.")


def _none() -> str:
    from zoo.settings import FILE, PYPROJECT, TABLE

    return f"none (no {FILE} here or in a parent, nor a {PYPROJECT} with [{TABLE}])"


def _origin(told: Settings, origin: str) -> str:
    """Return where a value comes from; the path of the file stands above the table."""
    return origin if told.file is None else origin.replace(str(told.file), told.file.name)


def _shown(value: Any) -> str:
    if value is None or value in ((), []):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={_shown(each)}" for name, each in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
