"""From specs and seeds to ended runs: what is planned, what is trained, and what is trained no more."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

import attrs
import pytest
import torch
from small_runs import DRAWING, PLUGIN, executor, figures, small

from zoo.benchmark import Plan, carry_out, make_plan, planned, tell, within_budget
from zoo.benchmark.plan import longest_first
from zoo.errors import BuildError, DataError
from zoo.execution.events import Ended, Lost
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.spec import unstructure
from zoo.train.execute import dataset
from zoo.train.run import Run, RunKey

DRAWS = DRAWING | {"training.shuffle": True}
TOO_LARGE = {"network.features.0.filter": {"name": "conv", "size": 9, "padding": "valid"}}


@pytest.fixture(scope="module")
def registry():
    return Registry(files=[PLUGIN]).require_sound()


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "zoo.sqlite") as ledger:
        yield ledger


@pytest.fixture
def plan(registry, ledger):
    def plan(specs, seeds=(0,), *, registry=registry, ledger=ledger, jobs=1):
        return make_plan(specs, list(seeds), registry=registry, device="cpu", ledger=ledger, jobs=jobs)

    return plan


@pytest.fixture
def benchmark(registry, ledger, plan):
    """Plan and carry out; return what came of it. `benchmark.said` and `.events` hold what was told on the way."""

    def benchmark(specs, seeds=(0,), *, registry=registry, ledger=ledger, jobs=1, watch=lambda event: None):
        benchmark.said, benchmark.events = [], []

        def watch_all(event):
            benchmark.events.append(event)
            watch(event)

        made = plan(specs, seeds, registry=registry, ledger=ledger, jobs=jobs)
        return carry_out(
            made,
            registry=registry,
            devices=["cpu"],
            ledger=ledger,
            executor=executor("here" if jobs == 1 else "processes", registry),
            watch=watch_all,
            say=benchmark.said.append,
        )

    return benchmark


def activation(name, **options):
    return {"network.features.0.activation": {"name": name, **options}}


def results(runs):
    """Return all of the runs but times and provenance."""
    return [(run.name, run.key, run.status, run.parameters, run.flops, figures(run.epochs)) for run in runs]


# Planning


def test_all_specs_are_planned_with_the_first_seed_before_any_with_the_second(registry, plan):
    specs = [small(registry, "one"), small(registry, "two", DRAWS)]
    made = plan(specs, [0, 3])
    assert [(run.name, run.key.seed) for run in made.runs] == [("one", 0), ("two", 0), ("one", 3), ("two", 3)]
    assert made.missing == made.runs
    assert {run.key.spec for run in made.runs} == {spec.identity for spec in specs}
    assert [run.spec for run in made.runs[:2]] == [unstructure(spec) for spec in specs]
    assert {run.key.precision for run in made.runs} == {"fp32"}
    assert (made.waiting, made.unfit, made.jobs) == ({}, {}, 1)


def test_what_the_ledger_holds_is_not_missing(registry, plan, benchmark):
    one, two = small(registry, "one"), small(registry, "two", DRAWS)
    benchmark([one], [0, 1])
    made = plan([one, two], [0, 1, 2])
    assert len(made.runs) == 6
    assert [(run.name, run.key.seed) for run in made.missing] == [("two", 0), ("two", 1), ("one", 2), ("two", 2)]
    assert made.costs.keys() == {run.key for run in made.missing}
    assert plan([one], [0, 1]).missing == ()


def test_nothing_is_estimated_where_nothing_is_missing(registry, plan, benchmark, monkeypatch):
    benchmark([small(registry)])
    monkeypatch.setattr("zoo.benchmark.probing.seconds", None)
    made = plan([small(registry)])
    assert (made.estimate, made.costs) == (0.0, {})


def test_a_spec_under_two_names_is_trained_once(registry, benchmark):
    runs = benchmark([small(registry, "one"), small(registry, "other")])
    assert [run.name for run in runs] == ["one", "other"]
    assert [run.spec["name"] for run in runs] == ["one", "other"]
    assert sum(isinstance(event, Ended) for event in benchmark.events) == 1


def test_one_network_on_two_data_sets_is_estimated_on_each(registry, plan):
    here, there = (small(registry, sets={"data.dataset": name}) for name in ("squares", "digits"))
    assert here.identity == there.identity
    made = plan([here, there])
    squares, digits = (made.costs[run.key] for run in made.runs)
    assert digits > 5 * squares, "digits has 50 times the images"


def test_specs_wait_for_data_that_is_not_at_hand(registry, plan):
    sets = {"data.dataset": "absent"}
    made = plan([small(registry, "a", sets), small(registry, "b"), small(registry, "c", sets | DRAWS)])
    assert made.waiting == {"absent": ("a", "c")}
    assert [run.name for run in made.runs] == ["b"]
    with pytest.raises(DataError, match=r"^absent is not at hand: nobody has them$"):
        plan([small(registry, "a", sets)])


def test_specs_that_do_not_fit_their_data_are_left_out(registry, plan):
    made = plan([small(registry, "large", TOO_LARGE), small(registry, "fits")])
    assert [run.name for run in made.runs] == ["fits"]
    message = "large: network.features[0].filter: conv(size=9) does not fit its input of 1x6x6"
    assert made.unfit["large"].startswith(message)
    with pytest.raises(BuildError) as caught:
        plan([small(registry, "large", TOO_LARGE), small(registry, "larger", TOO_LARGE)])
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["large", "larger"]


def test_a_batch_of_a_single_image_is_found_before_training(registry, plan):
    sets = {"network.classifier.0.normalization": "batch", "training.batch_size": 13}
    with pytest.raises(BuildError, match=r"^small: a layer cannot be trained on a batch of a single image, and 27 "):
        plan([small(registry, sets=sets)])
    assert plan([small(registry, sets=sets | {"training.batch_size": 14})]).missing


def test_what_an_option_refuses_is_found_before_training(registry, plan):
    sets = {"training.augmentation": [{"name": "translate", "pixels": 6}]}
    made = plan([small(registry, "far", sets), small(registry)])
    assert made.unfit["far"].startswith("far: training.augmentation[0]: translate(pixels=6): pixels must be less")


def test_notes(registry, plan):
    assert plan([small(registry)]).notes == ("squares: one was upside down",)
    by_class = {"data.dataset": "sorted_squares"}
    assert plan(
        [small(registry, "s", by_class), small(registry, "t", by_class | {"training.shuffle": True})]
    ).notes == (
        "sorted_squares: one was upside down",
        "s: the images of sorted_squares are sorted by class, and training.shuffle is false: the network sees one "
        "class at a time, so recall is far too low and comparisons are worthless; "
        "`sets={'training.shuffle': True}` mends it",
    )


def test_a_plugin_whose_source_cannot_be_read_costs_only_its_specs(install, ledger):
    layer = (
        "from zoo import hookimpl\n"
        "@hookimpl\n"
        "def zoo_register_activations(register):\n    register('odd', odd)\n"
        "def odd():\n    from oddities import _hidden\n"
    )
    folder = install(
        "odd", {"oddities/__init__.py": "", "oddities/layer.py": layer, "oddities/_hidden.py": "def (\n"}, "oddities"
    )
    registry = Registry(files=[PLUGIN])
    odd = small(registry, "odd", activation("odd"))
    made = make_plan([odd, small(registry)], [0], registry=registry, device="cpu", ledger=ledger)
    assert [run.name for run in made.runs] == ["small"]
    assert made.unfit["odd"].startswith(f"odd: {folder / 'oddities/_hidden.py'} is not valid Python: line 1: ")


def test_planning_leaves_torchs_generator_as_it_was_and_uses_one_thread(registry, plan):
    state = torch.get_rng_state()
    torch.set_num_threads(2)
    plan([small(registry, sets=DRAWS)])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 1


def test_an_estimate_is_of_the_right_size(registry, plan):
    """On a loaded machine nobody knows how long anything takes; but longer runs must be estimated longer."""
    short, long = small(registry, "short"), small(registry, "long", {"training.epochs": 2000})
    made = plan([short, long], [0, 1])
    cost = {run.name: made.costs[run.key] for run in made.missing}
    assert 0 < cost["short"] < cost["long"] / 20
    assert made.estimate == pytest.approx(2 * (cost["short"] + cost["long"]))


# Budgets


def made_plan(costs, *, seeds=1, jobs=1):
    """Plan runs that take so many seconds; one spec for each cost."""
    runs = [
        Run(RunKey(str(index), seed, "", "", ""), str(index), {}, "squares")
        for seed in range(seeds)
        for index in range(len(costs))
    ]
    return Plan(tuple(runs), tuple(runs), {}, {}, (), {run.key: costs[int(run.key.spec)] for run in runs}, jobs)


@pytest.mark.parametrize(
    ("costs", "jobs", "estimate"), [([], 2, 0), ([4, 2], 1, 6), ([4, 2], 2, 4), ([3, 2, 2], 2, 3.5)]
)
def test_an_estimate_is_shared_among_the_jobs_but_no_run_is_cut(costs, jobs, estimate):
    assert made_plan(costs, jobs=jobs).estimate == estimate


@pytest.mark.parametrize(
    ("costs", "jobs", "budget", "seeds", "epochs"),
    [
        ([6, 4], 1, 40, 4, 100),
        ([6, 4], 1, 39, 3, 100),
        ([6, 4], 1, 10, 1, 100),
        ([6, 4], 1, 5, 1, 50),
        ([6, 4], 2, 10, 2, 100),
        ([8, 1], 8, 4, 1, 50),  # the time of one run cannot be shared
        ([6, 4], 1, 0.001, 1, 1),
    ],
)
def test_a_budget_cuts_seeds_then_epochs(registry, costs, jobs, budget, seeds, epochs):
    specs = [small(registry, name, {"training.epochs": 100}) for name in ("one", "two")]
    kept, kept_seeds = within_budget(
        specs, [0, 1, 2, 3], made_plan(costs, seeds=4, jobs=jobs), budget, registry=registry
    )
    assert kept_seeds == list(range(seeds))
    assert [spec.training.epochs for spec in kept] == [epochs] * 2
    assert [spec.name for spec in kept] == ["one", "two"]


def test_a_budget_pays_only_for_what_is_missing(registry):
    plan = made_plan([6, 4], seeds=4)
    plan = attrs.evolve(plan, missing=tuple(run for run in plan.runs if run.key.seed > 1))
    specs = [small(registry)]
    assert within_budget(specs, [0, 1, 2, 3], plan, 10, registry=registry) == (specs, [0, 1, 2])
    assert within_budget(specs, [0, 1, 2, 3], plan, 9, registry=registry) == (specs, [0, 1])


# Training


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_command_gives_the_same_numbers_and_trains_nothing_twice(registry, benchmark, tmp_path, jobs):
    specs = [small(registry, "one"), small(registry, "two", DRAWS)]
    first = benchmark(specs, [0, 1], jobs=jobs)
    assert [run.status for run in first] == ["finished"] * 4
    assert [len(run.epochs) for run in first] == [2] * 4
    assert benchmark(specs, [0, 1], jobs=jobs) == first
    assert benchmark.events == []
    with Ledger(tmp_path / "other.sqlite") as other:
        again = benchmark(specs[::-1], [1, 0], ledger=other, jobs=3 - jobs)
    key = attrs.astuple
    assert sorted(results(again), key=lambda r: key(r[1])) == sorted(results(first), key=lambda r: key(r[1]))


def test_a_diverged_run_is_a_result(registry, benchmark):
    spec = small(registry, sets=activation("explodes", step=8))
    (run,) = benchmark([spec])
    assert (run.status, run.reason) == ("diverged", "diverged at epoch 2: the training loss is nan")
    assert [epoch.epoch for epoch in run.epochs] == [1]
    assert benchmark([spec]) == [run]
    assert benchmark.events == []


def test_failing_runs_do_not_stop_the_others_and_are_tried_again(registry, benchmark):
    layers = ["raises", "raises_in_backward", "exits", "gives_up", "shrinks"]
    specs = [small(registry, name, activation(name)) for name in layers]
    specs.insert(2, small(registry, "sound"))
    for _ in range(2):
        runs = benchmark(specs)
        assert [run.name for run in runs] == [spec.name for spec in specs], "in the order asked for"
        assert [run.status for run in runs] == ["failed"] * 2 + ["finished"] + ["failed"] * 3
        assert all(f"plugin misbehaving_plugin (single file, {PLUGIN}) raised" in run.reason for run in runs[:2])
    assert sorted(event.run.name for event in benchmark.events if isinstance(event, Ended)) == sorted(layers)


def test_a_run_whose_worker_is_killed_ends_like_the_others(registry, benchmark, ledger, tmp_path):
    counters = [tmp_path / "once", tmp_path / "always"]
    for counter in counters:
        counter.touch()
    specs = [small(registry, "plain", DRAWS)] + [
        small(registry, counter.name, activation("kills", counter=str(counter), times=times, step=7) | DRAWS)
        for counter, times in zip(counters, (1, 2), strict=True)
    ]
    plain, once, always = benchmark(specs, jobs=2)
    assert Counter(event.run.name for event in benchmark.events if isinstance(event, Lost)) == {"once": 1, "always": 1}
    assert plain.status == once.status == "finished"
    assert [epoch.epoch for epoch in once.epochs] == [1, 2]
    assert (always.status, always.reason) == (
        "failed",
        "its worker process was killed by SIGKILL (out of memory?), twice",
    )
    assert {run.name: run.status for run in ledger.runs()} == {
        "plain": "finished",
        "once": "finished",
        "always": "failed",
    }
    (mended,) = benchmark(specs[2:], jobs=2)
    assert mended.status == "finished", "a failed run is tried again by the next command"


def test_what_a_plugin_raises_like_ctrl_c_costs_its_run_only_in_a_worker(registry, benchmark, capfd):
    specs = [small(registry, "interrupting", activation("interrupts")), small(registry)]
    interrupting, plain = benchmark(specs, jobs=2)
    assert (interrupting.status, plain.status) == ("failed", "finished")
    assert "raised KeyboardInterrupt" in interrupting.reason.splitlines()[0]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="looks for processes")
def test_what_interrupts_the_parent_ends_the_workers(registry, benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.benchmark.probing.LONGEST", 5.0)  # seconds; it hangs while it is tried out, too
    folder = tmp_path / "pids"
    folder.mkdir()
    specs = [small(registry, "hanging", activation("hangs", folder=str(folder))), small(registry, "plain")]

    def interrupt(event):
        if isinstance(event, Ended):  # the plain run; the other hangs, or will
            deadline = time.monotonic() + 120
            while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark(specs, jobs=2, watch=interrupt)
    tried, trained = folder.iterdir()
    for hanging in (tried, trained):
        with pytest.raises(ProcessLookupError):
            os.kill(int(hanging.name), 0)


def test_planned_gives_what_is_over_in_the_order_asked_for(registry, plan, benchmark, ledger):
    one, two, three = (small(registry, name, {"training.epochs": n}) for n, name in enumerate(("a", "b", "c"), 1))
    benchmark([two])
    runs = plan([one, two, three]).runs
    assert [run.name for run in planned(runs, ledger, {})] == ["b"]
    failed = attrs.evolve(runs[0], status="failed", reason="why")
    held = attrs.evolve(runs[1], status="failed")
    over = planned(runs, ledger, {runs[0].key: failed, runs[1].key: held})
    assert [(run.name, run.status) for run in over] == [("a", "failed"), ("b", "finished")]


# Plugins that watch

WATCHER = """
import sys
from zoo import hookimpl

