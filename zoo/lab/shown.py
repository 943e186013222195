"""What a lab returns of plans and networks: the same, with what a notebook shows."""

from __future__ import annotations

from html import escape

import attrs

from zoo.benchmark import Plan
from zoo.network.builder import Built
from zoo.report import markup
from zoo.report.plan import render_as
from zoo.report.text import counted, estimated, quantity
from zoo.study.plan import StudyPlan


@attrs.frozen(repr=False)
class ShownPlan(Plan):
    """A plan, shown as the table that `zoo benchmark --plan` prints.

    Attributes:
        lines: what there is to be said of it.
    """

    lines: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"Plan({counted(len(self.runs), 'run')}, {len(self.missing)} to train: about "
            f"{estimated(self.estimate) if self.missing else '0 s'})"
        )

    def __str__(self) -> str:
        return "\n".join([render_as(self, "simple"), "", *self.lines])

    def _repr_markdown_(self) -> str:
        return "\n\n".join([render_as(self, "github"), *markup.lines(self.lines, "github")])

    def _repr_html_(self) -> str:
        return "\n".join([render_as(self, "html"), *markup.lines(self.lines, "html")])


@attrs.frozen(kw_only=True, repr=False)
class ShownStudyPlan(StudyPlan):
    """A study's plan, shown as the lines that `zoo study plan` prints.

    Attributes:
        lines: what there is to be said of it.
    """

    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_markdown_(self) -> str:
        return "\n\n".join(markup.lines(self.lines, "github"))

    def _repr_html_(self) -> str:
        return "\n".join(markup.lines(self.lines, "html"))


@attrs.frozen(eq=False, repr=False)
class ShownNetwork(Built):
    """A network, shown as the table of its layers that `zoo show` prints.

    Attributes:
        spec: the name of its spec.
        input_shape: of an image: channels, height, width.
        classes: how many there are.
    """

    spec: str
    input_shape: tuple[int, int, int]
    classes: int

    def __repr__(self) -> str:
        return f"Network({self.spec}, {quantity(self.parameters)} parameters, {quantity(self.flops)} FLOPs)"

    def __str__(self) -> str:
        return f"{self.spec}\n\n{self._table('simple')}" + (f"\n\nstarts from {self.starting}" if self.starting else "")

    def _repr_markdown_(self) -> str:
        return f"{markup.markdown(self.spec)}\n\n{self._table('github')}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.spec)}</p>\n{self._table('html')}"

    def _table(self, format_: str) -> str:
        from zoo.report.network import render

        return render(self, format_)
