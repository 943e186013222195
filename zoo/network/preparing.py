"""What is measured from training images before the first step: layers that have `prepare`, and starting weights.

A layer with a method `prepare` is given its input, and so is an initializer that asks for `images`, for each weight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import PluginError, described, is_interruption
from zoo.network.initializing import Filling

IMAGES, NUMBERS = 5000, 2**26
"""How many images are shown: fewer where they would hold more than so many numbers together."""


class _AllPreparedError(Exception):
    """There is nothing left to do in the forward pass."""


def wants_preparing(network: nn.Module) -> bool:
    """Whether a module of the network has a method `prepare`."""
    return any(_is_prepared(module) for module in network.modules())


def _is_prepared(module: nn.Module) -> bool:
    return callable(getattr(module, "prepare", None))


def shown(images: Tensor) -> int:
    """Return how many of the images, (images, ...), are shown."""
    return min(len(images), IMAGES, max(1, NUMBERS // images[0].numel()))


@torch.no_grad()
def prepare(network: nn.Module, images: Tensor, what: str, filling: Filling | None = None) -> None:
    """Call `prepare` of each module that has one with what reaches it first, once, in the order of the forward pass.

    So those behind it see what it has become. The pass is that of an evaluation, and ends with the last of them. The
    weights of a module are filled before it is prepared; those of a module that no image reaches stay as they are.

    Args:
        network: whose modules.
        images: as the network is given them.
        what: has the network, for messages.
        filling: the initializer, where it asks for images.

    Raises:
        BuildError: the initializer refuses a weight.
        PluginError: one of them or the initializer raised, or one was never reached; names it.
    """
    waiting = {module: name for name, module in network.named_modules() if _is_prepared(module)}
    filled = filling.of(network) if filling else {}

    def begin(module: nn.Module, given: tuple[Any, ...]) -> None:
        paths, name = filled.pop(module, None), waiting.pop(module, None)
        if paths is None and name is None:  # also where the layer is asked while it is measured
            return
        for path in paths or () if given and isinstance(given[0], Tensor) else ():
            assert filling is not None
            filling.fill(network, path, given[0].detach())
        if name is not None:
            call(module, name, given)
        if not waiting and not filled:
            raise _AllPreparedError

    def call(module: nn.Module, name: str, given: tuple[Any, ...]) -> None:
        try:
            module.prepare(given[0].detach())  # type: ignore[operator]
        except BaseException as error:
            if is_interruption(error):
                raise
            raise PluginError(
                f"{what}: {name} ({type(module).__name__}) cannot be prepared with training images: {described(error)}"
            ) from error

    handles = [module.register_forward_pre_hook(begin) for module in {**waiting, **filled}]
    network.eval()
    try:
        network(images)
    except _AllPreparedError:
        pass
    finally:
        for handle in handles:
            handle.remove()
        network.train()
    for module, name in waiting.items():
        raise PluginError(f"{what}: {name} ({type(module).__name__}) has a method prepare, and no image reaches it")
