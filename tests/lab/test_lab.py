"""The lab: what the command line does, from Python, with the same figures and the same ledger."""

from __future__ import annotations

import inspect
import os
import re

import attrs
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from small_runs import DRAWING, PLUGIN, TREE, small

import zoo
from zoo.benchmark.probing import seconds
from zoo.errors import BuildError, SpecError, Stopped, UnknownNameError, ZooError
from zoo.ledger.keep import entries
from zoo.registry import Registry

mpl.use("agg")

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SPECS = (small(REGISTRY, "plain"), small(REGISTRY, "drawing", DRAWING))
VARIED = {"activation": ["relu", "tanh"]}


@pytest.fixture
def lab(tmp_path):
    said = []
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, device="cpu", registry=REGISTRY, say=said.append)
    lab.said = said
    return lab


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    lab = zoo.Lab(tmp_path_factory.mktemp("lab") / "zoo.sqlite", jobs=1, registry=REGISTRY, say=lambda line: None)
    return lab.benchmark(SPECS[0], seeds=2, vary=VARIED)


def figures(frame: pd.DataFrame) -> pd.DataFrame:
    # In which order runs begin is the executor's affair, and their numbers follow it.
    return frame.drop(columns=[name for name in frame if name.startswith(("seconds", "started", "run"))])


# Planning


def test_what_stands_for_a_spec(lab, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('base = "starter/default"\nset = {"activation" = "mish"}\n')
    tree = {"base": "starter/4c", "set": {"training.epochs": 2}}
    plan = lab.plan("starter/4[cd]", file, str(file), tree, SPECS[0], seeds=1)
    assert [run.name for run in plan.runs] == ["starter/4c", "starter/4d", "mine", "(unnamed)", "plain"]


def test_a_plan_makes_no_ledger(lab):
    assert len(lab.plan(SPECS[0], seeds=1).missing) == 1
    assert not lab.path.exists()


def test_epochs_data_sets_and_variations(lab):
    plan = lab.plan(SPECS[0], seeds=[3, 5], epochs=1, sets={"training.batch_size": 9}, vary=VARIED)
    assert [(run.name, run.key.seed) for run in plan.runs] == [
        ("plain[training.batch_size=9, activation=relu]", 3), ("plain[training.batch_size=9, activation=tanh]", 3),
        ("plain[training.batch_size=9, activation=relu]", 5), ("plain[training.batch_size=9, activation=tanh]", 5),
    ]  # fmt: skip
    assert {run.spec["training"]["epochs"] for run in plan.runs} == {1}
    assert plan.families == (tuple(run.name for run in plan.runs[:2]),)
    (on_digits,) = lab.plan(SPECS[0], seeds=1, data="digits").runs
    assert (on_digits.name, on_digits.dataset) == ("plain", "digits")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, r"seeds: expected how many, from 1, or numbers from 0, got 0"),
        ({"seeds": [1, -1]}, r"seeds: expected how many, from 1, or numbers from 0, got \[1, -1\]"),
        ({"seeds": [True]}, r"seeds: expected how many, from 1, or numbers from 0, got \[True\]"),
        ({"seeds": 2.0}, "seeds: expected how many, from 1, or numbers from 0, got 2.0"),
        ({"seeds": 2**70}, f"^seeds: expected how many, up to 1000000, or a list of which, got {2**70}$"),
        ({"seeds": [1, 2**63]}, rf"^seeds: the largest is 2\*\*63 - 1, got {2**63}$"),
        ({"sets": {3: 5}}, r"^sets: expected a path in a spec, such as 'training\.epochs', got 3$"),
        ({"vary": {3: ["relu"]}}, r"^vary: expected a path in a spec, such as 'training\.epochs', got 3$"),
        (
            {"vary": {"activation": ["relu", torch.nn.Mish]}},
            r"^vary: activation: expected the name of a variant, a number, .* got <class 'torch\.nn\..*Mish'>$",
        ),
        ({"budget": -1}, "budget: expected a number of seconds above 0, or a text such as '30m' or '1h30m', got -1"),
        ({"budget": float("nan")}, "budget: expected a number of seconds above 0, .*, got nan"),
        ({"budget": "1x"}, "budget: expected a number of seconds above 0, .*, got '1x'"),
        ({"budget": "0s"}, "budget: expected a number of seconds above 0, .*, got '0s'"),
        ({"shard": "2/1"}, "^shard 2/1: there are shards 1/1 to 1/1$"),
        ({"shard": "half"}, r"shard: expected which and of how many, such as \(3, 16\) or '3/16', got 'half'"),
        ({"vary": {"activation": []}}, r"^vary: activation: expected a list of values, such as .*, got \[\]$"),
        ({"vary": {"activation": "relu"}}, r"^vary: activation: expected a list of values, such as .*, got 'relu'$"),
        ({"vary": "activation=relu"}, r"^vary: expected lists by path, such as .*, got 'activation=relu'$"),
        ({"sets": "activation=relu"}, r"^sets: expected values by path, such as .*, got 'activation=relu'$"),
        ({"epochs": 0}, "training.epochs: expected a positive number, got 0"),
        ({"epochs": "3"}, 'training.epochs: expected a positive number, got "3"'),
        ({"shard": 1}, r"shard: expected which and of how many, such as \(3, 16\) or '3/16', got 1"),
        ({"shard": (1.5, 2)}, r"shard: expected which and of how many, such as \(3, 16\) or '3/16', got \(1.5, 2\)"),
        ({"shard": (1, 2), "budget": 9.0}, "a shard and a budget do not go together"),
        ({"epochs": 2, "sets": {"training.epochs": 3}}, "training.epochs is set twice"),
        ({"sets": {"activation": "elu"}, "vary": VARIED}, "activation is both set and varied"),
        ({"shard": (3, 2)}, "shard 3/2: there are shards 1/2 to 2/2"),
        ({"sets": {"activation": "reluu"}}, "did you mean relu"),
        ({"data": "absent"}, "the data set absent is not at hand: nobody has them"),
    ],
)
def test_what_cannot_be_planned(lab, arguments, message):
    with pytest.raises(ZooError, match=message):
        lab.plan(SPECS[0], **arguments)


