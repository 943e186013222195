"""Shell completion of the names of specs, kinds, variants and data sets."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from zoo.registry.hookspecs import KINDS


def _registry(ctx: click.Context) -> Any:
    from zoo.errors import ZooError
    from zoo.registry import Registry
    from zoo.settings import read

    given = ctx.find_root().params
    try:
        told = read(None if given.get("no_project") else given.get("project") or "auto")
    except ZooError:  # the command itself will say so
        told = read(None)
    block = [text.removeprefix("no:") for text in given.get("left_out") or ()]
    return Registry(block=[*told["block"], *block], files=[*told["plugins"], *(given.get("files") or ())])


def complete_spec(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a spec, or the path of a TOML file."""
    names = [CompletionItem(name) for name in _registry(ctx).specs if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


def complete_study(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a study, or the path of a TOML file."""
    names = [CompletionItem(name) for name in _registry(ctx).studies if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


def complete_kind(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a kind."""
    kinds = {"spec": "a network and its training", **{name: kind.purpose for name, kind in KINDS.items()}}
    return [CompletionItem(name, help=purpose) for name, purpose in kinds.items() if name.startswith(incomplete)]


def complete_variant(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete `path=a,b` with the variants of the kind that the path ends in."""
    path, equals, values = incomplete.partition("=")
    chosen = path.rpartition(".")[2]
    if not equals:
        return [CompletionItem(f"{name}=") for name, kind in KINDS.items() if kind.in_specs and name.startswith(path)]
    if chosen not in KINDS or not KINDS[chosen].in_specs:
        return []
    before, comma, last = values.rpartition(",")
    names = _registry(ctx).variants(chosen)
    return [CompletionItem(f"{path}={before}{comma}{name}") for name in names if name.startswith(last)]


def complete_shown(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a spec, or `kind:variant`."""
    registry = _registry(ctx)
    names = [*registry.specs, *(f"{kind}:{name}" for kind in KINDS for name in registry.variants(kind))]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_dataset(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a data set, with a colon after those that take a path."""
    from zoo.data import takes_path

    if ":" in incomplete:
        return [CompletionItem(incomplete.partition(":")[2], type="file")]
    variants = _registry(ctx).variants("dataset")
    names = [f"{name}:" if takes_path(variant) else name for name, variant in variants.items()]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_device(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a device; one of several GPUs is named by its number, as in cuda:1."""
    return [CompletionItem(name) for name in ("auto", "cpu", "cuda", "mps") if name.startswith(incomplete)]


def complete_executor(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of an executor."""
    return [CompletionItem(name) for name in _registry(ctx).variants("executor") if name.startswith(incomplete)]


def complete_plugin(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a plugin."""
    registry = _registry(ctx)
    names = [*registry.plugins, *(failure.plugin.name for failure in registry.failures)]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class _Bash(BashComplete):
    """Completion in Bash, which takes `=` and `:` for words of their own and completes only what follows the last."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        words: list[str] = []
        for word in (*args, incomplete):
            if words and (word.startswith(_BREAKS) or words[-1].endswith(_BREAKS)):
                words[-1] += word
            else:
                words.append(word)
        *args, incomplete = words
        self._there = incomplete[: max(incomplete.rfind(character) for character in _BREAKS) + 1]
        return args, incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        return f"{item.type},{item.value.removeprefix(self._there)}"


_BREAKS = ("=", ":")

add_completion_class(_Bash)
