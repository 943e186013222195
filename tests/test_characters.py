"""Control characters: what a terminal would take for commands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zoo.characters import control_in, not_in_a_name, without_controls


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
