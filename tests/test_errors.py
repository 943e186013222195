from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo import errors
from zoo.errors import ZooError, described, lacks_memory, near_misses, text_of


@pytest.mark.parametrize(
    ("name", "known", "completion"),
    [
        ("relru", ["relu", "tanh"], "; did you mean relu?"),
        ("RELU", ["relu", "tanh"], "; did you mean relu?"),
        ("sofplus", ["softplus", "softshrink", "tanh"], "; did you mean softplus?"),
        ("4c", ["eq2425/4c", "starter/4c", "starter/4d"], "; did you mean eq2425/4c or starter/4c?"),
        ("xyz", ["relu", "tanh"], "."),
        ("relu", [], "."),
        ("", ["relu"], "."),
    ],
)
def test_near_misses_complete_a_sentence(name: str, known: list[str], completion: str) -> None:
    assert near_misses(name, known) == completion


@given(st.text(max_size=8), st.lists(st.text(min_size=1, max_size=8), max_size=6))
def test_near_misses_are_at_most_three_of_the_known_names(name: str, known: list[str]) -> None:
    text = near_misses(name, known)
    if text != ".":
        named = text.removeprefix("; did you mean ").removesuffix("?").split(" or ")
        assert len(named) <= 3
        assert set(named) <= set(known) or any(" or " in k for k in known)


def test_every_error_is_a_zoo_error_with_an_exit_code() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert len(classes) > 5
    for cls in classes:
        assert issubclass(cls, ZooError), f"{cls.__name__} would reach the user as a traceback"
        assert cls.exit_code in (errors.WRONG_USAGE, errors.WORK_FAILED)


class WordlessError(Exception):
    def __str__(self) -> str:
        raise SystemExit(0)


def test_what_was_raised_is_described_in_one_line_whatever_its_text_does() -> None:
    assert described(ValueError("a\nb  c")) == "ValueError: a b c"
    assert described(SystemExit()) == "SystemExit"
    assert described(WordlessError()) == "WordlessError: (its text raised SystemExit)"
    assert text_of(ValueError("\udcff\n")) == "\\udcff\n", "what cannot be stored or printed is written out"


def test_a_lack_of_memory_is_told_from_other_errors() -> None:
    import torch

    assert lacks_memory(MemoryError())
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**50)
    assert lacks_memory(error.value)
    assert not lacks_memory(RuntimeError("sizes do not match"))
    assert not lacks_memory(WordlessError())
