"""Steps that read everything from tensors train bit for bit as the reference does."""

from __future__ import annotations

import math
import time
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import on_made_images, registered_specs
from small_runs import DRAWING, PLUGIN, figures, small
from tape import TapedTraining

from zoo.errors import BuildError
from zoo.registry import Registry
from zoo.train import streams
from zoo.train.checkpoint import restore, save
from zoo.train.engines.captured import CapturedTraining
from zoo.train.evaluating import DivergedError
from zoo.train.execute import dataset
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
OWN = "zoo_plugins.optimizers"
EXACT_OPTIMIZERS = [name for name, v in REGISTRY.variants("optimizer").items() if v.plugin.name == OWN]
"""Others are of libraries that compute in another order with a rate that is a tensor: the gate bounds by how much."""
EVERYTHING = DRAWING | {
    "training.epochs": 5,
    "training.shuffle": True,
    "training.schedule": "cosine",
    "training.warmup": 0.3,
    "network.features.*.normalization": "batch",
}


def make(kind, sets=None, *, seed=0, **arguments):
    spec = small(REGISTRY, sets=sets)
    data = dataset(spec, REGISTRY, "cpu")
    return kind(spec, seed, data, device="cpu", registry=REGISTRY, **arguments)


def state(training):
    tensors = dict(training.network.state_dict())
    for parameter, values in training.optimizer.state_dict()["state"].items():
        tensors |= {f"{parameter}.{name}": value for name, value in values.items() if isinstance(value, torch.Tensor)}
    return tensors


def assert_same(one, other):
    """Train both to the end and compare everything that is left."""
    assert figures(one.epochs()) == figures(other.epochs())
    found, expected = state(other), state(one)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), f"{name} differs"


@pytest.mark.parametrize("name", registered_specs())
def test_every_registered_spec(registry, name):
    spec, data = on_made_images(name, registry)
    one, other = (
        kind(spec, 0, data, device="cpu", registry=registry)
        for kind in (Training, partial(CapturedTraining, chain=2, warm_up=1))
    )
    assert_same(one, other)


@settings(max_examples=25)
@given(
    batch=st.integers(2, 30).filter(lambda size: 27 % size != 1),
    chain=st.integers(1, 6),
    warm_up=st.integers(0, 4),
    shuffle=st.booleans(),
    warmup=st.sampled_from([0.0, 0.3]),
    optimizer=st.sampled_from(sorted(EXACT_OPTIMIZERS)),
    schedule=st.sampled_from(
        sorted(n for n, v in REGISTRY.variants("schedule").items() if "validation" not in v.given)
    ),
    precision=st.sampled_from(["fp32", "bf16", "float64"]),
    seed=st.integers(0, 3),
)
def test_every_combination(batch, chain, warm_up, shuffle, warmup, optimizer, schedule, precision, seed):
    sets = EVERYTHING | {
        "training.batch_size": batch,
        "training.shuffle": shuffle,
        "training.warmup": warmup,
        "training.optimizer": {"name": optimizer, "learning_rate": 0.01},
        "training.schedule": schedule,
    }
    one = make(Training, sets, seed=seed, precision=precision)
    assert_same(one, make(CapturedTraining, sets, seed=seed, precision=precision, chain=chain, warm_up=warm_up))


@pytest.mark.parametrize("augmentation", [a for a in REGISTRY.variants("augmentation") if a != "none"])
def test_every_augmentation(augmentation):
    options = {"translate": {"pixels": 2}, "cutout": {"size": 3}}.get(augmentation, {})
    sets = EVERYTHING | {"training.augmentation": [{"name": augmentation, **options}]}
    assert_same(make(Training, sets), make(CapturedTraining, sets, chain=2))


@pytest.mark.parametrize("dropout", [d for d in REGISTRY.variants("dropout") if d != "none"])
def test_every_dropout(dropout):
    sets = {"training.epochs": 5, "network.features.0.dropout": dropout}
    assert_same(make(Training, sets), make(CapturedTraining, sets, chain=2))


def test_what_was_recorded_is_replayed_without_python():
    """With a recording that holds torch's operations only, which a CUDA graph does as well."""
    sets = {"training.epochs": 5, "training.shuffle": True, **DRAWING}
    made = make(TapedTraining, sets, chain=2, warm_up=1)
    steps = []
    step = made.step
    made.step = lambda *arguments: steps.append(1) or step(*arguments)
    assert_same(make(Training, sets), made)
    # 27 images in batches of 5: two chains, a single step and one of 2 images. The first chain, which warms up, then
    # a recording of each kind; the last batch is its own warm-up in the first epoch.
    assert len(steps) == 2 + 2 + 1 + 1 + 1


