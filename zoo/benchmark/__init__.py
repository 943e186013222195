"""From specs and seeds to ended runs: what to train is planned, what is missing is trained and stored."""

from zoo.benchmark.carrying_out import carry_out, planned, run_keys, stored_runs, tell
from zoo.benchmark.plan import Plan, keeping_states, make_plan, within_budget
from zoo.benchmark.shards import share

__all__ = [
    "Plan",
    "carry_out",
    "keeping_states",
    "make_plan",
    "planned",
    "run_keys",
    "share",
    "stored_runs",
    "tell",
    "within_budget",
]
