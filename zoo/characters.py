"""Characters that are commands to a terminal, and no text."""

from __future__ import annotations

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""The control characters of ASCII and ISO 6429, but tabs and line breaks."""
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Those, tabs, line breaks, and what is no UTF-8 in the name of a file."""


def without_controls(text: str) -> str:
    r"""Return text with control characters written as JSON and TOML write them, "\u001b"; tabs and line breaks stay."""
    return _CONTROLS.sub(lambda found: _written(found.group()), text)


def control_in(text: str) -> str | None:
    """Return the first control character of a text, but tabs and line breaks, as it is written; None without any."""
    found = _CONTROLS.search(text)
    return _written(found.group()) if found else None


def not_in_a_name(name: str) -> str | None:
    """Return the first character that cannot stand in a line of text, as it is written; None for a sound name."""
    found = _NOT_IN_NAMES.search(name)
    return _written(found.group()) if found else None


def _written(character: str) -> str:
    return f"\\u{ord(character):04x}"
