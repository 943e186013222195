"""Names and descriptions in Markdown, LaTeX and HTML: shown as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.report.markup import code, lines, markdown, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("a **b** _c_ leaky_relu", r"a \*\*b\*\* \_c\_ leaky_relu"),
        ("[x](http://e)", r"[x\](http://e)"),
        ("starter/default[activation=relu]", "starter/default[activation=relu]"),
        ("&lt; & b", "&amp;lt; & b"),
        ("a\n# b", "a # b"),
        ("# b", r"\# b"),
        ("1. b", r"1\. b"),
        ("0.85", "0.85"),
        ("- b", r"\- b"),
        ("-0.1 b", "-0.1 b"),
        ("`zoo list | cat` is a command", r"`zoo list \| cat` is a command"),
        ("`<b>`", r"\`&lt;b>\`"),
        ("\x1b]0;x\x07", r"\\u001b]0;x\\u0007"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, shown: str) -> None:
    assert markdown(text) == shown


@given(st.text())
def test_no_tag_and_no_line_break_is_left(text: str) -> None:
    shown = markdown(text)
    assert "<" not in shown
    assert len(shown.splitlines()) <= 1


def test_code_holds_what_it_is_given() -> None:
    assert code("a_b") == "`a_b`"
    assert code("a`b") == "``a`b``"
    assert code("`b") == "`` `b ``"


def test_lines_of_each_format() -> None:
    text = ["<b> & \\input{c}\nd"]
    assert lines(text, "html") == ["<p>&lt;b&gt; &amp; \\input{c}\nd</p>"]
    assert lines(text, "latex_booktabs") == ["% <b> & \\input{c} d"]
    assert lines(text, "github") == ["&lt;b> & \\\\input{c} d"]
    assert lines(text, "simple") == text


def test_cells_are_escaped_and_figures_are_not() -> None:
    drawn = table([["a|<b>", "-0.5"]], ["name", "figure"], ["left", "right"], "github")
    assert drawn.splitlines()[-1] == r"| a\|&lt;b> |     -0.5 |"
