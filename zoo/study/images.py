"""What a study knows of its images, which need not be at hand to show it or to report what was trained."""

from __future__ import annotations

from typing import Protocol

import attrs

Form = tuple[int, int, int]
"""(channels, height, width) of every image."""


class Imaged(Protocol):
    """What is shown and judged by: a data set, or what is known of one that is not at hand."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""

    @property
    def shape(self) -> Form | None:
        """(channels, height, width) of every image; None where that is not known."""


@attrs.frozen(kw_only=True)
class Unseen:
    """What is known of a data set that is not at hand.

    Attributes:
        name: as it was given.
        reason: why it is not at hand.
        shape: of its images; None where that is not known.
        classes: the numbers of the classes, in place of their names.
        digest: of the images that the ledger's runs were trained on; empty where it was not looked up.
    """

    name: str
    reason: str
    shape: Form | None = None
    classes: tuple[str, ...] = ()
    digest: str = ""

    @property
    def note(self) -> str:
        """What is left out for it."""
        proofs = "" if self.shape else "; of each change is shown what it sets, not what it does to the network"
        return f"{self.name} is not at hand ({self.reason}): classes go by their numbers{proofs}."
