"""What a network is put together from: its layers, and how each is tried, described and blamed while it is built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from zoo import torch_settings
from zoo.errors import BuildError, PluginError, ZooError, described, is_interruption, lacks_memory, text_of
from zoo.registry import Plugin, Variant
from zoo.registry.hookspecs import KINDS

if TYPE_CHECKING:
    from zoo.network.initializing import Filling
    from zoo.network.starting import Starting

Shape = tuple[int, ...]
"""(channels, height, width) of feature maps, (units,) in the classifier; without the batch."""


@attrs.frozen
class Layer:
    """One built part; `parameters` and `flops` are counted as `Built` counts them.

    Of a block, `is_rest` says that these are what it does beyond the parts that it told of.
    """

    path: str
    description: str
    input_shape: Shape
    output_shape: Shape
    parameters: int
    flops: int
    is_rest: bool = False


class ScaledLinear(nn.Linear):
    """A dense layer whose output is multiplied by a number."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, scale: float) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scaled output."""
        return super().forward(x) * self.scale

    def extra_repr(self) -> str:
        """Describe the layer."""
        return f"{super().extra_repr()}, scale={self.scale:g}"


@attrs.frozen
class Replaced:
    """A place of an architecture of a kind of which layers are replaced.

    Attributes:
        path: of the module that stands there now.
        origin: of the layer that was used there and elsewhere; empty where it was used there only.
        kind: of the layer.
        what: the class of the layer that was there, or the name of the function.
        old: that layer in words.
        new: what stands there now in words; the old one where it was left.
        variant: what was put there; "own" where the old one was left.
        uses: at how many places of a forward pass it stands; more than one only where it was left.
    """

    path: str
    origin: str
    kind: str
    what: str
    old: str
    new: str
    variant: str
    uses: int = 1


@attrs.frozen(eq=False)
class Built:
    """A network and the layers that it was put together from."""

    network: nn.Module
    layers: tuple[Layer, ...]
    replaced: tuple[Replaced, ...] = attrs.field(default=(), kw_only=True)
    """Every place of an architecture of the kinds of which layers are replaced."""
    starting: Starting | None = attrs.field(default=None, kw_only=True)
    """What it starts from where the spec names weights; else None."""
    filling: Filling | None = attrs.field(default=None, kw_only=True)
    """The initializer, where it fills weights again when there are training images; else None."""

    @property
    def parameters(self) -> int:
        """How many trainable numbers the network has."""
        return trainable(self.network)

    @property
    def flops(self) -> int:
        """Floating-point operations of one image's forward pass, a multiply-add counted as two.

        Those of convolutions and matrix products, without biases: what a torch `FlopCounterMode` counts.
        """
        return sum(layer.flops for layer in self.layers)


@contextmanager
def blaming(what: str, plugin: Plugin, shape: Shape) -> Iterator[None]:
    """Say where in the spec, for which input, and in whose code a layer failed, or what it changed in torch."""
    settings = torch_settings.values()
    try:
        try:
            yield
        finally:
            if found := torch_settings.changed(settings):
                torch_settings.put(settings)
        if found:
            raise PluginError(f"{what}: plugin {plugin} {torch_settings.fault(found)}")
    except ZooError:
        raise
    except BaseException as error:  # a plugin may also call sys.exit
        if is_interruption(error):
            raise
        if lacks_memory(error):
            raise BuildError(
                f"{what}: the computer's memory does not suffice for it ({one_line(error)}); make it smaller"
            ) from error
        # torch raises a RuntimeError for sizes that do not match; its two subclasses never mean that.
        if isinstance(error, ValueError | RuntimeError) and not isinstance(error, NotImplementedError | RecursionError):
            raise BuildError(f"{what} does not fit its input of {sizes(shape)}: {one_line(error)}") from error
        raise PluginError(f"{what}: plugin {plugin} raised {described(error)}") from error


def made(what: str, variant: Variant, options: Mapping[str, Any], **supplied: Any) -> Any:
    """Call a factory. Its RuntimeError is a fault of its own: no size has met another yet."""
    try:
        return variant.make(options, **supplied)
    except RuntimeError as error:
        if type(error) is not RuntimeError or lacks_memory(error):
            raise
        raise PluginError(f"{what}: plugin {variant.plugin}: its factory raised {described(error)}") from error


