"""What a plugin changes for all of torch is told, and put back; each time it is looked at, and not only at first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import FunctionType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo import torch_settings

FUNCTIONS = "the functions that it computes by"


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    with torch_settings.kept():
        yield


def identity(x: torch.Tensor) -> torch.Tensor:
    return x


def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def test_hooks_are_taken_away_and_come_back_in_their_order() -> None:
    called: list[str] = []
    register = torch.nn.modules.module.register_module_forward_hook
    handles = [register(lambda *_, name=name: called.append(name)) for name in ("first", "second")]
    layer, order = torch.nn.Identity(), torch_settings.Order(nullcontext())
    with order.kept(lambda: None) as settings:
        layer(torch.zeros(1))
        assert called == [], "a run is not disturbed"
        added = register(lambda *_: called.append("added"))
        assert torch_settings.changed(settings) == ["the hooks of all modules and optimizers from 0 to 1"]
    layer(torch.zeros(1))
    assert called == ["first", "second"]
    for handle in (*handles, added):
        handle.remove()


def test_a_function_that_is_replaced_is_told_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_settings.replaced_functions() == {}
    for other in (identity, twice):
        monkeypatch.setattr("torch.nn.functional.relu", other)
        assert torch_settings.replaced_functions() == {"torch.nn.functional.relu": other}
        assert torch_settings.replaced_functions() == {"torch.nn.functional.relu": other}
    monkeypatch.undo()
    assert torch_settings.replaced_functions() == {}


def test_so_is_one_that_is_added_and_one_whose_code_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.twice", twice, raising=False)
    assert torch_settings.replaced_functions() == {"torch.twice": twice}
    monkeypatch.undo()
    assert torch_settings.replaced_functions() == {}
    hardtanh = torch.nn.functional.hardtanh
    assert isinstance(hardtanh, FunctionType)
    monkeypatch.setattr(hardtanh, "__code__", identity.__code__)
    assert torch_settings.replaced_functions() == {"torch.nn.functional.hardtanh": hardtanh}


def test_what_cannot_be_compared_is_in_no_ones_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        monkeypatch.setattr("torch.several", torch.ones(2), raising=False)
        assert torch_settings.replaced_functions() == {}


def test_it_is_put_back() -> None:
    relu, before = torch.nn.functional.relu, torch_settings.values()
    torch.nn.functional.relu = identity  # type: ignore[assignment]
    assert torch_settings.changed(before) == [f"{FUNCTIONS} from torch's own to torch.nn.functional.relu"]
    torch_settings.put(before)
    assert torch.nn.functional.relu is relu
    assert torch_settings.changed(before) == []


def test_flushing_is_seen_under_a_mode_of_torch() -> None:
    before = torch_settings.values()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor flushes nothing")
    with FlopCounterMode(display=False):
        assert "the flushing of tiny numbers to 0 from False to True" in torch_settings.changed(before)
    torch_settings.put(before)
    assert torch_settings.changed(before) == []
