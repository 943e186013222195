from __future__ import annotations

import pytest
from scipy.stats import fisher_exact

from zoo.statistics.losses import compare_losses


def test_p_is_fishers_and_corrected_over_all_claims_also_those_without_a_lost_run() -> None:
    found = compare_losses({"a": ((5, 5), (0, 5)), "b": ((0, 5), (0, 5)), "c": ((0, 5), (1, 5))})
    assert found["a"].p == pytest.approx(fisher_exact([[5, 0], [0, 5]]).pvalue)
    assert found["a"].p_adjusted == pytest.approx(3 * found["a"].p)
    assert [each.verdict for each in found.values()] == ["loses more runs", "undecided", "undecided"]


def test_fewer_lost_runs_are_said_to_be_fewer() -> None:
    assert compare_losses({"a": ((0, 8), (8, 8))})["a"].verdict == "loses fewer runs"


def test_no_runs_and_no_claims_say_nothing() -> None:
    assert compare_losses({}) == {}
    assert compare_losses({"a": ((0, 0), (0, 0))})["a"].p == 1
