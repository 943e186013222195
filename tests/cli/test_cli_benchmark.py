from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from click.testing import Result
from small_runs import PLUGIN

from zoo import benchmark
from zoo.benchmark import Plan
from zoo.ledger import Ledger
from zoo.registry import Registry
from zoo.train import lost

Zoo = Callable[..., Result]

OLD = Path(__file__).parents[1] / "v0_1_0" / "ledger.sqlite"
TINY = ("--epochs", "1", "--seeds", "1", "--jobs", "1")


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    parsed: list[dict[str, Any]] = json.loads(result.stdout)
    return parsed


def runs_in(ledger: str = "zoo.sqlite") -> int:
    with Ledger(Path(ledger)) as opened:
        return len(opened.runs())


def test_a_benchmark_trains_and_prints_the_table(zoo: Zoo) -> None:
    result = zoo("benchmark", "starter/default", "--epochs", "1", "--seeds", "2", "--jobs", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith("digits, ")
    assert "fp32; 2 seeds (0, 1), 1 epoch\n" in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("starter/default")]
    assert line.split()[-3:] == ["107k", "849k", "2"]
    first, *progress = result.stderr.splitlines()
    assert first.startswith("2 runs to train: about ")
    assert [line.partition(": test recall 0.")[0] for line in progress] == [
        "[1/2] starter/default seed 0",
        "[2/2] starter/default seed 1",
    ]
    assert progress[0].endswith(" left")
    assert not progress[1].endswith(" left"), "nothing is left after the last run"


def test_a_spec_that_costs_the_device_is_named_and_nothing_is_begun(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "why_lost", lost.why_lost)  # to be put back
    result = zoo(
        *("--plugin", str(PLUGIN), "benchmark", "starter/default", "--vary", "activation=none,loses_the_device"),
        *(*TINY, "--ledger", "lost.sqlite"),
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: cpu does nothing more for this process since starter/default[activation=loses_the_device] was tried "
        "out there (RuntimeError: CUDA error: device-side assert triggered): leave it out, or mend it; with "
        "CUDA_LAUNCH_BLOCKING=1 in the environment the message is of the kernel that failed\n"
    )
    assert not Path("lost.sqlite").exists()


def test_epochs_may_have_a_fraction_in_every_command(zoo: Zoo) -> None:
    trained = zoo("benchmark", "starter/default", "--epochs", "0.2", "--seeds", "1", "--jobs", "1", "--json")
    assert [row["epochs"] for row in rows(trained)] == [0.2]
    assert (
        rows(zoo("benchmark", "starter/default", "--epochs", "2.0", "--seeds", "1", "--plan", "--json"))[0]["epochs"]
        == 2
    )
    exported = zoo("export", "starter/default", "--epochs", ".2", "-o", "net")
    assert exported.exit_code == 0, exported.output
    study = ("study", "plan", "--base", "starter/default", "--change", "elu:activation=elu", "--seeds", "3")
    assert "6 runs" in zoo(*study, "--epochs", "0.2").stdout


def test_what_is_stored_is_not_trained_again(zoo: Zoo, ledger: Path) -> None:
    result = zoo("benchmark", "starter/default", "--epochs", "1", "--seeds", "3", "--jobs", "1")
    assert "1 run to train; 2 are in zoo.sqlite already: about " in result.stderr
    assert "3 seeds (0 to 2)" in result.stdout


def test_patterns_files_and_options_combine(zoo: Zoo, folder: Path) -> None:
    (folder / "mine.toml").write_text('base = "starter/4c"\nset = {"training.batch_size" = 128}\n')
    result = zoo("benchmark", "mine.toml", "starter/4[cd]", *TINY, "--set", "data.resize=8", "--sort", "spec", "--json")
    assert [row["spec"] for row in rows(result)] == ["mine", "starter/4c", "starter/4d"]
    assert {row["epochs"] for row in rows(result)} == {1}
    assert {row["resize"] for row in rows(result)} == {8}


def test_vary_trains_every_combination(zoo: Zoo) -> None:
    result = zoo(
        "benchmark", "starter/default", *TINY, "--vary", "activation=relu,elu", "--vary", "batch_size=64,256", "--json"
    )
    assert [row["spec"] for row in rows(result)] == [
        "starter/default[activation=relu, batch_size=64]",
        "starter/default[activation=relu, batch_size=256]",
        "starter/default[activation=elu, batch_size=64]",
        "starter/default[activation=elu, batch_size=256]",
    ]
    assert len({row["identity"] for row in rows(result)}) == 4


