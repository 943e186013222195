"""Specs to start with: a small network for the embedded digits, the EQ2425 study's changes to it, and other blocks."""

from __future__ import annotations

from pathlib import Path

from zoo import RegisterSpec, hookimpl
from zoo_plugins.eq2425 import changes, register_changes


@hookimpl
def zoo_register_specs(register: RegisterSpec) -> None:
    """Register the family."""
    register("starter/default", Path(__file__).with_name("starter.toml"))
    register_changes(register, "starter", changes(always_on=False))
    register(
        "starter/residual",
        {
            "base": "starter/default",
            "description": "the second and third block residual",
            "set": {"network.features.1.block": "residual", "network.features.2.block": "residual"},
        },
    )
    register(
        "starter/squeeze_excitation",
        {
            "base": "starter/4e",
            "description": "batch normalization, and each block followed by a gate over its channels",
            "set": {"network.features.*.block": "squeeze_excitation"},
        },
    )
