"""What a filter or a pooling takes over from the layer in whose place it stands: size, stride, padding and so on."""

from __future__ import annotations

from typing import Any

import attrs
from torch import nn

from zoo.errors import BuildError
from zoo.network.layers import sizes
from zoo.registry.options import Choice
from zoo.spec import unstructure


def taken_over(choice: Choice, own: nn.Module, at: str) -> tuple[dict[str, Any], int | None]:
    """Return the options that a filter or a pooling takes over from the layer in whose place it stands.

    Raises:
        BuildError: the variant has no such option, or no value for it, or the spec states another.
    """
    if choice.kind == "filter":
        names = {"kernel_size": "size", "stride": "stride", "dilation": "dilation"}
        values = {option: _square(getattr(own, name), option, at) for name, option in names.items()}
        values["padding"] = _padding(own, values["size"], values["dilation"], at)
        values |= {"groups": own.groups, "bias": own.bias is not None}
        usual = {"stride": 1, "padding": "valid", "dilation": 1, "groups": 1}
    elif choice.kind == "pooling":
        names = {"kernel_size": "size", "stride": "stride", "padding": "padding"}
        values = {option: _square(getattr(own, name), option, at) for name, option in names.items()}
        usual = {"padding": 0}
    else:
        return {}, None
    taken = choice.values()
    lacking = [name for name, value in values.items() if name not in taken and usual.get(name, value) != value]
    if lacking:
        raise BuildError(f"{at}: it has no option {lacking[0]!r}, which is {values[lacking[0]]} here")
    kept = {name: value for name, value in values.items() if name in taken}
    defaults = {field.name: field.default for field in attrs.fields(type(choice.options))}
    for name, value in kept.items():
        stated = unstructure(taken[name])
        if stated not in (value, unstructure(defaults[name])):
            raise BuildError(
                f"{at}: it takes over {name} = {value} from the layer in whose place it stands, and the spec states "
                f"{name} = {stated}: leave that out"
            )
    return kept, getattr(own, "out_channels", None)


def _padding(own: Any, size: int, dilation: int, at: str) -> str:
    """Return how a variant must pad to make maps of the size that a convolution makes.

    Raises:
        BuildError: no variant pads so.
    """
    if own.padding_mode != "zeros":
        raise BuildError(f"{at}: its padding is of the mode {own.padding_mode!r}, and a variant pads with zeros")
    if own.padding == "valid":
        return "valid"
    around = dilation * (size - 1)
    padding = around / 2 if own.padding == "same" else _square(own.padding, "padding", at)
    if padding and (2 * padding != around or around % 2):
        raise BuildError(f'{at}: its padding of {padding:g} for a size of {size} is neither "same" nor "valid"')
    return "same" if padding else "valid"


def _square(value: Any, option: str, at: str) -> Any:
    if isinstance(value, tuple):
        if len(set(value)) > 1:
            raise BuildError(f"{at}: its {option} of {sizes(value)} is not square")
        return value[0]
    return value
