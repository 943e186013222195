"""Control characters, which a terminal would take for commands, and characters that its encoding does not have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.characters import control_in, encoding_with_all, not_in_a_name, without_controls


def test_they_are_written_out() -> None:
    assert without_controls("a\x1b[2J\x07b\x9bc\x7f\r") == r"a\u001b[2J\u0007b\u009bc\u007f\u000d"
    assert without_controls("a\tb\né") == "a\tb\né"


@given(st.text())
def test_none_is_left(text: str) -> None:
    assert control_in(without_controls(text)) is None


def test_a_name_is_one_line_of_text() -> None:
    assert not_in_a_name("starter/default é") is None
    for character in ("\n", "\t", "\x1b", "\x9b", "\u2028", "\udc80"):
        assert not_in_a_name(f"a{character}b") == f"\\u{ord(character):04x}"


@pytest.mark.parametrize(
    ("asked", "text", "written"),
    [
        (("ascii", "strict"), "0.9 ± 0.1 caf\u00e9 │ ╒═ ⠋ …", rb"0.9 +- 0.1 caf\xe9 | += * ..."),
        (("ascii", "surrogateescape"), "±", b"+-"),
        (("cp1252", "strict"), "0.9 ± 0.1 caf\u00e9 ╒", b"0.9 \xb1 0.1 caf\xe9 +"),
        (("cp437", "backslashreplace"), "╒ \u2713", b"\xd5 \\u2713"),
        (("utf-8", "strict"), "╒ \u2713 \udc80", "╒ \u2713 \\udc80".encode()),
        (("cp1252", "replace"), "╒", b"?"),
    ],
)
def test_what_an_encoding_does_not_have_is_written_as_something_like_it(
    asked: tuple[str, str], text: str, written: bytes
) -> None:
    encoding, errors = encoding_with_all(*asked)
    assert text.encode(encoding, errors or "strict") == written


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_tables_are_printed_in_any_encoding(encoding: str) -> None:
    program = (
        "from zoo.cli.main import main, _prepare_streams\nimport click\n_prepare_streams()\nclick.echo('╒ 0.9 ± 0.1')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=True,
    )
    assert done.stdout.decode(encoding).split() == ["+", "0.9", "+-" if encoding == "ascii" else "±", "0.1"]
