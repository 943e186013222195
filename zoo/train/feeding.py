"""Images that are not on the device: a thread takes them from their files, batch by batch, ahead of the training."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from zoo.data import pages

_AHEAD = 2
"""Batches that are taken, and copied to the device, before they are asked for."""
_ANNOUNCED = 8
"""Batches that the system is told of before they are taken, so that the disk reads many images at once."""
_HELD = 32 * 2**20
"""Bytes that are read from a mapped file before its pages are given back; the system may map ten times as much."""
_LEAST_ANNOUNCED = 16 * 1024
"""Bytes of an image from which on that pays: of less, one page holds several."""


def fed(
    images: Tensor, wanted: Iterable[Tensor | slice], device: torch.device, *, mapped: bool = False
) -> Iterator[Tensor]:
    """Yield `images[one]` on a device, for each of what is wanted, in its order.

    Args:
        images: in the computer's memory, or mapped from a file.
        wanted: positions of images, on the CPU, or ranges of them.
        device: where they are wanted. To a GPU they are copied through pinned memory, on a stream of their own.
        mapped: the images are mapped from a file and not written to, so that what was read can be given back.
    """
    copied = _to_gpu(device) if device.type == "cuda" else _to_memory
    read = 0

    def take(one: Tensor | slice) -> Callable[[], Tensor]:
        nonlocal read
        copy = copied(images, one)
        read += _number(images, one) * images[0].numel()
        if mapped and read > _HELD:
            pages.give_back(images.data_ptr(), images.numel())
            read = 0
        return copy

    announced: deque[Tensor | slice] = deque()
    taken: deque[Future[Callable[[], Tensor]]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="zoo images") as pool:
        for one in wanted:
            pool.submit(_announce, images, one)
            announced.append(one)
            if len(announced) > _ANNOUNCED:
                taken.append(pool.submit(take, announced.popleft()))
            if len(taken) > _AHEAD:
                yield taken.popleft().result()()
        while announced or taken:
            while announced and len(taken) <= _AHEAD:
                taken.append(pool.submit(take, announced.popleft()))
            yield taken.popleft().result()()


def _to_memory(images: Tensor, one: Tensor | slice) -> Callable[[], Tensor]:
    copy = _copied(images, one, pinned=False)
    return lambda: copy


def _to_gpu(device: torch.device) -> Callable[[Tensor, Tensor | slice], Callable[[], Tensor]]:
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def take(images: Tensor, one: Tensor | slice) -> Callable[[], Tensor]:
        # torch gives pinned memory that is freed to others only when the copies from it have ended.
        pinned = _copied(images, one, pinned=True)
        with torch.cuda.stream(side):
            copy = pinned.to(device, non_blocking=True)
            arrived = side.record_event()

        def given() -> Tensor:
            using = torch.cuda.current_stream(device)
            using.wait_event(arrived)
            copy.record_stream(using)  # so that the memory is not given to the next copy while it is in use
            return copy

        return given

    return take


def _copied(images: Tensor, one: Tensor | slice, *, pinned: bool) -> Tensor:
    copy = torch.empty((_number(images, one), *images.shape[1:]), dtype=images.dtype, pin_memory=pinned)
    if isinstance(one, Tensor):
        return torch.index_select(images, 0, one, out=copy)
    return copy.copy_(images[one])


def _number(images: Tensor, one: Tensor | slice) -> int:
    return len(one) if isinstance(one, Tensor) else len(range(*one.indices(len(images))))


def _announce(images: Tensor, one: Tensor | slice) -> None:
    """Tell the system which images will be read."""
    size = images[0].numel() * images.element_size() if len(images) else 0
    if size < _LEAST_ANNOUNCED or not images.is_contiguous():
        return
    places = one.tolist() if isinstance(one, Tensor) else [one.indices(len(images))[0]]
    number = 1 if isinstance(one, Tensor) else _number(images, one)
    for place in places:
        pages.ask_for(images.data_ptr() + place * size, number * size)
