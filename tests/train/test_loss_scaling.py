"""In fp16 the loss is scaled, and a step that is left out leaves no trace."""

from __future__ import annotations

import copy

import pytest
import torch
from small_runs import PLUGIN, figures, planned_run, small
from torch import nn

from zoo.errors import BuildError
from zoo.registry import Registry
from zoo.train.checkpoint import restore, save
from zoo.train.engines.choice import decide
from zoo.train.execute import dataset
from zoo.train.training import Training

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SETS = {"network.features.*.normalization": "batch", "training.batch_size": 4, "training.epochs": 3}


def made(sets=None, precision="fp16"):
    spec = small(REGISTRY, sets=SETS | (sets or {}))
    data = dataset(spec, REGISTRY, "cpu")
    return Training(spec, 0, data, device="cpu", registry=REGISTRY, precision=precision)


def overflow_at(training, *steps):
    """Let the gradients of some steps (from 1) overflow."""
    asked = []

    def hook(gradient):
        asked.append(gradient)
        return gradient * torch.inf if len(asked) in steps else gradient

    next(training.network.parameters()).register_hook(hook)


def state(training):
    optimizer = [value for each in training.optimizer.state.values() for value in each.values()]
    return [tensor.clone() for tensor in (*training.network.parameters(), *optimizer)]


@pytest.mark.parametrize("sets", [{}, {"training.clip_norm": 0.5, "training.gradient": ["centralize"]}], ids=str)
def test_a_step_that_is_left_out_changes_neither_parameters_nor_the_optimizer(sets):
    training = made(sets)
    overflow_at(training, 2)
    training.set_mode(training=True)
    states, scales = [state(training)], []
    for step, (images, labels, _) in zip(range(3), training.batches(1), strict=False):
        training.set_learning_rate(step)
        assert training.step(images, labels, torch.Generator()).isfinite()
        states.append(state(training))
        scales.append(training.beside["scaling.scale"].item())
    assert scales == [2**16, 2**15, 2**15]
    assert all(torch.equal(*pair) for pair in zip(states[1], states[2], strict=True))
    assert not torch.equal(states[2][0], states[3][0])


def test_steps_are_those_of_a_loop_written_out():
    training = made({"training.accumulate": 2, "training.clip_norm": 0.2, "training.epochs": 1})
    network, start = copy.deepcopy(training.network).train(), training.learning_rates(0)[0]
    optimizer = torch.optim.SGD(network.parameters(), lr=start, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    for images, labels, _ in training.batches(1):
        optimizer.zero_grad()
        for pixels, classes in zip(images.split(4), labels.split(4), strict=True):
            given = ((pixels / 255) - training._mean) / training._std
            with torch.autocast("cpu", torch.float16):
                logits = network(given.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(logits.float(), classes)
            if len(classes) < len(labels):
                loss = loss * (len(classes) / len(labels))
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(network.parameters(), 0.2)
        scaler.step(optimizer)
        scaler.update()
    list(training.epochs())
    for own, other in zip(training.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-7)


def test_the_scale_goes_on_from_a_checkpoint(tmp_path):
    whole, file, records = made(), tmp_path / "run.safetensors", []
    overflow_at(whole, 1, 2, 3)
    for record in whole.epochs():
        records.append(record)
        if record.epoch == 1:
            save(file, whole, records)
    resumed = made()
    held = restore(file, resumed)
    assert resumed.beside["scaling.scale"] == 2**13
    assert figures(held + list(resumed.epochs(first=2))) == figures(records)
    assert {name: tensor.item() for name, tensor in resumed.beside.items()} == {
        name: tensor.item() for name, tensor in whole.beside.items()
    }


def test_an_optimizer_with_a_closure_is_refused_by_name():
    with pytest.raises(BuildError) as error:
        made({"training.optimizer": {"name": "sam", "learning_rate": 0.1}})
    assert str(error.value) == (
        "small: training.optimizer: sam(learning_rate=0.1) asks for the gradients itself, and in fp16 a step whose "
        "gradients are not finite is left out before an optimizer sees them; take another precision, such as bf16, or "
        "another optimizer"
    )


def test_steps_that_look_at_their_gradients_are_not_recorded():
    spec = small(REGISTRY)
    key = planned_run(spec, REGISTRY).key
    key = type(key)(key.spec, key.seed, key.dataset, key.source, "fp16")
    decision = decide("captured", spec, key, dataset(spec, REGISTRY, "cpu"), device="cpu", registry=REGISTRY)
    assert (decision.engine, decision.why_not) == (
        "sequential",
        "small is trained one step at a time: in fp16 each step looks at its gradients before it is made, which cannot "
        "be recorded",
    )


def test_a_fused_optimizer_makes_nothing_of_a_step_that_is_left_out():
    """It would be called to leave the step out on the device, and SGD's momentum be whatever was in that memory."""
    training = made()
    rate = training.optimizer.param_groups[0]["lr"]
    training.optimizer = torch.optim.SGD(training.network.parameters(), lr=rate, momentum=0.9, fused=True)
    overflow_at(training, 1)
    training.set_mode(training=True)
    before, kept = state(training), []
    for _, (images, labels, _) in zip(range(2), training.batches(1), strict=False):
        training.step(images, labels, torch.Generator())
        kept.append(state(training))
    assert all(torch.equal(*pair) for pair in zip(before, kept[0], strict=True)), "and no state was made"
    assert len(kept[1]) > len(before)
    assert all(tensor.isfinite().all() for tensor in kept[1])
