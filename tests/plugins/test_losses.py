"""The losses, against scikit-learn and their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import hinge_loss, log_loss
from sklearn.utils.class_weight import compute_class_weight

from zoo_plugins.losses import cross_entropy, cross_entropy_of_softmax, multi_margin


@st.composite
def batches(draw):
    """Logits (batch, classes) and labels (batch,) as arrays."""
    count, classes = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    logits = draw(arrays(np.float64, (count, classes), elements=st.floats(-8, 8)))
    return logits, draw(arrays(np.int64, count, elements=st.integers(0, classes - 1)))


def value(loss, logits, labels, **options):
    result = loss(torch.from_numpy(logits), torch.from_numpy(labels), **options)
    assert result.shape == ()
    return result.item()


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@settings(deadline=None, max_examples=50)
@given(batches())
def test_cross_entropy_is_the_log_loss_of_the_softmax(batch):
    logits, labels = batch
    expected = log_loss(labels, softmax(logits), labels=np.arange(logits.shape[1]))
    assert value(cross_entropy, logits, labels) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(batches(), st.floats(0, 0.99))
def test_label_smoothing_mixes_the_target_with_the_uniform_one(batch, smoothing):
    logits, labels = batch
    classes = logits.shape[1]
    target = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    expected = -(target * np.log(softmax(logits))).sum(1).mean()
    assert value(cross_entropy, logits, labels, label_smoothing=smoothing) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(batches())
def test_cross_entropy_of_softmax_takes_softmax_twice(batch):
    logits, labels = batch
    expected = log_loss(labels, softmax(softmax(logits)), labels=np.arange(logits.shape[1]))
    assert value(cross_entropy_of_softmax, logits, labels) == pytest.approx(expected, abs=1e-9)


def test_cross_entropy_of_softmax_has_the_stated_minimum():
    perfect = 1000 * np.eye(10)
    assert value(cross_entropy_of_softmax, perfect, np.arange(10)) == pytest.approx(np.log(np.e + 9) - 1)


@settings(deadline=None, max_examples=50)
@given(batches(), st.sampled_from([1, 2]), st.floats(0.1, 3))
def test_multi_margin_follows_its_formula(batch, power, margin):
    logits, labels = batch
    true = np.take_along_axis(logits, labels[:, None], 1)
    wrong = np.arange(logits.shape[1]) != labels[:, None]
    expected = (np.maximum(0, margin - true + logits) ** power * wrong).mean(1).mean()
    assert value(multi_margin, logits, labels, power=power, margin=margin) == pytest.approx(expected, abs=1e-9)


def test_multi_margin_of_two_classes_is_half_of_scikit_learns_hinge_loss():
    logits, labels = np.array([[0.2, -0.1], [0.5, 1.9], [-1.0, 0.4]]), np.array([0, 1, 0])
    expected = hinge_loss(labels, logits[:, 1] - logits[:, 0]) / 2
    assert value(multi_margin, logits, labels) == pytest.approx(expected)


@pytest.mark.parametrize("loss", [cross_entropy, cross_entropy_of_softmax, multi_margin])
def test_a_step_down_the_gradient_lowers_the_loss(loss):
    logits = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.4, -0.5]], requires_grad=True)
    labels = torch.tensor([2, 0])
    before = loss(logits, labels)
    before.backward()
    assert loss(logits - 0.1 * logits.grad, labels) < before


@settings(deadline=None, max_examples=30)
@given(batches(), st.sampled_from([(cross_entropy, {}), (multi_margin, {"power": 2}), (multi_margin, {})]))
def test_with_balanced_weights_each_class_counts_the_same(batch, loss):
    logits, labels = batch
    factory, options = loss
    sizes = np.bincount(labels, minlength=logits.shape[1])
    if (sizes == 0).any():
        return
    weighted = factory(
        *map(torch.from_numpy, (logits, labels, sizes.astype(float))), class_weights="balanced", **options
    ).item()
    of_classes = [value(factory, logits[labels == one], labels[labels == one], **options) for one in range(len(sizes))]
    assert weighted == pytest.approx(np.mean(of_classes), abs=1e-9)
    # The weights are those that scikit-learn calls balanced.
    weights = compute_class_weight("balanced", classes=np.arange(len(sizes)), y=labels)
    each = [value(factory, logits[[i]], labels[[i]], **options) * weights[labels[i]] for i in range(len(labels))]
    assert weighted == pytest.approx(np.mean(each), abs=1e-9)


def test_equal_classes_have_equal_weights():
    logits, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    sizes = torch.full((3,), 2.0)
    torch.testing.assert_close(
        cross_entropy(logits, labels, sizes, class_weights="balanced", label_smoothing=0.1),
        cross_entropy(logits, labels, label_smoothing=0.1),
    )


@pytest.mark.parametrize("loss", [cross_entropy, cross_entropy_of_softmax])
@settings(deadline=None, max_examples=25)
@given(batches())
def test_shares_of_one_class_are_that_class_and_a_loss_is_linear_in_them(loss, batch):
    logits, labels = map(torch.from_numpy, batch)
    shares = torch.eye(logits.shape[1], dtype=torch.float64)
    torch.testing.assert_close(loss(logits, shares[labels]), loss(logits, labels))
    others = labels.roll(1)
    mixed = loss(logits, 0.3 * shares[labels] + 0.7 * shares[others])
    torch.testing.assert_close(mixed, 0.3 * loss(logits, labels) + 0.7 * loss(logits, others))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_balanced_shares_are_linear_too(smoothing):
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sizes = torch.tensor([5.0, 1.0, 3.0], dtype=torch.float64)
    labels = torch.arange(6) % 3

    def of(labels):
        return cross_entropy(logits, labels, sizes, label_smoothing=smoothing, class_weights="balanced")

    shares = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(of(shares[labels]), of(labels))
    mixed = of(0.3 * shares[labels] + 0.7 * shares[labels.roll(1)])
    torch.testing.assert_close(mixed, 0.3 * of(labels) + 0.7 * of(labels.roll(1)))
    with pytest.raises(ValueError, match="class weights need the sizes of the classes"):
        cross_entropy(logits, shares[labels], class_weights="balanced")


def test_a_class_without_images_has_no_part_in_balanced_shares():
    logits, labels, sizes = torch.randn(4, 3), torch.tensor([0, 1, 0, 1]), torch.tensor([6.0, 3.0, 0.0])
    options = {"class_weights": "balanced", "label_smoothing": 0.1}
    expected = cross_entropy(logits, labels, sizes, **options)
    assert expected.isfinite()
    torch.testing.assert_close(cross_entropy(logits, torch.eye(3)[labels], sizes, **options), expected)