def require_module(made: Any) -> nn.Module:
    """Return what a factory made, which must be a module.

    Raises:
        TypeError: it is none.
    """
    if isinstance(made, nn.Module):
        return made
    if isinstance(made, type):
        raise TypeError(
            f"its factory must return a torch.nn.Module, not the class {made.__name__}: return {made.__name__}(...)"
        )
    what = f"a tensor of {sizes(made.shape)}" if isinstance(made, torch.Tensor) else f"{made!r:.80}"
    raise TypeError(
        f"its factory must return a torch.nn.Module, not {what}; what it computes on a batch belongs into the module's "
        "forward"
    )


def one_line(error: BaseException) -> str:
    """Return an error's text in one line."""
    return " ".join(text_of(error).split())


def sizes(shape: Iterable[int]) -> str:
    """Return a shape as people write it: 3x32x32."""
    return "x".join(map(str, shape))


def trainable(module: nn.Module) -> int:
    """Return how many trainable numbers a module has."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def check_contract(variant: Variant, before: Shape, after: Shape, filters: int | None) -> None:
    """Refuse a part whose output is not of the shape that its kind, or its factory, promises."""
    kind = variant.kind
    expected = {"filter": (filters, *after[1:]), "pooling": (before[0], *after[1:])}.get(kind, before)
    promise = {"filter": f"give {filters} channels", "pooling": "keep the channels"}.get(kind, "keep the shape")
    if variant.changes_channels:
        expected, promise = (after[0], *expected[1:]), "keep height and width"
    elif KINDS[kind].may_change_channels and after[1:] == expected[1:]:
        promise += "; where other channels are meant, mark its factory with zoo.changes_channels"
    if after != expected:
        article = "an" if kind == "activation" else "a"
        raise ValueError(f"it makes {sizes(after)} of {sizes(before)}, and {article} {kind} must {promise}")


def probe(module: nn.Module, shape: Shape) -> tuple[Shape, int]:
    """Return the shape that a module makes of `shape`, and the operations that it takes for one image."""
    require_module(module)
    module.eval()
    # Not without gradients, where the counter's hooks fail for a module that is given a parameter.
    with FlopCounterMode(display=False) as counter:
        after = module(torch.zeros(1, *shape))
    module.train()
    if not isinstance(after, torch.Tensor):
        raise TypeError(f"its forward must return one tensor, not {type(after).__name__}")
    if len(after.shape) != 1 + len(shape) or after.shape[0] != 1:
        raise ValueError(f"it makes {sizes(after.shape)} of a batch of 1x{sizes(shape)}")
    if not after.numel():
        raise ValueError(f"nothing is left of it: {sizes(after.shape[1:])}")
    return tuple(after.shape[1:]), counter.get_total_flops()


def alike(old: Any, new: Any) -> bool:
    """Tell whether two results are tensors that are equal to the last bit; NaN equals NaN."""
    return (
        isinstance(old, torch.Tensor)
        and isinstance(new, torch.Tensor)
        and old.shape == new.shape
        and old.dtype == new.dtype
        and torch.equal(old.nan_to_num(), new.nan_to_num())
        and torch.equal(old.isnan(), new.isnan())
    )


_ARGUMENT = re.compile(r"(?:[^,(\[]|\([^)]*\)|\[[^\]]*\])+")


def describe(module: nn.Module) -> str:
    """Write a module as its repr does, less what has its default: "Conv2d(3, 24, 5x5)"."""
    name, children = type(module).__name__, list(module.children())
    if not children:
        arguments = [*_arguments(module), *(["always on"] if module.training else [])]
        return f"{name}({', '.join(arguments)})"
    inner = ", ".join(map(describe, children))
    if not isinstance(module, nn.Sequential):
        return f"{name}[{inner}]"
    return inner if len(children) == 1 else f"[{inner}]"


def _arguments(module: nn.Module) -> Iterator[str]:
    parameters: dict[str, inspect.Parameter] = {}
    for cls in reversed(type(module).__mro__):
        if "__init__" in vars(cls):
            parameters |= inspect.signature(vars(cls)["__init__"]).parameters
    for index, argument in enumerate(_ARGUMENT.findall(module.extra_repr())):
        key, equals, text = argument.strip().partition("=")
        if not equals or key not in parameters:
            yield argument.strip()
            continue
        default = parameters[key].default
        numbers = re.findall(r"[^(), ]+", text)
        # The first says what the layer is, also where it is the default.
        if index and (text == repr(default) or set(numbers) == {repr(default)}):
            continue
        text = "x".join(numbers) if text.startswith("(") else text
        yield text if default is inspect.Parameter.empty else f"{key}={text}"
