"""Images that are not on the device: a thread takes them from their files, batch by batch, ahead of the training."""

from __future__ import annotations

import ctypes
import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

_AHEAD = 2
"""Batches that are taken, and copied to the device, before they are asked for."""
_ANNOUNCED = 8
"""Batches that the system is told of before they are taken, so that the disk reads many images at once."""
_LEAST_ANNOUNCED = 16 * 1024
"""Bytes of an image from which on that pays: of less, one page holds several."""


def fed(images: Tensor, wanted: Iterable[Tensor | slice], device: torch.device) -> Iterator[Tensor]:
    """Yield `images[one]` on a device, for each of what is wanted, in its order.

    Args:
        images: in the computer's memory, or mapped from a file.
        wanted: positions of images, on the CPU, or ranges of them.
        device: where they are wanted. To a GPU they are copied through pinned memory, on a stream of their own.
    """
    take = _to_gpu(device) if device.type == "cuda" else _to_memory
    announced: deque[Tensor | slice] = deque()
    taken: deque[Future[Callable[[], Tensor]]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="zoo images") as pool:
        for one in wanted:
            pool.submit(_announce, images, one)
            announced.append(one)
            if len(announced) > _ANNOUNCED:
                taken.append(pool.submit(take, images, announced.popleft()))
            if len(taken) > _AHEAD:
                yield taken.popleft().result()()
        while announced or taken:
            while announced and len(taken) <= _AHEAD:
                taken.append(pool.submit(take, images, announced.popleft()))
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
    number = len(one) if isinstance(one, Tensor) else len(range(*one.indices(len(images))))
    copy = torch.empty((number, *images.shape[1:]), dtype=images.dtype, pin_memory=pinned)
    if isinstance(one, Tensor):
        return torch.index_select(images, 0, one, out=copy)
    return copy.copy_(images[one])


def _announce(images: Tensor, one: Tensor | slice) -> None:
    """Tell the system which images will be read. Whatever comes of it, no figure depends on it."""
    size = images[0].numel() * images.element_size() if len(images) else 0
    advise = _madvise()
    if advise is None or size < _LEAST_ANNOUNCED or not images.is_contiguous():
        return
    places = one.tolist() if isinstance(one, Tensor) else [one.indices(len(images))[0]]
    number = 1 if isinstance(one, Tensor) else len(range(*one.indices(len(images))))
    for place in places:
        begin = images.data_ptr() + place * size
        first = begin - begin % mmap.PAGESIZE
        advise(first, begin + number * size - first, mmap.MADV_WILLNEED)


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """Return the system's function of that name; None where there is none."""
    try:
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError, TypeError):
        return None
    if not hasattr(mmap, "MADV_WILLNEED"):
        return None
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    advise.restype = ctypes.c_int
    found: Callable[[int, int, int], int] = advise
    return found
