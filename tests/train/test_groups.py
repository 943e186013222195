"""Groups of parameters: their factors, schedules and freezing are those of a loop written out by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from loops_by_hand import DATA, REGISTRY, assert_by_hand, fixed, make, sgd, weights
from small_runs import figures, small

from zoo.errors import BuildError, SpecError
from zoo.network.builder import build
from zoo.network.roles import roles
from zoo.registry.source import plugins_used
from zoo.train.checkpoint import restore, save
from zoo.train.engines.gate import gate
from zoo.train.groups import Groups


def with_groups(*groups, **sets):
    decay = {"training.optimizer.weight_decay": 0.01}
    return {**decay, "training.epochs": 4, "training.groups": list(groups), **sets}


def test_factors_are_those_of_torchs_groups():
    """Also where a parameter is in two groups."""

    def by_torch(named):
        biases = [p for name, p in named.items() if name.endswith("bias") and not name.startswith("output")]
        weights = [p for name, p in named.items() if name.endswith("weight") and not name.startswith("output")]
        groups = [
            {"params": weights},
            {"params": biases, "lr": 0.1 * 3, "weight_decay": 0.0},
            {"params": [named["output.weight"]], "lr": 0.1 * 0.5},
            {"params": [named["output.bias"]], "lr": 0.1 * 3 * 0.5, "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01)

    sets = with_groups(
        {"roles": ["bias"], "learning_rate": 3, "weight_decay": 0}, {"at": "output.*", "learning_rate": 0.5}
    )
    assert_by_hand(sets, by_torch, steps=20, set_rates=fixed)


@pytest.mark.parametrize("name", REGISTRY.variants("optimizer"))
def test_every_optimizer_takes_groups(name):
    """A group of factor 0 stays as it is, and recorded steps are those of the reference."""
    optimizer = {"training.optimizer": {"name": name, "learning_rate": 0.01}}
    sets = with_groups({"at": "output.*", "learning_rate": 0}, **optimizer)
    del sets["training.optimizer.weight_decay"]
    training = make(sets)
    before = training.network.output.weight.detach().clone()
    list(training.epochs())
    assert torch.equal(training.network.output.weight, before)
    assert gate(small(REGISTRY, sets=sets), DATA, device="cpu", registry=REGISTRY) == ""


def test_a_group_has_a_schedule_of_its_own():
    def rates(optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.1
        optimizer.param_groups[1]["lr"] = 0.1 * 2 * (1 + np.cos(np.pi * step / 20)) / 2

    def by_torch(named):
        rest = [p for name, p in named.items() if not name.startswith("output")]
        output = [p for name, p in named.items() if name.startswith("output")]
        groups = [{"params": rest}, {"params": output}]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01)

    sets = with_groups({"at": "output.*", "learning_rate": 2, "schedule": "cosine"})
    assert_by_hand(sets, by_torch, steps=20, set_rates=rates)


@pytest.mark.parametrize(
    ("stated", "frozen"),
    [
        ({"frozen_until": 0.35}, lambda step: step < 7),
        ({"frozen_until": 12}, lambda step: step < 12),
        ({"frozen_after": 0.3}, lambda step: step >= 6),
        ({"frozen_until": 3, "frozen_after": 8}, lambda step: step < 3 or step >= 8),
        ({"frozen_after": 0.0}, lambda step: True),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "trained",
)
def test_what_is_frozen_is_left_alone(stated, frozen):
    """Neither weight decay nor momentum moves it, whichever step of an epoch it is frozen in."""

    def without_gradient(parameters, step):
        for parameter in parameters[:2]:
            if frozen(step):
                parameter.grad = None

    sets = with_groups({"at": "features.*", **stated})
    decaying = partial(sgd, weight_decay=0.01)
    assert_by_hand(sets, decaying, steps=20, before_step=without_gradient, set_rates=fixed)
    assert gate(small(REGISTRY, sets=sets), DATA, device="cpu", registry=REGISTRY) == ""


def test_between_epochs_nothing_is_frozen_and_a_run_goes_on(tmp_path):
    sets = with_groups({"at": "features.*", "frozen_until": 7})
    whole, records = make(sets), []
    for record in whole.epochs():
        records.append(record)
        assert all(parameter.requires_grad for parameter in whole.network.parameters())
        if record.epoch == 1:
            save(tmp_path / "run", whole, records)
    resumed = make(sets)
    assert figures([*restore(tmp_path / "run", resumed), *resumed.epochs(first=2)]) == figures(records)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize(
    ("stated", "like"), [({"frozen_until": 7}, True), ({"frozen_after": 3}, True), ({"frozen_until": 0.5}, False)]
)
def test_a_share_depends_on_how_long_a_run_is(stated, like):
    assert make(with_groups({"at": "output.*", **stated})).begins_like(2) == like


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            [{"at": "feature.*"}],
            'small: training.groups[0]: no parameter is called "feature.*"; the parameters are '
            "features.0.filter.weight, features.0.filter.bias, ",
        ),
        (
            [{"at": "output.*", "roles": ["normalization", "pooling"]}],
            'small: training.groups[0]: no parameter is called "output.*" and is normalization or pooling',
        ),
        (
            [{"schedule": "cosine"}, {"at": "output.*", "schedule": "step"}],
            "small: training.groups: output.weight is in the groups 0 and 1, which both have a schedule; let one of",
        ),
        ([{"frozen_until": 5}], "small: training.groups: all parameters are frozen in step 1"),
    ],
)
def test_groups_that_make_no_sense_are_errors(groups, message):
    with pytest.raises(BuildError) as error:
        make(with_groups(*groups))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("until", "after"), [(0.8, 0.2), (8, 8)])
def test_a_group_that_would_never_be_trained_is_an_error(until, after):
    with pytest.raises(
        SpecError, match=f"frozen_until = {until} and frozen_after = {after} leave no step in which its"
    ):
        small(REGISTRY, sets=with_groups({"at": "output.*", "frozen_until": until, "frozen_after": after}))


def test_a_weight_decay_that_there_is_not_cannot_be_scaled():
    class Plain(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {"lr": 0.1})

    groups = Groups(small(REGISTRY, sets=with_groups({"weight_decay": 0})), make().network, REGISTRY)
    with pytest.raises(BuildError, match=r"training\.groups\[0\]\.weight_decay: the optimizer has no weight decay"):
        groups.scale(Plain(groups.given))


def test_an_optimizer_must_keep_groups_apart():
    groups = Groups(small(REGISTRY, sets=with_groups({"at": "output.*"})), make().network, REGISTRY)
    together = torch.optim.SGD([p for part in groups.given for p in part["params"]], lr=0.1)
    with pytest.raises(BuildError, match="trains parameters of unlike groups together; its factory must keep"):
        groups.scale(together)


def test_the_key_holds_what_decides_roles():
    one, other = (small(REGISTRY, sets=with_groups(group)) for group in ({"at": "output.*"}, {"roles": ["bias"]}))
    kinds = REGISTRY.layer_kind_plugins
    assert not set(kinds) & set(plugins_used(one, REGISTRY))
    assert set(kinds) <= set(plugins_used(other, REGISTRY))


def test_roles_of_blocks_and_of_architectures():
    sets = {"network.features.0.normalization": "batch", "network.features.0.activation": "prelu"}
    assert roles(make(sets).network, REGISTRY) == {
        "features.0.filter.weight": "filter",
        "features.0.filter.bias": "bias",
        "features.0.normalization.weight": "normalization",
        "features.0.normalization.bias": "normalization",
        "features.0.activation.weight": "activation",
        "classifier.0.linear.weight": "linear",
        "classifier.0.linear.bias": "bias",
        "output.weight": "linear",
        "output.bias": "bias",
    }
    tree = {"network": {"architecture": "vit"}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}
    found = roles(build(tree, (1, 8, 8), 10, registry=REGISTRY), REGISTRY)
    assert {found[name] for name in found if ".ln" in name} == {"normalization"}
    assert set(found.values()) == {"filter", "linear", "bias", "normalization", "other"}
