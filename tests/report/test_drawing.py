"""Plots as files: each has a name of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.report.drawing import Plot, file_name, write


def draw(ax: Any) -> Any:
    ax.plot([0, 1], [0, 1])
    return ax


def plot(name: str) -> Plot:
    return Plot(name, draw, 2.0, "a caption", "words")


def test_long_names_that_end_otherwise_are_names_of_two_files() -> None:
    one, other = (file_name(f"{'starter-4e-' * 12}{end}") for end in ("relu", "mish"))
    assert one != other
    assert len(one) == len(other) == 100
    assert file_name("short <name>") == "short-name"


def test_plots_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    """Names of specs that differ in what no file name has are one name."""
    written = write({"a": [plot("confusion"), plot("curves")], "b": [plot("confusion")]}, tmp_path, ["svg"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion-2.svg", "confusion.svg", "curves.svg"]
    assert len(set(written)) == 3
