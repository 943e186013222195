"""A recording on the CPU: the torch operations of one call, made again on the same tensors, and no Python between.

It does what a CUDA graph does. So the tests see here, too, what a layer keeps in Python between steps.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.train.engines.captured import CapturedTraining


class Tape(TorchDispatchMode):
    """Keeps what is called below autograd, with the tensors themselves."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        result = function(*arguments, **keywords)
        in_place = function._schema.is_mutable
        # A view needs no second making: it shows what is in its base by then.
        if in_place or all(returned.alias_info is None for returned in function._schema.returns):
            self.calls.append((function, arguments, keywords, None if in_place else result))
        return result

    def replay(self):
        with torch._C._AutoDispatchBelowAutograd():
            for function, arguments, keywords, before in self.calls:
                again = function(*arguments, **keywords)
                for old, new in zip(tree_leaves(before), tree_leaves(again), strict=True) if before is not None else ():
                    if isinstance(old, torch.Tensor):
                        old.copy_(new)


class TapedTraining(CapturedTraining):
    """Replays tapes. Recording one makes its steps, other than on CUDA, so that the first replay is left out.

    A value that an operation takes from a tensor as a number is recorded for good, as in a graph. torch.optim's
    implementations for the CPU take the learning rate so, which must be constant here.
    """

    def record(self, work):
        tape = Tape()

        def first():
            with tape:
                work()

        def run():
            with self._drawing.current():
                (tape.replay if tape.calls else first)()

        return run