told = []

@hookimpl
def zoo_run_started(run):
    told.append(("started", run.key.seed))

@hookimpl
def zoo_epoch_finished(run, epoch):
    told.append(("epoch", run.key.seed, epoch.epoch))
    raise ValueError(f"epoch {epoch.epoch} of seed {run.key.seed}")

@hookimpl
def zoo_run_finished(run):
    told.append((run.status, run.key.seed))
    sys.exit("enough")

@hookimpl
def zoo_report_sections(runs):
    return [f"{len(runs)} runs"]
"""
SECOND = """
from zoo import hookimpl

@hookimpl
def zoo_report_sections():
    return ["more"]

@hookimpl
def zoo_run_finished(run):
    raise RuntimeError("no")
"""


@pytest.fixture
def watched(tmp_path):
    for name, text in (("watcher", WATCHER), ("second", SECOND)):
        (tmp_path / f"{name}.py").write_text(text)
    files = [PLUGIN, tmp_path / "watcher.py", tmp_path / "second.py"]
    return Registry(files=files).require_sound()


@pytest.mark.parametrize("jobs", [1, 2])
def test_plugins_are_told_what_happens_and_their_errors_are_reported_once_for_each_hook(watched, benchmark, jobs):
    runs = benchmark([small(watched)], [0, 1], registry=watched, jobs=jobs)
    assert [run.status for run in runs] == ["finished"] * 2
    told = sys.modules["zoo_single_file_watcher"].told
    for seed in (0, 1):
        assert [happened for happened in told if happened[1] == seed] == [
            ("started", seed), ("epoch", seed, 1), ("epoch", seed, 2), ("finished", seed)
        ]  # fmt: skip
    assert len(benchmark.said) == 3
    line = "plugin watcher: its hook zoo_epoch_finished for small raised ValueError: epoch 1 of seed "
    assert sum(said.startswith(line) and said.endswith("; going on") for said in benchmark.said) == 1
    assert "plugin watcher: its hook zoo_run_finished for small raised SystemExit: enough; going on" in benchmark.said
    assert "plugin second: its hook zoo_run_finished for small raised RuntimeError: no; going on" in benchmark.said


def test_tell_returns_what_the_plugins_return(watched):
    said = []
    assert sorted(tell(watched, "zoo_report_sections", said.append, runs=[1, 2])) == [["2 runs"], ["more"]]
    assert said == []


def test_every_single_report_is_made_without_a_memory(watched):
    said = []
    for _ in range(2):
        assert tell(watched, "zoo_run_finished", said.append, run=Run(RunKey("", 0, "", "", ""), "", {}, "")) == []
    assert len(said) == 4


def test_interrupting_a_hook_is_not_an_error_of_the_plugin(tmp_path):
    (tmp_path / "interrupting.py").write_text(
        "from zoo import hookimpl\n@hookimpl\ndef zoo_run_started(run):\n    raise KeyboardInterrupt\n"
    )
    registry = Registry(files=[tmp_path / "interrupting.py"])
    with pytest.raises(KeyboardInterrupt):
        tell(registry, "zoo_run_started", print, run=None)


RAISING = """
import torch
from zoo import hookimpl

