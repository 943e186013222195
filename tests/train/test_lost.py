"""Whether a device still works for this process, as far as that can be shown without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from zoo.train import lost

FAULT = RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later")
FULL = RuntimeError("CUDA error: out of memory")
RECORDING = RuntimeError("CUDA error: operation not permitted when stream is capturing")
WATCHED = RuntimeError("called a synchronizing CUDA operation")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ([FAULT, FAULT], "CUDA error: device-side assert triggered"),
        ([None], ""),
        ([FAULT, None], ""),
        ([torch.OutOfMemoryError("CUDA out of memory")], ""),
        ([FULL], ""),
        ([RECORDING], ""),
        ([WATCHED], ""),
    ],
    ids=["lost", "works", "an error of before", "full", "full, as torch tells it elsewhere", "recording", "watched"],
)
def test_a_device_is_lost_that_does_not_even_the_simplest_work(
    monkeypatch: pytest.MonkeyPatch, raised: list[Exception | None], said: str
) -> None:
    answers: Iterator[Exception | None] = iter(raised)

    def ones(*arguments: object, **keywords: object) -> torch.Tensor:
        if error := next(answers):
            raise error
        return torch.zeros(())

    monkeypatch.setattr(lost.torch, "ones", ones)
    assert lost.why_lost("cuda:0") == said
    assert next(answers, "no more") == "no more"
    assert lost.why_lost("cpu") == "", "other devices are not asked"
