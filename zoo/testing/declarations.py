"""Checks of what a variant states about itself: its description and its options."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin

import attrs

from zoo.errors import SpecError, described, text_of
from zoo.registry.options import is_union, kinds_in
from zoo.spec import canonical_json, read_as, unstructure
from zoo.testing.check import FailedError, SkippedError, require
from zoo.testing.subject import VariantSubject, is_refusal

_LONGEST = 120


def description(subject: VariantSubject) -> None:
    """The first line of the factory's docstring is one sentence of at most 120 characters that ends in a period.

    Why: `zoo list` shows that line, and nothing else says what the variant is.

    Mend: begin the docstring with one line that says what the variant computes; a paragraph "Paper: ..." names where it
    comes from.
    """
    text = subject.variant.description
    # A class without one would be described by that of torch.nn.Module.
    require(bool(subject.variant.factory.__doc__), "the factory has no docstring of its own")
    require(text.endswith("."), f"it is {text!r}")
    require(len(text) <= _LONGEST, f"it has {len(text)} characters: {text!r}")


def options_read(subject: VariantSubject) -> None:
    """The defaults of the options are valid, and come back the same after they are written as JSON and read again.

    Why: a spec's identity is the digest of its options with every default written out; a default that is not valid
    fails every spec that does not state the option.

    Mend: give each option a default that its own type accepts.
    """
    what = str(subject)
    try:
        options = read_as(subject.variant.options, {}, what, subject.registry)
        written = canonical_json(unstructure(options))
        again = read_as(subject.variant.options, json.loads(written), what, subject.registry)
    except SpecError as error:
        raise FailedError(str(error)) from error
    require(again == options, f"{options} was written as {written} and read as {again}")


def options_usable(subject: VariantSubject) -> None:
    """The factory takes each value that its options accept, or refuses it with a ValueError.

    Why: a value that a spec may state, but that the factory does not know, ends a study in its middle with a traceback.

    Mend: narrow the option's type (`Literal["a", "b"]`, `zoo.PositiveInt`, a `zoo.Constraint`) to what the
    factory can do, or raise a ValueError that says which values go together.
    """
    tried = False
    for field in attrs.fields(subject.variant.options):
        for value in [*_examples(field.type), *_names(field.type, subject)]:
            try:
                options = subject.options(**{field.name: value})
            except SpecError:
                continue
            tried = True
            try:
                subject.use(options)
            except SkippedError:
                continue
            except Exception as error:
                what = f"{field.name} = {value!r}: it raised {described(error)}"
                require(is_refusal(error) and bool(text_of(error)), what)
    if not tried:
        raise SkippedError("it has no options with values to try")


def options_swappable(subject: VariantSubject) -> str | None:
    """It is said of which options the defaults that others of its kind give them are not accepted.

    Why: a variant that takes another's place by its bare name takes over the options that both have. One that is not
    accepted is an error there, and must be stated.

    Mend: nothing; this is a fact. An option that means something else than the others' is better given another name.
    """
    try:
        subject.options()
    except SpecError as error:
        raise SkippedError("its defaults are not valid; see options_read") from error
    own = attrs.fields_dict(subject.variant.options)
    refused: dict[str, list[str]] = {}
    for other in subject.registry.variants(subject.kind).values():
        for field in attrs.fields(other.options):
            if field.name in own and other.name != subject.name:
                value = unstructure(field.default)
                try:
                    subject.options(**{field.name: value})
                except SpecError:
                    refused.setdefault(f"{field.name} = {json.dumps(value)}", []).append(other.name)
    if not refused:
        return None
    stated = "; ".join(f"{value} of {' and '.join(names)}" for value, names in refused.items())
    return f"not accepted, and to be stated where it takes their place: {stated}"


def _names(type_: Any, subject: VariantSubject) -> list[str]:
    """Return the names of all variants that an option may choose."""
    return [name for kind in kinds_in(type_) for name in subject.registry.variants(kind)]


def _examples(type_: Any) -> list[Any]:
    """Return some values that a type may accept."""
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Literal:
        return list(arguments)
    if is_union(type_):
        return [value for member in arguments for value in _examples(member)]
    if origin is tuple:
        return [[], *([value] for value in _examples(arguments[0]))]
    if hasattr(type_, "__metadata__"):
        return _examples(arguments[0])
    examples: dict[Any, list[Any]] = {
        bool: [False, True],
        int: [0, 1, 2, 3],
        float: [-1.0, 0.0, 0.25, 0.5, 1.0, 2.0],
        type(None): [None],
    }
    return examples.get(type_, [])
