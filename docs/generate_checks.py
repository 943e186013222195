"""Writes docs/reference/checks.md from the conformance suite: `python docs/generate_checks.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.registry.hookspecs import KINDS
from zoo.testing.check import Check
from zoo.testing.subject import LAYERS
from zoo.testing.suite import CHECKS

PAGE = Path(__file__).parent / "reference/checks.md"
HEAD = """\
# Checks

What `zoo check` and `zoo.testing.conformance` check, by kind. [Check a variant](../how-to/check-a-variant.md) says how
they are used. `python docs/generate_checks.py` writes this page from the code; a test compares the two.
"""


def checks_page() -> str:
    """Return the page: how many checks each kind has, and a section for those that the same kinds have."""
    kinds: dict[Callable[..., Any], list[str]] = {}
    checks: dict[Callable[..., Any], Check] = {}
    for kind, own in CHECKS.items():
        for check in own:
            kinds.setdefault(check.function, []).append(kind)
            checks[check.function] = check
    sections: dict[tuple[str, ...], list[Check]] = {}
    for function, names in kinds.items():
        sections.setdefault(tuple(names), []).append(checks[function])
    counts = "".join(f"| {kind} | {len(own)} |\n" for kind, own in CHECKS.items())
    parts = [HEAD, f"| kind | checks |\n| --- | ---: |\n{counts}"]
    parts += [f"## {_heading(names)}\n\n{_table(own)}" for names, own in sections.items()]
    return "\n".join(parts)


def _heading(kinds: tuple[str, ...]) -> str:
    known = {tuple(KINDS): "All variants", LAYERS: f"Layers: {', '.join(LAYERS)}"}
    return known.get(kinds, ", ".join(kinds))


def _table(checks: list[Check]) -> str:
    lines = ["| check | expected | why | to mend |", "| --- | --- | --- | --- |"]
    for check in checks:
        name = f"`{check.name}`" + (" (with `--slow`)" if check.slow else "")
        lines.append(f"| {name} | {_cell(check.expected)} | {_cell(check.why)} | {_cell(check.mend)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    text = text.replace("|", "\\|")
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    PAGE.write_text(checks_page(), encoding="utf-8")
