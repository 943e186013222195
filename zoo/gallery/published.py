"""Figures of publications, to stand beside what was measured."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import attrs

from zoo.errors import ZooError
from zoo.gallery.effects import Arm, choices, path, place_text
from zoo.statistics.results import Comparison
from zoo.statistics.verdicts import MARGIN


@attrs.frozen(kw_only=True)
class Published:
    """What a publication reports of variants of a kind.

    Attributes:
        source: which publication.
        url: where it can be read; "" where nowhere.
        setting: the network and the data that the figures are of, and over how many runs.
        figure: what is reported, such as "accuracy".
        kind: of the variants.
        against: the variant that the others are held against.
        values: the figures, from 0 to 1, by variant.
        where: pattern of the places that have the variant, such as "network.classifier.*.dropout".
        options: by variant, those that it has other than by default.
    """

    source: str
    url: str
    setting: str
    figure: str
    kind: str
    against: str
    values: Mapping[str, float]
    where: str = "*"
    options: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)

    def difference(self, variant: str) -> float:
        """Return how much more is reported of a variant than of the one that it is held against."""
        return self.values[variant] - self.values[self.against]

    def unlike(self, arm: Arm, kind: str) -> str:
        """Say in what an arm is not what is reported of its variant: its options, its places; "" where it is the same.

        Args:
            arm: of that variant.
            kind: of the variants.
        """
        chosen = {place: one for place, (own, one) in choices(arm.spec).items() if own == kind}
        found = []
        stated = self.options.get(arm.variant, {})
        for name in dict.fromkeys([*stated, *arm.options]):
            values = {str(chosen[place].options.get(name)) for place in arm.places}
            if name not in stated or values != {str(stated[name])}:
                found.append(f"{name} {', '.join(sorted(values))}")
        if set(arm.places) != {place for place in chosen if fnmatchcase(path(place), self.where)}:
            found.append(f"at {place_text(arm)}" if not arm.everywhere or len(arm.places) == 1 else "everywhere")
        return ", ".join(found)


def read(file: Path) -> list[Published]:
    """Read a TOML file: under `[[published]]` the fields of `Published`.

    Raises:
        ZooError: it cannot be read, or is not of that form.
    """
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ZooError(f"--published {file}: {error.strerror}; name another file") from error
    except ValueError as error:
        raise ZooError(f"--published {file}: it is not TOML in UTF-8: {error}") from error
    stated = tree.get("published")
    if not isinstance(stated, list):
        raise ZooError(f"--published {file}: expected tables under [[published]]")
    return [_one(each, f"--published {file}: published {number}") for number, each in enumerate(stated, 1)]


def _one(stated: Mapping[str, Any], where: str) -> Published:
    known = attrs.fields_dict(Published)
    required = {name for name, field in known.items() if field.default is attrs.NOTHING}
    if wrong := (required - set(stated)) | (set(stated) - set(known)):
        raise ZooError(
            f"{where}: expected {', '.join(sorted(required))}; what is too much or missing: {', '.join(sorted(wrong))}"
        )
    for name in set(stated) - {"values", "options"}:
        if not isinstance(stated[name], str):
            raise ZooError(f"{where}: {name}: expected a text, got {stated[name]!r}")
    options = stated.get("options", {})
    if not isinstance(options, Mapping) or not all(isinstance(each, Mapping) for each in options.values()):
        raise ZooError(f"{where}: options: expected a table of options by variant")
    values = stated["values"]
    if not isinstance(values, Mapping) or not all(isinstance(value, float) for value in values.values()):
        raise ZooError(f"{where}: values: expected a table of numbers from 0 to 1 by variant")
    if stated["against"] not in values:
        raise ZooError(f"{where}: values: it has no figure of {stated['against']!r}, which the others are held against")
    return Published(**stated)


def agreement(published: float, measured: Comparison) -> str:
    """Say whether a verdict says what a publication reports: the same direction, or of neither a practical one."""
    verdict = measured.verdict
    if verdict == "undecided":
        return "undecided here"
    if verdict == "no practical difference":
        return "no practical difference in both" if abs(published) <= MARGIN else "no practical difference here"
    return "agrees" if (published > 0) == (verdict == "helps") else "disagrees"
