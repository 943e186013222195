"""timm's models for images of other sizes and numbers of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
from timm.models import adapt_input_conv
from torch import nn

from zoo_timm._parting import part

COLOURS = 3


def build(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    load: Callable[[nn.Module], None] | None,
    drop_rate: float | None,
    drop_path_rate: float | None,
    global_pool: str,
) -> nn.Module:
    """Make a model.

    Raises:
        ValueError: it does not take such images, or has no such option.
    """
    channels = input_shape[0]
    options = {
        "drop_rate": drop_rate,
        "drop_path_rate": drop_path_rate,
        "global_pool": None if global_pool == "own" else global_pool,
        "img_size": _size(name, input_shape),
    }
    network = _made(name, channels, classes, options)
    if load is not None:
        if channels == COLOURS:
            load(network)
        else:
            _load_colours(network, _made(name, COLOURS, classes, options), load, channels)
    part(network)
    return network


def _made(name: str, channels: int, classes: int, options: dict[str, Any]) -> nn.Module:
    stated = {key: value for key, value in options.items() if value is not None}
    try:
        made: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels, **stated)
    except (TypeError, AssertionError, ValueError) as error:
        raise ValueError(f"timm cannot make it with {stated or 'its own options'}: {error}") from error
    return made


def _size(name: str, input_shape: tuple[int, int, int]) -> tuple[int, int] | None:
    """Return the size that a model must be told of its images: where it is made for one, and these have another."""
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.fixed_input_size or tuple(known.input_size[1:]) == input_shape[1:]:
        return None
    return input_shape[1:]


def _load_colours(network: nn.Module, colours: nn.Module, load: Callable[[nn.Module], None], channels: int) -> None:
    """Load weights for images in colour, whose first convolution timm fits to other channels."""
    load(colours)
    modules = dict(colours.named_modules())
    for path, module in network.named_modules():
        loaded = modules[path]
        for tensors, given in ((module._parameters, loaded._parameters), (module._buffers, loaded._buffers)):
            for key, tensor in tensors.items():
                if tensor is None or tensor.shape == given[key].shape:
                    tensors[key] = given[key]
                else:
                    tensors[key] = nn.Parameter(adapt_input_conv(channels, given[key].detach()))
