"""Characters that are commands to a terminal, and those that its encoding does not have."""

from __future__ import annotations

import codecs
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


_SIMPLER = "zoo_simpler"
"""The error handler that writes what an encoding does not have as something like it."""
_ASCII = "zoo_ascii"
"""ASCII by another name: to what says that it takes ASCII, click writes UTF-8."""

_LIKE = {
    "±": "+-", "×": "x", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "–": "-", "—": "-", "’": "'", "•": "*",  # noqa: RUF001
    **dict.fromkeys(map(chr, (*range(0x2500, 0x2580), *range(0x2580, 0x25A0))), "+"),
    **dict.fromkeys("─━┄┅┈┉╌╍╴╶╸╺╼╾", "-"),
    **dict.fromkeys("│┃┆┇┊┋╎╏║╵╷╹╻╽╿", "|"),
    "═": "=",
    **dict.fromkeys(map(chr, range(0x2800, 0x2900)), "*"),  # the dots of rich's spinner
}  # fmt: skip


def _simpler(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_LIKE.get(one) or one.encode("ascii", "backslashreplace").decode() for one in lacking), error.end


def _find(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII:
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode, known.decode, known.streamreader, known.streamwriter, known.incrementalencoder,
        known.incrementaldecoder, name=_ASCII,
    )  # fmt: skip


codecs.register_error(_SIMPLER, _simpler)
codecs.register(_find)


def encoding_with_all(encoding: str, errors: str | None) -> tuple[str, str | None]:
    """Return the encoding and the error handler by which a stream writes all text: a code page lacks lines of tables.

    What was asked for, such as "cp1252:replace" in PYTHONIOENCODING, stays.
    """
    if codecs.lookup(encoding).name == "ascii":
        encoding, errors = _ASCII, None if errors == "surrogateescape" else errors
    return encoding, _SIMPLER if errors in (None, "strict", "backslashreplace") else errors
