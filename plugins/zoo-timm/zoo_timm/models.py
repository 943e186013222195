"""Architectures: every model of the timm that is installed, as `timm_NAME`.

Their names are read from timm's source, which is not imported for it: to list them takes no torch.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import zoo

if TYPE_CHECKING:
    from torch import nn

PREFIX = "timm_"
_BUILDER = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@zoo.hookimpl
def zoo_register_architectures(register: zoo.RegisterArchitecture) -> None:
    """Register the models."""
    for name in models():
        register(PREFIX + name, _factory(name), weights=_weights(name))


def models() -> Iterator[str]:
    """Yield the name of each model."""
    found = importlib.util.find_spec("timm")
    for folder in (found.submodule_search_locations if found else None) or ():
        for file in sorted(Path(folder, "models").glob("*.py")):
            yield from _BUILDER.findall(file.read_text(encoding="utf-8"))


def _weights(name: str) -> Callable[[], Mapping[str, zoo.PublishedWeights]]:
    def weights() -> Mapping[str, zoo.PublishedWeights]:
        from zoo_timm._weights import published

        return published(name)

    return weights


def _factory(name: str) -> Callable[..., nn.Module]:
    def model(
        input_shape: tuple[int, int, int],
        classes: int,
        load: Callable[[nn.Module], None] | None,
        *,
        drop_rate: zoo.Probability | None = None,
        drop_path_rate: zoo.Probability | None = None,
        global_pool: Literal["own", "avg", "max", "avgmax", "catavgmax"] = "own",
    ) -> nn.Module:
        from zoo_timm._models import build

        return build(name, input_shape, classes, load, drop_rate, drop_path_rate, global_pool)

    model.__name__ = model.__qualname__ = PREFIX + name
    model.__doc__ = f"{name} of timm."
    return model
