"""torchvision's models for images of other sizes and numbers of channels than those of ImageNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

COLOURS = 3
_AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
"""Outputs that are for training only, and that are left out; published weights have them."""
_QUARTER = 4
"""The factor by which the first layers of most networks for ImageNet shrink an image before the first block."""


def build(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    stem: str,
    load: Callable[[nn.Module], None] | None = None,
) -> nn.Module:
    """Make a model with starting weights, for images of a shape.

    Args:
        name: of the model.
        input_shape: channels, height, width.
        classes: how many there are.
        stem: "own" or "small".
        load: puts the weights of a file into the model as torchvision has it, before it is fitted to the images.

    Raises:
        ValueError: the model cannot take such images, or has no stem that could be smaller.
    """
    from torchvision import models

    enlarged = stem == "small" and name.startswith("vit_")
    size = _size(input_shape) * (_QUARTER if enlarged else 1)
    options = _options(name, size, input_shape)
    if load is None:
        network: Any = models.get_model(name, weights=None, num_classes=classes, **options)
    else:
        network = _loaded(name, classes, options, load)
    if enlarged:  # the table of positions of a four times larger image, whose patches are four times larger, too
        network.image_size = _size(input_shape)
        network.patch_size //= _QUARTER
    if stem == "small":
        shrink_stem(network)
    set_channels(network, input_shape[0])
    made: nn.Module = network
    return made


def _loaded(name: str, classes: int, options: dict[str, Any], load: Callable[[nn.Module], None]) -> nn.Module:
    """Make a model that starts from a file; auxiliary outputs are in the published ones, and left out after that."""
    from torchvision import models

    auxiliary = _AUXILIARY.get(name, ())
    with_them = {"aux_logits": True, "init_weights": False} if auxiliary else {}
    network: Any = models.get_model(name, weights=None, num_classes=classes, **{**options, **with_them})
    load(network)
    for module in auxiliary:
        setattr(network, module, None)
    if auxiliary:
        network.aux_logits = False
    made: nn.Module = network
    return made


def _options(name: str, size: int, input_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return what a model must be told of its images, or is told so that it makes logits and nothing else."""
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        patch = int(name.rpartition("_")[2])
        if size % patch:
            raise ValueError(f"its patches of {patch}x{patch} do not divide images of {size}x{size}")
        return {"image_size": size}
    if name.startswith("maxvit"):
        return {"input_size": input_shape[1:]}
    return {}


def _size(input_shape: tuple[int, int, int]) -> int:
    _, height, width = input_shape
    return height if height == width else 0


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d]:
    """Return the place of a network's first convolution, which looks at the image, and itself."""
    return next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))


def set_channels(network: nn.Module, channels: int) -> None:
    """Let a network for images in colour take images of so many channels.

    The weights for an image in shades of grey are the sums over the colours: it is seen as one of three equal ones.

    Raises:
        ValueError: the images have neither one channel nor three.
    """
    place, convolution = first_convolution(network)
    if channels == convolution.in_channels:
        return
    if channels != 1:
        raise ValueError(f"it takes images of 1 or {COLOURS} channels")
    weight = convolution.weight.detach().sum(1, keepdim=True)
    _put(network, place, _like(convolution, weight, in_channels=1))


def shrink_stem(network: nn.Module) -> None:
    """Let a network see small images at full size: the first convolution of stride 1, and no pooling after it.

    A convolution of 3x3 takes the middle of the first one's weights; one over patches (of which the stride is the size)
    the middle quarter of each side, and that stride. They are scaled so that what comes out has the same variance.

    Raises:
        ValueError: there is nothing to make smaller, or a patch cannot be quartered.
    """
    place, convolution = first_convolution(network)
    size, stride = convolution.kernel_size[0], convolution.stride[0]
    if stride == 1:
        raise ValueError('its first convolution has stride 1 already: leave out stem = "small"')
    if size == stride and size % _QUARTER:
        raise ValueError(f"its patches of {size}x{size} cannot be quartered")
    new = size // _QUARTER if size == stride else min(size, 3)
    border = (size - new) // 2
    weight = convolution.weight.detach()[:, :, border : border + new, border : border + new] * (size / new)
    padding = 0 if size == stride else new // 2
    made = _like(convolution, weight, kernel_size=new, stride=new if size == stride else 1, padding=padding)
    _put(network, place, made)
    _drop_pooling(network, place)


def _drop_pooling(network: nn.Module, after: str) -> None:
    """Leave out the max pooling that comes before any other convolution."""
    modules = list(network.named_modules())
    start = [name for name, _ in modules].index(after) + 1
    for name, module in modules[start:]:
        if isinstance(module, nn.Conv2d):
            return
        if isinstance(module, nn.MaxPool2d):
            _put(network, name, nn.Identity())
            return


def _like(convolution: nn.Conv2d, weight: torch.Tensor, **changed: Any) -> nn.Conv2d:
    """Return a convolution with other weights, and what follows from their sizes."""
    stated = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    options = {name: getattr(convolution, name) for name in stated} | changed
    made: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, **options, bias=convolution.bias is not None
    )
    made.weight = nn.Parameter(weight.clone())
    made.bias = convolution.bias
    return made


def _put(network: nn.Module, place: str, module: nn.Module) -> None:
    parent, _, name = place.rpartition(".")
    setattr(network.get_submodule(parent), name, module)
