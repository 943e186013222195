"""What all benchmarks rest on: turns, figures, the data that they take, and the result that they write."""

from __future__ import annotations

import json
from collections import Counter

import click
import numpy as np
import pytest
import torch
from _data import shelf
from _harness import Spread, environment, guarded, options, processor, turns, write_json
from _zoo import changed, train
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import gmean

from zoo.data import cache_dir, load
from zoo.errors import DataError, ZooError
from zoo.registry import default_registry
from zoo.spec.resolve import resolve

positive = st.floats(1e-6, 1e6)


@given(st.lists(st.text(), min_size=1, max_size=6, unique=True), st.integers(1, 12))
def test_every_contestant_takes_one_turn_in_each_round(names, rounds):
    taken = Counter(turns(names, rounds))
    assert taken == Counter((index, name) for index in range(rounds) for name in names)


def test_another_contestant_begins_each_round():
    order = [name for _, name in turns(["a", "b", "c"], 3)]
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


@given(st.lists(positive, min_size=1, max_size=10))
def test_means_are_those_of_numpy_and_scipy(values):
    spread = Spread(tuple(values))
    assert spread.mean == pytest.approx(np.mean(values))
    assert spread.geometric_mean == pytest.approx(gmean(values))


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=10))
def test_a_ratio_and_its_inverse_agree(pairs):
    ours, theirs = (Spread(tuple(column)) for column in zip(*pairs, strict=True))
    assert ours.over(theirs).geometric_mean * theirs.over(ours).geometric_mean == pytest.approx(1)


@given(st.floats(-1e9, 1e9, allow_nan=False))
def test_the_text_of_a_figure_keeps_three_digits(value):
    assume(value == 0 or abs(value) > 1e-9)
    text = Spread((value,)).text()
    assert "e" not in text
    assert float(text.split()[0]) == pytest.approx(value, rel=5.01e-3)


def test_the_text_of_figures():
    assert Spread((1.0, 2.0, 4.0)).text() == "2.33 [1.00, 4.00]"
    assert Spread((1.0, 2.0, 4.0)).ratio_text() == "2.00 [1.00, 4.00]"
    assert Spread((1234.5, 0.01234)).text() == "617 [0.0123, 1234]"


def test_the_result_says_what_it_depends_on(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, environment("cpu"), {"seconds": [1.5]})
    written = json.loads(path.read_text())
    assert written["seconds"] == [1.5]
    wanted = {"zoo", "torch", "python", "device", "processor", "threads", "command", "date"}
    assert wanted <= written["environment"].keys()
    assert written["environment"]["processor"] == processor() != ""
    assert written["environment"]["threads"] == torch.get_num_threads()


def test_a_result_that_cannot_be_written_is_one_message(tmp_path):
    path = tmp_path / "absent" / "result.json"
    with pytest.raises(ZooError, match=r"--json .*result\.json: No such file or directory; name another file"):
        write_json(path, {}, {})


def test_no_result_is_written_where_none_is_asked_for():
    write_json(None, {}, {"not JSON": object()})


def test_bad_input_ends_without_a_traceback(capsys):
    def command():
        raise DataError("there is no such data set")

    with pytest.raises(SystemExit) as ended:
        guarded(command)
    assert ended.value.code == DataError.exit_code
    assert capsys.readouterr().err == "Error: there is no such data set\n"


def test_the_first_images_of_a_data_set_are_those():
    registry = default_registry()
    whole = load("digits", registry)
    with shelf(registry) as limited:
        part = load(limited.first("digits", 120, 50), registry)
        assert torch.equal(part.train.images, whole.train.images[:120])
        assert torch.equal(part.test.labels, whole.test.labels[:50])
        assert part.classes == whole.classes
        assert load(limited.first("digits", None, None, side=12), registry).shape == (1, 12, 12)
        assert limited.first("digits", None, None) == limited.first("digits", 10**6, 10**6, side=8) == "digits"


def test_nothing_is_left_of_shortened_data_sets():
    registry = default_registry()
    with shelf(registry) as limited:
        limited.first("digits", 120, 50)
        assert list((cache_dir() / "datasets").glob("npz-*"))
        folder = limited.folder
    assert not folder.exists()
    assert not list((cache_dir() / "datasets").glob("npz-*"))


def test_too_few_images_are_one_message():
    registry = default_registry()
    with shelf(registry) as limited, pytest.raises(DataError, match="each needs one"):
        limited.first("digits", 3, 3)


def test_a_run_that_diverges_is_no_figure():
    registry = default_registry()
    spec = changed(resolve("starter/default", registry=registry), registry, training__epochs=1, learning_rate=1e30)
    with pytest.raises(ZooError, match="seed 0, diverged: diverged at epoch 1"):
        train([spec], [0], registry=registry, device="cpu")


def test_a_value_that_a_spec_has_already_is_left():
    registry = default_registry()
    spec = resolve("starter/default", registry=registry)
    same = changed(spec, registry, training__epochs=spec.training.epochs)
    assert same == spec
    assert changed(spec, registry, training__epochs=3).training.epochs == 3


def test_a_wrong_option_is_clicks_own_message():
    command = click.command()(options(epochs=1, seeds=1)(lambda **_: None))
    with pytest.raises(click.BadParameter, match="0 is not in the range"):
        command.main(["--seeds", "0"], standalone_mode=False)