def test_specs_may_stand_in_a_list(lab):
    names = ["starter/4c", "starter/4d"]
    for plan in (lab.plan(names, seeds=1), lab.plan(tuple(names), seeds=1), lab.plan(*names, seeds=1)):
        assert [run.name for run in plan.runs] == names


@pytest.mark.parametrize("method", ["plan", "time", "show", "train", "dataset"])
def test_what_stands_for_no_spec(lab, method):
    with pytest.raises(ZooError, match=r"expected the name of a spec, .*a TOML file, a mapping or a spec, got 42$"):
        getattr(lab, method)(42)


@pytest.mark.parametrize("method", ["plan", "time", "results"])
def test_an_empty_list_does_not_stand_for_all(lab, method):
    lab.carry_out(lab.plan(SPECS[0], seeds=1))
    with pytest.raises(ZooError, match=r"^expected at least one spec, got an empty list; leave it out to mean all$"):
        getattr(lab, method)([])


def test_the_largest_seed_can_be_read_by_other_programs(lab):
    table = lab.benchmark(SPECS[0], seeds=[2**63 - 1], epochs=1)
    with lab.open_ledger(create=False) as ledger:
        (entry,) = entries(ledger)
    assert entry.columns["seed"] == table.runs()["seed"][0] == 2**63 - 1


def test_what_is_no_plan_is_not_carried_out(lab):
    with pytest.raises(ZooError, match=r"^plan: expected what `Lab\.plan` returns, got None$"):
        lab.carry_out(None)


def test_numbers_of_numpy_are_numbers(lab):
    three = np.int64(3)
    sets = {"training.batch_size": np.int32(9), "training.optimizer": {"name": "sgd", "learning_rate": np.float32(0.5)}}
    plan = lab.plan(SPECS[0], seeds=np.arange(2), epochs=three, sets=sets, vary={"activation": np.array(["relu"])})
    assert [run.key.seed for run in plan.runs] == [0, 1]
    assert {(run.spec["training"]["epochs"], run.spec["training"]["batch_size"]) for run in plan.runs} == {(3, 9)}
    assert plan.runs[0].spec["training"]["optimizer"]["learning_rate"] == 0.5
    assert len(lab.plan(SPECS[0], seeds=three).runs) == 3
    assert len(lab.plan(SPECS[0], seeds=2, shard=(np.int64(1), np.int64(2))).runs) == 1
    assert next(lab.train(SPECS[0], seed=np.int64(1))).loss == next(lab.train(SPECS[0], seed=1)).loss
    assert zoo.Lab(lab.path, jobs=np.int64(2), registry=REGISTRY).jobs == 2


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0"])
def test_what_is_no_seed(lab, seed):
    with pytest.raises(ZooError, match=rf"^seed: expected a number from 0, got {seed!r}$"):
        lab.train(SPECS[0], seed=seed)


def test_budgets_and_shards_as_on_the_command_line(lab):
    assert len(lab.plan(SPECS[0], seeds=2, budget="1h30m").runs) == 2
    assert lab.plan(SPECS[0], seeds=2, shard="1/2").runs == lab.plan(SPECS[0], seeds=2, shard=(1, 2)).runs


def test_one_plugin_needs_no_list(tmp_path):
    lab = zoo.Lab(tmp_path / "zoo.sqlite", plugins=str(PLUGIN))
    assert lab.registry.variant("activation", "raises").name == "raises"
    with pytest.raises(ZooError, match=r"^plugins: expected a name or a list of names, got 3$"):
        zoo.Lab(tmp_path / "zoo.sqlite", plugins=3)


