"""The project file and the environment: which file, what it says, and what goes before what."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import zoo
from zoo import settings
from zoo.errors import ZooError
from zoo.settings import KEYS, read

TAKES = (
    "It takes plugins, block, ledger, data, epochs, seeds, device, precision, fast, engine, data_in, executor, jobs, "
    "keep_state."
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, with a folder in it that is the working one."""
    (tmp_path / "project/below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project/below")
    return tmp_path / "project"


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def test_without_a_file_there_are_defaults() -> None:
    told = read()
    assert told.file is None
    assert told["ledger"] == Path("zoo.sqlite")
    assert (told["device"], told["seeds"], told["plugins"]) == ("auto", None, ())
    assert set(told.origins.values()) == {"default"}


def test_the_nearest_file_holds(project: Path) -> None:
    write(project.parent / "zoo.toml", "seeds = 1")
    write(project / "zoo.toml", "seeds = 2")
    assert read()["seeds"] == 2
    write(Path("zoo.toml"), "jobs = 4")
    assert read()["seeds"] is None, "files are not added up"
    assert read().file == Path("zoo.toml")


def test_pyproject_counts_where_it_has_a_table(project: Path) -> None:
    write(project / "pyproject.toml", "[tool.zoo]\nseeds = 5\n")
    write(Path("pyproject.toml"), '[project]\nname = "a-zoo"\n')
    assert read()["seeds"] == 5
    write(project / "zoo.toml", "seeds = 6")
    assert read()["seeds"] == 6, "zoo.toml goes before pyproject.toml beside it"


def test_another_tool_s_broken_pyproject_is_no_affair_of_ours(project: Path) -> None:
    write(project / "pyproject.toml", "[project\n")
    assert read().file is None
    write(project / "pyproject.toml", "[tool.zoo\n")
    with pytest.raises(ZooError, match=r"pyproject\.toml is not valid TOML: "):
        read()


def test_paths_are_relative_to_the_file(project: Path) -> None:
    text = 'plugins = ["a.py", "/b.py"]\nledger = "runs.sqlite"\ndata = "folder:images"\n'
    write(project / "zoo.toml", text)
    told = read()
    assert told["plugins"] == (project / "a.py", Path("/b.py"))
    assert told["ledger"] == project / "runs.sqlite"
    assert told["data"] == f"folder:{project / 'images'}"
    write(Path("zoo.toml"), text)
    assert (read()["ledger"], read()["data"]) == (Path("runs.sqlite"), "folder:images")


def test_a_data_set_without_a_path_is_a_name(project: Path) -> None:
    write(project / "zoo.toml", 'data = "cifar10"')
    assert read()["data"] == "cifar10"


def test_the_environment_goes_before_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / "zoo.toml", 'seeds = 2\nplugins = "a.py"\nkeep_state = true\nledger = "a.sqlite"\n')
    monkeypatch.setenv("ZOO_SEEDS", "7")
    monkeypatch.setenv("ZOO_PLUGINS", os.pathsep.join(["b.py", "c.py"]))
    monkeypatch.setenv("ZOO_KEEP_STATE", "no")
    monkeypatch.setenv("ZOO_LEDGER", "")
    told = read()
    assert (told["seeds"], told["plugins"], told["keep_state"]) == (7, (Path("b.py"), Path("c.py")), False)
    assert told["ledger"] == project / "a.sqlite", "an empty variable is an unset one"
    assert told.origins["seeds"] == "$ZOO_SEEDS"
    assert told.origins["ledger"] == str(project / "zoo.toml")


def test_a_file_can_be_named_or_none(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / "zoo.toml", "seeds = 2")
    write(project / "other.toml", "seeds = 3")
    assert read(project / "other.toml")["seeds"] == 3
    assert read(None)["seeds"] is None
    monkeypatch.setenv("ZOO_PROJECT", str(project / "other.toml"))
    assert read()["seeds"] == 3
    monkeypatch.setenv("ZOO_PROJECT", "")
    assert read()["seeds"] is None
    with pytest.raises(ZooError, match=r"^there is no project file nothing\.toml$"):
        read("nothing.toml")


def test_an_executor_with_options() -> None:
    write(Path("zoo.toml"), '[executor]\nname = "ray"\naddress = "auto"\n')
    assert read()["executor"] == {"name": "ray", "address": "auto"}


