"""How often the claims of a study were looked at before, as its runs tell.

Each run holds with how many seeds it was asked for. Whoever looks at 5 seeds, and then at 12 because 5 did not decide,
leaves runs of both. So looks need no book of their own, and stay with the runs when ledgers are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zoo.statistics.sequential import share
from zoo.statistics.verdicts import LEAST_SEEDS
from zoo.train.run import Run

ASKED = "seeds"
"""Where a run's provenance holds with how many seeds it was asked for: "5", or "auto 15" where seeds are added."""


def looks_until(runs: Iterable[Run], asked: str) -> list[str]:
    """Return the looks at runs up to the one that is asked for, which is the last; of more seeds none.

    Runs that do not tell, those of earlier versions, count for none; nor do looks at too few seeds for any claim.
    """
    told = {str(run.provenance.get(ASKED, "")) for run in runs}
    known = {look for look in told if look.removeprefix("auto ").isdecimal()}
    return [
        *sorted((look for look in known - {asked} if LEAST_SEEDS <= _seeds(look) <= _seeds(asked)), key=_seeds),
        asked,
    ]


def levels(looks: list[str]) -> list[float]:
    """Return the level of each look."""
    return [share(position) for position in range(1, len(looks) + 1)]


def looked(looks: Sequence[str], what: str = "claims") -> list[str]:
    """Say that something was looked at before, and what that does; nothing of a first look."""
    before = looks[:-1]
    if not before:
        return []
    return [
        f"Look {len(looks)} at these {what}, after those with {', '.join(before)} seeds: it has "
        f"{share(len(looks)):.2%} of the 5% that all looks share, so that false claims stay as rare."
    ]


def _seeds(look: str) -> int:
    return int(look.split()[-1])
