"""Starting from weights of a file: every tensor of it, or an error that names what does not fit.

Of an output layer for another number of classes nothing is loaded; that is said wherever the network is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import attrs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zoo.errors import BuildError, PluginError, SpecError, ZooError, described, is_interruption
from zoo.network.layers import Shape, alike, sizes
from zoo.registry import Registry
from zoo.spec import Spec, Weights
from zoo.spec.weights import content_digest, own_file, published

_COUNTED = "num_batches_tracked"
"""What batch normalization counts; files that are older than it begin at 0."""
_SHOWN = 3


@attrs.frozen
class Starting:
    """What a network starts from.

    Attributes:
        weights: as the spec states them.
        equal: tensors of the network that are those of the file.
        left: tensors of an output layer for another number of classes, which are not loaded.
        adapted: other tensors, which the architecture made of those of the file to fit the images.
    """

    weights: Weights
    equal: tuple[str, ...]
    left: tuple[str, ...]
    adapted: tuple[str, ...]

    def __str__(self) -> str:
        digest = (self.weights.digest or "")[:12]
        left = f"; not loaded, for another number of classes: {', '.join(self.left)}" if self.left else ""
        adapted = f"; adapted to the images: {_few(self.adapted)}" if self.adapted else ""
        return f"{self.weights} (SHA-256 {digest}), {len(self.equal)} tensors{left}{adapted}"


def find(spec: Spec, registry: Registry) -> tuple[Path, Callable[[Path], Mapping[str, Tensor]]]:
    """Return the file of a spec's starting weights, which holds what the spec says, and what reads it.

    Raises:
        BuildError: it is not there, or holds something else.
    """
    weights, architecture = spec.network.weights, spec.network.architecture
    if weights is None or architecture is None:
        raise ValueError(f"{spec.name} has no starting weights")
    what = f"{spec.name}: network.weights: {weights}"
    begins = ""
    read: Callable[[Path], Mapping[str, Tensor]] = load_file
    try:
        file = own_file(weights)
        if file is None:
            of = published(weights, architecture.name, registry)
            file, begins, read = of.file, of.sha256, of.read
            if not file.is_file():
                raise BuildError(
                    f"{what}: there is no {file.name} in {file.parent}, and zoo downloads no weights: get it from "
                    f"{of.url} and put it there"
                )
        elif not file.is_file():
            raise BuildError(f"{what}: there is no file {file}")
        digest = content_digest(file)
    except SpecError as error:
        raise BuildError(f"{what}: {error}") from error
    if not digest.startswith(begins):
        raise BuildError(
            f"{what}: {file} is damaged: its SHA-256 begins with {digest[: len(begins)]}, and that of what is "
            f"published with {begins}; delete it and get it again"
        )
    if digest != weights.digest:
        raise BuildError(
            f"{what}: {file} is not the file that the spec was read with: the SHA-256 of its content is "
            f"{digest[:12]}, and was {str(weights.digest)[:12]}. Put that one back, or give the command again to start "
            "from this"
        )
    return file, read


class Loading:
    """Puts the weights of one file into one network: what an architecture's factory may ask for as `load`.

    Raises:
        BuildError: the file is not there, cannot be read, or is not what the spec says.
    """

    def __init__(self, spec: Spec, classes: int, registry: Registry) -> None:
        assert spec.network.weights is not None
        self.done = False
        self._weights, self._classes = spec.network.weights, classes
        self._what = f"{spec.name}: network.weights: {self._weights}"
        file, read = find(spec, registry)
        try:
            self._tensors = dict(read(file))
        except (SafetensorError, OSError) as error:
            raise BuildError(f"{self._what}: {file} is no safetensors file, or it is damaged: {error}") from error
        except ZooError:
            raise
        except BaseException as error:  # a plugin may also call sys.exit
            if is_interruption(error):
                raise
            raise BuildError(f"{self._what}: {file} cannot be read: {described(error)}") from error
        self._left: tuple[str, ...] = ()
        self._put: dict[int, str] = {}

    def __call__(self, network: nn.Module) -> None:
        """Put the weights in.

        Not by `load_state_dict`, in which modules may rename what they are given, or refuse files of other versions.

        Raises:
            BuildError: the file has other tensors than the network.
        """
        own = _tensors(network)
        self._left = tuple(self._of_other_classes(own))
        problems = list(self._problems(own))
        if problems:
            raise BuildError(f"{self._what} does not fit the architecture: {'; '.join(problems)}")
        put = [name for name in own if name in self._tensors and name not in self._left]
        with torch.no_grad():
            for name in put:
                own[name].copy_(self._tensors[name])
        now = _tensors(network)
        if lost := [name for name in put if not _same(now[name], self._tensors[name])]:
            raise BuildError(f"{self._what}: what the network calls {_few(lost)} cannot be set")
        self._put = {own[name].data_ptr(): name for name in put if own[name].numel()}
        self.done = True

    def starting(self, network: nn.Module) -> Starting:
        """Say what the finished network starts from.

        Raises:
            PluginError: the factory asked for `load` and did not call it.
        """
        if not self.done:
            raise PluginError(f"{self._what}: the architecture's factory asked for `load`, and did not call it")
        every = _tensors(network)
        own = {name: tensor for name, tensor in every.items() if name not in self._left}
        # By where they are in memory: an architecture may have put its layers elsewhere after they were loaded.
        names = {name: self._put.get(tensor.data_ptr(), name) for name, tensor in own.items()}
        equal = tuple(n for n, t in own.items() if names[n] in self._tensors and _same(t, self._tensors[names[n]]))
        adapted = (name for name in own if name not in equal and not name.endswith(_COUNTED))
        left = tuple(name for name in self._left if name in every)
        return Starting(self._weights, equal, left, tuple(adapted))

    def _of_other_classes(self, own: Mapping[str, Tensor]) -> Iterator[str]:
        """Yield the tensors of output layers: all of a module whose first dimension is another number of classes."""
        other = [name for name in own if name in self._tensors and own[name].shape != self._tensors[name].shape]
        found = [name for name in other if _differ_in_classes(own[name], self._tensors[name], self._classes)]
        if len({self._tensors[name].shape[0] for name in found}) == 1:
            modules = {name.rpartition(".")[0] for name in found}
            whole = {m for m in modules if all(name in found for name in own if name.rpartition(".")[0] == m)}
            yield from (name for name in found if name.rpartition(".")[0] in whole)

    def _problems(self, own: Mapping[str, Tensor]) -> Iterator[str]:
        missing = [name for name in own if name not in self._tensors and not name.endswith(_COUNTED)]
        if missing:
            yield f"it has no {_few(missing)}"
        if more := [name for name in self._tensors if name not in own]:
            yield f"the network has no {_few(more)}"
        shapes = {name: (self._tensors[name].shape, own[name].shape) for name in own if name in self._tensors}
        yield from _few_shapes({n: s for n, s in shapes.items() if s[0] != s[1] and n not in self._left})


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, as files of weights hold them."""
    return {name: tensor for name, tensor in network.state_dict().items() if isinstance(tensor, Tensor)}


def _differ_in_classes(own: Tensor, stored: Tensor, classes: int) -> bool:
    return own.dim() > 0 and own.shape[0] == classes and own.shape[1:] == stored.shape[1:] and own.dim() == stored.dim()


def _same(own: Tensor, stored: Tensor) -> bool:
    return alike(own, stored.to(own.dtype))


def _few(names: Collection[str]) -> str:
    shown, more = list(names)[:_SHOWN], len(names) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _few_shapes(shapes: Mapping[str, tuple[Shape, Shape]]) -> Iterator[str]:
    texts = [f"{name} is {sizes(stored) or 'one number'} in it and {sizes(own) or 'one number'} in the network"
             for name, (stored, own) in shapes.items()]  # fmt: skip
    if texts:
        yield _few(texts)
