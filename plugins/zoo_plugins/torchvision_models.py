"""Architectures: every classification model of the torchvision that is installed.

Their names are read from torchvision's source, which is not imported for it: to list them takes no torch.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo import PublishedWeights, RegisterArchitecture, hookimpl

if TYPE_CHECKING:
    from torch import nn

_MARK = "\n@register_model()\n"
"""What stands before each builder of a model in torchvision's files."""
_BUILDER = re.compile(r"^def (\w+)\(", re.MULTILINE)
_PAPER = re.compile(r"`([^`<]+?)\s*<http\S*?arxiv\.org/abs/([\d.]+)>`")


@hookimpl
def zoo_register_architectures(register: RegisterArchitecture) -> None:
    """Register the models."""
    for name, paper in models():
        register(name, _factory(name, paper), weights=_weights(name))


def models() -> Iterator[tuple[str, str]]:
    """Yield the name of each model, and its paper, as far as torchvision's documentation names one on arXiv."""
    found = importlib.util.find_spec("torchvision")
    for folder in (found.submodule_search_locations if found else None) or ():
        for file in sorted(Path(folder, "models").glob("*.py")):
            for text in file.read_text(encoding="utf-8").split(_MARK)[1:]:
                builder, paper = _BUILDER.search(text), _PAPER.search(text)
                if builder:
                    title = " ".join(paper[1].split()) if paper else ""
                    yield builder[1], f"{title} (arXiv:{paper[2]})." if paper else ""


def _weights(name: str) -> Callable[[], Mapping[str, PublishedWeights]]:
    def weights() -> Mapping[str, PublishedWeights]:
        from zoo_plugins._torchvision_weights import published

        return published(name)

    return weights


def _factory(name: str, paper: str) -> Callable[..., nn.Module]:
    def model(
        input_shape: tuple[int, int, int],
        classes: int,
        load: Callable[[nn.Module], None] | None,
        *,
        stem: Literal["own", "small"] = "own",
    ) -> nn.Module:
        from zoo_plugins._torchvision_models import build

        return build(name, input_shape, classes, stem, load)

    model.__name__ = model.__qualname__ = name
    model.__doc__ = f"torchvision's {name}.\n" + (f"\nPaper: {paper}\n" if paper else "")
    return model
