"""Options: what a factory's signature declares, and what values a spec may give."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import PluginError, SpecError
from zoo.registry import Registry, options
from zoo.registry.options import (
    BlockChoice,
    Choice,
    Constraint,
    Float,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    options_class,
)
from zoo.spec import chosen, describe_type, structure, unstructure

GIVEN = ("shape", "filters")


def everything(
    shape: tuple[int, ...],
    *,
    size: PositiveInt = 3,
    count: NonNegativeInt = 0,
    value: Float = 0,
    plain: float = 1,
    scale: PositiveFloat = 1.0,
    offset: NonNegativeFloat = 0.0,
    share: Probability = 0.5,
    rate: Fraction = 0.0,
    mode: Literal["valid", "same", 2] = "valid",
    flag: bool = True,
    label: str = "",
    sides: tuple[NonNegativeInt, ...] = (1, 2),
    side: NonNegativeInt | Literal["auto"] | None = None,
    inner: BlockChoice = chosen("plain"),
) -> None:
    """Options of each type."""


PLUGIN = f"""
from zoo import hookimpl

@hookimpl
def zoo_register_activations(register):
    from {__name__} import everything
    register("everything", everything)
"""


@pytest.fixture(scope="module")
def with_everything(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry with an activation that has options of each type."""
    file = tmp_path_factory.mktemp("plugin") / "everything.py"
    file.write_text(PLUGIN)
    return Registry(files=[file]).require_sound()


def read(registry: Registry, **stated: Any) -> Choice:
    """Read the options from a spec, and return the choice."""
    block = {"filters": 4, "activation": {"name": "everything", **stated}}
    tree = {"network": {"features": [block]}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    return structure(tree, "test", registry).network.features[0].activation


# What a factory's signature may say.


def test_options_are_the_parameters_that_are_not_given() -> None:
    cls, given = options_class("activation 'everything'", everything, GIVEN)
    assert given == ("shape",), "the factory asks for the shape, not for the filters"
    assert [field.name for field in attrs.fields(cls)] == [
        name for name in everything.__annotations__ if name not in ("shape", "return")
    ]
    instance = cls()
    assert (instance.size, instance.mode, instance.sides) == (3, "valid", (1, 2))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        instance.size = 5


def test_a_class_can_be_a_factory() -> None:
    class Layer:
        def __init__(self, shape: tuple[int, ...], *, size: PositiveInt = 3) -> None: ...

    cls, given = options_class("filter 'layer'", Layer, GIVEN)
    assert given == ("shape",)
    assert [field.name for field in attrs.fields(cls)] == ["size"]


def no_annotation(*, slope=0.1):  # type: ignore[no-untyped-def]
    ...


def no_default(*, slope: float) -> None: ...
def called_name(*, name: str = "x") -> None: ...
def variadic(*args: float) -> None: ...
def variadic_keywords(**options: float) -> None: ...
def positional_only(slope: float = 1.0, /) -> None: ...
def positional_only_given(shape: tuple[int, ...], /) -> None: ...
def unknown_type(*, slope: Nowhere = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def mutable(*, sizes: list[int] = []) -> None: ...  # noqa: B006
def file(*, path: Path = Path()) -> None: ...
def fixed_length(*, pair: tuple[int, int] = (1, 1)) -> None: ...
def untold(*, slope: Annotated[float, "the slope"] = 1.0) -> None: ...
def bare_choice(*, inner: Choice = chosen("plain")) -> None: ...


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (no_annotation, "'slope' of no_annotation has no type annotation: an option needs one, as in `slope: float`"),
        (no_default, "'slope' of no_default has no default: an option needs one (what the builder gives here is called "
            "shape, filters)"),
        (called_name, "'name' of called_name: an option cannot be called 'name', which states the variant"),
        (variadic, "'args' of variadic must be a plain keyword parameter: spell out each option"),
        (variadic_keywords, "'options' of variadic_keywords must be a plain keyword parameter"),
        (positional_only, "'slope' of positional_only must be a plain keyword parameter"),
        (positional_only_given, "'shape' of positional_only_given must be a plain keyword parameter"),
        (unknown_type, "a type annotation of unknown_type cannot be evaluated: name 'Nowhere' is not defined"),
        (mutable, "'sizes' of mutable has the type list[int], which an option cannot have: use bool, int,"),
        (file, "'path' of file has the type Path, which an option cannot have"),
        (fixed_length, "'pair' of fixed_length has the type tuple[int, int], which an option cannot have"),
        (untold, "'slope' of untold has the type Annotated[float, "),
        (bare_choice, "'inner' of bare_choice has the type Choice, which an option cannot have"),
        (partial(no_default, slope=1.0), "a factory must be a function or a class, got functools.partial"),
        ("relu", "a factory must be a function or a class, got 'relu'"),
    ],
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else "",
)  # fmt: skip
def test_a_factory_that_cannot_be_used_is_refused(factory: Callable[..., object], message: str) -> None:
    with pytest.raises(PluginError) as caught:
        options_class("activation 'mine'", factory, GIVEN)
    assert str(caught.value).startswith("activation 'mine': "), "it does not say which variant is meant"
    assert message in str(caught.value)


