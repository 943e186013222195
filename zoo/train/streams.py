"""Separate streams of random numbers, each derived from a run's seed and what the numbers are for.

So two specs with one seed see the same batches in the same order even where one of them draws more for its dropout,
and a run does not depend on which other runs share its process.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from zoo.spec import canonical_json

exclusive = threading.RLock()
"""Held while torch's global generators, of which a process has one for each device, draw for one run."""


def derive(seed: int, *purpose: str | int) -> int:
    """Return the seed of one stream, from 0 to 2**63 - 1, as in `derive(3, "order", epoch)`.

    It is the first 63 bits of the SHA-256 of the JSON text of [seed, *purpose], without spaces, and stays so: other
    values would make other runs, while the ledger counts old and new ones as the same. torch's CPU generator uses the
    low 32 bits only, so two CPU streams coincide with probability 2**-32.
    """
    digest = hashlib.sha256(canonical_json([seed, *purpose]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(device: torch.device | str, seed: int, *purpose: str | int) -> torch.Generator:
    """Return a generator on the device at the start of the stream."""
    return torch.Generator(device).manual_seed(derive(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Let what draws from torch's global generators (layer construction, dropout) draw from the stream.

    Args:
        seed: the run's seed.
        *purpose: what the numbers are for.
        device: a GPU or "mps", whose global generator is seeded too; the CPU's always is.

    On leaving, also by an exception, both are as they were before. Other threads wait meanwhile.
    """
    # Not torch.manual_seed, which would seed all devices for good, nor fork_rng, which does not know mps.
    where = dict.fromkeys(("cpu", str(device)))
    with exclusive:
        before = {name: _global_state(name) for name in where}
        try:
            for name in where:
                _set_global_state(name, generator(name, seed, *purpose).get_state())
            yield
        finally:
            for name in where:
                _set_global_state(name, before[name])


def drawn(device: torch.device | str) -> bytes:
    """Return where the global generators of the CPU and of a device are, to see whether something draws from them."""
    return b"".join(_global_state(name).numpy().tobytes() for name in dict.fromkeys(("cpu", str(device))))


def _global_state(device: str) -> torch.Tensor:
    """Return the state of a device's global generator."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if kind == "mps" else torch.get_rng_state()


def _set_global_state(device: str, state: torch.Tensor) -> None:
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif kind == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)


class Resumed:
    """A stream that torch's global generator of one device draws from at several times, going on where it was.

    What a CUDA graph recorded meanwhile draws from the stream whenever it is replayed, without the global generator.
    """

    def __init__(self, device: torch.device) -> None:
        self.generator = torch.Generator(device)
        self._shared: torch.Generator | None = None
        """The device's global generator, where the device is a GPU."""
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            self._shared = torch.cuda.default_generators[index]

    def begin(self, seed: int, *purpose: str | int) -> None:
        """Go to the start of the stream of a seed and a purpose."""
        self.generator.manual_seed(derive(seed, *purpose))

    @contextmanager
    def current(self) -> Iterator[None]:
        """Let what draws from the device's global generator draw from this stream. Other threads wait meanwhile."""
        with exclusive:
            if (shared := self._shared) is not None:
                # The state is shared, not copied: a graph reads the very one that it was recorded with.
                held = shared.graphsafe_get_state()
                shared.graphsafe_set_state(self.generator.graphsafe_get_state())
                try:
                    yield
                finally:
                    shared.graphsafe_set_state(held)
            else:
                state = torch.get_rng_state()
                torch.set_rng_state(self.generator.get_state())
                try:
                    yield
                finally:
                    self.generator.set_state(torch.get_rng_state())
                    torch.set_rng_state(state)
