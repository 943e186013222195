"""Images that stay in memory and are fed batch by batch: the same figures, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mapped_pages import held, on_linux

from zoo.data import Options, load
from zoo.registry import Registry
from zoo.spec.resolve import resolve
from zoo.train import feeding, placing
from zoo.train.engines.choice import decide
from zoo.train.placing import placed
from zoo.train.run import RunKey
from zoo.train.training import Training

CPU = torch.device("cpu")


def mapped(tmp_path: Path, count: int = 50, side: int = 80) -> torch.Tensor:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8))
    return torch.from_numpy(np.load(tmp_path / "a.npy", mmap_mode="c"))


@pytest.mark.parametrize("size", [1, 7, 25, 50])
def test_batches_come_in_order(tmp_path: Path, size: int) -> None:
    images = mapped(tmp_path)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    for wanted in (torch.split(order, size), [slice(start, start + size) for start in range(0, 50, size)]):
        found = list(feeding.fed(images, wanted, CPU))
        expected = [images[one] for one in wanted]
        assert len(found) == len(expected)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_few_batches_are_taken_ahead(tmp_path: Path) -> None:
    asked = []

    def wanted() -> Iterator[slice]:
        for start in range(50):
            asked.append(start)
            yield slice(start, start + 1)

    batches = feeding.fed(mapped(tmp_path), wanted(), CPU)
    next(batches)
    assert len(asked) <= feeding._ANNOUNCED + feeding._AHEAD + 2
    batches.close()  # type: ignore[attr-defined]


def test_what_cannot_be_taken_is_raised_where_it_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises((IndexError, RuntimeError)):
        list(feeding.fed(mapped(tmp_path), [torch.tensor([50])], CPU))


@on_linux
def test_what_was_read_of_a_file_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "_HELD", 2**20)
    images = mapped(tmp_path, count=1600, side=100)  # 48 MB
    most = 0
    for _ in feeding.fed(images, torch.split(torch.arange(1600), 20), CPU, mapped=True):
        most = max(most, held(tmp_path, "a.npy"))
    assert most < 2**24
    list(feeding.fed(images, torch.split(torch.arange(1600), 20), CPU))
    assert held(tmp_path, "a.npy") > 2**25


@pytest.mark.parametrize(
    "sets",
    [
        {"training.shuffle": True},
        {"training.repeats": 2},
        {},
        {"training.shuffle": True, "data.validation": 0.2, "data.resplit": True},
    ],
)
def test_figures_are_those_of_images_on_the_device(registry: Registry, sets: dict[str, object]) -> None:
    spec = resolve({"base": "starter/default", "set": {**sets, "training.epochs": 1}}, registry=registry)
    data = load("digits", registry, Options.of(spec.data))
    records = {}
    for where in ("device", "memory"):
        training = Training(spec, 0, data.put("cpu", where), device="cpu", registry=registry)  # type: ignore[arg-type]
        (record,) = training.epochs()
        weights = [parameter.detach().clone() for parameter in training.network.parameters()]
        records[where] = (record.loss, record.evaluations, weights)
    (loss, evaluations, weights), other = records["device"], records["memory"]
    assert (loss, evaluations) == other[:2]
    assert all(torch.equal(*pair) for pair in zip(weights, other[2], strict=True))


def test_large_images_stay_in_memory_and_that_is_said(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("digits", registry)
    assert placed(data, "cpu", "auto").images_in == "device"
    assert placed(data, "cpu", "memory").notes[-1] == (
        "its images (0.0 GB) stay in the cache's files, as asked for: batches are read ahead"
    )
    monkeypatch.setattr(placing, "machine_memory", lambda: 2 * data.bytes - 1.0)
    large = placed(data, "cpu", "auto")
    assert large.images_in == "memory"
    assert "more than half of the 0.0 GB that are free" in large.notes[-1]
    assert placed(data, "cpu", "device").images_in == "device"


def test_steps_are_not_recorded_where_images_stay_in_memory(registry: Registry) -> None:
    spec = resolve("starter/default", registry=registry)
    data = load("digits", registry).put("cpu", "memory")
    key = RunKey(spec.identity, 0, data.digest, "", "fp32")
    decision = decide("captured", spec, key, data, device="cpu", registry=registry)
    assert decision.engine == "sequential"
    assert decision.why_not.endswith("its images stay in memory, and recorded steps read them from the device")
