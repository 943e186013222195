"""Shares of a plan: together they are all of it, each run once, whatever a machine knows."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
from small_runs import PLUGIN, small

from zoo.benchmark import make_plan, share
from zoo.errors import ZooError
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.train.run import Run

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SPECS = [small(REGISTRY, f"of {epochs} epochs", {"training.epochs": epochs}) for epochs in (1, 2, 4, 9)]


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    with Ledger(tmp_path_factory.mktemp("shards") / "zoo.sqlite") as ledger:
        return make_plan(SPECS, range(5), registry=REGISTRY, device="cpu", ledger=ledger)


def shares(plan, count):
    return [share(plan, number, count, registry=REGISTRY, device="cpu") for number in range(1, count + 1)]


def epochs(runs: tuple[Run, ...]) -> int:
    return sum(run.spec["training"]["epochs"] for run in runs)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_shares_are_all_runs_each_once(plan, count):
    counted = Counter(run.key for part in shares(plan, count) for run in part.runs)
    assert counted == Counter(run.key for run in plan.runs)


def test_an_empty_share_says_so(plan):
    few = attrs.evolve(plan, runs=plan.runs[:3], missing=plan.missing[:3])
    assert [part.remarks for part in shares(few, 5)] == [
        *[()] * 3,
        ("Share 4 of 5 is empty: there are 3 runs to share out.",),
        ("Share 5 of 5 is empty: there are 3 runs to share out.",),
    ]


def test_shares_are_balanced_by_the_work_of_training(plan):
    work = [epochs(part.runs) for part in shares(plan, 4)]
    assert max(work) - min(work) <= 2, f"of {epochs(plan.runs)} epochs in all"


def test_a_share_depends_neither_on_what_is_stored_nor_on_how_long_runs_seem_to_take(plan):
    stored = attrs.evolve(plan, missing=plan.missing[:3], costs=dict.fromkeys(plan.costs, 7.0))
    for mine, other in zip(shares(plan, 3), shares(stored, 3), strict=True):
        assert [run.key for run in mine.runs] == [run.key for run in other.runs]
        open_keys = {run.key for run in stored.missing}
        assert [run.key for run in other.missing] == [run.key for run in mine.missing if run.key in open_keys]


def test_one_network_under_two_names_is_in_one_share(plan):
    twice = attrs.evolve(plan, runs=(*plan.runs, *(attrs.evolve(run, name="again") for run in plan.runs)))
    for part in shares(twice, 3):
        assert Counter(run.name == "again" for run in part.runs)[True] == len(part.runs) / 2


@pytest.mark.parametrize(("number", "count"), [(0, 3), (4, 3), (1, 0)])
def test_there_is_no_other_share(plan, number, count):
    with pytest.raises(ZooError, match=f"^shard {number}/{count}: there are shards 1/{count} to {count}/{count}$"):
        share(plan, number, count, registry=REGISTRY, device="cpu")


def test_a_machine_without_a_data_set_has_no_share(plan):
    with pytest.raises(ZooError, match="there is no data set absent here: get it on every machine"):
        share(attrs.evolve(plan, waiting={"absent": ("other",)}), 1, 2, registry=REGISTRY, device="cpu")


def test_of_very_many_shares_most_are_empty(plan):
    assert share(plan, 10**20, 10**20, registry=REGISTRY, device="cpu").runs == ()
    assert len(share(plan, 1, 10**20, registry=REGISTRY, device="cpu").runs) == 1
