"""What the benchmarks share: options, turns taken side by side, and the written result."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click
import torch

import zoo
from zoo.errors import ZooError

Command = TypeVar("Command", bound=Callable[..., Any])


def options(*, epochs: int, seeds: int, data: str = "digits") -> Callable[[Command], Command]:
    """Add the options that every benchmark has, with this one's defaults."""

    def add(command: Command) -> Command:
        for option in (
            click.option("--json", "json_path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
                         help="Write the figures, the versions and the machine to FILE."),
            click.option("--device", default="auto", show_default=True,
                         type=click.Choice(["auto", "cpu", "cuda", "mps"])),
            click.option("--images", type=click.IntRange(min=1), metavar="N",
                         help="Take the first N images of each part, for a quick run.  [default: all]"),
            click.option("--data", default=data, show_default=True, metavar="DATASET",
                         help="The data set: a name such as digits, folder:PATH or npz:PATH."),
            click.option("--seeds", default=seeds, show_default=True, type=click.IntRange(min=1),
                         help="Repetitions, each with a seed of its own."),
            click.option("--epochs", default=epochs, show_default=True, type=click.IntRange(min=1),
                         help="Epochs of each run."),
        ):  # fmt: skip
            command = option(command)
        return command

    return add


def guarded(command: Callable[[], object]) -> None:
    """Call a click command; what zoo says of bad input is printed without a traceback."""
    try:
        command()
    except ZooError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)


def turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Yield (round, name): in each round every name once, beginning with another one each time.

    So a machine that becomes slower or faster on the way meets all of them.
    """
    for index in range(rounds):
        first = index % len(names)
        for name in (*names[first:], *names[:first]):
            yield index, name


@attrs.frozen
class Spread:
    """Repeated measurements of one quantity."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return math.fsum(self.values) / len(self.values)

    @property
    def geometric_mean(self) -> float:
        """The geometric mean, which is the one for ratios."""
        return math.exp(math.fsum(map(math.log, self.values)) / len(self.values))

    def over(self, other: Spread) -> Spread:
        """Return the ratios of the measurements that were made in the same round."""
        return Spread(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def text(self, digits: int = 3) -> str:
        """Return "mean [least, greatest]" to so many significant digits."""
        return f"{_rounded(self.mean, digits)} {self._range(digits)}"

    def ratio_text(self, digits: int = 3) -> str:
        """Return "geometric mean [least, greatest]" to so many significant digits."""
        return f"{_rounded(self.geometric_mean, digits)} {self._range(digits)}"

    def _range(self, digits: int) -> str:
        return f"[{_rounded(min(self.values), digits)}, {_rounded(max(self.values), digits)}]"


def _rounded(value: float, digits: int) -> str:
    """Return a number to so many significant digits, without an exponent: 1234.5 is 1234, 0.01234 is 0.0123."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def environment(device: str) -> dict[str, Any]:
    """Return what figures depend on: versions, hardware, threads, load, command and date."""
    return {
        "zoo": zoo.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "device_name": torch.cuda.get_device_name() if device.startswith("cuda") else processor(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def processor() -> str:
    """Return the processor's name; on Linux `platform` gives the architecture only."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def describe(surroundings: Mapping[str, Any]) -> str:
    """Return the environment in one line."""
    load = surroundings["load_average"]
    return (
        f"{surroundings['device']} ({surroundings['device_name']}), {surroundings['cores']} cores, "
        f"{surroundings['threads']} threads, torch {surroundings['torch']}, python {surroundings['python']}, "
        f"zoo {surroundings['zoo']}, {surroundings['date']}"
        + (f", load average {load[0]:.1f} at the start" if load else "")
    )


def write_json(path: Path | None, surroundings: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Write a benchmark's figures and where they were measured, if a file was asked for.

    Raises:
        ZooError: the file cannot be written.
    """
    if path is None:
        return
    try:
        text = json.dumps({"environment": surroundings, **figures}, indent=2)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ZooError(f"--json {path}: {error.strerror}; name another file") from error
