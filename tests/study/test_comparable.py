"""What must be equal in runs for their figures to stand together."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from made_results import _run as made_run

from zoo.registry import default_registry
from zoo.spec.resolve import resolve
from zoo.study.comparable import RECALLS, TIMES, VERSIONS, unlike
from zoo.train.run import Run


def run(**sets: Any) -> Run:
    spec = resolve({"base": "starter/default", "set": sets}, registry=default_registry())
    return made_run(spec, 0, 0.9, seconds=2.0, parameters=10)


def with_(made: Run, **about: str) -> Run:
    return attrs.evolve(made, provenance={**made.provenance, **about})


def with_key(made: Run, **about: Any) -> Run:
    return attrs.evolve(made, key=attrs.evolve(made.key, **about))


@pytest.mark.parametrize(
    ("other", "conditions", "text"),
    [
        (run(), (*RECALLS, *TIMES), ""),
        (attrs.evolve(run(), dataset="./digits"), RECALLS, ""),
        (attrs.evolve(with_key(run(), dataset="other"), dataset="folder:d"), RECALLS, "data digits and folder:d"),
        (with_key(run(**{"data.resize": 16}), dataset="other"), RECALLS, ""),
        (run(**{"data.validation": 0.25}), RECALLS, "held out 0% and 25%"),
        (run(**{"evaluation.measure": "eq2425"}), RECALLS, "measure final and eq2425"),
        (with_key(run(), precision="bf16"), RECALLS, "precision fp32 and bf16"),
        (with_(run(), torch="2.9", zoo="0.1"), VERSIONS, "zoo 0.2 and 0.1; torch 2.10 and 2.9"),
        (with_(run(), device_name="H100", threads="2"), TIMES, "device CPU and H100; threads 1 and 2"),
        (
            with_(run(), engine="captured", runs_at_once="3"),
            TIMES,
            "engine sequential and captured; runs at once 1 and 3",
        ),
    ],
)
def test_what_differs_is_said(other: Run, conditions: tuple[str, ...], text: str) -> None:
    about = {"zoo": "0.2", "torch": "2.10", "device_name": "CPU", "threads": "1", "engine": "sequential"}
    one = with_(run(), **about)
    assert unlike([one, attrs.evolve(other, provenance={**about, **_told(other)})], conditions) == text


def _told(made: Run) -> dict[str, str]:
    return {key: value for key, value in made.provenance.items() if value != run().provenance.get(key)}


def test_what_an_earlier_version_did_not_say_differs_from_nothing() -> None:
    assert unlike([with_(run(), threads="1"), attrs.evolve(run(), provenance={})], ("threads",)) == ""
    assert unlike([], TIMES) == ""