def test_a_value_that_a_spec_has_already_changes_nothing(zoo: Zoo, ledger: Path) -> None:
    result = zoo("benchmark", "starter/default", "starter/4c", *TINY, "--set", "batch_size=64", "--data", "digits")
    assert result.exit_code == 0
    assert result.stderr == "Nothing to train: 2 runs in zoo.sqlite already.\n"


def test_data_from_own_files(zoo: Zoo, folder: Path) -> None:
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "train_images": draw.integers(0, 256, (64, 8, 8), dtype=np.uint8),
        "train_labels": np.arange(64) % 2,
        "test_images": draw.integers(0, 256, (16, 8, 8), dtype=np.uint8),
        "test_labels": np.arange(16) % 2,
    }
    np.savez(folder / "own.npz", allow_pickle=False, **arrays)
    result = zoo("benchmark", "starter/default", *TINY, "--data", "npz:own.npz")
    assert result.exit_code == 0
    assert result.stdout.startswith("npz:own.npz, ")


def test_no_pattern_means_all_whose_data_is_at_hand(zoo: Zoo, registry: Registry) -> None:
    result = zoo("benchmark", "--plan", "--seeds", "1", "--epochs", "1", "--json")
    planned = [row["spec"] for row in rows(result)]
    assert planned == [name for name in registry.specs if name.startswith(("starter/", "small/"))]
    waiting = len(registry.specs) - len(planned)
    (line,) = [line for line in result.stderr.splitlines() if "wait" in line]
    assert line == (
        f"{waiting} specs wait for the data set cifar10 (speed/airbench94, cifar/resnet20, cifar/resnet32, ...): "
        "zoo data get cifar10"
    )


def test_a_plan_says_what_takes_how_long(zoo: Zoo, ledger: Path) -> None:
    arguments = ["benchmark", "starter/default", "starter/4e", "--epochs", "1", "--seeds", "3", "--plan"]
    default, other = rows(zoo(*arguments, "--json"))
    (stored_on,) = {row["device"] for row in rows(zoo("results", "--json"))}
    seconds = default.pop("seconds_each"), other.pop("seconds_each")
    assert default.pop("device") == other.pop("device") == stored_on
    shared = {"dataset": "digits", "epochs": 1, "steps": None, "minutes": None, "ends_early": False}
    assert default == {"spec": "starter/default", **shared, "to_train": 1, "stored": 2}
    assert other == {"spec": "starter/4e", **shared, "to_train": 3, "stored": 0}
    assert all(0 < each < 600 for each in seconds)
    result = zoo(*arguments)
    assert result.stdout.splitlines()[0].split() == ["spec", "data", "set", "epochs", "to", "train", "stored", "each"]
    assert "4 runs to train; 2 are in zoo.sqlite already" in result.stderr
    assert runs_in() == 4, "a plan trains nothing"


@pytest.mark.parametrize("name", ["eq2425/4c", "modern/residual"])
def test_a_named_spec_whose_data_is_missing_is_an_error(zoo: Zoo, name: str) -> None:
    result = zoo("benchmark", name, "starter/default", *TINY)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {name}: the data set cifar10 is not at hand: ")
    assert "`zoo data get cifar10` downloads 170 MB" in result.stderr
    assert not Path("zoo.sqlite").exists()


def test_a_pattern_whose_data_is_all_missing_is_an_error(zoo: Zoo) -> None:
    result = zoo("benchmark", "eq2425/*", *TINY)
    assert result.exit_code == 2
    assert "cifar10 is not at hand" in result.stderr
    assert "`zoo data get cifar10`" in result.stderr


def test_data_that_is_asked_for_must_be_at_hand(zoo: Zoo) -> None:
    result = zoo("benchmark", "starter/*", *TINY, "--data", "mnist")
    assert result.exit_code == 2
    assert "the data set mnist is not at hand" in result.stderr