def test_a_folder_of_that_name_is_no_file(project: Path) -> None:
    Path("zoo.toml").mkdir()
    Path("zoo").mkdir()
    write(project / "zoo.toml", "seeds = 2")
    assert read()["seeds"] == 2


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no such numbers of users")
def test_a_file_of_another_user_above_is_left_out(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / "zoo.toml", 'plugins = "evil.py"')
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result([*found[:4], 4321, *found[5:10]]) if path.name == "zoo.toml" else found

    monkeypatch.setattr(Path, "stat", stat)
    file = project / "zoo.toml"
    assert read().file is None
    assert read().notes == (f"{file} is left out, as it is another user's; `zoo --project {file}` takes it",)
    assert read(file)["plugins"] == (project / "evil.py",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = 3", f"zoo.toml: unknown key 'seed'; did you mean seeds? {TAKES}"),
        ("colour = 3", f"zoo.toml: unknown key 'colour'. {TAKES}"),
        ("seeds = 0", "zoo.toml: seeds: expected a whole number from 1, got 0"),
        ("seeds = true", "zoo.toml: seeds: expected a whole number from 1, got True"),
        ("epochs = 0", "zoo.toml: epochs: expected a number above 0, such as 20 or 9.9, got 0"),
        ('precision = "fp8"', "zoo.toml: precision: expected one of auto, fp32, tf32, bf16, fp16, half, got 'fp8'"),
        ("plugins = 3", "zoo.toml: plugins: expected a list of paths of files, got 3"),
        ("block = [3]", "zoo.toml: block: expected a list of names of plugins, got [3]"),
        ("ledger = 3", "zoo.toml: ledger: expected the path of a file, got 3"),
        ("device = 3", "zoo.toml: device: expected a text, got 3"),
        ("keep_state = 1", "zoo.toml: keep_state: expected true or false, got 1"),
        ("executor = 1", "zoo.toml: executor: expected the name of an executor, or a table with its name and options"
         ", got 1"),
        ("data = 1", "zoo.toml: data: expected the name of a data set, such as 'digits' or 'folder:images', got 1"),
    ],
)  # fmt: skip
def test_what_is_not_valid_is_said(text: str, message: str) -> None:
    write(Path("zoo.toml"), text)
    with pytest.raises(ZooError) as error:
        read()
    assert str(error.value) == message


@pytest.mark.parametrize("text", ['base = "starter/default"\n', "[network]\n", 'design = "factorial"\n'])
def test_a_spec_of_that_name_is_told_so(text: str) -> None:
    write(Path("zoo.toml"), text)
    with pytest.raises(
        ZooError, match=r"as specs and studies have, and zoo.toml is the name of the project file, .* give"
    ):
        read()


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_JOBS", "many")
    with pytest.raises(ZooError, match=r"^\$ZOO_JOBS: expected a whole number from 1, got 'many'$"):
        read()


def test_a_byte_order_mark_is_no_text() -> None:
    Path("zoo.toml").write_bytes(b"\xef\xbb\xbfseeds = 3\n")
    assert read()["seeds"] == 3


def test_defaults_of_specs_give_way_to_all_that_is_stated() -> None:
    write(Path("zoo.toml"), 'epochs = 3\ndata = "cifar10"\n')
    told = read()
    assert told.sets({"activation": "mish"}) == {
        "training.epochs": 3, "data.dataset": "cifar10", "activation": "mish",
    }  # fmt: skip
    assert told.sets({"training.epochs": 5, "dataset": "digits"}) == {"training.epochs": 5, "dataset": "digits"}
    assert told.sets({}, ["epochs"]) == {"data.dataset": "cifar10"}
    assert told.sets({}, ["training.steps"]) == {"data.dataset": "cifar10"}
    assert told.sets({"steps": 9}) == {"data.dataset": "cifar10", "steps": 9}


def test_the_lists_are_those_of_the_program() -> None:
    from typing import get_args

    from zoo.train.engines.choice import Wanted
    from zoo.train.run import Arithmetic

    assert set(settings.ENGINES) == set(get_args(Wanted))
    assert set(settings.PRECISIONS) - {"auto"} == set(get_args(Arithmetic)) - {"float64"}


# In Python

