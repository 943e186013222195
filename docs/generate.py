"""Writes docs/reference/variants.md from what is registered: `python docs/generate.py`."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from zoo.registry import Registry, Variant
from zoo.registry.hookspecs import KINDS
from zoo.spec import describe_type, unstructure
from zoo.spec.resolve import resolve

PAGE = Path(__file__).parent / "reference/variants.md"
PACKAGE = "zoo_plugins"
HEAD = """\
# Variants

All that comes with zoo, by kind. `python docs/generate.py` writes this page from what is registered; a test compares
the two. `zoo list` shows the same for what is installed where it runs, other distributions' variants included.
"""


def variants_page(registry: Registry) -> str:
    """Return the page: a section for each kind with a table of its variants, and one of the specs."""
    parts = [HEAD]
    for kind in KINDS.values():
        parts.append(f"## {kind.name}\n\n{kind.purpose[0].upper()}{kind.purpose[1:]}.\n")
        rows = [_row(v) for v in registry.variants(kind.name).values() if _own(v.plugin.name)]
        parts.append(_table(("name", "what it is", "options and their defaults", "paper"), rows))
    parts.append("## spec\n\nA network and its training.\n")
    specs = [resolve(name, registry=registry) for name, entry in registry.specs.items() if _own(entry.plugin.name)]
    rows = [(f"`{spec.name}`", spec.data.dataset, _cell(spec.description)) for spec in specs]
    parts.append(_table(("name", "data set", "what it is"), rows))
    return "\n".join(parts)


def _own(plugin: str) -> bool:
    return plugin.partition(".")[0] == PACKAGE


def _row(variant: Variant) -> tuple[str, ...]:
    options = "<br>".join(
        f"`{field.name}` = `{json.dumps(unstructure(field.default))}`: {_cell(describe_type(field.type))}"
        for field in attrs.fields(variant.options)
    )
    return f"`{variant.name}`", _cell(variant.description), options, _cell(variant.paper)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(variants_page(Registry().require_sound()), encoding="utf-8")
