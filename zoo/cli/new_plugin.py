"""`zoo new-plugin`: a plugin that works as it is made, to fill in."""

from __future__ import annotations

import keyword
import re
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

import click

from zoo.cli.completion import complete_kind
from zoo.cli.main import Plugins
from zoo.errors import PluginError
from zoo.registry import Registry
from zoo.registry.hookspecs import KINDS

TEMPLATES = Path(__file__).parents[1] / "templates/new_plugin"

WITHOUT_MODULE = ("initializer", "schedule", "loss", "augmentation", "gradient", "averaging", "prediction")
"""Kinds whose variant is one function, with nothing behind it."""

BENCHMARK = {
    "activation": "--vary activation=relu,{name} --seeds 10",
    "normalization": "--vary 'network.features.*.normalization=batch,{name}' --seeds 10",
    "dropout": "--vary network.classifier.0.dropout=dropout,{name} --seeds 10",
    "filter": "--vary filter=conv,{name} --seeds 10",
    "pooling": "--vary pooling=max,{name} --seeds 10",
    "block": "--vary 'network.features.*.block=plain,{name}' --seeds 10",
    "architecture": "--set 'network={{features=[],classifier=[],architecture=\"{name}\"}}' --seeds 3",
    "initializer": "--vary initializer=default,{name} --seeds 10",
    # The learning rate of another rule says nothing about this one's.
    "optimizer": "--set optimizer={name} --vary optimizer.learning_rate=0.0003,0.001,0.003 --seeds 3",
    "schedule": "--vary schedule=constant,{name} --seeds 10",
    "loss": "--vary loss=cross_entropy,{name} --seeds 10",
    "augmentation": "--vary training.augmentation=none,{name} --seeds 10",
    "gradient": "--vary training.gradient=none,{name} --seeds 10",
    "averaging": "--vary averaging=none,{name} --seeds 10",
    "prediction": "--vary prediction=plain,{name} --seeds 10",
    "dataset": "--data {name}",
    "executor": "--executor {name} --seeds 2",
}
"""What tries a variant of each kind with `zoo benchmark starter/default`."""


@click.command()
@click.argument("name")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--kind",
    default="activation",
    show_default=True,
    shell_complete=complete_kind,
    help="What it registers: any kind of variant that `zoo list` shows.",
)
@click.option("--single-file", is_flag=True, help="Make the one file NAME.py, to be used with `zoo --plugin NAME.py`.")
@click.pass_obj
def new_plugin_command(plugins: Plugins, name: str, folder: Path | None, kind: str, single_file: bool) -> None:
    """Make a plugin to fill in: a distribution with tests.

    NAME is what the variant is called in specs. DIR is the folder to make, zoo-NAME when left out; with --single-file
    it is the folder that the file goes to. What is made works as it is: install it, test it, then change it.

    \b
    Examples:
      zoo new-plugin swishish
      zoo new-plugin smooth --kind normalization ~/layers/smooth
      zoo new-plugin swishish --single-file
    """
    _check_name(name)
    registry: Registry = plugins.registry()
    taken = registry.variants(kind).get(name)
    if taken:
        raise PluginError(f"the {kind} {name!r} is there already, from plugin {taken.plugin}; choose another name.")
    words = {**_words(name, kind), "single": single_file}
    _check_modules(name, str(words["package"]))
    if single_file:
        file = (folder or Path()) / f"{name}.py"
        _write({file: "single_file.py.jinja"}, words)
        click.echo(f"Made {file}. It works as it is; what to fill in is marked. Next:")
        steps = [
            f"zoo --plugin {quote(str(file))} check {kind}:{name}",
            f"zoo --plugin {quote(str(file))} benchmark starter/default {words['benchmark']}",
        ]
    else:
        folder = folder or Path(str(words["distribution"]))
        if folder.exists():
            raise PluginError(f"{folder} exists already; name another folder, or remove it first.")
        files = _distribution_files(words)
        _write({folder / path: template for path, template in files.items()}, words)
        click.echo(f"Made {folder} with {', '.join(files)}.\nIt works as it is; what to fill in is marked. Next:")
        place = quote(str(folder) if folder.is_absolute() else f"./{folder}")
        steps = [
            f"zoo plugins install -e {place}",
            f"pytest {place}",
            f"zoo check {kind}:{name}",
            f"zoo benchmark starter/default {words['benchmark']}",
        ]
    click.echo("".join(f"  {step}\n" for step in steps), nl=False)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or any(map(keyword.iskeyword, (name, name.title()))):
        raise PluginError(
            f"{name!r} cannot be the name of a variant: use small letters, digits and _, with a letter first, and no "
            "word of Python's own, as in leaky_relu."
        )


def _check_modules(*modules: str) -> None:
    """Refuse names of modules that can be imported: the new plugin would hide them, or be hidden."""
    for module in modules:
        found = find_spec(module)
        if found and found.origin:  # a mere folder of that name has no origin
            raise PluginError(
                f"there is a Python module {module} already, which would be in the way; use another name."
            )


def _words(name: str, kind: str) -> dict[str, object]:
    """Return what the templates are filled with."""
    title = name.replace("_", " ").strip()
    return {
        "name": name,
        "title": title[0].upper() + title[1:],
        "class": "".join(part.capitalize() for part in name.split("_")),
        "kind": kind,
        "hook": KINDS[kind].hook,
        "plural": KINDS[kind].hook.removeprefix("zoo_register_"),
        "module": kind not in WITHOUT_MODULE,
        "distribution": f"zoo-{re.sub('_+', '-', name.strip('_'))}",
        "package": f"zoo_{name}",
        "benchmark": BENCHMARK[kind].format(name=name),
        "year": time.localtime().tm_year,
    }


def _distribution_files(words: Mapping[str, object]) -> dict[str, str]:
    """Return the files of a distribution, each with its template."""
    package, plural = words["package"], words["plural"]
    behind = {f"{package}/_{plural}.py": "modules.py.jinja"} if words["module"] else {}
    return {
        "pyproject.toml": "pyproject.toml.jinja",
        f"{package}/__init__.py": "package.py.jinja",
        f"{package}/{plural}.py": "registering.py.jinja",
        **behind,
        f"tests/test_{words['name']}.py": "tests.py.jinja",
        "README.md": "README.md.jinja",
        "LICENSE": "LICENSE.jinja",
        ".gitignore": "gitignore.jinja",
        ".github/workflows/test.yml": "workflow.yml.jinja",
    }


def _write(files: Mapping[Path, str], words: Mapping[str, object]) -> None:
    """Render each file from its template; all before the first is written.

    Raises:
        PluginError: a file exists, or cannot be written.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    texts = {path: environment.get_template(template).render(words) for path, template in files.items()}
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError as error:
            raise PluginError(f"{error.filename} exists already; use another folder, or remove it first.") from error
        except OSError as error:
            raise PluginError(f"{path} cannot be written: {error.strerror}.") from error