FILES = {
    "empty.toml": "",
    "wrong.toml": "[network\n",
    "keys.toml": "[netwrok]\nfeatures = []\n",
    "fields.toml": 'base = "starter/default"\nset = {"training.epohcs" = 3}\n',
    "folder.toml/inside": "",
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["starter/defualt"], "no spec is called 'starter/defualt'; did you mean starter/default"),
        (["startre/*"], "no spec matches 'startre/*'; did you mean"),
        (["missing.toml"], "cannot read the spec file missing.toml: No such file or directory"),
        (["folder.toml"], "cannot read the spec file folder.toml: Is a directory"),
        (["empty.toml"], "spec 'empty' is not valid"),
        (["wrong.toml"], "wrong.toml is not valid TOML: "),
        (["keys.toml"], "spec 'keys': unknown key 'netwrok'; did you mean network?"),
        (["fields.toml"], "training has no 'epohcs'; did you mean epochs?"),
        (["--set", "training.epochs"], "expected path=value, got 'training.epochs'"),
        (["--set", "training.epohcs=3"], "training has no 'epohcs'; did you mean epochs?"),
        (["--set", "learning_rate=fast"], 'learning_rate: expected a positive number, got "fast"'),
        (["--set", "loss=mse", "--set", "loss=hinge"], "loss is set twice"),
        (["--set", "training.epochs=3", "--epochs", "3"], "training.epochs is set twice"),
        (["--set", "steps=3", "--epochs", "3"], "training.epochs and steps both say how long training is; leave out"),
        (["--vary", "training.steps=3,4", "--epochs", "3"], "training.epochs and training.steps both say how long"),
        (["--vary", "activation"], "expected path=a,b,... after --vary, got 'activation'; for example --vary activat"),
        (["--vary", "activation="], "expected path=a,b,... after --vary, got 'activation='"),
        (["--vary", "=relu"], "expected path=a,b,... after --vary, got '=relu'"),
        (["--vary", "activation=rellu"], "no activation is called 'rellu'; did you mean relu"),
        (["--vary", "activation=relu", "--vary", "activation=elu"], "activation is varied twice; write all of its"),
        (["--vary", "activation=relu,elu", "--set", "activation=elu"], "activation is both set and varied"),
        (["--data", "digtis"], "no dataset is called 'digtis'; did you mean digits?"),
        (["--data", "folder"], "the data set 'folder' needs a path: write folder:PATH"),
        (["--data", "folder:missing"], "there is no folder missing"),
        (["--data", "npz:missing.npz"], "missing.npz"),
        (["--data", "digits:here"], "the data set 'digits' takes no path"),
        (["--epochs", "0"], "Invalid value for '--epochs': expected a number above 0, such as 20 or 9.9, got '0'"),
        (
            ["--epochs", "many"],
            "Invalid value for '--epochs': expected a number above 0, such as 20 or 9.9, got 'many'",
        ),
        (["--seeds", "0"], "Invalid value for '--seeds': 0 is not in the range x>=1"),
        (["--jobs", "0"], "Invalid value for '--jobs': 0 is not in the range x>=1"),
        (["--budget", "0"], "expected a duration above 0, such as 90s, 30m or 1h30m, got '0'"),
        (["--budget", "soon"], "expected a duration above 0, such as 90s, 30m or 1h30m, got 'soon'"),
        (["--budget", "-5m"], "expected a duration above 0"),
        (
            ["--device", "tpu"],
            "--device tpu: there is no such device; it is auto, cpu, cuda, mps, or one GPU as in cuda:1",
        ),
        (["--format", "gihtub"], "no table format is called 'gihtub'; did you mean github?"),
        (["--sort", "recal"], "no column is called 'recal'; did you mean recall?"),
        (["--ledger", "."], "the ledger . is a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_gets_one_clear_message(zoo: Zoo, folder: Path, arguments: list[str], message: str) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    named = arguments[0].startswith("-")
    result = zoo("benchmark", *(["starter/default"] if named else []), *arguments)
    assert result.exit_code == (1 if "--ledger" in arguments else 2)
    assert message in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not Path("zoo.sqlite").exists(), "nothing is begun"


def test_a_device_that_is_not_here_is_refused(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = zoo("benchmark", "starter/default", "--device", "cuda")
    assert result.exit_code == 2
    assert "--device cuda: there is none here; what there is: " in result.stderr


def test_jobs_are_not_for_mps(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.train.machine.devices", lambda name: ("mps",))
    result = zoo("benchmark", "starter/default", "--jobs", "2")
    assert result.exit_code == 2
    assert "--jobs is for the CPU and NVIDIA GPUs, and the device is mps; leave it out" in result.stderr


def test_an_engine_that_the_device_has_no_use_for(zoo: Zoo) -> None:
    result = zoo("benchmark", "starter/default", "--device", "cpu", "--engine", "captured")
    assert result.exit_code == 2
    assert "--engine captured: only NVIDIA GPUs record steps, not cpu; use auto or sequential" in result.stderr


def test_an_engine_is_recorded_with_the_run(zoo: Zoo) -> None:
    zoo("benchmark", "starter/default", *TINY, "--engine", "sequential")
    with Ledger(Path("zoo.sqlite")) as ledger:
        (run,) = ledger.runs()
    assert run.provenance["engine"] == "sequential"


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every run seem to take 100 seconds for each epoch."""
    real = benchmark.make_plan

    def planned(*arguments: Any, **options: Any) -> Plan:
        plan = real(*arguments, **options)
        costs = {run.key: 100.0 * run.spec["training"]["epochs"] for run in plan.missing}
        return attrs.evolve(plan, costs=costs)

    monkeypatch.setattr(benchmark, "make_plan", planned)


def test_a_long_benchmark_is_not_begun_without_being_asked(zoo: Zoo, long: None) -> None:
    result = zoo("benchmark", "starter/default", "--seeds", "1", "--jobs", "1")
    assert result.exit_code == 2
    assert "1 run to train: about 17 to 42 min, on " in result.stderr
    assert (
        "Error: that is over 10 min, and there is no terminal to ask on: say --yes to go on, or cut it down with "
        "--budget 10m, --epochs, --seeds or a SPEC-PATTERN; --plan says what takes how long" in result.stderr
    )
    assert not Path("zoo.sqlite").exists()


def test_yes_is_an_answer(zoo: Zoo, long: None) -> None:
    result = zoo("benchmark", "starter/default", "--seeds", "7", "--epochs", "1", "--jobs", "1", "--yes")
    assert result.exit_code == 0
    assert runs_in() == 7


@pytest.mark.parametrize(("answer", "code", "trained"), [("y\n", 0, 7), ("n\n", 0, 0), ("\n", 0, 0), ("", 130, 0)])
def test_on_a_terminal_a_long_benchmark_is_asked_about(
    zoo: Zoo, long: None, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, trained: int
) -> None:
    monkeypatch.setattr("zoo.cli.asking.interactive", lambda: True)
    result = zoo("benchmark", "starter/default", "--seeds", "7", "--epochs", "1", "--jobs", "1", input=answer)
    assert "Go on? (--budget, --epochs, --seeds and SPEC-PATTERN cut it down) [y/N]" in result.stderr
    assert result.exit_code == code
    assert (runs_in() if Path("zoo.sqlite").exists() else 0) == trained


@pytest.mark.parametrize("content", [None, b""])
def test_what_trains_nothing_makes_no_ledger(zoo: Zoo, folder: Path, content: bytes | None) -> None:
    file = folder / "zoo.sqlite"
    if content is not None:
        file.write_bytes(content)
    before = sorted(folder.iterdir())
    assert zoo("benchmark", "starter/default", "--plan").exit_code == 0
    empty = zoo("benchmark", "starter/default", *TINY, "--seeds", "2", "--shard", "3/3")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert empty.stderr == "Share 3 of 3 is empty: there are 2 runs to share out.\n"
    changed = ("--base", "starter/default", "--change", "a:activation=tanh")
    study = (*changed, "--epochs", "1", "--seeds", "2", "--jobs", "1")
    assert zoo("study", "plan", *study).exit_code == 0
    share = zoo("study", "run", *study, "--shard", "5/5")
    assert "Share 5 of 5 is empty: there are 4 runs to share out.\n" in share.stderr
    assert sorted(folder.iterdir()) == before
    assert content is None or file.read_bytes() == content


def test_an_old_ledger_is_upgraded_when_something_is_trained_which_is_said(zoo: Zoo, folder: Path) -> None:
    shutil.copy(OLD, "zoo.sqlite")
    line = "The ledger zoo.sqlite was upgraded from version 1 to 2. Earlier versions of zoo cannot read it any more; "
    for arguments in (["--epochs", "2", "--seeds", "2"], [*TINY, "--plan"]):
        result = zoo("benchmark", "starter/4c", *arguments)
        assert result.exit_code == 0
        assert line not in result.stderr
    assert Path("zoo.sqlite").read_bytes() == OLD.read_bytes()
    assert zoo("benchmark", "starter/4c", *TINY).stderr.count(line) == 1
    assert line not in zoo("benchmark", "starter/default", *TINY).stderr


def test_a_plan_is_printed_however_long(zoo: Zoo, long: None) -> None:
    result = zoo("benchmark", "starter/default", "--plan", "--jobs", "1")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].split() == ["starter/default", "digits", "10", "3", "0", "17", "min"]


@pytest.mark.parametrize(
    ("budget", "seeds", "epochs", "line"),
    [
        ("1h", 3, 10, None),
        ("40m", 2, 10, "Cut down to the budget: 2 seeds, 10 epochs at most."),
        ("1000", 1, 10, "Cut down to the budget: 1 seed, 10 epochs at most."),
        ("5m", 1, 3, "Cut down to the budget: 1 seed, 3 epochs at most."),
        ("100s", 1, 1, "Cut down to the budget: 1 seed, 1 epoch at most."),
        ("1m", 1, 1, "Less is not possible for so many specs, and takes about 2 min still."),
    ],
)
def test_a_budget_cuts_seeds_then_epochs(
    zoo: Zoo, long: None, budget: str, seeds: int, epochs: int, line: str | None
) -> None:
    result = zoo("benchmark", "starter/default", "--budget", budget, "--jobs", "1", "--plan", "--json")
    ((spec,),) = [rows(result)]
    assert (spec["to_train"], spec["epochs"]) == (seeds, epochs)
    assert (line or "to train") in result.stderr


def test_a_run_that_fails_costs_only_itself(zoo: Zoo, plugin: Callable[[str, str], str], boom: str) -> None:
    file = plugin("loud.py", boom)
    arguments = ["benchmark", "starter/default", *TINY, "--vary", "activation=relu,boom", "--ledger", "runs.sqlite"]
    result = zoo("--plugin", file, *arguments)
    assert result.exit_code == 1
    table = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.startswith("starter/")}
    assert table["starter/default[activation=relu]"][-1] == "1"
    assert table["starter/default[activation=boom]"][-2:] == ["0", "1"]
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("[2/2]")]
    assert line.startswith("[2/2] starter/default[activation=boom] seed 0: failed: ")
    assert "loud" in line, "the plugin is named"
    assert line.count("too loud") == 1
    assert result.stderr.endswith(
        "1 run failed: `zoo results --failed --ledger runs.sqlite` says why, with the trace.\n"
    )
    assert "Traceback" not in result.stderr
    why = zoo("results", "--failed", "--ledger", "runs.sqlite").stdout
    assert why.startswith("starter/default[activation=boom] seed 0 on digits: failed\n")
    assert why.endswith("  RuntimeError: too loud\n")
    assert "in forward" in why


def test_a_layer_that_does_not_fit_leaves_the_others(zoo: Zoo) -> None:
    result = zoo("benchmark", "starter/default", *TINY, "--vary", "network.features.2.pooling=none,max", "--set",
                 "network.features.1.pooling=global_average", "--json")  # fmt: skip
    assert [row["spec"] for row in json.loads(result.stdout)] == [
        "starter/default[network.features.1.pooling=global_average, network.features.2.pooling=none]"
    ]
    assert result.exit_code == 1, "it was asked for by name"
    assert result.stderr.endswith("\n1 spec that was asked for cannot be trained.\n")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Left out: ")]
    assert "starter/default[network.features.1.pooling=global_average, network.features.2.pooling=max]" in line


def test_nothing_is_judged_against_a_first_value_that_does_not_fit(zoo: Zoo) -> None:
    result = zoo("benchmark", "starter/default", *TINY, "--vary", "network.features.2.pooling=max,none", "--vary",
                 "activation=relu,elu", "--set", "network.features.1.pooling=global_average")  # fmt: skip
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Nothing is judged against ")]
    assert "network.features.2.pooling=max, activation=relu], which is left out" in line
    assert "network.features.2.pooling=none, activation=elu]" in result.stdout
    assert " against " not in result.stdout, "a verdict against what was not trained"


def test_what_is_asked_for_by_name_and_does_not_fit_fails_a_plan_and_a_wildcard_may_leave_it_out(zoo: Zoo) -> None:
    varied = ("--vary", "network.features.2.pooling=none,max", "--set", "network.features.1.pooling=global_average")
    for patterns, code in ((["starter/default", "starter/4c"], 1), (["starter/defaul?"], 0)):
        result = zoo("benchmark", *patterns, *TINY, *varied, "--plan")
        assert result.exit_code == code, result.stderr
        assert "Left out: " in result.stderr
    assert (
        "2 specs that were asked for cannot be trained."
        in zoo("benchmark", "starter/default", "starter/4c", *TINY, *varied, "--plan").stderr
    )


def test_images_sorted_by_class_are_remarked_on(zoo: Zoo, folder: Path) -> None:
    labels = np.repeat(np.arange(2), 32)
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=np.uint8)
    np.savez(folder / "own.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    arguments = ["benchmark", "starter/default", *TINY, "--data", "npz:own.npz", "--plan"]
    assert (
        "Note: starter/default: the images of npz:own.npz are sorted by class, and training.shuffle is false: the "
        "network sees one class at a time, so recall is far too low and comparisons are worthless; "
        "`--set training.shuffle=true` mends it"
    ) in " ".join(zoo(*arguments).stderr.split())
    assert "Note: starter/default and 1 more: the images" in zoo(*arguments, "starter/4c").stderr
    assert "sorted by class" not in zoo(*arguments, "--set", "shuffle=true").stderr


def test_an_option_of_the_executor_after_set_is_told(zoo: Zoo) -> None:
    arguments = ("benchmark", "starter/default", "--plan", "--set", "address=auto")
    result = zoo(*arguments, "--executor", "ray")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: starter/default: the path 'address' matches nothing: nothing in the spec is called 'address'.\n"
        "address is an option of the executor ray: --executor-set address=auto\n"
    )
    assert "executor" not in zoo(*arguments).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--executor-set", "size=2"), "--executor-set is for an executor: name it with --executor"),
        (("--executor", "rey"), "no executor is called 'rey'; did you mean ray? `zoo list --kind executor` shows all "),
        (("--executor", "ray", "--executor-set", "address"), "--executor-set address: expected OPTION=VALUE"),
        (("--executor", "ray", "--executor-set", "=auto"), "--executor-set =auto: expected OPTION=VALUE"),
        (("--executor", "ray", "--executor-set", "adress=auto"), "--executor-set: unknown option 'adress'; did you"),
        (("--executor", "ray", "--executor-set", "address=3"), "--executor-set: address: expected a string, got 3"),
        (
            ("--executor", "here", "--executor-set", "size=2"),
            "--executor-set: unknown option 'size'. It takes no options.",
        ),
        (
            ("--executor", "ray", "--executor-set", "name=here"),
            "--executor-set name=here: the executor is named with --executor",
        ),
        (
            ("--executor", "ray", "--executor-set", f"address={'9' * 5000}"),
            "--executor-set address: 99999999999999999999... cannot be a value",
        ),
    ],
)
def test_an_executor_that_cannot_be_used_is_told_by_the_option_that_says_so(
    zoo: Zoo, arguments: tuple[str, ...], message: str
) -> None:
    for command in (("benchmark", "starter/default"), ("study", "plan", "starter-factorial")):
        result = zoo(*command, *arguments)
        assert result.exit_code == 2
        assert f"Error: {message}" in result.stderr


def test_specs_of_files_are_judged_against_one(zoo: Zoo, ledger: Path) -> None:
    Path("a.toml").write_text('base = "starter/default"\n', encoding="utf-8")
    Path("b.toml").write_text('base = "starter/4c"\n', encoding="utf-8")
    result = zoo("benchmark", "a.toml", "b.toml", *TINY, "--seeds", "2", "--against", "a.toml")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-2:] == [
        "Paired by seed, on these images and this split, difference in test recall [96% interval]:",
        next(line for line in result.stdout.splitlines() if line.startswith("  b against a: ")),
    ]


def test_against_takes_the_name_that_the_table_shows(zoo: Zoo) -> None:
    Path("a.toml").write_text('base = "starter/default"\n', encoding="utf-8")
    Path("b.toml").write_text('base = "starter/4c"\n', encoding="utf-8")
    for named in ("b", "b.toml"):
        result = zoo("benchmark", "a.toml", "b.toml", *TINY, "--against", named, "--plan")
        assert result.exit_code == 0, result.output
        names = [line.split()[0] for line in result.stdout.splitlines() if line.startswith(("a ", "b "))]
        assert names == ["b", "a"]
    result = zoo("benchmark", "a.toml", *TINY, "--against", "a", "--plan")
    assert result.exit_code == 2
    assert result.stderr == "Error: --against: there is nothing to judge: a is the only spec; name another one\n"


def test_against_is_not_for_variations(zoo: Zoo) -> None:
    result = zoo("benchmark", "starter/4c", "--vary", "activation=relu,elu", "--against", "starter/default")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: --vary judges each value against the first already; --against is for specs that are named: give one "
        "of the two\n"
    )