def test_what_a_wildcard_names_may_be_broken_but_not_what_is_named(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(
        "import zoo\n@zoo.hookimpl\ndef zoo_register_specs(register):\n"
        "    register('mine/bad', {'base': 'starter/default', 'set': {'activation': 'nothing'}})\n"
        "    register('mine/good', {'base': 'starter/default', 'set': {'activation': 'mish'}})\n"
    )
    lab = zoo.Lab(tmp_path / "zoo.sqlite", jobs=1, plugins=[str(file)])
    plan = lab.plan("mine/*", seeds=1)
    assert [run.name for run in plan.runs] == ["mine/good"]
    assert plan.lines[0].startswith("Left out: mine/bad: ")
    with pytest.raises(UnknownNameError, match="no activation is called 'nothing'"):
        lab.plan("mine/bad")


def test_a_budget_cuts_and_says_so(lab):
    plan = lab.plan(SPECS[0], seeds=5, budget=1e-9)
    assert {run.key.seed for run in plan.runs} == {0}
    assert "Cut down to the budget: 1 seed, 1 epoch at most." in plan.lines


def test_shards_train_all_between_them(lab):
    plans = [lab.plan(*SPECS, seeds=3, shard=(number, 2)) for number in (1, 2)]
    assert sum(len(plan.runs) for plan in plans) == 6
    tables = [lab.carry_out(plan) for plan in plans]
    assert sorted(run.key.seed for table in tables for run in table.all) == [0, 0, 1, 1, 2, 2]
    assert lab.plan(*SPECS, seeds=3).missing == ()


def test_what_was_selected_stands_in_place_of_specs(lab):
    selection = lab.select(SPECS[0], vary=VARIED)
    assert [run.name for run in lab.plan(selection, seeds=1).runs] == [spec.name for spec in selection.specs]
    with pytest.raises(ZooError, match=r"^specs that `select` returned stand alone: "):
        lab.plan(selection, epochs=1)
    with pytest.raises(ZooError, match="the data set absent is not at hand"):
        lab.select(SPECS[0], data="absent")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lab: lab.benchmark("plain", seed=5), r"^Lab.benchmark has no argument 'seed'; did you mean seeds\?"),
        (lambda lab: lab.study("plain", budgte="3s"), r"^Lab.study has no argument 'budgte'; did you mean budget\?"),
        (lambda lab: lab.train("plain", x=1), r"no argument 'x'\. It takes spec, seed, epochs, data, sets\.$"),
        (
            lambda lab: zoo.Lab(plugin="mine.py"),
            r"^Lab has no argument 'plugin'; did you mean plugins\? It takes ledger,",
        ),
    ],
)
def test_a_misspelt_argument_is_told_with_the_one_that_is_meant(call, message, lab):
    with pytest.raises(UnknownNameError, match=message):
        call(lab)


def test_a_benchmark_has_the_signature_of_a_plan_and_says_so():
    planned, trained = inspect.signature(zoo.Lab.plan), inspect.signature(zoo.Lab.benchmark)
    assert trained.parameters == planned.parameters
    assert (planned.return_annotation, trained.return_annotation) == ("ShownPlan", "Table")
    for name in list(planned.parameters)[1:]:
        assert f"    {name}: " in zoo.Lab.benchmark.__doc__
    stated = inspect.signature(zoo.Lab.open_study).parameters
    assert stated.keys() - {"create"} == inspect.signature(zoo.Lab.study).parameters.keys() - {"budget"}


@pytest.mark.parametrize("call", ["lab.benchmark(se", "lab.plan('plain', se", "lab.study('x', max_se"])
def test_a_notebook_completes_names_of_arguments(call, lab):
    shell = InteractiveShell()
    shell.user_ns["lab"] = lab
    with provisionalcompleter():
        found = {completion.text for completion in shell.Completer.completions(call, len(call))}
    assert {"seeds=", "max_seeds="} & found


def test_a_run_of_two_names_is_counted_once(lab):
    plan = lab.plan(small(REGISTRY, "one"), small(REGISTRY, "other"), SPECS[1], seeds=2)
    assert [len(plan.runs), len(plan.missing), plan.stored] == [6, 4, 0]
    lab.benchmark(small(REGISTRY, "one"), seeds=1)
    plan = lab.plan(small(REGISTRY, "one"), small(REGISTRY, "other"), SPECS[1], seeds=2)
    assert [len(plan.runs), len(plan.missing), plan.stored] == [6, 3, 1]
    assert any(line.startswith("3 runs to train; 1 is in ") for line in plan.lines)


# Training


def test_a_benchmark_trains_what_is_missing_and_says_what_it_does(lab):
    first = lab.benchmark(SPECS[0], seeds=2)
    assert any(line.startswith("2 runs to train: about ") for line in lab.said)
    more = lab.benchmark(SPECS[0], seeds=3)
    assert any(line.startswith("1 run to train; 2 are in ") for line in lab.said)
    assert more.all[:2] == first.all
    pd.testing.assert_frame_equal(lab.results("plain").runs(), more.runs())


@pytest.mark.parametrize("executor", ["here", "processes", {"name": "streams"}])
def test_every_executor_gives_the_same_figures(executor, table, tmp_path):
    lab = zoo.Lab(tmp_path / "zoo.sqlite", executor=executor, jobs=None if executor == "here" else 2, registry=REGISTRY)
    again = lab.benchmark(SPECS[0], seeds=2, vary=VARIED)
    pd.testing.assert_frame_equal(figures(again.runs()), figures(table.runs()))
    pd.testing.assert_frame_equal(figures(again.epochs()), figures(table.epochs()))