PLUGIN = """
import torch
import zoo

@zoo.hookimpl
def zoo_register_activations(register):
    register("double", double)

def double():
    \"\"\"Doubles.\"\"\"
    return torch.nn.Identity()
"""


def test_a_lab_is_as_the_file_says_and_arguments_win(project: Path) -> None:
    write(project / "double.py", PLUGIN)
    write(project / "zoo.toml", 'plugins = "double.py"\nledger = "runs.sqlite"\nepochs = 2\nseeds = 4\njobs = 1\n')
    lab = zoo.Lab()
    assert lab.settings.file == project / "zoo.toml"
    assert lab.path == project / "runs.sqlite"
    assert lab.jobs == 1
    spec = {"base": "starter/default", "set": {"activation": "double"}}
    plan = lab.plan(spec)
    assert [run.key.seed for run in plan.runs] == [0, 1, 2, 3]
    assert plan.runs[0].spec["training"]["epochs"] == 2
    assert lab.plan(spec, sets={"training.epochs": 3}, seeds=1).runs[0].spec["training"]["epochs"] == 3
    assert lab.plan(spec, epochs=1, seeds=1).runs[0].spec["training"]["epochs"] == 1
    assert zoo.Lab("other.sqlite", jobs=2).path == Path("other.sqlite")
    assert zoo.Lab(project=None).path == Path("zoo.sqlite")
    with pytest.raises(ZooError, match="no activation is called 'double'"):
        zoo.Lab(project=None).plan(spec)


def test_what_select_returned_is_planned_as_it_is(project: Path) -> None:
    write(project / "zoo.toml", "epochs = 2\nseeds = 1\n")
    lab = zoo.Lab()
    plan = lab.plan(lab.select("starter/default"))
    assert [run.spec["training"]["epochs"] for run in plan.runs] == [2]


def test_a_study_is_as_the_file_says(project: Path) -> None:
    write(project / "zoo.toml", "epochs = 2\nseeds = 4\n")
    tree = {"base": "starter/default", "changes": {"leaky": {"activation": "leaky_relu"}}}
    with zoo.Lab().open_study(tree) as work:
        assert work.study.base.training.epochs == 2
        assert work.first_seeds == [0, 1, 2, 3]
    assert zoo.load_study(tree).definition.base.training.epochs == 2


def test_a_plugin_that_is_not_there_is_named_with_the_file(project: Path) -> None:
    write(project / "zoo.toml", 'plugins = "gone.py"')
    with pytest.raises(ZooError) as error:
        zoo.Lab()
    assert str(error.value) == f"{project / 'zoo.toml'}: plugins: there is no file {project / 'gone.py'}"


def test_every_key_is_documented() -> None:
    text = Path(__file__).parents[1].joinpath("docs/how-to/project-file.md").read_text(encoding="utf-8")
    for key in KEYS:
        assert f"| `{key.name}` | `{key.variable}` |" in text


def test_a_wrong_executor_is_told_with_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / "zoo.toml", 'executor = "heer"')
    with pytest.raises(ZooError, match=rf"^{re.escape(str(project / 'zoo.toml'))}: executor: .*did you mean here"):
        zoo.Lab()
    monkeypatch.setenv("ZOO_EXECUTOR", "ther")
    with pytest.raises(ZooError, match=r"^\$ZOO_EXECUTOR: no executor is called 'ther'"):
        zoo.Lab()
    with pytest.raises(ZooError, match=r"^no executor is called 'her'"):
        zoo.Lab(executor="her")
    monkeypatch.setenv("ZOO_DEVICE", "tpu")
    with pytest.raises(ZooError, match=r"^\$ZOO_DEVICE: device='tpu': there is no such device"):
        zoo.Lab(executor="here")
    monkeypatch.delenv("ZOO_DEVICE")
    assert zoo.Lab(executor="here")._executor.name == "here"


def test_a_setting_is_blamed_only_for_what_an_error_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_JOBS", "1")
    with pytest.raises(ZooError, match=r"^device='tpu': there is no such device"):
        zoo.Lab(device="tpu")
    monkeypatch.setenv("ZOO_DEVICE", "cpu")
    with pytest.raises(ZooError, match=r"^\$ZOO_DEVICE: precision='tf32': only NVIDIA GPUs have it, not cpu"):
        zoo.Lab(precision="tf32")
