"""How figures and names are written for people."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo.spec.length import ends_early, in_words

GAP = 2
"""Characters between two columns of tabulate's formats "simple" and "plain"."""


def with_interval(value: float | None, interval: float | None) -> str:
    """Write a recall with its interval: "0.9530 ± 0.0041"; nothing for no value."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:.4f}" + ("" if interval is None else f" ± {interval:.4f}")


def difference(value: float, low: float | None, high: float | None) -> str:
    """Write a difference in recall with its interval: "+0.0123 [+0.0045, +0.0201]"; nothing for NaN."""
    if math.isnan(value):
        return ""
    return f"{value:+.4f}" + ("" if low is None or high is None else f" [{low:+.4f}, {high:+.4f}]")


def probability(p: float | None) -> str:
    """Write a p value: "0.0312", "<0.0001"; nothing for none."""
    if p is None:
        return ""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def duration(seconds: float) -> str:
    """Write a measured duration with two units at most: "0.84 s", "12.3 s", "3 min 10 s", "2 h 5 min", "3 d 4 h"."""
    if math.isnan(seconds):
        return ""
    if round(seconds, 1) < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return "{} min {} s".format(*divmod(round(seconds), 60))
    if round(seconds / 3600) <= 48:
        return "{} h {} min".format(*divmod(round(seconds / 60), 60))
    return "{} d {} h".format(*divmod(round(seconds / 3600), 24))


def rough_duration(seconds: float) -> str:
    """Write an estimated duration, without digits that nobody knows: "8 s", "3 min", "2 h 5 min"."""
    if round(seconds) < 60:
        return f"{max(1, round(seconds))} s"
    if round(seconds / 60) < 60:
        return f"{round(seconds / 60)} min"
    return duration(seconds)


AS_SLOW = 2.5
"""How many times as long as a few steps say work is expected to take at most.

On two cores that other programs used as well, eight plans of 3 s and more took 0.9 to 3.0 times their estimates, seven
of them at most 2.7 times, with the start of worker processes.
"""


def rough_range(low: float, high: float) -> str:
    """Write an estimated duration as a range: "8 to 20 s", "50 min to 2 h", "3 h", "2 to 5 d"."""
    size, unit = next((size, unit) for size, unit, end in _UNITS if high < end)
    highest = f"{max(1, round(high / size))} {unit}"
    if low < size and size > 1:
        return f"{rough_duration(low)} to {highest}"
    lowest = str(max(1, round(low / size)))
    return highest if highest.startswith(f"{lowest} ") else f"{lowest} to {highest}"


_UNITS = ((1.0, "s", 99.5), (60.0, "min", 99.5 * 60), (3600.0, "h", 48 * 3600.0), (86400.0, "d", math.inf))
"""Seconds, the unit that they are, and below how many seconds a range is written in it."""


def estimated(seconds: float) -> str:
    """Write how long work takes of which a few steps were timed."""
    return rough_range(seconds, AS_SLOW * seconds)


def quantity(number: float) -> str:
    """Write a count with three digits and a unit: "985", "86.7k", "1.27M"."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(number) < 999.5:
            return f"{number:.3g}{unit}" if unit else f"{number:g}"
        number /= 1000
    return f"{number:.3g}P"


def byte_size(count: int) -> str:
    """Write how much room something takes: "985 B", "86.7 kB", "1.27 MB"."""
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.3g} {unit}"


def counted(number: float, what: str) -> str:
    """Write a number of things: "1 run", "3 runs"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def seed_span(seeds: Sequence[int]) -> str:
    """Write which seeds: "0 to 4", "0, 2, 7", "0 to 4, 1000 to 1002"."""
    stretches: list[list[int]] = []
    for seed in seeds:
        if stretches and seed == stretches[-1][-1] + 1:
            stretches[-1].append(seed)
        else:
            stretches.append([seed])
    texts = [f"{own[0]} to {own[-1]}" if len(own) > 2 else ", ".join(map(str, own)) for own in stretches]
    return ", ".join(texts)


def column_width(title: str, cells: Iterable[str]) -> int:
    """Return how wide tabulate makes a column, which is at least two characters wider than its title."""
    return max(len(title) + 2 if title else 0, *map(len, cells))


def pieces(text: str) -> list[str]:
    """Split text where a line may end: after a space, a slash, or a point between words, and before a bracket."""
    return _PIECE_ENDS.split(text)


_PIECE_ENDS = re.compile(r"(?<=[ /])|(?<=\.)(?=[a-z])|(?=\[)")


def folded(text: str, width: int) -> str:
    """Return text broken into lines of at most `width` characters; a piece that is longer stays whole."""
    lines = [""]
    for piece in pieces(text):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.strip() for line in lines)


def fit(cells: dict[str, list[str]], width: int, *, folding: Sequence[str], left_out_first: Sequence[str]) -> list[str]:
    """Make the columns of a table, by title, fit a width: leave out columns, fold others.

    Args:
        cells: the columns; changed in place.
        width: how many characters a line may have.
        folding: titles of the columns that may be folded; the widest gives way first.
        left_out_first: titles of the columns that may be left out, the least important first.

    Returns:
        Titles of the columns that were left out.
    """
    folding = [title for title in folding if title in cells]
    least = {
        title: column_width(title, [piece.rstrip() for cell in cells[title] for piece in pieces(cell)])
        for title in folding
    }
    left_out = []
    for candidate in (*left_out_first, None):
        fixed = [column_width(title, column) for title, column in cells.items() if title not in folding]
        room = width - sum(fixed) - GAP * (len(cells) - 1)
        if sum(least[title] for title in folding if title in cells) <= room or candidate is None:
            break
        if candidate in cells:
            del cells[candidate]
            left_out.append(candidate)
    folding = [title for title in folding if title in cells]
    widths = {title: column_width(title, cells[title]) for title in folding}
    while sum(widths.values()) > room:
        wider = [title for title in folding if widths[title] > least[title]]
        if not wider:
            break
        widths[max(wider, key=lambda title: widths[title])] -= 1
    for title in folding:
        cells[title] = [folded(cell, widths[title]) for cell in cells[title]]
    return left_out


def lengths_in_words(specs: Sequence[Mapping[str, Any]]) -> str:
    """Say how long the runs of specs, as plain data, are: "10 epochs", "3 to 9.9 epochs", "at most 30 epochs"."""
    trainings = [spec["training"] for spec in specs]
    epochs = sorted({training["epochs"] for training in trainings if training["epochs"] is not None})
    plain = all(training["epochs"] is not None and training.get("minutes") is None for training in trainings)
    words = list(dict.fromkeys(map(in_words, trainings)))
    span = f"{epochs[0]} to {epochs[-1]} epochs" if plain and len(epochs) > 1 else " or ".join(words)
    return f"at most {span}" if any(map(ends_early, specs)) else span
