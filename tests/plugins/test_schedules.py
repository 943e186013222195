"""The schedules, against torch.optim.lr_scheduler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from zoo_plugins.schedules import constant, cosine, one_cycle, plateau, step

PEAK = 0.1
totals = st.integers(2, 60)
shares = st.floats(0.0, 1.0)


def torchs_factors(steps, scheduler, **options):
    """The learning rate of each of torch's steps, as a share of the peak."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = scheduler(optimizer, **options)
    factors = []
    for _ in range(steps):
        factors.append(schedule.get_last_lr()[0] / PEAK)
        optimizer.step()
        schedule.step()
    return factors


@settings(deadline=None, max_examples=25)
@given(total=totals, data=st.data(), factor=st.floats(0.01, 2.0))
def test_step_is_torchs_multi_step(total, data, factor):
    milestones = data.draw(st.lists(st.integers(1, total), max_size=4))
    expected = torchs_factors(total, lr_scheduler.MultiStepLR, milestones=sorted(milestones), gamma=factor)
    at = tuple(milestone / total for milestone in milestones)
    assert [step(s / total, at=at, factor=factor) for s in range(total)] == pytest.approx(expected)


@settings(deadline=None, max_examples=25)
@given(total=totals, final=shares)
def test_cosine_is_torchs_cosine_annealing(total, final):
    expected = torchs_factors(total, lr_scheduler.CosineAnnealingLR, T_max=total, eta_min=final * PEAK)
    assert [cosine(s / total, final=final) for s in range(total)] == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(total=st.integers(5, 60), rise=st.floats(0.3, 0.7), initial=st.floats(0.01, 1.0), final=st.floats(1e-6, 0.01))
def test_one_cycle_is_torchs(total, rise, initial, final):
    expected = torchs_factors(
        total - 1,
        lr_scheduler.OneCycleLR,
        max_lr=PEAK,
        total_steps=total,
        pct_start=rise,
        div_factor=1 / initial,
        final_div_factor=initial / final,
        cycle_momentum=False,
    )
    # torch counts its steps from 0 to total - 1, and its rise ends one step before pct_start * total.
    last, rise_end = total - 1, rise * total - 1
    factors = [one_cycle(s / last, rise=rise_end / last, initial=initial, final=final) for s in range(last)]
    assert factors == pytest.approx(expected, abs=1e-9)
    assert one_cycle(1.0, initial=initial, final=final) == pytest.approx(final)


def test_one_cycle_has_torchs_defaults():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=1000, cycle_momentum=False)
    group = optimizer.param_groups[0]
    assert one_cycle(0.0) == pytest.approx(group["initial_lr"])
    assert one_cycle(0.3) == 1.0
    assert one_cycle(1.0) == pytest.approx(group["min_lr"])


@given(progress=shares, rise=st.floats(0.0, 0.999), low=shares)
def test_one_cycle_and_cosine_stay_between_their_ends(progress, rise, low):
    rounding = 1e-12
    assert low - rounding <= one_cycle(progress, rise=rise, initial=low, final=low) <= 1 + rounding
    assert low - rounding <= cosine(progress, final=low) <= 1 + rounding


def test_without_a_rise_one_cycle_starts_at_the_peak():
    assert one_cycle(0.0, rise=0.0) == 1.0


def test_step_by_default_divides_by_ten_at_half_and_three_quarters():
    factors = [step(progress) for progress in (0.0, 0.49, 0.5, 0.74, 0.75, 1.0)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_constant_is_one():
    assert constant() == 1.0


def test_a_schedule_needs_no_torch():
    code = "import sys; from zoo_plugins import schedules as s; s.one_cycle(0.5); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(max_examples=100)
@given(
    recalls=st.lists(st.sampled_from([0.1, 0.5, 0.50001, 0.6, 0.7]), max_size=30),
    patience=st.integers(0, 3),
    cooldown=st.integers(0, 3),
    factor=st.sampled_from([0.1, 0.5]),
    final=st.sampled_from([0.0, 0.2]),
)
def test_plateau_is_torchs(recalls, patience, cooldown, factor, final):
    options = {"factor": factor, "patience": patience, "cooldown": cooldown}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, "max", min_lr=final, eps=0.0, **options)
    for epoch, recall in enumerate(recalls, start=1):
        schedule.step(recall)
        found = plateau(tuple(recalls[:epoch]), final=final, **options)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"])
