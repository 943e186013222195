"""A network with what is customary today."""

from __future__ import annotations

from pathlib import Path

from zoo import RegisterSpec, hookimpl


@hookimpl
def zoo_register_specs(register: RegisterSpec) -> None:
    """Register the residual network."""
    register("modern/residual", Path(__file__).with_name("modern.toml"))
