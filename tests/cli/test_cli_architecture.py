"""Commands on an architecture whose layers were replaced, some by rewriting it: all work as on any network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from safetensors.torch import save_file

from zoo.export.network import load_exported
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.spec.resolve import resolve
from zoo.train.execute import dataset

Zoo = Callable[..., Result]

PLUGIN = """
import torch
from torch import nn
from torch.nn import functional as F
import zoo


class Functions(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.act, self.last = nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Linear(4 * 36, classes)

    def forward(self, x):
        x = F.dropout(self.act(self.act(self.first(x)) - 0.1).flatten(1), 0.25, training=self.training)
        return self.last(torch.tanh(x).relu())


def functions(input_shape, classes):
    "Functions in place of layers, and one layer at two places."
    return Functions(classes)


@zoo.hookimpl
def zoo_register_architectures(register):
    register("functions", functions)


@zoo.hookimpl
def zoo_register_specs(register):
    register("functions", {
        "network": {"architecture": "functions", "replace": {"activation": "prelu"}},
        "training": {"epochs": 2, "batch_size": 128},
        "data": {"dataset": "digits"},
    })
"""
SLOW = "ZOO_SLOW" in os.environ
NAMES = ["functions", *(["small/vit", "small/convnext"] if SLOW else [])]
TINY = ("--seeds", "1", "--jobs", "1", "--device", "cpu")


@pytest.mark.parametrize("name", NAMES)
def test_what_was_trained_is_timed_exported_and_gone_on_with(
    zoo: Zoo, plugin: Callable[[str, str], str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    file = plugin("functions.py", PLUGIN)

    def run(*arguments: str) -> str:
        result = zoo("--plugin", file, *arguments)
        assert result.exit_code == 0, result.output
        return result.output

    varied = ("--vary", "activation=own,prelu")
    run("benchmark", name, *varied, "--epochs", "1", *TINY, "--keep-state")
    assert f"{name}[activation=prelu]" in run("time", name, *varied, "--rounds", "40", "--device", "cpu")
    registry = Registry(files=[Path(file)])
    images = dataset(resolve(name, registry=registry), registry, "cpu").test.images[:50]
    for form in ("safetensors", "torch-export", *(["onnx"] if SLOW else [])):
        # Writing tries the file out on all test images, and would refuse other logits.
        run("export", f"{name}[activation=prelu]", "--format", form, "-o", form)
    with torch.no_grad():
        loaded = load_exported(Path("safetensors"), registry=registry)(images)
        exported = torch.export.load("torch-export/model.pt2").module()(images)
    torch.testing.assert_close(loaded, exported, atol=1e-4, rtol=1e-4)
    longer = run("benchmark", name, *varied, "--epochs", "2", *TINY)
    if name == "functions":  # the others have a schedule over the whole run, from which none goes on
        assert f"{name}[activation=prelu] goes on from the states that were kept after 1 epoch" in longer
        assert "functions.py" in Path("safetensors/README.md").read_text()


def test_a_plan_a_study_and_layers_name_what_is_replaced(zoo: Zoo) -> None:
    shown = zoo("show", "small/resnet", "--set", 'replace."stages.2.*".activation=mish')
    assert shown.exit_code == 0, shown.output
    assert "stages.2.0.relu_1" in shown.stdout
    plan = zoo("benchmark", "small/resnet", "--vary", "activation=own,mish", "--plan", *TINY)
    assert plan.exit_code == 0, plan.output
    assert "small/resnet[activation=mish]" in plan.stdout
    refused = zoo("benchmark", "small/resnet", "--set", "pooling=max", "--plan", *TINY)
    assert refused.exit_code == 2
    assert "network.replace.pooling: max: cifar_resnet(depth=8) has no pooling" in refused.stderr


STARTED = """
from torch import nn
import zoo


def little(input_shape, classes):
    "A convolution and a dense layer."
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, classes))


@zoo.hookimpl
def zoo_register_architectures(register):
    register("little", little)


@zoo.hookimpl
def zoo_register_specs(register):
    register("little", {
        "network": {"architecture": "little", "weights": "file:w.safetensors"},
        "training": {"epochs": 1, "batch_size": 512},
        "data": {"dataset": "digits", "limit": 600},
    })
"""


def test_runs_start_from_a_file_and_are_its_content_s(zoo: Zoo, plugin: Callable[[str, str], str]) -> None:
    file = plugin("little.py", STARTED)

    def run(*arguments: str) -> str:
        result = zoo("--plugin", file, *arguments)
        assert result.exit_code == 0, result.output
        return result.output

    def write(value: float) -> None:
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(108, 4)
        )
        save_file({name: torch.full_like(t, value) for name, t in network.state_dict().items()}, "w.safetensors")

    said = "2 tensors; not loaded, for another number of classes: 3.weight, 3.bias"
    write(0.25)
    shown = " ".join(run("show", "little").split())
    assert "starts from file:w.safetensors (SHA-256 " in shown
    assert said in shown
    assert said in json.loads(run("show", "little", "--json"))["starting_weights"]
    in_processes = ("--seeds", "2", "--jobs", "2", "--device", "cpu", "--keep-state")
    trained = run("benchmark", "little", *in_processes)
    assert "little starts from file:w.safetensors" in trained
    with Ledger(Path("zoo.sqlite"), create=False) as ledger:
        first = ledger.runs()
    assert all(said in run.provenance["starting_weights"] for run in first)
    write(0.5)
    run("benchmark", "little", *TINY)
    with Ledger(Path("zoo.sqlite"), create=False) as ledger:
        (second,) = {run.key.spec for run in ledger.runs()} - {run.key.spec for run in first}
    edited = zoo("--plugin", file, "export", "little", "--identity", first[0].key.spec[:9], "-o", "edited")
    assert "w.safetensors is not the file that the spec was read with" in edited.stderr
    run("export", "little", "--identity", second[:9], "-o", "exported")
    assert said in Path("exported/README.md").read_text().replace("\\", "")
    Path("w.safetensors").unlink()
    registry = Registry(files=[Path(file)])
    network = load_exported(Path("exported"), registry=registry)
    assert not torch.equal(network.network[0].weight, torch.full((3, 1, 3, 3), 0.5))
    refused = zoo("--plugin", file, "benchmark", "little", *TINY)
    assert refused.exit_code == 2
    assert "little: network.weights: file:w.safetensors: there is no file w.safetensors" in refused.stderr