def test_a_plan_names_the_device_unless_an_executor_of_others_finds_it(lab, tmp_path):
    plan = lab.plan(SPECS[0], seeds=1)
    assert plan.device
    assert plan.lines[-1].startswith("1 run to train: about ")
    assert plan.lines[-1].endswith(f", on {plan.device}.")
    (run,) = lab.carry_out(plan).all
    assert run.provenance["device_name"] == plan.device

    (tmp_path / "elsewhere.py").write_text(
        "import zoo\n\n\n"
        "@zoo.hookimpl\ndef zoo_register_executors(register):\n    register('elsewhere', elsewhere)\n\n\n"
        "def elsewhere(work):\n    'Trains on machines of its own.'\n    yield from ()\n"
    )
    registry = Registry(files=[PLUGIN, tmp_path / "elsewhere.py"]).require_sound()
    planned = zoo.Lab(tmp_path / "other.sqlite", device="cpu", executor="elsewhere", registry=registry).plan(SPECS[0])
    assert planned.device == ""
    found = "on the devices that the executor finds when it begins (the time is this machine's)."
    assert planned.lines[-1].endswith(found)


def test_the_executor_suits_the_runs(lab, tmp_path):
    plan = lab.plan(SPECS[0], seeds=2)
    assert lab.executor_for(plan).name == "here"
    both = attrs.evolve(plan, jobs=2)
    assert lab.executor_for(both).name == "processes"
    assert lab.executor_for(attrs.evolve(both, missing=plan.missing[:1])).name == "here"
    for devices, name in {("cuda:0",): "streams", ("cuda:0", "cuda:1"): "processes"}.items():
        on_gpus = zoo.Lab(tmp_path / "zoo.sqlite", registry=REGISTRY)
        on_gpus.__dict__["devices"] = devices
        assert on_gpus.executor_for(both).name == name
    asked = zoo.Lab(tmp_path / "zoo.sqlite", executor="streams", registry=REGISTRY)
    assert asked.executor_for(plan).name == "streams"
    assert asked.plan(SPECS[0], seeds=2).jobs is None, "the executor knows how many it has room for"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"executor": "hear"}, "hear.*did you mean here"),
        ({"executor": {"name": "here", "speed": 2}}, "executor: unknown option 'speed'|unknown option 'speed'"),
        (
            {"executor": "here", "jobs": 4},
            "^jobs=4: the executor here trains one run after another; leave it out, or take executor='processes'$",
        ),
        ({"jobs": 0}, "jobs: expected a number from 1, got 0"),
        ({"jobs": True}, "jobs: expected a number from 1, got True"),
        ({"device": "gpu"}, "^device='gpu': there is no such device"),
        ({"engine": "fast"}, "^engine='fast': there is no such engine; it is auto, sequential, captured, compiled"),
        ({"engine": "captured", "device": "cpu"}, "only NVIDIA GPUs record steps"),
        ({"plugins": ["nowhere.py"]}, r"nowhere\.py"),
        ({"registry": 3}, r"^registry: expected a zoo\.Registry, got 3$"),
        (
            {"registry": REGISTRY, "plugins": [PLUGIN]},
            "^a registry has its plugins loaded already: state either it, or plugins and block$",
        ),
        ({"ledger": 3}, "^ledger: expected the name of a file, got 3$"),
        ({"ledger": ""}, "^ledger: expected the name of a file, got ''$"),
        ({"keep_state": "yes"}, "^keep_state: expected True or False, got 'yes'$"),
        ({"say": 3}, "^say: expected a function that is given lines, such as print, got 3$"),
    ],
)
def test_what_a_lab_cannot_be_made_of(arguments, message, tmp_path):
    with pytest.raises(ZooError, match=message):
        zoo.Lab(**{"ledger": tmp_path / "zoo.sqlite", **arguments})


def test_an_interruption_keeps_what_ended_and_says_so(lab, monkeypatch):
    plan = lab.plan(*SPECS, seeds=2)
    ended = []

    def interrupt(self, event):
        if isinstance(event, zoo.Ended):
            ended.append(event)
        if len(ended) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("zoo.report.progress.Display.watch", interrupt)
    with pytest.raises(Stopped, match=r"^Stopped: 2 of 4 runs stored in .*zoo\.sqlite\.\nThe same command goes on"):
        lab.carry_out(plan)
    monkeypatch.undo()
    assert len(lab.plan(*SPECS, seeds=2).missing) == 2
    assert len(lab.benchmark(*SPECS, seeds=2).all) == 4


def test_a_notebook_shows_errors_in_a_line():
    assert Stopped("Stopped: all is kept.")._render_traceback_() == ["Stopped: all is kept."]
    assert SpecError("no such thing")._render_traceback_() == ["Error: no such thing"]
    assert issubclass(Stopped, KeyboardInterrupt)


def test_a_ledger_on_a_network_file_system_is_warned_of_once(lab, monkeypatch):
    monkeypatch.setattr("zoo.lab.lab.on_network_file_system", lambda path: "nfs4")
    lab.plan(SPECS[0], seeds=1)
    lab.plan(SPECS[0], seeds=1)
    (warning,) = [line for line in lab.said if "network file system (nfs4)" in line]
    assert "zoo ledger merge" in warning


# One run at a time


def test_training_yields_each_epoch_of_the_same_run_with_its_network(lab, table):
    epochs = list(lab.train(SPECS[0], seed=1))
    stored = table.epochs().query("spec == 'plain[activation=relu]' and seed == 1")
    assert [epoch.loss for epoch in epochs] == list(stored["loss"])
    assert [epoch.recall("test") for epoch in epochs] == list(stored["test_recall"])
    assert epochs[0].network is epochs[1].network
    assert epochs[1].optimizer.state
    assert not lab.path.exists(), "nothing is stored"
    with pytest.raises(ZooError, match=r"epoch 2 was not evaluated on 'validation'; it was on train, test"):
        epochs[1].recall("validation")