class Odd(BaseException):
    pass

class LikeCtrlC(KeyboardInterrupt):
    pass

class Raising(torch.nn.Module):
    def forward(self, x):
        if self.training:
            raise {raised}("enough")
        return x

@hookimpl
def zoo_register_activations(register):
    register("raising", lambda: Raising())

@hookimpl
def zoo_run_finished(run):
    raise {raised}("of a hook")
"""


@pytest.mark.parametrize("raised", ["Odd", "LikeCtrlC", "SystemExit"])
def test_whatever_a_plugin_raises_costs_only_itself(raised, tmp_path, benchmark):
    text = RAISING.format(raised=raised)
    (tmp_path / "raising.py").write_text(text)
    (tmp_path / "refusing.py").write_text(f"{text}\nraise {raised}('at once')\n")
    registry = Registry(files=[PLUGIN, tmp_path / "raising.py"]).require_sound()
    runs = benchmark([small(registry, "raising", activation("raising")), small(registry)], registry=registry)
    assert [run.status for run in runs] == ["failed", "finished"]
    assert f"raised {raised}: enough" in runs[0].reason
    (said,) = benchmark.said
    assert said.startswith("plugin raising: its hook zoo_run_finished for ")
    assert said.endswith(f" raised {raised}: of a hook; going on")
    (failure,) = Registry(files=[tmp_path / "refusing.py"]).failures
    assert failure.reason == f"{raised}: at once"


WILD = """
import torch
from zoo import hookimpl