# What values a spec may give.

PATH = "spec 'test': network.features[0].activation."


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("size", "5x5", 'size: expected a positive int, got "5x5"'),
        ("size", 0, "size: expected a positive int, got 0"),
        ("size", 3.0, "size: expected a positive int, got 3.0"),
        ("size", True, "size: expected a positive int, got true"),
        ("size", None, "size: expected a positive int, got null"),
        ("size", [3], "size: expected a positive int, got [3]"),
        ("count", -1, "count: expected an int of 0 or more, got -1"),
        ("value", math.nan, "value: expected a finite number, got NaN"),
        ("value", math.inf, "value: expected a finite number, got Infinity"),
        ("value", False, "value: expected a finite number, got false"),
        ("plain", math.nan, "plain: expected a finite number, got NaN"),
        ("plain", "1", 'plain: expected a number, got "1"'),
        ("plain", True, "plain: expected a number, got true"),
        ("scale", 0, "scale: expected a positive number, got 0"),
        ("scale", math.inf, "scale: expected a positive number, got Infinity"),
        ("offset", -0.1, "offset: expected a number of 0 or more, got -0.1"),
        ("share", 1.5, "share: expected a number from 0 to 1, got 1.5"),
        ("rate", 1, "rate: expected a number from 0 up to, but not including, 1, got 1"),
        ("mode", "full", 'mode: expected one of "valid", "same", 2, got "full"'),
        ("mode", 2.0, 'mode: expected one of "valid", "same", 2, got 2.0'),
        ("flag", 1, "flag: expected true or false, got 1"),
        ("label", 1, "label: expected a string, got 1"),
        ("sides", 1, "sides: expected a list, got 1"),
        ("sides", [1, -2], "sides[1]: expected an int of 0 or more, got -2"),
        ("side", "none", 'side: expected an int of 0 or more or one of "auto", got "none"'),
        ("inner", 5, "inner: expected the name of a block, or a table with `name` and its options, got 5"),
        ("inner", {"stride": 2}, "inner: expected the name of a block, or a table with `name` and its options, got "
            '{"stride": 2}'),
        ("inner", {"name": "residual", "stride": 0}, "inner.stride: expected a positive int, got 0"),
        ("inner", "residul", "inner: no block is called 'residul'; did you mean residual?"),
        ("inner", {"name": "squeeze_excitation", "inner": {"name": "residual", "stride": "2"}},
            'inner.inner.stride: expected a positive int, got "2"'),
        ("sized", 3, "unknown option 'sized'; did you mean size or side or sides? It takes size, count,"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_by_its_path(with_everything: Registry, option: str, value: Any, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(with_everything, **{option: value})
    path = PATH if not expected.startswith("unknown") else PATH.rstrip(".") + ": "
    assert str(caught.value).startswith(path + expected)


def test_all_wrong_values_are_listed(with_everything: Registry) -> None:
    with pytest.raises(SpecError) as caught:
        read(with_everything, size=0, flag="yes", inner={"name": "residual", "stride": 0}, nothing=1)
    heading, *lines = str(caught.value).splitlines()
    assert heading == "spec 'test' is not valid:"
    assert sorted(line.strip().removeprefix("network.features[0].activation").split(" It ")[0] for line in lines) == [
        '.flag: expected true or false, got "yes"',
        ".inner.stride: expected a positive int, got 0",
        ".size: expected a positive int, got 0",
        ": unknown option 'nothing'.",
    ]


def test_valid_values_are_kept(with_everything: Registry) -> None:
    stated = {
        "size": 5, "value": -2.5, "share": 1.0, "mode": 2, "flag": False, "label": "é", "sides": [0, 4, 4],
        "side": "auto", "inner": {"name": "residual", "stride": 2, "drop_path": 0.0},
    }  # fmt: skip
    options = unstructure(read(with_everything, **stated))
    assert {name: options[name] for name in stated} == stated


@given(st.integers(-(2**53), 2**53))
def test_an_int_is_accepted_for_a_float_and_becomes_one(with_everything: Registry, value: int) -> None:
    read_value = read(with_everything, value=value).options.value
    assert read_value == value
    assert type(read_value) is float, "1 and 1.0 would have two identities"


def test_a_numpy_number_is_accepted_for_a_float(with_everything: Registry) -> None:
    numpy = pytest.importorskip("numpy")
    assert type(read(with_everything, scale=numpy.float64(0.5)).options.scale) is float


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(["value", "scale", "offset", "share", "rate"]))
def test_floats_are_accepted_exactly_in_their_range(with_everything: Registry, value: float, option: str) -> None:
    holds = {
        "value": math.isfinite(value),
        "scale": math.isfinite(value) and value > 0,
        "offset": math.isfinite(value) and value >= 0,
        "share": 0 <= value <= 1,
        "rate": 0 <= value < 1,
    }[option]
    if holds:
        assert getattr(read(with_everything, **{option: value}).options, option) == value
    else:
        with pytest.raises(SpecError, match=rf"activation\.{option}: expected"):
            read(with_everything, **{option: value})


def test_a_default_is_read_like_a_stated_value(with_everything: Registry) -> None:
    left, stated = read(with_everything), read(with_everything, plain=1, value=0, sides=[1, 2], inner="plain")
    assert left == stated
    assert type(left.options.plain) is float, "the default 1 of a float is another JSON text than the stated 1.0"
    assert isinstance(left.options.inner, Choice)


def test_a_default_that_its_own_type_refuses_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(
        "from zoo import hookimpl\nfrom zoo.registry.options import PositiveInt\n"
        "def wrong(*, size: PositiveInt = 0): ...\n"
        "@hookimpl\ndef zoo_register_activations(register): register('everything', wrong)\n"
    )
    with pytest.raises(SpecError, match=r"activation\.size: expected a positive int, got 0"):
        read(Registry(files=[file]))


# Choices as text.


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ({}, "everything"),
        ({"size": 3, "plain": 1.0, "inner": "plain"}, "everything"),
        ({"size": 5, "mode": "same"}, "everything(size=5, mode=same)"),
        ({"inner": {"name": "residual", "stride": 2}}, "everything(inner=residual(stride=2))"),
        ({"flag": False, "sides": [1]}, "everything(flag=False, sides=(1,))"),
    ],
)
def test_a_choice_is_written_with_the_options_that_are_not_the_defaults(
    with_everything: Registry, stated: dict[str, Any], text: str
) -> None:
    assert str(read(with_everything, **stated)) == text


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (PositiveInt, "a positive int"),
        (Probability, "a number from 0 to 1"),
        (bool, "true or false"),
        (float, "a number"),
        (Literal["valid", 2], 'one of "valid", 2'),
        (tuple[PositiveInt, ...], "a list of: a positive int"),
        (PositiveInt | Literal["train"] | None, 'a positive int or one of "train"'),
        (BlockChoice, "the name of a block, or a table"),
        (Annotated[int, Constraint("an even int", lambda v: v % 2 == 0)], "an even int"),
    ],
)
def test_a_type_in_words(type_: Any, words: str) -> None:
    assert describe_type(type_) == words


def test_every_exported_type_can_be_an_option() -> None:
    for name in ("PositiveInt", "NonNegativeInt", "Float", "PositiveFloat", "NonNegativeFloat", "Probability"):

        def factory(*, value=1):  # type: ignore[no-untyped-def]
            ...

        factory.__annotations__["value"] = getattr(options, name)
        cls, _ = options_class("test", factory, ())
        assert attrs.fields(cls).value.type == getattr(options, name), name


def test_a_module_without_an_init_of_its_own_has_no_options():
    from torch import nn

    class Double(nn.Module):
        """Twice its input."""

        def forward(self, x):
            return 2 * x

    cls, given = options_class("activation 'double'", Double, ("shape",))
    assert attrs.fields(cls) == ()
    assert given == ()
