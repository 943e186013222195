"""What the gallery's pages are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from zoo.gallery.checked import Checked
from zoo.gallery.effects import Field
from zoo.gallery.published import Published
from zoo.registry import Registry
from zoo.report.drawing import file_name
from zoo.train.run import Run


@attrs.frozen(kw_only=True)
class Gallery:
    """What pages are made of.

    Attributes:
        title: of the front page.
        registry: whose variants have a page.
        runs: ended ones, of all ledgers.
        fields: all that was compared.
        checked: what the conformance suite said, by kind and name.
        published: figures of publications.
        times: whether training times of runs are compared.
        timed_on: where ratios of times were measured, and how, if `zoo time` did.
    """

    title: str
    registry: Registry
    runs: Sequence[Run]
    fields: Sequence[Field]
    checked: Mapping[tuple[str, str], Checked]
    published: Sequence[Published]
    times: bool = True
    timed_on: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> list[Field]:
        """Return the comparisons of a kind's variants."""
        return [field for field in self.fields if field.kind == kind]


def page_of(kind: str, variant: str) -> str:
    """Return the page of a variant, without its ending."""
    return f"{kind}/{file_name(variant)}"
