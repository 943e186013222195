"""Sound layers of the kinds that a suite may misjudge: kinks, float32 inside, shapes of their own, long checks."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from zoo.errors import PluginError
from zoo.registry import Registry
from zoo.testing import made_for, suite
from zoo.testing.check import Check, run

SOUND = """
from typing import Literal

import torch
from torch import nn

import zoo
from zoo.testing import made_for


class Gated(nn.Module):
    '''Gates channels by a ReLU of a normalized mean: with biases of 0 it lies exactly at the kink.'''

    def __init__(self, channels):
        super().__init__()
        self.norm, self.inner, self.outer = nn.BatchNorm2d(channels), nn.Linear(channels, 4), nn.Linear(4, channels)
        nn.init.zeros_(self.inner.bias)

    def forward(self, x):
        x = self.norm(x)
        gate = torch.sigmoid(self.outer(torch.relu(self.inner(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


def gated(shape):
    '''Squeeze and excitation after a batch normalization.'''
    if len(shape) != 3:
        raise ValueError("it is for maps")
    return Gated(shape[0])


class InFloat32(nn.Module):
    '''Layer normalization that computes in float32, whatever it is given.'''

    def forward(self, x):
        y = x.float()
        return ((y - y.mean(1, keepdim=True)) * torch.rsqrt(y.var(1, keepdim=True) + 1e-5)).to(x.dtype)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.float().sin().to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class WrongInFloat32(nn.Module):
    '''Computes in float32, with a wrong gradient.'''

    def forward(self, x):
        return Doubled.apply(x)


class InHalf(nn.Module):
    '''Computes in bfloat16.'''

    def forward(self, x):
        return torch.tanh(x.bfloat16()).to(x.dtype)


class Heads(nn.Module):
    '''Attention among the places of a map.'''

    def __init__(self, channels, filters, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.out = nn.Conv2d(channels, filters, 1)

    def forward(self, x):
        places = x.flatten(2).transpose(1, 2)
        return self.out(self.attention(places, places, places, need_weights=False)[0].transpose(1, 2).reshape(x.shape))


def heads(shape, filters: int, *, heads: zoo.PositiveInt = 32):
    '''Attention with many heads.'''
    if shape[0] % heads:
        raise ValueError(f"{shape[0]} channels cannot be divided among {heads} heads")
    return Heads(shape[0], filters, heads)


def whole(shape, filters: int):
    '''A network with a width and a size of its own.'''
    if shape != (3, 32, 32) or filters != 256:
        raise ValueError("it is for 3x32x32 and gives 256 channels")
    return nn.Conv2d(3, 256, 8, 8)


@made_for((5, 20, 20), filters=40)
def stated(shape, filters: int):
    '''A layer for a shape that nobody guesses.'''
    if shape != (5, 20, 20) or filters != 40:
        raise ValueError("it is for 5x20x20 and gives 40 channels")
    return nn.Conv2d(5, 40, 4, 4)


class Fivefold(nn.Module):
    '''A convolution over channels, height and width, whose weight has five dimensions.'''

    def __init__(self, filters):
        super().__init__()
        self.convolution = nn.Conv3d(1, filters, 3, padding=1)

    def forward(self, x):
        return self.convolution(x[:, None]).mean(2)


def fivefold(shape, filters: int):
    '''A convolution whose weight has five dimensions.'''
    return Fivefold(filters)


def odd(shape, *, size: Literal[3, 5, 7] = 3):
    '''Average over odd windows.'''
    return nn.AvgPool2d(size, 1, size // 2)


def even_block(shape, parts, *, groups: zoo.PositiveInt = 2):
    '''A block that says which options do not fit.'''
    if groups != 2:
        raise ValueError("it has two groups")
    return parts.sequence(shape)[0]


def units(shape):
    '''Layer normalization of units.'''
    if len(shape) != 1:
        raise ValueError("it is for units")
    return nn.LayerNorm(shape[0])


@zoo.hookimpl
def zoo_register_activations(register):
    register("wrong_in_float32", WrongInFloat32)
    register("in_half", InHalf)


@zoo.hookimpl
def zoo_register_normalizations(register):
    register("gated", gated)
    register("in_float32", InFloat32)
    register("units", units)


@zoo.hookimpl
def zoo_register_filters(register):
    register("heads", heads)
    register("whole", whole)
    register("stated", stated)
    register("fivefold", fivefold)


@zoo.hookimpl
def zoo_register_poolings(register):
    register("odd", odd)


@zoo.hookimpl
def zoo_register_blocks(register):
    register("even_block", even_block)


@zoo.hookimpl
def zoo_register_losses(register):
    register("loss_in_float32", loss_in_float32)


def loss_in_float32(logits, labels):
    '''Cross-entropy in float32.'''
    return nn.functional.cross_entropy(logits.float(), labels).to(logits.dtype)
"""
ALL = (
    "builds", "options_usable", "options_swappable", "gradient", "autocast", "batch_independence", "engines",
    "state_restored", "output_shape", "finite_scalar",
)  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return the outcomes of some checks of a variant, by name, each made once."""
    file = tmp_path_factory.mktemp("sound") / "sound.py"
    file.write_text(SOUND)
    registry = Registry(files=[file])
    known = {}

    def made(name):
        if name not in known:
            (subject,) = suite.find(name, registry)
            checks = [check for check in suite.checks(subject) if check.name in ALL]
            known[name] = {check.name: run(check, subject, expected={}) for check in checks}
        return known[name]

    return made


@pytest.mark.parametrize(
    "name",
    ["gated", "in_float32", "units", "heads", "whole", "stated", "fivefold", "odd", "even_block", "loss_in_float32"],
)
def test_a_sound_one_fails_no_check(name, outcomes):
    assert {check: o.note for check, o in outcomes(name).items() if o.result == "failed"} == {}


@pytest.mark.parametrize("name", ["gated", "in_float32", "loss_in_float32"])
def test_gradients_at_kinks_and_in_float32_are_compared(name, outcomes):
    assert outcomes(name)["gradient"].result == "passed"


def test_a_wrong_gradient_in_float32_is_found(outcomes):
    outcome = outcomes("wrong_in_float32")["gradient"]
    assert outcome.result == "failed"
    assert outcome.note.startswith("at 3x8x8, in training: along a random direction of the input it changes by ")
    assert outcome.note.endswith(" allowed)")
    assert "(float32, " in outcome.note


def test_what_computes_in_half_precision_is_not_compared(outcomes):
    outcome = outcomes("in_half")["gradient"]
    assert (outcome.result, outcome.note) == ("skipped", "it computes in bfloat16, too coarse for finite differences")


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("heads", "it is checked at 64x8x8"),
        ("whole", "it is checked at 3x32x32 with 256 filters"),
        ("stated", ""),
        ("units", "it is checked at 10"),
    ],
)
def test_a_shape_that_fits_is_found_and_said(name, note, outcomes):
    assert (outcomes(name)["builds"].result, outcomes(name)["builds"].note) == ("passed", note)
    for check in ("engines", "state_restored"):
        assert outcomes(name)[check].result in ("fact", "passed"), outcomes(name)[check].note


def test_a_value_that_is_refused_with_a_reason_is_a_sound_answer(outcomes):
    assert outcomes("even_block")["options_usable"].result == "passed"


def test_another_range_than_that_of_others_is_a_fact(outcomes):
    outcome = outcomes("odd")["options_swappable"]
    assert outcome.result == "fact"
    assert outcome.note.startswith(
        "not accepted, and to be stated where it takes their place: size = 2 of average and "
    )


@pytest.mark.parametrize("shapes", [(), ((3, 8),), ((3, 0, 8),), ((True,),)])
def test_made_for_takes_shapes_only(shapes):
    with pytest.raises(PluginError, match=r"made_for: expected shapes such as \(3, 224, 224\) or \(512,\)"):
        made_for(*shapes)


def endless(subject):
    """It ends."""
    while True:
        time.sleep(0.01)


def swallows(subject):
    """It ends."""
    try:
        endless(subject)
    except Exception:
        return


@pytest.mark.parametrize("function", [endless, swallows])
def test_a_check_that_takes_too_long_is_stopped_and_said(function):
    outcome = run(Check(function), object(), expected={}, limit=0.2)
    assert (outcome.result, outcome.note) == ("skipped", "it was stopped after 0.2 s; limit sets another limit")


def interrupted(subject):
    """It is interrupted."""
    raise KeyboardInterrupt


def test_ctrl_c_ends_more_than_the_check():
    with pytest.raises(KeyboardInterrupt):
        run(Check(interrupted), object(), expected={}, limit=60)


def test_a_layer_that_gives_a_parameter_to_a_module_is_built(registry):
    """torch's counter of operations cannot do that without gradients."""
    from zoo.network.architecture import try_out
    from zoo.network.layers import probe

    class Latent(nn.Module):
        def __init__(self):
            super().__init__()
            self.start, self.inner = nn.Parameter(torch.zeros(3)), nn.Linear(3, 3)

        def forward(self, x):
            return x + self.inner(self.start)

    assert probe(Latent(), (3,))[0] == (3,)
    assert try_out(nn.Sequential(nn.Flatten(), Latent()), (3, 1, 1), 3)
