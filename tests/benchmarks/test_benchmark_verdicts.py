"""Few simulated studies of each kind: what is said of them is false as seldom as it is said to be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import verdicts
from _made_up import Row
from _made_up_splits import MadeSplits, drawn_images, nearest_neighbour
from _made_up_studies import BEYOND, HALVED, SAMPLED, TUNED, halved_rows, sampled_row, tuned_row, widened_rows
from click.testing import CliRunner
from scipy.stats import binomtest

TABLES = 150


def rows(name: str, tables: int = TABLES) -> list[Row]:
    return list(verdicts.SIMULATIONS[name](tables, np.random.default_rng(0)))


def may_be_at_most(rate: float, found: float, tables: int = TABLES) -> bool:
    """Tell whether a share of tables may come of a rate of at most so much; one in a thousand does not."""
    return bool(binomtest(round(found * tables), tables, rate, alternative="greater").pvalue > 0.001)


def test_effects_that_vary_from_seed_to_seed_make_few_claims() -> None:
    found = rows("effects", 60)
    for row in found:
        assert may_be_at_most(0.05, row.zoo if row.otherwise is not None else 1 - row.zoo, 60), row
    assert (found[-2].otherwise or 0) > 0.1, "one variance for all runs"


def test_recalls_that_agree_by_rounding_are_not_taken_for_alike() -> None:
    found = rows("agreement", 100)
    for row in found:
        assert may_be_at_most(0.05, row.zoo, 100), row
    assert (found[0].otherwise or 0) > 0.1


def test_a_choice_among_arms_of_unlike_seeds_is_right_more_often_than_by_plain_means() -> None:
    for row in rows("choices"):
        assert row.otherwise is not None
        assert row.zoo >= row.otherwise
        assert row.zoo > 0.75


def test_intervals_of_ranks_hold_all_ranks() -> None:
    for row in rows("ranks", 60):
        assert may_be_at_most(0.05, 1 - row.zoo, 60), row
        assert row.otherwise is not None
        assert row.zoo >= row.otherwise


def test_of_equal_arms_the_chosen_one_is_seldom_said_to_help_and_others_to_differ() -> None:
    found = rows("confirmations", 50)
    for row in found:
        if row.wanted == "0":
            assert row.otherwise is not None
            assert abs(row.zoo) < 0.002 < row.otherwise
        else:
            assert may_be_at_most(0.05, row.zoo, 50), row
    assert found[-1].otherwise is not None
    assert found[-1].otherwise > 0.5, "a simpler design arrives elsewhere, and that would be said as a fact"


def test_who_follows_the_advice_makes_few_false_claims() -> None:
    found = rows("advice", 100)
    for row in found:
        assert may_be_at_most(0.05, row.zoo, 100), row
    assert sum(row.otherwise or 0 for row in found) > 2 * sum(row.zoo for row in found)


def test_lost_runs_neither_hide_a_difference_nor_make_claims() -> None:
    for row in rows("losses"):
        if row.wanted == "often":
            assert row.otherwise is not None
            assert row.zoo > row.otherwise
        else:
            assert may_be_at_most(0.05, row.zoo if row.otherwise is None else 1 - row.zoo), row


def test_skewed_differences_make_few_claims_that_are_not_warned_of() -> None:
    for row in rows("skewed"):
        assert row.otherwise is not None
        assert row.zoo <= row.otherwise < 0.2


def test_tuned_claims_are_not_made_of_luck_in_tuning() -> None:
    apart, moved, gain = (TUNED[case] for case in (2, 3, 5))
    for case in (apart, moved):
        row = tuned_row(case, 20, 30, np.random.default_rng(0))
        assert may_be_at_most(0.05, row.zoo, 30), row
        assert row.otherwise is not None
        assert row.otherwise > 0.1, "by what was chosen alone, mistaken choices make claims"
    assert tuned_row(gain, 20, 10, np.random.default_rng(0)).zoo > 0.7


def test_claims_over_settings_that_were_added_are_true_of_what_was_tried() -> None:
    of_tried, anywhere = widened_rows(BEYOND[1], 20, 20, np.random.default_rng(0))
    assert may_be_at_most(0.05, of_tried.zoo, 20), of_tried
    assert anywhere.otherwise is not None
    assert anywhere.zoo < anywhere.otherwise


def test_claims_over_settings_that_were_suggested_are_true_of_what_was_tried() -> None:
    name, best = list(SAMPLED.items())[1]
    row = sampled_row(name, best, 20, 10, np.random.default_rng(0))
    assert may_be_at_most(0.05, row.zoo, 10), row


def test_claims_over_settings_that_were_halved_are_true_of_what_was_tried() -> None:
    claims, lost = halved_rows(HALVED[1], 30, np.random.default_rng(0))
    assert may_be_at_most(0.05, claims.zoo, 30), claims
    assert lost.otherwise is not None
    assert lost.zoo < lost.otherwise + 0.002
    assert "13 in place of 24 runs for each arm" in claims.about


def test_of_changes_without_effect_in_general_few_are_claimed_to_have_one() -> None:
    found = [*rows("general", 15), *rows("shared", 15)]
    for row in found:
        assert may_be_at_most(0.04, row.zoo if row.wanted.startswith("at most") else 1 - row.zoo, 15), row
    false = [row for row in found if row.wanted.startswith("at most")]
    assert sum(row.otherwise or 0 for row in false) > sum(row.zoo for row in false)


def test_seeds_that_share_training_images_make_few_claims_about_images_like_these() -> None:
    generator, made = np.random.default_rng(0), MadeSplits.read(folds=4)
    said = []
    for _ in range(40):
        made.train(nearest_neighbour, made.dealt(drawn_images(generator), 20))
        said.append(made.verdicts(20))
    false, otherwise = (sum(verdict in ("helps", "hurts") for verdict in side) for side in zip(*said, strict=True))
    assert may_be_at_most(0.04, false / 40, 40)
    assert otherwise > 10, "as if seeds shared no images"


def test_the_table_is_printed_and_written(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.json"
    result = CliRunner().invoke(
        verdicts.main, ["--tables", "3", "--only", "choices", "--json", str(path)], catch_exceptions=False
    )
    assert "| the best is chosen " in result.output
    written = json.loads(path.read_text())
    assert written["environment"]["tables"] == 3
    assert [row["figure"] for row in written["rows"]] == ["the best is chosen"] * 2