@pytest.mark.parametrize(("warm_up", "eager"), [(0, []), (1, [(5, 2), (2, 1)]), (3, [(5, 2), (5, 2)] + 3 * [(2, 1)])])
def test_only_the_first_steps_are_not_recorded(warm_up, eager):
    made = make(CapturedTraining, {"training.epochs": 5}, chain=2, warm_up=warm_up)
    recorded, plain = [], []
    record, steps = made.record, made._make_steps
    made._make_steps = lambda size, count: plain.append((size, count)) or steps(size, count)
    made.record = lambda work: recorded.append(work.args) or record(partial(steps, *work.args))
    list(made.epochs())
    assert plain == eager
    assert sorted(recorded) == [(2, 1), (5, 1), (5, 2)], "each kind of step is recorded once"


def test_runs_that_are_trained_at_the_same_time_do_not_touch_each_other():
    alone = figures(make(CapturedTraining, EVERYTHING).epochs())
    one, other = make(CapturedTraining, EVERYTHING), make(CapturedTraining, EVERYTHING, seed=1)
    records, _ = zip(*zip(one.epochs(), other.epochs(), strict=True), strict=True)
    assert figures(records) == alone


def test_the_global_generator_is_left_as_it_was():
    before = torch.get_rng_state()
    list(make(CapturedTraining, EVERYTHING).epochs())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stream_goes_on_where_it_was():
    drawing = streams.Resumed(torch.device("cpu"))
    drawing.begin(3, "dropout", 1)
    parts = []
    for _ in range(3):
        with drawing.current():
            parts.append(torch.rand(5))
        torch.rand(7)
    with streams.seeded(3, "dropout", 1):
        assert torch.equal(torch.cat(parts), torch.cat([torch.rand(5) for _ in range(3)]))


def test_a_stream_goes_on_after_an_exception():
    before = torch.get_rng_state()
    drawing = streams.Resumed(torch.device("cpu"))

    @drawing.current()
    def draw():
        torch.rand(1)
        raise KeyError

    with pytest.raises(KeyError):
        draw()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", EXACT_OPTIMIZERS)
@pytest.mark.parametrize(
    "saved_by", [Training, partial(CapturedTraining, chain=2, warm_up=1)], ids=["plain", "captured"]
)
def test_a_checkpoint_of_either_is_gone_on_from(tmp_path, optimizer, saved_by):
    """Also by a training that has recorded steps with the tensors that it held before."""
    sets = EVERYTHING | {"training.optimizer": {"name": optimizer, "learning_rate": 0.01}}
    file = tmp_path / "run.safetensors"
    whole = make(saved_by, sets)
    records = []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 3:
            save(file, whole, records)
    resumed = make(partial(CapturedTraining, chain=2, warm_up=1), sets)
    list(resumed.epochs())
    held = restore(file, resumed)
    assert figures(held + list(resumed.epochs(first=4))) == figures(records)
    for name, value in state(whole).items():
        assert torch.equal(state(resumed)[name], value), f"{name} differs after going on"


def test_after_a_checkpoint_steps_are_recorded_anew(tmp_path):
    """The tape holds the old tensors of the optimizer's state, and would change those."""
    sets = {"training.epochs": 5}
    file = tmp_path / "run.safetensors"
    whole = make(Training, sets)
    records = []
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 2:
            save(file, whole, records)
    resumed = make(partial(TapedTraining, chain=2, warm_up=1), sets)
    for epoch in range(1, 4):
        resumed.train_epoch(epoch)
    restore(file, resumed)
    assert figures(resumed.epochs(first=3)) == figures(records[2:])


@pytest.mark.parametrize(
    "sets",
    [
        {"training.epochs": 5, "training.optimizer": {"name": "sgd", "learning_rate": 1e30}},
        {"training.epochs": 1, "training.batch_size": 99, "training.optimizer": {"name": "sgd", "learning_rate": 1e38}},
    ],
)
def test_a_run_diverges_at_the_same_epoch(sets):
    said = []
    for kind in (Training, CapturedTraining):
        with pytest.raises(DivergedError) as raised:
            list(make(kind, sets).epochs())
        said.append(str(raised.value))
    assert said[0] == said[1]


def test_a_batch_of_a_single_image_is_refused_in_the_same_words():
    sets = {"training.batch_size": 13, "network.classifier.0.normalization": "batch"}
    said = []
    for kind in (Training, CapturedTraining):
        with pytest.raises(BuildError, match="a layer cannot be trained on a batch of a single image") as raised:
            list(make(kind, sets).epochs())
        said.append(str(raised.value))
    assert said[0] == said[1]


def test_an_estimate_can_be_made():
    assert 0 < make(CapturedTraining, EVERYTHING).estimate() < math.inf


def test_an_estimate_is_of_recorded_steps(monkeypatch):
    """On a GPU they take a fraction of the time of steps that are made."""
    made, training = [], make(partial(CapturedTraining, chain=3), EVERYTHING)
    monkeypatch.setattr(training, "record", lambda work: lambda: made.append(time.sleep(0.03)))
    assert 0.01 <= training._step_seconds(torch.Generator()) < 0.05
    assert len(made) == 3