def change(*, replacing=True):
    if replacing:
        torch.relu = lambda x: x
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_grad_enabled(False)
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")
    torch.backends.mkldnn.set_flags(False)
    torch.set_autocast_enabled("cpu", True)
    torch.backends.cuda.enable_flash_sdp(False)
    torch.set_flush_denormal(True)
    torch.autograd.set_detect_anomaly(True)
    torch.nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output * 2)

class Wild(torch.nn.Module):
    def forward(self, x):
        if self.training:
            {training}
        return x

def wild():
    {building}
    return Wild()

@hookimpl
def zoo_register_activations(register):
    register("wild", wild)
    {registering}

@hookimpl
def zoo_epoch_finished(run):
    {told}
"""


CHANGED = (
    "changed what holds for all of torch: the default dtype from float32 to float64; the default device from cpu to "
    "meta; deterministic algorithms from (False, False) to (True, True); gradients from True to False; autocast on the "
    "CPU from False to True; oneDNN from True to False; the precision of matrix products from highest to medium; flash "
    "attention from True to False; the flushing of tiny numbers to 0 from False to True; the detection of anomalies "
    "from False to True; the hooks of all modules and optimizers from 0 to 1; the functions that it computes by from "
    "torch's own to torch.relu; the number of threads from 1 to 2"
)


@pytest.mark.parametrize("when", ["registering", "building", "training", "told"])
def test_what_a_plugin_changes_in_torch_is_nobody_else_s(when, tmp_path, registry, benchmark, ledger):
    moments = dict.fromkeys(("registering", "building", "training", "told"), "pass")
    file = tmp_path / "wild.py"
    file.write_text(WILD.format(**{**moments, when: f"change(replacing={when != 'registering'})"}))
    relu = torch.relu
    try:
        with_wild = Registry(files=[PLUGIN, file]).require_sound()
        specs = [small(with_wild, "wild", activation("wild")), small(with_wild, "beside", DRAWS)]
        runs = benchmark(specs, registry=with_wild)
        assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_device() == torch.device("cpu")
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.is_grad_enabled()
        assert torch.get_num_threads() == 1
        assert torch.get_float32_matmul_precision() == "highest"
        assert torch.backends.mkldnn.enabled
        assert not torch.is_autocast_enabled("cpu")
        assert torch.backends.cuda.flash_sdp_enabled()
        assert torch.tensor(2.0**-149) * 1 != 0
        assert not torch.is_anomaly_enabled()
        assert not torch.nn.modules.module._global_forward_hooks
        assert torch.relu is relu
    finally:
        torch.relu = relu
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.use_deterministic_algorithms(False)
        torch.set_grad_enabled(True)
        torch.set_float32_matmul_precision("highest")
        torch.backends.mkldnn.set_flags(True)
        torch.set_autocast_enabled("cpu", False)
        torch.backends.cuda.enable_flash_sdp(True)
        torch.set_flush_denormal(False)
        torch.set_anomaly_enabled(False)
        torch.nn.modules.module._global_forward_hooks.clear()
    (changing,) = [run for run in runs if run.name == "wild"]
    assert (changing.status == "failed") == (when in ("building", "training"))
    if changing.status == "failed":
        place = "wild: network.features[0].activation: wild: " if when == "building" else "wild: "
        assert changing.reason.startswith(f"{place}plugin wild (single file, {file}) {CHANGED}. Figures")
        assert not changing.epochs
    raised = "plugin wild: its hook zoo_epoch_finished for wild raised PluginError"
    assert benchmark.said == ([f"{raised}: it {CHANGED}; that is put back; going on"] if when == "told" else [])
    with Ledger(tmp_path / "other.sqlite") as other:
        (alone,) = benchmark([small(registry, "beside", DRAWS)], ledger=other)
    (beside,) = [run for run in runs if run.name == "beside"]
    assert beside.status == "finished"
    assert figures(beside.epochs) == figures(alone.epochs)


def test_the_longest_run_of_a_seed_is_begun_first(registry, plan):
    made = plan([small(registry), small(registry, "long", {"training.epochs": 40})], [0, 1], jobs=2)
    costs = {run.key: 10.0 if run.name == "long" else 1.0 for run in made.missing}
    order = [(run.name, run.key.seed) for run in longest_first(made.missing, costs)]
    assert order == [("long", 0), ("small", 0), ("long", 1), ("small", 1)]


def test_a_last_batch_of_one_image_is_noted(registry, plan):
    images = len(dataset(small(registry), registry, "cpu").train)
    one_left = plan([small(registry, sets={"training.batch_size": images - 1})])
    assert any("the last batch of an epoch is a single image" in note for note in one_left.notes)
    none_left = plan([small(registry, sets={"training.batch_size": images})])
    assert not any("single image" in note for note in none_left.notes)


def test_runs_say_how_many_shared_the_machine(registry, benchmark):
    (alone,) = benchmark([small(registry)])
    assert alone.provenance["runs_at_once"] == "1"
    shared = benchmark([small(registry)], [1, 2], jobs=2)
    assert [run.provenance["runs_at_once"] for run in shared] == ["2", "2"]