@pytest.mark.parametrize("text", ["abc", "-1", "nan"])
def test_a_wrong_time_between_checkpoints_is_said_before_any_run(text, lab, monkeypatch):
    monkeypatch.setenv("ZOO_CHECKPOINT_EVERY", text)
    with pytest.raises(ZooError, match=rf"^ZOO_CHECKPOINT_EVERY={text}: expected a number of seconds, 0 or more$"):
        lab.benchmark("starter/default", seeds=1, epochs=1)


def test_training_that_diverges_is_an_error_that_says_where(lab):
    spec = small(REGISTRY, "explosive", {"network.features.0.activation": {"name": "explodes", "step": 8}})
    with pytest.raises(ZooError, match=r"^explosive seed 0: diverged at epoch 2: the training loss is nan$"):
        list(lab.train(spec))


def test_looking_at_a_network_between_epochs_changes_no_figure(lab):
    spec = small(REGISTRY, "looked at", {"network.features.0.normalization": "batch", "evaluation.every": 0})
    undisturbed = [(epoch.loss, epoch.evaluations) for epoch in lab.train(spec)]
    looked_at = []
    for epoch in lab.train(spec):
        assert not epoch.network.training
        epoch.network(torch.rand(5, 1, 6, 6))
        torch.set_num_threads(2)
        torch.backends.cudnn.allow_tf32 = True
        looked_at.append((epoch.loss, epoch.evaluations))
    assert looked_at == undisturbed
    assert (torch.get_num_threads(), torch.backends.cudnn.allow_tf32) == (2, True), "an epoch leaves them as they were"


def test_precisions_that_there_are_not(tmp_path):
    with pytest.raises(
        ZooError, match=r"^precision='fp8': there is no such precision; it is fp32, tf32, bf16, fp16, half, auto$"
    ):
        zoo.Lab(tmp_path / "zoo.sqlite", precision="fp8")


def test_images_that_were_edited_are_read_anew(lab, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 6, 6), np.uint8)
    labels = np.arange(40) % 4
    file = tmp_path / "images.npz"

    def write(images):
        parts = {"train_images": images, "train_labels": labels, "test_images": images[:8], "test_labels": labels[:8]}
        np.savez(file, **parts)

    write(images)
    first = lab.benchmark(SPECS[0], seeds=1, data=f"npz:{file}")
    write(255 - images)
    os.utime(file, (1, 1))
    second = lab.benchmark(SPECS[0], seeds=1, data=f"npz:{file}")
    assert [run.status for run in (*first.all, *second.all)] == ["finished"] * 2
    assert first.all[0].key.dataset != second.all[0].key.dataset


def test_results_of_a_name_are_all_runs_of_its_spec(lab):
    lab.benchmark(small(REGISTRY, "a long name"), seeds=1)
    lab.benchmark(small(REGISTRY, "short"), seeds=2)
    for name in ("a long name", "short"):
        found = lab.results(name)
        assert sorted(found.runs()["seed"]) == [0, 1]
        assert set(found.runs()["spec"]) == {name}


# Tables


def test_the_frames_have_plain_columns_and_the_figures_of_the_runs(table):
    runs, epochs = table.runs(), table.epochs()
    assert list(runs)[:6] == ["run", "spec", "seed", "dataset", "status", "test_recall"]
    assert list(runs["seed"]) == [0, 0, 1, 1]
    last = epochs.groupby(["spec", "seed"], sort=False).last().reset_index()
    merged = runs.merge(last, on=["spec", "seed"], suffixes=("", "_of_epoch"))
    assert (merged["test_recall"] == merged["test_recall_of_epoch"]).all()
    assert (merged["loss"] == merged["loss_of_epoch"]).all()
    assert runs["epochs"].tolist() == [2, 2, 2, 2]
    assert list(table.frame()["spec"]) == ["plain[activation=relu]", "plain[activation=tanh]"]
    assert table.frame()["test_recall"][0] == pytest.approx(runs["test_recall"][[0, 2]].mean())


def test_verdicts_are_those_below_the_printed_table(table):
    frame = table.verdicts()
    assert list(frame["spec"]) == ["plain[activation=tanh]"]
    assert list(frame["against"]) == ["plain[activation=relu]"]
    recalls = table.runs().pivot_table(index="seed", columns="spec", values="test_recall")
    learned = recalls[(recalls > 1 / 3).all(axis="columns")]  # what is no better than chance is lost, and told as that
    difference = (learned["plain[activation=tanh]"] - learned["plain[activation=relu]"]).mean()
    assert frame["difference"][0] == pytest.approx(difference)
    assert str(table).endswith(table.verdict_lines()[-1])
    assert frame["verdict"][0] in table.verdict_lines()[1]


def test_a_table_for_which_nothing_was_varied_has_no_verdicts(lab, table):
    lab.benchmark(SPECS[0], seeds=1, epochs=1)
    with pytest.raises(
        ZooError, match=r"^there is nothing to judge here: verdicts are of what was varied for the table"
    ):
        lab.results().verdicts()
    assert lab.results().verdict_lines() == []


