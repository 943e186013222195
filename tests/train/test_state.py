"""What has changed in training is put back exactly into what was built anew, or nothing is taken."""

from __future__ import annotations

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from zoo.train.state import State, UnsavableError, beginning, put_back, taken


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.same = self.linear
        self.function = lambda x: x
        self.kept = [self.linear, self.linear.weight]
        self.register_buffer("mean", torch.zeros(2, 3).t(), persistent=False)


class Own:
    count = 0


def built():
    torch.manual_seed(0)
    network = Layer()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    return network, optimizer, beginning(network, optimizer)


def through(network, optimizer, begun):
    """Take the state and put it into what is built anew."""
    state = taken(network, optimizer, begun)
    new_network, new_optimizer, _ = built()
    put_back(new_network, new_optimizer, State(state.tensors, json.loads(json.dumps(state.plain))))()
    return new_network, new_optimizer


def test_of_what_has_not_changed_nothing_but_the_network_is_taken():
    state = taken(*built())
    assert state.tensors.keys() == {"network.linear.weight", "network.linear.bias", "network.mean"}
    assert state.plain == {"layouts": {}, "optimizer": [], "attributes": {}}


def test_numbers_go_into_the_tensors_that_are_there():
    network, optimizer, begun = built()
    with torch.no_grad():
        network.linear.weight.add_(1)
        network.mean.add_(2)
    new_network, new_optimizer, _ = built()
    weight = new_network.linear.weight
    put_back(new_network, new_optimizer, taken(network, optimizer, begun))()
    assert new_network.linear.weight is weight
    assert torch.equal(weight, network.linear.weight)
    assert torch.equal(new_network.mean, network.mean)


VALUES = {
    "a number": 3,
    "no number": float("nan"),
    "a text": "x",
    "nothing": None,
    "a list": [1, (2.5, None), {"a": [True], 3: "x"}],
    "an empty tensor": torch.zeros(0, 2),
    "numbers without dimensions": torch.tensor(3.0, dtype=torch.float64),
    "rows as columns": torch.arange(6.0).view(2, 3).t(),
    "channels last": torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last),
    "tensors": {"past": [torch.ones(2, dtype=torch.bfloat16), torch.tensor([True, False])]},
}
PLACES = {
    "a module": lambda network, optimizer: vars(network.linear),
    "the optimizer": lambda network, optimizer: vars(optimizer),
    "a group": lambda network, optimizer: optimizer.param_groups[0],
    "a parameter's state": lambda network, optimizer: optimizer.state[network.linear.bias],
    "the state": lambda network, optimizer: optimizer.state,
}


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.stride() == other.stride() and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and repr(one) == repr(other)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_value_comes_back_as_it_was(place, value):
    network, optimizer, begun = built()
    place(network, optimizer)["new"] = value
    assert same(place(*through(network, optimizer, begun))["new"], value)


def test_references_stay_references():
    network, optimizer, begun = built()
    weight = network.linear.weight
    momentum = torch.ones_like(weight)
    optimizer.state[weight] = {"momentum": momentum, "of": weight}
    network.watched = [momentum, weight, network.mean]
    network, optimizer = through(network, optimizer, begun)
    weight = network.linear.weight
    assert optimizer.state[weight]["of"] is weight
    assert network.watched[0] is optimizer.state[weight]["momentum"]
    assert network.watched[1] is weight
    assert network.watched[2] is network.mean


def shared_list(network, optimizer):
    network.one = network.other = [1]


def replaced_function(network, optimizer):
    network.function = lambda x: x + 1


def removed(network, optimizer):
    del network.kept


def frozen(network, optimizer):
    network.linear.weight.requires_grad_(False)


def added(network, optimizer):
    network.register_buffer("late", torch.zeros(1))


REFUSED = {
    "an array": (
        lambda network, optimizer: optimizer.state[network.linear.weight].update(log=np.zeros(1)),
        "the optimizer's state of parameter 0 has changed, and is or holds a ndarray",
    ),
    "another kind of dict": (
        lambda network, optimizer: setattr(network, "new", OrderedDict()),
        "new of the network (Layer) has changed, and is or holds a OrderedDict",
    ),
    "an object": (
        lambda network, optimizer: setattr(optimizer, "new", [Own()]),
        "new of optimizer has changed, and is or holds a Own",
    ),
    "another lambda": (replaced_function, "function of the network (Layer) has changed, and is or holds a function"),
    "a list in two places": (shared_list, "other of the network (Layer) has changed, and holds a list that stands els"),
    "a computed tensor": (
        lambda network, optimizer: setattr(network.linear, "new", network.linear.weight * 2),
        "new of linear (Linear) has changed, and is or holds a tensor with a gradient or of a special type",
    ),
    "a view of a parameter": (
        lambda network, optimizer: optimizer.state[network.linear.weight].update(last=network.linear.weight.detach()),
        "the optimizer's state of parameter 0 has changed, and holds a tensor that shares its memory",
    ),
    "a group's entry": (
        lambda network, optimizer: optimizer.param_groups[0].update(new=Own()),
        "new of optimizer.param_groups.0 has changed, and is or holds a Own",
    ),
    "state of what is no parameter": (
        lambda network, optimizer: optimizer.state[torch.zeros(1)].update(x=1),
        "the optimizer's state belongs to something else than its parameters",
    ),
    "a removed attribute": (removed, "kept of the network (Layer) was there before training, and is not now"),
    "a frozen parameter": (frozen, "the form of linear.weight in the network has changed in training"),
    "another buffer": (added, "the form of late in the network has changed in training"),
}


@pytest.mark.parametrize(("change", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_put_back_exactly_is_refused_with_its_place(change, why):
    network, optimizer, begun = built()
    change(network, optimizer)
    with pytest.raises(UnsavableError) as raised:
        taken(network, optimizer, begun)
    assert str(raised.value).startswith(why)


def test_a_change_inside_an_object_is_seen():
    network, optimizer, _ = built()
    network.counter = Own()
    begun = beginning(network, optimizer)
    taken(network, optimizer, begun)
    network.counter.count += 1
    with pytest.raises(UnsavableError, match=r"counter of the network \(Layer\) has changed, and is or holds a Own"):
        taken(network, optimizer, begun)


def test_a_generator_that_has_drawn_is_seen():
    network, optimizer, _ = built()
    network.generator = torch.Generator()
    begun = beginning(network, optimizer)
    taken(network, optimizer, begun)
    torch.rand(1, generator=network.generator)
    with pytest.raises(UnsavableError, match="generator of the network"):
        taken(network, optimizer, begun)


def counting():
    count = [0]

    def call():
        count[0] += 1
        return count[0]

    return call


@pytest.mark.parametrize(
    ("make", "use"),
    [(lambda: (n for n in range(9)), next), (counting, lambda call: call())],
    ids=["generator", "closure"],
)
def test_state_that_pickle_refuses_to_look_at_is_seen(make, use):
    network, optimizer, _ = built()
    network.hidden = make()
    begun = beginning(network, optimizer)
    taken(network, optimizer, begun)
    use(network.hidden)
    with pytest.raises(UnsavableError, match="hidden of the network"):
        taken(network, optimizer, begun)


def test_a_state_of_another_network_changes_nothing():
    network, optimizer, begun = built()
    state = taken(network, optimizer, begun)
    other = nn.Linear(2, 3)
    with pytest.raises(ValueError, match="another network"):
        put_back(other, torch.optim.SGD(other.parameters(), lr=0.1), state)
