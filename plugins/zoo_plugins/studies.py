"""Studies: the EQ2425 study as it was, done properly, with its interactions; and every variant of a kind."""

from __future__ import annotations

from typing import Any

from zoo import RegisterStudy, hookimpl
from zoo_plugins.eq2425 import changes

SIX = ("4a1", "4b", "4c", "4d", "4e", "5c")
"""The factors of the factorial studies: filters, filter size, activation, dropout, normalization, shuffling."""


@hookimpl
def zoo_register_studies(register: RegisterStudy) -> None:
    """Register them."""
    single = {code: sets for code, sets in changes(always_on=False).items() if code != "conclusion"}
    faithful = {code: sets for code, sets in changes(always_on=True).items() if code != "conclusion"}
    corrected = "eq2425-corrected/default"
    register(
        "eq2425",
        {
            "description": "the EQ2425 study as it was: each change alone, chosen on the test images",
            "base": "eq2425/default",
            "select": "test",
            "changes": faithful,
        },
    )
    register(
        "eq2425-corrected",
        {"description": "the EQ2425 study's changes, each alone, corrected", "base": corrected, "changes": single},
    )
    register(
        "eq2425-stepwise",
        {
            "description": "what the study's hand-out asks for: the changes in its order, keeping what helps",
            "base": corrected,
            "design": "stepwise",
            "changes": single,
        },
    )
    for family in ("eq2425", "starter"):
        base = corrected if family == "eq2425" else "starter/default"
        register(
            f"{family}-factorial",
            {
                "description": f"six of the study's changes to {base} in all combinations: effects and interactions",
                "base": base,
                "design": "factorial",
                "seeds": 3,
                "changes": {code: single[code] for code in SIX},
            },
        )
    for kind, path in {
        "activation": "activation",
        "normalization": "network.features.*.normalization",
        "dropout": "network.classifier.0.dropout",
        "pooling": "network.features.*.pooling",
    }.items():
        every: dict[str, Any] = {kind: {"every": kind, "path": path}}
        register(
            f"{kind}s",
            {
                "description": f"every registered {kind} in place of the corrected default's",
                "base": corrected,
                "changes": every,
            },
        )