def test_two_names_of_one_network_are_marked_and_not_judged(lab):
    explicit = {"name": "leaky_relu", "slope": 0.01}
    table = lab.benchmark(SPECS[0], seeds=2, vary={"activation": ["leaky_relu", explicit, "tanh"]})
    first, same = "plain[activation=leaky_relu]", "plain[activation=leaky_relu(slope=0.01)]"
    assert list(table.frame()["same_as"].fillna("")) == ["", first, ""]
    lines = table.render().splitlines()
    assert any(line.startswith(f"{same} (same as {first})") for line in lines)
    assert lines[-1] == "same as: two names of one network and one training, whose runs are trained and counted once"
    assert len(set(table.runs()["run"])) == 4
    assert list(table.verdicts()["spec"]) == ["plain[activation=tanh]"]
    assert table.verdict_lines()[0] == (
        "Paired by seed, on these images and this split, difference in test recall [96% interval]:"
    )


def test_confusion_counts_every_image_of_the_part_once_for_each_seed(table):
    counts = table.confusion("plain[activation=relu]")
    assert counts.index.name == "true"
    assert list(counts) == list(counts.index) == list(zoo.Lab(registry=REGISTRY).dataset(SPECS[0]).classes)
    one = table.confusion("plain[activation=relu]", seed=1, part="train")
    assert one.to_numpy().sum() == 27
    variations = r"plain\[activation=relu\] or plain\[activation=tanh\]"
    with pytest.raises(UnknownNameError, match=rf"^there is no run of 'plain' here; did you mean {variations}\?$"):
        table.confusion("plain")
    with pytest.raises(UnknownNameError, match="has no run with seed 7"):
        table.confusion("plain[activation=relu]", seed=7)
    with pytest.raises(ZooError, match="no finished run was evaluated on the validation part"):
        table.confusion("plain[activation=relu]", part="validation")


def test_a_name_before_the_bracket_is_enough_where_one_spec_has_it(lab):
    table = lab.benchmark(SPECS[0], seeds=1, vary={"activation": ["tanh"]})
    pd.testing.assert_frame_equal(table.confusion("plain"), table.confusion("plain[activation=tanh]"))


def test_an_export_names_the_variations_that_were_trained(lab, tmp_path):
    lab.benchmark("starter/default", seeds=1, epochs=1, vary={"activation": ["tanh"]})
    meant = (
        r"there is no run of starter/default in .*; did you mean starter/default\[activation=tanh\]\? `zoo benchmark"
    )
    with pytest.raises(ZooError, match=meant):
        lab.export("starter/default", tmp_path / "network")


def test_runs_have_their_numbers_in_the_ledger(lab):
    table = lab.benchmark(SPECS[0], seeds=2)
    with lab.open_ledger() as ledger:
        numbers = {entry.key.seed: entry.id for entry in entries(ledger)}
    assert dict(zip(table.runs()["seed"], table.runs()["run"], strict=True)) == numbers
    assert list(table.epochs()["run"]) == [number for number in table.runs()["run"] for _ in range(2)]


def test_columns_are_found_by_their_earlier_names(table):
    for earlier, now in {"recall": "test_recall", "seconds": "seconds_training", "device": "device_name"}.items():
        with pytest.warns(DeprecationWarning, match=f"^the column '{earlier}' is now called '{now}'$"):
            found = table.runs().query("seed == 1")[earlier]
        pd.testing.assert_series_equal(found, table.runs().query("seed == 1")[now])
    with pytest.raises(KeyError):
        table.epochs()["device"]


def test_curves_of_a_part_that_there_is_not(table):
    with pytest.raises(ZooError, match=r"^part 'foo': no finished run was evaluated on it; they were on test, train$"):
        table.curves(part="foo")
    with pytest.raises(ZooError, match=r"^part 'validation': no finished run was evaluated on it"):
        table.curves(part="validation")


def test_curves_are_drawn_on_axes(table):
    with pytest.raises(
        ZooError, match=r"^ax: expected Axes of matplotlib, as `plt\.subplots\(\)` returns them, got 3$"
    ):
        table.curves(ax=3)


def test_a_format_needs_no_name(table):
    assert table.render("csv") == table.render(format_="csv")


def test_curves_are_drawn_for_each_spec(table):
    axes = table.curves()
    assert len(axes.lines) == 2
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 2]
    assert len(table.curves("plain[activation=tanh]").lines) == 1


def test_a_notebook_shows_the_table(table):
    assert "<table>" in table._repr_html_()
    assert "Paired by seed" in table._repr_html_()
    assert table._repr_markdown_().count("| plain[activation=") == 2
    assert repr(table) == str(table)


def test_names_are_escaped_in_a_notebook(lab):
    table = lab.benchmark(small(REGISTRY, "<script>alert(1)</script>"), seeds=1)
    assert "<script>" not in table._repr_html_()


