"""The dropouts: how much is dropped, what is dropped together, and when."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import SpecError
from zoo.registry import default_registry
from zoo.spec import structure
from zoo_plugins import dropouts

SHAPE = (64, 6, 6)
# What alpha dropout puts in the place of a dropped value, before it restores mean and variance.
SELU_LIMIT = -1.7580993408473766
ALWAYS = [
    (dropouts.dropout, ()),
    (dropouts.channel, (SHAPE,)),
    (dropouts.alpha, ()),
    (dropouts.feature_alpha, ()),
    (dropouts.drop_block, (SHAPE,)),
]
each_dropout = pytest.mark.parametrize(
    ("factory", "given_arguments"), ALWAYS, ids=lambda value: getattr(value, "__name__", "")
)


def ones(count=32, shape=SHAPE):
    return torch.ones(count, *shape)


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 0.9))
def test_dropout_drops_the_rate_and_scales_the_rest(rate):
    torch.manual_seed(0)
    y = dropouts.dropout(rate=rate)(ones())
    kept = y != 0
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - rate)))
    # 73,728 draws: five standard deviations are below 0.01.
    assert (~kept).double().mean().item() == pytest.approx(rate, abs=0.01)


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 0.9))
def test_channel_drops_whole_channels(rate):
    torch.manual_seed(0)
    y = dropouts.channel(SHAPE, rate=rate)(ones())
    per_channel = y.flatten(2)
    assert (per_channel == per_channel[..., :1]).all(), "a channel must be dropped or kept as a whole"
    dropped = per_channel[..., 0] == 0
    torch.testing.assert_close(per_channel[~dropped], torch.full_like(per_channel[~dropped], 1 / (1 - rate)))
    # 2,048 draws: four standard deviations.
    assert dropped.double().mean().item() == pytest.approx(rate, abs=0.045)


@pytest.mark.parametrize("factory", [dropouts.alpha, dropouts.feature_alpha])
def test_alpha_dropouts_keep_mean_and_variance(factory):
    torch.manual_seed(0)
    x = torch.randn(64, 256, 4, 4)
    y = factory(rate=0.3)(x)
    assert y.mean().item() == pytest.approx(0, abs=0.03)
    assert y.var().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("factory", "together"), [(dropouts.alpha, False), (dropouts.feature_alpha, True)])
def test_alpha_dropouts_put_selus_limit_in_place(factory, together):
    torch.manual_seed(0)
    rate = 0.3
    y = factory(rate=rate)(torch.zeros(64, 64, 3, 3))
    scale = ((1 - rate) * (1 + rate * SELU_LIMIT**2)) ** -0.5
    kept, dropped = -scale * SELU_LIMIT * rate, scale * SELU_LIMIT * (1 - rate)
    is_dropped = (y - dropped).abs() < 1e-5
    assert (is_dropped | ((y - kept).abs() < 1e-5)).all()
    assert is_dropped.double().mean().item() == pytest.approx(rate, abs=0.03)
    whole = is_dropped.flatten(2).all(2) | (~is_dropped).flatten(2).all(2)
    assert whole.all().item() is together


@pytest.mark.parametrize("factory", [lambda **o: dropouts.channel((50,), **o), dropouts.feature_alpha])
def test_in_the_classifier_each_unit_is_a_channel(factory):
    torch.manual_seed(0)
    x = torch.ones(200, 50)
    y = factory(rate=0.25)(x)
    assert y.shape == x.shape
    values, counts = y.unique(return_counts=True)
    assert len(values) == 2, "a unit is dropped or kept"
    assert counts[0].item() / x.numel() == pytest.approx(0.25, abs=0.025)


@settings(deadline=None, max_examples=10)
@given(st.sampled_from([1, 3, 5]), st.floats(0.05, 0.2))
def test_drop_block_drops_squares(block_size, rate):
    torch.manual_seed(0)
    shape = (32, 9, 11)
    y = dropouts.drop_block(shape, rate=rate, block_size=block_size)(ones(64, shape))
    dropped = (y == 0).float()
    blocks = torch.nn.functional.avg_pool2d(dropped, block_size, 1) == 1
    covered = torch.zeros_like(dropped, dtype=torch.bool)
    for row in range(block_size):
        for column in range(block_size):
            covered[:, :, row : row + blocks.shape[2], column : column + blocks.shape[3]] |= blocks
    assert torch.equal(covered, dropped.bool()), f"every 0 must lie in a {block_size}x{block_size} square of zeros"
    # Blocks overlap, so that somewhat less than the rate is dropped; there are at least 400 blocks.
    assert 0.7 * rate < dropped.mean().item() < 1.25 * rate
    assert y.mean().item() == pytest.approx(1, abs=1e-4), "what stays is scaled so that the mean over the batch stays"


@each_dropout
def test_evaluation_changes_nothing(factory, given_arguments):
    x = torch.randn(4, *SHAPE)
    assert torch.equal(factory(*given_arguments).eval()(x), x)


@each_dropout
def test_rate_0_changes_nothing(factory, given_arguments):
    x = torch.randn(4, *SHAPE)
    torch.testing.assert_close(factory(*given_arguments, rate=0.0)(x), x)


@each_dropout
def test_always_on_drops_in_evaluation_as_in_training(factory, given_arguments):
    network = torch.nn.Sequential(factory(*given_arguments, always_on=True))
    x = torch.randn(4, *SHAPE)
    results = []
    for training in (True, False):
        network.train(training)
        torch.manual_seed(0)
        results.append(network(x))
    assert not torch.equal(results[1], x), "it must drop in evaluation"
    assert torch.equal(*results)
    torch.manual_seed(1)
    assert not torch.equal(network(x), results[1]), "it must draw anew each time"


def test_drop_block_needs_maps():
    with pytest.raises(ValueError, match=r"^DropBlock needs feature maps: it cannot stand in the classifier$"):
        dropouts.drop_block((10,))


def test_drop_block_needs_a_map_of_at_least_a_block():
    assert dropouts.drop_block((4, 5, 5), block_size=5)(torch.randn(2, 4, 5, 5)).shape == (2, 4, 5, 5)
    with pytest.raises(ValueError, match=r"^block_size = 5 is larger than its map of 6x4$"):
        dropouts.drop_block((4, 6, 4), block_size=5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"block_size": 4}, "expected a positive odd int, got 4"),
        ({"rate": 1.0}, "expected a number from 0 up to, but not including, 1, got 1.0"),
    ],
)
def test_impossible_options_are_refused_when_the_spec_is_read(options, expected):
    block = {"filters": 4, "dropout": {"name": "drop_block", **options}}
    tree = {"network": {"features": [block]}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    with pytest.raises(SpecError) as caught:
        structure(tree, "mine", default_registry())
    assert expected in str(caught.value)


def test_none_is_left_out_by_the_builder():
    assert isinstance(dropouts.identity(), torch.nn.Identity)
