"""The executor for many machines: a Ray cluster."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from zoo import Register, hookimpl

if TYPE_CHECKING:
    from zoo.execution.contract import Work
    from zoo.execution.events import Event


@hookimpl
def zoo_register_executors(register: Register) -> None:
    """Register the executor."""
    register("ray", ray)


def ray(work: Work, *, address: str = "") -> Generator[Event]:
    """Many machines: a Ray cluster at `address` (host:port or auto); this machine alone without one."""
    from zoo.execution.cluster import ray_executor

    return ray_executor(work, address=address)