STUDY = {"base": TREE, "changes": {"tanh": {"activation": "tanh"}}, "select": "test"}
SHORT = {
    "plan": (lambda lab: lab.plan(SPECS[0], seeds=2), r"Plan\(2 runs, 2 to train: about 1( to \d)? s\)"),
    "show": (lambda lab: lab.show(SPECS[0]), r"Network\(plain, \d+ parameters, [\d.]+k FLOPs\)"),
    "time": (lambda lab: lab.time(SPECS[0], rounds=40), r"Timings\(plain; 40 rounds\)"),
    "train": (
        lambda lab: next(lab.train(SPECS[0])),
        r"TrainedEpoch\(1: loss [\d.]+, test recall [\d.]+, [\d.]+ s\)",
    ),
    "dataset": (
        lambda lab: lab.dataset(SPECS[0]),
        r"Dataset\(squares: \d+ train, \d+ test images of 1x6x6, \d classes\)",
    ),
    "split": (lambda lab: lab.dataset(SPECS[0]).train, r"Split\(\d+ images of 1x6x6\)"),
    "load_study": (
        lambda lab: zoo.load_study(STUDY, registry=REGISTRY),
        r"OpenStudy\(definition=Study\(\(unnamed\): one-at-a-time over \(unnamed\); tanh\)\)",
    ),
}


@pytest.mark.parametrize("name", SHORT)
def test_what_is_returned_is_shown_in_a_line(name, lab):
    make, expected = SHORT[name]
    assert re.fullmatch(expected, repr(make(lab)))


@pytest.mark.parametrize("name", ["plan", "show", "time"])
def test_a_notebook_shows_plans_networks_and_times_as_tables(name, lab):
    shown = SHORT[name][0](lab)
    assert shown._repr_html_().count("<table>") == 1
    assert "plain" in shown._repr_html_()
    assert "|---" in shown._repr_markdown_()
    assert "plain" in str(shown)
    assert len(str(shown).splitlines()) > 2


def test_a_plan_that_is_shown_says_what_the_command_says(lab):
    plan = lab.plan(SPECS[0], seeds=2)
    assert str(plan).endswith("\n".join(plan.lines))
    assert "Note: squares: one was upside down." in plan._repr_html_()


# Studies, times, networks


def test_a_study_is_that_of_the_command(lab):
    study = {"base": TREE, "changes": {"tanh": {"activation": "tanh"}}, "select": "test"}
    findings = lab.study(study, seeds=2)
    assert list(findings.frame()["name"]) == ["tanh"]
    assert len(findings.runs()) == 4
    assert "<table>" in findings._repr_html_()
    with lab.open_study(study, seeds=2) as work:
        assert work.report().result.claims == findings.result.claims
        planned = work.plan()
        assert planned.plan.missing == ()
        assert re.fullmatch(r"StudyPlan\(2 combinations, 4 runs, 0 to train: about 0 s\)", repr(planned))
        assert str(planned).startswith(
            "(unnamed): one-at-a-time, 1 change of (unnamed), 2 combinations with 2 seeds: 4 "
        )
        assert planned._repr_html_().count("<p>") == planned._repr_markdown_().count("\n\n") + 1 == len(planned.lines)
        assert len(work.plan(3).plan.missing) == len(work.plan([2]).plan.missing) == 2
        assert work.plan(1).lines[-1] == "No claim is made from fewer than 3 seeds: take more."
        with pytest.raises(ZooError, match=r"^seeds: expected how many, from 1, or numbers from 0, got 'all'$"):
            work.plan("all")
        assert repr(work).startswith("StudyWork(Study((unnamed): one-at-a-time over (unnamed); tanh), 2 seeds, ")
    assert repr(findings.result) == "StudyResult((unnamed): 2 arms, 2 seeds)"
    assert findings.runs()["run"].notna().all()


def test_a_study_is_trained_in_shards_and_judged_when_all_are_there(lab):
    study = {"base": TREE, "changes": {"tanh": {"activation": "tanh"}}, "select": "test"}
    for number in (1, 2):
        with lab.open_study(study, seeds=2) as work:
            assert len(work.run_shard(number, 2)) == 2
    with lab.open_study(study, seeds=2, create=False) as work:
        findings = work.report()
        assert len(findings.runs()) == 4
        assert set(findings.runs()["seed"]) == {0, 1}
        assert len(findings.result.claims) == 1


def test_a_search_has_no_shards(lab):
    study = {"base": TREE, "changes": {"tanh": {"activation": "tanh"}}, "design": "stepwise", "select": "test"}
    with lab.open_study(study, seeds=2) as work, pytest.raises(SpecError, match="depends on what was found"):
        work.run_shard(1, 2)


def test_times_are_compared(lab):
    timings = lab.time(SPECS[0], rounds=40, vary=VARIED)
    assert [timing.spec for timing in timings.specs] == ["plain[activation=relu]", "plain[activation=tanh]"]


def test_a_network_is_shown_without_its_images():
    built = zoo.Lab(registry=REGISTRY).show("starter/default", sets={"activation": "mish"})
    assert any("mish" in layer.description for layer in built.layers)
    assert (built.input_shape, built.classes) == ((1, 8, 8), 10)
    with pytest.raises(BuildError):
        zoo.Lab(registry=REGISTRY).show(
            small(REGISTRY, sets={"network.features.0.filter": {"name": "conv", "size": 99}})
        )


