"""How a data set is read: the fields of a spec's `data` that decide its images."""

from __future__ import annotations

from typing import Any, Self

import attrs

from zoo.data.resizing import Fit
from zoo.errors import DataError
from zoo.spec import DataSpec
from zoo.spec.fields import Resplit

_OFF = 0.01
"""By how much k folds may miss the whole: 0.33 is a third."""


def _share(options: Any, field: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value < 1:
        raise DataError(f"{field.name} must be a share from 0 up to, but not including, 1, got {value}")


def _positive(options: Any, field: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None and value < 1:
        what = "a positive number of pixels" if field.name == "resize" else "a positive number of images"
        raise DataError(f"{field.name} must be {what}, got {value}")


def fold_count(share: float) -> int:
    """Return how many folds of a share there are.

    Raises:
        DataError: no whole number of them, to a hundredth, makes up the whole.
    """
    count = round(1 / share)
    if count < 2 or abs(count * share - 1) > _OFF:
        raise DataError(
            f'data.resplit = "folds" holds out one of k folds of one size, and data.validation = {share:g} is no share '
            "1/k; set it to 0.5, 0.3333, 0.25, 0.2 or 0.1, say"
        )
    return count


@attrs.frozen(kw_only=True)
class Options:
    """How a data set is read, split and resized; `zoo.spec.DataSpec` says what each means.

    Raises:
        DataError: a value is out of range, `fit` is stated without `resize`, or `resplit` without `validation`, or with
            one that is no share of whole folds.
    """

    resize: int | None = attrs.field(default=None, validator=_positive)
    fit: Fit = "stretch"
    skip_damaged: bool = False
    test: float = attrs.field(default=0.0, validator=_share)
    group_by: str | None = None
    limit: int | None = attrs.field(default=None, validator=_positive)
    validation: float = attrs.field(default=0.0, validator=_share)
    resplit: Resplit = False

    def __attrs_post_init__(self) -> None:
        if self.fit != "stretch" and self.resize is None:
            raise DataError(f"data.fit = {self.fit} says how images are resized, so that data.resize is needed, too")

        if self.resplit and not self.validation:
            raise DataError(
                "data.resplit draws the validation part anew with each seed, so that data.validation is needed, too"
            )
        if self.resplit == "folds":
            fold_count(self.validation)

    @classmethod
    def of(cls, data: DataSpec) -> Self:
        """Return those that a spec states."""
        return cls(**{field.name: getattr(data, field.name) for field in attrs.fields(cls)})