def test_plugins_write_runs_elsewhere_and_add_to_tables(table, tmp_path):
    (tmp_path / "writing.py").write_text(
        "import zoo\n\n\n"
        "@zoo.hookimpl\ndef zoo_write_runs(runs, to, place):\n"
        "    return f'{len(runs)} runs in {place}' if to == 'own' else None\n\n\n"
        "@zoo.hookimpl\ndef zoo_report_sections(runs):\n    return [f'{len(runs)} runs']\n"
    )
    lab = zoo.Lab(tmp_path / "zoo.sqlite", plugins=[PLUGIN, tmp_path / "writing.py"], device="cpu")
    assert lab.write(table, "own:a folder") == ["4 runs in a folder"]
    assert lab.sections(table) == ["4 runs"]
    with pytest.raises(
        UnknownNameError, match=r"^to='nowhere:x': no plugin has written runs to 'nowhere'; the plugins"
    ):
        lab.write(table, "nowhere:x")


def test_a_spec_is_resolved_with_values_set(lab):
    spec = lab.resolve("starter/default", epochs=3, sets={"activation": "mish"})
    assert (spec.name, spec.training.epochs) == ("starter/default[activation=mish]", 3)
    assert lab.resolve(spec) == spec


def test_results_name_what_is_not_there(lab):
    with pytest.raises(ZooError, match="there is no ledger"):
        lab.results()
    lab.benchmark(SPECS[0], seeds=1)
    with pytest.raises(ZooError, match=r"there is no run of 'other' in .*sqlite; it holds runs of 1 spec$"):
        lab.results("other")
    with pytest.raises(ZooError, match=r"of 'plan' in .*sqlite; did you mean plain\? It holds runs of 1 spec$"):
        lab.results("plan")


def test_an_export_is_that_of_the_command(lab, tmp_path):
    lab.benchmark("starter/default", seeds=1, epochs=1)
    with pytest.raises(ZooError, match=r"^format_='onx': there is no such format; did you mean onnx\? They are saf"):
        lab.export("starter/default", tmp_path / "network", format_="onx")
    begun, epochs = [], []

    def begin(run):
        begun.append(run.key.seed)
        return lambda: epochs.append(1)

    exported = lab.export("starter/default", tmp_path / "network", begin=begin)
    assert (begun, epochs) == ([0], [1])
    assert exported.network.suffix == ".safetensors"
    assert zoo.load_exported(exported.network).classes


# Against one spec


def test_specs_given_by_name_are_judged_against_one(lab):
    others = [small(REGISTRY, "tanh", {"activation": "tanh"}), small(REGISTRY, "drawing", DRAWING)]
    table = lab.benchmark(*others, against=SPECS[0], seeds=3)
    assert list(table.frame()["spec"]) == ["plain", "tanh", "drawing"]
    assert list(table.verdicts()["spec"]) == ["tanh", "drawing"]
    assert set(table.verdicts()["against"]) == {"plain"}
    varied = lab.benchmark(SPECS[0], vary={"activation": ["relu", "tanh"]}, seeds=3)
    figures = ["difference", "low", "high", "p", "verdict"]
    alone = lab.benchmark(others[0], against=SPECS[0], seeds=3)
    assert len(alone.verdicts()) == 1
    assert alone.verdicts()[figures].equals(varied.verdicts()[figures]), "the verdict is that of --vary"


def test_the_reference_is_trained_once_where_it_is_named_too(lab):
    plan = lab.plan("starter/4c", "starter/default", against="starter/default", seeds=1)
    assert [run.name for run in plan.runs] == ["starter/default", "starter/4c"]
    assert plan.families == (("starter/default", "starter/4c"),)


@pytest.mark.parametrize(
    ("specs", "arguments", "message"),
    [
        (["starter/default"], {"against": "starter/default"}, "against: there is nothing to judge: starter/default is "
         "the only spec; name another one"),
        (["starter/4c"], {"against": "starter/4*"}, "against='starter/4*': it stands for 6 specs; name one"),
        (["starter/4c"], {"against": "starter/defualt"}, "no spec is called 'starter/defualt'; did you mean"),
        (["starter/4c"], {"against": 3}, "expected the name of a spec, a pattern, a TOML file, a mapping or a spec"),
        (["starter/4c"], {"against": "starter/default", "vary": VARIED}, "vary judges each value against the first "
         "already; against is for specs that are named: give one of the two"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_said(lab, specs, arguments, message):
    with pytest.raises(ZooError) as error:
        lab.plan(*specs, seeds=1, **arguments)
    assert str(error.value).startswith(message)


def test_two_specs_of_one_name_cannot_be_judged(lab, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text(f'base = "starter/4{folder if folder == "b" else "c"}"\n')
    with pytest.raises(SpecError) as error:
        lab.plan(tmp_path / "a/mine.toml", against=tmp_path / "b/mine.toml", seeds=1)
    assert str(error.value) == "against: 2 specs are called 'mine'; rename all but one of them"


def test_what_a_study_has_planned_is_tried_out_once(lab, monkeypatch):
    tried = []

    def counted(spec, keys, *others):
        tried.extend(keys)
        return seconds(spec, keys, *others)

    monkeypatch.setattr("zoo.benchmark.probing.seconds", counted)
    tree = {**TREE, "data": {"dataset": "squares", "validation": 0.25}}
    lab.study({"base": tree, "changes": {"tanh": {"activation": "tanh"}}}, seeds=2)
    assert {key.seed for key in tried} > {0, 1}, "the confirmation's seeds are new"
    assert len(tried) == len(set(tried))
